"""The samples that a network gets wrong, and is sure of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.checks import check_count, check_unit_interval
from xpnet.extras import load
from xpnet.plots.checks import check_labels, check_rows
from xpnet.plots.pixels import image_shape, to_unit
from xpnet.plots.style import COLOURS, Figure, drawn_names, finished, new_figure, panels

IN_A_ROW = 6
NO_NUMBER = COLOURS[1]  # orange, no shade of grey


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
    ``labels`` (N,), ``probabilities`` (N, classes). All are drawn with one scale, black the smallest value, orange what is
    NaN or infinite. Raises ValueError for what is no image, no probability, or does not fit together.
    """
    true = check_labels("misclassified: labels", labels, names)
    pixels = check_rows("misclassified: x", x, len(true))
    chances = check_rows("misclassified: probabilities", probabilities, len(true))
    if chances.shape[1:] != (len(names),):
        raise ValueError(f"misclassified: probabilities of shape {chances.shape}, but {len(names)} names: one column a class")
    check_unit_interval(chances, "misclassified: probabilities")
    count = check_count("misclassified: count", count)
    images = pixels.reshape(len(true), *image_shape("misclassified: x", pixels.shape[1:], shape))
    found = chances.argmax(axis=1)
    wrong = np.flatnonzero(found != true)
    if not wrong.size:
        return _none_wrong(len(true))
    shown = wrong[np.argsort(-chances[wrong, found[wrong]], kind="stable")][:count]
    figure, axes = panels(len(shown), 1.75, 2.1, least=3, most=IN_A_ROW)
    texts = drawn_names(names, 14)
    for panel, i, image in zip(axes, shown, to_unit(images[shown]), strict=True):
        panel.imshow(with_gaps_marked(image), cmap="gray", vmin=0, vmax=1)
        panel.set(xticks=[], yticks=[])
        panel.set_title(f"true: {texts[true[i]]}\npredicted: {texts[found[i]]}\n{chances[i, found[i]]:.1%}", fontsize=8)
    these = f", the surest {len(shown)}" if len(wrong) > len(shown) else ", the surest first"
    figure.suptitle(f"{len(wrong):,} of {len(true):,} rows misclassified{these}", fontsize=10)
    return finished(figure)


def with_gaps_marked(image: np.ndarray) -> np.ndarray:
    """An image in [0, 1]; where some of it is NaN, in colour with these pixels orange."""
    gaps = np.isnan(image)
    if not gaps.any():
        return image
    ink = load("matplotlib.colors", "plot").to_rgb(NO_NUMBER)
    coloured = image if image.ndim == 3 else image[..., None].repeat(3, axis=2)
    return np.where(gaps.reshape(*image.shape[:2], -1).any(axis=2, keepdims=True), ink, coloured)


def _none_wrong(n: int) -> Figure:
    figure = new_figure(4, 1.2)
    figure.text(0.5, 0.5, f"none of {n:,} rows is misclassified", ha="center", va="center")
    return figure
