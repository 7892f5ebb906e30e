"""Who is watching, what is forbidden, and the calls by which backends report.

Nothing is noted while no ledger is open. The simulated GPU reports everything, the real one what CuPy's hooks tell.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends.ledger.book import Hearing, Ledger
from xpnet.backends.ledger.places import Place, users_place

if TYPE_CHECKING:
    from xpnet.backends.ledger.cuda_hooks import Hooks


class HiddenCrossing(RuntimeError):
    """A synchronisation or a copy between host and device where none is allowed.

    ``kind`` is "sync", "h2d" or "d2h", ``cause`` the operation, ``place`` the user's (file, line).
    """

    def __init__(self, kind: str, cause: str, place: Place):
        super().__init__(kind, cause, place)
        self.kind, self.cause, self.place = kind, cause, place

    def __str__(self) -> str:
        what = {"sync": "waits for the device", "h2d": "copies to the device", "d2h": "copies to the host"}[self.kind]
        advice = remedy(self.cause)
        return f"{self.place}: {self.cause} {what}, which is forbidden here{advice and ': ' + advice}"


class _Here(threading.local):
    """What holds in this thread: how often it watches and forbids what, and the call under whose name crossings go."""

    cause: str | None = None
    asked = False
    busy = False  # whether a simulated GPU was given work for which nobody has waited yet

    def __init__(self) -> None:  # runs once in each thread
        self.held: Counter[str] = Counter()


_here = _Here()
_changing = threading.RLock()
_open: tuple[Ledger, ...] = ()  # replaced as a whole: who reports sees one state of it
_watchers = 0  # open ledgers and prohibitions
_hooks: Hooks | None = None


@contextlib.contextmanager
def ledger(*, forgiving: bool = False, each: Hearing | None = None) -> Iterator[Ledger]:
    """Write down what simulated and real GPUs are asked to do: ``with xn.ledger() as seen: ...; print(seen)``.

    Counts launches by name and size, bytes moved by kernels, FLOP of products, allocations, and copies
    and synchronisations by cause, file and line, in all threads; and all of it per training step. On ``cuda`` CuPy's
    hooks tell of copies, synchronisations, and allocations in threads that opened a ledger. Ledgers nest; the
    CPU leaves no trace. ``print(seen)`` is a readable page. (With ``forgiving`` a host array among
    simulated device arrays is noted as a mistake, and the program goes on; ``each(name, arrays, flops, numbers)`` hears of
    every launch on a simulated GPU, with the NumPy arrays that it reads and writes and the numbers that it is given.)
    """
    global _open
    book = Ledger(forgiving=forgiving, each=each)
    with _changing:
        _open = (*_open, book)
    try:
        with _watched():
            yield book
    finally:
        with _changing:
            _open = tuple(other for other in _open if other is not book)
        book.note_end()


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
    """Raise :class:`HiddenCrossing` where this thread would copy between host and device, ``device.put`` and ``get`` aside.

    On ``cuda`` the copies that CuPy makes inside a few of its functions (``add.at``, ``isclose``, ``einsum`` of
    host arrays) pass unseen; the simulated GPU refuses those.
    """
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


def launched(name: str, *arguments: Any, flops: int = 0) -> None:
    """A kernel was launched that reads and writes these of its arguments that are arrays (NumPy's)."""
    _here.busy = True
    if _open:
        used = [a for a in arguments if isinstance(a, np.ndarray)]
        size, moved = max((a.size for a in used), default=0), sum(a.nbytes for a in used)
        for book in _open:
            book.note_launch(name, size, moved, flops)
            if book.each is not None:
                book.each(name, used, flops, [a for a in arguments if isinstance(a, int | float)])


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


def idle() -> bool:
    """Whether this thread has waited for everything that it gave simulated GPUs to do."""
    return not _here.busy


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


REMEDIES = {
    "read it once in a while, not at every step": ("float()", "int()", "complex()", ".item()", ".get()", ".tolist()", "print"),
    "use xp.where, or a product with the condition, instead of `if`": ("bool()",),
    "copy the indices there once, before the loop": ("host index array",),
    "xp.where(mask, a, 0), or a product with the mask, keeps the shape": ("boolean mask",),
    "make it once, before the loop": ("xp.asarray", "xp.array", "xp.asanyarray"),
    "give dtype='float32', and Python floats for NumPy's scalars": ("float64 array",),
}


def remedy(cause: str) -> str:
    """What a user does instead; empty where it depends."""
    return next((text for text, causes in REMEDIES.items() if cause in causes), "")


def _cross(cause: str, **kinds: int) -> None:
    """Note crossings of these kinds with their bytes, unless one of them is forbidden."""
    cause = _here.cause or cause
    if not _here.asked:
        for kind in kinds:
            if _here.held[kind] > 0:
                raise HiddenCrossing(kind, cause, users_place())
    if "sync" in kinds:
        _here.busy = False
    if _open:
        for kind, nbytes in kinds.items():
            _note(kind, cause, nbytes)


def _note(kind: str, cause: str, nbytes: int) -> None:
    place = users_place()
    for book in _open:
        book.note_event(kind, cause, place, _here.asked, nbytes)


@contextlib.contextmanager
def _forbidden(*kinds: str) -> Iterator[None]:
    held = _here.held  # of the thread that enters, wherever a generator that holds this is finished
    with _watched():
        held.update(kinds)
        try:
            yield
        finally:
            held.subtract(kinds)


@contextlib.contextmanager
def _watched() -> Iterator[None]:
    """The hooks of a real GPU are in place from the first ledger or prohibition to the last."""
    global _watchers
    held = _here.held
    with _changing:
        _watchers += 1
        held["watchers"] += 1
    try:
        cupy = sys.modules.get("cupy")
        if isinstance(cupy, ModuleType) and hasattr(cupy, "_core"):  # neither the simulator's stand-in nor a broken import
            watch_cuda(cupy)
        yield
    finally:
        with _changing:
            _watchers -= 1
            held["watchers"] -= 1
            if _hooks is not None:
                if not _here.held["watchers"]:
                    _hooks.leave_thread()
                if not _watchers:
                    _hooks.remove()


def watch_cuda(cupy: ModuleType) -> None:
    """A real GPU is in use, through this CuPy: if anything is watched, so is CuPy."""
    global _hooks
    with _changing:
        if not _watchers:
            return
        from xpnet.backends.ledger.cuda_hooks import Hooks

        _hooks = _hooks or Hooks(cupy)
        _hooks.install()
        _hooks.enter_thread()
        for book in _open:
            book.on_cuda = True
