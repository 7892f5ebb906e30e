"""Training steps in half precision: weights kept in float32, a scaled loss, and steps left out whose gradients overflow.

Micikevicius et al., Mixed precision training, ICLR 2018. Half has 11 bits of precision; it overflows above 65504 and loses
all below 6e-8. So forward and backward pass run through a copy of the network in half (:class:`Half`), into which its
float32 weights are cast at the beginning of each step. The network itself is what the optimizer updates, and what is
evaluated, predicts and is saved, all in float32. The loss is computed in float32, and so are layers that say ``wide = True``
(normalisations and the mean over all pixels) or hold running statistics.

Inputs above 65504 become infinite. NumPy has no fast products in half: on a CPU this is for tests, and slow.
"""

from __future__ import annotations

import functools
import numbers
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends import resolve
from xpnet.backends.device import Array, Device
from xpnet.layers.base import Layer, changes_of
from xpnet.layers.convolution import Conv2d
from xpnet.network import Sequential
from xpnet.parameters import Parameter
from xpnet.pointwise import Symbol, Tape, Traced
from xpnet.step import Pass

if TYPE_CHECKING:
    from xpnet.training.trainer import Trainer

HALF = "float16"
FIRST, MOST, PATIENCE = 2.0**16, 2.0**24, 2000  # loss scales; steps without overflow after which it is doubled
LARGEST = float(np.finfo(np.float32).max)


class Half:
    """The steps of a trainer in half precision, and their loss scale.

    A step whose gradients are not finite changes neither parameters, running statistics nor the optimizer's vectors. That
    is decided on the device, and nothing is read back: so the optimizer's ``steps``, by which schedules and Adam's bias
    correction go, count such steps too, and the loss is returned as always.
    """

    REPORTED = ("loss_scale", "skipped")

    def __init__(self, net: Sequential, loss_scale: float | str):
        check_layers(net)
        self.loss_scale = loss_scale if loss_scale == "dynamic" else check_scale(loss_scale)
        self._scale = LossScale(self.loss_scale)
        self._told = 0  # skipped steps that were reported
        self._twin: Twin | None = None

    @property
    def scale(self) -> float:
        """What the gradient of the next loss is multiplied by; waits for the device."""
        return self._scale.read()["scale"]

    @property
    def skipped(self) -> int:
        """Steps so far that changed nothing, for want of finite gradients; waits for the device."""
        return int(self._scale.read()["skipped"])

    def report(self, steps: int) -> dict[str, float]:
        """What the record of an epoch of so many steps holds of it, by ``REPORTED``; warns where all were skipped."""
        found = self._scale.read()
        before, self._told = self._told, int(found["skipped"])
        if self._told - before >= steps:
            warnings.warn(
                "half precision: every step of the epoch overflowed and was skipped, nothing was learned: scale the inputs "
                "(half precision ends at 65504), let loss_scale be 'dynamic', or leave precision out",
                RuntimeWarning,
                stacklevel=5,
            )
        return dict(zip(self.REPORTED, (found["scale"], self._told), strict=True))

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it."""
        return {**self._scale.read(), "told": self._told}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave."""
        self._scale.set([state[name] for name in LossScale.NAMES])
        self._told = state["told"]

    @np.errstate(over="ignore", invalid="ignore")  # of which the loss scale takes care
    def step(self, trainer: Trainer, x: Array, y: Array, weights: Array | None) -> Array:
        """One training step on float32 arrays; the loss, a 0-d float32 array."""
        net, device = trainer.net, trainer.net.device
        if self._twin is None or not self._twin.is_of(net):
            self._twin = Twin(net)
        twin, scale = self._twin.net, self._scale.on(device)
        exact = net.step(training=True)
        net.check_input(x, exact)
        with device.use():
            exact.begin(x)
            if exact.checks_gradients:
                device.mark_unwritten(net.parameters.grad)
            copy_into(twin.parameters.value, net.parameters.value, exact)
            statistics = net.parameters.state
            before = copy_into(exact.keep(statistics.shape), statistics, exact) if statistics.size else None
            step = HalfPass(twin, exact)
            outputs, cache = twin.forward(as_type(x, HALF, exact), step)
            value, dy = trainer.loss(as_type(outputs, None, exact), y, exact, weights)
            scaled = exact.xp.multiply(dy, scale.of["scale"], out=exact.keep(dy.shape, HALF))
            twin.backward(scaled, cache, step)
            scale.unscale(twin.parameters.grad, net.parameters.grad)
            if before is not None:
                skipped = exact.xp.greater(scale.of["skip"], 0, out=exact.keep((), "bool"))
                exact.xp.copyto(statistics, before, where=skipped)
        trainer.optimizer.update(net.parameters, skip=scale.of["skip"])
        return value

    def __getstate__(self) -> dict:
        return {**vars(self), "_twin": None}  # made anew


