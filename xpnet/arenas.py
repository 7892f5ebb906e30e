"""Buffers that passes use again and again: no allocation after the first step of a shape, and constant addresses."""

from __future__ import annotations

import math
import threading
from sys import getrefcount
from typing import Any

import numpy as np

from xpnet.backends.device import Array, Device, DTypeLike

_UNHELD = 2  # references to a buffer that nobody outside holds: the container's and getrefcount's argument


class Arena:
    """Hands out the same arrays in the same order on every pass of one shape.

    No allocation after the first pass, and constant addresses. A buffer is handed out again as soon as nobody holds it,
    also within a pass: memory is what is alive at once. One that somebody still holds (the logits of the last step, say)
    is never overwritten: it is theirs, and another takes its place, so that even a loop that keeps its last
    results allocates nothing from the third pass on.

    ``kin`` is for those who run parts of the pass in arenas of their own: it lives as long as this one. An arena with a
    ``parent`` shares its constants, and the scratch memory it is given.
    """

    def __init__(self, device: Device, dtype: DTypeLike, parent: Arena | None = None, scratch: Scratch | None = None):
        self._device, self._dtype = device, dtype
        self._buffers: list[Array] = []
        self._of_key: dict[tuple, list[int]] = {}  # which of them have this shape and dtype
        self._slots: list[tuple[tuple, int]] = []  # for each request of a pass its key, and which buffer it gets
        self._ones: dict[tuple[int, float], Array] = {} if parent is None else parent._ones
        self._next = 0
        self.scratch = scratch or Scratch(device, dtype)
        self.kin: dict[Any, Any] = {}

    def reset(self) -> None:
        """Begin a new pass."""
        self._next = 0

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> Array:
        """The next buffer of this pass, uninitialised; in the network's precision unless ``dtype`` says otherwise."""
        i, key = self._next, (shape, dtype)
        self._next = i + 1
        if i == len(self._slots) or self._slots[i][0] != key:
            self._assign(i, key)
        elif getrefcount(self._buffers[self._slots[i][1]]) > _UNHELD:
            self._slots[i] = key, self._unheld(key)
        found = self._buffers[self._slots[i][1]]
        if self._device.poisons:
            self._device.poison(found)
        return found

    def again(self, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> Array | None:
        """As :meth:`empty` in a pass like the last one, whoever holds the buffer; None where the last one asked for another."""
        i = self._next
        if i == len(self._slots) or self._slots[i][0] != (shape, dtype):
            return None
        self._next = i + 1
        return self._buffers[self._slots[i][1]]

    def ones(self, n: int, value: float = 1) -> Array:
        """A vector of ``n`` ones, or of another number, made once: do not write to it."""
        if (n, value) not in self._ones:
            self._ones[n, value] = self._device.xp.full(n, value, self._dtype)
        return self._ones[n, value]

    @property
    def nbytes(self) -> int:
        """Bytes of the buffers, scratch memory apart."""
        return sum(a.nbytes for a in self._buffers)

    def _assign(self, i: int, key: tuple) -> None:
        """A request that is new: of those after it in the last pass nothing is known any more, and what only they used goes."""
        if i < len(self._slots):
            used = sorted({n for _, n in self._slots[:i]})
            self._slots = [(k, used.index(n)) for k, n in self._slots[:i]]
            self._buffers, self._of_key = [self._buffers[n] for n in used], {}
            for k, n in dict.fromkeys(self._slots):
                self._of_key.setdefault(k, []).append(n)
        self._slots.append((key, self._unheld(key)))

    def _unheld(self, key: tuple) -> int:
        """A buffer of this kind that nobody holds, a new one if there is none: the one last used, which may be in a cache."""
        alike = self._of_key.setdefault(key, [])
        for n in reversed(alike):
            if getrefcount(self._buffers[n]) <= _UNHELD:
                alike.remove(n)
                break
        else:
            n, (shape, dtype) = len(self._buffers), key
            self._buffers.append(self._device.empty(shape, dtype or self._dtype))
        alike.append(n)
        return n


class ArenaPool:
    """The arenas of one network: one per (mode, input shape) for each pass under way, few shapes kept per mode.

    Several threads may take and give: a list's ``pop`` and ``append`` are atomic, and only a new kind takes the lock.
    """

    SHAPES_PER_MODE = 4

    def __init__(self) -> None:
        self._free: dict[tuple, list[Arena]] = {}
        self._lock = threading.RLock()  # re-entrant: collecting garbage inside may end in `give`

    def take(self, key: tuple, device: Device, dtype: DTypeLike) -> Arena:
        """An arena for ``key`` = (training, input shape), no other pass's, at its beginning."""
        try:
            arena = self._free[key].pop()
        except (KeyError, IndexError):
            self._admit(key)
            return Arena(device, dtype)
        arena.reset()
        return arena

    def give(self, key: tuple, arena: Arena) -> None:
        """Keep the arena of an ended pass for the next one of its kind."""
        free = self._free.get(key)
        if free is not None:
            free.append(arena)

    def _admit(self, key: tuple) -> None:
        """Move a kind to the end; of its mode's kinds, those that had to make an arena longest ago go."""
        with self._lock:
            self._free[key] = self._free.pop(key, [])
            same_mode = [k for k in self._free if k[0] == key[0]]
            for old in same_mode[: -self.SHAPES_PER_MODE]:
                del self._free[old]


class Scratch:
    """Memory that lives until a layer's call ends and is shared by all layers: one block per request in a call.

    Who calls a layer sets ``taken`` to 0 first.
    """

    def __init__(self, device: Device, dtype: DTypeLike):
        self._device, self._dtype = device, dtype
        self._blocks: list[Array] = []
        self._views: dict[tuple, Array] = {}
        self._lasting: dict[Any, Array] = {}
        self.taken = 0

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike | None = None) -> Array:
        """The next block of this call as an uninitialised array."""
        key = (self.taken, shape, dtype)
        if key not in self._views:
            self._views[key] = self._view(self.taken, shape, np.dtype(dtype or self._dtype))
        self.taken += 1
        return self._views[key]

    def lasting(self, key: Any, shape: tuple[int, ...]) -> Array:
        """Memory for this key alone, zeros at first, that keeps what is written to it."""
        if key not in self._lasting:
            self._lasting[key] = self._device.empty(shape, self._dtype)
            self._lasting[key].fill(0)
        return self._lasting[key]

    @property
    def nbytes(self) -> int:
        """Bytes of all blocks."""
        return sum(block.nbytes for block in (*self._blocks, *self._lasting.values()))

    def _view(self, i: int, shape: tuple[int, ...], dtype: np.dtype) -> Array:
        size = math.prod(shape) * dtype.itemsize
        if i == len(self._blocks):
            self._blocks.append(self._device.empty((size,), "uint8"))
        elif self._blocks[i].size < size:
            self._blocks[i] = self._device.empty((size,), "uint8")
            self._views = {k: v for k, v in self._views.items() if k[0] != i}  # they view the smaller block
        return self._blocks[i][:size].view(dtype).reshape(shape)


class Results:
    """Fresh 0-d device arrays for losses, cut from one vector: one allocation for many."""

    def __init__(self, device: Device, dtype: DTypeLike, size: int = 1024):
        self._device, self._dtype, self._size = device, dtype, size
        self._used = size

    def next(self) -> Array:
        """A 0-d array nobody else has; the vector is replaced when it is used up."""
        if self._used == self._size:
            self._vector = self._device.empty((self._size,), self._dtype)
            self._used = 0
        self._used += 1
        return self._vector[self._used - 1, ...]
