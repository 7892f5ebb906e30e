"""Give the simulated array its operators and the methods that it shares with NumPy's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.backends.sim.array import ndarray
from xpnet.backends.sim.calls import function
from xpnet.backends.sim.rules import NOT_SIMULATED
from xpnet.backends.sim.surface import SURFACE

UNARY = {"neg": "negative", "pos": "positive", "abs": "absolute", "invert": "invert"}
COMPARISONS = {
    "lt": "less",
    "le": "less_equal",
    "eq": "equal",
    "ne": "not_equal",
    "gt": "greater",
    "ge": "greater_equal",
}
BINARY = {
    "add": "add",
    "sub": "subtract",
    "mul": "multiply",
    "truediv": "true_divide",
    "floordiv": "floor_divide",
    "mod": "remainder",
    "divmod": "divmod",
    "pow": "power",
    "and": "bitwise_and",
    "or": "bitwise_or",
    "xor": "bitwise_xor",
    "lshift": "left_shift",
    "rshift": "right_shift",
    "matmul": "matmul",
}
NO_IN_PLACE_FORM = {"divmod", "matmul"}  # `a @= b` makes a new array


def complete(xp: Any) -> None:
    """Complete the class with the namespace's functions, and send NumPy's own functions there."""
    for operator, name in (UNARY | COMPARISONS | BINARY).items():
        setattr(ndarray, f"__{operator}__", _plain(getattr(xp, name)))
    for operator, name in BINARY.items():
        setattr(ndarray, f"__r{operator}__", _reflected(getattr(xp, name)))
        if operator not in NO_IN_PLACE_FORM:
            setattr(ndarray, f"__i{operator}__", _in_place(getattr(xp, name)))
    for name, spec in SURFACE["ndarray"].items():
        if spec not in ("any", "value") and name not in vars(ndarray) and name not in NOT_SIMULATED:
            _add_method(name, spec)
    _dispatch_numpy(xp)


def _plain(f: Callable) -> Callable:
    return lambda self, *other: f(self, *other)


def _reflected(f: Callable) -> Callable:
    return lambda self, other: f(other, self)


def _in_place(f: Callable) -> Callable:
    return lambda self, other: f(self, other, out=self)


def _add_method(name: str, spec: str) -> None:
    method = getattr(np.ndarray, name, None)
    f = method if callable(method) else getattr(np, name, None)  # NumPy 2 has ptp as a function only
    if f is not None:
        setattr(ndarray, name, function("ndarray." + name, f, spec))


def _dispatch_numpy(xp: Any) -> None:
    """``np.exp(a)`` and ``np.sum(a)`` compute on the device, under CuPy's rules."""

    def on_ufunc(self: ndarray, ufunc: np.ufunc, method: str, *inputs: Any, **options: Any) -> Any:
        f = getattr(xp, ufunc.__name__, None)
        if f is None:
            return NotImplemented
        return f(*inputs, **options) if method == "__call__" else getattr(f, method)(*inputs, **options)

    def on_function(self: ndarray, func: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        home = xp
        for part in func.__module__.split(".")[1:]:
            home = getattr(home, part, None)
        f = getattr(home, func.__name__, None)
        return NotImplemented if f is None else f(*args, **kwargs)

    for name, method in {"__array_ufunc__": on_ufunc, "__array_function__": on_function}.items():
        setattr(ndarray, name, method)
