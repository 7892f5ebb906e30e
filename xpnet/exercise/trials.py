"""The nets and minibatches on which a submission is tried, and what it does there."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from xpnet.exercise.program import Batch, Layer
from xpnet.exercise.submission import Stopped, Submission


@dataclass(frozen=True)
class Check:
    """A net and the sizes of the minibatches of successive calls."""

    sizes: tuple[int, ...]
    batches: tuple[int, ...]
    eta: float = 2.0

    def describe(self, call: int) -> str:
        """Net and minibatch of a call, counted from 1."""
        n = self.batches[call - 1]
        row = f", call {call} of {len(self.batches)}" if len(self.batches) > 1 else ""
        return f"{'-'.join(map(str, self.sizes))} ({n} sample{'s' * (n > 1)}{row})"

    def start(self) -> list[Layer]:
        """Weights that saturate nothing, biases that are all different."""
        rng = np.random.default_rng(len(self.sizes))
        pairs = zip(self.sizes[:-1], self.sizes[1:], strict=True)
        return [(rng.standard_normal((o, i)) / np.sqrt(i), rng.standard_normal((o, 1))) for i, o in pairs]

    def samples(self) -> list[Batch]:
        """For each call x (n_in, N) in [0, 1) and y (n_out, N) of zeros and ones."""
        rng = np.random.default_rng(sum(self.sizes))
        n_in, n_out = self.sizes[0], self.sizes[-1]
        return [(rng.random((n_in, n)), rng.integers(0, 2, (n_out, n)).astype(float)) for n in self.batches]


CHECKS = (
    Check((5, 4, 3), (7,)),
    Check((5, 4, 3), (10,), eta=0.5),
    Check((5, 4, 3), (1,)),
    Check((6, 3), (7,)),
    Check((4, 3, 1), (7,)),
    Check((5, 6, 4, 3), (10,)),
    Check((4, 4, 4), (7,)),
    Check((4, 4, 4, 4), (4,)),  # here every product and every sum has a shape that fits
    Check((5, 4, 3), (10, 10, 7), eta=0.5),
)


@dataclass
class Outcome:
    """What a submission did in a check: the layers after each call, and what stopped it, if anything did."""

    check: Check
    start: list[Layer]
    states: list[list[Layer]] = field(default_factory=list)
    stopped: Stopped | None = None
    changed: list[str] = field(default_factory=list)


def run(submission: Submission, check: Check) -> Outcome:
    """The calls of one check, on a new net."""
    net = submission.new(check.sizes)
    outcome = Outcome(check, submission.set(net, check.start()))
    for i, (x, y) in enumerate(check.samples(), 1):
        try:
            changed = submission.call(net, x, y, check.eta, check.describe(i))
            outcome.states.append(submission.layers(net, len(outcome.start)))
        except Stopped as error:
            outcome.stopped = error
            break
        outcome.changed += changed
    return outcome
