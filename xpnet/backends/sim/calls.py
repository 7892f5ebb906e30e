"""CuPy's ufuncs and functions over NumPy: check the call as CuPy does, compute, count, wrap."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from xpnet.backends import ledger
from xpnet.backends.sim import flops
from xpnet.backends.sim.array import fresh, host_array, index_parts, ndarray, on_current, operand, view, wait_for_masks
from xpnet.backends.sim.place import current
from xpnet.backends.sim.rules import (
    ARRAY_PARAMETERS,
    GATHERS,
    HOST_PARAMETERS,
    INDEX_PARAMETERS,
    METADATA,
    REDUCES,
    SCATTERS,
    SYNCHRONISES,
)
from xpnet.backends.sim.surface import CallCheck
from xpnet.backends.sim.tf32 import in_tf32

UFUNC_OPTIONS = frozenset({"dtype", "casting"})


class UFunc:
    """``xp.add`` and its like; besides the inputs they take ``out``, ``dtype`` and ``casting`` only."""

    def __init__(self, name: str, f: Callable, nin: int, nout: int):
        self.name = "cupy_" + name
        self.__name__ = name
        self.nin, self.nout, self.nargs = nin, nout, nin + nout
        self._f = f if isinstance(f, np.ufunc) else _with_out(f)
        self._layout: dict[str, Any] = {"order": "C"} if isinstance(f, np.ufunc) else {}  # NumPy keeps that of its inputs
        if isinstance(f, np.ufunc) and nin == 2 and nout == 1:
            self.outer = function(name + ".outer", f.outer, "A, B, dtype=, casting=, out=")
            self.reduce = self._only_for(REDUCES, "reduce", "array, axis=, dtype=, out=, keepdims=")
            self.accumulate = self._only_for(REDUCES, "accumulate", "array, axis=, dtype=, out=")
            self.reduceat = self._only_for({"add"}, "reduceat", "array, indices, axis=, dtype=, out=")

    def __call__(self, *args: Any, out: Any = None, **options: Any) -> Any:
        if len(args) != self.nin:
            args, out = self._split(args, out)
        if options and not options.keys() <= UFUNC_OPTIONS:
            raise TypeError(f"Wrong arguments {options.keys() - UFUNC_OPTIONS} for cupy.{self.__name__}")
        place = current.place
        values = [x._a if type(x) is ndarray and x._place is place else operand(x, self.__name__) for x in args]
        if out is not None:
            return self._into(values, out, options)
        with np.errstate(all="ignore"):  # CuPy never warns
            result = self._f(*values, **self._layout, **options)
        results = (result,) if self.nout == 1 else result
        ledger.launched(self.__name__, *values, *results)
        wrapped = tuple(fresh(r, place) for r in results)
        return wrapped[0] if self.nout == 1 else wrapped

    def _into(self, values: list, out: Any, options: dict) -> ndarray:
        if type(out) is tuple:
            (out,) = out
        if self.nout != 1 or not isinstance(out, ndarray):
            raise TypeError(f"cupy.{self.__name__}: cannot write into out={type(out)}")
        a = on_current(out)._a
        shape = a.shape
        for x in values:
            if type(x) is np.ndarray and x.shape == shape:
                break  # the usual case, told apart without building the broadcast
        else:
            if np.broadcast(*values).shape != shape:
                raise ValueError("Out shape is mismatched")  # NumPy would repeat the result to fill a larger out
        with np.errstate(all="ignore"):  # CuPy never warns
            self._f(*values, out=a, **options)
        ledger.launched(self.__name__, *values, a)
        return out

    def _split(self, args: tuple, out: Any) -> tuple[tuple, Any]:
        """Outputs may follow the inputs by position."""
        if len(args) != self.nargs or out is not None:
            raise TypeError(f"Wrong number of arguments for {self.name}")
        return args[: self.nin], args[self.nin :]

    def at(self, a: ndarray, indices: Any, b: Any = None) -> None:
        name = self.__name__
        if name not in SCATTERS:
            raise NotImplementedError(f"`{self.name}.at` is not supported yet")
        target = operand(a, name + ".at")
        if target.dtype.name not in SCATTERS[name]:
            raise TypeError(f"cupy.{name}.at does not support {target.dtype} (CuPy takes {sorted(SCATTERS[name])})")
        added, parts = operand(b, name + ".at"), index_parts(indices)[0]
        wait_for_masks(parts)
        getattr(np, name).at(target, parts, added)
        ledger.launched(name + ".at", added, added)

    def _only_for(self, names: frozenset[str] | set[str], method: str, spec: str) -> Callable:
        if self.__name__ in names:
            return function(f"{self.__name__}.{method}", getattr(self._f, method), spec)

        def refuse(*args: Any, **kwargs: Any) -> None:
            raise NotImplementedError(f"`{self.name}.{method}` is not supported yet")

        return refuse

    def __repr__(self) -> str:
        return f"<simulated ufunc {self.name!r}>"


def _with_out(f: Callable) -> Callable:
    """CuPy's ufuncs that are plain functions in NumPy: sinc, i0, fix."""

    def ufunc(x: Any, out: np.ndarray | None = None, **options: Any) -> Any:
        result = np.asarray(f(x)).astype(**options) if options else f(x)
        return result if out is None else np.copyto(out, result, casting="same_kind")

    return ufunc


