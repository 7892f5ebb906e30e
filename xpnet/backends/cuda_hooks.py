"""The ledger on a real GPU: what CuPy's own hooks tell, while a ledger is open or something is forbidden.

Three sources: CuPy's memory hook (allocations), the function that CuPy calls before it waits for the
device, and wrappers of the operations that carry host memory across. Kernel launches have no hook.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
from collections.abc import Callable
from types import ModuleType
from typing import Any

import numpy as np

from xpnet.backends import ledger

READS = {"__float__": "float()", "__int__": "int()", "__bool__": "bool()", "__complex__": "complex()", "item": ".item()"}
READS |= {"tolist": ".tolist()", "__repr__": "print", "__str__": "print", "__format__": "print", "tobytes": ".tobytes()"}
MAKERS = ("array", "asarray", "asanyarray")


_numbers = itertools.count()


class Hooks:
    """The hooks of one imported CuPy: ``install`` and ``remove``, which restores every attribute."""

    def __init__(self, cupy: ModuleType):
        from cupy._core import syncdetect

        self.cupy = cupy
        self._memory: Any = None
        self._replaced: list[tuple[Any, str, Any]] = []
        self._new: dict[tuple[Any, str], Callable] = {
            (syncdetect, "_declare_synchronize"): self._waits,
            (cupy.cuda.Stream, "synchronize"): functools.partial(self._waits_itself, cause="Stream.synchronize()"),
            (cupy.cuda.Event, "synchronize"): functools.partial(self._waits_itself, cause="Event.synchronize()"),
            (cupy.cuda.runtime, "deviceSynchronize"): functools.partial(
                self._waits_itself, cause="runtime.deviceSynchronize()"
            ),
            (cupy.ndarray, "get"): self._gets,
            (cupy.ndarray, "set"): self._sets,
            (cupy.ndarray, "__getitem__"): self._indexes,
            (cupy.ndarray, "__setitem__"): self._indexes,
            **{(cupy.ndarray, name): functools.partial(self._named, cause=cause) for name, cause in READS.items()},
            **{(cupy, name): functools.partial(self._makes, cause=f"xp.{name}") for name in MAKERS},
        }

    def install(self) -> None:
        if self._replaced:
            return
        self._memory = _memory_hook(self.cupy)
        self._memory.__enter__()
        for (owner, name), wrap in self._new.items():
            self._replaced.append((owner, name, vars(owner).get(name)))
            setattr(owner, name, functools.wraps(getattr(owner, name))(wrap(getattr(owner, name))))

    def remove(self) -> None:
        if not self._replaced:
            return
        self._memory.active = False
        with contextlib.suppress(KeyError):  # CuPy keeps memory hooks per thread, and this may be another one
            self._memory.__exit__(None, None, None)
        while self._replaced:
            owner, name, own = self._replaced.pop()
            if own is None:
                delattr(owner, name)  # it was inherited
            else:
                setattr(owner, name, own)

    def _waits(self, original: Callable) -> Callable:
        def call() -> Any:
            ledger.synchronised("synchronisation")
            return original()

        return call

    def _waits_itself(self, original: Callable, cause: str) -> Callable:
        """Waiting that CuPy does not declare."""

        def call(*args: Any, **kwargs: Any) -> Any:
            ledger.synchronised(cause)
            return original(*args, **kwargs)

        return call

    def _named(self, original: Callable, cause: str) -> Callable:
        """What this does to the bus is known by this name; ``get``, which it calls in the end, reports it."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with ledger.during(cause):
                return original(*args, **kwargs)

        return call

    def _gets(self, original: Callable) -> Callable:
        def call(a: Any, *args: Any, **kwargs: Any) -> Any:
            with ledger.during(".get()"):
                ledger.copied_out(a.nbytes, ".get()", waits=False)  # CuPy declares the waiting itself
                return original(a, *args, **kwargs)

        return call

    def _sets(self, original: Callable) -> Callable:
        def call(a: Any, *args: Any, **kwargs: Any) -> Any:
            ledger.copied_in(a.nbytes, ".set()")
            return original(a, *args, **kwargs)

        return call

    def _makes(self, original: Callable, cause: str) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            source = args[0] if args else kwargs.get("a", kwargs.get("obj"))
            with ledger.during(cause):
                if _is_host_data(source, self.cupy):
                    ledger.copied_in(np.asarray(source).nbytes, cause)
                return original(*args, **kwargs)

        return call

    def _indexes(self, original: Callable) -> Callable:
        def call(a: Any, key: Any, *value: Any) -> Any:
            for part in key if isinstance(key, tuple) else (key,):
                if isinstance(part, np.ndarray | list):
                    ledger.copied_in(np.asarray(part).nbytes, "host index array")
            return original(a, key, *value)

        return call


def _is_host_data(source: Any, cupy: ModuleType) -> bool:
    if isinstance(source, list | tuple):
        return not any(isinstance(item, cupy.ndarray) for item in source)
    return isinstance(source, np.ndarray | np.generic | int | float | complex)


def _memory_hook(cupy: ModuleType) -> Any:
    """Every request to CuPy's memory pool in this thread, whether the pool asks the device for more or not.

    Each has a name of its own: one that was left behind in another thread must not stand in the way of the next.
    """

    class Requests(cupy.cuda.MemoryHook):  # type: ignore[name-defined]
        name = f"xpnet-ledger-{next(_numbers)}"
        active = True

        def malloc_postprocess(self, **request: Any) -> None:
            if self.active:
                ledger.allocated(request["size"])

    return Requests()
