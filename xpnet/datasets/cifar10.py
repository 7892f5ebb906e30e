"""CIFAR-10 in its binary version: plain bytes, read from the archive as it is downloaded."""

from __future__ import annotations

import os
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np

from xpnet.datasets.base import Dataset
from xpnet.datasets.download import Remote, locate

ARCHIVE = "cifar-10-binary.tar.gz"
CIFAR10 = Remote(
    "CIFAR-10",
    "cifar-10-batches-bin",
    "https://www.cs.toronto.edu/~kriz/",
    {ARCHIVE: "c32a1d4ab5d03f1284b67883e8d87530"},
)
FILES = (*(f"data_batch_{k}.bin" for k in range(1, 6)), "test_batch.bin")
PICKLED = ("cifar-10-batches-py", "cifar-10-python.tar.gz", "data_batch_1")
CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
SOURCE = "A. Krizhevsky: Learning multiple layers of features from tiny images (2009)"
RECORD = 1 + 3 * 32 * 32  # a label, then the red, the green and the blue plane
LARGEST = 10_000 * RECORD  # bytes of a file


def cifar10(folder: str | os.PathLike | None = None, *, flatten: bool = True, download: bool = False) -> Dataset:
    """50,000 + 10,000 colour photographs of 32x32 pixels, channels in [0, 1], of 10 kinds of things.

    Rows are (N, 3072), or (N, 32, 32, 3) with ``flatten=False``: 740 MB, 920 while they are read. ``folder`` (or
    ``XPNET_DATA``, or else the cache) holds the archive ``cifar-10-binary.tar.gz`` or what it unpacks to, itself or in the
    subfolder ``cifar-10-batches-bin``; ``download=True`` fetches it where it is missing (170 MB, extra ``data``).
    Raises FileNotFoundError, also for the version in pickle, ValueError for a damaged file, ConnectionError.
    """
    paths = locate(CIFAR10, _find, folder, download)
    batches = _unpacked(paths[0]) if len(paths) == 1 else {path.name: path.read_bytes() for path in paths}
    parts = [_records(batches[name], f"{paths[0] if len(paths) == 1 else paths[0].parent}: {name}") for name in FILES]
    (x_train, y_train), (x_test, y_test) = _images(parts[:-1]), _images(parts[-1:])
    if flatten:
        x_train, x_test = x_train.reshape(len(x_train), -1), x_test.reshape(len(x_test), -1)
    return Dataset("cifar-10", x_train, y_train, x_test, y_test, CLASSES, SOURCE, "no licence stated")


def _find(folder: Path) -> list[Path]:
    """The six files, or the archive alone, in the set's subfolder or in the folder; else FileNotFoundError."""
    places = (folder / CIFAR10.folder, folder)
    there = {place: [name for name in FILES if (place / name).is_file()] for place in places}
    for place in places:
        if len(there[place]) == len(FILES):
            return [place / name for name in FILES]
    for place in places:
        if (place / ARCHIVE).is_file():
            return [place / ARCHIVE]
    for place in places:
        if there[place]:
            raise FileNotFoundError(f"{place} has no {next(name for name in FILES if name not in there[place])}")
    for name in PICKLED:
        if (folder / name).exists():
            raise FileNotFoundError(
                f"{folder} has {name}, the version in pickle, which is not read because unpickling runs what a file says"
            )
    raise FileNotFoundError(f"{folder} has no {ARCHIVE} and no {CIFAR10.folder} with its files")


def _unpacked(archive: Path) -> dict[str, bytes]:
    """The six files of the archive, read without writing anything to disk; in what folder they are does not matter."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name in FILES and member.isfile() and (file := tar.extractfile(member)):
                    if name in found or member.size > LARGEST:  # what is read goes into memory whole
                        fault = "is there twice" if name in found else f"has {member.size:,} bytes, more than {LARGEST:,}"
                        raise ValueError(f"{archive}: {name} {fault}: it is not {ARCHIVE} of {CIFAR10.address}")
                    found[name] = file.read()
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        if isinstance(error, PermissionError):
            raise
        raise ValueError(f"{archive} cannot be unpacked ({error}): it is damaged or no such archive; delete it") from error
    if absent := [name for name in FILES if name not in found]:
        raise ValueError(f"{archive} has no {absent[0]}: it is not {ARCHIVE} of {CIFAR10.address}")
    return found


def _records(data: bytes, name: str) -> np.ndarray:
    """A file's rows (n, 3073) of a label and three planes; ``name`` is for the error."""
    if not data or len(data) % RECORD:
        raise ValueError(f"{name} has {len(data):,} bytes, not a multiple of {RECORD}: it is damaged")
    records = np.frombuffer(data, np.uint8).reshape(-1, RECORD)
    if (largest := records[:, 0].max()) >= len(CLASSES):
        raise ValueError(f"{name} has the label {largest}, of {len(CLASSES)} classes: it is damaged")
    return records


def _images(parts: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
    """Records as images (N, 32, 32, 3) float32 in [0, 1], of which there is one copy, and labels (N,) int64."""
    x = np.empty((sum(map(len, parts)), 32, 32, 3), np.float32)
    for images, records in zip(np.split(x, np.cumsum([len(p) for p in parts])[:-1]), parts, strict=True):
        np.divide(records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1), 255, out=images, dtype=np.float32)
    return x, np.concatenate([records[:, 0] for records in parts]).astype(np.int64)
