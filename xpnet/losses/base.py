"""Losses: the value and its gradient by the network's outputs, for the whole minibatch.

``value, dy = loss(y, targets, step, weights=None)``. Values are sums over rows divided by the
weight of the whole batch: ``step.count`` where the caller set it (per-sample form, micro-batches,
evaluation in parts), else :meth:`Loss.total` of the rows in hand. ``value`` is a fresh 0-d array of the device.
"""

from __future__ import annotations

from typing import Any

from xpnet.backends.device import Array, Device, DTypeLike
from xpnet.checks import check_finite, foreign
from xpnet.layers.base import Recordable
from xpnet.step import Pass

NUMBER = (int, float)


class Loss(Recordable):
    """Base of losses; one of your own overrides :meth:`compute`.

    Where its targets are not like its outputs, it also overrides :meth:`prepare`, which checks and
    converts the host targets that ``fit`` is given, and :meth:`check_targets`, for calls by hand.
    """

    #: Final activations that must not stand before this loss, since it contains them.
    contains: tuple[str, ...] = ()
    #: Metrics reported where the user names none.
    metrics: tuple[str, ...] = ("rmse", "r2")

    def __call__(self, y: Array, targets: Array, step: Pass, weights: Array | None = None) -> tuple[Array, Array]:
        """Value (0-d) and gradient (the shape of ``y``) for outputs ``y`` (N, ...), targets, and weights (N,) of the rows."""
        self.check(y, targets, weights, step)
        return self.evaluate(y, targets, step, weights)

    def evaluate(self, y: Array, targets: Array, step: Pass, weights: Array | None = None) -> tuple[Array, Array]:
        """As a call of the loss, of arguments that have been checked."""
        with step.device.use():
            step.arena.scratch.taken = 0
            count = self.total(targets, step, weights) if step.count is None else step.count
            if not isinstance(count, NUMBER):
                count = one_where_zero(count, step)
            return self.compute(y, targets, step, weights, count)

    def compute(self, y: Array, targets: Array, step: Pass, weights: Array | None, count: Any) -> tuple[Array, Array]:
        raise NotImplementedError(f"{type(self).__name__} has no compute(y, targets, step, weights, count)")

    def total(self, targets: Array, step: Pass, weights: Array | None = None) -> Array | int:
        """Weight of these rows: their number, or the sum of their weights as a 0-d array of the device."""
        return len(targets) if weights is None else step.xp.sum(weights, out=step.keep(()))

    def row_weights(self, targets: Array, weights: Array | None) -> Array | None:
        """What each row (of host targets) counts for in metrics: ``weights``, and 0 where the loss passes it over."""
        return weights

    def prepare(self, targets: Array, dtype: DTypeLike, outputs: tuple[int, ...]) -> Array:
        """Host targets as this loss takes them, for per-sample output shape ``outputs``; refuses what does not fit."""
        if targets.dtype.kind not in "fiub":
            raise TypeError(f"{type(self).__name__}: targets of type {targets.dtype} are not numbers")
        targets = targets.astype(dtype, copy=False)
        if targets.ndim == len(outputs) and outputs[-1:] == (1,):
            targets = targets[..., None]  # (N,) for a network of one output
        if targets.shape[1:] != outputs:
            labels = targets.ndim == 1 and len(outputs) == 1
            hint = f"; labels become rows by xn.datasets.one_hot(labels, {outputs[0]})" if labels else ""
            raise ValueError(
                f"{type(self).__name__}: targets have shape {targets.shape}, the network's outputs "
                f"({', '.join(['N', *map(str, outputs)])}); they must agree{hint}"
            )
        check_finite(targets, "targets")
        return targets

    def check(self, y: Array, targets: Array, weights: Array | None, step: Pass) -> None:
        """Refuse arguments that do not fit together, before anything is computed; no synchronisation."""
        name = type(self).__name__
        if not step.begun:
            raise RuntimeError(f"{name}: this step has seen no forward pass yet: pass the step that net.forward was given")
        if self.contains and step.network.output_activation in self.contains:
            raise ValueError(double_activation(name, step.network.output_activation))
        if len(y) == 0:
            raise ValueError(f"{name}: zero samples; a mean over none is undefined")
        self._check_rows(y, targets, "targets", step)
        if weights is not None:
            self._check_rows(y, weights, "weights", step)
            if weights.ndim != 1:
                raise ValueError(f"{name}: weights have shape {weights.shape}; one for each row is needed, {y.shape[:1]}")
            if weights.dtype != y.dtype:
                raise TypeError(
                    f"{name}: outputs are {y.dtype}, weights {weights.dtype}: device.put(weights, dtype={y.dtype.name!r})"
                )
        self.check_targets(y, targets, step)

    def check_values(self, targets: Array, outputs: tuple[int, ...], device: Device) -> None:
        """Refuse targets of the right type and shape by their values, where that costs no synchronisation."""

    def _check_rows(self, y: Array, a: Array, what: str, step: Pass) -> None:
        if not step.device.owns(a):
            raise foreign(f"{type(self).__name__}: {what}", a, step.device)
        if len(a) != len(y):
            raise ValueError(f"{type(self).__name__}: {len(y)} outputs but {len(a)} {what}")

    def check_targets(self, y: Array, targets: Array, step: Pass) -> None:
        if targets.shape != y.shape:
            raise ValueError(
                f"{type(self).__name__}: outputs have shape {y.shape}, targets {targets.shape}; "
                f"reshape the targets, since broadcasting would compare every pair"
            )
        if targets.dtype != y.dtype:
            raise TypeError(
                f"{type(self).__name__}: outputs are {y.dtype}, targets {targets.dtype}: "
                f"device.put(targets, dtype={y.dtype.name!r})"
            )


def per_row(weights: Array, like: Array) -> Array:
    """Weights (N,) as (N, 1, ...), to multiply an array (N, ...)."""
    return weights.reshape(weights.shape + (1,) * (like.ndim - 1))


def one_where_zero(count: Array, step: Pass) -> Array:
    """The count, 1 where it is 0: rows that weigh nothing have loss 0 and no gradient, not NaN. Nothing is read back."""
    zero = step.xp.equal(count, 0, out=step.keep((), "bool"))
    return step.xp.add(count, zero, out=step.keep(()))


def scale(a: Array, factor: float, count: Array | float) -> Array:
    """``a *= factor / count`` in place; ``count`` is a number or a 0-d array of the device."""
    if isinstance(count, NUMBER):
        a *= factor / count
        return a
    a *= factor
    a /= count
    return a


def double_activation(loss: str, activation: str) -> str:
    """The text for an activation that the loss contains already."""
    return (
        f"the network ends in {activation}, and {loss} contains it already: applied twice, it flattens the gradient "
        f"and training stalls; remove the {activation} layer and let the network end in its logits"
    )
