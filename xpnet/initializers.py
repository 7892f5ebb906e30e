"""Initial values of parameters: functions of a host generator and a shape, drawn in float64 on every device.

Weights have shape (..., n_in, n_out): the fan-in is the product of all axes but the last, the
fan-out that of all axes but the one before the last.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import numpy as np

Initializer = Callable[[np.random.Generator, tuple[int, ...]], np.ndarray]


def zeros(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All zeros."""
    return np.zeros(shape)


def ones(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """All ones."""
    return np.ones(shape)


def constant(value: float) -> Initializer:
    """Every element ``value``, a number or an array of the parameter's shape."""
    return partial(_constant, value=value)


def normal(std: float = 1.0, mean: float = 0.0) -> Initializer:
    """Gaussian with the given standard deviation; ``normal()`` is the book's N(0, 1) (Nielsen, chapter 1)."""
    return partial(_normal, std=std, mean=mean)


def uniform(low: float = -1.0, high: float = 1.0) -> Initializer:
    """Uniform in [low, high)."""
    return partial(_uniform, low=low, high=high)


def he_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """N(0, 2 / fan_in), for ReLU nets. He et al., ICCV 2015."""
    return _normal(rng, shape, std=math.sqrt(2 / fans(shape)[0]))


def he_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / fan_in). He et al., ICCV 2015."""
    return _symmetric(rng, shape, 6 / fans(shape)[0])


def glorot_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """N(0, 2 / (fan_in + fan_out)), for tanh and sigmoid nets. Glorot and Bengio, AISTATS 2010."""
    return _normal(rng, shape, std=math.sqrt(2 / sum(fans(shape))))


def glorot_uniform(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Uniform in +-sqrt(6 / (fan_in + fan_out)). Glorot and Bengio, AISTATS 2010."""
    return _symmetric(rng, shape, 6 / sum(fans(shape)))


def lecun_normal(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """N(0, 1 / fan_in): the book's improved start (Nielsen, chapter 3). LeCun et al., 1998."""
    return _normal(rng, shape, std=math.sqrt(1 / fans(shape)[0]))


def fans(shape: tuple[int, ...]) -> tuple[int, int]:
    """(fan_in, fan_out) of a weight array; at least 1 each, so that an empty or 1-D parameter divides by no zero."""
    field = math.prod(shape[:-2])
    n_in, n_out = (shape[-2], shape[-1]) if len(shape) > 1 else (math.prod(shape), math.prod(shape))
    return max(field * n_in, 1), max(field * n_out, 1)


def _constant(rng: np.random.Generator, shape: tuple[int, ...], value: float) -> np.ndarray:
    return np.full(shape, value, np.float64)


def _normal(rng: np.random.Generator, shape: tuple[int, ...], std: float, mean: float = 0.0) -> np.ndarray:
    return rng.standard_normal(shape) * std + mean


def _uniform(rng: np.random.Generator, shape: tuple[int, ...], low: float, high: float) -> np.ndarray:
    return rng.uniform(low, high, shape)


def _symmetric(rng: np.random.Generator, shape: tuple[int, ...], variance_times_3: float) -> np.ndarray:
    bound = math.sqrt(variance_times_3)
    return rng.uniform(-bound, bound, shape)
