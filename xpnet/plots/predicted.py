"""Regression: predictions beside the truth."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from xpnet.plots.checks import as_host
from xpnet.plots.style import GREY, Axes, Figure, colour, drawn_name, finished, new_figure

LARGEST = 1e150  # whose square is finite, for the mean squared error


def predicted_against_true(true: Any, predicted: Any, name: str = "target", *, axes: Axes | None = None) -> Figure:
    """Predictions (N,) over the true values (N,) of a quantity of this ``name``, both in its unit; right ones are on the line.

    The title has the root of the mean squared error. Raises ValueError for what is not two vectors of one length of finite
    numbers. ``axes``: where to draw, in a figure of your own.
    """
    x, y = as_host("predicted_against_true: true", true), as_host("predicted_against_true: predicted", predicted)
    if x.dtype.kind not in "fiub" or y.dtype.kind not in "fiub":
        raise ValueError(f"predicted_against_true: values of type {x.dtype} and {y.dtype}: numbers are needed")
    x, y = x.astype(np.float64), y.astype(np.float64)
    if x.ndim != 1 or x.shape != y.shape or not x.size:
        raise ValueError(
            f"predicted_against_true: {x.shape} true values and {y.shape} predictions: both are (N,), N at least 1"
        )
    if not np.isfinite(x).all() or not np.isfinite(y).all():
        raise ValueError("predicted_against_true: NaN or infinite values cannot be drawn")
    if max(abs(x).max(), abs(y).max()) > LARGEST:
        raise ValueError(f"predicted_against_true: values beyond {LARGEST:g} cannot be drawn: give both in a larger unit")
    figure = new_figure(4.8, 4.8) if axes is None else axes.figure
    axes = figure.subplots() if axes is None else axes
    ends = [min(x.min(), y.min()), max(x.max(), y.max())]
    axes.plot(ends, ends, color=GREY, linewidth=1, label="right")
    axes.plot(x, y, "o", color=colour(0), markersize=4, alpha=0.6, markeredgewidth=0, label=f"{x.size:,} rows")
    error = math.sqrt(np.mean((x - y) ** 2))
    what = drawn_name(name, "target")
    axes.set(xlabel=f"true {what}", ylabel=f"predicted {what}", title=f"RMSE {error:.4g}", aspect="equal")
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return finished(figure)
