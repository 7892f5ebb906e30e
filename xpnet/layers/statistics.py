"""What normalisations compute: each function in NumPy here, and a launch on a GPU (:mod:`xpnet.backends.rows`).

Vectors with a number for each column may be broad (:meth:`xpnet.step.Pass.broad`).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from xpnet.backends.device import Array
from xpnet.backends.rows import fused, norms
from xpnet.step import Pass

Pair = tuple[Array | None, Array | None]


@fused(norms.moments)
def moments(step: Pass, x: Array, mean: Array, variance: Array, pixels: int) -> None:
    """Those of the columns of ``x``, where samples have so many rows: two passes, so that large means cost no digits."""
    step.mean_rows(x, out=mean)
    means = step.broad(mean, pixels)
    centred = step.scratch((math.prod(x.shape) // len(means), len(means)))
    step.xp.subtract(x.reshape(centred.shape), means, out=centred)
    step.xp.multiply(centred, centred, out=centred)
    step.mean_rows(centred.reshape(-1, len(mean)), out=variance)


@fused(norms.statistics)
def statistics(
    step: Pass,
    mean: Array,
    variance: Array,
    affine: Pair,
    running: Pair,
    inverse: Array,
    scale: Array,
    shift: Array,
    epsilon: float,
    momentum: float,
    correction: float,
) -> None:
    """Of gamma and beta (``affine``): ``scale = gamma / sqrt(variance + epsilon)``, ``shift = beta - scale * mean``.

    And the running ones follow: ``running += momentum (seen - running)``, seen the mean, and ``correction * variance``.
    """
    xp, change = step.xp, step.scratch(mean.shape)
    for follower, seen, factor in zip(running, (mean, variance), (1.0, correction), strict=True):
        if follower is not None:
            xp.multiply(seen, factor, out=change)
            xp.subtract(change, follower, out=change)
            xp.multiply(change, momentum, out=change)
            xp.add(follower, change, out=follower)
    gamma, beta = affine
    xp.add(variance, epsilon, out=inverse)
    xp.sqrt(inverse, out=inverse)
    xp.divide(1, inverse, out=inverse)
    if gamma is not None:
        xp.multiply(gamma, inverse, out=scale)
    xp.multiply(mean, scale, out=shift)
    xp.subtract(0 if beta is None else beta, shift, out=shift)


@fused(norms.scale_and_shift)
def scale_and_shift(step: Pass, x: Array, scale: Array, shift: Array, y: Array) -> None:
    """``y = scale * x + shift``, per column."""
    pixels = y.reshape(-1, len(scale))
    step.xp.multiply(x.reshape(pixels.shape), scale, out=pixels)
    step.xp.add(pixels, shift, out=pixels)


@fused(norms.column_sums)
def column_sums(step: Pass, dy: Array, x: Array, mean: Array | None, sums: Array, products: Array) -> None:
    """Column sums of ``dy`` and of ``dy (x - mean)``; the mean is broad, or None where it is 0."""
    step.sum_rows(dy, out=sums)
    shape = x.shape if mean is None else (math.prod(x.shape) // len(mean), len(mean))
    terms, x = step.scratch(shape), x.reshape(shape)
    if mean is not None:
        x = step.xp.subtract(x, mean, out=terms)
    step.xp.multiply(x, dy.reshape(shape), out=terms)
    step.sum_rows(terms.reshape(-1, len(products)), out=products)


@fused(norms.statistics_gradients)
def statistics_gradients(
    step: Pass,
    sums: tuple[Array, Array],
    inverse: Array,
    mean: Array,
    scale: Array,
    affine: Pair,
    slope: Array,
    offset: Array,
    n: int,
) -> None:
    """Assigns those of gamma and beta (``affine``); slope and offset in ``dx = scale * dy + slope * x + offset``."""
    xp, (dgamma, dbeta) = step.xp, affine
    xp.multiply(sums[1], inverse, out=slope)
    if dgamma is not None:
        xp.copyto(dgamma, slope)
        xp.copyto(dbeta, sums[0])
    xp.multiply(slope, inverse, out=slope)
    xp.multiply(slope, -1 / n, out=slope)
    xp.multiply(sums[0], -1 / n, out=offset)
    products = xp.multiply(slope, mean, out=step.scratch(inverse.shape))
    xp.subtract(offset, products, out=offset)
    for vector in (slope, offset):
        xp.multiply(vector, scale, out=vector)


@fused(norms.input_gradient)
def input_gradient(step: Pass, dy: Array, x: Array, scale: Array, slope: Array, offset: Array, dx: Array) -> None:
    """``dx = scale * dy + slope * x + offset``, per column."""
    xp, out = step.xp, dx.reshape(-1, len(scale))
    along = xp.multiply(x.reshape(out.shape), slope, out=step.scratch(out.shape))
    xp.multiply(dy.reshape(out.shape), scale, out=out)
    xp.add(out, along, out=out)
    xp.add(out, offset, out=out)


@fused(norms.normalise_samples)
def normalise_samples(
    step: Pass,
    x: Array,
    affine: Pair,
    normal: Array,
    inverse: Array,
    y: Array,
    means: Callable[[Array, Pass], Array],
    groups: int,
    epsilon: float,
) -> None:
    """``inverse = 1 / sqrt(variance + epsilon)``, ``normal = (x - mean) inverse``, ``y = gamma normal + beta``."""
    xp, (gamma, beta) = step.xp, affine
    xp.subtract(x, means(x, step), out=normal)
    squares = xp.multiply(normal, normal, out=step.scratch(normal.shape))
    xp.add(means(squares, step), epsilon, out=inverse)
    xp.sqrt(inverse, out=inverse)
    xp.divide(1, inverse, out=inverse)
    xp.multiply(normal, inverse, out=normal)
    if gamma is not None:
        xp.multiply(normal, gamma, out=y)
        xp.add(y, beta, out=y)


@fused(norms.samples_gradient)
def samples_gradient(
    step: Pass,
    dy: Array,
    normal: Array,
    inverse: Array,
    gamma: Array | None,
    dx: Array,
    means: Callable[[Array, Pass], Array],
    groups: int,
) -> None:
    """``dx = (d - mean(d) - normal mean(d normal)) / sqrt(variance + epsilon)``, with ``d = gamma dy``."""
    xp, products = step.xp, step.scratch(dx.shape)
    if gamma is None:
        xp.copyto(dx, dy)
    else:
        xp.multiply(dy, gamma, out=dx)
    xp.multiply(dx, normal, out=products)
    xp.multiply(normal, means(products, step), out=products)
    xp.subtract(dx, means(dx, step), out=dx)
    xp.subtract(dx, products, out=dx)
    xp.multiply(dx, inverse, out=dx)
