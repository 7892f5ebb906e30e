"""What became slower or quicker between two runs, beyond what runs of the same code differ by."""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xpnet.bench.results import Case, Result, Run

LEAST = 0.10  # a change below this is not one
NOISES = 3.5  # how many times the noise it must exceed


@dataclass
class Change:
    """One case in both runs: ``factor`` is how many times as long it takes now, the machine's own change taken out.

    ``noise`` is that of the factor's logarithm, about its relative error.
    """

    case: Case
    factor: float
    noise: float

    @property
    def real(self) -> bool:
        """Whether it is beyond noise."""
        return abs(math.log(self.factor)) > max(math.log1p(LEAST), NOISES * self.noise)

    def as_dict(self) -> dict[str, Any]:
        """Fit for JSON: None is a noise of which nothing is known."""
        return {"factor": self.factor, "noise": self.noise if math.isfinite(self.noise) else None, "real": self.real}

    def __str__(self) -> str:
        low, high = (math.exp(math.log(self.factor) + sign * 2 * self.noise) for sign in (-1, 1))
        size, word = (self.factor, "slow") if self.factor > 1 else (1 / self.factor, "quick")
        return f"{self.case.name}: {size:.2f} times as {word} ({low:.2f} .. {high:.2f} of the time)"


@dataclass
class Comparison:
    """Outcome of :func:`compare`. ``machine`` is by what factor the machine became slower, by work that is not xpnet's;

    ``whole`` is by what factor all of xpnet's cases together became slower beyond that.
    """

    changes: list[Change]
    machine: float | None
    whole: Change | None
    notes: list[str] = field(default_factory=list)

    @property
    def slower(self) -> list[Change]:
        return sorted((c for c in self.changes if c.real and c.factor > 1), key=lambda c: -c.factor)

    @property
    def quicker(self) -> list[Change]:
        return sorted((c for c in self.changes if c.real and c.factor < 1), key=lambda c: c.factor)

    @property
    def worse(self) -> bool:
        """Whether any case, or xpnet as a whole, became slower."""
        return bool(self.slower or (self.whole and self.whole.real and self.whole.factor > 1))

    def as_dict(self) -> dict[str, Any]:
        rows = [{"case": c.case.name, **c.as_dict()} for c in self.changes]
        whole = self.whole and self.whole.as_dict()
        return {"machine": self.machine, "whole": whole, "changes": rows, "notes": self.notes, "worse": self.worse}

    def __str__(self) -> str:
        slower, quicker = self.slower, self.quicker
        verdict = f"{len(slower)} slower, {len(quicker)} quicker, {len(self.changes) - len(slower) - len(quicker)} as they were"
        lines = [f"{verdict} ({len(self.changes)} cases in both)"]
        lines += [f"  slower   {change}" for change in slower] + [f"  quicker  {change}" for change in quicker]
        if self.machine is None:
            lines.append("no work that is not xpnet's is in both: what all cases have in common is taken for the machine's")
        else:
            lines.append(f"the machine itself: {self.machine:.2f} times as slow, which is taken out (work that is not xpnet's)")
        if self.whole:
            real = "beyond noise" if self.whole.real else "within noise"
            lines.append(f"all of xpnet's cases together: {self.whole.factor:.2f} times as slow beyond that, {real}")
        return "\n".join([*lines, *self.notes])


def compare(old: Sequence[Run], new: Sequence[Run]) -> Comparison:
    """Match the cases of two sets of runs and judge every change by the noise of both.

    A case's time is its quickest round: what disturbs a round makes it longer, never shorter. The noise of a change is how
    uncertain that is in both runs, and what the changes of all cases scatter.
    Raises ValueError where they have no case in common.
    """
    before, after = _by_case(old), _by_case(new)
    pairs = [(before[key], after[key]) for key in before if key in after and before[key].case.suite != "startup"]
    if not pairs:
        raise ValueError("the files have no case in common")
    shifts = {i: math.log(_time(b) / _time(a)) for i, (a, b) in enumerate(pairs)}
    ours = [i for i, (a, _) in enumerate(pairs) if not _foreign(a)] or list(shifts)
    foreign = [i for i in shifts if i not in ours] or ours
    kinds = {i: pairs[i][0].case.device for i in ours}  # a CPU and a GPU do not become slower together
    common = {kind: statistics.median(shifts[i] for i in ours if kinds[i] == kind) for kind in set(kinds.values())}
    machine = statistics.median(shifts[i] for i in foreign)
    left = {i: shifts[i] - common[kinds[i]] for i in ours}
    scatter = _scale(left.values())
    changes = [Change(pairs[i][0].case, math.exp(left[i]), math.hypot(*map(_noise, pairs[i]), scatter)) for i in ours]
    error = math.hypot(scatter / len(ours) ** 0.5, _scale(shifts[i] - machine for i in foreign) / len(foreign) ** 0.5)
    whole = (
        Change(pairs[0][0].case, math.exp(statistics.median(shifts[i] for i in ours) - machine), error)
        if foreign is not ours
        else None
    )
    return Comparison(changes, math.exp(machine) if whole else None, whole, _notes(old, new, before, after))


def _by_case(runs: Sequence[Run]) -> dict[tuple, Result]:
    return {(r.case, r.peer): r for run in runs for r in run.results}


def _foreign(result: Result) -> bool:
    return result.case.suite == "harness" or result.case.form == "book" or result.peer != "xpnet"


def _time(result: Result) -> float:
    return min(result.seconds)


def _noise(result: Result) -> float:
    """How uncertain the quickest of so many rounds is: the standard error of its logarithm, by the bootstrap.

    A draw of n rounds with replacement has the k-th quickest as its quickest with ((n - k + 1)^n - (n - k)^n) / n^n, so that no
    draw need be made. Efron, Annals of Statistics 7 (1979). Of a single round nothing is known.
    """
    n = len(result.seconds)
    if n < 2:
        return math.inf
    logs = [math.log(s) for s in sorted(result.seconds)]
    chances = [((n - k) / n) ** n - ((n - k - 1) / n) ** n for k in range(n)]
    mean = sum(c * x for c, x in zip(chances, logs, strict=True))
    return math.sqrt(sum(c * (x - mean) ** 2 for c, x in zip(chances, logs, strict=True)))


def _scale(values: Iterable[float]) -> float:
    """A standard deviation that outliers do not touch: 1.4826 times the median distance from the middle."""
    found = list(values)
    middle = statistics.median(found)
    return 1.4826 * statistics.median(abs(v - middle) for v in found)


def _notes(old: Sequence[Run], new: Sequence[Run], before: dict, after: dict) -> list[str]:
    notes = []
    machines = [{run.machine["cpu"]["model"] for run in runs} for runs in (old, new)]
    if machines[0] != machines[1]:
        notes.append(f"note: not the same machine ({', '.join(machines[0])}; {', '.join(machines[1])})")
    for name, here, there in (("old", before, after), ("new", after, before)):
        if lone := [here[key].case.name for key in here if key not in there]:
            notes.append(f"only in the {name} file: {len(lone)} cases, {lone[0]}{' and others' if len(lone) > 1 else ''}")
    for run in new:
        notes += [f"refused in the new file: {case}: {why}" for case, why in run.refused.items()]
    return notes
