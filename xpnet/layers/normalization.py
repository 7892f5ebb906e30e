"""Layers that bring numbers to mean 0 and variance 1: over the batch, or within each sample."""

from __future__ import annotations

import functools
import math
from typing import Any, NamedTuple

from xpnet.backends.device import Array
from xpnet.checks import check_count, check_number
from xpnet.flow import Flow
from xpnet.initializers import ones, zeros
from xpnet.layers.base import Layer, Meeting, Shape
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

    owns_output = owns_dx = mixes_samples = True

    def __init__(self, *, epsilon: float = 1e-5, momentum: float = 0.1, affine: bool = True):
        self.epsilon = check_number("BatchNorm(epsilon", epsilon, above=0)
        self.momentum, self.affine = check_number("BatchNorm(momentum", momentum), affine

    def build(self, shape: Shape, make: Maker) -> Shape:
        check_channels(self, shape)
        self.values = math.prod(shape[:-1])  # that a sample has of each channel
        self.gamma, self.beta = scale_and_shift(make, shape[-1:], self.affine)
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
            self._moments(x, step)
            found = yield self._batch_statistics
        else:
            found = step.once((self, "running"), self._running_statistics)
        y = step.keep(x.shape)
        pixels = y.reshape(-1, len(found.scale))
        step.xp.multiply(x.reshape(pixels.shape), found.scale, out=pixels)
        step.xp.add(pixels, found.shift, out=pixels)
        return y, (x, found, by_batch)

    def backward_in_blocks(self, dy: Array, cache: Any, step: Pass) -> Flow:
        x, found, by_batch = cache
        xp, dx = step.xp, step.over(dy)
        out = dx.reshape(-1, len(found.scale))
        gradients, pixels = dy.reshape(out.shape), x.reshape(out.shape)
        if by_batch:
            part = step.part((2, x.shape[-1]))
            step.sum_rows(step.rows(dy), out=part[0])
            step.sum_rows(self._products(pixels, gradients, found, step), out=part[1])
            slope, offset = yield functools.partial(self._gradients, found=found)
            along = xp.multiply(pixels, slope, out=step.scratch(out.shape))
            xp.multiply(gradients, found.scale, out=out)
            xp.add(out, along, out=out)
            xp.add(out, offset, out=out)
        else:
            self._add_gradients(pixels, gradients, found, step)
            xp.multiply(gradients, found.scale, out=out)
        return dx

    def _moments(self, x: Array, step: Pass) -> None:
        """This block's means and variances: two passes, so that large means cost no digits."""
        part = step.part((2, x.shape[-1]))
        mean, variance = part[0], part[1]
        step.mean_rows(step.rows(x), out=mean)
        means = step.broad(mean, self.values)
        pixels = x.reshape(-1, len(means))
        centred = step.scratch(pixels.shape)
        step.xp.subtract(pixels, means, out=centred)
        step.xp.multiply(centred, centred, out=centred)
        step.mean_rows(centred.reshape(-1, len(mean)), out=variance)

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
        if step.updates_state:
            n = step.batch * self.values
            self._follow(self.mean.value, mean, 1.0, step)
            self._follow(self.variance.value, variance, n / (n - 1), step)
        return self._statistics(mean, variance, step)

    def _follow(self, running: Array, seen: Array, factor: float, step: Pass) -> None:
        """``running += momentum (factor * seen - running)``."""
        change = step.scratch(seen.shape)
        step.xp.multiply(seen, factor, out=change)
        step.xp.subtract(change, running, out=change)
        step.xp.multiply(change, self.momentum, out=change)
        step.xp.add(running, change, out=running)

    def _running_statistics(self, step: Pass) -> Statistics:
        return self._statistics(self.mean.value, self.variance.value, step)

    def _statistics(self, mean: Array, variance: Array, step: Pass) -> Statistics:
        xp = step.xp
        inverse, shift = step.keep(mean.shape), step.keep(mean.shape)
        xp.add(variance, self.epsilon, out=inverse)
        xp.sqrt(inverse, out=inverse)
        xp.divide(1, inverse, out=inverse)
        scale = inverse if self.gamma is None else xp.multiply(self.gamma.value, inverse, out=step.keep(mean.shape))
        xp.multiply(mean, scale, out=shift)
        xp.subtract(0 if self.beta is None else self.beta.value, shift, out=shift)
        return Statistics(inverse, *(step.broad(vector, self.values, keep=True) for vector in (mean, scale, shift)))

    def _products(self, pixels: Array, gradients: Array, found: Statistics, step: Pass) -> Array:
        """Scratch rows of ``dy (x - mean)``."""
        products = step.scratch(pixels.shape)
        step.xp.subtract(pixels, found.mean, out=products)
        step.xp.multiply(products, gradients, out=products)
        return products.reshape(-1, len(found.inverse))

    def _gradients(self, parts: Array, shares: Array, step: Pass, found: Statistics) -> tuple[Array, Array]:
        """Assigns those of gamma and beta; slope and offset in ``dx = scale * dy + slope * x + offset``."""
        xp, n, inverse = step.xp, step.batch * self.values, found.inverse
        c = len(inverse)
        sums = parts[0] if len(parts) == 1 else xp.sum(parts, axis=0, out=step.scratch(parts.shape[1:]))
        slope, offset = step.keep(inverse.shape), step.keep(inverse.shape)
        xp.multiply(sums[1], inverse, out=slope)
        if self.gamma is not None and self.beta is not None:
            xp.copyto(self.gamma.grad, slope)
            xp.copyto(self.beta.grad, sums[0])
        xp.multiply(slope, inverse, out=slope)
        xp.multiply(slope, -1 / n, out=slope)
        xp.multiply(sums[0], -1 / n, out=offset)
        products = xp.multiply(slope, found.mean[:c], out=step.scratch(inverse.shape))
        xp.subtract(offset, products, out=offset)
        for vector in (slope, offset):
            xp.multiply(vector, found.scale[:c], out=vector)
        return step.broad(slope, self.values, keep=True), step.broad(offset, self.values, keep=True)

    def _add_gradients(self, pixels: Array, gradients: Array, found: Statistics, step: Pass) -> None:
        """Those of gamma and beta where mean and variance are constants."""
        if self.gamma is None or self.beta is None:
            return
        c = len(found.inverse)
        with step.total(self.beta) as total:
            total.add_rows(gradients.reshape(-1, c), step)
        products = self._products(pixels, gradients, found, step)
        sums = step.sum_rows(products, out=step.scratch((c,)))
        with step.total(self.gamma) as total:
            total.add(lambda out: step.xp.multiply(sums, found.inverse, out=out), step)


