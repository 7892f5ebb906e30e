"""The samples that a network gets wrong, and is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.plots.checks import check_labels, check_rows, image_shape
from xpnet.plots.style import Figure, drawn_names, finished, new_figure, panels

IN_A_ROW = 6


def misclassified(
    x: Any,
    labels: Any,
    probabilities: Any,
    names: Sequence[str],
    shape: tuple[int, ...] | None = None,
    *,
    count: int = 24,
) -> Figure:
    """The images that were taken for a wrong class with the highest probability, ``count`` of them or as many as there are.

    x (N, height, width), (N, height, width, 1 or 3), or rows of pixels (N, D) with their ``shape``, such as (28, 28);
    ``labels`` (N,), ``probabilities`` (N, classes). All are drawn with one scale, black the smallest value. Raises
    ValueError for what is no image, or does not fit together.
    """
    true = check_labels("misclassified: labels", labels, names)
    pixels = check_rows("misclassified: x", x, len(true))
    chances = check_rows("misclassified: probabilities", probabilities, len(true))
    if chances.shape[1:] != (len(names),):
        raise ValueError(f"misclassified: probabilities of shape {chances.shape}, but {len(names)} names: one column a class")
    images = pixels.reshape(len(true), *image_shape("misclassified: x", pixels.shape[1:], shape))
    found = chances.argmax(axis=1)
    wrong = np.flatnonzero(found != true)
    if not wrong.size:
        return _none_wrong(len(true))
    shown = wrong[np.argsort(-chances[wrong, found[wrong]], kind="stable")][:count]
    figure, axes = panels(len(shown), 1.75, 2.1, least=3, most=IN_A_ROW)
    texts = drawn_names(names, 14)
    for panel, i, image in zip(axes, shown, to_unit(images[shown]), strict=True):
        panel.imshow(image, cmap="gray", vmin=0, vmax=1)
        panel.set(xticks=[], yticks=[])
        panel.set_title(f"true: {texts[true[i]]}\npredicted: {texts[found[i]]}\n{chances[i, found[i]]:.1%}", fontsize=8)
    these = f", the surest {len(shown)}" if len(wrong) > len(shown) else ", the surest first"
    figure.suptitle(f"{len(wrong):,} of {len(true):,} rows misclassified{these}", fontsize=10)
    return finished(figure)


def to_unit(images: np.ndarray) -> np.ndarray:
    """Images with all values in [0, 1], the smallest 0 and the largest 1."""
    low, high = float(images.min()), float(images.max())
    return (images.astype(np.float64) - low) / (high - low or 1.0)


def _none_wrong(n: int) -> Figure:
    figure = new_figure(4, 1.2)
    figure.text(0.5, 0.5, f"none of {n:,} rows is misclassified", ha="center", va="center")
    return figure
