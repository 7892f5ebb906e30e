"""Whether a submission's gradients are right, by what its calls do to known weights; and if not, which mistake it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet import book
from xpnet.exercise.matrix_form import CALLS, steps_counted
from xpnet.exercise.mistakes import Mistake, combinations, known
from xpnet.exercise.program import Layer, Program, left_out
from xpnet.exercise.submission import Submission, SubmissionError
from xpnet.exercise.trials import CHECKS, Check, Outcome, run

TOLERANCE = 1e-4  # of an array's largest step: above float32's rounding, below what any known mistake does
COSTS = {"quadratic": book.QuadraticCost, "cross-entropy": book.CrossEntropyCost}


@dataclass(frozen=True)
class Difference:
    """The first array of a check that is not what it should be; ``layer`` counts from 0, ``call`` from 1."""

    name: str
    layer: int
    of: int
    check: Check
    call: int
    error: float  # as a fraction of the largest step that is right
    times: float | None = None  # where it is that many times the right step
    shapes: tuple[tuple[int, ...], tuple[int, ...]] | None = None  # found and right

    def __str__(self) -> str:
        which = "the output layer" if self.layer == self.of - 1 else f"hidden layer {self.layer + 1}"
        return f"{self.name}[{self.layer}], {which} of the net {self.check.describe(self.call)}: it {self._how()}"

    def _how(self) -> str:
        if self.shapes:
            return f"has the shape {self.shapes[0]} afterwards, not {self.shapes[1]}"
        if self.times is not None:
            return "does not change" if self.times == 0 else f"changes {self.times:.4g} times as much as it should"
        return f"is off by {100 * self.error:.3g} % of the largest step" if np.isfinite(self.error) else "is not finite"


@dataclass
class Gradients:
    """The verdict: the cost and form that fit, the first difference, and the mistakes that explain everything seen."""

    cost: str
    checks: int
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
    with steps_counted() as steps:
        for _ in range(CALLS):
            steps.clear()
            try:
                outcome = run(submission, CHECKS[0])
            except SubmissionError:
                outcome = None
    if outcome is None:
        return False, 0, steps.total()
    right_arrays = max(_score([outcome], base)[0] for base in _bases(submission, None))
    return not outcome.stopped, right_arrays, steps.total()


@np.errstate(all="ignore")  # what is not finite is told in the report
def judge(submission: Submission, cost: str | None = None) -> Gradients:
    """Run all checks, find the cost that fits (or take ``cost``), and name what is wrong."""
    outcomes = [run(submission, check) for check in CHECKS]
    changed = list(dict.fromkeys(name for o in outcomes for name in o.changed))
    bases = list(_bases(submission, cost))
    scores = [_score(outcomes, base) for base in bases]
    best = max(range(len(bases)), key=lambda i: scores[i][0])
    mistakes: tuple[Mistake, ...] = ()
    if scores[best][1] or any(o.stopped for o in outcomes):
        best, mistakes = _explained(outcomes, bases) or (best, ())
    (name, form), _ = bases[best]
    first = _named(submission, scores[best][1])
    stop = next((o for o in outcomes if o.stopped), None)
    return Gradients(name, len(CHECKS), scores[best][2], form, first, stop, mistakes, changed)


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


def _score(outcomes: Sequence[Outcome], base: Base) -> tuple[int, Difference | None, float]:
    """Number of arrays that are right, the first that is not, the largest error."""
    count, first, largest = 0, None, 0.0
    for o in outcomes:
        for difference in _differences(o, right(o.start, o.check, base)):
            if difference.error <= TOLERANCE:
                count += 1
                largest = max(largest, difference.error)
            else:
                first = first or difference
    return count, first, largest


def _differences(outcome: Outcome, states: list[list[Layer]]) -> Iterator[Difference]:
    """One for each array after each call, in the order in which backprop computes them: from the output layer on."""
    before = outcome.start
    for call, (found, wanted) in enumerate(zip(outcome.states, states, strict=False), 1):
        for layer in reversed(range(len(wanted))):
            for k, name in ((1, "biases"), (0, "weights")):
                arrays = before[layer][k], found[layer][k], wanted[layer][k]
                yield _difference(name, layer, outcome.check, call, *arrays)
        before = wanted


def _difference(
    name: str, layer: int, check: Check, call: int, before: np.ndarray, found: np.ndarray, wanted: np.ndarray
) -> Difference:
    of = len(check.sizes) - 1
    if found.shape != wanted.shape:
        return Difference(name, layer, of, check, call, np.inf, shapes=(found.shape, wanted.shape))
    step, meant = found - before, wanted - before
    error = float(np.abs(found - wanted).max() / np.abs(meant).max())
    times = float((step * meant).sum() / (meant * meant).sum())
    constant = bool(np.abs(step - times * meant).max() <= TOLERANCE * np.abs(meant).max())
    return Difference(name, layer, of, check, call, error if error == error else np.inf, times if constant else None)


def _named(submission: Submission, first: Difference | None) -> Difference | None:
    """The shapes as the learner has them."""
    if first is None or first.shapes is None:
        return first
    found, wanted = (submission.shown(first.name, shape) for shape in first.shapes)
    return Difference(first.name, first.layer, first.of, first.check, first.call, first.error, shapes=(found, wanted))


def _explained(outcomes: Sequence[Outcome], bases: Sequence[Base]) -> tuple[int, tuple[Mistake, ...]] | None:
    """The fewest mistakes that compute what was seen, in every check, and stop where the submission first stops.

    A submission may stop elsewhere too: many pass a delta back to the inputs, which is of no use but has a shape.
    """
    if not any(o.states for o in outcomes):
        return None
    stop = next((o for o in outcomes if o.stopped), None)
    for size in (1, 2):
        for i, (_, program) in enumerate(bases):
            for mistakes in combinations(known(_divisor(outcomes, bases[i])), program):
                if len(mistakes) == size and all(_same(o, _with(program, mistakes), o is stop) for o in outcomes):
                    return i, mistakes
    return None


def _with(program: Program, mistakes: Sequence[Mistake]) -> Program:
    for mistake in mistakes:
        program = mistake(program)
    return program


def _divisor(outcomes: Sequence[Outcome], base: Base) -> float:
    """The number that the first step which is too long or too short was divided by."""
    for o in outcomes:
        for difference in _differences(o, right(o.start, o.check, base)):
            if difference.times and difference.error > TOLERANCE:
                return float(f"{o.check.batches[0] / abs(difference.times):.5g}")
    return 1.0


def _same(outcome: Outcome, program: Program, stops: bool) -> bool:
    """Whether the program does what was seen; ``stops``: it is to stop where the submission did."""
    states = program.run(outcome.start, outcome.check.samples(), outcome.check.eta)
    ran = len(outcome.states)
    if None in states[:ran] or (stops and states[ran] is not None):
        return False
    before = outcome.start
    for found, wanted in zip(outcome.states, states, strict=False):
        assert wanted is not None
        for old, new, meant in zip(_reversed(before), _reversed(found), _reversed(wanted), strict=True):
            if not _close(old, new, meant):
                return False
        before = found
    return True


def _reversed(layers: list[Layer]) -> Iterator[np.ndarray]:
    """The arrays in the order in which backprop computes their gradients."""
    for w, b in reversed(layers):
        yield from (b, w)


def _close(before: np.ndarray, found: np.ndarray, wanted: np.ndarray) -> bool:
    if found.shape != wanted.shape:
        return False
    step = np.abs(wanted - before).max() if before.shape == wanted.shape else np.abs(wanted).max()
    return bool(np.abs(found - wanted).max() <= TOLERANCE * max(step, 1e-9))
