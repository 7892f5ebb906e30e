"""Files that are there whole or not at all."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

LEFT_OVER = re.compile(r"\.xpnet-(\d+)-([0-9a-f]{8})[0-9a-f]{8}\.tmp")  # with the process that wrote it, by two numbers:
MARK = secrets.token_hex(4)  # in a container an earlier process had that of this one, perhaps


@contextlib.contextmanager
def replacing(path: str | os.PathLike, mode: str = "wb", **options: Any) -> Iterator[Any]:
    """A new file beside its place, open for writing; at the end it reaches the disk and takes the place of what was there.

    Its mode is that of the file that was there, or the usual one, by the umask. Where ``path`` is a link, what it points to is
    replaced. Raises OSError that names the file; whatever is raised inside leaves what was there.
    """
    target = Path(os.path.realpath(Path(path).expanduser()))
    if target.exists() and not os.access(target, os.W_OK):
        raise PermissionError(errno.EACCES, "it may not be written to", os.fspath(path))
    temporary = target.with_name(f".xpnet-{os.getpid()}-{MARK}{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, mode.replace("w", "x"), **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if target.exists():
            shutil.copymode(target, temporary)
        os.replace(temporary, target)
    except BaseException as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        if isinstance(error, OSError) and error.filename in (None, os.fspath(temporary)):  # of the file here, not of another
            raise OSError(error.errno, f"{error.strerror}, nothing was changed", os.fspath(path)) from error
        raise
    _sync(target.parent)


def write_atomically(path: str | os.PathLike, parts: bytes | Iterable[bytes]) -> None:
    """Write a file that is there whole or not at all, as :func:`replacing` does."""
    with replacing(path) as file:
        for part in (parts,) if isinstance(parts, bytes) else parts:
            file.write(part)


def remove_left_over(folder: Path) -> None:
    """Remove what writers that were killed have left in a folder, not what others are writing."""
    for path in folder.iterdir():
        match = LEFT_OVER.fullmatch(path.name)
        if match and (match[2] != MARK if int(match[1]) == os.getpid() else not _runs(int(match[1]))):
            path.unlink(missing_ok=True)


def _runs(process: int) -> bool:
    """Whether there is a process of that number; where the question would be a signal, it is taken for granted."""
    if os.name == "nt":
        return True
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:
        return True  # somebody else's
    return True


def _sync(folder: Path) -> None:
    """Have a rename reach the disk, where the system lets a folder be opened."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Inside, other processes (and threads) that ask for the same folder get a RuntimeError; it ends with the process, too.

    Not on systems or file systems without such locks.
    """
    if fcntl is None:
        yield
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # a file system may have no locks
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                text = f"{folder}: another training, or a process that it began, is there: wait for its end"
                raise RuntimeError(f"{text}, or choose another folder") from error
        yield
    finally:
        with contextlib.suppress(OSError):
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # a forked process may have the descriptor too
        os.close(descriptor)
