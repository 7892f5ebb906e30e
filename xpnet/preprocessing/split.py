"""Which rows train and which validate."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from xpnet.checks import check_number, check_seed


def split(groups: Sequence | np.ndarray, validation: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Row numbers of the training and of the validation part, ascending, drawn from ``seed``.

    ``groups`` (N,) holds each row's class, of which both parts get their share; all alike for regression. One row of each
    class is always for training. Raises ValueError where a part would be empty.
    """
    share = check_number("validation", validation, above=0, below=1)
    order = np.random.default_rng(check_seed(seed)).permutation(len(groups))
    classes = np.unique(np.asarray(groups), return_inverse=True)[1].reshape(-1)[order]
    _, firsts = np.unique(classes, return_index=True)
    free = np.ones(len(order), bool)
    free[firsts] = False
    candidates = order[free][np.argsort(classes[free], kind="stable")]
    if not len(candidates):
        why = "each has a class of its own" if len(order) > 1 else "that is the training part"
        raise ValueError(f"no row is left for validation: there {_are(len(order))}, {why}")
    count = min(max(round(share * len(order)), 1), len(candidates))
    chosen = candidates[((np.arange(count) + 0.5) * len(candidates) / count).astype(int)]
    held = np.zeros(len(order), bool)
    held[chosen] = True
    return np.flatnonzero(~held), np.flatnonzero(held)


def _are(rows: int) -> str:
    return "is 1 row" if rows == 1 else f"are {rows:,} rows"
