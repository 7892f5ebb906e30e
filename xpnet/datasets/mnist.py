"""MNIST and Fashion-MNIST: four IDX files, from a folder or downloaded."""

from __future__ import annotations

import gzip
import math
import os
import struct
import zlib
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from xpnet.datasets.arrays import possible
from xpnet.datasets.base import Dataset
from xpnet.datasets.download import Remote, locate
from xpnet.datasets.tables import reason

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
UNSIGNED_BYTE = 8
BLOCK = 1 << 20  # bytes read at a time

MNIST = Remote(
    "MNIST",
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    {
        "train-images-idx3-ubyte.gz": "f68b3c2dcbeaaa9fbdd348bbdeb94873",
        "train-labels-idx1-ubyte.gz": "d53e105ee54ea40749a09fcbcd1e9432",
        "t10k-images-idx3-ubyte.gz": "9fb629c4189551a2d022fa330f9573f3",
        "t10k-labels-idx1-ubyte.gz": "ec29112dd5afa0611ce80d1b7f02629c",
    },
)
FASHION_MNIST = Remote(
    "Fashion-MNIST",
    "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",  # has no https: the checksums are what protects
    {
        "train-images-idx3-ubyte.gz": "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
        "train-labels-idx1-ubyte.gz": "25c81989df183df01b3e8a0aad5dffbe",
        "t10k-images-idx3-ubyte.gz": "bef4ecab320f06d8554ea6380940ec79",
        "t10k-labels-idx1-ubyte.gz": "bb300cfdad3c16e7a12a480ee83cd310",
    },
)
FIRST_LABELS = {"MNIST": (5, 0, 4, 1, 9, 2, 1, 3, 1, 4), "Fashion-MNIST": (9, 0, 0, 3, 0, 2, 7, 2, 5, 5)}
CLOTHES = ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot")


def mnist(folder: str | os.PathLike | None = None, *, flatten: bool = True, download: bool = False) -> Dataset:
    """60,000 + 10,000 handwritten digits of 28x28 pixels in [0, 1], labels 0 to 9.

    ``folder`` (or the environment variable ``XPNET_DATA``, or else the cache) holds the four IDX files, gzipped or not,
    itself or in a subfolder ``mnist``; ``download=True`` fetches them where they are missing (12 MB, extra ``data``).
    Rows are (N, 784), or (N, 28, 28, 1) with ``flatten=False``. The first 50,000 training rows are the book's training
    set, the other 10,000 its validation set. Raises FileNotFoundError that says what is missing where, ValueError for a
    damaged file, ConnectionError where a download fails.
    """
    source = "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits (1998)"
    licence = "free for research; no licence stated"
    return _images(MNIST, folder, flatten, download, tuple("0123456789"), source, licence)


def fashion_mnist(folder: str | os.PathLike | None = None, *, flatten: bool = True, download: bool = False) -> Dataset:
    """60,000 + 10,000 pictures of clothes, 28x28 pixels in [0, 1], of 10 kinds: MNIST's shape, a harder question.

    As for ``mnist`` (31 MB). The files have the same names: give them a folder of their own, or a subfolder ``fashion-mnist``.
    """
    source = "H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, a novel image dataset (2017)"
    return _images(FASHION_MNIST, folder, flatten, download, CLOTHES, source, "MIT")


def _images(
    remote: Remote,
    folder: str | os.PathLike | None,
    flatten: bool,
    download: bool,
    classes: tuple[str, ...],
    source: str,
    licence: str,
) -> Dataset:
    """The four files as a data set."""
    paths = locate(remote, partial(_find, remote), folder, download)
    x_train, y_train, x_test, y_test = (read_idx(path) for path in paths)
    shape = (784,) if flatten else (28, 28, 1)
    for k, images, labels in ((0, x_train, y_train), (2, x_test, y_test)):
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1] or not labels.size:
            raise ValueError(
                f"{paths[k]}: images of shape {images.shape} with labels of shape {labels.shape} are not {remote.title}"
            )
        if labels.max() >= len(classes):
            raise ValueError(f"{paths[k + 1]} has the label {labels.max()} of {len(classes)} classes: it is not {remote.title}")
    x_train, x_test = (np.divide(x.reshape(-1, *shape), 255, dtype=np.float32) for x in (x_train, x_test))
    y_train, y_test = y_train.astype(np.int64), y_test.astype(np.int64)
    return Dataset(remote.folder, x_train, y_train, x_test, y_test, classes, source, licence)


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Array of unsigned bytes in an IDX file, gzipped (.gz) or not; ValueError where the file is damaged.

    Format: two zero bytes, the element type, the number of axes, each axis as a 4-byte big-endian number, the data.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            shape = _idx_shape(file, path)
            size, data = math.prod(shape), bytearray()
            while len(data) <= size and (block := file.read(BLOCK)):  # it may unpack to more than it says, without an end
                data += block
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise ValueError(f"{path} cannot be unpacked ({reason(error)}): it is damaged or not gzipped") from error
    except MemoryError as error:
        raise ValueError(f"{path} says it holds {_claim(shape)}, more than there is memory for") from error
    if len(data) != size or not possible(shape):
        raise ValueError(f"{path} says it holds {_claim(shape)}, but it has {len(data)}: it is damaged")
    return np.frombuffer(data, np.uint8).reshape(shape)


def _claim(shape: tuple[int, ...]) -> str:
    """What a file says of itself, in words: damaged ones speak of a hundred axes."""
    return f"{shape}, {math.prod(shape)} bytes" if len(shape) <= 4 else f"an array of {len(shape)} axes"


class Readable(Protocol):
    """A file, packed or not."""

    def read(self, size: int, /) -> bytes: ...


def _idx_shape(file: Readable, path: Path) -> tuple[int, ...]:
    """The axes that an IDX file begins with."""
    start = file.read(4)
    axes = file.read(4 * start[3]) if len(start) == 4 else b""
    if start[:3] != bytes([0, 0, UNSIGNED_BYTE]) or len(start) < 4 or not start[3] or len(axes) < 4 * start[3]:
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    return struct.unpack(f">{start[3]}I", axes)


def _find(remote: Remote, folder: Path) -> list[Path]:
    """The four files in the set's subfolder or in the folder itself; FileNotFoundError says what is not there."""
    by_place = {place: _present(place) for place in (folder / remote.folder, folder)}
    place = max(by_place, key=lambda place: len(by_place[place])) if any(by_place.values()) else folder
    if absent := [name for name in FILES if name not in by_place[place]]:
        raise FileNotFoundError(f"{place} has no {absent[0]} and no {absent[0]}.gz")
    paths = [by_place[place][name] for name in FILES]
    first = tuple(read_idx(paths[1])[:10].tolist())
    for title, labels in FIRST_LABELS.items():
        if title != remote.title and first == labels:
            raise FileNotFoundError(f"{place} holds {title}, whose files have the same names")
    return paths


def _present(folder: Path) -> dict[str, Path]:
    """Those of the four files that the folder has, gzipped or not, by name."""
    paths = [(name, folder / f"{name}{suffix}") for suffix in (".gz", "") for name in FILES]
    return {name: path for name, path in paths if path.is_file()}
