"""Convolution, pooling and crops."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet import layers
from xpnet.layers.base import Shape
from xpnet.layers.containers import IMAGE_AXES
from xpnet.layers.convolution.geometry import Pair, axis
from xpnet.onnx.read.graph import Graph, Node, Operator, Value
from xpnet.onnx.read.order import Order

LARGEST = 2**16  # pixels along an axis, of images, kernels and padding
NO_ZEROS = (0, 0, 0, 0)  # above, on the left, below, on the right


def conv(node: Node, graph: Graph) -> Value:
    x = image(node, graph)
    weight, groups = graph.weights(node, 1), node.get("group", 1)
    if weight.ndim != 4 or weight.shape[1] * groups != x.dims[0]:
        node.refuse(f"the weight is {weight.shape}, with group={groups}; samples are {x.dims}")
    kernel = weight.shape[2:]
    node.only(kernel_shape=list(kernel))
    strides, dilations = numbers(node, "strides", 1), numbers(node, "dilations", 1)
    arrays = {"W": weight.transpose(2, 3, 1, 0)}
    if graph.has(node, 2):
        arrays["b"] = graph.weights(node, 2, weight.shape[:1])
    layer = layers.Conv2d(
        weight.shape[0],
        short(kernel),
        stride=short(strides),
        padding=padding(node, x.dims[1:], kernel, strides, dilations, graph.zeros.get(node.inputs[0], NO_ZEROS)),
        dilation=short(dilations),
        groups=groups,
        bias=graph.has(node, 2),
    )
    return of_channels(x, layer, node, arrays)


def padding(node: Node, lengths: Shape, kernel: Shape, strides: Shape, dilations: Shape, zeros: Shape) -> Any:
    """As Conv2d takes it: a number, two, or "same" where the two sides differ as they do there; ``zeros`` were put around."""
    auto = node.get("auto_pad", "NOTSET")
    outer = [n + before + after for n, before, after in zip(lengths, zeros[:2], zeros[2:], strict=True)]
    same, inner = (
        [axis(*about) for about in zip(along, kernel, strides, ("same", "same"), dilations, strict=True)]
        for along in (outer, lengths)
    )
    pads = {
        "NOTSET": numbers(node, "pads", 0, sides=4),
        "VALID": NO_ZEROS,
        "SAME_UPPER": (*(a.before for a in same), *(a.after for a in same)),
        "SAME_LOWER": (*(a.after for a in same), *(a.before for a in same)),
    }.get(auto)
    if pads is None:
        node.refuse(f"attribute auto_pad={auto}")
    pads = tuple(a + b for a, b in zip(pads, zeros, strict=True))
    if pads == (*(a.before for a in inner), *(a.after for a in inner)) and (auto.startswith("SAME") or pads[:2] != pads[2:]):
        return "same"
    if pads[:2] != pads[2:]:
        what = f"auto_pad={auto}" if auto != "NOTSET" else f"pads={list(pads)}"
        node.refuse(f"attribute {what}: the two sides differ, otherwise than with padding='same', where more is behind")
    return short(pads[:2])


def max_pool(node: Node, graph: Graph) -> Value:
    node.only(storage_order=0)
    return pooled(node, image(node, graph), layers.MaxPool2d)


def average_pool(node: Node, graph: Graph) -> Value:
    """Where zeros were put around the image before, they are padding that counts."""
    counted, pads = bool(node.get("count_include_pad", 0)), numbers(node, "pads", 0, sides=4)
    if counted and pads[:2] != pads[2:]:
        node.refuse(f"attribute pads={list(pads)}: where padding counts, the two sides have to be alike")
    x = image(node, graph)
    inside = None if any(pads if counted else pads[:2]) else without_padding(x)
    return pooled(node, x, lambda *a, **k: layers.AvgPool2d(*a, count_include_pad=counted, **k), inside)


def without_padding(x: Value) -> tuple[Value, Shape] | None:
    """What was padded to ``x``, and by how much on either side."""
    step = x.step
    if not isinstance(step.layer, layers.RandomCrop) or step.before is None:
        return None
    shape = step.before.shape
    added = [n - m for n, m in zip(step.shape[:2], shape[:2], strict=True)]
    if any(n < 0 or n % 2 for n in added):
        return None
    before = x._replace(step=step.before, dims=(shape[2], *shape[:2]), order=Order.first(shape))
    return before, (added[0] // 2, added[1] // 2)


def pooled(node: Node, x: Value, make: Any, inside: tuple[Value, Shape] | None = None) -> Value:
    """With the ceil mode that gives the file's windows: padding behind may stand for it."""
    node.only(auto_pad="NOTSET", dilations=[1, 1])
    kernel, strides, pads = numbers(node, "kernel_shape", 1), numbers(node, "strides", 1), numbers(node, "pads", 0, sides=4)
    windows = counts(x.dims[1:], kernel, strides, pads[:2], pads[2:], ceil=bool(node.get("ceil_mode", 0)))
    stride = None if strides == kernel else short(strides)
    tries = [(x, pads[:2], make)]
    if inside and all(2 * n <= k for n, k in zip(inside[1], kernel, strict=True)):
        tries = [(*inside, layers.AvgPool2d), *tries]
    fitting = (
        (of, padding, pool, ceil)
        for of, padding, pool in tries
        for ceil in (False, True)
        if counts(of.dims[1:], kernel, strides, padding, padding, ceil) == windows
    )
    found = next(fitting, None)
    if found is None:
        node.refuse(f"attribute pads={list(pads)}: xpnet's windows are not those")
    of, padding, pool, ceil = found
    return of_channels(of, pool(short(kernel), stride=stride, padding=short(padding), ceil_mode=ceil), node)