def function(name: str, f: Callable, spec: str) -> Callable:
    """CuPy's function or method ``name``, of the signature ``spec``, computed by NumPy's ``f``."""
    if name in METADATA:
        return _metadata_function(f)
    check = CallCheck(name, spec, f)
    f = in_tf32(f) if name.removeprefix("ndarray.") in ("dot", "tensordot") else f
    refuse = _argument_rules(name, check)
    waits = name.rpartition(".")[2] in SYNCHRONISES
    cause = name if "." in name else "xp." + name

    def call(*args: Any, **kwargs: Any) -> Any:
        out = kwargs.get("out")
        refuse(args, kwargs)
        args, kwargs = check.numpy_call(args, kwargs)
        dtype = kwargs.pop("dtype", None) if check.casts else None
        seen: list[ndarray] = []
        values = [_value(x, name, seen) for x in args]
        if waits or (name == "where" and len(values) == 1) or (name == "average" and kwargs.get("weights") is not None):
            ledger.synchronised(cause)
        with np.errstate(all="ignore"):
            result = f(*values, **{key: _value(x, name, seen) for key, x in kwargs.items()})
        wrapped, launched = _settled(result if dtype is None else np.asarray(result, dtype), seen, out)
        if launched is not None:
            results = launched or [out._a] if isinstance(out, ndarray) else launched
            touched = [a._a for a in seen] if name.rpartition(".")[2] not in GATHERS else results
            ledger.launched(name.removeprefix("ndarray."), *touched, *results, flops=flops.of_call(name, values, result))
        return wrapped

    call.__name__ = call.__qualname__ = name
    return call


def _metadata_function(f: Callable) -> Callable:
    def call(*args: Any, **kwargs: Any) -> Any:
        return f(*[x._a if isinstance(x, ndarray) else x for x in args], **kwargs)

    return call


def _argument_rules(name: str, check: CallCheck) -> Callable[[tuple, dict], None]:
    """Refuses lists where CuPy wants an array, and arrays where it wants a number of the host."""
    arrays = [(i, p) for i, p in enumerate(check.names) if p in ARRAY_PARAMETERS | INDEX_PARAMETERS]
    collected = len(check.names) if check.collects in HOST_PARAMETERS else None

    def refuse(args: tuple, kwargs: dict) -> None:
        for i, parameter in arrays:
            if i < len(args) and type(args[i]) in (list, tuple):
                _list_for_array(args[i], name, parameter)
        _refuse_on_host(name, zip(check.names, args, strict=False))
        _refuse_on_host(name, kwargs.items())
        if collected is not None:
            _refuse_on_host(name, ((check.collects, x) for x in args[collected:]))

    return refuse


