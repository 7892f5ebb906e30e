"""The distance of two arrays: ULP, relative, and what counts as equal."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xpnet.difference import difference, largest

FLOATS = ("float16", "float32", "float64")


def gap(a, b, dtype="float32", **options):
    a, b = np.array(a, dtype), np.array(b, dtype)
    return difference(a, b, options.pop("scale", largest(a)), **options)


@pytest.mark.parametrize("dtype", FLOATS)
def test_neighbours_are_one_ulp_apart(dtype):
    for x in (1.0, -1.0, 0.5, 3.14, 1e-4, -6e4):
        a = np.array([x, 7], dtype)
        for towards in (-np.inf, np.inf):
            b = np.nextafter(a, np.array(towards, dtype))
            b[1] = 7
            assert difference(a, b, largest(a)).ulp == difference(b, a, largest(b)).ulp == 1


@pytest.mark.parametrize("dtype", FLOATS)
def test_the_whole_range_can_be_measured(dtype):
    limits = np.finfo(dtype)
    found = gap([limits.min], [limits.max], dtype)
    numbers = 2 ** (8 * np.dtype(dtype).itemsize)
    assert 0.9 * numbers < found.ulp < numbers
    assert found.relative == (math.inf if dtype == "float64" else 2)  # their difference is no float64


@pytest.mark.parametrize("dtype", FLOATS)
def test_around_zero(dtype):
    tiny = float(np.finfo(dtype).smallest_subnormal)
    assert gap([0.0], [-0.0], dtype).ulp == 1
    assert gap([0.0], [-0.0], dtype).relative == 0
    assert gap([tiny], [0.0], dtype).ulp == 1
    assert gap([tiny], [-tiny], dtype).ulp == 3
    assert gap([0.0], [tiny], dtype).relative == math.inf


def test_relative_to_the_scale_less_the_slack():
    assert gap([1, -4], [1, -4.5], "float64").relative == 0.125
    assert gap([1, -4], [1.5, -4], "float64", scale=10).relative == 0.05
    assert gap([1, -4], [1, -4.5], "float64", slack=0.25).relative == 0.0625
    assert gap([1, -4], [1, -4.5], "float64", slack=0.5) == (0, gap([-4], [-4.5], "float64").ulp, "")


def test_what_equals():
    for dtype in (*FLOATS, "int64", "bool"):
        assert not gap([[1, 0], [1, 1]], [[1, 0], [1, 1]], dtype)
    assert not gap([], [])
    assert not gap(3.5, 3.5)
    assert not gap([np.inf, -np.inf], [np.inf, -np.inf])


def test_a_nan_equals_every_nan():
    a = np.array([np.nan, 1], np.float32)
    b = np.array([0xFFC00001, np.float32(1).view(np.uint32)], np.uint32).view(np.float32)
    assert a.tobytes() != b.tobytes()
    assert not difference(a, b, 1)
    b[1] = 1.5
    assert difference(a, b, 1).relative == 0.5


@pytest.mark.parametrize(
    ("a", "b", "text"),
    [
        ([1, np.nan, 2], [1, 1, 2], "is NaN on the first device only, in 1 of 3 places"),
        ([1, 1, 2], [np.nan, np.nan, 2], "is NaN on the second device only, in 2 of 3 places"),
        ([[1.0, 2]], [1.0, 2], "has shape (1, 2) on the first device, (2,) on the second"),
    ],
)
def test_what_no_number_measures(a, b, text):
    assert gap(a, b) == (math.inf, math.inf, text)


def test_dtypes_and_whole_numbers():
    one = np.ones(3)
    assert difference(one.astype("float32"), one, 1).text == "is float32 on the first device, float64 on the second"
    assert difference(np.array([1, 2, 3]), np.array([1, 5, 4]), 1) == (math.inf, math.inf, "differs in 2 of 3 places")
    assert difference(np.array([True, False]), np.array([True, True]), 1).text == "differs in 1 of 2 places"


def test_infinity_on_one_side():
    assert gap([1.0], [np.inf]).relative == math.inf
    assert gap([-np.inf], [np.inf]).relative == math.inf
    assert 0 < gap([1.0], [np.inf]).ulp < math.inf


def test_any_memory_layout():
    a = np.arange(12, dtype=np.float32).reshape(3, 4)
    b = a.copy()
    b[1, 2] = 6.5
    assert difference(a.T, b.T, 1) == difference(a[::-1, ::2], b[::-1, ::2], 1) == difference(np.asfortranarray(a), b, 1)
    assert difference(a.T, b.T, 1).relative == 0.5


def test_largest():
    assert largest(np.array([1, -3.0, np.inf, np.nan])) == 3
    assert largest(np.array([-3.0, 1])) == 3
    assert largest(np.array([np.nan])) == largest(np.empty(0)) == 0
