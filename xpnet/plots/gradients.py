"""How gradients fare on their way back through the layers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from xpnet.diagnostics import Report
from xpnet.plots.style import Axes, Figure, colour, drawn_name, drawn_names, finished, marker, new_figure

NAMED = 30  # layers, at most, that are called by their names


def gradient_flow(report: Report | Mapping[str, Report], *, axes: Axes | None = None) -> Figure:
    """Norms of the loss's gradient, layer by layer, in one step: by each layer's output and by its parameters.

    ``report`` is one of :class:`xpnet.LayerStatistics`, or what :func:`xpnet.diagnostics.layer_report` finds on one minibatch.
    A mapping from names to reports compares networks: then the gradients by the outputs of layers with parameters, by
    their number. The scale is logarithmic; norms that are 0 lie on the lower edge, those that are not finite on the upper.
    ``axes``: where to draw, in a figure of your own.
    """
    if not isinstance(report, Report) and not _are_reports(report):
        raise TypeError(f"gradient_flow: {report!r}: a report, or a mapping from names to reports, at least one, is needed")
    figure = new_figure(7.5, 4.2) if axes is None else axes.figure
    axes = figure.subplots() if axes is None else axes
    if isinstance(report, Report):
        _draw_one(axes, report)
    else:
        _draw_many(axes, report)
    if axes.get_yscale() == "linear":  # nothing but marks on the edges
        axes.set_yticks([])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return finished(figure)


def _are_reports(given: Any) -> bool:
    return isinstance(given, Mapping) and len(given) > 0 and all(isinstance(one, Report) for one in given.values())


def _draw_one(axes: Axes, report: Report) -> None:
    rows = list(report.layers.values())
    places = np.arange(len(rows))
    _draw_line(axes, 0, places, [row.delta for row in rows], "by the layer's output")
    _draw_line(axes, 1, places, [row.gradient for row in rows], "by its parameters")
    every = slice(None, None, -(-len(rows) // NAMED))
    axes.set_xticks(
        places[every], [drawn_name(name, "layer") for name in report.names.values()][every], rotation=90, fontsize=8
    )
    axes.set(xlabel="layer", ylabel="norm of the loss's gradient", title=f"one minibatch, loss {report.loss:.4g}")


def _draw_many(axes: Axes, reports: Mapping[str, Report]) -> None:
    for i, (name, report) in enumerate(zip(drawn_names(list(reports), 40), reports.values(), strict=True)):
        deltas = [row.delta for row in report.layers.values() if not math.isnan(row.gradient)]
        _draw_line(axes, i, np.arange(1, len(deltas) + 1), deltas, name)
    axes.set(xlabel="layer with parameters", ylabel="norm of the loss's gradient by its output")


def _draw_line(axes: Axes, i: int, places: np.ndarray, norms: list[float], name: str) -> None:
    """A line through the norms above 0 and marks on the edges for others; NaN in a report is what a layer does not have."""
    values = np.array(norms)
    there = np.isfinite(values) & (values > 0)
    if there.any():
        axes.set_yscale("log")
    axes.plot(places[there], values[there], marker=marker(i), markersize=4, color=colour(i), label=name)
    for height, shape, found, words in ((0.02, "v", values == 0, "0"), (0.98, "x", np.isinf(values), "not finite")):
        if found.any():
            edge = axes.get_xaxis_transform()
            axes.plot(
                places[found], np.full(found.sum(), height), shape, color=colour(i), transform=edge, label=f"{name}: {words}"
            )
