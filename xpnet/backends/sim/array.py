"""The simulated ``cupy.ndarray``: NumPy memory that no NumPy function can reach by accident.

Operators and the methods that CuPy shares with NumPy are added by methods.py, since they are made
of the namespace's functions, which need this class.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from xpnet.backends import ledger
from xpnet.backends.device import DeviceMismatch
from xpnet.backends.sim import indexing
from xpnet.backends.sim.memory import poisoned
from xpnet.backends.sim.place import PLACES, Place, current
from xpnet.backends.sim.rules import fate_of_host_array
from xpnet.backends.sim.surface import SURFACE

DTYPES = frozenset("?bBhHiIlLqQefdFD")  # the dtype characters that CuPy has
SCALARS = (bool, int, float, complex, np.number, np.bool_)


class ndarray:  # noqa: N801 - CuPy's own name
    """An array on one simulated device. ``xp.ndarray(shape, dtype)`` is uninitialised, as in CuPy."""

    __slots__ = ("__weakref__", "_a", "_base", "_place")
    __array_priority__ = 100
    __hash__ = None  # type: ignore[assignment]

    _a: np.ndarray
    _base: ndarray | None  # the array that owns the memory; None for an owner
    _place: Place

    def __init__(self, shape: Any, dtype: Any = float, memptr: Any = None, strides: Any = None, order: Any = "C"):
        if memptr is not None or strides is not None:
            raise NotImplementedError("the simulated GPU makes no array from a pointer or from strides")
        self._a, self._base, self._place = poisoned(np.empty(shape, dtype, order)), None, current.place
        ledger.made(self._a)

    def __getattr__(self, name: str) -> Any:
        if name in SURFACE["ndarray"]:
            raise AttributeError(f"cupy.ndarray.{name} exists, but the simulated GPU has no counterpart")
        raise AttributeError(f"'cupy.ndarray' object has no attribute {name!r} (CuPy {SURFACE['cupy']})")

    dtype = property(lambda self: self._a.dtype)
    ndim = property(lambda self: self._a.ndim)
    size = property(lambda self: self._a.size)
    nbytes = property(lambda self: self._a.nbytes)
    itemsize = property(lambda self: self._a.itemsize)
    strides = property(lambda self: self._a.strides)
    flags = property(lambda self: self._a.flags)
    base = property(lambda self: self._base)
    device = property(lambda self: self._place)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._a.shape

    @shape.setter
    def shape(self, shape: tuple[int, ...]) -> None:
        reshaped = self._a.reshape(shape)
        if not np.may_share_memory(reshaped, self._a):
            raise AttributeError("incompatible shape: it would need a copy, which reshape makes")
        self._a = reshaped

    @property
    def T(self) -> ndarray:
        return self if self._a.ndim < 2 else view(self._a.T, self)

    @property
    def mT(self) -> ndarray:
        return view(self._a.mT, self)

    @property
    def real(self) -> ndarray:
        return self if self._a.dtype.kind != "c" else view(self._a.real, self)

    @property
    def imag(self) -> ndarray:
        if self._a.dtype.kind == "c":
            return view(self._a.imag, self)
        zeros = np.zeros_like(self._a)
        ledger.launched("imag", zeros)
        return fresh(zeros, self._place)

    @property
    def data(self) -> types.SimpleNamespace:
        """Like CuPy's MemoryPointer as far as ``.ptr`` goes: constant for as long as the memory lives."""
        return types.SimpleNamespace(ptr=self._a.__array_interface__["data"][0], device_id=self._place.id)

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        """Marks a device array for others; the address is null, for no kernel can follow a simulated one."""
        host = self._a.__array_interface__
        layout = {name: host[name] for name in ("shape", "typestr", "descr", "strides")}
        return layout | {"data": (0, False), "version": 3}

    # Reading values: the host waits.

    def get(self, stream: Any = None, order: Any = "C", out: np.ndarray | None = None, blocking: bool = True) -> np.ndarray:
        if out is None:
            out = np.empty(self._a.shape, self._a.dtype, order)
        if self._a.dtype != out.dtype or self._a.shape != out.shape:
            raise TypeError(f"{out.dtype}{out.shape} cannot be obtained from {self._a.dtype}{self._a.shape}")
        ledger.copied_out(self._a.nbytes, ".get()")
        out[...] = self._a
        return out

    def set(self, arr: np.ndarray, stream: Any = None) -> None:
        if not isinstance(arr, np.ndarray):
            raise TypeError("Only numpy.ndarray can be set to cupy.ndarray")
        if self._a.dtype != arr.dtype:
            raise TypeError(f"{arr.dtype} array cannot be set to {self._a.dtype} array")
        if self._a.shape != arr.shape:
            raise ValueError(f"Shape mismatch. Old shape: {self._a.shape}, new shape: {arr.shape}")
        ledger.copied_in(arr.nbytes, ".set()")
        self._a[...] = arr

    def item(self) -> Any:
        ledger.copied_out(self._a.nbytes, ".item()")
        return self._a.item()

    def tolist(self) -> Any:
        ledger.copied_out(self._a.nbytes, ".tolist()")
        return self._a.tolist()

    def tobytes(self, order: Any = "C") -> bytes:
        ledger.copied_out(self._a.nbytes, ".tobytes()")
        return self._a.tobytes(order)

    def __float__(self) -> float:
        return self._scalar(float)

    def __int__(self) -> int:
        return self._scalar(int)

    def __bool__(self) -> bool:
        return self._scalar(bool)

    def __complex__(self) -> complex:
        return self._scalar(complex)

    def _scalar(self, kind: Callable) -> Any:
        ledger.copied_out(self._a.nbytes, f"{kind.__name__}()")
        return kind(self._a)

    def __repr__(self) -> str:
        return self._text(repr)

    def __str__(self) -> str:
        return self._text(str)

    def __format__(self, spec: str) -> str:
        return self._text(lambda a: format(a, spec))

    def _text(self, write: Callable[[np.ndarray], str]) -> str:
        ledger.copied_out(self._a.nbytes, "print")
        return write(self._a)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        raise TypeError(
            "Implicit conversion to a NumPy array is not allowed. Please use `.get()` to construct a NumPy array explicitly."
        )

    # Copies and pickles.

    def __copy__(self) -> ndarray:
        return self.copy()

    def __deepcopy__(self, memo: dict) -> ndarray:
        with self._place:
            return self.copy()

    def __reduce__(self) -> tuple:
        return _unpickled, (self.get(), self._place.id)

    # Elements.

    def __len__(self) -> int:
        if not self._a.ndim:
            raise TypeError("len() of unsized object")
        return len(self._a)

    def __iter__(self) -> Iterator[ndarray]:
        if not self._a.ndim:
            raise TypeError("iteration over a 0-d array")
        return (self[i] for i in range(len(self._a)))

    def __getitem__(self, key: Any) -> ndarray:
        parts, advanced = index_parts(key)
        if not advanced:  # the trailing Ellipsis makes NumPy return a 0-d view, where it would a scalar
            return view(self._a[parts if Ellipsis in parts else (*parts, ...)], self)
        values = operand(self, "indexing")[parts]
        wait_for_masks(parts)
        values = values if values.base is None else values.copy()
        ledger.launched("getitem", values, values)
        return fresh(values, self._place)

    def __setitem__(self, key: Any, value: Any) -> None:
        target, values = operand(self, "assignment"), operand(value, "assignment")
        parts, advanced = index_parts(key)
        if advanced:
            wait_for_masks(parts)
            indexing.refuse_duplicates(target.shape, parts)
            target[parts] = values
        else:
            target = target[parts if Ellipsis in parts else (*parts, ...)]
            if isinstance(value, ndarray) and owner(value) is owner(self) and indexing.same_memory(target, values):
                return  # the end of `a[i] += b`: CuPy skips this copy as well
            target[...] = values
        ledger.launched("setitem", target if not advanced else values, values)


