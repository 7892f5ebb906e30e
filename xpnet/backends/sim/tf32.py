"""Products in TF32 as a GPU's tensor cores compute them: of operands with 10 bits of mantissa, added up in float32."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.backends.sim.place import current

DROPPED = 23 - 10  # bits of a float32's mantissa


def rounded(a: np.ndarray) -> np.ndarray:
    """The nearest numbers with 10 bits of mantissa, of two as near the even one; what is not finite stays as it is."""
    bits = a.view(np.uint32)
    odd = bits >> DROPPED & 1
    nearest = (bits + (odd + (1 << DROPPED - 1) - 1) >> DROPPED << DROPPED).view(np.float32)
    return np.where(np.isfinite(a), nearest, a)


def in_tf32(product: Callable) -> Callable:
    """NumPy's product of two arrays, of rounded ones where it is to be in TF32 and CuPy's would be.

    Those are float32 with up to two axes each, but for two vectors.
    """

    @functools.wraps(product)
    def call(*args: Any, **options: Any) -> Any:
        if current.tf32 and [getattr(a, "dtype", None) for a in args[:2]] == [np.float32] * 2:
            axes = [a.ndim for a in args[:2]]
            if max(axes) == 2 and min(axes) > 0:
                args = (*map(rounded, args[:2]), *args[2:])
        return product(*args, **options)

    return call
