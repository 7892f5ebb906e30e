"""Small files in the formats of the image data sets, which several test files write."""

from __future__ import annotations

import gzip
import struct

import numpy as np

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


def idx(a):
    """The bytes of an IDX file of unsigned bytes."""
    a = np.asarray(a, np.uint8)
    return bytes([0, 0, 8, a.ndim]) + struct.pack(f">{a.ndim}I", *a.shape) + a.tobytes()


def synthetic(n_train=20, n_test=5):
    """Arrays that look like MNIST's four files."""
    rng = np.random.default_rng(0)
    return {
        FILES[0]: rng.integers(0, 256, (n_train, 28, 28), np.uint8),
        FILES[1]: rng.integers(0, 10, n_train, np.uint8),
        FILES[2]: rng.integers(0, 256, (n_test, 28, 28), np.uint8),
        FILES[3]: rng.integers(0, 10, n_test, np.uint8),
    }


def write(folder, arrays, *, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, a in arrays.items():
        content = a if isinstance(a, bytes) else idx(a)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder
