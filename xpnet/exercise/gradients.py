"""Whether a submission's gradients are right, by what its calls do to known weights; and if not, which mistake it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Any

import numpy as np

from xpnet import book
from xpnet.exercise.matrix_form import CALLS, counted
from xpnet.exercise.mistakes import Mistake, known, variants
from xpnet.exercise.program import Layer, Program, left_out
from xpnet.exercise.submission import Submission, SubmissionError
from xpnet.exercise.trials import CHECKS, Check, Outcome, run

TOLERANCE = 1e-4  # of an array's largest step: above float32's rounding, below what any known mistake does
COSTS = {"quadratic": book.QuadraticCost, "cross-entropy": book.CrossEntropyCost}


@dataclass(frozen=True)
class Difference:
    """An array after a call of a check, beside what it should be; ``layer`` counts from 0, ``call`` from 1."""

    name: str
    layer: int
    check: Check
    call: int
    error: float  # as a fraction of the largest step that is right
    times: float | None = None  # where it is that many times the right step
    shapes: tuple[tuple[int, ...], ...] = ()  # found and right, where they differ

    @property
    def right(self) -> bool:
        return self.error <= TOLERANCE

    def __str__(self) -> str:
        which = "the output layer" if self.layer == len(self.check.sizes) - 2 else f"hidden layer {self.layer + 1}"
        return f"{self.name}[{self.layer}], {which} of the net {self.check.describe(self.call)}: it {self._how()}"

    def _how(self) -> str:
        if self.shapes:
            return f"has the shape {self.shapes[0]} afterwards, not {self.shapes[1]}"
        if self.times is not None:
            return "does not change" if self.times == 0 else f"changes {self.times:.4g} times as much as it should"
        if not np.isfinite(self.error):
            return "is not finite"
        return f"changes by wrong amounts, off by up to {100 * self.error:.3g} % of the largest right one"


@dataclass
class Gradients:
    """The verdict: the cost and form that fit, the first difference, and the mistakes that explain everything seen."""

    cost: str
    error: float
    form: str = "mean"  # or "sum", of a backprop alone
    first: Difference | None = None
    stop: Outcome | None = None  # the first check in which shapes do not fit
    mistakes: tuple[Mistake, ...] = ()
    changed: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return self.first is None and self.stop is None

    def as_dict(self) -> dict[str, Any]:
        first = self.first and {"array": self.first.name, "layer": self.first.layer, "text": str(self.first)}
        return {
            "right": self.ok,
            "cost": self.cost,
            "form": self.form,
            "largest_difference": self.error if self.ok else None,
            "first_wrong": first,
            "stopped": self.stop and str(self.stop.stopped),
            "mistakes": [{"key": m.key, "text": m.text} for m in self.mistakes],
            "changed_inputs": self.changed,
        }


def choose(submissions: Sequence[Submission]) -> Submission:
    """The way of calling in which most is right, or else the program gets furthest; the first of equals."""
    return max(submissions, key=_merit) if len(submissions) > 1 else submissions[0]


def _merit(submission: Submission) -> tuple[bool, int, int]:
    with counted() as tally:
        for _ in range(CALLS):
            tally.clear()
            try:
                outcome = run(submission, CHECKS[0])
            except SubmissionError:
                outcome = None
    if outcome is None:
        return False, 0, tally.steps.total()
    right_arrays = max(sum(d.right for d in _differences([outcome], base)) for base in _bases(submission, None))
    return not outcome.stopped, right_arrays, tally.steps.total()


@np.errstate(all="ignore")  # what is not finite is told in the report
def judge(submission: Submission, cost: str | None = None) -> Gradients:
    """Run all checks, find the cost that fits (or take ``cost``), and name what is wrong."""
    outcomes = [run(submission, check) for check in CHECKS]
    changed = list(dict.fromkeys(name for o in outcomes for name in o.changed))
    bases = list(_bases(submission, cost))
    differences = [list(_differences(outcomes, base)) for base in bases]
    best = max(range(len(bases)), key=lambda i: sum(d.right for d in differences[i]))
    stop = next((o for o in outcomes if o.stopped), None)
    mistakes: tuple[Mistake, ...] = ()
    if stop or not all(d.right for d in differences[best]):
        divisors = map(_divisor, differences)
        best, mistakes = _explained(outcomes, zip(bases, divisors, strict=True)) or (best, ())
    first = next((d for d in differences[best] if not d.right), None)
    if first and first.shapes:  # as the learner has them
        first = dataclasses.replace(first, shapes=tuple(submission.shown(first.name, s) for s in first.shapes))
    error = max((d.error for d in differences[best] if d.right), default=0.0)
    (name, form), _ = bases[best]
    return Gradients(name, error, form, first, stop, mistakes, changed)


Base = tuple[tuple[str, str], Program]  # cost and form, and the program that is right so


def _bases(submission: Submission, cost: str | None) -> Iterator[Base]:
    for name in COSTS if cost is None else (cost,):
        lines: dict[str, Any] = {} if name == "quadratic" else {"output_prime": left_out}
        yield (name, "mean"), Program(**lines)
        if submission.way.method == "backprop":
            yield (name, "sum"), Program(factor_w=_whole, factor_b=_whole, **lines)


def _whole(n: int, eta: float) -> float:
    return eta


def right(start: list[Layer], check: Check, base: Base) -> list[list[Layer]]:
    """The layers after each call, by the book's program."""
    (cost, form), _ = base
    net = book.Network(list(check.sizes), cost=COSTS[cost])
    net.weights, net.biases = [w for w, _ in start], [b for _, b in start]
    states = []
    for x, y in check.samples():
        eta = check.eta * (x.shape[1] if form == "sum" else 1)
        net.update_mini_batch([(x[:, [i]], y[:, [i]]) for i in range(x.shape[1])], eta)
        states.append(list(zip(net.weights, net.biases, strict=True)))
    return states


