"""Where in the user's own program something happened."""

from __future__ import annotations

import os
import sys
import sysconfig
from pathlib import Path
from typing import NamedTuple

import numpy as np

STANDARD_LIBRARY = sysconfig.get_path("stdlib") + os.sep
# Code that works on behalf of the line which called it.
ON_BEHALF = (f"{Path(__file__).parents[1]}{os.sep}", f"{Path(np.__file__).parent}{os.sep}", "<frozen ", "<__array_function__")
CUPY = tuple(f"{os.sep}{package}{os.sep}" for package in ("cupy", "cupyx", "cupy_backends"))


class Place(NamedTuple):
    """A line of a source file."""

    file: str
    line: int

    def __str__(self) -> str:
        return f"{_short(self.file)}:{self.line}"


def users_place() -> Place:
    """The innermost line running now that is not xpnet's, NumPy's, CuPy's or Python's own; line 0 of "?" if there is none."""
    frame = sys._getframe(1)
    while frame is not None:
        if not works_on_behalf(frame.f_code.co_filename):
            return Place(frame.f_code.co_filename, frame.f_lineno)
        frame = frame.f_back  # type: ignore[assignment]
    return Place("?", 0)


def works_on_behalf(file: str) -> bool:
    """Whether the code of this file acts for its caller, who is to be named instead."""
    if file.startswith(ON_BEHALF):
        return True
    if "site-packages" in file:  # it may lie inside the standard library's folder
        return any(package in file for package in CUPY)
    return file.startswith(STANDARD_LIBRARY)


def _short(file: str) -> str:
    """Relative to the current folder where the file lies below it."""
    if not os.path.isabs(file):
        return file
    relative = os.path.relpath(file)
    return file if relative.startswith(os.pardir) else relative
