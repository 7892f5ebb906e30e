"""What a network answers in the plane of its two inputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from xpnet.checks import check_finite
from xpnet.extras import load
from xpnet.network import Sequential
from xpnet.plots.checks import as_host, check_labels, check_rows
from xpnet.plots.style import Axes, Figure, colour, drawn_names, finished, marker, new_figure
from xpnet.training import Trainer

SIDE = 300  # points of the plane along each axis
MARGIN = 0.15  # of the data's width, on each side
IN_LEGEND = 12  # classes, at most
FAINT, STRONG = 0.12, 0.55  # a colour's share where a class is no likelier than others, and where it is certain


def decision_boundary(net: Any, x: Any, labels: Any, names: Sequence[str], *, columns: Sequence[str] = ("x1", "x2")) -> Figure:
    """The plane of two inputs in the colours of the classes that a network sees there, with samples x (N, 2), ``labels`` (N,).

    The fainter a colour, the less sure the network; the line is where two classes are equally likely. ``net`` is a network, a
    trainer, or a function of points (M, 2). It gives logits (M, classes), or of two classes one logit of the second, (M,) or
    (M, 1). Where a network ends in Softmax or Sigmoid, these are probabilities. The plane reaches beyond the samples by 15 % of
    their range. ``columns`` names the axes.
    """
    found = check_labels("decision_boundary: labels", labels, names)
    points = check_rows("decision_boundary: x", x, len(found))
    if points.shape[1:] != (2,):
        raise ValueError(f"decision_boundary: rows of shape {points.shape[1:]}: a plane has two inputs, x is (N, 2)")
    check_finite(points, "decision_boundary: x")
    if len(columns) != 2 or isinstance(columns, str):
        raise ValueError(f"decision_boundary: columns={columns!r}: two names, one for each input")
    if len(names) < 2:
        raise ValueError("decision_boundary: one class only: there is no boundary")
    (left, right), (low, high) = (_range(column) for column in points.T)
    grid = np.stack(np.meshgrid(np.linspace(left, right, SIDE), np.linspace(low, high, SIDE)), axis=-1)
    chances = _probabilities(net, grid.reshape(-1, 2).astype(np.float32), len(names)).reshape(SIDE, SIDE, -1)
    figure = new_figure(6, 4.6)
    axes = figure.subplots()
    axes.imshow(_shades(chances), origin="lower", extent=(left, right, low, high), aspect="auto", interpolation="nearest")
    _draw_lines(axes, grid, chances)
    _draw_samples(axes, points, found, drawn_names(names))
    first, second = drawn_names(columns, 40)
    axes.set(xlabel=first, ylabel=second, xlim=(left, right), ylim=(low, high))
    return finished(figure)


def _range(column: np.ndarray) -> tuple[float, float]:
    low, high = float(column.min()), float(column.max())
    margin = MARGIN * (high - low) or 1.0
    if max(margin - low, high + margin) > float(np.finfo(np.float32).max):
        raise ValueError(f"decision_boundary: x reaches from {low} to {high}: the plane is in float32, scale x first")
    return low - margin, high + margin


def _probabilities(net: Any, points: np.ndarray, classes: int) -> np.ndarray:
    """(M, classes), float64."""
    function: Callable = getattr(net, "predict", net)
    outputs = as_host("decision_boundary: outputs", function(points)).reshape(len(points), -1)
    if outputs.dtype.kind != "f":
        raise ValueError(f"decision_boundary: outputs are {outputs.dtype}: a function of points that gives logits is needed")
    outputs = outputs.astype(np.float64)
    if not np.isfinite(outputs).all():
        raise ValueError("decision_boundary: the network's outputs are not finite: it has diverged")
    network = net.net if isinstance(net, Trainer) else net
    last = network.output_activation if isinstance(network, Sequential) else None
    if outputs.shape[1] == 1 and classes == 2:
        second = outputs if last == "Sigmoid" else 0.5 + 0.5 * np.tanh(outputs / 2)
        return np.concatenate([1 - second, second], axis=1)
    if outputs.shape[1] != classes:
        raise ValueError(f"decision_boundary: the network has {outputs.shape[1]} outputs, but there are {classes} names")
    if last not in ("Softmax", "Sigmoid"):
        outputs = np.exp(outputs - outputs.max(axis=1, keepdims=True))
    total = outputs.sum(axis=1, keepdims=True)
    return np.divide(outputs, total, out=np.full_like(outputs, 1 / classes), where=total > 0)  # sigmoids may all be 0


def _shades(chances: np.ndarray) -> np.ndarray:
    """The colour of the likeliest class on white, (SIDE, SIDE, 3), the stronger the likelier."""
    classes = chances.shape[-1]
    inks = load("matplotlib.colors", "plot").to_rgba_array([colour(i) for i in range(classes)])[:, :3]
    sure = (chances.max(axis=-1, keepdims=True) - 1 / classes) / (1 - 1 / classes)
    share = FAINT + (STRONG - FAINT) * sure
    return 1 - share * (1 - inks[chances.argmax(axis=-1)])


def _draw_lines(axes: Axes, grid: np.ndarray, chances: np.ndarray) -> None:
    """Where a class ceases to be the likeliest."""
    for k in range(chances.shape[-1]):
        ahead = chances[..., k] - np.delete(chances, k, axis=-1).max(axis=-1)
        if ahead.min() < 0 < ahead.max():
            axes.contour(grid[..., 0], grid[..., 1], ahead, levels=[0], colors="black", linewidths=0.8)


def _draw_samples(axes: Axes, points: np.ndarray, labels: np.ndarray, names: list[str]) -> None:
    for k, name in enumerate(names):
        of_class = points[labels == k]
        size = 30 if len(points) > 20 else 80
        axes.scatter(*of_class.T, s=size, c=colour(k), marker=marker(k), edgecolors="white", linewidths=0.8, label=name)
    if len(names) <= IN_LEGEND:
        axes.legend(fontsize=8, title="class", loc="upper left", bbox_to_anchor=(1.01, 1))