def counts(lengths: Shape, kernel: Shape, strides: Shape, before: Shape, after: Shape, ceil: bool) -> Shape:
    """Windows along both axes."""
    about = zip(lengths, kernel, strides, before, after, strict=True)
    return tuple(count(*along, ceil=ceil) for along in about)


def count(length: int, kernel: int, stride: int, before: int, after: int, ceil: bool) -> int:
    """Windows along an axis; with ``ceil`` a last one that sticks out, unless it begins in the padding behind."""
    room = length + before + after - kernel
    windows = (-(-room // stride) if ceil else room // stride) + 1
    return windows - (ceil and (windows - 1) * stride >= length + before)


def global_average_pool(node: Node, graph: Graph) -> Value:
    return mean_of_pixels(image(node, graph), node, keep=True)


def reduce_mean(node: Node, graph: Graph) -> Value:
    """Over height and width."""
    x, axes = graph.value(node), graph.integers(node, "axes", 1) or []
    over = sorted(node.axis(n, x) for n in axes)
    if len(x.dims) != IMAGE_AXES or over not in ([2, 3], [1, 2]):
        node.refuse(f"axes {axes} of {('N', *x.dims)}: xpnet has the mean over an image's height and width")
    x = image(node, graph) if over == [2, 3] else x.as_it_is(node)
    return mean_of_pixels(x, node, keep=bool(node.get("keepdims", 1)), last=over == [1, 2])


def mean_of_pixels(x: Value, node: Node, *, keep: bool, last: bool = False) -> Value:
    channels = x.shape[-1]
    dims = ((1, 1, channels) if last else (channels, 1, 1)) if keep else (channels,)
    return x.then(layers.GlobalAvgPool2d(), node, dims, Order.same(channels))._replace(first=not last)


def crop(node: Node, graph: Graph) -> Value:
    """The middle of images, which is what RandomCrop shows in inference."""
    x, given = graph.value(node), [graph.integers(node, "", i) for i in range(1, 5)]
    starts, ends, axes, steps = ((part or []) for part in given)
    size = list(x.dims)
    starting = [0] * len(size)
    for start, end, n in zip(starts, ends, axes or range(len(starts)), strict=True):
        i = node.axis(n, x) - 1
        if i < 0:
            node.refuse("it cuts the batch")
        begin, stop, _ = slice(start, end).indices(size[i])
        starting[i], size[i] = begin, stop - begin
    if any(n != 1 for n in steps):
        node.refuse(f"steps {steps}: 1 is read alone")
    return shown(x, starting, size, node)


def pad(node: Node, graph: Graph) -> Value:
    """Zeros around images, which RandomCrop adds where it shows more than there is."""
    node.only(mode="constant")
    x, pads = graph.value(node), graph.integers(node, "pads", 1) or []
    if graph.has(node, 2) and graph.fixed(node, 2).any():
        node.refuse("it pads with another number than 0")
    rank = len(x.dims) + 1
    axes = [node.axis(n, x) for n in (graph.integers(node, "axes", 3) or range(rank))]
    if len(pads) != 2 * len(axes):
        node.refuse(f"pads {pads} for axes {axes}")
    before, after = dict(zip(axes, pads, strict=False)), dict(zip(axes, pads[len(axes) :], strict=True))
    if before.get(0) or after.get(0) or any(abs(n) > LARGEST for n in pads):
        node.refuse(f"pads {pads}: of the batch, or of more than {LARGEST:,} pixels")
    name = node.outputs[0]
    users = {user.op for user in graph.users.get(name, ())}
    if users == {"Conv"} and name not in graph.outputs and not graph.ours and of_images(before, after, x):
        graph.zeros[name] = tuple(side.get(i, 0) for side in (before, after) for i in (2, 3))
        return x
    inner = range(1, rank)
    size = [n + before.get(i, 0) + after.get(i, 0) for i, n in zip(inner, x.dims, strict=True)]
    return shown(x, [-before.get(i, 0) for i in inner], size, node)


def of_images(before: Mapping[int, int], after: Mapping[int, int], x: Value) -> bool:
    """Whether zeros are put around images with the channels first, and nothing is cut off."""
    sides = (before, after)
    return x.is_first and not any(side.get(1) for side in sides) and all(n >= 0 for side in sides for n in side.values())


def shown(x: Value, starts: list[int], size: list[int], node: Node) -> Value:
    """Images from these places on, as large as this: RandomCrop if it is the middle, with as much padding as that takes."""
    if len(x.dims) != IMAGE_AXES or min(size) < 1:
        node.refuse(f"from {starts} on {size} of {x.dims}: parts of images are read alone")
    first = x.is_first
    x = x.channels_first(node) if first else x.as_it_is(node)
    pixels, channels = (slice(1, 3), 0) if first else (slice(0, 2), 2)
    part, spare = tuple(size[pixels]), [a - b for a, b in zip(x.dims[pixels], size[pixels], strict=True)]
    if [n // 2 for n in spare] != starts[pixels] or starts[channels] or size[channels] != x.shape[2]:
        node.refuse(f"from {starts} on {size} of {x.dims}: xpnet's RandomCrop shows the middle")
    layer = layers.RandomCrop(short(part), padding=max(0, *(-(n // 2) for n in spare)))
    return of_channels(x, layer, node) if first else x.then(layer, node, tuple(size), Order.same(math.prod(size)))


def image(node: Node, graph: Graph) -> Value:
    """The first input as images; refused where it is none, or larger than any."""
    x = graph.value(node)
    if len(x.dims) != IMAGE_AXES or max(x.dims[1:]) > LARGEST:
        node.refuse(f"it takes images (N, channels, height, width), here samples are {x.dims}")
    return x.channels_first(node)


def of_channels(x: Value, layer: layers.Layer, node: Node, arrays: Mapping[str, np.ndarray] | None = None) -> Value:
    """A layer that makes images of images."""
    found = x.then(layer, node, arrays=arrays)
    height, width, channels = found.shape
    return found._replace(dims=(channels, height, width), order=Order.first(found.shape), first=True)


def numbers(node: Node, name: str, least: int, *, sides: int = 2) -> Shape:
    """An attribute with a number for each axis, or for each side of them; the least that it may be where it is absent."""
    found = tuple(node.get(name) or (least,) * sides)
    if len(found) != sides or not all(least <= n <= LARGEST for n in found):
        node.refuse(f"attribute {name}={list(found)}: {sides} numbers from {least} to {LARGEST:,} are read")
    return found


def short(both: Sequence[int]) -> int | Pair:
    """A pair as users write it."""
    height, width = both
    return height if height == width else (height, width)


TABLE: dict[str, Operator] = {
    "Conv": conv,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_average_pool,
    "ReduceMean": reduce_mean,
    "Slice": crop,
    "Pad": pad,
}
