"""Minibatches: which rows come when, and how they reach the device."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.backends.device import Array
from xpnet.checks import check_count

RESIDENT_BYTES = 1 << 30  # sets up to 1 GiB are copied to a GPU once; larger ones go there batch by batch


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


class Feed:
    """The arrays of one data set (inputs, targets, weights; None allowed), handed out batch by batch on a device.

    A set of up to 1 GiB is copied to the device once and gathered there by index into buffers that
    are used again; a larger one on the host is gathered there and copied batch by batch.
    """

    def __init__(self, device: Device, arrays: Sequence[Any]):
        self.device = device
        size = sum(a.nbytes for a in arrays if a is not None and not device.owns(a))
        resident = size <= RESIDENT_BYTES or device.kind == "cpu"
        with device.use():
            self.arrays = [a if a is None or not resident else device.put(a) for a in arrays]
        self._buffers: dict[tuple[int, int], Array] = {}

    def batches(self, order: np.ndarray, size: int) -> Iterator[list[Array | None]]:
        """The arrays' rows in the given order, ``size`` at a time; valid until the next batch is asked for."""
        here = any(a is not None and self.device.owns(a) for a in self.arrays)
        with self.device.use():
            rows = self.device.put(order) if here else order
        for start in range(0, len(order), size):
            part = slice(start, start + size)
            yield [None if a is None else self._gather(i, a, order[part], rows[part]) for i, a in enumerate(self.arrays)]

    def parts(self, size: int) -> Iterator[list[Array | None]]:
        """The arrays' rows in their own order, ``size`` at a time, on the device."""
        for start in range(0, len(self.arrays[0]), size):
            yield [None if a is None else self.device.put(a[start : start + size]) for a in self.arrays]

    def _gather(self, i: int, a: Array, host_rows: np.ndarray, rows: Array) -> Array:
        if not self.device.owns(a):
            return self.device.put(a[host_rows])
        key = (i, len(rows))
        if key not in self._buffers:
            self._buffers[key] = self.device.empty((len(rows), *a.shape[1:]), a.dtype)
        return self.device.gather(a, rows, self._buffers[key])