class SampleNorm(Layer):
    """What normalisations within each sample have in common; they differ in what a mean is taken over."""

    blockwise = owns_dx = True
    epsilon: float
    gamma: Parameter | None
    beta: Parameter | None

    def view(self, x: Array) -> Array:
        """``x`` so that gamma and beta, flat, stand along its last axis."""
        raise NotImplementedError

    def means(self, a: Array, step: Pass) -> Array:
        """Scratch means of a view, of a shape that broadcasts to it."""
        raise NotImplementedError

    def forward(self, x: Array, step: Pass) -> tuple[Array, tuple[Array, Array]]:
        xp, x_view = step.xp, self.view(x)
        normal = step.keep(x_view.shape)
        xp.subtract(x_view, self.means(x_view, step), out=normal)
        squares = xp.multiply(normal, normal, out=step.scratch(normal.shape))
        variance = self.means(squares, step)
        inverse = xp.add(variance, self.epsilon, out=step.keep(variance.shape))
        xp.sqrt(inverse, out=inverse)
        xp.divide(1, inverse, out=inverse)
        xp.multiply(normal, inverse, out=normal)
        if self.gamma is None or self.beta is None:
            return normal.reshape(x.shape), (normal, inverse)
        y = xp.multiply(normal, self.gamma.value.reshape(-1), out=step.keep(normal.shape))
        xp.add(y, self.beta.value.reshape(-1), out=y)
        return y.reshape(x.shape), (normal, inverse)

    def backward(self, dy: Array, cache: tuple[Array, Array], step: Pass) -> Array:
        """``dx = (d - mean(d) - normal mean(d normal)) / sqrt(variance + epsilon)``, d the gradient by the normalised x."""
        xp, (normal, inverse) = step.xp, cache
        dx, products = step.keep(normal.shape), step.scratch(normal.shape)
        self._scale_backward(dy.reshape(normal.shape), normal, dx, step)
        xp.multiply(dx, normal, out=products)
        xp.multiply(normal, self.means(products, step), out=products)
        xp.subtract(dx, self.means(dx, step), out=dx)
        xp.subtract(dx, products, out=dx)
        xp.multiply(dx, inverse, out=dx)
        return dx.reshape(dy.shape)

    def _scale_backward(self, dy: Array, normal: Array, dx: Array, step: Pass) -> None:
        """``dx`` = the gradient before gamma and beta, theirs assigned."""
        if self.gamma is None or self.beta is None:
            step.xp.copyto(dx, dy)
            return

        def sums(gradients: Array, out: Array) -> None:
            step.sum_rows(step.rows(gradients), out.reshape(-1))

        products = step.xp.multiply(dy, normal, out=step.scratch(dy.shape))
        for parameter, gradients in ((self.gamma, products), (self.beta, dy)):
            with step.total(parameter) as total:
                total.add(functools.partial(sums, gradients), step)
        step.xp.multiply(dy, self.gamma.value.reshape(-1), out=dx)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return 8 * math.prod(shape)


