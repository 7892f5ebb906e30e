# mypy: ignore-errors
# (Numba's types are not NumPy's)
"""Exponential and its kin as plain arithmetic, which LLVM can take several elements of at a time (a call of libm it cannot).

Polynomials after fdlibm and Cephes; errors are a few units in the last place. ``float32`` and ``float64`` hold the functions.
"""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import numba
import numpy as np

LN2_HIGH = {"float32": 0.693145751953125, "float64": 6.93147180369123816490e-01}
LN2_LOW = {"float32": 1.428606765330187e-06, "float64": 1.90821492927058770002e-10}
LOG_SERIES = {
    "float32": (0.66666662693, 0.40000972152, 0.28498786688, 0.24279078841),
    "float64": (
        6.666666666666735130e-01,
        3.999999999940941908e-01,
        2.857142874366239149e-01,
        2.222219843214978396e-01,
        1.818357216161805012e-01,
        1.531383769920937332e-01,
        1.479819860511658591e-01,
    ),
}


def _compiled(f: Any) -> Any:
    return numba.njit(error_model="numpy", fastmath={"contract"}, forceinline=True)(f)


def _horner(coefficients: tuple[float, ...], real: Any) -> Any:
    """The polynomial with these coefficients, lowest power first, as straight code."""
    names = [f"c{i}" for i in range(len(coefficients))]
    text = names[-1]
    for name in reversed(names[:-1]):
        text = f"({text} * x + {name})"
    scope: dict[str, Any] = {name: real(c) for name, c in zip(names, coefficients, strict=True)}
    scope["__name__"] = __name__  # by which Numba finds it again from its cache
    exec(f"def polynomial(x):\n    return {text}", scope)
    return _compiled(scope["polynomial"])


def functions(dtype: str) -> SimpleNamespace:
    """All functions in one precision."""
    real, whole = (np.float32, np.int32) if dtype == "float32" else (np.float64, np.int64)
    digits, bias = (23, 127) if dtype == "float32" else (52, 1023)
    # Adding it leaves the nearest whole number in the lowest bits.
    magic = real(1.5 * 2.0**digits)
    magic_bits = magic.view(whole)
    shift, bias, one_whole = whole(digits), whole(bias), whole(1)
    per_ln2, high, low = real(1 / math.log(2)), real(LN2_HIGH[dtype]), real(LN2_LOW[dtype])
    zero, half, one, two = map(real, (0, 0.5, 1, 2))
    infinite, nan = real(np.inf), real(np.nan)
    top, bottom = (real(89), real(-104)) if dtype == "float32" else (real(710), real(-746))
    flat = real(-30) if dtype == "float32" else real(-50)
    little = real(np.finfo(real).eps / 4)
    level = real(10) if dtype == "float32" else real(22)
    smallest = np.finfo(real).tiny
    enlarged, enlarging = real(2.0 ** (digits + 2)), real(digits + 2)
    root_half = real(math.sqrt(0.5)).view(whole)
    terms = 8 if dtype == "float32" else 14
    series = _horner(tuple(1 / math.factorial(n) for n in range(1, terms)), real)
    log_series = _horner(LOG_SERIES[dtype], real)

    @_compiled
    def reduced(x):  # type: ignore[no-untyped-def]
        """``k`` and ``exp(r) - 1`` for ``x = k ln 2 + r``, |r| at most half of ln 2."""
        t = x * per_ln2 + magic
        k = t - magic
        r = (x - k * high) - k * low
        return whole(real(t).view(whole) - magic_bits), r * series(r)

    @_compiled
    def power_of_two(k):  # type: ignore[no-untyped-def]
        return whole((k + bias) << shift).view(real)

    @_compiled
    def exp(x):  # type: ignore[no-untyped-def]
        x = top if x > top else x
        x = bottom if x < bottom else x
        k, p = reduced(x)
        below = whole(k >> one_whole)
        return (one + p) * power_of_two(below) * power_of_two(whole(k - below))

    @_compiled
    def expm1(x):  # type: ignore[no-untyped-def]
        y = top if x > top else x
        y = flat if y < flat else y
        k, p = reduced(y)
        scale = power_of_two(whole(k - one_whole))
        y = (scale * p + (scale - half)) * two
        return x if abs(x) < little else y

    @_compiled
    def tanh(x):  # type: ignore[no-untyped-def]
        a = abs(x)
        a = level if a > level else a
        t = expm1(two * a)
        return math.copysign(t / (t + two), x)

    @_compiled
    def log(x):  # type: ignore[no-untyped-def]
        small = x < smallest
        bits = real(x * enlarged if small else x).view(whole)
        k = whole(whole(bits - root_half) >> shift)
        f = whole(bits - whole(k << shift)).view(real) - one
        e = real(k) - (enlarging if small else zero)
        s = f / (two + f)
        z = s * s
        square = half * f * f
        y = s * (square + z * log_series(z)) + e * low - square + f + e * high
        y = y if x < infinite else x  # infinite or NaN
        y = y if x != zero else -infinite
        return nan if x < zero else y

    @_compiled
    def log1p(x):  # type: ignore[no-untyped-def]
        u = one + x
        lost = (x - (u - one)) / u
        return log(u) + (lost if (u > zero) & (u < infinite) else zero)

    return SimpleNamespace(
        exp=exp,
        expm1=expm1,
        tanh=tanh,
        log=log,
        log1p=log1p,
        sqrt=math.sqrt,
        sin=math.sin,
        cos=math.cos,
        copysign=math.copysign,
    )


float32, float64 = functions("float32"), functions("float64")
