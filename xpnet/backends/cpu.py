"""The CPU: NumPy as it is."""

from __future__ import annotations

import contextlib
import functools
import math
import os
from typing import Any, ClassVar

import numpy as np

from xpnet.backends import philox, recording
from xpnet.backends.device import Array, Device, DeviceMismatch, DTypeLike
from xpnet.backends.lanes import Lane, Like
from xpnet.backends.workers import Workers, cores

PIECES, PIECE_PRODUCTS = (8, 4, 2, 1), 1 << 22  # of a product that workers share: how many, multiplications in the smallest
SIMD = 16  # elements to whose multiples the pieces are cut
UNSIGNED = {size: np.dtype(f"u{size}") for size in (1, 2, 4, 8)}
ALIGNMENT = 64  # a cache line; malloc's 16 halve the speed of every wide pass


def aligned_empty(shape: tuple[int, ...], dtype: DTypeLike, kind: type[np.ndarray] = np.ndarray) -> np.ndarray:
    """Uninitialised C-ordered array at a 64-byte address; of another ``kind``, it is no view of an array either.

    Its memory belongs to a ``bytearray``, not to another ndarray: NumPy then lets views keep
    this very array as their ``base``, so its reference count tells whether anyone holds a view.
    """
    size = math.prod(shape) * np.dtype(dtype).itemsize
    memory = bytearray(size + ALIGNMENT)
    offset = -np.frombuffer(memory, np.uint8).ctypes.data % ALIGNMENT
    return np.ndarray.__new__(kind, shape, dtype, buffer=memory, offset=offset)


@functools.lru_cache(maxsize=4096)
def _largest_divisor(n: int, most: int) -> int:
    return next((d for d in range(min(n, most), 1, -1) if n % d == 0), 1)


def _threads_from_environment() -> int | None:
    text = os.environ.get("XPNET_THREADS", "")
    if text and not (text.isdecimal() and int(text)):
        raise ValueError(f"XPNET_THREADS={text!r}: it is a whole number from 1 on")
    return int(text) if text else None


class CPU(Device):
    """NumPy on the host."""

    kind = "cpu"
    xp = np
    block_size: ClassVar[int | None] = 1 << 16  # 64 Ki elements: four float32 operands fit a 2 MiB level-2 cache
    takes_blocks = records = True
    block_bytes = 1 << 19  # of the largest array of a block of rows
    workspace_bytes = 600 << 10  # so that an array of a convolution's workspace, with two more, fits that cache
    _here = contextlib.nullcontext()

    def __init__(self, name: str):
        super().__init__(name)
        self.workers = Workers(1)
        self.threads = _threads_from_environment() or cores()

    @property
    def threads(self) -> int:
        """Workers that share a batch of images: the cores, unless set (here, or by XPNET_THREADS before the start)."""
        return self.workers.count

    @threads.setter
    def threads(self, count: int) -> None:
        if type(count) is not int or count < 1:
            raise ValueError(f"threads={count!r}: it is a whole number from 1 on")
        self.workers.count = count

    def block_count(self, n: int, row_bytes: int, weight_bytes: int) -> int:
        blocks = n * row_bytes / max(self.block_bytes, weight_bytes // 16)
        return min(n, 1 << max(0, round(math.log2(blocks))))  # a power of two: workers have as many each

    def shared_matmul(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        (n, k), m = a.shape, b.shape[1]
        pieces = next(p for p in PIECES if p * PIECE_PRODUCTS <= n * k * m or p == 1)  # by shape alone, not by the workers
        size = -(-max(n, m) // (pieces * SIMD)) * SIMD
        parts = [slice(start, start + size) for start in range(0, max(n, m), size)]
        calls = [(np.matmul, (a[p], b, out[p]) if n > m else (a, b[:, p], out[:, p])) for p in parts]
        share = -(-len(calls) // self.workers.count)
        recording.call(self.workers.replay, [calls[i : i + share] for i in range(0, len(calls), share)])
        return out

    def relu(self, a: np.ndarray, out: np.ndarray) -> np.ndarray:
        # the maximum of two arrays takes NumPy half the time of that with a number
        width = _largest_divisor(a.size, 4096)
        if width < 256 or not a.flags.c_contiguous:
            return np.maximum(a, 0, out=out)
        zeros = self._once(("zeros", width, a.dtype), lambda: np.zeros(width, a.dtype))
        np.maximum(a.reshape(-1, width), zeros, out=out.reshape(-1, width))
        return out

    def repeats(self, rows: int, width: int) -> int:
        return _largest_divisor(rows, 4096 // width)

    def preferred_convolution(self, geometry: Any, suited: list[str]) -> str:
        if "winograd" in suited and min(geometry.channels, geometry.n_out) < 4:
            return next(name for name in suited if name != "winograd")
        return suited[0]

    def put(self, a: Any, dtype: DTypeLike | None = None) -> np.ndarray:
        if not isinstance(a, np.ndarray) and hasattr(a, "__cuda_array_interface__"):
            raise DeviceMismatch("device('cpu').put got an array of a GPU: bring it to the host with device.get first")
        return np.asarray(a, dtype)

    def get(self, a: Array) -> np.ndarray:
        return np.array(a)

    def synchronize(self) -> None:
        pass  # NumPy has finished when it returns

    def idle(self) -> bool:
        return True

    def use(self) -> contextlib.AbstractContextManager:
        return self._here

    def owns(self, a: Any) -> bool:
        return isinstance(a, np.ndarray)

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> np.ndarray:
        return aligned_empty(shape, dtype)

    def gather(self, a: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
        return np.take(a, rows, axis=0, out=out, mode="clip")  # the default mode copies through a temporary

    def lane(self, like: Like) -> Lane:
        return Lane(self, like)

    def dot(self, a: np.ndarray, b: np.ndarray, out: np.ndarray) -> np.ndarray:
        np.dot(a, b, out=out)
        return out  # np.dot itself returns a scalar

    def uniform(self, key: int, stream: int, step: int, offset: int, out: np.ndarray) -> np.ndarray:
        return philox.fill_uniform(key, stream, step, offset, out)

    def check_range(self, indices: np.ndarray, stop: int, ignore: int | None = None) -> tuple[int, int] | None:
        if not indices.size:
            return None
        if indices.dtype.isnative and np.maximum.reduce(indices.view(UNSIGNED[indices.itemsize]), axis=None) < stop:
            return None  # negative ones are large there
        used = indices if ignore is None else indices[indices != ignore]
        if not used.size:
            return None
        smallest, largest = int(used.min()), int(used.max())
        return None if smallest >= 0 and largest < stop else (smallest, largest)
