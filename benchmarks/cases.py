"""The networks that are timed, as data: the same for every library. Names as in the project's tables."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Case:
    """A multilayer perceptron and how it is trained."""

    name: str
    sizes: tuple[int, ...]
    activation: str  # of the hidden layers
    output: str  # "sigmoid" or "logits"
    loss: str  # "half-squared-error" or "softmax-cross-entropy"
    optimizer: str
    learning_rate: float
    batch: int
    steps: int  # in one timed round

    def __str__(self) -> str:
        return f"({self.name}) {'-'.join(map(str, self.sizes))} {self.activation} {self.loss} {self.optimizer} N={self.batch}"


CASES = {
    c.name: c
    for c in (
        Case("a", (784, 30, 10), "sigmoid", "sigmoid", "half-squared-error", "sgd", 0.1, 10, 1000),
        Case("b", (784, 256, 128, 10), "relu", "logits", "softmax-cross-entropy", "adam", 1e-3, 64, 100),
        Case("c", (1024, 2048, 2048, 1000), "relu", "logits", "softmax-cross-entropy", "sgd", 0.01, 256, 4),
    )
}
