"""``xp``: what ``import cupy as xp`` gives, as far as the surface of CuPy goes."""

from __future__ import annotations

import importlib.machinery
import numbers
from typing import Any

import numpy as np

from xpnet.backends.sim import creation, cuda, methods, random
from xpnet.backends.sim.array import ndarray
from xpnet.backends.sim.calls import UFunc, function, matmul
from xpnet.backends.sim.place import Place
from xpnet.backends.sim.rules import NOT_SIMULATED, SHARED_VALUES
from xpnet.backends.sim.surface import SURFACE


class Namespace:
    """A module of CuPy: its names only, each made when first asked for."""

    def __init__(self, name: str, source: Any, specs: dict[str, str], **own: Any):
        self.__name__ = name
        self.__path__: list[str] = []  # a package, to those who import what is below it
        self.__spec__ = importlib.machinery.ModuleSpec(name, None, is_package=True)
        self._source, self._specs = source, specs
        vars(self).update(own)

    def __getattr__(self, name: str) -> Any:
        if name not in self._specs.keys() | NOT_SIMULATED or name.startswith("_"):
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r} (CuPy {SURFACE['cupy']})")
        if name in NOT_SIMULATED or not hasattr(self._source, name):
            raise AttributeError(f"{self.__name__}.{name} exists, but the simulated GPU has no counterpart")
        value = _member(f"{self.__name__}.{name}".removeprefix("cupy."), getattr(self._source, name), self._specs[name])
        setattr(self, name, value)  # found at once from now on
        return value

    def __dir__(self) -> list[str]:
        return sorted({*self._specs, *vars(self)})

    def __repr__(self) -> str:
        return f"<simulated module {self.__name__!r}, CuPy {SURFACE['cupy']}>"


def _member(name: str, source: Any, spec: str) -> Any:
    if spec.startswith("ufunc"):
        nin, nout = map(int, spec.split()[1:])
        return UFunc(name, source, nin, nout)
    if name.endswith("matmul"):
        return matmul(name, spec)
    if spec != "value":
        return function(name, source, spec)
    shared_type = isinstance(source, type) and issubclass(source, np.generic | Exception)
    if shared_type or source is None or isinstance(source, numbers.Number) or name in SHARED_VALUES:
        return source
    raise AttributeError(f"cupy.{name} exists, but the simulated GPU has no counterpart")


def get_array_module(*args: Any) -> Any:
    return xp if any(isinstance(a, ndarray) for a in args) else np


xp = Namespace(
    "cupy",
    np,
    SURFACE["namespace"],
    ndarray=ndarray,
    array=creation.array,
    asarray=creation.asarray,
    asanyarray=creation.asarray,
    ascontiguousarray=creation.ascontiguousarray,
    asfortranarray=creation.asfortranarray,
    asnumpy=creation.asnumpy,
    empty=creation.empty,
    empty_like=creation.empty_like,
    get_array_module=get_array_module,
    is_available=creation.is_available,
    linalg=Namespace("cupy.linalg", np.linalg, SURFACE["linalg"]),
    lib=Namespace(
        "cupy.lib",
        np.lib,
        {},
        stride_tricks=Namespace("cupy.lib.stride_tricks", np.lib.stride_tricks, SURFACE["stride_tricks"]),
    ),
    random=Namespace(
        "cupy.random", random.Legacy(), SURFACE["random"], default_rng=random.default_rng, Generator=random.Generator
    ),
    cuda=Namespace(
        "cupy.cuda",
        None,
        SURFACE["cuda"],
        Device=Place,
        Stream=cuda.Stream,
        get_current_stream=cuda.get_current_stream,
        is_available=cuda.is_available,
        runtime=cuda.runtime,
    ),
    __version__=SURFACE["cupy"],
)
methods.complete(xp)
