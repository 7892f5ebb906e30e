"""The folder of a run: the options it was started with, its checkpoints, its log, and the model in the end."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shlex
import sys
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NoReturn

from xpnet.checks import check_folder_place
from xpnet.saving.atomic import LEFT_OVER, write_atomically
from xpnet.saving.models import MODEL

OPTIONS = "run.json"
NOT_KEPT = ("run", "verb", "words", "save", "resume", "traceback")
MAY_CHANGE = ("--epochs", "--device", "--data")  # when a run goes on, and then for good


def check_new(folder: str) -> None:
    """Refuse a folder in which something is already, or that cannot be made: OSError, before any training."""
    path = Path(folder).expanduser()
    if not folder:
        raise ValueError("--save '': the name of a folder is needed")
    if (path / OPTIONS).exists() or (path / MODEL).exists():
        what = "a network trained earlier" if (path / MODEL).exists() else "a training that has not ended, or has diverged"
        again = f"xpnet train --resume {shlex.quote(folder)}"
        raise FileExistsError(f"{folder} holds {what}: go on with it by {again}, delete it, or choose another name")
    if path.exists() and not (path.is_dir() and all(LEFT_OVER.fullmatch(p.name) for p in path.iterdir())):
        raise FileExistsError(f"{folder} exists and is no empty folder: choose another name")
    check_folder_place(path, "--save")


def begin(arguments: argparse.Namespace) -> None:
    """Make the folder, if it is not there, and put the options into it as they are now, paths as absolute ones."""
    from xpnet import __version__

    kept = {name: value for name, value in vars(arguments).items() if name not in NOT_KEPT}
    if not is_named(kept["dataset"]):
        kept["dataset"] = os.path.abspath(kept["dataset"])
    if kept["data"] is not None:
        kept["data"] = os.path.abspath(kept["data"])
    path = Path(arguments.save).expanduser()
    path.mkdir(parents=True, exist_ok=True)
    write_atomically(path / OPTIONS, json.dumps({"xpnet": __version__, "arguments": kept}, indent=1).encode() + b"\n")


def resumed(arguments: argparse.Namespace) -> argparse.Namespace:
    """The options of the run in ``arguments.resume``, with those that may change; ValueError where others are given."""
    given = arguments.words[: arguments.words.index("--")] if "--" in arguments.words else arguments.words
    words = [word.partition("=")[0] for word in given if word.startswith("--")]
    if other := [word for word in words if not any(name.startswith(word) for name in ("--resume", "--traceback", *MAY_CHANGE))]:
        raise ValueError(f"{other[0]}: a run goes on with the options it has; only {', '.join(MAY_CHANGE)} may change")
    found = options(arguments.resume)
    folder = Path(arguments.resume).expanduser()
    if (folder / MODEL).exists() and not any(folder.glob("checkpoint-*")):
        raise FileNotFoundError(f"{arguments.resume} has a network, but no checkpoint to go on from: train in another folder")
    if arguments.dataset is not None and arguments.dataset != found["dataset"]:
        if is_named(arguments.dataset) or is_named(found["dataset"]):
            raise ValueError(f"{arguments.dataset}: the run is of {found['dataset']}, and goes on with that")
        found["dataset"] = arguments.dataset  # where these data are now
    if arguments.data is not None and not is_named(found["dataset"]):
        found["dataset"], arguments.data = arguments.data, None
    for option in MAY_CHANGE:
        if any(option.startswith(word) for word in words):
            found[option.strip("-")] = getattr(arguments, option.strip("-"))
    return argparse.Namespace(**{**vars(arguments), **found, "save": arguments.resume, "resume": arguments.resume})


def moved(error: FileNotFoundError, arguments: argparse.Namespace) -> FileNotFoundError:
    """The error for data that are not where they were when a run began."""
    now = "--data FOLDER" if is_named(arguments.dataset) else "FILE"
    return FileNotFoundError(
        f"{gone(error)}; where the data are now: xpnet train --resume {shlex.quote(arguments.resume)} {now}"
    )


def gone(error: FileNotFoundError) -> str:
    """What is not there, in words."""
    return f"{error.filename} is not there" if error.filename else str(error).partition(". Pass download")[0]


def is_named(dataset: str) -> bool:
    """Whether it is one of the data sets that go by a name."""
    from xpnet.cli.train import NAMES  # here, as that module imports this one

    return dataset in NAMES


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


@contextlib.contextmanager
def warned() -> Iterator[None]:
    """Inside, warnings are lines without a place in the code; NumPy's of numbers that overflow are none: the end says so."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".* encountered in ", RuntimeWarning)
        warnings.showwarning = lambda message, *place: print(f"xpnet train: {message}", file=sys.stderr)
        yield
