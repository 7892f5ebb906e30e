"""Numerical differentiation: the proof that a backward pass is the derivative of its forward pass."""

from __future__ import annotations

import copy
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.checks import check_shape
from xpnet.layers.affine import Identity
from xpnet.layers.base import Layer, Shape
from xpnet.losses import Loss
from xpnet.network import Sequential

STEPS = 1e-5, 1e-6  # of the central difference: errors of about STEP**2 * f''' + 1e-16 * |f| / STEP; the better one counts
KINK = 1e-3  # second difference over first difference from which on the function counts as not smooth there


SMALL = 1e-3


class GradientError(AssertionError):
    """A gradient that differs from the numerical one."""


@dataclass
class ArrayCheck:
    """One array's comparison: how many elements (or directions) were checked and skipped, and the worst difference."""

    name: str
    checked: int = 0
    skipped: int = 0
    error: float = 0.0
    worst: str = ""


@dataclass
class GradCheck:
    """Outcome of :func:`gradcheck`; true where all gradients agree. ``print`` it for the table."""

    tolerance: float
    arrays: list[ArrayCheck] = field(default_factory=list)

    @property
    def worst(self) -> ArrayCheck:
        return max(self.arrays, key=lambda a: a.error)

    @property
    def skipped(self) -> int:
        """Elements left out because the function has a kink there."""
        return sum(a.skipped for a in self.arrays)

    def __bool__(self) -> bool:
        return all(a.error <= self.tolerance and a.checked for a in self.arrays)

    def __str__(self) -> str:
        lines = [
            f"{a.name:12s} {a.checked:6d} checked  {a.skipped:4d} at a kink  largest relative error {a.error:.1e}{a.worst}"
            for a in self.arrays
        ]
        return "\n".join([*lines, f"{'all agree' if self else 'DIFFERENT'} (tolerance {self.tolerance:.0e})"])


def gradcheck(
    what: Layer | Loss,
    shape: int | Shape | None = None,
    *,
    loss: Loss | None = None,
    x: Any = None,
    y: Any = None,
    batch: int = 3,
    directions: int | None = None,
    tolerance: float = 1e-6,
    device: str | Device = "cpu",
    seed: int = 0,
    training: bool = True,
    raises: bool = True,
) -> GradCheck:
    """Compare every gradient of a layer, network or loss with central differences, in float64.

    ``shape`` is that of one sample (for a loss, of one row of outputs); ``x`` (N, *shape) replaces
    random rows, ``y`` the targets of a loss. A layer or network is checked through a random linear
    function of its outputs, or through ``loss``. Every element is moved on its own, or all at once along
    ``directions`` random directions per array, for large ones. Elements at a kink (ReLU at 0) are
    skipped and counted. The error is ``|a - n| / max(|a|, |n|, 1e-3 max(1, |f|))``, f the function's value.

    Raises :class:`GradientError` with the name of the array that differs, unless ``raises=False``.
    Source: Bishop, Pattern Recognition and Machine Learning, 5.3.3.
    """
    rng = np.random.default_rng(seed)
    target = resolve(device).device
    if isinstance(what, Loss):
        net, loss = Sequential(Identity()), what  # the input stands for the outputs
    else:
        net = what if isinstance(what, Sequential) else Sequential(what)
    if x is not None:
        rows = np.array(x, np.float64)  # a copy: its elements are moved one by one
    elif shape is not None:
        rows = rng.standard_normal((batch, *check_shape(shape)))
    else:
        raise ValueError("gradcheck needs the shape of one sample, for instance (5,), or the rows themselves, x=...")
    report = GradCheck(tolerance)
    with target.use():
        net = _built(net, rows.shape[1:], target, seed)
        problem = _Problem(net, loss, target.put(rows), y, rng, training)
        for name, value, gradient in problem.arrays():
            report.arrays.append(_compare(name, value, gradient, problem, directions, rng, tolerance))
    if raises and not report and report.worst.error <= tolerance:
        names = ", ".join(a.name for a in report.arrays if not a.checked)
        raise GradientError(f"nothing to compare in {names}: every element lies at a kink; pass other rows, x=...\n{report}")
    if raises and not report:
        raise GradientError(f"the gradient of {what!r} is not that of its forward pass:\n{report}")
    return report


