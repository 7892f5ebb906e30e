"""Where in the user's own program something happened."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import numpy as np

XPNET = f"{Path(__file__).parents[2]}{os.sep}"
BACKENDS = f"{Path(__file__).parents[1]}{os.sep}"
NUMPY = f"{Path(np.__file__).parent}{os.sep}"
STANDARD_LIBRARY = f"{sysconfig.get_path('stdlib')}{os.sep}"
INSTALLED = tuple(f"{STANDARD_LIBRARY}{name}{os.sep}" for name in ("site-packages", "dist-packages"))
GENERATED = "<string>"  # a dataclass's __repr__, for instance


class Place(NamedTuple):
    """A line of a source file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{_short(self.file)}:{self.line}"


def users_place() -> Place:
    """The innermost line running now that is not xpnet's, NumPy's, CuPy's or Python's own.

    Where there is none it is a line of xpnet itself, outside its backends.
    """
    generated = inside = None
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file == GENERATED:
            generated = generated or Place(file, frame.f_lineno)
        elif not works_on_behalf(file):
            return Place(file, frame.f_lineno)
        elif inside is None and file.startswith(XPNET) and not file.startswith(BACKENDS):
            inside = Place(file, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return generated or inside or Place("?", 0)


@functools.lru_cache(maxsize=4096)
def works_on_behalf(file: str) -> bool:
    """Whether the code of this file acts for its caller, who is to be named instead."""
    if file.startswith((XPNET, NUMPY, "<frozen ", "<__array_function__", *cupy_folders())):
        return True
    return file.startswith(STANDARD_LIBRARY) and not file.startswith(INSTALLED)


@functools.cache
def cupy_folders() -> tuple[str, ...]:
    """Where CuPy's packages are installed, found without importing them."""
    found: list[str] = []
    for package in ("cupy", "cupyx", "cupy_backends"):
        try:
            spec = importlib.util.find_spec(package)
        except (ImportError, ValueError):  # a stand-in of that name was imported
            continue
        found += [f"{folder}{os.sep}" for folder in (spec and spec.submodule_search_locations) or ()]
    return tuple(found)


def _short(file: str) -> str:
    """Relative to the current folder where the file lies below it."""
    if not os.path.isabs(file):
        return file
    relative = os.path.relpath(file)
    return file if relative.startswith(os.pardir) else relative
