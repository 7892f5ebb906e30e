"""Libraries that only some users need: imported where they are used, with an error that names the extra that brings them."""

from __future__ import annotations

import importlib
from types import ModuleType


class MissingExtra(ImportError):
    """An optional library is not installed."""


def load(module: str, extra: str) -> ModuleType:
    """The module, ``"matplotlib.figure"``; raises MissingExtra that says ``pip install "xpnet[plot]"`` where it is absent."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        library = module.partition(".")[0]
        if (error.name or "").partition(".")[0] != library:
            raise  # the library is there, but one that it needs is not
        raise MissingExtra(
            f'this needs {library}, which is not installed: pip install "xpnet[{extra}]" '
            f'(in a checkout: pip install -e ".[{extra}]")'
        ) from error
