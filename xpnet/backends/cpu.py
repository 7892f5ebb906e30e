"""The CPU: NumPy as it is."""

from __future__ import annotations

import contextlib
import math
from typing import Any

import numpy as np

from xpnet.backends import philox
from xpnet.backends.device import Array, Device, DeviceMismatch, DTypeLike

ALIGNMENT = 64  # a cache line; malloc's 16 halve the speed of every wide pass


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
    """Uninitialised C-ordered array at a 64-byte address.

    Its memory belongs to a ``bytearray``, not to another ndarray: NumPy then lets views keep
    this very array as their ``base``, so its reference count tells whether anyone holds a view.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = bytearray(size + ALIGNMENT)
    offset = -np.frombuffer(memory, np.uint8).ctypes.data % ALIGNMENT
    return np.ndarray(shape, dtype, buffer=memory, offset=offset)


class CPU(Device):
    """NumPy on the host."""

    kind = "cpu"
    xp = np
    block_size = 1 << 16  # 64 Ki elements: four float32 operands fit a 2 MiB level-2 cache
    _here = contextlib.nullcontext()

    def put(self, a: Any, dtype: DTypeLike | None = None) -> np.ndarray:
        if not isinstance(a, np.ndarray) and hasattr(a, "__cuda_array_interface__"):
            raise DeviceMismatch("device('cpu').put got an array of a GPU: bring it to the host with device.get first")
        return np.asarray(a, dtype)

    def get(self, a: Array) -> np.ndarray:
        return np.array(a)

    def synchronize(self) -> None:
        pass  # NumPy has finished when it returns

    def use(self) -> contextlib.AbstractContextManager:
        return self._here

    def owns(self, a: Any) -> bool:
        return isinstance(a, np.ndarray)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        return aligned_empty(shape, dtype)

    def gather(self, a: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        return np.take(a, rows, axis=0, out=out, mode="clip")  # the default mode copies through a temporary

    def dot(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.dot(a, b, out=out)
        return out  # np.dot itself returns a scalar

    def uniform(self, key: int, stream: int, step: int, offset: int, out: np.ndarray) -> np.ndarray:
        return philox.fill_uniform(key, stream, step, offset, out)

    def check_range(self, indices: np.ndarray, stop: int, ignore: int | None = None) -> tuple[int, int] | None:
        used = indices if ignore is None else indices[indices != ignore]
        if not used.size:
            return None
        smallest, largest = int(used.min()), int(used.max())
        return None if smallest >= 0 and largest < stop else (smallest, largest)
