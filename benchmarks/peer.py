"""What the harness asks of each library: one training step of a case, and what tells whether its time may count."""

import importlib
import importlib.util
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


class Absent(RuntimeError):
    """A library that cannot be timed here, and why."""


class Host:
    """A device that has finished when its functions return."""

    def synchronize(self) -> None:
        pass

    def idle(self) -> bool:
        return True


@dataclass
class Peer:
    """One library's step of one case.

    ``call()`` trains once and returns the loss, ``device`` has ``synchronize()`` and ``idle()``, ``threads()`` says how many
    the library has now, by the name of who has them. ``verify()``, where there is no loss to compare, returns what was checked,
    the largest relative difference and the tolerance.
    """

    call: Callable[[], Any]
    threads: Callable[[], dict[str, int]]
    device: Any
    verify: Callable[[], tuple[str, float, float]] | None = None


def needed(module: str, package: str) -> Any:
    """The imported module; raises Absent where it is not installed."""
    if importlib.util.find_spec(module) is None:
        raise Absent(f"{package} is not installed")
    return importlib.import_module(module)


def blas_threads() -> dict[str, int]:
    """Threads of NumPy's BLAS; nothing where it does not tell."""
    from xpnet.bench import timing

    count = timing.blas_threads()
    return {} if count is None else {"BLAS": count}


def cores() -> int:
    """Those that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