def _list_for_array(x: Any, name: str, parameter: str) -> None:
    if parameter not in INDEX_PARAMETERS:
        raise TypeError(f"cupy.{name}: {parameter} must be an array of the device, not a {type(x).__name__}")
    ledger.copied_in(np.asarray(x).nbytes, "host index array")


def _refuse_on_host(name: str, arguments: Iterable[tuple[str, Any]]) -> None:
    for parameter, x in arguments:
        if parameter in HOST_PARAMETERS and _holds_array(x):
            raise TypeError(f"cupy.{name}: {parameter} is read by the host: a device array cannot be interpreted as an integer")


def _holds_array(x: Any) -> bool:
    return isinstance(x, ndarray) or (type(x) in (list, tuple) and any(isinstance(item, ndarray) for item in x))


def _value(x: Any, name: str, seen: list[ndarray]) -> Any:
    """The argument for NumPy; arrays of the device are noted in ``seen``, host arrays refused at any depth."""
    if isinstance(x, ndarray):
        seen.append(on_current(x))
        return x._a
    if isinstance(x, np.ndarray):
        return host_array(x, name)
    if type(x) in (list, tuple):
        return type(x)(_value(item, name, seen) for item in x)
    return x


def _settled(result: Any, seen: list[ndarray], out: Any) -> tuple[Any, list[np.ndarray] | None]:
    """What NumPy returned, wrapped, and the new arrays in it; None for them if nothing was launched, as all are views."""
    if type(out) is ndarray and result is out._a:
        return out, []
    wrapped = _wrapped(result, seen)
    items = wrapped if isinstance(wrapped, tuple | list) else (wrapped,)
    new = [x._a for x in items if isinstance(x, ndarray) and x._base is None and not any(x is a for a in seen)]
    return wrapped, new if new or result is None or out is not None else None


def _wrapped(result: Any, seen: list[ndarray]) -> Any:
    if isinstance(result, np.ndarray):
        return _array_result(result, seen)
    if isinstance(result, tuple | list):
        items = [_wrapped(item, seen) for item in result]
        return result._make(items) if hasattr(result, "_make") else type(result)(items)
    return result if result is None else fresh(np.asarray(result), current.place)  # CuPy returns 0-d arrays, bools too


def _array_result(a: np.ndarray, seen: list[ndarray]) -> ndarray:
    """The argument itself (out=, or nothing to do), a view of it, or new memory."""
    memory = _memory(a)
    for argument in seen:
        if a is argument._a:
            return argument
        if memory is _memory(argument._a):
            return view(a, argument)
    return fresh(a, current.place)


def _memory(a: Any) -> Any:
    """The object at the end of the chain of bases: the same one for all views of one piece of memory."""
    while (base := getattr(a, "base", None)) is not None:
        a = base
    return a


def matmul(name: str, spec: str) -> Callable:
    """``xp.matmul``: cuBLAS writes C-contiguous results of the product's own dtype only.

    For any other ``out=`` CuPy makes a temporary and copies it, which is counted.
    """
    multiply = in_tf32(np.matmul)
    check = CallCheck(name, spec, np.matmul)

    def call(*args: Any, out: Any = None, **options: Any) -> Any:
        if len(args) == 3:
            args, out = args[:2], args[-1]
        if options:
            check.numpy_call(args, options)
        values: Any = [operand(x, name) for x in args]
        if out is None:
            result = multiply(*values, **options)
            ledger.launched(name, *values, result, flops=flops.of_call(name, values, result))
            return fresh(result, current.place)
        target = operand(out, name)
        multiply(*values, out=target, **options)
        ledger.launched(name, *values, target, flops=flops.of_call(name, values, target))
        if not target.flags.c_contiguous or target.dtype != np.result_type(*values):
            ledger.launched("copy", target, target)
            ledger.allocated(target.nbytes)
        return out

    call.__name__ = call.__qualname__ = name
    return call
