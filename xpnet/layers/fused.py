"""Layers as kernels, on devices that fuse: an activation each way, and with it the bias of the affine layer before it.

The layers stay as they are: what their passes do with symbols is traced once (:mod:`xpnet.pointwise`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, NamedTuple

from xpnet.backends.device import Array, Device, DTypeLike
from xpnet.flow import Flow, backward_through, forward_through
from xpnet.layers.affine import Affine, Flatten, Identity, Reshape
from xpnet.layers.base import Layer, Meeting
from xpnet.pointwise import FLOATS, MASK, ROW, Kernel, NotPointwise, Symbol, Tape
from xpnet.step import Pass

INPUT = ("array", 0)
TRACES = 16  # of one layer, after which it is no longer compiled anew for every change


def joined(layers: Sequence[Any], first: int) -> tuple[list[Any], int]:
    """The layers with those that may be fused as :class:`Fused`, and where the one that was the ``first`` is now."""
    found: list[Any] = []
    now_first, start = len(layers), 0
    while start < len(layers):
        pair = has_bias(layers[start]) and start + 1 < len(layers) and may_be_pointwise(layers[start + 1])
        stop = start + 1 + pair
        if start <= first < stop:
            now_first = len(found)
        found.append(Fused(layers[start:stop]) if pair or may_be_pointwise(layers[start]) else layers[start])
        start = stop
    return found, now_first if first < len(layers) else len(found)


def has_bias(layer: Any) -> bool:
    """Whether it is an affine layer as it stands, whose bias another kernel may add."""
    own = type(layer)
    return isinstance(layer, Affine) and layer.bias and (own.forward, own.backward) == (Affine.forward, Affine.backward)


def may_be_pointwise(layer: Any) -> bool:
    """Whether it is worth a trace: a layer of one's own says ``recordable = True``, or ``blockwise``."""
    if not isinstance(layer, Layer) or isinstance(layer, Meeting | Affine | Flatten | Identity | Reshape):
        return False
    return layer.blockwise or (layer.recordable and type(layer).__module__.partition(".")[0] != "xpnet")


class Fused:
    """An activation, alone or behind an affine layer with a bias; layer by layer where it cannot be traced."""

    meets, changes = False, 0

    def __init__(self, layers: Sequence[Layer]):
        self.layers = tuple(layers)
        self.affine: Any = layers[0] if len(layers) > 1 else None
        self.activation = layers[-1]
        self.not_fused = ""
        self._bodies: dict[tuple, Body | None] = {}

    @property
    def owns_output(self) -> bool:
        return self.activation.owns_output

    @property
    def owns_dx(self) -> bool:
        return self.layers[0].owns_dx

    def walk(self) -> Iterator[Layer]:
        for layer in self.layers:
            yield layer
            yield from layer.walk()

    def weight_size(self, device: Device) -> int:
        return 0  # of its own

    def forward(self, x: Array, step: Pass) -> Any:
        body = self._body(step.dtype)
        if body is None or x.dtype != step.dtype:
            return self._forward_by_layers(x, step)
        if self.affine is None:
            y, cache = body.forward([x], step.may_overwrite and not body.keeps_input, step)
        else:
            product = step.affine(x, self.affine.W.value, None)
            y, cache = body.forward([product, self.affine.b.value], True, step)
        return y, Kept(body, x, cache)

    def backward(self, dy: Array, cache: Any, step: Pass) -> Array | None:
        if type(cache) is not Kept:
            return self._backward_by_layers(dy, cache, step)
        wanted, step.needs_dx = step.needs_dx, True
        d = cache.body.backward(dy, cache.values, step)
        if d is None:
            d = self.activation.backward(dy, cache.values, step)
        step.needs_dx = wanted
        if self.affine is None:
            return d
        step.arena.scratch.taken, step.may_overwrite = 0, False
        return self.affine.backward(d, cache.x, step)

    def _forward_by_layers(self, x: Array, step: Pass) -> Any:
        if self.affine is None:
            return self.activation.forward(x, step)
        return _ended(forward_through(self.layers, x, step))

    def _backward_by_layers(self, dy: Array, cache: Any, step: Pass) -> Array | None:
        if self.affine is None:
            return self.activation.backward(dy, cache, step)
        return _ended(backward_through(self.layers, 0, dy, cache, step))

    def _body(self, dtype: DTypeLike) -> Body | None:
        """The kernels of the activation as it is now; None where it has none."""
        key = (dtype, *(layer.changes for layer in self.layers))
        if key not in self._bodies:
            self._bodies[key] = self._traced(dtype) if len(self._bodies) < TRACES else None
        return self._bodies[key]

    def _traced(self, dtype: DTypeLike) -> Body | None:
        try:
            if any({"forward", "backward"} & vars(layer).keys() for layer in self.layers):
                raise NotPointwise("a method of this one layer has been replaced")
            return Body(self.activation, dtype, bias=self.affine is not None)
        except Exception as error:  # whatever a layer does with symbols: what is wrong with it shows when it runs itself
            self.not_fused = f"{type(error).__name__}: {error}"
            return None

    def __reduce__(self) -> tuple:
        return Fused, (self.layers,)  # a copy traces anew

    def __repr__(self) -> str:
        return ", ".join(map(repr, self.layers))


class Kept(NamedTuple):
    """What a backward pass needs: the input of an affine layer, the cache of the activation."""

    body: Body
    x: Array
    values: Any


class Variant(NamedTuple):
    """A kernel, which arrays it takes in which order, which of the new ones are masks, and where the results are."""

    kernel: Kernel
    order: list[int]
    masks: list[bool]
    places: list[int]


