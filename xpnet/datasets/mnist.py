"""MNIST from a folder of IDX files."""

from __future__ import annotations

import gzip
import os
import struct
import zlib
from pathlib import Path

import numpy as np

from xpnet.datasets.base import Dataset

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")
SOURCE = "Y. LeCun, C. Cortes, C. J. C. Burges: The MNIST database of handwritten digits (1998)"
UNSIGNED_BYTE = 8


def mnist(folder: str | os.PathLike | None = None, *, flatten: bool = True) -> Dataset:
    """60,000 + 10,000 handwritten digits of 28x28 pixels in [0, 1], labels 0 to 9.

    ``folder`` (or the environment variable ``XPNET_DATA``) holds the four IDX files, gzipped or not, itself or
    in a subfolder ``mnist``. Rows are (N, 784), or (N, 28, 28, 1) with ``flatten=False``. The
    first 50,000 training rows are the book's training set, the other 10,000 its validation set.
    Raises FileNotFoundError that says what is missing where, ValueError for a damaged file.
    """
    paths = [_find(_folder(folder), name) for name in FILES]
    x_train, y_train, x_test, y_test = (read_idx(path) for path in paths)
    shape = (784,) if flatten else (28, 28, 1)
    for path, images, labels in ((paths[0], x_train, y_train), (paths[2], x_test, y_test)):
        if images.shape[1:] != (28, 28) or labels.shape != images.shape[:1]:
            raise ValueError(f"{path}: images of shape {images.shape} with labels of shape {labels.shape} are not MNIST")
    x_train, x_test = (x.reshape(-1, *shape).astype(np.float32) / np.float32(255) for x in (x_train, x_test))
    return Dataset(
        "mnist",
        x_train,
        y_train.astype(np.int64),
        x_test,
        y_test.astype(np.int64),
        tuple("0123456789"),
        SOURCE,
        "free for research; no licence stated",
    )


def read_idx(path: str | os.PathLike) -> np.ndarray:
    """Array of unsigned bytes in an IDX file, gzipped (.gz) or not; ValueError where the file is damaged.

    Format: two zero bytes, the element type, the number of axes, each axis as a 4-byte big-endian number, the data.
    """
    path = Path(path)
    try:
        with gzip.open(path, "rb") if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read()
    except (EOFError, OSError, zlib.error) as error:
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
            raise
        raise ValueError(f"{path} cannot be unpacked ({error}): it is damaged or not gzipped") from error
    if len(data) < 4 or data[:3] != bytes([0, 0, UNSIGNED_BYTE]) or len(data) < 4 + 4 * data[3]:
        raise ValueError(f"{path} is not an IDX file of unsigned bytes")
    shape = struct.unpack(f">{data[3]}I", data[4 : 4 + 4 * data[3]])
    body = np.frombuffer(data, np.uint8, offset=4 + 4 * data[3])
    size = 1
    for n in shape:
        size *= n
    if body.size != size:
        raise ValueError(f"{path} says it holds {shape}, {size} bytes, but it has {body.size}: it is damaged")
    return body.reshape(shape)


def _folder(folder: str | os.PathLike | None) -> Path:
    chosen = folder if folder is not None else os.environ.get("XPNET_DATA")
    if not chosen:
        raise FileNotFoundError(
            f"MNIST: name the folder with its files ({', '.join(f + '.gz' for f in FILES)}), by "
            f"mnist(folder), --data FOLDER or the environment variable XPNET_DATA"
        )
    return Path(chosen).expanduser()


def _find(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz", folder / "mnist" / name, folder / "mnist" / f"{name}.gz"):
        if path.is_file():
            return path
    raise FileNotFoundError(f"MNIST: {folder} has no {name} and no {name}.gz")
