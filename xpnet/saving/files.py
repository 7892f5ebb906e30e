"""safetensors files: arrays by name, a JSON text about them, and a checksum of both."""

from __future__ import annotations

import contextlib
import json
import os
import platform
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save as serialized

from xpnet.checks import short
from xpnet.saving.atomic import write_atomically
from xpnet.saving.trees import for_json, from_json, storable

FORMAT = 1
DTYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U64", "U32", "U16", "U8", "BOOL")


class Damaged(ValueError):
    """A file that cannot be what it was when it was written, or that no xpnet wrote."""


@contextlib.contextmanager
def reading(path: str | os.PathLike, what: str) -> Iterator[None]:
    """Inside, whatever a file's contents are not fit for is :class:`Damaged`, with the file's name and ``what``."""
    try:
        yield
    except Damaged:
        raise
    except (KeyError, IndexError, TypeError, AttributeError, ValueError, RecursionError, OverflowError) as error:
        text = str(error) if isinstance(error, ValueError) else f"{type(error).__name__}: {error}"
        raise Damaged(f"{os.fspath(path)}: {what} ({text})") from error


class Stored(NamedTuple):
    """What a file holds: arrays by name, and what was said about them (None: not written by xpnet)."""

    arrays: dict[str, np.ndarray]
    about: dict[str, Any] | None


def write(path: str | os.PathLike, arrays: Mapping[str, np.ndarray], about: Mapping[str, Any]) -> None:
    """Write arrays and what JSON holds about them, atomically. OSError where the file cannot be written."""
    from xpnet import __version__

    ordered = {name: storable(a, name) for name, a in arrays.items()}
    versions = {"xpnet": __version__, "numpy": np.__version__, "python": platform.python_version()}
    text = json.dumps(for_json({"format": FORMAT, "versions": versions, **about}))
    said = f'{{"crc32": {checksum(text, ordered)}, "about": {text}}}'  # in one: the library writes several in any order
    write_atomically(path, serialized(ordered, {"xpnet": said}))


def read(path: str | os.PathLike) -> Stored:
    """All of a file, from whichever program; raises OSError where it is not there, and :class:`Damaged`."""
    path = Path(path).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"{os.fspath(path)} is {'a folder' if path.is_dir() else 'not there'}, no safetensors file")
    open(path, "rb").close()  # raises what is wrong, in the system's words
    try:
        with safe_open(path, framework="np") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            if unknown := [name for name in names if file.get_slice(name).get_dtype() not in DTYPES]:
                kind = file.get_slice(unknown[0]).get_dtype()
                raise Damaged(f"{os.fspath(path)}: {unknown[0]} is of type {kind}, this reads {', '.join(DTYPES)}")
            arrays = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise Damaged(f"{os.fspath(path)} is damaged, or no safetensors file ({short(str(error), 200)})") from error
    if "xpnet" not in metadata:
        return Stored(arrays, None)
    with reading(path, "what is said in it is not understood"):
        said = json.loads(metadata["xpnet"])
        about, right = said["about"], said["crc32"]
        if not isinstance(about, dict):
            raise TypeError(f"a {type(about).__name__} is no description")
        found, about = checksum(json.dumps(about), arrays), from_json(about)
    if found != right:
        raise Damaged(f"{os.fspath(path)} is damaged: its checksum does not agree with what it holds")
    if (number := about.get("format")) != FORMAT:
        raise ValueError(
            f"{os.fspath(path)} has format {number!r}, this xpnet reads {FORMAT}: it is by {about.get('versions')}"
        )
    return Stored(arrays, about)


def checksum(text: str, arrays: Mapping[str, np.ndarray]) -> int:
    """CRC-32 of the text, and of every array's name, type, shape and bytes."""
    found = zlib.crc32(text.encode())
    for name in sorted(arrays):
        a = arrays[name]
        found = zlib.crc32(f"{name} {a.dtype.str} {a.shape}".encode(), found)
        found = zlib.crc32(a.reshape(-1).view(np.uint8).data, found)
    return found
