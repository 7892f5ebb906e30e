"""Bodies run once on symbols: what is written down, and what is refused."""

import copy
import math
import pickle

import numpy as np
import pytest

from xpnet.pointwise import NotPointwise, Tape


def traced(body, *, arrays=1, numbers=0, dtype="float32"):
    """The kernel of ``body(xp, *numbers, out, *arrays)``, and which of them it takes."""
    tape = Tape(dtype)
    out, given = tape.array(writable=True), [tape.array() for _ in range(arrays)]
    body(tape.xp, *[tape.number() for _ in range(numbers)], out, *given)
    return tape.kernel("test", [(0, out)])


def operators(xp, out, a, b):
    out[...] = 2 * a - b / (1 + abs(a))
    out += a**2 + b**0.5
    out *= (a > b) * -a
    out -= xp.where((a < 0) & ~(b >= 1), a, b) ** 3


def functions(xp, out, a, b):
    tmp = xp.empty_like(a)
    xp.multiply(a, b, out=tmp)
    xp.multiply(tmp, 2, tmp)
    xp.maximum(tmp, 0, out=tmp)
    np.tanh(tmp, out=tmp)
    xp.copyto(tmp, a, where=xp.greater(b, 0.5))
    xp.add(xp.clip(tmp, -1, 1), xp.ones_like(a) * xp.pi, out=out)
    out /= xp.sign(a) + xp.sqrt(xp.square(b)) + 1


def masks(xp, out, a, b):
    mask = xp.greater(a, b)
    xp.multiply(mask, 0.25, out=out, dtype=a.dtype)
    xp.logical_or(mask, xp.isnan(a), out=mask)
    out += mask * b
    out[:] = out.copy()


@pytest.mark.parametrize("body", [operators, functions, masks])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_steps_give_the_bits_of_the_body(body, dtype, rng):
    a, b = rng.standard_normal((2, 50)).astype(dtype)
    b = np.abs(b)
    expected, found = np.zeros((2, 50), dtype)
    body(np, expected, a, b)
    traced(body, arrays=2, dtype=dtype).kernel.evaluate([found, a, b])
    np.testing.assert_array_equal(found, expected)


def test_numbers_stay_numbers(rng):
    def body(xp, rate, unused, out, a):
        out -= (1 - rate * 0.5) * a

    kernel, arrays, numbers = traced(body, numbers=2)
    assert (arrays, numbers, kernel.numbers) == ([0, 1], [0], 1)
    a, out = rng.standard_normal((2, 9)).astype("f")
    for rate in (0.3, np.array(0.3, "f")):
        expected, found = out.copy(), out.copy()
        body(np, rate, 0, expected, a)
        kernel.evaluate([found, a], [rate])
        np.testing.assert_array_equal(found, expected)


def test_what_is_not_needed_is_left_out():
    def body(xp, out, a, b):
        xp.exp(a)
        out[...] = b

    kernel, arrays, _ = traced(body, arrays=2)
    assert (arrays, kernel.steps) == ([0, 2], ())


def test_outputs_may_change_places(rng):
    tape = Tape("float64")
    a, b = tape.array(), tape.array()
    kernel = tape.kernel("swap", [(0, b), (1, a)]).kernel
    x, y = rng.standard_normal((2, 4))
    before = x.copy(), y.copy()
    kernel.evaluate([x, y])
    np.testing.assert_array_equal([x, y], before[::-1])


def test_equal_kernels_are_one():
    def body(xp, out, a):
        out += 0.5 * a

    kernel = traced(body).kernel
    assert traced(body).kernel is kernel
    assert traced(body, dtype="float64").kernel is not kernel
    assert copy.deepcopy(kernel) is kernel
    assert pickle.loads(pickle.dumps(kernel)) is kernel


def test_zero_has_a_sign():
    found = [traced(lambda xp, out, a, zero=zero: out.fill(zero)).kernel for zero in (0.0, -0.0)]
    assert found[0] is not found[1]


REFUSED = {
    "a sum": (lambda xp, out, a: xp.sum(a), "xp.sum is not computed element by element"),
    "a method": (lambda xp, out, a: a.mean(), "array.mean"),
    "a reduction by NumPy": (lambda xp, out, a: np.max(a), "xp.max"),
    "ufunc.reduce": (lambda xp, out, a: np.add.reduce(a), "numpy.add.reduce"),
    "a value": (lambda xp, out, a: float(a), "float of a value"),
    "math": (lambda xp, out, a: math.sqrt(a), "float of a value"),
    "a decision": (lambda xp, out, a: a if a > 0 else out, "bool of a value"),
    "a length": (lambda xp, out, a: len(a), "len of a value"),
    "a loop": (lambda xp, out, a: list(a), "iter of a value"),
    "a print": (lambda xp, out, a: f"{a}", "format of a value"),
    "a part": (lambda xp, out, a: a[1:], "parts of arrays"),
    "a choice": (lambda xp, out, a: a[a > 0], "parts of arrays"),
    "an input": (lambda xp, out, a: a.fill(0), "only read"),
    "an input in place": (lambda xp, out, a: xp.add(a, 1, out=a), "only read"),
    "an array": (lambda xp, out, a: a + np.ones(3), "ndarray"),
    "an infinite constant": (lambda xp, out, a: a + math.inf, "float among the operands"),
    "fresh memory": (lambda xp, out, a: a + xp.empty_like(a), "before anything was written"),
    "another type": (lambda xp, out, a: xp.add(a, a, dtype="float64"), "float64"),
    "a mask as numbers": (lambda xp, out, a: xp.add(a > 0, 1), "true and false alone"),
    "numbers as a mask": (lambda xp, out, a: xp.logical_not(a), "xp.logical_not of numbers"),
    "numbers into a mask": (lambda xp, out, a: xp.empty_like(a, bool).fill(2.0), "true and false"),
    "another tape's": (lambda xp, out, a: a + Tape("float32").array(), "memory is read"),
    "an unknown function": (lambda xp, out, a: xp.spline(a), "xp.spline"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_refused(what):
    body, message = REFUSED[what]
    with pytest.raises(NotPointwise, match=message):
        traced(body)


def test_a_number_is_not_changed():
    def body(xp, rate, out, a):
        rate *= 2

    with pytest.raises(NotPointwise, match="only read"):
        traced(body, numbers=1)