class LossScale:
    """What a loss's gradient is multiplied by, so that little of it vanishes in half precision: a number of the device's.

    "dynamic": 2**16 at first, halved (down to 1) at every overflow, doubled (up to 2**24) after 2000 steps without one.
    All powers of two: they change no digit.
    """

    NAMES = ("scale", "inverse", "good", "skip", "skipped")

    def __init__(self, scale: float | str):
        self.dynamic = scale == "dynamic"
        first = FIRST if scale == "dynamic" else float(scale)
        self._device = resolve("cpu").device
        self._place(self._device, np.array([first, 1 / first, 0, 0, 0], np.float32))

    def on(self, device: Device) -> LossScale:
        """This, with its numbers on a device."""
        if device != self._device:
            self._place(device, device.put(self._device.get(self._numbers)))
        return self

    def _place(self, device: Device, numbers: Array) -> None:
        with device.use():
            self._device, self._numbers, self._total = device, numbers, device.empty((), np.float32)
            self.of = {name: numbers[i, ...] for i, name in enumerate(self.NAMES)}

    def set(self, numbers: Sequence[float]) -> None:
        self._place(self._device, self._device.put(np.array(numbers, np.float32)))

    def read(self) -> dict[str, float]:
        return dict(zip(self.NAMES, self._device.get(self._numbers).tolist(), strict=True))

    def unscale(self, scaled: Array, gradient: Array) -> None:
        """``gradient`` = the scaled one over the scale, in float32; and what follows from whether it is finite."""
        device, total = self._device, self._total
        device.xp.multiply(scaled, self.of["inverse"], out=gradient, dtype=gradient.dtype)
        device.dot(gradient, gradient, total)  # finite if all of them are: none is above 65504
        kernel, arrays, _ = scale_kernel(self.dynamic)
        given = (total, *self.of.values())
        device.pointwise(kernel, [given[i] for i in arrays])

    def __deepcopy__(self, memo: dict) -> LossScale:
        """A copy on the same device, so that nothing waits for it."""
        new = object.__new__(type(self))
        new.dynamic = self.dynamic
        with self._device.use():
            new._place(self._device, self._numbers.copy())
        return new

    def __getstate__(self) -> dict:
        return {"dynamic": self.dynamic, "numbers": self._device.get(self._numbers)}

    def __setstate__(self, state: dict) -> None:
        self.dynamic = state["dynamic"]
        self._place(resolve("cpu").device, state["numbers"])


@functools.cache
def scale_kernel(dynamic: bool) -> Traced:
    """:func:`follow` as one kernel."""
    tape = Tape(np.float32)
    symbols = [tape.array(writable=i > 0) for i in range(1 + len(LossScale.NAMES))]
    follow(tape.xp, *symbols, dynamic=dynamic)
    ends: list[tuple[int | None, Symbol]] = [(i, symbol) for i, symbol in enumerate(symbols) if symbol.operand != ("array", i)]
    return tape.kernel("loss_scale", ends)


def follow(
    xp: Any, total: Array, scale: Array, inverse: Array, good: Array, skip: Array, skipped: Array, *, dynamic: bool
) -> None:
    """What a step leaves behind whose gradients' squares add up to ``total``; ``good`` counts steps since the last change."""
    finite = xp.less_equal(xp.absolute(total), LARGEST)  # NaN is not
    xp.copyto(skip, xp.where(finite, 0, 1))
    xp.copyto(skipped, skipped + skip)
    if dynamic:
        xp.copyto(good, xp.where(finite, good + 1, 0))
        grown = xp.where(good >= PATIENCE, xp.minimum(scale * 2, MOST), scale)
        xp.copyto(good, xp.where(good >= PATIENCE, 0, good))
        xp.copyto(scale, xp.where(finite, grown, xp.maximum(scale / 2, 1)))
        xp.copyto(inverse, 1 / scale)


