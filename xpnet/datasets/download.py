"""Where a data set's files are: in a folder of the user's, in the cache, or, if asked, at the address they come from."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Any

from tqdm import tqdm

from xpnet.extras import load

TIMEOUT = 30.0  # seconds without an answer
CHUNK = 1 << 16

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: IO[bytes]) -> bool:
        with contextlib.suppress(OSError):
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
            return True
        return False
else:
    import fcntl

    def _try_lock(file: IO[bytes]) -> bool:
        with contextlib.suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        return False


@dataclass(frozen=True)
class Remote:
    """Files to be had from ``address`` + name, each with its md5; ``folder`` is the subfolder for them."""

    title: str
    folder: str
    address: str
    files: Mapping[str, str]


def cache_folder() -> Path:
    """The folder that XPNET_CACHE names, or the one that the system has for such things (as ``pooch.os_cache``)."""
    if chosen := os.environ.get("XPNET_CACHE"):
        return Path(chosen).expanduser()
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local") / "xpnet" / "xpnet" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "xpnet"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "xpnet"


def locate(remote: Remote, find: Callable[[Path], list[Path]], folder: str | os.PathLike | None, download: bool) -> list[Path]:
    """What ``find`` finds in ``folder``, or, where that is None, in the folder XPNET_DATA, else in the cache.

    ``find`` raises FileNotFoundError that says what a folder lacks. Then ``download`` fetches the files, into the set's
    subfolder of ``folder`` or of the cache; without it FileNotFoundError says where they were looked for and how to get them.
    """
    named, missing = os.environ.get("XPNET_DATA"), []
    places = [Path(folder)] if folder is not None else [Path(named), cache_folder()] if named else [cache_folder()]
    for place in places:
        try:
            return find(place.expanduser())
        except FileNotFoundError as error:
            missing.append(str(error))
    last = places[-1].expanduser()
    if download:
        fetch(remote, last / remote.folder)
        return find(last)
    raise FileNotFoundError(
        f"{remote.title}: {'; '.join(missing)}. Pass download=True (--download), or put {', '.join(remote.files)} into "
        f"{last / remote.folder}, or name the folder that has them: by an argument (--data FOLDER) or in XPNET_DATA"
    )


def fetch(remote: Remote, folder: Path) -> None:
    """Download the files that are not in the folder, each checked before it gets its name; a broken download is resumed.

    Raises MissingExtra without pooch, ConnectionError where the network or the server fails, ValueError for a wrong checksum
    (the file is deleted), OSError that says where nothing can be written.
    """
    load("pooch", "data")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _alone(folder):
            for name in remote.files:
                if not (folder / name).exists():
                    _fetch_file(remote, name, folder)
    except ConnectionError:
        raise
    except OSError as error:  # that of a full disk has no filename, pooch's own no strerror
        advice = "name another folder by an argument (--data FOLDER) or in XPNET_CACHE"
        raise OSError(error.errno, f"{error.strerror or error}; {advice}", error.filename or str(folder)) from error


def _fetch_file(remote: Remote, name: str, folder: Path) -> None:
    """One file; again from the start where what was resumed has the wrong checksum: the beginning may be of another version."""
    url, part, network = remote.address + name, folder / f"{name}.part", _network_errors()
    retrieve = partial(load("pooch", "data").retrieve, url, f"md5:{remote.files[name]}", fname=name, path=folder)
    while not (folder / name).exists():
        resumed = part.exists()
        try:
            retrieve(downloader=partial(_resume, part))
        except network as error:
            kept = f" ({part.stat().st_size:,} bytes are kept: the next try goes on there)" if part.exists() else ""
            raise ConnectionError(
                f"{remote.title}: {url} cannot be downloaded: {_reason(error)}{kept}. Try again, or put "
                f"{', '.join(remote.files)} into {folder} by hand"
            ) from error
        except ValueError as error:
            if part.exists() or not resumed:
                raise ValueError(f"{remote.title}: {url}: {error}") from error


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """One process at a time downloads into a folder. The system frees the lock when a process ends, however it ends."""
    with (folder / ".xpnet-download.lock").open("ab") as file:
        if not _try_lock(file):
            print(f"another process downloads into {folder}: waiting for it", file=sys.stderr, flush=True)
            while not _try_lock(file):
                time.sleep(0.1)
        yield


def _resume(part: Path, url: str, output_file: str, pooch: Any) -> None:
    """A downloader for pooch that goes on where ``part`` ends, and from the start where the server cannot do that."""
    requests = load("requests", "data")
    have = part.stat().st_size if part.exists() else 0
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={have}-"} if have else {})
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
        if not (have and response.status_code == requests.codes.requested_range_not_satisfiable):  # nothing is missing
            response.raise_for_status()
            if "text/html" in response.headers.get("Content-Type", ""):
                raise requests.RequestException("a web page came in its place, perhaps of a proxy or to log in")
            if response.status_code != requests.codes.partial_content:
                have = 0
            _write(response, part, have)
    os.replace(part, output_file)


def _write(response: Any, part: Path, have: int) -> None:
    """Append the answer's body to the first ``have`` bytes of ``part``, as the server sent it."""
    response.raw.enforce_content_length = True  # an answer that breaks off is an error
    total = have + response.raw.length_remaining if response.raw.length_remaining else None
    with (
        part.open("ab" if have else "wb") as file,
        tqdm(total=total, initial=have, unit="B", unit_scale=True, desc=part.stem, disable=None) as bar,
    ):
        for chunk in response.raw.stream(CHUNK, decode_content=False):
            file.write(chunk)
            bar.update(len(chunk))


def _network_errors() -> tuple[type[Exception], ...]:
    return load("requests", "data").RequestException, load("urllib3", "data").exceptions.HTTPError


def _reason(error: BaseException) -> str:
    """The system's own words where there are any, such as "Connection refused"."""
    while error.__context__ is not None:
        error = error.__context__
    return getattr(error, "strerror", None) or str(error).partition(" for url")[0] or type(error).__name__
