"""Convolution, pooling and crops as ONNX nodes: they take channels first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from xpnet import layers
from xpnet.layers.augmentation import RandomCrop
from xpnet.layers.base import Shape
from xpnet.layers.convolution.geometry import Axis, pair
from xpnet.onnx.write.graph import Emitter, Graph, Value


def conv2d(layer: layers.Conv2d, x: Value, graph: Graph, path: str) -> Value:
    geometry = layer.geometry
    axes = (geometry.rows, geometry.columns)
    tensors = [graph.tensor(f"{path}.weight", graph.array(layer.W).transpose(3, 2, 0, 1))]
    if layer.b:
        tensors.append(graph.tensor(f"{path}.bias", graph.array(layer.b)))
    return graph.node(
        "Conv",
        graph.placed(x, first=True),
        path,
        *tensors,
        shape=geometry.output,
        group=layer.groups,
        dilations=[a.dilation for a in axes],
        **windows(axes),
    )


def max_pool2d(layer: layers.MaxPool2d, x: Value, graph: Graph, path: str) -> Value:
    axes = (layer.rows, layer.columns)
    return graph.node("MaxPool", graph.placed(x, first=True), path, shape=pooled(x, axes), **windows(axes))


def avg_pool2d(layer: layers.AvgPool2d, x: Value, graph: Graph, path: str) -> Value:
    """Where padding counts and what sticks out beyond it does not, the padding is a node of its own."""
    x, padding = graph.placed(x, first=True), pair("", layer.padding, 0)
    axes: tuple[Axis, ...] = (layer.rows, layer.columns)
    shape = pooled(x, axes)
    counts = layer.count_include_pad and any(padding)
    if counts and any(a.after > p for a, p in zip(axes, padding, strict=True)):
        x = padded(x, graph, path, padding, padding)
        axes = tuple(a._replace(before=0, after=max(a.after - p, 0)) for a, p in zip(axes, padding, strict=True))
        counts = False
    return graph.node("AveragePool", x, path, shape=shape, count_include_pad=int(counts), **windows(axes))


def global_avg_pool2d(layer: layers.GlobalAvgPool2d, x: Value, graph: Graph, path: str) -> Value:
    channels = x.shape[-1:]
    means = graph.node("GlobalAveragePool", graph.placed(x, first=True), path, shape=(1, 1, *channels))
    return graph.node("Flatten", means, path, shape=channels, axis=1)


def random_crop(layer: RandomCrop, x: Value, graph: Graph, path: str) -> Value:
    """The middle, as in inference: what is missing is padded with zeros, what is left over cut off."""
    spare = [seen - shown for seen, shown in zip(layer.seen, layer.shown, strict=True)]
    starts = [n // 2 for n in spare]
    before = [max(-s, 0) for s in starts]
    after = [max(s - n, 0) for s, n in zip(starts, spare, strict=True)]
    if any(before) or any(after):
        x = padded(x, graph, path, before, after)
    if all(n <= 0 for n in spare):
        return x
    first = 2 if x.first else 1
    limits = [max(s, 0) for s in starts], [max(s, 0) + n for s, n in zip(starts, layer.shown, strict=True)]
    names = [graph.tensor(f"{path}.{name}", limit) for name, limit in zip(("starts", "ends"), limits, strict=True)]
    axes = graph.tensor(f"{path}.axes", (first, first + 1))
    return graph.node("Slice", x, path, *names, axes, shape=(*layer.shown, x.shape[2]))


def padded(x: Value, graph: Graph, path: str, before: Sequence[int], after: Sequence[int]) -> Value:
    """``x`` with so many zeros along its height and width."""
    height, width = (n + b + a for n, b, a in zip(x.shape, before, after, strict=False))
    pads = [0, 0, *before, 0, 0, *after] if x.first else [0, *before, 0, 0, *after, 0]
    return graph.node("Pad", x, path, graph.tensor(f"{path}.pads", pads), shape=(height, width, x.shape[2]))


def pooled(x: Value, axes: tuple[Axis, ...]) -> Shape:
    return axes[0].windows, axes[1].windows, x.shape[2]


def windows(axes: tuple[Axis, ...]) -> dict[str, Any]:
    """Kernel, stride and padding, on either side, as attributes."""
    return {
        "kernel_shape": [a.kernel for a in axes],
        "strides": [a.stride for a in axes],
        "pads": [a.before for a in axes] + [a.after for a in axes],
    }


TABLE: dict[type, Emitter] = {
    layers.Conv2d: conv2d,
    layers.MaxPool2d: max_pool2d,
    layers.AvgPool2d: avg_pool2d,
    layers.GlobalAvgPool2d: global_avg_pool2d,
    layers.RandomCrop: random_crop,
}
