"""What the parts of a training step take: parts that add up to it.

The whole is ``Trainer.step``; its calls (calls.py) are made again in the step's order, on the step's memory and with the same
workers, and the clock is read after each. The parts are

- ``products``, ``elementwise`` (reductions too), ``copies`` and ``update``: seconds inside the calls, from a call until it
  returns, so with what NumPy itself does about each (``dispatch`` says about how much). Of what n workers do side by side each
  call counts 1/n of its seconds.
- ``waiting``: what the stages that workers share take beyond that: handing over, and workers that have less to do.
- ``python``: what is left of the whole: code of layers, records, loss and optimizer, checks, loops over calls.

The calls are made with a clock and without: those without say what all of them take, and what the clock costs, which is
subtracted from each. Whole and calls are timed in turns, in rounds of some hundredths of a second, and the parts are taken as
shares of the whole of the same round, so that slow moments of the machine change neither.
"""

import contextlib
import operator
import statistics
import time
from array import array
from typing import NamedTuple

import numpy as np
from calls import KINDS, PHASES, Noted, noted

from xpnet.backends.recording import replay
from xpnet.backends.workers import one_blas_thread
from xpnet.bench.timing import Refused

PARTS = (*KINDS, "waiting", "python")
ROUND_SECONDS = 0.03  # of each: the step, its calls with a clock, its calls without
FEWEST = 5  # rounds
CLOCK = 0.25  # of the step: a clock that costs more spoils what it measures
LESS_THAN_NONE = -0.05  # of the step: no Python is left, and calls were noted that are not of the step


def clocked(calls, stamps):
    """Make the calls, and write down when each had returned, in nanoseconds."""
    clock = time.perf_counter_ns
    stamps[0] = clock()
    for i, (f, args) in enumerate(calls, 1):
        f(*args)
        stamps[i] = clock()


def cost_of(calls, tries=7):
    """Seconds of one of these calls in a record's replay: the least of several."""
    spent = []
    for _ in range(tries):
        start = time.perf_counter()
        replay(calls)
        spent.append((time.perf_counter() - start) / len(calls))
    return min(spent)


def loop_cost():
    """Seconds that a replay itself takes for a call."""
    return cost_of([(operator.is_, (0, 0))] * 2000)


def dispatch_cost():
    """Seconds that NumPy takes for a call in which there is nothing to compute: an addition of two numbers in arrays."""
    a, b, out = (np.zeros(1, np.float32) for _ in range(3))
    return max(cost_of([(np.add, (a, b, out))] * 2000) - loop_cost(), 0.0)


class Replay:
    """The calls of a step, made again by the workers with a clock or without."""

    def __init__(self, found: Noted, workers):
        self.leaves, self.workers = found.leaves, workers
        self.side_by_side = np.array([len(stage.shares) for stage in found.stages for share in stage.shares for _ in share])
        self._plain = [[[leaf[:2] for leaf in share] for share in stage.shares] for stage in found.stages]
        self._stamps = [[array("q", bytes(8 * len(calls) + 8)) for calls in shares] for shares in self._plain]
        self._clocked = [
            [[(clocked, pair)] for pair in zip(shares, stamps, strict=True)]
            for shares, stamps in zip(self._plain, self._stamps, strict=True)
        ]

    def plain(self):
        for shares in self._plain:
            self.workers.replay(shares)

    def with_clock(self, count):
        """Means of so many replays, in seconds: of each call its part of the whole, of all that workers waited, of a replay."""
        calls, shared, whole = np.zeros(len(self.leaves)), 0.0, 0.0
        for _ in range(count):
            start = time.perf_counter()
            for shares in self._clocked:
                if len(shares) == 1:
                    self.workers.replay(shares)
                else:
                    began = time.perf_counter()
                    self.workers.replay(shares)
                    shared += time.perf_counter() - began
            whole += time.perf_counter() - start
            calls += np.concatenate([np.diff(np.frombuffer(s, np.int64)) for stamps in self._stamps for s in stamps])
        calls /= 1e9 * self.side_by_side
        waiting = max(shared - calls[self.side_by_side > 1].sum(), 0.0)
        return calls / count, waiting / count, whole / count


class Round(NamedTuple):
    """Seconds: of the step, of each call (with the clock's cost), of waiting, of all calls with a clock and without."""

    step: float
    calls: np.ndarray
    waiting: float
    clocked: float
    plain: float


class Profile:
    """A step of one trainer and its parts, timed round by round; ``make(device)`` gives the trainer, built."""

    def __init__(self, make, x, y, device):
        self.trainer, found = noted(make, x, y, device)
        self.how, self.replay = found.how, Replay(found, device.workers)
        self._batch = device.put(x), device.put(y)
        self.rounds: list[Round] = []
        least = min(self._timed(self._step, 1) for _ in range(3))
        self.count = max(1, round(ROUND_SECONDS / least))

    def _step(self):
        self.trainer.step(*self._batch)

    def _timed(self, function, count):
        """Seconds of a call, after one that fills the caches where that costs little."""
        if count > 1:
            function()
        start = time.perf_counter()
        for _ in range(count):
            function()
        return (time.perf_counter() - start) / count

    def round(self):
        step = self._timed(self._step, self.count)
        with one_blas_thread() if self.trainer.net.in_blocks else contextlib.nullcontext():  # as during the step
            plain = self._timed(self.replay.plain, self.count)
            self.rounds.append(Round(step, *self.replay.with_clock(self.count), plain))

    def result(self):
        """What the rounds have found; raises Refused where the parts do not add up."""
        if len(self.rounds) < FEWEST:
            raise Refused(f"{len(self.rounds)} rounds are too few for a median: {FEWEST} at least")
        each = 1 / self.replay.side_by_side
        clock = statistics.median((r.clocked - r.plain) / r.step for r in self.rounds)
        calls = np.array([r.calls / r.step for r in self.rounds]) - clock * each / each.sum()
        waiting = np.array([r.waiting / r.step for r in self.rounds])
        parts = {kind: self._sums(calls, "kind", kind) for kind in KINDS} | {"waiting": waiting}
        whole = statistics.median(r.step for r in self.rounds)
        found = {name: float(np.median(shares)) for name, shares in parts.items()}
        found["python"] = 1 - sum(found.values())
        parts["python"] = 1 - sum(parts.values())
        check(found["python"], clock)
        return {
            "seconds": [r.step for r in self.rounds],
            "median": whole,
            "quartiles": quartiles([r.step for r in self.rounds]),
            "calls_a_round": self.count,
            "how": self.how,
            "parts": {name: part(found[name], parts[name], whole) for name in PARTS},
            "phases": {phase: whole * float(np.median(self._sums(calls, "phase", phase))) for phase in PHASES},
            "functions": self._functions(np.median(calls, axis=0) * whole),
            "numpy_calls": len(self.replay.leaves),
            "dispatch": float(dispatch_cost() * each.sum()),
            "clock": clock,
        }

    def _sums(self, calls, key, name):
        """Of each round the sum over the calls that are of this kind or phase."""
        return calls[:, [getattr(leaf, key) == name for leaf in self.replay.leaves]].sum(axis=1)

    def _functions(self, seconds):
        """Calls and seconds by kind and function, the longest first."""
        found = {}
        for leaf, spent in zip(self.replay.leaves, seconds.tolist(), strict=True):
            entry = found.setdefault(
                (leaf.kind, leaf.name), {"kind": leaf.kind, "function": leaf.name, "calls": 0, "seconds": 0.0}
            )
            entry["calls"] += 1
            entry["seconds"] += spent
        return sorted(found.values(), key=lambda entry: -entry["seconds"])


def check(python, clock):
    """Raises Refused where the parts say nothing about the step."""
    if abs(clock) > CLOCK:
        raise Refused(f"reading the clock between the calls changed what they take by {clock:.0%} of the step")
    if python < LESS_THAN_NONE:
        raise Refused(f"the calls alone took {1 - python:.0%} of the step")


def part(share, each, whole):
    return {"seconds": share * whole, "share": share, "quartiles": quartiles(list(each))}


def quartiles(values):
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return float(low), float(high)
