"""What was timed, in files that say how: one run or several machines' runs, with schema and version."""

from __future__ import annotations

import dataclasses
import json
import math
import statistics
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from xpnet.pages import save

SCHEMA, VERSION = "xpnet-bench", 1


@dataclasses.dataclass(frozen=True, order=True)
class Case:
    """One thing that is timed, as data.

    ``suite`` is the table it stands in, ``model`` what is computed, ``form`` how: "book" (its program), "per sample" or
    "matrix"; a part of the step; a method. ``batch`` is rows a call (0 where there are none), ``threads`` those of BLAS and
    of xpnet's workers.
    """

    suite: str
    model: str
    form: str
    device: str = "cpu"
    batch: int = 0
    dtype: str = "float32"
    threads: int = 1

    @property
    def name(self) -> str:
        """``forms / 784-30-10 / matrix / cpu / float32 / batch 10 / 1 thread``."""
        batch = [f"batch {self.batch}"] if self.batch else []
        threads = f"{self.threads} thread{'s' if self.threads > 1 else ''}"
        return " / ".join([self.suite, self.model, self.form, self.device, self.dtype, *batch, threads])


@dataclasses.dataclass
class Check:
    """Proof that what was timed is right: the largest difference from a reference, relative, and what was allowed."""

    what: str
    difference: float
    tolerance: float

    @property
    def ok(self) -> bool:
        return self.difference <= self.tolerance  # NaN is not


@dataclasses.dataclass
class Result:
    """One case's timings: ``seconds`` per call, one figure a round, each the mean of ``calls`` calls.

    ``threads_seen`` are those that BLAS had during the rounds, ``synchronised`` says that the device had nothing left to do
    whenever the clock was stopped.
    """

    case: Case
    seconds: list[float]
    calls: int
    check: Check
    threads_seen: int | None
    synchronised: bool
    peer: str = "xpnet"

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def quartiles(self) -> tuple[float, float]:
        """Lower and upper; of few rounds, the least and the largest."""
        if len(self.seconds) < 4:
            return min(self.seconds), max(self.seconds)
        low, _, high = statistics.quantiles(self.seconds, n=4, method="inclusive")
        return low, high

    @property
    def per_second(self) -> float:
        """Rows a second, or calls where a call has no rows."""
        return max(self.case.batch, 1) / self.median

    def as_dict(self) -> dict[str, Any]:
        low, high = self.quartiles
        summary = {"median": self.median, "quartiles": [low, high], "minimum": min(self.seconds), "count": len(self.seconds)}
        rest = {name: getattr(self, name) for name in ("calls", "threads_seen", "synchronised", "peer")}
        return {
            **dataclasses.asdict(self.case),
            **summary,
            "seconds": self.seconds,
            **rest,
            "check": dataclasses.asdict(self.check),
        }


@dataclasses.dataclass
class Run:
    """What one command timed on one machine.

    ``machine`` is plain data (:func:`xpnet.bench.machine.describe`); ``left_out`` names cases that were not or could not be
    run, each with the reason, ``refused`` those whose figures the harness did not accept.
    """

    machine: dict[str, Any]
    command: list[str]
    revision: str | None
    seed: int
    started: str
    quick: bool
    seconds: float = 0.0
    results: list[Result] = dataclasses.field(default_factory=list)
    refused: dict[str, str] = dataclasses.field(default_factory=dict)
    left_out: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def name(self) -> str:
        """The machine in a few words: its GPUs, or its CPU and cores."""
        gpus = [gpu["name"] for gpu in self.machine.get("gpus", ())]
        cpu = self.machine["cpu"]
        return ", ".join(gpus) or f"{cpu['model']}, {cpu['usable_cores']} cores"

    def as_dict(self) -> dict[str, Any]:
        rest = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "results"}
        return {**rest, "results": [r.as_dict() for r in self.results]}


class BadFile(ValueError):
    """A file that is not one of results, or of another version."""


class Incomparable(ValueError):
    """Two results that may not be divided by each other."""


def ratio(slow: Result, fast: Result) -> float:
    """How many times as long a call of ``slow`` takes.

    Raises Incomparable where the two had different numbers of threads (on the same device), different numbers of rows, or
    no proof that both compute what they should.
    """
    a, b = slow.case, fast.case
    if a.batch != b.batch:
        raise Incomparable(f"{a.name} and {b.name}: a call of one has {a.batch} rows, of the other {b.batch}")
    if a.device == b.device and (a.threads, slow.threads_seen) != (b.threads, fast.threads_seen):
        raise Incomparable(f"{a.name} ({slow.threads_seen} of BLAS) and {b.name} ({fast.threads_seen}): unequal threads")
    for one in (slow, fast):
        if not one.check.ok:
            raise Incomparable(f"{one.case.name}: its results were not right ({one.check.what}: {one.check.difference:g})")
        if not one.synchronised:
            raise Incomparable(f"{one.case.name}: the clock was stopped before the device had finished")
    return slow.median / fast.median


def write(path: Path, runs: Sequence[Run]) -> None:
    """Write runs as JSON, whole or not at all."""
    record = {"schema": SCHEMA, "version": VERSION, "runs": [run.as_dict() for run in runs]}
    save(json.dumps(record, indent=1) + "\n", path)


def read(*paths: str | Path) -> list[Run]:
    """The runs of these files, in order; raises BadFile that says which file is not one of results, and why."""
    return [run for path in paths for run in _runs(Path(path))]


def _runs(path: Path) -> Iterable[Run]:
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # UnicodeDecodeError is one
        raise BadFile(f"{path}: not JSON ({error})") from error
    if not isinstance(record, dict) or record.get("schema") != SCHEMA:
        raise BadFile(f"{path}: not a file of benchmark results (xpnet bench --out {path.name} writes one)")
    if record.get("version") != VERSION:
        raise BadFile(f"{path}: version {record.get('version')!r} of the format; this xpnet reads version {VERSION}")
    try:
        return [_run(found) for found in record["runs"]]
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise BadFile(f"{path}: damaged ({type(error).__name__}: {error})") from error


def _run(found: dict[str, Any]) -> Run:
    known = {f.name: found[f.name] for f in dataclasses.fields(Run)}
    run = Run(**{**known, "results": [_result(r) for r in found["results"]]})
    str(run.name)  # the machine has what a report needs
    return run


def _result(found: dict[str, Any]) -> Result:
    case = Case(**{f.name: found[f.name] for f in dataclasses.fields(Case)})
    seconds = [float(s) for s in found["seconds"]]
    if not seconds or not all(0 < s < math.inf for s in seconds):
        raise ValueError(f"{case.name} has no times, or no sensible ones")
    rest = {name: found[name] for name in ("calls", "threads_seen", "synchronised", "peer")}
    return Result(case, seconds, check=Check(**found["check"]), **rest)
