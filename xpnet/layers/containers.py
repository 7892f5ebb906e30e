"""Layers made of layers."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

from xpnet.backends.device import Array
from xpnet.blocks import Run
from xpnet.flow import Flow, backward_through, forward_through
from xpnet.layers.base import Layer, Meeting, Shape
from xpnet.layers.fused import joined
from xpnet.parameters import Maker
from xpnet.step import Pass

IMAGE_AXES = 3  # of a sample: height, width, channels


class Chain(Meeting):
    """Layers one after another; its cache is the list of their caches.

    After ``build``, ``shapes`` holds the per-sample shapes between the layers, the input's first.
    """

    def __init__(self, *layers: Layer):
        self.layers = check_layers(type(self).__name__, layers)

    @property
    def blockwise(self) -> bool:
        return all(map(takes_blocks, self.layers))

    def build(self, shape: Shape, make: Maker) -> Shape:
        shapes, trains = [shape], []
        for i, layer in enumerate(self.layers):
            before = len(make.root.entries)
            shapes.append(tuple(layer.build(shapes[-1], make.child(str(i), layer))))
            trains.append(len(make.root.entries) > before)
        self.shapes = shapes
        self._first = trains.index(True) if True in trains else len(trains)
        self._in_blocks = Sections(self.layers, shapes, self._first)
        self._fused = joined(self.layers, self._first)
        self._fused_in_blocks = Sections(self.layers, shapes, self._first, fused=True)
        return shapes[-1]

    def forward_in_blocks(self, x: Array, step: Pass) -> Flow:
        return forward_through(self._parts(step)[0], x, step)

    def backward_in_blocks(self, dy: Array, cache: Any, step: Pass) -> Flow:
        """Walk back through the layers; below the first one with parameters only if the input's gradient is wanted."""
        parts, first = self._parts(step)
        return backward_through(parts, first, dy, cache, step)

    def _parts(self, step: Pass) -> tuple[Sequence[Any], int]:
        """What a pass goes through one after another: layers, or neighbours in one; and the first that has parameters."""
        if step.splits:
            chosen = self._fused_in_blocks if step.fuses else self._in_blocks
            return chosen.sections, chosen.first
        return self._fused if step.fuses else (self.layers, self._first)

    @property
    def takes_blocks(self) -> bool:
        """Whether some of the layers, at any depth, take a batch in blocks."""
        inside = (layer for layer in self.walk() if isinstance(layer, Chain))
        return any(isinstance(part, Run) for chain in (self, *inside) for part in chain._in_blocks.sections)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return sum(
            layer.flops(*pair) for layer, pair in zip(self.layers, zip(self.shapes, self.shapes[1:], strict=False), strict=True)
        )

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.layers))})"


class Residual(Chain):
    """``y = body(x) + shortcut(x)``; the shortcut is the identity or a layer of its own. He et al., CVPR 2016.

    x (N, *shape) -> y (N, *body's output shape). ``Residual(*layers, shortcut=None)``: where the
    body changes the shape, ``shortcut`` must give the same one, for instance ``shortcut=Affine(n)``.
    Backward: ``dx = body's dx + shortcut's dx``.
    """

    owns_output = owns_dx = True

    def __init__(self, *layers: Layer, shortcut: Layer | None = None):
        super().__init__(*layers)
        if shortcut is not None:
            check_layers("Residual(shortcut=...)", (shortcut,))
        self.shortcut = shortcut

    def build(self, shape: Shape, make: Maker) -> Shape:
        out = super().build(shape, make)
        around = tuple(self.shortcut.build(shape, make.child("shortcut", self.shortcut))) if self.shortcut else shape
        if out != around:
            raise ValueError(
                f"Residual: the body gives {out} per sample, the shortcut {around}; add a shortcut layer that "
                f"gives {out}, for instance shortcut={_shortcut(shape, out)}"
            )
        return out

    @property
    def blockwise(self) -> bool:
        return super().blockwise and all(map(takes_blocks, self._around))

    def forward_in_blocks(self, x: Array, step: Pass) -> Flow:
        y, caches = yield from super().forward_in_blocks(x, step)
        around, around_caches = yield from forward_through(self._around, x, step)
        out = y if self.layers and self.layers[-1].owns_output else step.keep(y.shape)
        return step.xp.add(y, around, out=out), (caches, around_caches)

    def backward_in_blocks(self, dy: Array, cache: Any, step: Pass) -> Flow:
        caches, around_caches = cache
        dx = yield from super().backward_in_blocks(dy, caches, step)
        d_around = yield from backward_through(self._around, 0, dy, around_caches, step)
        if not step.needs_dx:
            return None
        out = dx if self.layers and self.layers[0].owns_dx else step.keep(dx.shape)
        return step.xp.add(dx, d_around, out=out)

    @property
    def _around(self) -> tuple[Layer, ...]:
        return () if self.shortcut is None else (self.shortcut,)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        shortcut = self.shortcut.flops(shape, output_shape) if self.shortcut else 0
        return super().flops(shape, output_shape) + shortcut + math.prod(output_shape)

    def __repr__(self) -> str:
        shortcut = [f"shortcut={self.shortcut!r}"] if self.shortcut else []
        return f"Residual({', '.join([*map(repr, self.layers), *shortcut])})"


