"""What the tests of estimators share."""

from __future__ import annotations

import numpy as np

import xpnet as xn


def classes(n: int = 90, names: tuple = ("ant", "bee", "cat")) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, 4) in clouds, one for each name, and the names."""
    rng = np.random.default_rng(0)
    index = np.arange(n) % len(names)
    return rng.normal(size=(n, 4)) + 2.5 * np.eye(4)[index], np.array(names)[index]


def numbers(n: int = 120, outputs: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """Rows (n, 3) and what is nearly a plane over them, (n,) or (n, outputs)."""
    rng = np.random.default_rng(1)
    x = rng.normal(size=(n, 3))
    y = x @ rng.normal(size=(3, outputs or 1)) + 0.05 * rng.normal(size=(n, outputs or 1))
    return x, y if outputs else y[:, 0]


def small_build(n_features: int, n_outputs: int) -> xn.Sequential:
    """A function for ``layers=`` that pickle finds by name."""
    return xn.Sequential(xn.Affine(2 * n_features), xn.Tanh(), xn.Affine(n_outputs))


def values(estimator) -> dict[str, bytes]:
    """The parameters of the trained network, to the last bit."""
    return {name: a.tobytes() for name, a in estimator.net_.parameters.snapshot().items()}
