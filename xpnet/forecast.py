"""How much memory a training step will take: the step is gone through on arrays without memory, by the code that runs it.

Every buffer is asked for as in a real step, and none is touched: nothing is computed, and no parameter changes.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from xpnet.arenas import Arena, Results
from xpnet.backends.device import Array, Device, DTypeLike
from xpnet.layers.base import Shape
from xpnet.layers.containers import Chain
from xpnet.step import Pass

if TYPE_CHECKING:
    from xpnet.network import Sequential
    from xpnet.parameters import Parameters


@dataclass
class Forecast:
    """Bytes of a training step on a batch of ``rows``, in memory at once; the loss, a few rows of outputs, is left out.

    ``parameters`` counts their values, gradients and running statistics, ``activations`` all that passes from layer to layer
    or waits for the backward pass, ``workspace`` what layers share for the time of a call, and sums of gradients.
    Each vector of the optimizer's (one of Momentum's, two of Adam's) takes ``vector`` more.
    """

    rows: int
    parameters: int
    activations: int
    workspace: int
    vector: int

    @property
    def total(self) -> int:
        return self.parameters + self.activations + self.workspace

    def __str__(self) -> str:
        parts = ", ".join(f"{name} {getattr(self, name) / 1e6:,.1f}" for name in ("parameters", "activations", "workspace"))
        return (
            f"forecast for a training step on {self.rows} rows: {megabytes(self.total)} ({parts}); "
            f"optimizer {self.vector / 1e6:,.1f} a vector"
        )


def forecast(net: Sequential, rows: int) -> Forecast:
    """Memory of one training step of a built network on its device."""
    device, parameters = Weightless(net.device), net.parameters
    step = Pass(
        net, cast("Parameters", _At(device, parameters.dtype)), Results(device, parameters.dtype), True, 0, None, 0, False
    )
    step.arena = arena = Arena(device, parameters.dtype)
    step.keep, step.scratch, step.batch = arena.empty, arena.scratch.empty, rows
    x, twin = device.empty((rows, *net.input_shape), parameters.dtype), _twin(net)
    with np.errstate(all="ignore"):
        outputs, cache = twin.forward(x, step)
        step.needs_dx = False
        twin.backward(device.empty(outputs.shape, parameters.dtype), cache, step)
    kept, shared = arena.nbytes + x.nbytes, arena.scratch.nbytes
    for part in arena.kin.values():
        kept, shared = kept + part.kept_bytes, shared + part.shared_bytes
    vectors = (parameters.value, parameters.grad, parameters.state)
    return Forecast(rows, sum(v.nbytes for v in vectors), kept, shared, parameters.value.nbytes)


def _twin(net: Sequential) -> Chain:
    """A copy of the network's layers, with parameters that have no memory."""
    twin = Chain.__new__(Chain)
    copies: dict[int, Any] = {}
    parts = {name: vars(net)[name] for name in ("layers", "shapes", "_first", "_in_blocks", "_fused", "_fused_in_blocks")}
    twin.__dict__.update(copy.deepcopy(parts, copies))
    for original in net.parameters.values():
        if id(original) in copies:
            views = [name for name in ("value", "grad") if name in vars(original)]
            copies[id(original)].__dict__.update({name: hollow(original.shape, net.parameters.dtype) for name in views})
    return twin


@dataclass
class _At:
    """What a pass asks of parameters."""

    device: Device
    dtype: np.dtype


class Weightless(Device):
    """A device that plans as another one does, with arrays that have a shape and no memory."""

    xp = np

    def __init__(self, like: Device):
        super().__init__(like.name)
        self.kind, self.takes_blocks, self.workspace_bytes = like.kind, like.takes_blocks, like.workspace_bytes  # type: ignore[misc]
        self.fuses = like.fuses  # type: ignore[misc]
        self.block_count, self.repeats = like.block_count, like.repeats  # type: ignore[method-assign]
        self.preferred_convolution = like.preferred_convolution  # type: ignore[method-assign]
        self.workers = getattr(like, "workers", None)

    def empty(self, shape: Shape, dtype: DTypeLike) -> Array:
        return hollow(shape, dtype)

    def put(self, a: Any, dtype: DTypeLike | None = None) -> Array:
        return np.asarray(a, dtype)

    def pointwise(self, kernel: Any, arrays: Any, numbers: Any = ()) -> None:
        pass

    def over_rows(self, kernel: Any, step: Any, *args: Any) -> None:
        """Takes the memory that a GPU's kernels need, or NumPy."""
        if self.takes_blocks:
            kernel.twin(step, *args)
        else:
            list(kernel.launches(step, *args))

    def use(self) -> Any:
        return contextlib.nullcontext()

    def gather(self, a: Array, rows: Array, out: Array) -> Array:
        return out

    def uniform(self, key: int, stream: int, step: int, offset: int, out: Array) -> Array:
        return out


class Hollow(np.ndarray):
    """An array all of whose elements are one place in memory; operations into such arrays do nothing."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple = (), **options: Any) -> Any:
        if out:
            return out[0] if len(out) == 1 else out
        return _computed(getattr(ufunc, method), inputs, options)

    def __array_function__(self, f: Callable, types: Any, args: Any, kwargs: Any) -> Any:
        if kwargs.get("out") is not None or f is np.copyto:
            return kwargs.get("out")
        return _computed(f, args, kwargs)

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def fill(self, value: Any) -> None:
        pass

    def view(self, dtype: Any = None, *kind: Any) -> Any:  # type: ignore[override]
        """Bytes as elements of a dtype, as scratch memory is seen."""
        if not isinstance(dtype, np.dtype):
            return super().view(dtype, *kind)
        return hollow((self.nbytes // dtype.itemsize,), dtype)


def hollow(shape: Shape, dtype: DTypeLike) -> Hollow:
    dtype = np.dtype(dtype)
    return np.ndarray(shape, dtype, buffer=bytearray(dtype.itemsize), strides=(0,) * len(shape)).view(Hollow)


def _computed(f: Callable, args: Any, kwargs: Any) -> Any:
    """What a function gives that makes an array of its own, as plain NumPy in a user's layer does: computed on zeros."""
    return _emptied(f(*_filled(args), **_filled(kwargs)))


def _filled(x: Any) -> Any:
    if isinstance(x, Hollow):
        return np.broadcast_to(np.zeros((), x.dtype), x.shape)
    if type(x) in (tuple, list):
        return type(x)(map(_filled, x))
    return {k: _filled(v) for k, v in x.items()} if type(x) is dict else x


def _emptied(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return hollow(x.shape, x.dtype)
    return type(x)(map(_emptied, x)) if type(x) in (tuple, list) else x


def megabytes(n: int) -> str:
    return f"{n / 1e6:,.1f} MB"
