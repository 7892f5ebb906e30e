"""``xp.cuda``: devices and streams, as far as a simulator without a clock can be honest about them."""

from __future__ import annotations

from typing import Any, Self

from xpnet.backends import ledger
from xpnet.backends.sim.place import PLACES, Place, current


class Stream:
    """Work is done when it is asked for, so all streams are one; waiting for one is counted."""

    null: Stream

    def __init__(self, null: bool = False, non_blocking: bool = False, ptds: bool = False, **priority: Any):
        self.is_null = null

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        pass

    def use(self) -> Self:
        return self

    def synchronize(self) -> None:
        ledger.synchronised("Stream.synchronize()")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"cupy.cuda.Stream.{name} is not simulated")


Stream.null = Stream(null=True)


def get_current_stream(device_id: int = -1) -> Stream:
    return Stream.null


def is_available() -> bool:
    return True


class Runtime:
    """The questions that scripts ask before they begin."""

    def getDeviceCount(self) -> int:
        return len(PLACES)

    def getDevice(self) -> int:
        return current.place.id

    def setDevice(self, device: int) -> None:
        Place(device).use()

    def deviceSynchronize(self) -> None:
        ledger.synchronised("runtime.deviceSynchronize()")

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"cupy.cuda.runtime.{name} is not simulated")


runtime = Runtime()
