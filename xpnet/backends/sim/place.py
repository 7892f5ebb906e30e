"""The simulated devices and which of them is current, per thread, as in ``cupy.cuda.Device``."""

from __future__ import annotations

import threading
from typing import Self

from xpnet.backends import ledger


class Place:
    """One simulated GPU; ``with place:`` makes it the current device of this thread, and nests."""

    def __init__(self, index: int):
        self.id = index
        self.name = f"sim:{index}" if index else "sim"

    def __enter__(self) -> Self:
        current.left.append(current.place)
        current.place = self
        return self

    def __exit__(self, *exc_info: object) -> None:
        current.place = current.left.pop()

    def use(self) -> Self:
        """Make it current from here on."""
        current.place = self
        return self

    def synchronize(self) -> None:
        ledger.synchronised("Device.synchronize()")

    def __int__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<simulated CUDA Device {self.id}>"


PLACES = tuple(Place(index) for index in range(8))


class _Current(threading.local):
    def __init__(self) -> None:  # runs once in each thread
        self.place = PLACES[0]
        self.left: list[Place] = []


current = _Current()
