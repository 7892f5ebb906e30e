"""Layers that bring numbers to mean 0 and variance 1: over the batch, or within each sample."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

from xpnet.backends.device import Array
from xpnet.checks import check_count, check_flag, check_number
from xpnet.flow import Flow
from xpnet.initializers import ones, zeros
from xpnet.layers.base import Layer, Meeting, Shape
from xpnet.layers.statistics import (
    Pair,
    column_sums,
    input_gradient,
    moments,
    normalise_samples,
    samples_gradient,
    scale_and_shift,
    statistics,
    statistics_gradients,
)
from xpnet.parameters import Maker, Parameter
from xpnet.step import Pass


class Statistics(NamedTuple):
    """1 / sqrt(variance + epsilon) (C,), and broad: the mean, and scale and shift in ``y = scale * x + shift``."""

    inverse: Array
    mean: Array
    scale: Array
    shift: Array


class BatchNorm(Meeting):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta``, per channel. Ioffe and Szegedy, ICML 2015.

    x (N, ..., C) -> y of the same shape; gamma, beta (C,). In training mean and variance are the batch's, over all axes but
    the last, and the running ones follow: ``running += momentum (batch's - running)``, the variance with its n / (n - 1);
    else the running ones count. With one value a channel (one row of vectors) there is no variance: refused in training.
    """

    owns_output = owns_dx = mixes_samples = wide = True

    def __init__(self, *, epsilon: float = 1e-5, momentum: float = 0.1, affine: bool = True):
        self.epsilon = check_number("BatchNorm(epsilon", epsilon, above=0)
        self.momentum, self.affine = check_number("BatchNorm(momentum", momentum), check_flag("BatchNorm(affine", affine)

    def build(self, shape: Shape, make: Maker) -> Shape:
        check_channels(self, shape)
        self.values = math.prod(shape[:-1])  # that a sample has of each channel
        self.gamma, self.beta = gamma_and_beta(make, shape[-1:], self.affine)
        self.mean = make.state("mean", shape[-1:], zeros)
        self.variance = make.state("variance", shape[-1:], ones)
        return shape

    def check_batch(self, n: int) -> None:
        if n * self.values == 1:
            raise ValueError(
                "BatchNorm: a training batch of one row has one value per channel, and so no variance: choose a batch_size "
                "that leaves no single row over, or LayerNorm, which needs no batch"
            )

    def forward_in_blocks(self, x: Array, step: Pass) -> Flow:
        by_batch = step.training and step.batch > 0
        if by_batch:
            self.check_batch(step.batch)
            part = step.part((2, x.shape[-1]))
            moments(step, step.rows(x), part[0], part[1], self.values)
            found = yield self._batch_statistics
        else:
            found = step.once((self, "running"), self._running_statistics)
        y = step.keep(x.shape)
        scale_and_shift(step, x, found.scale, found.shift, y)
        return y, (x, found, by_batch)

    def backward_in_blocks(self, dy: Array, cache: Any, step: Pass) -> Flow:
        x, found, by_batch = cache
        dx = step.over(dy)
        if by_batch:
            part = step.part((2, x.shape[-1]))
            column_sums(step, step.rows(dy), step.rows(x), found.mean, part[0], part[1])
            slope, offset = yield functools.partial(self._gradients, found=found)
            input_gradient(step, dy, x, found.scale, slope, offset, dx)
        else:
            self._add_gradients(x, dy, found, step)
            out = dx.reshape(-1, len(found.scale))
            step.xp.multiply(dy.reshape(out.shape), found.scale, out=out)
        return dx

    def _batch_statistics(self, parts: Array, shares: Array, step: Pass) -> Statistics:
        """Of the blocks' moments those of the batch (Chan, Golub and LeVeque, 1983)."""
        xp = step.xp
        mean, variance = parts[0, 0], parts[0, 1]
        if len(parts) > 1:
            mean, variance, within = step.keep(mean.shape), step.keep(mean.shape), step.scratch(parts[:, 0].shape)
            xp.matmul(shares, parts[:, 0], out=mean)
            xp.subtract(parts[:, 0], mean, out=within)
            xp.multiply(within, within, out=within)
            xp.add(within, parts[:, 1], out=within)
            xp.matmul(shares, within, out=variance)
        n, running = step.batch * self.values, (None, None)
        if step.updates_state:
            running = self.mean.value, self.variance.value
        return self._statistics(mean, variance, running, n / max(n - 1, 1), step)

    def _running_statistics(self, step: Pass) -> Statistics:
        return self._statistics(self.mean.value, self.variance.value, (None, None), 1.0, step)

    def _statistics(self, mean: Array, variance: Array, running: Pair, correction: float, step: Pass) -> Statistics:
        inverse, shift = step.keep(mean.shape), step.keep(mean.shape)
        scale = inverse if self.gamma is None else step.keep(mean.shape)
        affine, momentum = values(self.gamma, self.beta), self.momentum
        statistics(step, mean, variance, affine, running, inverse, scale, shift, self.epsilon, momentum, correction)
        return Statistics(inverse, *(step.broad(vector, self.values, keep=True) for vector in (mean, scale, shift)))

    def _gradients(self, parts: Array, shares: Array, step: Pass, found: Statistics) -> tuple[Array, Array]:
        """Assigns those of gamma and beta; slope and offset in ``dx = scale * dy + slope * x + offset``."""
        xp, inverse, c = step.xp, found.inverse, len(found.inverse)
        sums = parts[0] if len(parts) == 1 else xp.sum(parts, axis=0, out=step.scratch(parts.shape[1:]))
        slope, offset = step.keep(inverse.shape), step.keep(inverse.shape)
        affine, n = gradients(self.gamma, self.beta), step.batch * self.values
        both = sums[0], sums[1]
        statistics_gradients(step, both, inverse, found.mean[:c], found.scale[:c], affine, slope, offset, n)
        return step.broad(slope, self.values, keep=True), step.broad(offset, self.values, keep=True)

    def _add_gradients(self, x: Array, dy: Array, found: Statistics, step: Pass) -> None:
        """Those of gamma and beta where mean and variance are constants."""

        def sums(of_gamma: Array, of_beta: Array) -> None:
            column_sums(step, step.rows(dy), step.rows(x), found.mean, of_beta, of_gamma)
            step.xp.multiply(of_gamma, found.inverse, out=of_gamma)

        add_both(self.gamma, self.beta, sums, step)


