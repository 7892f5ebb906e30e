"""GELU in both of its forms, and the error function that NumPy lacks."""

from __future__ import annotations

import math
from typing import Literal

from xpnet.backends.device import Array
from xpnet.layers.base import Layer
from xpnet.step import Pass

TANH_SCALE, TANH_CUBE = math.sqrt(2 / math.pi), 0.044715


class GELU(Layer):
    """``y = x * Phi(x)``, Phi the standard normal distribution function. Hendrycks and Gimpel, 2016.

    x (N, ...) -> y of the same shape. ``approximate="none"`` takes Phi from the error function
    (accurate to 1e-15), ``"tanh"`` from ``(1 + tanh(sqrt(2/pi) (x + 0.044715 x**3))) / 2``;
    both as in PyTorch. Backward: ``Phi(x) + x Phi'(x)``.
    """

    blockwise = True

    def __init__(self, approximate: Literal["none", "tanh"] = "none"):
        if approximate not in ("none", "tanh"):
            raise ValueError(f"GELU(approximate={approximate!r}): choose 'none' or 'tanh'")
        self.approximate = approximate

    def forward(self, x: Array, step: Pass) -> tuple[Array, tuple[Array, ...]]:
        return (_tanh_forward if self.approximate == "tanh" else _exact_forward)(x, step)

    def backward(self, dy: Array, cache: tuple[Array, ...], step: Pass) -> Array:
        dx = (_tanh_slope if self.approximate == "tanh" else _exact_slope)(cache, step)
        dx *= dy
        return dx


SATURATED = 50  # beyond it both forms of Phi are 0 or 1 in every precision; its square overflows in none
CERTAIN = 9.9  # beyond it the tanh form is 1 in every precision; its odds overflow in none


def _exact_forward(x: Array, step: Pass) -> tuple[Array, tuple[Array, Array]]:
    phi = step.keep(x.shape)
    erf(step.xp.multiply(x, math.sqrt(0.5), out=step.scratch(x.shape)), phi, step)
    phi += 1
    phi *= 0.5
    return step.xp.multiply(x, phi, out=step.keep(x.shape)), (x, phi)


def _exact_slope(cache: tuple[Array, ...], step: Pass) -> Array:
    """Phi and x times its derivative, the standard normal density."""
    x, phi = cache
    xp, dx = step.xp, step.keep(x.shape)
    xp.minimum(xp.absolute(x, out=dx), SATURATED, out=dx)
    dx *= dx
    dx *= -0.5
    xp.exp(dx, out=dx)
    dx *= 1 / math.sqrt(2 * math.pi)
    dx *= x
    dx += phi
    return dx


def _tanh_forward(x: Array, step: Pass) -> tuple[Array, tuple[Array, Array, Array]]:
    """With u for tanh's argument Phi is ``exp(2u) / (1 + exp(2u))``, from which neither Phi nor 1 - Phi cancels."""
    xp = step.xp
    bounded, phi, total = (step.keep(x.shape) for _ in range(3))
    xp.minimum(xp.maximum(x, -SATURATED, out=bounded), CERTAIN, out=bounded)
    xp.multiply(bounded, bounded, out=phi)
    phi *= 2 * TANH_SCALE * TANH_CUBE
    phi += 2 * TANH_SCALE
    phi *= bounded
    xp.exp(phi, out=phi)
    xp.add(phi, 1, out=total)
    phi /= total
    return xp.multiply(x, phi, out=step.keep(x.shape)), (bounded, phi, total)


def _tanh_slope(cache: tuple[Array, ...], step: Pass) -> Array:
    """``Phi (1 + 2 x u' (1 - Phi))``, where ``1 - Phi = 1 / total``."""
    x, phi, total = cache
    slope = step.xp.multiply(x, x, out=step.keep(x.shape))
    slope *= 6 * TANH_SCALE * TANH_CUBE
    slope += 2 * TANH_SCALE
    slope *= x
    slope /= total
    slope += 1
    slope *= phi
    return slope


# Rational approximations of Cody, Mathematics of Computation 23 (1969), highest power first: of erf
# below 0.46875 (in x**2), of exp(x**2) erfc(x) up to 4 (in x), of the remainder beyond (in 1 / x**2).
SMALL = (
    (1.85777706184603153e-1, 3.16112374387056560e0, 1.13864154151050156e2, 3.77485237685302021e2, 3.20937758913846947e3),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
MIDDLE = (
    (
        2.15311535474403846e-8,
        5.64188496988670089e-1,
        8.88314979438837594e0,
        6.61191906371416295e1,
        2.98635138197400131e2,
        8.81952221241769090e2,
        1.71204761263407058e3,
        2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0,
        1.57449261107098347e1,
        1.17693950891312499e2,
        5.37181101862009858e2,
        1.62138957456669019e3,
        3.29079923573345963e3,
        4.36261909014324716e3,
        3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)


def erf(x: Array, out: Array, step: Pass) -> Array:
    """Error function of ``x``, elementwise into ``out``: error below 1e-15 in float64. Needs ``x`` intact until the end.

    Beyond |x| = 6 the result is +-1 in every precision, so two of Cody's three intervals suffice.
    """
    xp = step.xp
    a = xp.minimum(xp.absolute(x, out=step.scratch(x.shape)), 6, out=step.scratch(x.shape))
    ratio(MIDDLE, a, out, step)
    a *= a
    xp.negative(a, out=a)
    xp.exp(a, out=a)
    out *= a
    xp.subtract(1, out, out=out)
    xp.copysign(out, x, out=out)
    small = xp.less(xp.absolute(x, out=a), 0.46875, out=step.scratch(x.shape, "bool"))
    xp.minimum(a, 1, out=a)  # what lies beyond is not used, and must not overflow
    a *= a
    near = ratio(SMALL, a, step.scratch(x.shape), step)
    near *= x
    xp.copyto(out, near, where=small)
    return out


def ratio(coefficients: tuple, x: Array, out: Array, step: Pass) -> Array:
    """Quotient of two polynomials of ``x`` by Horner's rule, into ``out``."""
    below = step.scratch(x.shape)
    for part, target in zip(coefficients, (out, below), strict=True):
        target.fill(part[0])
        for c in part[1:]:
            target *= x
            target += c
    out /= below
    return out
