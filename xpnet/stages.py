"""Passes as recorded calls, in stages that workers make side by side."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from typing import Any

from xpnet.backends.device import Array, DTypeLike
from xpnet.backends.recording import Call, Recorder, plain, recorded
from xpnet.step import Pass

HANDING_OVER = 1 << 19  # elements that could be computed while threads are woken


def work_in(call: Call) -> int:
    """About how much a call has to do: the elements of its largest argument."""
    return max((a.size for a in call[1] if hasattr(a, "size")), default=0)


class Plan:
    """Recorded calls in stages: in each first those of one, for all, then those of the workers side by side."""

    def __init__(self, step: Pass, threads: int):
        self.recorder = Recorder()
        self._parameters, self._workers, self._threads = step.network.parameters, step.device.workers, threads
        self._stages: list[tuple[list[Call], list[list[Call]]]] = []
        self._number = [step.number]  # of the step that is replayed, for the random numbers
        self._open()

    def _open(self) -> None:
        self._stages.append(([], [[] for _ in range(self._threads)]))

    def next_is(self, worker: int | None) -> None:
        """What follows is done by this worker, or where None by one for all: before the workers of a stage begin."""
        alone, shares = self._stages[-1]
        self.recorder.calls = alone if worker is None else shares[worker]

    def end_stage(self) -> None:
        self._open()

    @contextlib.contextmanager
    def recording(self) -> Iterator[None]:
        """Note what this thread does with the arrays of parts and with parameters."""
        views = [
            (vars(p), name, vars(p)[name]) for p in self._parameters.values() for name in ("value", "grad") if name in vars(p)
        ]
        for entry, name, view in views:
            entry[name] = recorded(view)
        try:
            with self.recorder.active():
                yield
        finally:
            for entry, name, view in views:
                entry[name] = view

    def settle(self) -> None:
        """Leave stages to one worker in which there is less to do than handing work over takes."""
        for alone, shares in self._stages:
            if sum(map(work_in, itertools.chain.from_iterable(shares))) < HANDING_OVER:
                alone.extend(itertools.chain.from_iterable(shares))
                shares.clear()

    def draw(self, device: Any, seed: int, stream: int, offset: int, out: Array) -> None:
        """Fill ``out`` with the random numbers of the step, in each replay with those of its own."""
        out, number = plain(out), self._number

        def fill() -> None:
            device.uniform(seed, stream, number[0], offset, out)

        self.recorder.note(fill)
        fill()

    def nest(self, other: Plan) -> None:
        """Replay another plan, for the same step."""
        number = self._number

        def replay() -> None:
            other.replay(number[0])

        self.recorder.note(replay)
        replay()

    def replay(self, number: int) -> None:
        """Make the calls again, for the step of this number."""
        self._number[0] = number
        for alone, shares in self._stages:
            self._workers.replay([alone])
            if shares:
                self._workers.replay(shares)


class PlannedPass(Pass):
    """A pass whose arrays note in its ``plan`` what is done with them; one without a plan computes only."""

    plan: Plan | None = None

    def seen(self, a: Array) -> Array:
        return recorded(a) if self.plan else a

    def keep(self, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> Array:
        if self.plan is None:
            return self.arena.empty(shape, dtype)
        found = self.arena.again(shape, dtype)
        if found is None:
            self.plan.recorder.refuse("a pass asks for other buffers than the one before")
            found = self.device.empty(shape, dtype or self.dtype)
        return recorded(found)

    def scratch(self, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> Array:
        return self.seen(self.arena.scratch.empty(shape, dtype))

    def lasting(self, key: Any, shape: tuple[int, ...]) -> Array:
        return self.seen(super().lasting(key, shape))

    def _draw(self, stream: int, offset: int, out: Array) -> None:
        if self.plan is None:
            super()._draw(stream, offset, out)
        else:
            self.plan.draw(self.device, self.network.seed, stream, offset, out)