_new = object.__new__


def fresh(values: Any, place: Place) -> ndarray:
    """New memory on the device holding these values, just computed there; a NumPy scalar becomes a 0-d array."""
    array = _new(ndarray)
    array._a = a = values if type(values) is np.ndarray else np.asarray(values)
    if a.dtype.char not in DTYPES:
        raise ValueError(f"Unsupported dtype {a.dtype}")
    array._base, array._place = None, place
    ledger.made(a)
    return array


def view(a: np.ndarray, of: ndarray) -> ndarray:
    """A view costs nothing; it keeps its owner alive, and shows in the owner's reference count."""
    array = _new(ndarray)
    array._a, array._place, array._base = a, of._place, owner(of)
    return array


def owner(a: ndarray) -> ndarray:
    return a if a._base is None else a._base


def upload(values: Any, dtype: Any = None, order: Any = "K", cause: str = "xp.asarray") -> ndarray:
    """Copy host values to the current device."""
    a = np.array(values, dtype=dtype, order=order)
    ledger.copied_in(a.nbytes, cause)
    return fresh(a, current.place)


def operand(x: Any, function: str) -> Any:
    """What NumPy computes with: the memory of an array of the current device, or a scalar; TypeError for the rest."""
    if isinstance(x, ndarray):
        return x._a if x._place is current.place else on_current(x)._a
    if isinstance(x, SCALARS):
        return x
    return host_array(x, function)


def on_current(x: ndarray) -> ndarray:
    if x._place is current.place:
        return x
    raise DeviceMismatch(
        f"an array of device {x._place.name!r} reached an operation on device {current.place.name!r}: "
        f"work inside `with device.use():`, or copy it with device.put(other.get(array))"
    )


def host_array(x: Any, function: str) -> np.ndarray:
    """Refuse what is no array of a device; a host array is let through where the ledger forgives and notes it."""
    text = f"Unsupported type {type(x)} in cupy.{function}"
    if not isinstance(x, np.ndarray):
        raise TypeError(text)
    error = DeviceMismatch(f"{text}: a host array; copy it with device.put first{fate_of_host_array(function)}")
    if ledger.forgives(error):
        return x
    raise error


def index_parts(key: Any) -> tuple[tuple, bool]:
    """The index as a tuple that NumPy takes, and whether it holds arrays (so that elements are copied)."""
    if type(key) in (int, slice):
        return (key,), False
    parts = tuple(_index_part(k) for k in key) if type(key) is tuple else (_index_part(key),)
    return parts, any(isinstance(part, np.ndarray) for part in parts)


def wait_for_masks(parts: tuple) -> None:
    """How many elements a mask names is known to the device alone: CuPy waits for it, in assignments too."""
    if any(isinstance(part, np.ndarray) and part.dtype.kind == "b" for part in parts):
        ledger.synchronised("boolean mask")


def _index_part(k: Any) -> Any:
    if isinstance(k, ndarray):
        return on_current(k)._a
    if k is None or k is Ellipsis or isinstance(k, slice):
        return k
    if isinstance(k, bool | np.bool_):
        return np.asarray(k)
    if hasattr(k, "__index__") and not isinstance(k, np.ndarray):
        return k
    k = np.asarray(k)  # a list, a tuple or a range as well
    ledger.copied_in(k.nbytes, "host index array")
    return k if k.size else k.astype(np.intp)


def _unpickled(values: np.ndarray, index: int) -> ndarray:
    with PLACES[index]:
        return upload(values, cause="unpickling")
