"""Memory by which rows travel from the thread that reads them to the device where another thread uses them.

The reading thread calls ``wait``, then writes to ``host``; the using thread calls ``send``, ``receive``, works on ``arrays``,
and calls ``done``. Several lanes, used in turn, keep both busy; no memory is allocated after they are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.backends import ledger
from xpnet.backends.device import Array, Device, DTypeLike

Like = Sequence[tuple[tuple[int, ...], DTypeLike]]  # shape and dtype of each array


class Lane:
    """Where the device computes in the host's own memory, ``arrays`` are those of the host, and nobody waits."""

    def __init__(self, device: Device, like: Like):
        self.device = device
        self.host = [device.empty(shape, dtype) for shape, dtype in like]
        self.arrays: list[Array] = self.host

    def wait(self) -> None:
        """Wait until what was sent has left the host's arrays."""

    def send(self, rows: int) -> None:
        """Start to copy the first rows of each array to the device, after whatever still reads the arrays there."""

    def receive(self) -> None:
        """From now on what this thread asks of the device comes after the copy."""

    def done(self) -> None:
        """Whatever reads the arrays on the device has been asked for."""


class CopyingLane(Lane):
    """A copy a call, done when it returns: the simulated GPU, which has no streams."""

    def __init__(self, device: Device, like: Like, host: list[np.ndarray]):
        self.device, self.host = device, host
        self.arrays = [device.empty(shape, dtype) for shape, dtype in like]

    def send(self, rows: int) -> None:
        self._copy(rows)

    def _copy(self, rows: int, **stream: Any) -> None:
        with self.device.use(), ledger.during("feed", asked=True):
            for array, host in zip(self.arrays, self.host, strict=True):
                array[:rows].set(host[:rows], **stream)


class StreamLane(CopyingLane):
    """Copies beside the computing: pinned host memory, a stream of their own, an event each way. Not run on a GPU yet.

    Nothing is allocated on the copying stream: CuPy's pool hands a block on without regard to other streams (cupy#8068).
    """

    def __init__(self, device: Device, like: Like, host: list[np.ndarray], stream: Any):
        super().__init__(device, like, host)
        self.stream, self._cuda = stream, device.xp.cuda
        with device.use():
            self._copied = self._cuda.Event(block=True, disable_timing=True)  # who waits for it leaves the core to others
            self._used = self._cuda.Event(disable_timing=True)
        self.done()  # fresh memory may be in use until then by what was asked for before

    def wait(self) -> None:
        with self.device.use(), ledger.during("feed", asked=True):
            self._copied.synchronize()

    def send(self, rows: int) -> None:
        with self.device.use():
            self.stream.wait_event(self._used)
            self._copy(rows, stream=self.stream)
            self._copied.record(self.stream)

    def receive(self) -> None:
        with self.device.use():
            self._cuda.get_current_stream().wait_event(self._copied)

    def done(self) -> None:
        with self.device.use():
            self._used.record(self._cuda.get_current_stream())