def _differences(outcomes: Sequence[Outcome], base: Base) -> Iterator[Difference]:
    """One for each array after each call, in the order in which backprop computes them: from the output layer on."""
    for o in outcomes:
        before = o.start
        for call, (found, wanted) in enumerate(zip(o.states, right(o.start, o.check, base), strict=False), 1):
            for layer in reversed(range(len(wanted))):
                for k, name in ((1, "biases"), (0, "weights")):
                    seen = _compared(before[layer][k], found[layer][k], wanted[layer][k])
                    yield Difference(name, layer, o.check, call, **seen)
            before = wanted


def _compared(before: np.ndarray, found: np.ndarray, wanted: np.ndarray) -> dict[str, Any]:
    """What a :class:`Difference` says of two arrays."""
    if found.shape != wanted.shape:
        return {"error": np.inf, "shapes": (found.shape, wanted.shape)}
    step, meant = found - before, wanted - before
    largest = np.abs(meant).max()
    error = float(np.abs(found - wanted).max() / largest)
    times = float((step * meant).sum() / (meant * meant).sum())
    constant = bool(np.abs(step - times * meant).max() <= TOLERANCE * largest)
    return {"error": error if error == error else np.inf, "times": times if constant else None}


def _explained(outcomes: Sequence[Outcome], bases: Iterable[tuple[Base, float]]) -> tuple[int, tuple[Mistake, ...]] | None:
    """The fewest mistakes that compute what was seen, in every check, and stop where the submission first stops.

    With each of the ``bases`` comes the divisor that a fixed one would be. A submission may stop elsewhere too: many pass
    a delta back to the inputs, which is of no use but has a shape.
    """
    if not any(o.states for o in outcomes):
        return None
    stop = next((o for o in outcomes if o.stopped), None)
    candidates = [(i, program, known(divisor)) for i, ((_, program), divisor) in enumerate(bases)]
    for size in (1, 2):
        for i, program, mistakes in candidates:
            for made, variant in variants(program, mistakes, size):
                if all(_same(o, variant, o is stop) for o in outcomes):
                    return i, made
    return None


def _divisor(differences: Sequence[Difference]) -> float:
    """The number that the first step which is too long or too short was divided by."""
    wrong = next((d for d in differences if d.times and not d.right), None)
    return float(f"{wrong.check.batches[0] / abs(wrong.times):.5g}") if wrong and wrong.times else 1.0


def _same(outcome: Outcome, program: Program, stops: bool) -> bool:
    """Whether the program does what was seen; ``stops``: it is to stop where the submission did."""
    states = program.run(outcome.start, outcome.check.samples(), outcome.check.eta)
    ran = len(outcome.states)
    if len(states) < ran or (stops and len(states) > ran):
        return False
    before = outcome.start
    for found, wanted in zip(outcome.states, states, strict=False):
        if not all(map(_close, chain(*before), chain(*found), chain(*wanted))):
            return False
        before = found
    return True


def _close(before: np.ndarray, found: np.ndarray, wanted: np.ndarray) -> bool:
    if found.shape != wanted.shape:
        return False
    step = np.abs(wanted - before).max() if before.shape == wanted.shape else np.abs(wanted).max()
    return bool(np.abs(found - wanted).max() <= TOLERANCE * max(step, 1e-9))
