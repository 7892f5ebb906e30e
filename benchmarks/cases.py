"""The networks that are timed, as data: the same for every library. Names as in the project's tables."""

from dataclasses import dataclass

ON_A_GPU = ("xpnet-cuda", "torch-cuda", "torch-cuda-compile", "torch-cuda-graphs")


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

    @property
    def shape(self) -> tuple[int, ...]:
        return self.sizes[:1]

    @property
    def libraries(self) -> tuple[str, ...]:
        """Those that can train it; scikit-learn's classifier has no quadratic cost."""
        sklearn = ("scikit-learn",) if self.loss == "softmax-cross-entropy" else ()
        return ("xpnet", "xpnet-fast", "products", "torch", "torch-compile", "jax", *sklearn, *ON_A_GPU)

    @property
    def text(self) -> str:
        return f"({self.name}) {'-'.join(map(str, self.sizes))} {self.activation} {self.optimizer}"

    def __str__(self) -> str:
        return f"{self.text} {self.loss} N={self.batch}"


@dataclass(frozen=True)
class ImageCase:
    """A convolutional network (a function of benchmarks/networks.py) trained with momentum and softmax cross-entropy."""

    name: str
    network: str
    shape: tuple[int, int, int]  # height, width, channels
    classes: int
    batch: int
    steps: int
    about: str
    learning_rate: float = 0.01

    loss, optimizer = "softmax-cross-entropy", "momentum"
    libraries = ("xpnet", "xpnet-fast", "torch", "torch-channels-last", "torch-compile", "jax", *ON_A_GPU)

    @property
    def text(self) -> str:
        return f"({self.name}) {self.about} {self.optimizer}"

    def __str__(self) -> str:
        return f"{self.text} N={self.batch}"


CASES = {
    c.name: c
    for c in (
        Case("a", (784, 30, 10), "sigmoid", "sigmoid", "half-squared-error", "sgd", 0.1, 10, 1000),
        Case("b", (784, 256, 128, 10), "relu", "logits", "softmax-cross-entropy", "adam", 1e-3, 64, 100),
        Case("c", (1024, 2048, 2048, 1000), "relu", "logits", "softmax-cross-entropy", "sgd", 0.01, 256, 4),
        ImageCase("d", "lenet", (28, 28, 1), 10, 64, 30, "LeNet 20-50-500"),
        ImageCase("e", "vgg", (32, 32, 3), 10, 32, 8, "VGG-like 32,32,pool,64,64,pool,128 with batch norm"),
        ImageCase("f", "resnet", (32, 32, 3), 10, 32, 2, "3 residual blocks of 64 channels with batch norm"),
        ImageCase("vgg16", "vgg16", (224, 224, 3), 1000, 8, 1, "VGG16", 1e-4),
    )
}
