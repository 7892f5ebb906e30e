"""How gradients fare on their way back through the layers."""

from __future__ import annotations

import numpy as np

from xpnet.diagnostics import Report
from xpnet.plots.style import Axes, Figure, colour, drawn_name, finished, marker, new_figure

NAMED = 30  # layers, at most, that are called by their names


def gradient_flow(report: Report) -> Figure:
    """Norms of the loss's gradient, layer by layer, in one step: by each layer's output and by its parameters.

    ``report`` is one of :class:`xpnet.LayerStatistics`, or what :func:`xpnet.diagnostics.layer_report` finds on one minibatch.
    The scale is logarithmic; norms that are 0 lie on the lower edge, those that are not finite on the upper.
    """
    if not isinstance(report, Report):
        raise TypeError(f"gradient_flow: {report!r}: a report of LayerStatistics or layer_report is needed")
    figure = new_figure(7.5, 4.2)
    axes, rows = figure.subplots(), list(report.layers.values())
    places = np.arange(len(rows))
    _draw_line(axes, 0, places, [row.delta for row in rows], "by the layer's output")
    _draw_line(axes, 1, places, [row.gradient for row in rows], "by its parameters")
    every = slice(None, None, -(-len(rows) // NAMED))
    names = [drawn_name(name, "layer") for name in report.names.values()]
    axes.set_xticks(places[every], names[every], rotation=90, fontsize=8)
    axes.set(xlabel="layer", ylabel="norm of the loss's gradient", title=f"one minibatch, loss {report.loss:.4g}")
    if axes.get_yscale() == "linear":  # nothing but marks on the edges
        axes.set_yticks([])
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8)
    return finished(figure)


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
