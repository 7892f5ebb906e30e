"""Files of a user's own that xpnet runs: what they import, and what is left of that afterwards."""

from __future__ import annotations

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from xpnet.backends.ledger.places import works_on_behalf


@contextlib.contextmanager
def searching(folder: Path) -> Iterator[None]:
    """A file may import its neighbours in the folder, as when Python runs it; the next file gets those of its own.

    Afterwards the search path is what it was, and what was imported from below the folder is forgotten: the objects
    live on, but ``sys.modules`` names their modules no longer. Installed packages stay, also those below the folder
    (``.venv``), and so does every package that was there before: compiled ones cannot be imported twice.
    """
    folder, path, before = folder.resolve(), sys.path[:], set(sys.modules)
    installed = [Path(entry) for entry in path if Path(entry) != folder and Path(entry).is_relative_to(folder)]
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        new = {name: _places(m) for name, m in list(sys.modules.items()) if name.partition(".")[0] not in before}
        sys.path[:] = path
        for name, places in new.items():
            if any(p.is_relative_to(folder) and not any(map(p.is_relative_to, installed)) for p in places):
                del sys.modules[name]


def as_module(path: Path) -> ModuleType:
    """The file as a module of a name that shadows no other; like a script, it leaves no compiled copy behind."""
    module = ModuleType(f"xpnet_model_{path.stem}")
    module.__file__ = str(path)
    sys.modules[module.__name__] = module  # dataclasses look their module up there
    exec(compile(path.read_bytes(), path, "exec"), vars(module))
    return module


def _places(module: ModuleType) -> list[Path]:
    """The module's file, or the folders of a package without one."""
    file = getattr(module, "__file__", None)
    return [Path(place) for place in ([file] if file else getattr(module, "__path__", ()))]


def users_frames(error: BaseException) -> list[traceback.FrameSummary]:
    """The part of a traceback that is in the user's files."""
    return [frame for frame in traceback.extract_tb(error.__traceback__) if not works_on_behalf(frame.filename)]
