"""The ledger on a real GPU: what CuPy's own hooks tell, while a ledger is open or something is forbidden.

Three sources: CuPy's memory hook (allocations, per thread), the function that CuPy calls before it waits for the
device, and wrappers of the operations that carry host memory across. Kernel launches have no hook, and the copies that
CuPy makes inside compiled functions (``add.at``, ``isclose``, ``einsum`` of host arrays) cannot be seen.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np

from xpnet.backends.ledger import record

READS = {"__float__": "float()", "__int__": "int()", "__bool__": "bool()", "__complex__": "complex()", "item": ".item()"}
READS |= {"tolist": ".tolist()", "__repr__": "print", "__str__": "print", "__format__": "print", "tobytes": ".tobytes()"}
MAKERS = ("array", "asarray", "asanyarray")
OF_DEVICES = ("__cuda_array_interface__", "__cupy_get_ndarray__", "__dlpack_device__")
BLOCKING = 3  # its place among the arguments of ``get``, after the array

_numbers = itertools.count()


class Hooks:
    """The hooks of one imported CuPy: ``install`` and ``remove``, which restores every attribute."""

    def __init__(self, cupy: ModuleType):
        self.cupy = cupy
        self._replaced: list[tuple[Any, str, Any]] = []
        self._here = threading.local()
        array, cuda, runtime = cupy.ndarray, cupy.cuda, cupy.cuda.runtime
        waits = {
            (cuda.Stream, "synchronize"): "Stream.synchronize()",
            (cuda.ExternalStream, "synchronize"): "Stream.synchronize()",
            (cuda.Event, "synchronize"): "Event.synchronize()",
            (runtime, "deviceSynchronize"): "runtime.deviceSynchronize()",
            (runtime, "streamSynchronize"): "runtime.streamSynchronize()",
            (runtime, "eventSynchronize"): "runtime.eventSynchronize()",
        }
        self._new: dict[tuple[Any, str], Callable] = {
            (cupy._core.syncdetect, "_declare_synchronize"): functools.partial(self._waits, cause="synchronisation"),
            **{key: functools.partial(self._waits, cause=cause) for key, cause in waits.items()},
            (array, "get"): self._gets,
            (array, "set"): self._sets,
            **{(array, name): self._indexes for name in ("__getitem__", "__setitem__", "take")},
            **{(array, name): functools.partial(self._named, cause=cause) for name, cause in READS.items()},
            **{(cupy, name): functools.partial(self._makes, cause=f"xp.{name}") for name in MAKERS},
        }

    def install(self) -> None:
        if self._replaced:
            return
        for (owner, name), wrap in self._new.items():
            self._replaced.append((owner, name, vars(owner).get(name)))
            setattr(owner, name, functools.wraps(getattr(owner, name))(wrap(getattr(owner, name))))

    def remove(self) -> None:
        while self._replaced:
            owner, name, own = self._replaced.pop()
            if own is None:
                delattr(owner, name)  # it was inherited
            else:
                setattr(owner, name, own)

    def enter_thread(self) -> None:
        """Count this thread's allocations from now on."""
        if getattr(self._here, "memory", None) is None:
            self._here.memory = _memory_hook(self.cupy)
            self._here.memory.__enter__()

    def leave_thread(self) -> None:
        memory = getattr(self._here, "memory", None)
        if memory is not None:
            self._here.memory = None
            memory.__exit__(None, None, None)

    def _waits(self, original: Callable, cause: str) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            if not getattr(self._here, "reading", False):
                record.synchronised(cause)
            return original(*args, **kwargs)

        return call

    @contextlib.contextmanager
    def _reading(self) -> Iterator[None]:
        """Inside ``get``, which is one wait, though CuPy declares it and then calls the stream's ``synchronize``."""
        before, self._here.reading = getattr(self._here, "reading", False), True
        try:
            yield
        finally:
            self._here.reading = before

    def _named(self, original: Callable, cause: str) -> Callable:
        """What this does to the bus is known by this name; ``get``, which it calls in the end, reports it."""

        def call(*args: Any, **kwargs: Any) -> Any:
            with record.during(cause):
                return original(*args, **kwargs)

        return call

    def _gets(self, original: Callable) -> Callable:
        def call(a: Any, *args: Any, **kwargs: Any) -> Any:
            blocking = args[BLOCKING] if len(args) > BLOCKING else kwargs.get("blocking", True)
            record.copied_out(a.nbytes, ".get()", waits=bool(blocking))
            with self._reading():
                return original(a, *args, **kwargs)

        return call

    def _sets(self, original: Callable) -> Callable:
        def call(a: Any, *args: Any, **kwargs: Any) -> Any:
            record.copied_in(a.nbytes, ".set()")
            return original(a, *args, **kwargs)

        return call

    def _makes(self, original: Callable, cause: str) -> Callable:
        def call(*args: Any, **kwargs: Any) -> Any:
            source = args[0] if args else kwargs.get("a", kwargs.get("obj"))
            with record.during(cause):
                if not self._holds_arrays(source):
                    record.copied_in(_nbytes(source, args[1] if len(args) > 1 else kwargs.get("dtype")), cause)
                return original(*args, **kwargs)

        return call

    def _indexes(self, original: Callable) -> Callable:
        """Of ``a[key]``, ``a[key] = value`` and ``a.take(indices)``, host indices and values go there."""

        def call(a: Any, *args: Any, **kwargs: Any) -> Any:
            key = args[0] if args else kwargs.get("indices")
            for part in key if isinstance(key, tuple) else (key,):
                if isinstance(part, np.ndarray | list | tuple | range) and not self._holds_arrays(part):
                    record.copied_in(np.asarray(part).nbytes, "host index array")
            if original.__name__ == "__setitem__" and isinstance(args[1], np.ndarray) and args[1].ndim:
                record.copied_in(args[1].nbytes, "host values")
            return original(a, *args, **kwargs)

        return call

    def _holds_arrays(self, x: Any) -> bool:
        """Whether ``x`` is an array of a device (of any library), or holds some at any depth."""
        if isinstance(x, list | tuple):
            return any(self._holds_arrays(item) for item in x)
        # Asked of the type, since the property itself may ask the device. Host arrays have the last one too.
        return not isinstance(x, np.ndarray) and any(hasattr(type(x), name) for name in OF_DEVICES)


def _nbytes(source: Any, dtype: Any) -> int:
    """What crosses the bus: CuPy casts on the host first."""
    host = np.asarray(source)
    return host.size * np.dtype(dtype or host.dtype).itemsize


def _memory_hook(cupy: ModuleType) -> Any:
    """Every request to CuPy's memory pool in this thread, whether the pool asks the device for more or not."""

    class Requests(cupy.cuda.MemoryHook):  # type: ignore[name-defined]
        name = f"xpnet-ledger-{next(_numbers)}"

        def malloc_postprocess(self, **request: Any) -> None:
            record.allocated(request["size"])

    return Requests()