class _Problem:
    """A number as a function of a network's input and parameters, and its gradients by backpropagation."""

    def __init__(self, net: Sequential, loss: Loss | None, x: Any, y: Any, rng: np.random.Generator, training: bool):
        self.net, self.loss, self.x, self.training = net, loss, x, training
        self.device = net.device
        outputs, _, _ = self._forward()
        if loss is None:
            self.y = self.device.put(rng.standard_normal(outputs.shape))
        elif y is None:
            self.y = self.device.put(_targets(loss, outputs.shape, rng))
        else:
            self.y = self.device.put(loss.prepare(np.asarray(y), np.dtype("float64"), outputs.shape[1:]))

    def value(self) -> float:
        outputs, _, step = self._forward()
        if self.loss is None:
            return float(self.device.get((outputs * self.y).sum()))
        return float(self.device.get(self.loss(outputs, self.y, step)[0]))

    def arrays(self) -> list[tuple[str, Any, np.ndarray]]:
        """(name, the array itself, its gradient) of the input and of every parameter."""
        outputs, cache, step = self._forward()
        dy = self.y.copy() if self.loss is None else self.loss(outputs, self.y, step)[1]
        dx = self.net.backward(dy, cache, step)
        found = [("input", self.x, self.device.get(dx))]
        return found + [(p.name, p.value, self.device.get(p.grad)) for p in self.net.parameters.trainable]

    def _forward(self) -> tuple[Any, Any, Any]:
        step = self.net.step(training=self.training, number=0, needs_dx=True)  # one number: the same masks every time
        step.updates_state = step.checks_gradients = False  # a forgotten gradient shows in the comparison
        return *self.net.forward(self.x, step), step


def _compare(
    name: str,
    value: Any,
    gradient: np.ndarray,
    problem: _Problem,
    directions: int | None,
    rng: np.random.Generator,
    tolerance: float,
) -> ArrayCheck:
    check = ArrayCheck(name)
    start = problem.device.get(value)
    least = SMALL * max(1.0, abs(problem.value()))  # what is smaller drowns in the rounding of the function's values
    for where, direction in _directions(start, directions, rng):
        analytical = float((gradient * direction).sum())
        for step in STEPS:
            numerical = _slope(problem, value, start, direction, step)
            if numerical is None:
                break
            error = abs(analytical - numerical) / max(least, abs(analytical), abs(numerical))
            if error <= tolerance:
                break
        if numerical is None:
            check.skipped += 1
            continue
        check.checked += 1
        if not error <= check.error:  # NaN, a gradient that was never assigned, counts as the worst
            check.error = error if error == error else float("inf")
            check.worst = f" at {where}: {analytical:.9g}, numerically {numerical:.9g}"
    if check.error <= tolerance:
        check.worst = ""
    return check


def _directions(like: np.ndarray, count: int | None, rng: np.random.Generator) -> Any:
    """One unit vector per element, or ``count`` random unit directions."""
    if count is not None:
        for k in range(count):
            d = rng.standard_normal(like.shape)
            yield f"direction {k}", d / np.linalg.norm(d)
        return
    for place in np.ndindex(like.shape):
        d = np.zeros(like.shape)
        d[place] = 1
        yield str([int(i) for i in place]), d


def _slope(problem: _Problem, value: Any, start: np.ndarray, direction: np.ndarray, step: float) -> float | None:
    """Central difference along a direction; None where the two one-sided differences part, at a kink."""

    def at(h: float) -> float:
        value[...] = problem.device.put(start + h * direction)
        return problem.value()

    up, down, middle = at(step), at(-step), at(0.0)
    first, second = (up - down) / (2 * step), (up - 2 * middle + down) / step
    noise = 1e-15 * max(abs(up), abs(down), 1.0) / step
    if abs(second) > KINK * max(abs(first), 1.0) + 10 * noise:
        return None
    return first


def _built(net: Sequential, shape: Shape, device: Device, seed: int) -> Sequential:
    """A float64 copy on the device, so that the caller's network is left alone."""
    fresh = copy.deepcopy(net)
    values = net.parameters.snapshot() if net.built else None
    fresh.build(shape, device=device, dtype="float64", seed=seed)
    if values is not None:
        fresh.parameters.restore(values)
    return fresh


def _targets(loss: Loss, shape: Shape, rng: np.random.Generator) -> np.ndarray:
    """Random targets of a kind that the loss takes: labels where it wants them, numbers in [0, 1) otherwise."""
    try:
        return loss.prepare(rng.integers(0, shape[-1], shape[:-1]), np.dtype("float64"), shape[1:])
    except (ValueError, TypeError):
        return rng.random(shape)