class LayerNorm(SampleNorm):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` over the last ``axes`` axes. Ba, Kiros and Hinton, 2016.

    x (N, ..., *normalised) -> y of the same shape; gamma and beta have the normalised shape: (D,) where ``axes`` is 1.
    """

    def __init__(self, axes: int = 1, *, epsilon: float = 1e-5, affine: bool = True):
        self.axes, self.affine = check_count("LayerNorm(axes", axes), affine
        self.epsilon = check_number("LayerNorm(epsilon", epsilon, above=0)

    def build(self, shape: Shape, make: Maker) -> Shape:
        if len(shape) < self.axes:
            raise ValueError(f"{self!r}: samples of shape {shape} have fewer axes than it normalises over")
        normalised = shape[len(shape) - self.axes :]
        self.size = math.prod(normalised)
        self.gamma, self.beta = scale_and_shift(make, normalised, self.affine)
        return shape

    def view(self, x: Array) -> Array:
        return x.reshape(math.prod(x.shape) // self.size, self.size)

    def means(self, a: Array, step: Pass) -> Array:
        found = step.scratch((len(a), 1))
        step.xp.matmul(a, step.arena.ones(self.size), out=found[:, 0])
        return step.xp.multiply(found, 1 / self.size, out=found)


class GroupNorm(SampleNorm):
    """``y = gamma (x - mean) / sqrt(variance + epsilon) + beta`` per sample, over ``groups`` of neighbouring channels and
    all pixels. Wu and He, ECCV 2018. (As many groups as channels: instance normalisation.)

    x (N, ..., C) -> y of the same shape; gamma, beta (C,).
    """

    def __init__(self, groups: int, *, epsilon: float = 1e-5, affine: bool = True):
        self.groups, self.affine = check_count("GroupNorm(groups", groups), affine
        self.epsilon = check_number("GroupNorm(epsilon", epsilon, above=0)

    def build(self, shape: Shape, make: Maker) -> Shape:
        check_channels(self, shape)
        if shape[-1] % self.groups:
            raise ValueError(f"{self!r}: {shape[-1]} channels cannot be cut into {self.groups} groups")
        self.gamma, self.beta = scale_and_shift(make, shape[-1:], self.affine)
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
        return sums.reshape(n, 1, channels)


def scale_and_shift(make: Maker, shape: Shape, affine: bool) -> tuple[Parameter | None, Parameter | None]:
    """gamma and beta of a normalisation; weight decay passes them over."""
    if not affine:
        return None, None
    return make.parameter("gamma", shape, ones, decay=False), make.parameter("beta", shape, zeros, decay=False)


def check_channels(layer: Layer, shape: Shape) -> None:
    if not shape:
        raise ValueError(f"{layer!r} needs inputs of shape (N, ..., channels), the samples here are single numbers")
