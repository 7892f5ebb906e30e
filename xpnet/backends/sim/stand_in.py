"""``import cupy`` answered by the simulated GPU, for scripts that were written for a real one."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

from xpnet.backends.sim.namespace import xp


class NotSimulated:
    """A module that can be imported, so that the line which uses it is the one that fails."""

    def __init__(self, name: str):
        self.__name__ = name

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self.__name__}.{name} is not simulated")


MODULES: dict[str, Any] = {
    "cupy": xp,
    "cupy.cuda": xp.cuda,
    "cupy.cuda.runtime": xp.cuda.runtime,
    "cupy.linalg": xp.linalg,
    "cupy.random": xp.random,
    "cupy.lib": xp.lib,
    "cupy.lib.stride_tricks": xp.lib.stride_tricks,
    "cupyx": NotSimulated("cupyx"),
}


@contextlib.contextmanager
def cupy_simulated() -> Iterator[None]:
    """Inside, ``import cupy`` gives the simulator; afterwards what was there before."""
    before = {name: module for name, module in sys.modules.items() if name.partition(".")[0] in ("cupy", "cupyx")}
    for name in before:
        del sys.modules[name]
    sys.modules.update(MODULES)
    try:
        yield
    finally:
        for name in MODULES:
            sys.modules.pop(name, None)
        sys.modules.update(before)