def _shortcut(shape: Shape, out: Shape) -> str:
    """A layer that may stand beside a residual block: where it makes images smaller, a convolution."""
    if len(shape) == len(out) == IMAGE_AXES and shape[:2] != out[:2]:
        strides = tuple(-(-a // b) for a, b in zip(shape[:2], out[:2], strict=True))
        if tuple((a - 1) // s + 1 for a, s in zip(shape, strides, strict=False)) != out[:2]:
            return "None and padding='same' in the body's convolutions"
        return f"Conv2d({out[2]}, 1, stride={strides[0] if strides[0] == strides[1] else strides})"
    return f"Affine({out[-1] if out else 1})"


class Branches(Meeting):
    """Layers side by side, each given the same input."""

    def __init__(self, *branches: Layer):
        self.branches = check_layers(type(self).__name__, branches)
        if len(branches) < 2:
            raise ValueError(f"{type(self).__name__} joins the outputs of two layers or more, {len(branches)} given")

    @property
    def blockwise(self) -> bool:
        return all(map(takes_blocks, self.branches))

    def build(self, shape: Shape, make: Maker) -> Shape:
        self.input_shape = shape
        self.shapes = [tuple(layer.build(shape, make.child(str(i), layer))) for i, layer in enumerate(self.branches)]
        return self.joined_shape()

    def joined_shape(self) -> Shape:
        """Per-sample output shape for those of the branches; refuses what does not fit together."""
        raise NotImplementedError

    def _outputs(self, x: Array, step: Pass) -> Flow:
        outputs, caches = [], []
        for layer in self.branches:
            y, cache = yield from forward_through((layer,), x, step)
            outputs.append(y)
            caches.append(cache)
        return outputs, caches

    def _sum_backward(self, gradients: list[Array], caches: list, step: Pass) -> Flow:
        """The sum of what the branches give for these gradients by their outputs."""
        total = None
        for layer, dy, cache in zip(self.branches, gradients, caches, strict=True):
            dx = yield from backward_through((layer,), 0, dy, cache, step)
            if step.needs_dx:
                total = dx if total is None else step.xp.add(total, dx, out=step.keep(dx.shape))
        return total

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return sum(layer.flops(shape, out) for layer, out in zip(self.branches, self.shapes, strict=True))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(repr, self.branches))})"


class Concatenate(Branches):
    """``y = [branch(x) for branch in branches]``, joined along the channels. Szegedy et al., CVPR 2015 (Inception).

    x (N, *shape) -> y (N, ..., sum of the branches' channels); all other axes of the branches' outputs agree.
    """

    owns_output = True

    def joined_shape(self) -> Shape:
        if any(not s or s[:-1] != self.shapes[0][:-1] for s in self.shapes):
            raise ValueError(f"Concatenate: the branches give {self.shapes} per sample; all but the last axis must agree")
        return (*self.shapes[0][:-1], sum(s[-1] for s in self.shapes))

    def forward_in_blocks(self, x: Array, step: Pass) -> Flow:
        outputs, caches = yield from self._outputs(x, step)
        y = step.keep((len(x), *self.joined_shape()))
        for part, output in zip(self._parts(y), outputs, strict=True):
            step.xp.copyto(part, output)
        return y, caches

    def backward_in_blocks(self, dy: Array, cache: Any, step: Pass) -> Flow:
        gradients = [step.keep(part.shape) for part in self._parts(dy)]
        for gradient, part in zip(gradients, self._parts(dy), strict=True):
            step.xp.copyto(gradient, part)
        return (yield from self._sum_backward(gradients, cache, step))

    def _parts(self, y: Array) -> list[Array]:
        """Each branch's channels."""
        stops = itertools.accumulate(s[-1] for s in self.shapes)
        return [y[..., stop - s[-1] : stop] for s, stop in zip(self.shapes, stops, strict=True)]


