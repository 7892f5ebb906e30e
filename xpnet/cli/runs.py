"""The folder of a run: the options it was started with, its checkpoints, its log, and the model in the end."""

from __future__ import annotations

import argparse
import json
import os
import shlex
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from xpnet.checks import check_folder_place
from xpnet.saving.atomic import LEFT_OVER, write_atomically
from xpnet.saving.models import MODEL

OPTIONS = "run.json"
NOT_KEPT = ("run", "verb", "words", "save", "resume", "traceback")
MAY_CHANGE = ("--epochs", "--device")  # when a run goes on


def check_new(folder: str) -> None:
    """Refuse a folder in which something is already, or that cannot be made: OSError, before any training."""
    path = Path(folder).expanduser()
    if (path / OPTIONS).exists() or (path / MODEL).exists():
        raise FileExistsError(
            f"{folder} holds a network trained earlier: go on with it by xpnet train --resume {shlex.quote(folder)}, or choose "
            f"another name"
        )
    if not folder or (path.exists() and not (path.is_dir() and all(LEFT_OVER.fullmatch(p.name) for p in path.iterdir()))):
        raise FileExistsError(f"{folder or 'the empty name'} exists and is no empty folder: choose another name")
    check_folder_place(path, "--save")


def begin(arguments: argparse.Namespace) -> None:
    """Make the folder and put the options into it, paths as absolute ones."""
    from xpnet import __version__
    from xpnet.cli.train import NAMES

    kept = {name: value for name, value in vars(arguments).items() if name not in NOT_KEPT}
    if kept["dataset"] not in NAMES:
        kept["dataset"] = os.path.abspath(kept["dataset"])
    if kept["data"] is not None:
        kept["data"] = os.path.abspath(kept["data"])
    path = Path(arguments.save).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    write_atomically(path / OPTIONS, json.dumps({"xpnet": __version__, "arguments": kept}, indent=1).encode() + b"\n")


def resumed(arguments: argparse.Namespace) -> argparse.Namespace:
    """The options that the run in ``arguments.resume`` was started with; ValueError where others are given beside it."""
    words = [word.partition("=")[0] for word in arguments.words if word.startswith("--")]
    if given := [word for word in words if not any(name.startswith(word) for name in ("--resume", "--traceback", *MAY_CHANGE))]:
        raise ValueError(f"{given[0]}: a run goes on with the options it has; only --epochs and --device may change")
    if arguments.dataset is not None:
        raise ValueError(f"{arguments.dataset}: a run goes on with the data it has: xpnet train --resume {arguments.resume}")
    found = options(arguments.resume)
    for option in MAY_CHANGE:
        if any(option.startswith(word) for word in words):
            found[option.strip("-")] = getattr(arguments, option.strip("-"))
    return argparse.Namespace(**{**vars(arguments), **found, "save": arguments.resume, "resume": arguments.resume})


def options(folder: str | os.PathLike) -> dict[str, Any]:
    """The options in a run's folder, by the names that ``xpnet train`` gives them; ValueError where they are none."""
    from xpnet.cli.train import fill

    path = Path(folder).expanduser() / OPTIONS
    if not path.is_file():
        raise FileNotFoundError(f"{folder} holds no run: it has no {OPTIONS}, which xpnet train ... --save {folder} writes")
    parser = Refusing()
    fill(parser)
    try:
        found = json.loads(path.read_text("utf-8"))["arguments"]
        if not isinstance(found["dataset"], str):
            raise TypeError("no data are named")
        return vars(parser.parse_args(list(as_words(found, parser))))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"{path} is of no use ({type(error).__name__}: {error}): train and save again") from error


def as_words(found: Mapping[str, Any], parser: argparse.ArgumentParser) -> Iterator[str]:
    """Options as they are written on a command line."""
    for action in parser._actions:
        value, name = found.get(action.dest), next(iter(action.option_strings), "")
        if isinstance(value, list) and name:
            yield from (name, *map(str, value))
        elif value is True:
            yield name
        elif value is not None and value is not False:
            yield f"{name}={value}" if name else str(value)


class Refusing(argparse.ArgumentParser):
    """Raises ValueError instead of ending the program."""

    def error(self, message: str) -> NoReturn:
        raise ValueError(message)
