"""Files of networks and trainings: whole ones, forged ones whose checksum is right, and what reads them."""

from __future__ import annotations

import copy
import random
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.saving.files import read, write

VALUES: tuple[Any, ...] = (None, True, -1, 0, 1, 10**6, 10**12, 10**30, -5, 1.5, 1e300, "", "x", "Affine", [], {}, [1], [[]])
VALUES += (
    {"class": "ReLU"},
    {"function": "he_normal"},
    "../../etc/passwd",
    {"tensor": "x"},
    {"number": "nan"},
    {"number": "x"},
)
X = np.random.default_rng(0).standard_normal((40, 128)).astype(np.float32)
Y = np.random.default_rng(1).integers(0, 3, 40)
FIT: dict[str, Any] = {"epochs": 2, "batch_size": 8, "validation": (X[:9], Y[:9]), "early_stopping": 3, "progress": False}


def trainer() -> xn.Trainer:
    """Of a network with every kind of thing that a file holds."""
    net = xn.Sequential(
        *(xn.Reshape((8, 8, 2)), xn.RandomCrop(6), xn.Conv2d(4, 3, padding="same"), xn.BatchNorm(), xn.MaxPool2d(2)),
        *(xn.Residual(xn.Conv2d(4, 1)), xn.Flatten(), xn.Dropout(0.1), xn.Affine(3, init=xn.initializers.constant(0.1))),
    )
    rule = xn.Adam(xn.LinearWarmup(xn.ReduceOnPlateau(1e-3), steps=3))
    return xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=rule, device="cpu")


def good(kind: str) -> bytes:
    """A network's file, or a checkpoint."""
    with tempfile.TemporaryDirectory() as folder:
        trained = trainer()
        trained.fit(X, Y, checkpoints=xn.Checkpoints(folder, every=3), **FIT)
        if kind == "checkpoint":
            return xn.Checkpoints(folder).files[-1].read_bytes()
        trained.net.save(f"{folder}/net")
        return Path(folder, "net").read_bytes()


def forged(data: bytes, n: int, seed: int) -> Iterator[bytes]:
    """The file with other things in its JSON or other arrays, as somebody would write it who wants to do harm."""
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "forged")
        path.write_bytes(data)
        stored = read(path)
        for _ in range(n):
            about, arrays = copy.deepcopy(stored.about), dict(stored.arrays)
            for _ in range(rng.choice((1, 1, 1, 2, 3))):
                change(about, rng) if rng.random() < 0.8 else change_array(arrays, rng)
            write(path, arrays, about)
            yield path.read_bytes()


def change(tree: Any, rng: random.Random) -> None:
    """Something in it lost, added, or another value."""
    *path, last = rng.choice([place for place in places(tree) if place])
    for key in path:
        tree = tree[key]
    what = rng.random()
    if what < 0.15:
        del tree[last]
    elif what < 0.25 and isinstance(tree, dict):
        tree[rng.choice(("x", "class", "n_out", "tensor"))] = copy.deepcopy(rng.choice(VALUES))
    else:
        tree[last] = copy.deepcopy(rng.choice(VALUES))


def change_array(arrays: dict[str, np.ndarray], rng: random.Random) -> None:
    """One of them lost, renamed, of another shape or another type."""
    name = rng.choice(list(arrays))
    a = arrays.pop(name)
    kinds = (np.zeros(a.shape, np.int64), np.zeros(a.shape, np.float16), np.full(a.shape, np.nan), np.zeros((), a.dtype))
    others = (a.reshape(-1)[:1], a.reshape(-1), *kinds)
    what = rng.random()
    if what < 0.2:
        arrays[rng.choice(("", "../x", "0.weight", "x" * 1000, name + ".x"))] = a
    elif what < 0.8:
        arrays[name] = rng.choice(others)


def places(tree: Any, path: tuple = ()) -> Iterator[tuple]:
    """Paths to everything in it."""
    yield path
    for key in tree if isinstance(tree, dict) else range(len(tree)) if isinstance(tree, list) else ():
        yield from places(tree[key], (*path, key))


def load_network(path: Path) -> None:
    """It predicts, and its file can be written again."""
    net = xn.load(path)
    with np.errstate(all="ignore"):
        net.predict(np.zeros((2, *net.input_shape), np.float32))


def go_on(path: Path) -> None:
    """The training goes on from it; alone in its folder, so that none before it could be taken."""
    folder = path.with_suffix(".run")
    folder.mkdir(exist_ok=True)
    target = folder / "checkpoint-000000010.safetensors"
    target.write_bytes(path.read_bytes())
    try:
        with np.errstate(all="ignore"), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # says that the one before is taken; there is none
            trainer().fit(X, Y, checkpoints=xn.Checkpoints(folder, every=3), resume=True, **FIT)
    except ValueError as error:
        raise ValueError(str(error).replace(str(target), str(path)).replace(str(folder), str(path))) from error
    finally:
        for file in folder.iterdir():
            file.unlink()
