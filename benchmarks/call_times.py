"""What the parts of a training step take: parts that add up to it.

The whole is ``Trainer.step``; its calls (calls.py) are made again in the step's order, on the step's memory and with the same
workers, and the clock is read after each. The parts are

- ``products``, ``elementwise`` (reductions too), ``copies`` and ``update``: seconds inside the calls, from a call until it
  returns, so with what NumPy itself does about each (``dispatch`` says about how much). Of what n workers do side by side each
  call counts 1/n of its seconds.
- ``waiting``: what the stages that workers share take beyond that: handing over, and workers that have less to do.
- ``python``: what is left of the whole: code of layers, records, loss and optimizer, checks, loops over calls.

All calls together are timed without a clock between them, and python is the whole less that; with a clock, whose own cost is
subtracted, the parts are told apart, and scaled to that time. Whole and calls are timed in turns, in rounds of some
hundredths of a second; the parts are taken as shares of the whole of the same round, and of the rounds the quicker half
counts, so that slow moments of the machine change neither.
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
#: Of steps that are timed. With more of it units die in thousands of steps on one batch; Adam's means of their gradients then
#: become denormal numbers, which are slow.
LEARNING_RATE = 1e-12
ROUND_SECONDS = 0.03  # of each: the step, its calls with a clock, its calls without
FEWEST = 8  # rounds
COLD = 5  # times what reading the clock costs at least it may cost where caches are cold
SCALE = 0.2  # more or less than the calls without a clock: their parts are not those of the step
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


def clock_cost(count=2000, tries=7):
    """Seconds that reading the clock adds to a call, at least."""
    stamps, spent = array("q", bytes(8 * count + 8)), []
    for _ in range(tries):
        clocked([(operator.is_, (0, 0))] * count, stamps)
        spent.append((stamps[-1] - stamps[0]) / 1e9 / count)
    return max(min(spent) - loop_cost(), 0.0)


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
        steps, whole = [r.step for r in self.rounds], statistics.median(r.step for r in self.rounds)
        calls, waiting, together = self._shares(quicker_half(self.rounds))
        parts = {kind: self._sums(calls, "kind", kind) for kind in KINDS} | {"waiting": waiting}
        scale = np.median(together) / sum(np.median(found) for found in parts.values())
        parts = {name: scale * found for name, found in parts.items()} | {"python": 1 - together}
        found = {name: float(np.median(each)) for name, each in parts.items()}
        check(found["python"], scale)
        return {
            "seconds": steps,
            "median": whole,
            "quartiles": quartiles(steps),
            "calls_a_round": self.count,
            "how": self.how,
            "parts": {name: part(found[name], parts[name], whole) for name in PARTS},
            "phases": {phase: whole * scale * float(np.median(self._sums(calls, "phase", phase))) for phase in PHASES},
            "functions": self._functions(calls, whole * scale),
            "numpy_calls": len(self.replay.leaves),
            "dispatch": float(dispatch_cost() * (1 / self.replay.side_by_side).sum()),
            "scale": float(scale),
        }

    def _shares(self, rounds):
        """Of each round, as parts of the step: each call and all waiting with a clock, all of it without."""
        each = 1 / self.replay.side_by_side
        seen, least = statistics.median(r.clocked - r.plain for r in rounds) / each.sum(), clock_cost()
        cost, loop = min(max(seen, least), COLD * least), loop_cost() * each.sum()
        calls = np.array([np.maximum(r.calls - cost * each, 0) / r.step for r in rounds])
        waiting = np.array([r.waiting / r.step for r in rounds])
        return calls, waiting, np.array([(r.plain - loop) / r.step for r in rounds])

    def _sums(self, calls, key, name):
        """Of each round the sum over the calls that are of this kind or phase."""
        return calls[:, [getattr(leaf, key) == name for leaf in self.replay.leaves]].sum(axis=1)

    def _functions(self, calls, whole):
        """Calls and seconds by kind and function, the longest first."""
        places = {}
        for place, leaf in enumerate(self.replay.leaves):
            places.setdefault((leaf.kind, leaf.name), []).append(place)
        found = [
            {"kind": k, "function": f, "calls": len(at), "seconds": whole * float(np.median(calls[:, at].sum(axis=1)))}
            for (k, f), at in places.items()
        ]
        return sorted(found, key=lambda entry: -entry["seconds"])


def quicker_half(rounds):
    """What disturbs makes rounds longer."""
    return sorted(rounds, key=lambda r: r.step + r.clocked + r.plain)[: -(-len(rounds) // 2)]


def check(python, scale):
    """Raises Refused where the parts say nothing about the step."""
    if abs(scale - 1) > SCALE:
        raise Refused(f"the calls one by one are {1 / scale:.0%} of what they take together")
    if python < LESS_THAN_NONE:
        raise Refused(f"the calls alone took {1 - python:.0%} of the step")


def part(share, each, whole):
    return {"seconds": share * whole, "share": share, "quartiles": quartiles(list(each))}


def quartiles(values):
    low, _, high = statistics.quantiles(values, n=4, method="inclusive")
    return float(low), float(high)
