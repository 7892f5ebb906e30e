"""Sizes and slants of pictures (height, width)."""

from __future__ import annotations

import numpy as np


def resized(a: np.ndarray, height: int, width: int) -> np.ndarray:
    """A picture ``a`` (h, w) in another size: means over the area of a pixel where it shrinks, linear between pixels else."""
    return _weights(a.shape[0], height) @ a @ _weights(a.shape[1], width).T


def shrunk(a: np.ndarray, step: int) -> np.ndarray:
    """The means of blocks of step x step pixels of ``a`` (h, w); what is left over at the right and below is left out."""
    if step == 1:
        return a
    height, width = (max(1, n // step) for n in a.shape)
    a = a[: height * step, : width * step]
    return a.reshape(height, a.shape[0] // height, width, a.shape[1] // width).mean((1, 3))


def fitted(shape: tuple[int, ...], side: int) -> tuple[int, int]:
    """Height and width that fit a square, the longer as long as its ``side``."""
    height, width = (max(1, round(n * side / max(shape))) for n in shape)
    return height, width


def upright(ink: np.ndarray) -> np.ndarray:
    """A drawing ``ink`` (h, w) >= 0 sheared so that its slant, the regression of x on y, is none; as wide as it gets."""
    height, width = ink.shape
    rows, columns = np.indices(ink.shape)
    middle = (rows * ink).sum() / ink.sum()
    spread = ((rows - middle) ** 2 * ink).sum()
    slant = ((rows - middle) * columns * ink).sum() / spread if spread else 0.0
    margin = int(np.ceil(abs(slant) * height))
    at = np.arange(-margin, width + margin)
    out = np.stack([np.interp(at + slant * (i - middle), np.arange(width), row, 0, 0) for i, row in enumerate(ink)])
    seen = np.flatnonzero((out > 0.1 * out.max()).any(axis=0))
    return out[:, seen[0] : seen[-1] + 1]


def blurred(a: np.ndarray, times: int) -> np.ndarray:
    """A picture (h, w) averaged with its neighbours, weights 1 2 1, again and again; black around it."""
    for _ in range(times):
        b = np.pad(a, 1)
        b = (b[:-2] + 2 * b[1:-1] + b[2:]) / 4
        a = (b[:, :-2] + 2 * b[:, 1:-1] + b[:, 2:]) / 4
    return a


def _weights(n: int, wanted: int) -> np.ndarray:
    """(wanted, n): row i has the shares of the n pixels in pixel i of ``wanted``."""
    scale = n / wanted
    if scale < 1:
        at = np.clip((np.arange(wanted) + 0.5) * scale - 0.5, 0, n - 1)
        return np.maximum(1 - np.abs(at[:, None] - np.arange(n)), 0)
    edges = np.arange(wanted + 1)[:, None] * scale
    covered = np.clip(edges - np.arange(n), 0, 1)  # how much of each pixel lies before an edge
    return np.diff(covered, axis=0) / scale
