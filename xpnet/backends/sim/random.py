"""``xp.random``: CuPy's Generator by its names, with a stream that is not NumPy's for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.backends.sim.calls import function
from xpnet.backends.sim.surface import SURFACE


class Generator:
    def __init__(self, seed: Any = None):
        self._numbers = np.random.Generator(np.random.SFC64(seed))

    def __getattr__(self, name: str) -> Callable:
        spec = SURFACE["Generator"].get(name)
        if spec is None:
            raise AttributeError(f"'cupy.random.Generator' object has no attribute {name!r} (CuPy {SURFACE['cupy']})")
        method = function("Generator." + name, getattr(self._numbers, name), spec.removeprefix("self, "))
        setattr(self, name, method)  # found at once from now on
        return method


class Legacy:
    """The functions of the old interface (``randn``, ``seed``, ...): one shared state, and ``dtype=``, which NumPy has not."""

    _numbers = np.random.RandomState()

    def __getattr__(self, name: str) -> Callable:
        draw, parameters = getattr(self._numbers, name), SURFACE["random"].get(name, "").split(", ")
        last = parameters.index("dtype=") if "dtype=" in parameters else None

        def drawn(*args: Any, dtype: Any = None, **options: Any) -> Any:
            if last is not None and len(args) > last:
                args, dtype = args[:last], args[last]
            values = draw(*args, **options)
            return values if dtype is None else np.asarray(values, dtype)

        return drawn


def default_rng(seed: Any = None) -> Generator:
    return seed if isinstance(seed, Generator) else Generator(seed)
