"""Rows of sets that are not loaded whole: read by a thread, some batches ahead of the training."""

from __future__ import annotations

import mmap
import os
import threading
from collections.abc import Callable, Generator, Sequence
from queue import SimpleQueue
from typing import Any

import numpy as np

from xpnet.backends.device import DTypeLike
from xpnet.backends.lanes import Lane
from xpnet.checks import check_file, check_finite, origin

PART_BYTES = 1 << 20  # of what is checked at a time


class Streamed:
    """An array on the host that is read piece by piece, in the dtype of training: often a memory-mapped file.

    It has a length, a shape and a dtype as an array does; ``a[rows]`` reads some, ``nbytes`` is what all would take in memory.
    """

    def __init__(self, array: np.ndarray, dtype: DTypeLike):
        self.array, self.dtype, self.shape = array, np.dtype(dtype), array.shape
        # of any other layout np.take makes a copy of the whole first
        self._taken = array.flags.c_contiguous and array.flags.aligned and array.dtype.isnative

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, rows: Any) -> np.ndarray:
        return np.ascontiguousarray(self.array[rows], self.dtype)

    @property
    def nbytes(self) -> int:
        return self.array.size * self.dtype.itemsize

    def reader(self, most: int) -> Callable[[np.ndarray, np.ndarray], Any]:
        """A function ``read(rows, out)`` that puts ``most`` rows or fewer into ``out``, with a buffer of its own."""
        if not self._taken:
            return lambda rows, out: np.copyto(out, self.array[rows], casting="unsafe")
        if self.array.dtype == self.dtype:
            return lambda rows, out: _take(self.array, rows, out)
        buffer = np.empty((most, *self.shape[1:]), self.array.dtype)

        def read(rows: np.ndarray, out: np.ndarray) -> None:
            np.copyto(out, _take(self.array, rows, buffer[: len(rows)]), casting="unsafe")

        return read

    def check(self, name: str) -> None:
        """Refuse NaN, infinity and a file that was cut short; this reads all of it once, a part at a time."""
        check_file(self.array, name)
        if self.array.dtype.kind == "f":
            rows = max(1, PART_BYTES * len(self) // max(self.nbytes, 1))
            for start in range(0, len(self), rows):
                check_finite(self.array[start : start + rows].astype(self.dtype, copy=False), name, start)


def filler(sources: Sequence[Streamed], chunks: Sequence[np.ndarray], most: int) -> Callable[[int, Lane], int]:
    """A function ``read(chunk, lane)`` for :class:`Ahead`: the sources' rows of that chunk, ``most`` or fewer."""
    readers = [source.reader(most) for source in sources]

    def fill(chunk: int, lane: Lane) -> int:
        rows = chunks[chunk]
        for read, out in zip(readers, lane.host, strict=True):
            read(rows, out[: len(rows)])
        return len(rows)

    return fill


def _take(a: np.ndarray, rows: np.ndarray, out: np.ndarray) -> np.ndarray:
    return np.take(a, rows, axis=0, out=out, mode="clip")  # the default mode copies through a temporary


def is_mapped(a: np.ndarray) -> bool:
    """Whether the array's memory is a file's."""
    return any(isinstance(one, mmap.mmap) for one in origin(a))


class Ahead:
    """Chunks of rows, read by a thread while the last ones are in use: ``for lane in Ahead(...)``.

    ``read(chunk, lane)`` fills the lane's host arrays and returns how many rows they are. What a lane's ``arrays`` hold is
    valid until the next lane is asked for. However the loop ends, the thread ends; what it raised is raised in the loop.
    """

    def __init__(self, read: Callable[[int, Lane], int], chunks: int, lanes: Sequence[Lane]):
        self.read, self.chunks, self.lanes, self.ended = read, chunks, lanes, False
        self._process = os.getpid()
        self._free: SimpleQueue[Lane | None] = SimpleQueue()
        self._filled: SimpleQueue[tuple[Lane, int] | BaseException] = SimpleQueue()
        for lane in lanes:
            self._free.put(lane)

    def __iter__(self) -> Generator[Lane, None, None]:
        thread = threading.Thread(target=self._work, name="xpnet feed", daemon=True)
        thread.start()
        try:
            following = self._sent()
            for chunk in range(self.chunks):
                lane, following = following, self._sent() if chunk + 1 < self.chunks else following
                lane.receive()
                yield lane
                lane.done()
                self._free.put(lane)
        finally:
            self.ended = True
            self._free.put(None)
            thread.join()
            for lane in self.lanes:  # left as if used: whoever has them or their memory next comes after it
                lane.receive()
                lane.done()

    def _sent(self) -> Lane:
        """The next lane that is filled, on its way to the device."""
        if self._process != os.getpid():
            raise RuntimeError("a forked process has no threads of its parent's and cannot go on in its epoch: call fit there")
        found = self._filled.get()
        if isinstance(found, BaseException):
            raise found
        lane, rows = found
        lane.send(rows)
        return lane

    def _work(self) -> None:
        try:
            for chunk in range(self.chunks):
                lane = self._free.get()
                if self.ended or lane is None:
                    return
                lane.wait()
                self._filled.put((lane, self.read(chunk, lane)))
        except BaseException as error:
            self._filled.put(error)
