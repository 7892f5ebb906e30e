"""Layers made of layers."""

from __future__ import annotations

import math
from typing import Any

from xpnet.backends.device import Array
from xpnet.layers.base import Layer, Shape
from xpnet.parameters import Maker
from xpnet.step import Pass


class Chain(Layer):
    """Layers one after another; its cache is the list of their caches.

    After ``build``, ``shapes`` holds the per-sample shapes between the layers, the input's first.
    """

    def __init__(self, *layers: Layer):
        self.layers = check_layers(type(self).__name__, layers)

    def build(self, shape: Shape, make: Maker) -> Shape:
        shapes, before, first = [shape], len(make.root.entries), len(self.layers)
        for i, layer in enumerate(self.layers):
            shapes.append(tuple(layer.build(shapes[-1], make.child(str(i), layer))))
            if len(make.root.entries) > before:
                first = min(i, first)
        self.shapes, self._first_with_parameters = shapes, first
        return shapes[-1]

    def forward(self, x: Array, step: Pass) -> tuple[Array, Any]:
        caches = []
        scratch = step.arena.scratch
        for layer in self.layers:
            scratch.taken = 0
            result = layer.forward(x, step)
            if type(result) is not tuple:
                raise TypeError(f"{layer!r}: forward returns (output, what backward needs), not {type(result).__name__}")
            x, cache = result
            caches.append(cache)
        return x, caches

    def backward(self, dy: Array, cache: Any, step: Pass) -> Array | None:
        """Walk back through the layers; below the first one with parameters only if the input's gradient is wanted."""
        wanted, scratch = step.needs_dx, step.arena.scratch
        stop = 0 if wanted else self._first_with_parameters
        step.needs_dx = True
        for i in range(len(self.layers) - 1, stop - 1, -1):
            step.needs_dx = wanted or i > stop
            scratch.taken = 0
            dy = self.layers[i].backward(dy, cache[i], step)
            if dy is None and step.needs_dx:
                raise TypeError(f"{self.layers[i]!r}: backward returned None; it returns the gradient by its input")
        step.needs_dx = wanted
        return dy if wanted else None

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
                f"gives {out}, for instance shortcut=Affine({out[-1] if out else 1})"
            )
        return out

    def forward(self, x: Array, step: Pass) -> tuple[Array, Any]:
        y, caches = super().forward(x, step)
        around, cache = (x, None) if self.shortcut is None else self.shortcut.forward(x, step)
        return step.xp.add(y, around, out=step.keep(y.shape)), (caches, cache)

    def backward(self, dy: Array, cache: Any, step: Pass) -> Array | None:
        caches, around = cache
        dx = super().backward(dy, caches, step)
        d_around: Array = dy if self.shortcut is None else self.shortcut.backward(dy, around, step)
        return step.xp.add(dx, d_around, out=step.keep(d_around.shape)) if step.needs_dx else None

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        shortcut = self.shortcut.flops(shape, output_shape) if self.shortcut else 0
        return super().flops(shape, output_shape) + shortcut + math.prod(output_shape)

    def __repr__(self) -> str:
        shortcut = [f"shortcut={self.shortcut!r}"] if self.shortcut else []
        return f"Residual({', '.join([*map(repr, self.layers), *shortcut])})"


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
