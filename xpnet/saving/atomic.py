"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import os
import re
import secrets
from collections.abc import Iterable
from pathlib import Path

LEFT_OVER = re.compile(r"\..+\.[0-9a-f]{16}\.tmp")


def write_atomically(path: str | os.PathLike, parts: bytes | Iterable[bytes]) -> None:
    """Write a file beside its place, have it reach the disk, and rename it: a broken run leaves what was there.

    Its mode is the usual one, by the umask. Raises OSError that names the file.
    """
    target = Path(os.path.realpath(Path(path).expanduser()))
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(8)}.tmp")
    try:
        with open(temporary, "xb") as file:
            for part in (parts,) if isinstance(parts, bytes) else parts:
                file.write(part)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError):
            raise OSError(error.errno, f"{error.strerror}, nothing was changed", os.fspath(path)) from error
        raise
    _sync(target.parent)


def remove_left_over(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder; none may be at work there."""
    for path in folder.iterdir():
        if LEFT_OVER.fullmatch(path.name):
            path.unlink(missing_ok=True)


def _sync(folder: Path) -> None:
    """Have a rename reach the disk, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
