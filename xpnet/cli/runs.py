"""The folder of a run: the options it was started with, its checkpoints, its log, and the model in the end."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from pathlib import Path

from xpnet.saving.atomic import write_atomically
from xpnet.saving.models import MODEL

OPTIONS = "run.json"
NOT_KEPT = ("run", "verb", "save", "resume", "traceback")
MAY_CHANGE = ("epochs", "device")  # when a run goes on


def check_new(folder: str) -> None:
    """Refuse a folder in which something is already, or that cannot be made: OSError, before any training."""
    path = Path(folder).expanduser()
    if (path / OPTIONS).exists() or (path / MODEL).exists():
        raise FileExistsError(
            f"{folder} holds a network trained earlier: go on with it by xpnet train --resume {shlex.quote(folder)}, or choose "
            f"another name"
        )
    if not folder or (path.exists() and (not path.is_dir() or any(path.iterdir()))):
        raise FileExistsError(f"{folder or 'the empty name'} exists and is no empty folder: choose another name")
    holder = next(parent for parent in (path.resolve(), *path.resolve().parents) if parent.exists())
    if not holder.is_dir() or not os.access(holder, os.W_OK | os.X_OK):
        raise NotADirectoryError(f"{folder} cannot be made: {holder} is no folder that can be written to")


def begin(arguments: argparse.Namespace) -> None:
    """Make the folder and put the options into it, paths as absolute ones."""
    from xpnet import __version__
    from xpnet.cli.train import NAMES

    kept = {name: value for name, value in vars(arguments).items() if name not in NOT_KEPT}
    for name in ("dataset", "data"):
        if kept[name] is not None and kept[name] not in NAMES:
            kept[name] = os.path.abspath(kept[name])
    path = Path(arguments.save).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    write_atomically(path / OPTIONS, json.dumps({"xpnet": __version__, "arguments": kept}, indent=1).encode() + b"\n")


def resumed(arguments: argparse.Namespace, defaults: argparse.Namespace) -> argparse.Namespace:
    """The options that the run in ``arguments.resume`` was started with; ValueError where others are given beside it."""
    if arguments.save is not None:
        raise ValueError("--save and --resume are one or the other: --resume DIR goes on in DIR")
    if given := [
        name
        for name, value in vars(arguments).items()
        if name not in (*NOT_KEPT, *MAY_CHANGE) and value != getattr(defaults, name)
    ]:
        option = "DATA" if given[0] == "dataset" else f"--{given[0].replace('_', '-')}"
        raise ValueError(f"{option}: a run goes on with the options it has; only --epochs and --device may change")
    found = options(arguments.resume)
    changed = {name: getattr(arguments, name) for name in MAY_CHANGE if getattr(arguments, name) != getattr(defaults, name)}
    return argparse.Namespace(**{**vars(arguments), **found, **changed, "save": arguments.resume})


def options(folder: str | os.PathLike) -> dict:
    """The options in a run's folder, by the names that ``xpnet train`` gives them."""
    path = Path(folder).expanduser() / OPTIONS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run: it has no {OPTIONS}, which xpnet train ... --save {folder} writes")
    try:
        found = json.loads(path.read_text("utf-8"))["arguments"]
        if not isinstance(found, dict) or not isinstance(found.get("dataset"), str):
            raise TypeError("no options")
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} is damaged ({error}): train and save again") from error
    return found