class Loop:
    """One pass of a layer as kernels: from ``given`` arrays to the ``ends``."""

    def __init__(self, name: str, tape: Tape, ends: list[Symbol]):
        if any(end.kind not in (FLOATS, MASK) or end.operand is None for end in ends) or ends[0].kind == MASK:
            raise NotPointwise("the output is no array of numbers, or the cache memory that nothing was written to")
        self._name, self._tape, self._ends = name, tape, ends
        self._variants: dict[tuple[bool, bool], Variant] = {}

    def run(self, given: list[Array], over: bool, step: Pass, all_ends: bool = True) -> list[Array]:
        """All ends, or the first, in buffers of the pass; ``over``: the first in the place of the first array given."""
        variant = self._variants.get((over, all_ends)) or self._variant(over, all_ends)
        kernel, order, masks, places = variant
        arrays, shape = given.copy(), given[0].shape
        for mask in masks:
            arrays.append(step.keep(shape, "bool") if mask else step.keep(shape))
        step.device.pointwise(kernel, [arrays[i] for i in order])
        return [arrays[i] for i in places]

    def _variant(self, over: bool, all_ends: bool) -> Variant:
        ends = self._ends if all_ends else self._ends[:1]
        kernel, order, _ = self._tape.kernel(self._name, [(0 if over and i == 0 else None, end) for i, end in enumerate(ends)])
        count = len(self._tape.inputs)
        places = [0] * over + list(range(count, count + len(ends) - over))
        found = Variant(kernel, order, [end.kind == MASK for end in ends[over:]], places)
        self._variants[over, all_ends] = found
        return found


class Body:
    """The two passes of one activation as they were traced, the forward pass with the bias added before.

    The cache is what the layer's own would be, so that its own ``backward`` serves where that could not be traced.
    """

    def __init__(self, layer: Layer, dtype: DTypeLike, bias: bool):
        self.name = f"Affine_{type(layer).__name__}" if bias else type(layer).__name__
        tape = Tape(dtype)
        x = tape.array()
        if bias:
            x = Symbol(tape, tape.record("add", (x, tape.array(ROW))).operand, FLOATS)
        y, cache = layer.forward(x, traced_pass(tape))
        self._is_tuple, self._parts = type(cache) is tuple, cache if type(cache) is tuple else (cache,)
        if x.holds(y) or not all(part is None or isinstance(part, Symbol | int | float | str) for part in self._parts):
            raise NotPointwise("nothing is computed, or the cache is more than a tuple of arrays and numbers")
        kept = [part for part in self._parts if isinstance(part, Symbol)]
        if layer.owns_output and any(y.holds(part) for part in kept):
            raise NotPointwise("the output, which the next layer may overwrite, is in the cache as well")
        self.keeps_input = any(symbol.operand == INPUT for symbol in kept)
        ends = {symbol.operand: symbol for symbol in (y, *kept) if symbol.operand != INPUT}
        places = {operand: i for i, operand in enumerate(ends)} | {INPUT: -1}
        #: Of each part of the cache which array it is: that of an end, or the input, which comes last.
        self._places = [places[part.operand] if isinstance(part, Symbol) else None for part in self._parts]
        self._forward = Loop(self.name, tape, list(ends.values()))
        self._backward = self._traced_backward(layer, Tape(dtype))

    def _traced_backward(self, layer: Layer, tape: Tape) -> Loop | None:
        """From the gradient by the output and the cache to that by the input; None where that is no kernel."""
        given = tape.array()
        parts = tuple(tape.array(MASK if p.kind == MASK else FLOATS) if isinstance(p, Symbol) else p for p in self._parts)
        try:
            made: Any = layer.backward(given, parts if self._is_tuple else parts[0], traced_pass(tape))
            return None if given.holds(made) else Loop(f"{self.name}_backward", tape, [made])
        except Exception:  # as that of a layer that cannot be trained through
            return None

    def forward(self, given: list[Array], over: bool, step: Pass) -> tuple[Array, Any]:
        """Output and cache for the input, and the bias where there is one; ``over``: the first array may be written to."""
        if step.forward_only:
            return self._forward.run(given, over, step, all_ends=False)[0], None
        made = self._forward.run(given, over, step)
        y = made[0]
        made.append(given[0])
        parts = [part if i is None else made[i] for i, part in zip(self._places, self._parts, strict=True)]
        return y, tuple(parts) if self._is_tuple else parts[0]

    def backward(self, dy: Array, cache: Any, step: Pass) -> Array | None:
        """Gradient by the input; None where the layer has to say it itself."""
        if self._backward is None or dy.dtype != step.dtype:
            return None
        parts = cache if self._is_tuple else (cache,)
        arrays = [part for i, part in zip(self._places, parts, strict=True) if i is not None]
        return self._backward.run([dy, *arrays], step.may_overwrite, step)[0]


def traced_pass(tape: Tape) -> Any:
    """What an activation may ask of a pass; whatever else it asks for makes it none."""
    xp = tape.xp
    device = SimpleNamespace(xp=xp, relu=lambda a, out: xp.maximum(a, 0, out=out))
    return SimpleNamespace(
        xp=xp, device=device, dtype=tape.dtype, keep=tape.empty, scratch=tape.empty, over=lambda a: tape.empty(), needs_dx=True
    )


def _ended(flow: Flow) -> Any:
    """What a generator returns that does not yield."""
    try:
        next(flow)
    except StopIteration as end:
        return end.value
    raise TypeError("layers whose samples meet are no activations")
