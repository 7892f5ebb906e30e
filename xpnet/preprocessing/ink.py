"""What is drawn in a picture: its background found and taken away, dirt dropped, cropped to what is left."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from xpnet.preprocessing.geometry import shrunk

LARGEST = 1000  # pixels of the longest side that are worked on: more tell nothing of 28
SAMPLE = 64  # pixels a side from which the background is fitted
ROUNDS = 8
EDGE = 0.85  # of the way from the middle: beyond it a page is background for the most part
SIGMA = 1.4826  # of a normal distribution, in median absolute deviations
LEVEL = 1e-3  # less than a quarter of a grey level is no noise
GRID = 28  # cells a side in which parts of a drawing are told from dirt
FAINT, VISIBLE = 0.1, 0.06  # of the ink's strength; of the way from black to white


class Ink(NamedTuple):
    """A drawing cropped to its ink, ``strength`` (h, w) from 0, the background, to 1.

    ``inverted``: it was darker than its background; ``page`` (H, W) is the size of the whole picture, ``size`` (h, w) the
    size of the crop there.
    """

    strength: np.ndarray
    inverted: bool
    page: tuple[int, int]
    size: tuple[int, int]


def find_ink(grey: np.ndarray) -> Ink:
    """The drawing in a picture ``grey`` (H, W) from 0, black, to 1, on a background that may be dark, light, or uneven.

    The background is the quadratic surface that most pixels lie on, so that a lamp's gradient goes; ink is what differs from
    it by more than noise. Raises ValueError for a blank page.
    """
    if grey.ndim != 2 or not grey.size:
        raise ValueError(f"a grey picture (height, width) is needed; it has shape {grey.shape}")
    step = -(-max(grey.shape) // LARGEST)
    small = shrunk(np.asarray(grey), step).astype(np.float64)
    surface, noise = _background(small)
    difference = small - surface
    smooth = _around(difference) / 9
    inverted = bool(-smooth.min() > smooth.max())
    if np.abs(smooth).max() < max(VISIBLE, 2 * noise):
        raise ValueError("there is nothing drawn on it: the page is blank, or the ink too faint")
    ink = np.maximum((-difference if inverted else difference) - 2 * noise, 0)
    drawn = _drawn(ink > max(FAINT * ink.max(), 3 * noise))
    if not drawn.any():
        raise ValueError("there is nothing drawn on it but specks")
    rows, columns = (np.flatnonzero(drawn.any(axis)) for axis in (1, 0))
    box = slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)
    full = float(np.quantile(ink[drawn], 0.99))
    strength = np.minimum(ink[box] * _linked(drawn)[box] / full, 1)
    return Ink(strength, inverted, grey.shape, (step * strength.shape[0], step * strength.shape[1]))


def _background(grey: np.ndarray) -> tuple[np.ndarray, float]:
    """The surface that most pixels lie on (H, W), and how far these scatter about it: a robust standard deviation.

    Least squares of a quadratic, again and again without the pixels that lie apart, by the scatter along the edges: a bold
    digit may cover half of the rest.
    """
    step = max(1, max(grey.shape) // SAMPLE)
    known = grey[::step, ::step].ravel()
    y, x = (2 * np.arange(n) / max(n - 1, 1) - 1 for n in grey.shape)  # from -1 to 1
    terms = np.stack([term.ravel() for term in np.broadcast_arrays(*_quadratic(y[::step], x[::step]))], axis=1)
    edge = (np.maximum(np.abs(y[::step])[:, None], np.abs(x[::step])) >= EDGE).ravel()
    residual = known - np.median(known[edge])
    for _ in range(ROUNDS):
        near = np.abs(residual) <= max(2.5 * SIGMA * float(np.median(np.abs(residual[edge]))), LEVEL)
        used = terms[near]  # the normal equations: well conditioned here, and ten times as fast as lstsq of all rows
        weights, *_ = np.linalg.lstsq(used.T @ used, used.T @ known[near], rcond=None)
        residual = known - terms @ weights
    spread = SIGMA * float(np.median(np.abs(residual[near])))
    surface = sum(weight * term for weight, term in zip(weights, _quadratic(y, x), strict=True))
    return np.broadcast_to(surface, grey.shape), spread if spread > LEVEL else 0.0


def _quadratic(y: np.ndarray, x: np.ndarray) -> list[np.ndarray]:
    """1, y, x, y^2, xy, x^2 of each pixel of a page, to be broadcast against each other."""
    y, x = y[:, None], x[None]
    return [np.ones((1, 1)), y, x, y * y, x * y, x * x]


def _around(a: np.ndarray) -> np.ndarray:
    """The sum of each pixel of ``a`` (H, W) and its eight neighbours, edges repeated."""
    b = np.pad(a, 1, mode="edge")
    b = b[:-2] + b[1:-1] + b[2:]
    return b[:, :-2] + b[:, 1:-1] + b[:, 2:]


def _drawn(mask: np.ndarray) -> np.ndarray:
    """The pixels of a mask without specks: those with two neighbours, in parts of at least a twentieth of the largest."""
    mask = mask & (_around(mask.astype(np.int64)) >= 3)
    step = -(-max(mask.shape) // GRID)
    padded = np.pad(mask, [(0, -n % step) for n in mask.shape])
    counts = padded.reshape(padded.shape[0] // step, step, -1, step).sum((1, 3))
    parts = _parts(counts > 0)
    mass = np.bincount(parts.ravel(), weights=counts.ravel())
    kept = (mass >= mass.max() / 20)[parts] & (counts > 0)
    return mask & np.kron(kept, np.ones((step, step), bool))[: mask.shape[0], : mask.shape[1]]


def _parts(cells: np.ndarray) -> np.ndarray:
    """A number for each cell, alike for those that hang together; a gap of one empty cell does not part them."""
    joined = _linked(cells)
    numbers = np.where(joined, np.arange(1, cells.size + 1).reshape(cells.shape), 0)
    while True:
        b = np.pad(numbers, 1)
        b = np.maximum(np.maximum(b[:-2], b[1:-1]), b[2:])
        b = np.maximum(np.maximum(b[:, :-2], b[:, 1:-1]), b[:, 2:])
        if (b := np.where(joined, b, 0)).tobytes() == numbers.tobytes():
            return numbers
        numbers = b


def _linked(mask: np.ndarray) -> np.ndarray:
    """A mask grown by one pixel all around."""
    return _around(np.pad(mask, 1).astype(np.int64))[1:-1, 1:-1] > 0
