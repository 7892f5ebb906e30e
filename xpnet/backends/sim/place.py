"""The simulated devices and which of them is current, per thread, as in ``cupy.cuda.Device``."""

from __future__ import annotations

import threading
from typing import Any, Self

from xpnet.backends import ledger

COUNT = 8


class Place:
    """One simulated GPU, one object an index; ``with place:`` makes it the current one of this thread, and nests.

    It is the simulator's ``cupy.cuda.Device``: ``Place()`` is the current one.
    """

    id: int
    name: str

    def __new__(cls, device: int | Place | None = None) -> Place:
        if device is None:
            return current.place
        if not 0 <= int(device) < COUNT:
            raise ValueError(f"there are {COUNT} simulated GPUs, 0 to {COUNT - 1}, and no {device}")
        return PLACES[int(device)]

    def __reduce__(self) -> tuple:
        return Place, (self.id,)

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

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"cupy.cuda.Device.{name} is not simulated")

    def __repr__(self) -> str:
        return f"<simulated CUDA Device {self.id}>"


def _made(index: int) -> Place:
    place = object.__new__(Place)
    place.id, place.name = index, f"sim:{index}" if index else "sim"
    return place


PLACES = tuple(_made(index) for index in range(COUNT))


class _Current(threading.local):
    def __init__(self) -> None:  # runs once in each thread
        self.place = PLACES[0]
        self.left: list[Place] = []
        self.tf32 = False  # whether products round their operands; CuPy's setting is one for all threads


current = _Current()