class Twin:
    """A copy of a network in half precision, with its ``wide`` layers themselves inside, in float32."""

    def __init__(self, net: Sequential):
        self._of = state_of(net)
        inside = {layer: InFloat32(layer) for layer in net.layer_paths.values() if is_wide(layer)}
        self.net = net.copied(HALF, inside)
        for path, layer in net.layer_paths.items():
            if layer in inside:
                names = [p.name for p in net.parameters.trainable if p.name.startswith(path + ".")]
                inside[layer].copies = [(net.parameters[name], self.net.parameters[name]) for name in names]
        for layer in self.net.layer_paths.values():
            if isinstance(layer, Conv2d):
                layer.exact = True

    def is_of(self, net: Sequential) -> bool:
        """Whether it is a copy of the network as it is now, values of parameters apart."""
        return self._of == state_of(net)


def state_of(net: Sequential) -> tuple:
    """What a copy depends on."""
    return net, net.parameters.version, changes_of((net, *net.layer_paths.values()))


class HalfPass(Pass):
    """A training pass in half precision; ``exact`` is one in float32 beside it, of the same batch and number."""

    def __init__(self, net: Sequential, exact: Pass):
        super().__init__(net, net.parameters, exact.results, True, exact.number, None, 0, False)
        self.exact = exact


class InFloat32(Layer):
    """A layer computed in float32 inside a pass in half precision: its input is cast, and what it gives is cast back."""

    owns_output = owns_dx = True
    copies: list[tuple[Parameter, Parameter]]  # the layer's parameters, and those of its place in the network in half

    def __init__(self, layer: Layer):
        self.layer, self.mixes_samples = layer, layer.mixes_samples

    def forward(self, x: Array, step: Any) -> tuple[Array, Any]:
        exact = self._ready(step)
        y, cache = self.layer.forward(as_type(x, None, exact), exact)
        return as_type(y, None, step), cache

    def backward(self, dy: Array, cache: Any, step: Any) -> Array | None:
        exact = self._ready(step)
        dx = self.layer.backward(as_type(dy, None, exact), cache, exact)
        for own, half in self.copies:
            copy_into(half.grad, own.grad, exact)
        return None if dx is None else as_type(dx, None, step)

    def _ready(self, step: Any) -> Pass:
        exact = step.exact
        exact.arena.scratch.taken, exact.may_overwrite, exact.needs_dx = 0, True, step.needs_dx
        return exact

    def __repr__(self) -> str:
        return repr(self.layer)


def as_type(a: Array, dtype: str | None, step: Pass) -> Array:
    """The array in another precision, that of the pass if None, in a buffer of the pass."""
    return copy_into(step.keep(a.shape, dtype), a, step)


def copy_into(out: Array, a: Array, step: Pass) -> Array:
    step.xp.copyto(out, a, casting="same_kind")
    return out


def is_wide(layer: Any) -> bool:
    """Whether it is computed in float32: it says so, or holds running statistics, which change by little at a time."""
    return getattr(layer, "wide", False) or any(isinstance(p, Parameter) and not p.trainable for p in vars(layer).values())


def check_scale(scale: Any) -> float:
    if isinstance(scale, bool) or not isinstance(scale, numbers.Real) or not 0 < float(scale) <= LARGEST:
        raise ValueError(f"Trainer(loss_scale={scale!r}): a number above 0, or 'dynamic'")
    return float(scale)


def check_layers(net: Sequential) -> None:
    for layer in net.walk():
        if isinstance(layer, Conv2d) and layer.method == "winograd":
            raise ValueError(
                f"{layer!r}: Winograd's method is too inexact in half precision: give it another one, or let "
                f"method='auto' choose, which does not take it with precision='float16'"
            )
