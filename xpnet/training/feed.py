"""Minibatches: which rows come when, and how they reach the device."""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Generator, Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.backends.device import Array, DTypeLike
from xpnet.backends.lanes import Lane
from xpnet.checks import check_count
from xpnet.training.stream import Ahead, Streamed, filler, is_mapped

#: The budget: larger sets are not loaded whole, nor copied to a GPU, but read batch by batch. To change it, assign to it.
RESIDENT_BYTES = 1 << 30
CHUNK_BYTES = 1 << 20  # read ahead at a time, unless a batch is larger: 64 KiB make steps of 0.1 ms a tenth slower
LANES = 3  # one in use, one on its way to the device, one being filled


def minibatches(
    n: int, batch_size: int | None, *, seed: int = 0, epoch: int = 0, shuffle: bool = True, device: str | Device = "cpu"
) -> Iterator[Array]:
    """Index arrays (int64) that cut ``n`` rows into minibatches, on ``device``; the last may be smaller.

    The order is drawn on the host from ``seed`` and ``epoch``, the same for every device, and copied
    there once. ``batch_size=None`` is the whole set at once; one larger than ``n`` just gives ``n``.
    """
    target = resolve(device).device
    size = batch_rows(n, batch_size)
    with target.use():
        order = target.put(row_order(n, seed, epoch)) if shuffle else target.xp.arange(n, dtype="int64")
    for start in range(0, n, size):
        yield order[start : start + size]


def row_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """The order of ``n`` rows in one epoch, drawn on the host."""
    return np.random.default_rng([seed, epoch]).permutation(n)


def batch_rows(n: int, batch_size: int | None) -> int:
    """Rows of a full batch for a set of ``n``; refuses an empty set and a batch size below 1."""
    if not isinstance(n, int | np.integer):
        raise TypeError(f"the number of rows is needed, len(x), not {type(n).__name__}")
    if n < 1:
        raise ValueError("zero samples: there is nothing to train on or to evaluate")
    return n if batch_size is None else min(check_count("batch_size", batch_size), n)


def is_streamed(device: Device, a: Array, dtype: DTypeLike) -> bool:
    """Whether rows are read batch by batch: on the host, above the budget, and not in memory already as they are needed."""
    if not isinstance(a, np.ndarray) or a.size * np.dtype(dtype).itemsize <= RESIDENT_BYTES:
        return False
    return device.kind != "cpu" or a.dtype != dtype or not a.flags.c_contiguous or is_mapped(a)


class Feed:
    """The arrays of one data set (inputs, targets, weights; None allowed), handed out batch by batch on a device.

    A set of up to ``RESIDENT_BYTES`` is copied to the device once and gathered there by index into buffers that are used
    again. Of a larger one a thread gathers what is on the host, several batches at a time and ahead of the training. On a
    CPU, where what is in memory is on the device, only a :class:`Streamed` array is read so, with all beside it.
    """

    def __init__(self, device: Device, arrays: Sequence[Any]):
        self.device = device
        host = [a for a in arrays if isinstance(a, np.ndarray | Streamed)]
        larger = device.kind != "cpu" and sum(a.nbytes for a in host) > RESIDENT_BYTES
        streams = larger or any(isinstance(a, Streamed) for a in host)
        self._streamed: dict[int, Streamed] = {}
        self._resident: dict[int, Array] = {}
        for i, a in enumerate(arrays):
            if streams and isinstance(a, np.ndarray | Streamed):
                self._streamed[i] = a if isinstance(a, Streamed) else Streamed(a, a.dtype)
            elif a is not None:
                with device.use():
                    self._resident[i] = device.put(a)
        self._count = len(arrays)
        self._buffers: dict[tuple[int, int], Array] = {}
        self._lanes: dict[int, list[Lane]] = {}  # idle ones, by their rows

    def batches(self, order: np.ndarray, size: int) -> Iterator[list[Array | None]]:
        """The arrays' rows in the given order, ``size`` at a time; valid until the next batch is asked for."""
        with self.device.use():
            rows = self.device.put(order) if self._resident else order
        with contextlib.closing(self._read(order, size)) as read:
            for start, batch in zip(range(0, len(order), size), read, strict=False):
                for i, a in self._resident.items():
                    batch[i] = self._gather(i, a, rows[start : start + size])
                yield batch

    def parts(self, size: int) -> Iterator[list[Array | None]]:
        """The arrays' rows in their own order, ``size`` at a time, on the device; valid until the next part is asked for."""
        n = len(next(iter((self._streamed or self._resident).values())))
        if self._streamed:
            yield from self.batches(np.arange(n), size)
            return
        for start in range(0, n, size):
            yield [
                self.device.put(self._resident[i][start : start + size]) if i in self._resident else None
                for i in range(self._count)
            ]

    def _read(self, order: np.ndarray, size: int) -> Generator[list[Array | None], None, None]:
        """The streamed arrays' part of each batch, the others None."""
        if not self._streamed:
            yield from ([None] * self._count for _ in itertools.count())
        sources = list(self._streamed.values())
        rows = self._chunk_rows(size, len(order))
        chunks = [order[start : start + rows] for start in range(0, len(order), rows)]
        like = [((rows, *a.shape[1:]), a.dtype) for a in sources]
        lanes = self._lanes.pop(rows, [])  # fewer than are needed now, where an epoch was begun in its middle
        lanes += [self.device.lane(like) for _ in chunks[len(lanes) : LANES]]
        try:
            with contextlib.closing(iter(Ahead(filler(sources, chunks, rows), len(chunks), lanes))) as filled:
                for chunk, lane in zip(chunks, filled, strict=True):
                    for start in range(0, len(chunk), size):
                        batch: list[Array | None] = [None] * self._count
                        for i, a in zip(self._streamed, lane.arrays, strict=True):
                            batch[i] = a[start : min(start + size, len(chunk))]
                        yield batch
        finally:  # who reads the batches stops at the last one
            self._lanes[rows] = lanes

    def _chunk_rows(self, size: int, n: int) -> int:
        """Rows that are read at a time: so many whole batches as fit a chunk, at least one, not more than there are."""
        row_bytes = sum(math.prod(a.shape[1:]) * a.dtype.itemsize for a in self._streamed.values())
        return size * max(1, min(CHUNK_BYTES // (size * row_bytes), -(-n // size)))

    def _gather(self, i: int, a: Array, rows: Array) -> Array:
        key = (i, len(rows))
        if key not in self._buffers:
            self._buffers[key] = self.device.empty((len(rows), *a.shape[1:]), a.dtype)
        return self.device.gather(a, rows, self._buffers[key])
