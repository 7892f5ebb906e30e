"""Blocks of neighbouring parameters, and who updates them."""

from __future__ import annotations

from typing import Any, NamedTuple

from xpnet.backends.device import Array
from xpnet.backends.recording import recorded
from xpnet.parameters import Parameters

SHARED = 1 << 20  # parameters from which workers share an update whose products BLAS threads compute: handing over takes 0.1 ms


class Block(NamedTuple):
    """Views of neighbouring elements: weights, gradients, the rule's own vectors, and scratch memory.

    ``before`` has room for weights and the rule's own vectors as they were, where an update may be taken back.
    """

    w: Array
    g: Array
    slots: tuple[Array, ...]
    tmp: Array
    adjusted: Array
    decay: bool
    before: tuple[Array, ...] = ()


def seen(part: Any) -> Any:
    """The same with arrays that tell what is done with them."""
    if isinstance(part, tuple | list):
        return type(part)(map(seen, part))
    return recorded(part) if hasattr(part, "dtype") else part


def sharing(parameters: Parameters) -> Any:
    """The workers who share an update: of networks that take batches in blocks, and of vectors long enough; else None."""
    workers = parameters.device.workers
    return workers if workers and (parameters.in_blocks or parameters.value.size >= SHARED) else None
