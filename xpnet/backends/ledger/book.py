"""What a ledger holds: numbers, kernels, and what each line of the user's program caused."""

from __future__ import annotations

import dataclasses
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.backends.ledger.places import Place


@dataclasses.dataclass
class Counts:
    """Numbers of one stretch of work.

    ``h2d`` and ``d2h`` are copies from host to device and back, ``moved_bytes`` what kernels read and
    write in device memory, ``flops`` the floating-point operations of products, ``float64`` the arrays
    of that precision that came into being.
    """

    launches: int = 0
    moved_bytes: int = 0
    flops: int = 0
    allocations: int = 0
    allocated_bytes: int = 0
    h2d: int = 0
    h2d_bytes: int = 0
    d2h: int = 0
    d2h_bytes: int = 0
    syncs: int = 0
    float64: int = 0

    @property
    def copies(self) -> int:
        return self.h2d + self.d2h


NUMBERS = tuple(f.name for f in dataclasses.fields(Counts))


@dataclasses.dataclass
class Kernel:
    """All launches of one function on arrays of one size (elements of the largest)."""

    name: str
    size: int
    times: int = 0
    moved_bytes: int = 0
    flops: int = 0


@dataclasses.dataclass
class Event:
    """What one line of the user's program caused again and again.

    ``kind`` is "h2d", "d2h", "sync", "float64" or "mistake" (a real GPU would have stopped there), ``cause`` the operation,
    ``asked`` whether the program asked for it in so many words (``device.put``, ``get``, ``synchronize``),
    ``steps`` the number of steps in which it happened. A loop may read its loss before the update or after it: what comes
    before the first step's end and what comes after the last one's make up one step.
    """

    kind: str
    cause: str
    place: Place
    asked: bool
    times: int = 0
    nbytes: int = 0
    steps: int = 0
    first_step: int = -1
    last_step: int = -1


Hearing = Callable[[str, list[np.ndarray], int, list[float]], object]


class Ledger(Counts):
    """What happened on simulated and real GPUs while it was open: see :func:`xpnet.ledger`.

    Beside the totals of :class:`Counts`: ``kernels`` (launches by name and size), ``events`` (copies, synchronisations, float64
    arrays by cause and line) and ``steps`` (the counts of each training step, up to the end of ``optimizer.update``).
    """

    def __init__(self, *, forgiving: bool = False, each: Hearing | None = None) -> None:
        super().__init__()
        self.each = each
        self.kernels: dict[tuple[str, int], Kernel] = {}
        self.events: dict[tuple, Event] = {}
        self.steps: list[Counts] = []
        self.on_cuda = False
        self.forgiving = forgiving
        self._lock = threading.RLock()
        self._at_last_step = self._numbers()

    @property
    def launches_known(self) -> bool:
        """False where all that was seen is a real GPU: CuPy has no hook for launches, so bytes and FLOP are unknown too."""
        return not self.on_cuda or self.launches > 0

    @property
    def causes(self) -> Counter[str]:
        """How often each kind of event had which cause: ``{"sync: float()": 3}``."""
        found: Counter[str] = Counter()
        with self._lock:
            for event in self.events.values():
                found[f"{event.kind}: {event.cause}"] += event.times
        return found

    @property
    def typical_step(self) -> Counts | None:
        """The median of each number over the steps; None where there was no step."""
        if not self.steps:
            return None
        return Counts(*np.median([dataclasses.astuple(step) for step in self.steps], axis=0).astype(int).tolist())

    def as_dict(self) -> dict[str, Any]:
        """Totals, typical step, kernels and events as numbers, strings, lists and dicts, fit for JSON."""
        with self._lock:
            step = self.typical_step
            return {
                "totals": {name: getattr(self, name) for name in NUMBERS},
                "launches_known": self.launches_known,
                "steps": len(self.steps),
                "typical_step": step and dataclasses.asdict(step),
                "kernels": [dataclasses.asdict(kernel) for kernel in self.kernels.values()],
                "events": [_event_as_dict(event) for event in self.events.values()],
            }

    def note_launch(self, name: str, size: int, moved_bytes: int, flops: int) -> None:
        with self._lock:
            self.launches += 1
            self.moved_bytes += moved_bytes
            self.flops += flops
            kernel = self.kernels.get((name, size))
            if kernel is None:
                kernel = self.kernels[name, size] = Kernel(name, size)
            kernel.times += 1
            kernel.moved_bytes += moved_bytes
            kernel.flops += flops

    def note_allocation(self, nbytes: int) -> None:
        with self._lock:
            self.allocations += 1
            self.allocated_bytes += nbytes

    def note_event(self, kind: str, cause: str, place: Place, asked: bool, nbytes: int = 0) -> None:
        with self._lock:
            if kind in ("h2d", "d2h"):
                vars(self)[kind] += 1
                vars(self)[kind + "_bytes"] += nbytes
            elif kind in ("sync", "float64"):
                vars(self)["syncs" if kind == "sync" else kind] += 1
            key = (kind, cause, place, asked)
            event = self.events.setdefault(key, Event(*key, first_step=len(self.steps)))
            event.times += 1
            event.nbytes += nbytes
            event.steps += event.last_step != len(self.steps)
            event.last_step = len(self.steps)

    def note_step(self) -> None:
        with self._lock:
            numbers = self._numbers()
            self.steps.append(Counts(*(n - m for n, m in zip(numbers, self._at_last_step, strict=True))))
            self._at_last_step = numbers

    def note_end(self) -> None:
        """Nothing more will come: see :class:`Event`."""
        with self._lock:
            for event in self.events.values():
                event.steps -= event.first_step == 0 and event.last_step == len(self.steps) > 0

    def _numbers(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in NUMBERS)

    __eq__ = object.__eq__
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return f"<Ledger: launches {self.launches}, copies {self.copies}, synchronisations {self.syncs}>"

    def __str__(self) -> str:
        from xpnet.backends.ledger.page import page

        with self._lock:
            return page(self)


def _event_as_dict(event: Event) -> dict[str, Any]:
    names = ("kind", "cause", "asked", "times", "nbytes", "steps")
    return {"file": event.place.file, "line": event.place.line, **{name: getattr(event, name) for name in names}}
