"""Small sets in the plane that are made by a formula: for a first look at what a network can separate."""

from __future__ import annotations

import numpy as np

from xpnet.checks import check_count, check_seed
from xpnet.datasets.base import Dataset

NAMES = ("x1", "x2")
LICENCE = "MIT, as xpnet"


def xor() -> Dataset:
    """The four rows of "either or": (0, 0) and (1, 1) are 0, (0, 1) and (1, 0) are 1; no straight line separates them.

    x (4, 2), y (4,). The training and the test part are the same four rows.
    """
    x = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], np.float32)
    y = np.array([0, 1, 1, 0], np.int64)
    return Dataset("xor", x, y, x.copy(), y.copy(), ("0", "1"), "truth table", LICENCE, names=NAMES, target="x1 xor x2")


def spirals(n: int = 500, classes: int = 2, *, noise: float = 0.02, turns: float = 1.0, seed: int = 0) -> Dataset:
    """``n`` points on ``classes`` arms of a spiral that winds ``turns`` times round the origin; a fifth is the test part.

    A point of class k has t uniform in [0, 1), radius t, angle ``2 pi (turns t + k / classes)``, and normal noise of standard
    deviation ``noise`` added to both coordinates. Classes are equally frequent (to one point).
    """
    labels, rng = _start("spirals", n, classes, noise, seed)
    if not np.isfinite(turns):
        raise ValueError(f"spirals: turns={turns} is not a finite number")
    t = rng.random(n)
    points = t[:, None] * _on_circle(turns * t + labels / classes)
    formula = f"x = t (cos a, sin a), a = 2 pi ({turns} t + k / {classes}), noise {noise}, seed {seed}"
    return _parted("spirals", points + noise * rng.standard_normal((n, 2)), labels, classes, formula)


def blobs(n: int = 500, classes: int = 3, *, noise: float = 0.3, seed: int = 0) -> Dataset:
    """``n`` points in ``classes`` round clouds whose centres lie evenly on the unit circle; a fifth is the test part.

    A point of class k is ``(cos a, sin a)``, ``a = 2 pi k / classes``, plus normal noise of standard deviation
    ``noise``. Classes are equally frequent (to one point).
    """
    labels, rng = _start("blobs", n, classes, noise, seed)
    points = _on_circle(labels / classes)
    formula = f"x = (cos a, sin a), a = 2 pi k / {classes}, noise {noise}, seed {seed}"
    return _parted("blobs", points + noise * rng.standard_normal((n, 2)), labels, classes, formula)


def _start(name: str, n: int, classes: int, noise: float, seed: int) -> tuple[np.ndarray, np.random.Generator]:
    """Labels (n,) in random order, and the generator that goes on."""
    if check_count(f"{name}: classes", classes) < 2 or check_count(f"{name}: n", n) < 5 * classes:
        raise ValueError(f"{name}: n={n}, classes={classes}: at least 2 classes and 5 points for each are needed")
    if not 0 <= noise < np.inf:
        raise ValueError(f"{name}: noise={noise} is a standard deviation: 0 or more, finite")
    rng = np.random.default_rng(check_seed(seed))
    return rng.permutation(np.arange(n) % classes), rng


def _on_circle(turn: np.ndarray) -> np.ndarray:
    """Points (n, 2) on the unit circle, 1 being a whole turn."""
    return np.stack([np.cos(2 * np.pi * turn), np.sin(2 * np.pi * turn)], axis=1)


def _parted(name: str, points: np.ndarray, labels: np.ndarray, classes: int, formula: str) -> Dataset:
    """The last fifth of the rows, which are in random order, is the test part."""
    x, y, train = points.astype(np.float32), labels.astype(np.int64), len(points) - len(points) // 5
    kinds = tuple(map(str, range(classes)))
    return Dataset(name, x[:train], y[:train], x[train:], y[train:], kinds, formula, LICENCE, names=NAMES, target="class")
