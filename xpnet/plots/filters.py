"""What the first layer looks for."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.extras import load
from xpnet.layers import Affine, Conv2d
from xpnet.network import Sequential
from xpnet.plots.pixels import can_be_drawn, image_shape, to_unit
from xpnet.plots.style import Figure, drawn_names, finished, new_figure

MOST = 64  # filters that are drawn
IN_A_ROW = 8
GAP, TILE, DARK = 2, 24, 0.25  # pixels between them and of them, at least; how bright it is between them
NAMED = 40  # columns of a table that are named


def first_layer_filters(net: Sequential, shape: tuple[int, ...] | None = None, *, names: Sequence[str] | None = None) -> Figure:
    """The weights of the first :class:`Conv2d` or :class:`Affine` layer, those of its first 64 outputs.

    Kernels, and weights of an Affine layer on images, are drawn as images, below 0 blue, above red, on one scale; kernels of
    three channels in colour, each from its smallest value to its largest; of other numbers, the channels' mean. Rows of
    pixels are reshaped to ``shape``, such as (28, 28) or (32, 32, 3). On other columns, which ``names`` may name, an Affine
    layer is a heat map of inputs by outputs. Raises TypeError where ``net`` has no such layer, ValueError where ``shape`` or
    ``names`` do not fit its inputs.
    """
    device = net.device
    layer = _first(net)
    weights = device.get(layer.W.value).astype(np.float64)
    if isinstance(layer, Conv2d):
        title = f"{layer.W.name}: {weights.shape[-1]} kernels of {weights.shape[0]} x {weights.shape[1]} pixels"
        return _images(np.moveaxis(weights, -1, 0), title)
    n_in, n_out = weights.shape
    title = f"{layer.W.name}: weights of {n_in} inputs to {n_out} units"
    if shape is None and can_be_drawn(net.input_shape) and math.prod(net.input_shape) == n_in:
        shape = net.input_shape
    if shape is not None:
        return _images(weights.T.reshape(n_out, *image_shape("first_layer_filters", (n_in,), shape)), title)
    if names is not None and len(names) != n_in:
        raise ValueError(f"first_layer_filters: {len(names)} names, but the layer {layer!r} has {n_in} inputs")
    return _heat_map(weights, names, title)


def _first(net: Sequential) -> Affine | Conv2d:
    for layer in net.layer_paths.values():
        if isinstance(layer, Affine | Conv2d):
            return layer
    raise TypeError("first_layer_filters: the network has neither a Conv2d nor an Affine layer, so there are no filters")


def _images(filters: np.ndarray, title: str) -> Figure:
    """Filters (n, height, width) or (n, height, width, channels)."""
    shown = filters[:MOST]
    in_colour = shown.shape[3:] == (3,)
    if shown.ndim == 4 and not in_colour:
        title += f", mean of {shown.shape[3]} channels" if shown.shape[3] > 1 else ""
        shown = shown.mean(axis=3)
    columns = min(len(shown), IN_A_ROW)
    figure = new_figure(0.9 * max(columns, 5) + 1, 0.9 * -(-len(shown) // columns) + 0.6, "compressed")
    axes = figure.subplots()
    if in_colour:
        axes.imshow(np.nan_to_num(tiled(np.stack([*map(to_unit, shown)]), columns), nan=DARK))
    else:
        shade = axes.imshow(tiled(shown, columns), **_colours(shown))
        figure.colorbar(shade, ax=axes, label="weight")
    axes.axis("off")
    more = f", the first {len(shown)}" if len(filters) > len(shown) else ""
    axes.set_title(title + more, fontsize=10)
    return finished(figure)


def _colours(weights: np.ndarray) -> dict[str, Any]:
    """Blue below 0, red above, on the scale of the finite ones; dark for NaN, and for what lies between images."""
    limit = float(np.where(np.isfinite(weights), abs(weights), 0).max()) or 1.0
    colours = load("matplotlib", "plot").colormaps["RdBu_r"].with_extremes(bad=str(DARK))
    return {"cmap": colours, "vmin": -limit, "vmax": limit}


def tiled(images: np.ndarray, columns: int) -> np.ndarray:
    """Images (n, height, width, ...) side by side, so many in a row, as one with NaN between them.

    Small ones are enlarged by a whole number to 24 pixels or more, so that what is between them is thin.
    """
    times = -(-TILE // min(images.shape[1:3]))
    images = images.repeat(times, axis=1).repeat(times, axis=2)
    n, high, wide, *channels = images.shape
    down, right = high + GAP, wide + GAP
    sheet = np.full((-(-n // columns) * down - GAP, columns * right - GAP, *channels), np.nan)
    for i, image in enumerate(images):
        top, left = i // columns * down, i % columns * right
        sheet[top : top + high, left : left + wide] = image
    return sheet


def _heat_map(weights: np.ndarray, names: Sequence[str] | None, title: str) -> Figure:
    n_in, n_out = weights.shape
    figure = new_figure(min(max(4.5, 2.8 + 0.14 * n_out), 12), min(max(2.2, 1.2 + 0.2 * n_in), 9))
    axes = figure.subplots()
    shade = axes.imshow(weights, **_colours(weights), aspect="auto")
    if names is not None and n_in <= NAMED:
        axes.set_yticks(range(n_in), drawn_names(names), fontsize=8)
    else:
        axes.yaxis.set_major_locator(load("matplotlib.ticker", "plot").MaxNLocator(integer=True, min_n_ticks=1))
    axes.xaxis.set_major_locator(load("matplotlib.ticker", "plot").MaxNLocator(integer=True, min_n_ticks=1))
    axes.set(xlabel="unit", ylabel="input", title=title)
    axes.title.set_fontsize(10)
    figure.colorbar(shade, ax=axes, label="weight")
    return finished(figure)