class Add(Branches):
    """``y = sum of branch(x) for branch in branches``. (:class:`Residual` is the case of one branch and a shortcut.)

    x (N, *shape) -> y of the branches' output shape, in which all agree.
    """

    owns_output = True

    def joined_shape(self) -> Shape:
        if any(s != self.shapes[0] for s in self.shapes):
            raise ValueError(f"Add: the branches give {self.shapes} per sample; they must agree")
        return self.shapes[0]

    def forward_in_blocks(self, x: Array, step: Pass) -> Flow:
        (first, second, *others), caches = yield from self._outputs(x, step)
        y = step.xp.add(first, second, out=step.keep(first.shape))
        for output in others:
            step.xp.add(y, output, out=y)
        return y, caches

    def backward_in_blocks(self, dy: Array, cache: Any, step: Pass) -> Flow:
        return (yield from self._sum_backward([dy] * len(self.branches), cache, step))

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return super().flops(shape, output_shape) + (len(self.branches) - 1) * math.prod(output_shape)


class Sections:
    """The layers of a chain, neighbours that take images in blocks joined to a :class:`xpnet.blocks.Run`.

    ``first`` is the index of the first of the ``sections`` that has parameters; ``fused``: neighbours that one kernel
    computes are joined as well (:mod:`xpnet.layers.fused`).
    """

    def __init__(self, layers: tuple[Layer, ...], shapes: list[Shape], first: int, fused: bool = False):
        self.sections: list[Any] = []
        starts = [*_starts(layers, shapes), len(layers)]
        self.first = len(starts) - 1
        for start, stop in itertools.pairwise(starts):
            if start <= first < stop:
                self.first = len(self.sections)
            between = shapes[start : stop + 1]
            if takes_images(layers, shapes, start):
                inside = layers[start:stop], min(max(first - start, 0), stop - start)
                run_layers, run_first = joined(*inside) if fused else inside
                self.sections.append(Run(run_layers, between, run_first))
            else:
                self.sections.append(layers[start])
        if fused:
            self.sections, self.first = joined(self.sections, self.first)


def _starts(layers: tuple[Layer, ...], shapes: list[Shape]) -> Iterator[int]:
    """Where sections begin: at every layer that takes no blocks, behind it, and where images have become a quarter as large.

    (Blocks of small images have more rows. Only a layer that gathers windows begins anew: what follows it comes along.)
    """
    largest = 0
    for i, layer in enumerate(layers):
        size = max(math.prod(shapes[i]), math.prod(shapes[i + 1]))
        joins = i > 0 and takes_images(layers, shapes, i - 1) and takes_images(layers, shapes, i)
        if not joins or (layer.gathers and 4 * size <= largest):
            largest = 0
            yield i
        largest = max(largest, size)


def takes_images(layers: tuple[Layer, ...], shapes: list[Shape], i: int) -> bool:
    return takes_blocks(layers[i]) and len(shapes[i]) >= IMAGE_AXES


def takes_blocks(layer: Layer) -> bool:
    return bool(getattr(layer, "blockwise", False))  # a user's own need not be a Layer


def check_layers(where: str, layers: tuple) -> tuple[Layer, ...]:
    """Refuse what is not a layer, with the commonest slip explained."""
    if len(layers) == 1 and isinstance(layers[0], (list, tuple)):
        raise TypeError(f"{where} takes the layers one by one: {where}(*layers) instead of {where}(layers)")
    for i, layer in enumerate(layers):
        if isinstance(layer, type):
            raise TypeError(f"{where}: argument {i} is the class {layer.__name__}, not a layer: write {layer.__name__}()")
        if not callable(getattr(layer, "forward", None)) or not callable(getattr(layer, "backward", None)):
            raise TypeError(f"{where}: argument {i} is {layer!r}, which has no forward and backward: it takes layers")
    return tuple(layers)
