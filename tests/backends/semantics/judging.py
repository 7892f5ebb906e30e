"""The arrays that the rows use, and what may be expected of a call."""

import copy
import dataclasses
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

HOST = np.arange(12, dtype=np.float32).reshape(3, 4)
ROWS = np.array([2, 0, 1])
COLUMN = ROWS[:, None]

INPUTS = {
    "a": HOST,
    "b": np.array([1, 2, 3, 4], np.float32),
    "positive": HOST + 1,
    "square": np.array([[2, 1], [1, 3]], np.float32),
    "cube": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "half": np.array([1, 2, 3], np.float16),
    "double": np.array([1, 2, 3], np.float64),
    "complex": np.array([1 + 2j, 3], np.complex64),
    "rows": ROWS,
    "twice": np.array([1, 1, 2]),
    "beyond": np.array([0, 3, -4]),
    "int8": np.array([1, 2, 3], np.int8),
    "int16": np.array([1, 2, 3], np.int16),
    "int32": np.array([1, 2, 3], np.int32),
    "uint8": np.array([1, 2, 255], np.uint8),
    "mask": HOST > 5,
    "bools": np.array([True, False, True]),
    "none": np.empty((0, 4), np.float32),
    "denormal": np.array([1e-40, 1], np.float32),
    "scalar": np.array(2.5, np.float32),
}


@dataclasses.dataclass
class Raises:
    error: type[BaseException] | tuple[type[BaseException], ...]
    text: str = ""

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        with pytest.raises(self.error, match=self.text or None):
            call(g)


@dataclasses.dataclass
class Gives:
    """An array of the device with these values; its shape and dtype are theirs."""

    values: Any
    dtype: str = "float32"

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        expected = np.asarray(self.values, self.dtype)
        got = call(g)
        assert isinstance(got, g.xp.ndarray)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        if hasattr(g, "to_host"):
            np.testing.assert_allclose(g.to_host(got), expected, rtol=1e-3 if expected.dtype == "f2" else 1e-6)


@dataclasses.dataclass
class LikeNumPy:
    """What the same call gives with NumPy on the host, but as an array of the device."""

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        expected = np.asarray(call(types.SimpleNamespace(xp=np, **copy.deepcopy(INPUTS))))
        Gives(expected, expected.dtype.name).judge(call, g)


@dataclasses.dataclass
class HasDtype:
    dtype: str

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        got = call(g)
        assert isinstance(got, g.xp.ndarray)
        assert got.dtype == self.dtype


@dataclasses.dataclass
class Says:
    """A value of Python."""

    value: Any

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        got = call(g)
        assert not isinstance(got, g.xp.ndarray)
        assert got == self.value


@dataclasses.dataclass
class OnHost:
    """NumPy's result on the host: a real GPU did not take part."""

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        assert isinstance(call(g), np.ndarray | np.generic | list)


IMPLICIT = Raises(TypeError, "Implicit conversion to a NumPy array is not allowed")
UNSUPPORTED = Raises(TypeError, "Unsupported type <class 'numpy.ndarray'>")
NOT_AN_ARRAY = Raises(TypeError, "Unsupported type|incorrect type|must be a cupy.ndarray|should be a CuPy array")
REFUSED = Raises(TypeError, "Unsupported type")  # the simulator's refusal of what CuPy accepts
LIKE_NUMPY = LikeNumPy()


def after(change: Callable, array: str = "a") -> Callable:
    """A call that changes one of the arrays and gives it."""

    def call(g: types.SimpleNamespace) -> Any:
        change(g)
        return getattr(g, array)

    return call
