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

from xpnet.saving.atomic import write_atomically

FORMAT = 1
DTYPES = ("F64", "F32", "F16", "I64", "I32", "I16", "I8", "U8", "BOOL")


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

    ordered = {name: np.asarray(a, order="C") for name, a in arrays.items()}  # of others safetensors 0.8.0 writes other numbers
    versions = {"xpnet": __version__, "numpy": np.__version__, "python": platform.python_version()}
    text = json.dumps({"format": FORMAT, "versions": versions, **about}, allow_nan=False)
    metadata = {"xpnet": text, "crc32": str(checksum(text, ordered))}
    write_atomically(path, serialized(ordered, metadata))


def read(path: str | os.PathLike) -> Stored:
    """All of a file, from whichever program; raises OSError where it is not there, and :class:`Damaged`."""
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{os.fspath(path)} is {'a folder' if Path(path).is_dir() else 'not there'}, no safetensors file"
        )
    try:
        with safe_open(path, framework="np") as file:
            metadata, names = file.metadata() or {}, list(file.keys())
            if unknown := [name for name in names if file.get_slice(name).get_dtype() not in DTYPES]:
                kind = file.get_slice(unknown[0]).get_dtype()
                raise Damaged(f"{os.fspath(path)}: {unknown[0]} is of type {kind}, this reads {', '.join(DTYPES)}")
            arrays = {name: file.get_tensor(name) for name in names}
    except SafetensorError as error:
        raise Damaged(f"{os.fspath(path)} is damaged, or no safetensors file ({error})") from error
    if (text := metadata.get("xpnet")) is None:
        return Stored(arrays, None)
    if str(checksum(text, arrays)) != metadata.get("crc32"):
        raise Damaged(f"{os.fspath(path)} is damaged: its checksum does not agree with what it holds")
    about = json.loads(text)
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