class SampleNorm(Layer):
    """What normalisations within each sample have in common; they differ in what a mean is taken over."""

    blockwise = owns_dx = wide = True
    groups = 1
    epsilon: float
    gamma: Parameter | None
    beta: Parameter | None

    def view(self, x: Array) -> Array:
        """``x`` so that gamma and beta, flat, stand along its last axis."""
        raise NotImplementedError

    def means(self, a: Array, step: Pass) -> Array:
        """Scratch means of a view, of a shape that broadcasts to it."""
        raise NotImplementedError

    def means_shape(self, a: Array) -> Shape:
        """The shape of :meth:`means`."""
        raise NotImplementedError

    def forward(self, x: Array, step: Pass) -> tuple[Array, tuple[Array, Array]]:
        x_view = self.view(x)
        normal, inverse = step.keep(x_view.shape), step.keep(self.means_shape(x_view))
        y = normal if self.gamma is None else step.keep(normal.shape)
        affine = values(self.gamma, self.beta)
        normalise_samples(step, x_view, affine, normal, inverse, y, self.means, self.groups, self.epsilon)
        return y.reshape(x.shape), (normal, inverse)

    def backward(self, dy: Array, cache: tuple[Array, Array], step: Pass) -> Array:
        normal, inverse = cache
        dx, d = step.keep(normal.shape), dy.reshape(normal.shape)

        def sums(of_gamma: Array, of_beta: Array) -> None:
            column_sums(step, step.rows(d), step.rows(normal), None, of_beta.reshape(-1), of_gamma.reshape(-1))

        add_both(self.gamma, self.beta, sums, step)
        samples_gradient(step, d, normal, inverse, values(self.gamma, self.beta)[0], dx, self.means, self.groups)
        return dx.reshape(dy.shape)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return 8 * math.prod(shape)


