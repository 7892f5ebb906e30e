"""Orders of elements: what is worked out on axes is what NumPy does to arrays."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xpnet.onnx.read.order import Order


def divided(size, rng):
    """A shape of so many elements."""
    shape = []
    while size > 1:
        factor = int(rng.choice([n for n in range(1, size + 1) if size % n == 0]))
        shape.append(factor)
        size //= factor
    return tuple(shape) or (1,)


@pytest.mark.parametrize("seed", range(200))
def test_transposes_and_reshapes_at_random(seed):
    rng = np.random.default_rng(seed)
    size = int(rng.choice([1, 2, 6, 12, 24, 36, 60]))
    a, order = np.arange(size), Order.same(size)
    for _ in range(rng.integers(1, 5)):
        shape = divided(size, rng)
        axes = tuple(int(i) for i in rng.permutation(len(shape)))
        a = a.reshape(shape).transpose(axes)
        try:
            order = order.transposed(shape, axes)
        except ValueError:
            return  # two cuts of one axis that are no cut of each other
        assert (order.features() == a.reshape(-1)).all()
        assert order.is_same == (a.reshape(-1) == np.arange(size)).all()


def test_there_and_back():
    shape = (4, 5, 3)
    first = Order.first(shape)
    assert first == Order((20, 3), (1, 0))
    assert first.transposed((3, 4, 5), (1, 2, 0)) == Order.same(60)
    assert (first.features() == np.arange(60).reshape(shape).transpose(2, 0, 1).reshape(-1)).all()


@pytest.mark.parametrize("shape", [(4, 5, 1), (1, 1, 7), (7,), (1,), ()])
def test_one_channel_or_one_pixel_is_no_other_order(shape):
    assert Order.same(math.prod(shape)) == (Order.first(shape) if shape else Order.same(1))


def test_cuts_that_do_not_meet_are_refused():
    with pytest.raises(ValueError, match="cannot be traced back"):
        Order.first((3, 3, 2)).transposed((3, 6), (1, 0))
