"""Functions of the namespace that make arrays from host data, or hand them back: written out, not derived."""

from __future__ import annotations

from typing import Any

import numpy as np

from xpnet.backends import ledger
from xpnet.backends.sim.array import fresh, host_array, ndarray, on_current, operand, upload, view
from xpnet.backends.sim.memory import poisoned
from xpnet.backends.sim.place import current


def array(
    obj: Any,
    dtype: Any = None,
    copy: bool | None = True,
    order: Any = "K",
    subok: bool = False,
    ndmin: int = 0,
    *,
    blocking: bool = False,
) -> ndarray:
    made = _copied(obj, dtype, order, "xp.array") if copy or not isinstance(obj, ndarray) else _converted(obj, dtype, order)
    missing = ndmin - made.ndim
    return made if missing <= 0 else view(made._a.reshape((1,) * missing + made.shape), made)


def asarray(a: Any, dtype: Any = None, order: Any = "K", *, copy: bool | None = None, blocking: bool = False) -> ndarray:
    if copy or not isinstance(a, ndarray):
        return _copied(a, dtype, order)
    return _converted(a, dtype, order)


def ascontiguousarray(a: Any, dtype: Any = None) -> ndarray:
    return asarray(
        a if isinstance(a, ndarray) else host_array(a, "ascontiguousarray"), dtype, "C"
    )  # no host arrays, as in CuPy


def asfortranarray(a: Any, dtype: Any = None) -> ndarray:
    return asarray(a if isinstance(a, ndarray) else host_array(a, "asfortranarray"), dtype, "F")


def empty(shape: Any, dtype: Any = float, order: Any = "C") -> ndarray:
    return ndarray(shape, dtype, order=order)


def empty_like(
    prototype: ndarray, dtype: Any = None, order: Any = "K", subok: bool | None = None, shape: Any = None
) -> ndarray:
    like = operand(prototype, "empty_like")
    return fresh(poisoned(np.empty_like(like, dtype, order, shape=shape)), current.place)


def asnumpy(
    a: Any, stream: Any = None, order: Any = "C", out: np.ndarray | None = None, *, blocking: bool = True
) -> np.ndarray:
    if isinstance(a, ndarray):
        return a.get(stream, order, out, blocking)
    return np.asarray(a, order=order)


def is_available() -> bool:
    return True


def _copied(obj: Any, dtype: Any, order: Any, cause: str = "xp.asarray") -> ndarray:
    """A new array from host data (one copy across the bus) or from arrays of the device (one launch)."""
    if isinstance(obj, list | tuple) and _holds_arrays(obj):
        values = np.array(_unwrapped(obj), dtype, order=order)
    elif isinstance(obj, ndarray):
        values = np.array(on_current(obj)._a, dtype, order=order)
    else:
        return upload(obj, dtype, order, cause)
    ledger.launched("copy", values, values)
    return fresh(values, current.place)


def _converted(a: ndarray, dtype: Any, order: Any) -> ndarray:
    """The array itself where it already is as asked."""
    values = np.asarray(on_current(a)._a, dtype, order)
    if values is a._a:
        return a
    ledger.launched("astype", a._a, values)
    return fresh(values, current.place)


def _holds_arrays(items: Any) -> bool:
    return any(isinstance(x, ndarray) or (isinstance(x, list | tuple) and _holds_arrays(x)) for x in items)


def _unwrapped(x: Any) -> Any:
    return [_unwrapped(item) for item in x] if isinstance(x, list | tuple) else operand(x, "array")
