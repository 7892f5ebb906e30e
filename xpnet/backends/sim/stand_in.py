"""``import cupy`` answered by the simulated GPU, for scripts that were written for a real one."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import sys
import types
from collections.abc import Iterator
from typing import Any

from xpnet.backends.ledger.places import cupy_folders
from xpnet.backends.sim.namespace import xp

SIMULATED: dict[str, Any] = {
    "cupy": xp,
    "cupy.cuda": xp.cuda,
    "cupy.cuda.runtime": xp.cuda.runtime,
    "cupy.linalg": xp.linalg,
    "cupy.random": xp.random,
    "cupy.lib": xp.lib,
    "cupy.lib.stride_tricks": xp.lib.stride_tricks,
}


# Modules of CuPy that can be imported, no more.
OTHERS = {f"cupy.{name}" for name in ("fft", "polynomial", "testing", "exceptions", "prof", "_core")} | {"cupyx"}
BELOW = ("cupyx.", "cupy.cuda.", "cupy.testing.", "cupy._core.")


class NotSimulated(types.ModuleType):
    """A module that can be imported, so that the line which uses it is the one that fails, with a sentence."""

    __path__: list[str] = []  # a package: what is below it can be imported as well  # noqa: RUF012

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise AttributeError(f"{self.__name__} is not simulated")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        raise AttributeError(f"{self.__name__}.{name} is not simulated")


class Finder(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    """Finds every module of CuPy: the simulated ones are there already, the others are :class:`NotSimulated`."""

    def find_spec(self, fullname: str, path: Any, target: Any = None) -> importlib.machinery.ModuleSpec | None:
        if fullname not in OTHERS and not fullname.startswith(BELOW):
            return None  # so that a name which CuPy has not cannot be imported
        return importlib.machinery.ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> types.ModuleType:
        return NotSimulated(spec.name)

    def exec_module(self, module: types.ModuleType) -> None:
        pass


@contextlib.contextmanager
def cupy_simulated() -> Iterator[None]:
    """Inside, ``import cupy`` gives the simulator; afterwards what was there before."""
    cupy_folders()  # found for good before there is nothing to be found
    before = _take_out(sys.modules)
    finder = Finder()
    sys.meta_path.insert(0, finder)
    sys.modules.update(SIMULATED)
    try:
        yield
    finally:
        sys.meta_path.remove(finder)
        _take_out(sys.modules)
        sys.modules.update(before)
        _forget_submodules(SIMULATED.values())


def _take_out(modules: dict[str, Any]) -> dict[str, Any]:
    """Remove all of CuPy's modules, and return them."""
    names = [name for name in modules if name.partition(".")[0] in ("cupy", "cupyx")]
    return {name: modules.pop(name) for name in names}


def _forget_submodules(owners: Any) -> None:
    """``import cupy.fft`` has left an attribute in the simulator."""
    for owner in owners:
        for name in [name for name, value in vars(owner).items() if isinstance(value, NotSimulated)]:
            delattr(owner, name)
