"""How numbers are written: exact enough, aligned, large arrays by their corners and extremes."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import xpnet as xn
from xpnet.explain.numbers import extremes, number, plain, texts, view


def rows(a, digits=4):
    return [[None if c is None else c.text for c in row or []] for row in view(np.asarray(a), digits).blocks[0].rows]


@pytest.mark.parametrize(
    ("values", "written"),
    [
        ([-8.25], ["-8.25"]),
        ([7.5625], ["7.5625"]),
        ([0.1 * 3 + 0.4], ["0.7"]),  # 0.7000000000000001
        ([np.float32(0.1) * 7], ["0.7"]),
        ([0.69999], ["0.7000"]),  # nearly
        ([3.0], ["3"]),
        ([0.1, -8.25], ["0.10", "-8.25"]),
        ([1 / 3, 0.0, 2.0], ["0.3333", "0", "2.0000"]),
        ([0.012345678], ["0.01235"]),
        ([0.5, 0.00001234, -2e-12], ["0.5", "1.234e-05", "-2e-12"]),
        ([1.5e-9, 0.0], ["1.5e-09", "0"]),
        ([123456.75], ["123456.75"]),
        ([1.25e7, 1.0], ["1.25e+07", "1e+00"]),
        ([-0.0], ["0"]),
        ([math.nan, math.inf, -math.inf, 0.5], ["nan", "inf", "-inf", "0.5"]),
        ([math.nan], ["nan"]),
        ([3, 12], ["3", "12"]),
        ([np.True_, np.False_], ["True", "False"]),
        ([], []),
    ],
)
def test_numbers(values, written):
    assert texts(values) == written


def test_digits():
    assert [number(2 / 3, n) for n in (1, 2, 9)] == ["0.7", "0.67", "0.666666667"]
    assert number(0.1, 17) == "0.1"
    assert number(2e-5 / 3, 2) == "6.7e-06"
    for wrong in (0, -1, 18, 2.5, True):
        with pytest.raises(ValueError, match="digits"):
            xn.explain("worked").text(wrong)


@pytest.mark.parametrize("scale", [1e-12, 1e-4, 0.003, 1.0, 70.0, 1e5, 1e9])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_number_shown_is_the_arrays_to_the_digits_asked_for(scale, dtype, rng):
    a = (scale * rng.standard_normal((8, 10))).astype(dtype)
    a[1, 2] = 0
    for digits in (2, 4, 7):
        shown = np.array([[float(t) for t in row] for row in rows(a, digits)])
        np.testing.assert_allclose(shown, a, rtol=0, atol=0.51 * np.abs(a).max() * 10.0 ** -(digits - 1))
        if scale >= 1e-4:
            np.testing.assert_allclose(shown, a, rtol=10.0 ** -(digits - 1), atol=0.51 * 10.0**-digits)
        assert ((shown == 0) == (a == 0)).all()


def test_points_stand_below_each_other():
    assert rows([[-8.25, 0.0], [0.5, 100.125]]) == [[" -8.250", "  0    "], ["  0.500", "100.125"]]


@pytest.mark.parametrize(
    ("shape", "whole", "lines", "columns"),
    [
        ((), True, 1, 1),
        ((10,), True, 1, 10),
        ((11,), False, 1, 7),
        ((8, 10), True, 8, 10),
        ((9, 10), False, 7, 10),
        ((784, 30), False, 7, 7),
        ((1, 1), True, 1, 1),
        ((2, 3, 4), True, 3, 4),
        ((2, 28, 28, 3), False, 7, 3),
        ((5, 4, 4, 3), False, 4, 3),
    ],
)
def test_how_much_is_shown(shape, whole, lines, columns):
    found = view(np.arange(math.prod(shape), dtype=np.float64).reshape(shape))
    assert (found.shape, found.whole) == (shape, whole)
    assert all(len(block.rows) == lines for block in found.blocks)
    assert {len(row) for block in found.blocks for row in block.rows if row is not None} == {columns}
    assert bool(found.extremes) is not whole
    assert len(found.blocks) + found.left_out == (math.prod(shape[:-2]) if len(shape) > 2 else 1)


def test_corners_are_those_of_the_array():
    a = np.arange(20.0 * 30).reshape(20, 30)
    shown = rows(a)
    assert shown[3] == []
    kept = [0, 1, 2, 17, 18, 19], [0, 1, 2, 27, 28, 29]
    assert [[float(t) for t in row if t is not None] for row in shown if row] == a[np.ix_(*kept)].tolist()
    assert all(row[3] is None for row in shown if row)


def test_matrices_of_an_array_of_any_rank():
    a = np.arange(24.0).reshape(2, 2, 2, 3)
    found = view(a)
    assert [block.place for block in found.blocks] == ["[0, 0, :, :]", "[0, 1, :, :]", "[1, 0, :, :]", "[1, 1, :, :]"]
    assert [[float(c.text) for c in row] for row in found.blocks[2].rows] == a[1, 0].tolist()
    large = view(np.zeros((5, 28, 28, 3)))
    assert ([block.place for block in large.blocks], large.left_out) == (["[0, 0, :, :]"], 5 * 28 - 1)


def test_extremes():
    assert extremes(np.array([[0, 0, 0.5, -2.0]])) == "smallest -2, largest 0.5, mean -0.375, 50% zeros"
    assert extremes(np.linspace(1, 2, 11)) == "smallest 1, largest 2, mean 1.5"
    assert extremes(np.zeros(30)) == "all 0"
    assert extremes(np.array([1.0, math.nan, 3.0, math.inf])) == "smallest 1, largest 3, mean 2, 2 not finite"
    assert extremes(np.full(3, math.nan)) == "3 not finite"
    assert extremes(np.r_[1.0, np.zeros(999)]) == "smallest 0, largest 1, mean 0.001, nearly 100% zeros"
    assert extremes(np.r_[math.nan, np.zeros(999)]) == "smallest 0, largest 0, mean 0, nearly 100% zeros, 1 not finite"
    assert extremes(np.linspace(1e308, 1.5e308, 11)) == "smallest 1e+308, largest 1.5e+308"  # the mean's sum overflows
    assert extremes(np.array([True, False])) == "smallest False, largest True, mean 0.5, 50% zeros"


def test_shades_follow_the_largest_of_the_whole_array():
    a = np.zeros((20, 3))
    a[0] = 1.0, -2.0, 0.0
    a[10, 0] = 4.0  # in a row that is not shown
    assert [c.shade for c in view(a).blocks[0].rows[0]] == [0.25, -0.5, 0.0]
    assert [c.shade for c in view(np.array([math.nan, math.inf, 1.0])).blocks[0].rows[0]] == [0, 0, 1]


def test_an_empty_array():
    found = view(np.zeros((0, 3)))
    assert (found.blocks, found.whole, found.left_out, found.extremes) == ([], True, 0, "")


def test_json():
    found = json.loads(json.dumps(xn.explain("worked").as_dict(), allow_nan=False))
    assert [event["stage"] for event in found["events"]] == ["forward", "loss", "backward", "update"]
    assert [p["gradient"]["values"] for p in found["events"][3]["changed"]] == [
        [[-8.25]],
        [-2.75],
        [[pytest.approx(-3.85)]],
        [-5.5],
    ]
    assert found["layers"][0]["parameters"] == [{"name": "0.W", "shape": [1, 1]}, {"name": "0.b", "shape": [1]}]
    assert found["rows"] == [0]
    large = json.loads(json.dumps(xn.explain("book").as_dict(), allow_nan=False))["events"][3]["changed"][0]["before"]
    assert (large["shape"], large["dtype"], "values" in large) == ([784, 30], "float32", False)
    assert large["smallest"] < 0 < large["largest"]
    assert plain(np.array([1.0, math.nan]))["values"] == [1.0, None]


def test_json_of_a_schedule_that_gives_numpys_numbers():
    rule = xn.SGD(type("Mine", (xn.Schedule,), {"__call__": lambda self, step: np.float32(0.5)})())
    trainer = xn.Trainer(xn.Sequential(xn.Affine(1)), loss=xn.MeanSquaredError(), optimizer=rule, device="cpu")
    found = xn.explain((trainer, np.ones((2, 1)), np.ones(2))).as_dict()
    assert json.loads(json.dumps(found))["events"][-1]["rate"] == 0.5
