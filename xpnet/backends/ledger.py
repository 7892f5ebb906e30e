"""The ledger: what a GPU was asked to do, and which line of the user's program asked for it.

The simulated GPU reports everything here, the real one what CuPy's hooks tell (``cuda_hooks.py``).
Nothing is noted while no ledger is open.
"""

from __future__ import annotations

import contextlib
import dataclasses
import threading
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends import probe
from xpnet.backends.places import Place, users_place

if TYPE_CHECKING:
    from xpnet.backends.cuda_hooks import Hooks


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
    ``steps`` the number of steps in which it happened.
    """

    kind: str
    cause: str
    place: Place
    asked: bool
    times: int = 0
    nbytes: int = 0
    steps: int = 0
    last_step: int = -1


class Ledger(Counts):
    """What happened on simulated and real GPUs, in all threads, while it was open: see :func:`ledger`.

    Beside the totals of :class:`Counts`: ``kernels`` (launches by name and size), ``events`` (copies, synchronisations, float64
    arrays by cause and line) and ``steps`` (the counts of each training step, up to the end of ``optimizer.update``).
    """

    def __init__(self, *, forgiving: bool = False) -> None:
        super().__init__()
        self.kernels: dict[tuple[str, int], Kernel] = {}
        self.events: dict[tuple, Event] = {}
        self.steps: list[Counts] = []
        self.on_cuda = False  # then launches, moved bytes and FLOP are not known
        self.forgiving = forgiving  # host arrays among device arrays are noted, and the program goes on
        self._lock = threading.RLock()
        self._at_last_step = self._numbers()

    @property
    def causes(self) -> Counter[str]:
        """How often each kind of event had which cause: ``{"sync: float()": 3}``."""
        found: Counter[str] = Counter()
        for event in self.events.values():
            found[f"{event.kind}: {event.cause}"] += event.times
        return found

    @property
    def typical_step(self) -> Counts | None:
        """The median of each number over the steps; None where there was no step."""
        if not self.steps:
            return None
        return Counts(*np.median([dataclasses.astuple(step) for step in self.steps], axis=0).astype(int).tolist())

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
            event = self.events.setdefault(key, Event(*key))
            event.times += 1
            event.nbytes += nbytes
            event.steps += event.last_step != len(self.steps)
            event.last_step = len(self.steps)

    def note_step(self) -> None:
        with self._lock:
            numbers = self._numbers()
            self.steps.append(Counts(*(n - m for n, m in zip(numbers, self._at_last_step, strict=True))))
            self._at_last_step = numbers

    def _numbers(self) -> tuple[int, ...]:
        return tuple(getattr(self, name) for name in NUMBERS)

    def __repr__(self) -> str:
        return f"<Ledger: {self.launches} launches, {self.copies} copies, {self.syncs} synchronisations>"

    def __str__(self) -> str:
        from xpnet.backends.ledger_page import page

        return page(self)


class HiddenCrossing(RuntimeError):
    """A synchronisation or a copy between host and device where none is allowed.

    ``kind`` is "sync", "h2d" or "d2h", ``cause`` the operation, ``place`` the user's (file, line).
    """

    def __init__(self, kind: str, cause: str, place: Place):
        super().__init__(kind, cause, place)
        self.kind, self.cause, self.place = kind, cause, place

    def __str__(self) -> str:
        what = {"sync": "waits for the device", "h2d": "copies to the device", "d2h": "copies to the host"}[self.kind]
        return f"{self.place}: {self.cause} {what}, which is forbidden here{remedy(self.cause)}"


class _Here(threading.local):
    """What holds in this thread: kinds that are forbidden, and the call under whose name crossings go."""

    forbidden: tuple[str, ...] = ()
    cause: str | None = None
    asked = False


_here = _Here()
_open: list[Ledger] = []
_watchers = 0  # open ledgers and prohibitions
_hooks: Hooks | None = None
_watching = threading.RLock()


@contextlib.contextmanager
def ledger(*, forgiving: bool = False) -> Iterator[Ledger]:
    """Write down what simulated and real GPUs are asked to do: ``with xn.ledger() as seen: ...; print(seen)``.

    Counts launches by name and size, bytes moved by kernels, FLOP of products, allocations, and copies
    and synchronisations by cause, file and line; and all of it per training step. On ``cuda`` CuPy's hooks tell of allocations,
    copies and synchronisations only. Ledgers nest; the CPU leaves no trace. ``print(seen)`` is a readable page.
    (With ``forgiving`` a host array among device arrays is noted as a mistake, and the simulator goes on.)
    """
    book = Ledger(forgiving=forgiving)
    _open.append(book)
    try:
        with _watched():
            yield book
    finally:
        _open[:] = [other for other in _open if other is not book]


@contextlib.contextmanager
def forbid_sync() -> Iterator[None]:
    """Raise :class:`HiddenCrossing`, with file and line, where this thread would wait for a simulated or real GPU.

    ``device.get``, ``device.put`` and ``device.synchronize`` are allowed: by them a program says that it
    means it. On ``cuda`` what CuPy itself declares to be a synchronisation is caught; the CPU never waits.
    """
    with _forbidden("sync"):
        yield


@contextlib.contextmanager
def forbid_transfer() -> Iterator[None]:
    """Raise :class:`HiddenCrossing` where this thread would copy between host and device, ``device.put`` and ``get`` aside."""
    with _forbidden("h2d", "d2h"):
        yield


@contextlib.contextmanager
def during(cause: str, *, asked: bool = False) -> Iterator[None]:
    """Crossings inside go under this name, or under that of a call around this one; ``asked``: the program means them."""
    before = _here.cause, _here.asked
    _here.cause, _here.asked = before[0] or cause, before[1] or asked
    try:
        yield
    finally:
        _here.cause, _here.asked = before


def launched(name: str, *arrays: Any, flops: int = 0) -> None:
    """A kernel was launched that reads and writes these arrays (NumPy's; what is none is passed over)."""
    if _open:
        used = [a for a in arrays if isinstance(a, np.ndarray)]
        size, moved = max((a.size for a in used), default=0), sum(a.nbytes for a in used)
        for book in _open:
            book.note_launch(name, size, moved, flops)


def allocated(nbytes: int) -> None:
    """Device memory was allocated."""
    for book in _open:
        book.note_allocation(nbytes)


def made(a: np.ndarray) -> None:
    """A simulated device array came into being in this memory of its own."""
    if _open:
        allocated(a.nbytes)
        if a.dtype.char in "dD":
            _note("float64", "float64 array", a.nbytes)


def copied_in(nbytes: int, cause: str) -> None:
    """Host memory goes to the device; raises where that is forbidden."""
    _cross(cause, h2d=nbytes)


def copied_out(nbytes: int, cause: str, *, waits: bool = True) -> None:
    """Device memory goes to the host, which waits for it; raises where either is forbidden."""
    _cross(cause, **{"sync": 0} if waits else {}, d2h=nbytes)


def synchronised(cause: str) -> None:
    """The host waits for the device; raises where that is forbidden."""
    _cross(cause, sync=0)


def step_ended() -> None:
    """The parameters were updated."""
    for book in _open:
        book.note_step()


def forgives(error: Exception) -> bool:
    """Whether an open ledger notes this mistake so that the simulator may go on."""
    forgiving = [book for book in _open if book.forgiving]
    if forgiving:
        place = users_place()
        for book in forgiving:
            book.note_event("mistake", str(error), place, False)
    return bool(forgiving)


def remedy(cause: str) -> str:
    """What a user does instead, to follow what went wrong; empty where it depends."""
    for causes, text in REMEDIES.items():
        if cause in causes:
            return f": {text}"
    return ""


REMEDIES = {
    ("float64 array",): "give dtype='float32', and Python floats for NumPy's float64 scalars, which make arrays float64",
    ("float()", "int()", ".item()", ".get()", ".tolist()", "complex()", "xp.asnumpy"): (
        "keep the value on the device and read it with device.get once in a while, not at every step"
    ),
    ("bool()",): "use xp.where, or a product with the condition, instead of `if`",
    ("print",): "keep the value on the device and print it once in a while, after device.get",
    ("host index array",): "copy the indices there once, device.put(indices), and index with those",
    ("boolean mask",): "use xp.where(mask, a, 0) or multiply by the mask, which keep the shape",
    ("xp.asarray", "xp.array", "xp.asanyarray", "xp.ascontiguousarray"): "make it once, before the loop, with device.put",
}


def _cross(cause: str, **kinds: int) -> None:
    """Note crossings of these kinds with their bytes, unless one of them is forbidden."""
    cause = _here.cause or cause
    if _here.forbidden and not _here.asked:
        for kind in kinds:
            if kind in _here.forbidden:
                raise HiddenCrossing(kind, cause, users_place())
    if _open:
        for kind, nbytes in kinds.items():
            _note(kind, cause, nbytes)


def _note(kind: str, cause: str, nbytes: int) -> None:
    place = users_place()
    for book in _open:
        book.note_event(kind, cause, place, _here.asked, nbytes)


@contextlib.contextmanager
def _forbidden(*kinds: str) -> Iterator[None]:
    before = _here.forbidden
    with _watched():
        _here.forbidden = (*before, *kinds)
        try:
            yield
        finally:
            _here.forbidden = before


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """The hooks of a real GPU are in place from the first ledger or prohibition to the last."""
    global _watchers
    with _watching:
        _watchers += 1
        if probe.usable_cupy.cache_info().currsize:
            watch_cuda(probe.usable_cupy())
    try:
        yield
    finally:
        with _watching:
            _watchers -= 1
            if not _watchers and _hooks is not None:
                _hooks.remove()


def watch_cuda(cupy: ModuleType) -> None:
    """A real GPU is in use, through this CuPy: if anything is watched, so is CuPy."""
    global _hooks
    if not _watchers:
        return
    from xpnet.backends.cuda_hooks import Hooks

    _hooks = _hooks or Hooks(cupy)
    _hooks.install()
    for book in _open:
        book.on_cuda = True
