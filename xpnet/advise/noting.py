"""Which NumPy calls a training step on the CPU is made of: found by running it on arrays that tell."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet.advise.tasks import Section, Task, Work, task
from xpnet.backends.cpu import CPU, aligned_empty
from xpnet.backends.device import Array, DTypeLike
from xpnet.backends.recording import Call, Namespace, Recorded, Recorder, plain, recorded
from xpnet.backends.workers import Workers
from xpnet.training import Trainer

WARM_UP = 3  # steps after which runs of layers have their record


def cpu_work(make: Callable[[Any], Trainer], x: np.ndarray, y: np.ndarray, threads: int) -> Work:
    """The calls of one step on these rows; ``make(device)`` gives a trainer that is built there and may be trained."""
    device = Noting(threads)
    trainer = make(device)
    rows, targets = device.put(x), np.asarray(y)
    for _ in range(WARM_UP):
        trainer.step(rows, targets)
    device.noted.sections.clear()  # workers tell of their calls at any time
    with device.noted.active():
        trainer.step(rows, targets)
    return Work(device.noted.sections, blas_threads=1 if trainer.net.in_blocks else 0)


class Sections(Recorder):
    """Notes calls of layers one by one, and what workers are given as it is."""

    def __init__(self) -> None:
        super().__init__()
        self.sections: list[Section] = []

    def note(self, f: Callable, *args: Any, writes: Any = None) -> None:
        if getattr(f, "__func__", None) is NotingWorkers.replay:
            return  # which tells of its calls itself
        before = len(self.calls)
        super().note(f, *args, writes=writes)
        for call in self.calls[before:]:
            self.sections.append(Section([[as_task(call)]]))

    def share(self, shares: Sequence[Sequence[Call]]) -> None:
        self.sections.append(Section([[as_task(call) for call in calls] for calls in shares], in_layers=False))


class Noting(CPU):
    """The CPU with arrays that tell the recorder ``noted`` of every operation while it is active."""

    records = False  # the layers' calls are of interest

    def __init__(self, threads: int):
        super().__init__("cpu, noted")  # devices are told apart by their names
        self.noted = Sections()
        self.xp: Any = Namespace()
        self.workers = NotingWorkers(threads, self.noted)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        return aligned_empty(shape, dtype, Recorded)  # its references tell whether it is in use, as those of a device's

    def put(self, a: Any, dtype: DTypeLike | None = None) -> Array:
        return recorded(super().put(a, dtype))


class NotingWorkers(Workers):
    """Does the work of all workers on the calling thread."""

    def __init__(self, count: int, noted: Sections):
        super().__init__(count)
        self._noted = noted

    def replay(self, shares: Sequence[list[Call]]) -> None:
        if any(getattr(f, "__self__", None) is not None and not isinstance(f, np.ufunc) for calls in shares for f, _ in calls):
            self._live(shares)
            return
        self._noted.share([[(f, plain(args)) for f, args in calls] for calls in shares])
        for calls in shares:
            for f, args in calls:
                f(*plain(args))

    def _live(self, shares: Sequence[list[Call]]) -> None:
        """Python functions, such as an optimizer's update of some blocks: what each notes is one worker's share."""
        found = []
        for calls in shares:
            start = len(self._noted.sections)
            for f, args in calls:
                f(*args)
            found.append([t for section in self._noted.sections[start:] for t in section.shares[0]])
            del self._noted.sections[start:]
        self._noted.sections.append(Section(found, in_layers=True))


def as_task(call: Call) -> Task:
    """A NumPy call by its name and arrays."""
    f, args = call
    out: tuple = ()
    while isinstance(f, functools.partial):
        given = f.keywords.get("out", ())
        out += given if isinstance(given, tuple) else (given,)
        f = f.func
    if getattr(f, "__name__", "") == "_refill":  # a function whose result is copied to where it was the first time
        target, f, args, _ = args
        out += (target,)
    arrays = [a for a in (*_flat(args), *out) if isinstance(a, np.ndarray)]
    return task(_name(f), arrays)


def _flat(args: Any) -> list:
    return [x for a in args for x in (_flat(a) if isinstance(a, tuple | list) else [a])]


def _name(f: Any) -> str:
    if isinstance(f, np.ufunc):
        return f.__name__
    owner = getattr(f, "__self__", None)
    return f"{owner.__name__}.{f.__name__}" if isinstance(owner, np.ufunc) else getattr(f, "__name__", type(f).__name__)
