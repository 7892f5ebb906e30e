"""Passes through layers one after another, of a whole batch or of blocks of it.

Layers whose samples meet (:class:`xpnet.layers.base.Meeting`) have passes that are generators: ``total = yield combine``.
What was put into ``step.part(shape)`` before is then combined, once for the whole batch, by ``combine(parts, shares, step)``.
So blocks of a batch are computed each on its own, waiting for one another at each yield.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Sequence
from typing import TYPE_CHECKING, Any

from xpnet.backends.device import Array

if TYPE_CHECKING:
    from xpnet.step import Pass

Flow = Generator[Callable, Any, Any]


def forward_through(layers: Sequence[Any], x: Array, step: Pass) -> Flow:
    """Output of layers one after another, and the list of their caches."""
    caches, scratch, keeps, in_part = [], step.arena.scratch, not step.forward_only, step.is_part
    free = False
    for layer in layers:
        scratch.taken, step.may_overwrite = 0, free
        found = (yield from layer.forward_in_blocks(x, step)) if in_part and layer.meets else layer.forward(x, step)
        if type(found) is not tuple:
            raise TypeError(f"{layer!r}: forward returns (output, what backward needs), not {type(found).__name__}")
        x, found = found
        free = layer.owns_output
        caches.append(found if keeps else None)
        found = None  # a cache that is not kept is held no longer
    return x, caches


def backward_through(layers: Sequence[Any], first: int, dy: Array, caches: list, step: Pass) -> Flow:
    """Walk back; below the ``first`` layer with parameters only if the input's gradient is wanted, else give None.

    Uses the caches up: their buffers may serve again.
    """
    wanted, scratch, in_part = step.needs_dx, step.arena.scratch, step.is_part
    stop = 0 if wanted else first
    free = False
    for i in range(len(layers) - 1, stop - 1, -1):
        layer, cache = layers[i], caches.pop()
        step.needs_dx = wanted or i > stop
        scratch.taken, step.may_overwrite = 0, free
        if in_part and layer.meets:
            dy = yield from layer.backward_in_blocks(dy, cache, step)
        else:
            dy = layer.backward(dy, cache, step)
        if dy is None and step.needs_dx:
            raise TypeError(f"{layer!r}: backward returned None; it returns the gradient by its input")
        free = layer.owns_dx
    step.needs_dx = wanted
    return dy if wanted else None


def complete(flow: Flow, step: Pass) -> Any:
    """What a generator returns that passes the whole batch."""
    if step.is_part:
        raise TypeError("a layer that takes blocks and holds layers whose samples meet must be a xpnet.layers.base.Meeting")
    value = None
    while True:
        try:
            combine = flow.send(value)
        except StopIteration as end:
            return end.value
        step.arena.scratch.taken = 0
        value = combine(step.parts, step.shares, step)
        step.arena.scratch.taken = 0
