"""Confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.extras import load
from xpnet.plots.checks import check_labels
from xpnet.plots.style import Axes, Figure, drawn_names, finished, new_figure

WITH_SHARES, WITH_COUNTS = 12, 25  # classes, at most: a share in each cell; a count in each cell
MISTAKES = 25  # listed, where cells have no numbers
WIDTHS = (3.4, 1)  # of the matrix and the list


def confusion_matrix(labels: Any, predicted: Any, names: Sequence[str]) -> Figure:
    """How often rows of each class (rows of the picture) were taken for each class (columns), as counts and row shares.

    ``labels`` and ``predicted`` (N,) are labels from 0 on, ``names`` those of all classes. Colours are shares of the row.
    Cells have count and share for up to 12 classes, counts for up to 25; above, the most frequent mistakes are listed
    beside it. A class without rows is grey. Raises ValueError for labels that are not of the classes.
    """
    true = check_labels("confusion_matrix: labels", labels, names)
    found = check_labels("confusion_matrix: predicted", predicted, names)
    if true.shape != found.shape:
        raise ValueError(f"confusion_matrix: {len(true)} labels and {len(found)} predictions: each row has one of both")
    n = len(names)
    counts = np.bincount(true * n + found, minlength=n * n).reshape(n, n)
    with np.errstate(invalid="ignore"):
        shares = counts / counts.sum(axis=1, keepdims=True)
    side, many = min(max(4.2, 2.2 + 0.55 * n), 9.5), n > WITH_COUNTS
    figure = new_figure(side + (4 if many else 1.2), side, "compressed")
    matrix, *beside = figure.subplots(1, 1 + many, squeeze=False, width_ratios=WIDTHS[: 1 + many])[0]
    _draw(figure, matrix, counts, shares, drawn_names(names))
    for axes in beside:
        _list_mistakes(axes, counts, drawn_names(names))
    return finished(figure)


def _draw(figure: Figure, axes: Axes, counts: np.ndarray, shares: np.ndarray, names: list[str]) -> None:
    n, rows = len(names), counts.sum(axis=1)
    colours = load("matplotlib", "plot").colormaps["Blues"].with_extremes(bad="#d9d9d9")
    scale = load("matplotlib.colors", "plot").PowerNorm(0.5, 0, 1)  # so that a share of 1 % is seen
    shade = axes.imshow(shares, cmap=colours, norm=scale)
    every = np.arange(0, n, -(-n // WITH_COUNTS))
    small = 9 if n <= WITH_SHARES else 8
    upright = max(map(len, names)) > (7 if n <= WITH_SHARES else 3)  # wider than a cell
    axes.set_xticks(every, [names[i] for i in every], rotation=90 if upright else 0, fontsize=small)
    axes.set_yticks(every, [f"{names[i]} ({rows[i]:,})" for i in every], fontsize=small)
    right = np.trace(counts)
    title = f"{right:,} of {rows.sum():,} right, {right / rows.sum():.1%}"
    axes.set(xlabel="predicted class", ylabel="true class (its rows)", title=title)
    bar = figure.colorbar(shade, ax=axes, label="share of the true class", fraction=0.05, ticks=(0, 0.01, 0.05, 0.2, 0.5, 1))
    bar.ax.yaxis.set_major_formatter(load("matplotlib.ticker", "plot").PercentFormatter(1, decimals=0))
    if n <= WITH_COUNTS:
        _write_cells(axes, counts, shares)


def _write_cells(axes: Axes, counts: np.ndarray, shares: np.ndarray) -> None:
    with_shares = len(counts) <= WITH_SHARES
    for (i, j), count in np.ndenumerate(counts):
        if count:
            text = f"{count:,}\n{shares[i, j]:.1%}" if with_shares else f"{count}"
            ink = "white" if shares[i, j] > 0.3 else "black"
            axes.text(j, i, text, ha="center", va="center", color=ink, fontsize=8 if with_shares else 7)


def _list_mistakes(axes: Axes, counts: np.ndarray, names: list[str]) -> None:
    """Beside the matrix, the cells off the diagonal with the largest counts."""
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:MISTAKES]
    cells = [divmod(int(k), len(names)) for k in order if wrong.flat[k]]
    lines = [f"{wrong[i, j]:,}  {names[i]} → {names[j]}" for i, j in cells]
    text = "\n".join(["most frequent mistakes", "count  true → predicted", "", *lines] if lines else ["no mistakes"])
    if unseen := int((counts.sum(axis=1) == 0).sum()):
        text += f"\n\ngrey: {unseen} class{'es' * (unseen > 1)} without rows"
    axes.text(0, 1, text, transform=axes.transAxes, va="top", fontsize=9, linespacing=1.5)
    axes.axis("off")