class LayerNorm(SampleNorm):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` over the last ``axes`` axes. Ba, Kiros and Hinton, 2016.

    x (N, ..., *normalised) -> y of the same shape; gamma and beta have the normalised shape: (D,) where ``axes`` is 1.
    """

    def __init__(self, axes: int = 1, *, epsilon: float = 1e-5, affine: bool = True):
        self.axes, self.affine = check_count("LayerNorm(axes", axes), check_flag("LayerNorm(affine", affine)
        self.epsilon = check_number("LayerNorm(epsilon", epsilon, above=0)

    def build(self, shape: Shape, make: Maker) -> Shape:
        if len(shape) < self.axes:
            raise ValueError(f"{self!r}: samples of shape {shape} have fewer axes than it normalises over")
        normalised = shape[len(shape) - self.axes :]
        self.size = math.prod(normalised)
        self.gamma, self.beta = gamma_and_beta(make, normalised, self.affine)
        return shape

    def view(self, x: Array) -> Array:
        return x.reshape(math.prod(x.shape) // self.size, self.size)

    def means(self, a: Array, step: Pass) -> Array:
        found = step.scratch(self.means_shape(a))
        step.xp.matmul(a, step.arena.ones(self.size), out=found[:, 0])
        return step.xp.multiply(found, 1 / self.size, out=found)

    def means_shape(self, a: Array) -> Shape:
        return len(a), 1


class GroupNorm(SampleNorm):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` per sample, over ``groups`` of neighbouring channels and
    all pixels. Wu and He, ECCV 2018. (As many groups as channels: instance normalisation.)

    x (N, ..., C) -> y of the same shape; gamma, beta (C,).
    """

    def __init__(self, groups: int, *, epsilon: float = 1e-5, affine: bool = True):
        self.groups, self.affine = check_count("GroupNorm(groups", groups), check_flag("GroupNorm(affine", affine)
        self.epsilon = check_number("GroupNorm(epsilon", epsilon, above=0)

    def build(self, shape: Shape, make: Maker) -> Shape:
        check_channels(self, shape)
        if shape[-1] % self.groups:
            raise ValueError(f"{self!r}: {shape[-1]} channels cannot be cut into {self.groups} groups")
        self.gamma, self.beta = gamma_and_beta(make, shape[-1:], self.affine)
        return shape

    def view(self, x: Array) -> Array:
        return x.reshape(len(x), math.prod(x.shape[1:-1]), x.shape[-1])

    def means(self, a: Array, step: Pass) -> Array:
        n, pixels, channels = a.shape
        sums = step.xp.matmul(step.arena.ones(pixels), a, out=step.scratch((n, channels)))
        by_group = sums.reshape(n, self.groups, channels // self.groups)
        means = step.xp.sum(by_group, axis=2, keepdims=True, out=step.scratch((n, self.groups, 1)))
        step.xp.multiply(means, self.groups / (pixels * channels), out=means)
        step.xp.copyto(by_group, means)
        return sums.reshape(self.means_shape(a))

    def means_shape(self, a: Array) -> Shape:
        return len(a), 1, a.shape[-1]


def gamma_and_beta(make: Maker, shape: Shape, affine: bool) -> tuple[Parameter | None, Parameter | None]:
    """gamma and beta of a normalisation; weight decay passes them over."""
    if not affine:
        return None, None
    return make.parameter("gamma", shape, ones, decay=False), make.parameter("beta", shape, zeros, decay=False)


def values(*parameters: Parameter | None) -> Pair:
    """Of gamma and beta, flat; None for those that there are not."""
    gamma, beta = (None if p is None else p.value.reshape(-1) for p in parameters)
    return gamma, beta


def gradients(*parameters: Parameter | None) -> Pair:
    gamma, beta = (None if p is None else p.grad.reshape(-1) for p in parameters)
    return gamma, beta


def add_both(gamma: Parameter | None, beta: Parameter | None, compute: Callable[[Array, Array], object], step: Pass) -> None:
    """Add to two gradients what ``compute`` writes to both at once."""
    if gamma is None or beta is None:
        return
    with step.total(gamma) as of_gamma, step.total(beta) as of_beta:
        of_gamma.add(lambda a: of_beta.add(lambda b: compute(a, b), step), step)


def check_channels(layer: Layer, shape: Shape) -> None:
    if not shape:
        raise ValueError(f"{layer!r} needs inputs of shape (N, ..., channels), the samples here are single numbers")
