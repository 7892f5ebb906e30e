"""Initial values: their statistics, what decides them, networks that begin with them."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from core_helpers import bits

import xpnet as xn
from xpnet import initializers

N = 400  # rows and columns of the arrays whose statistics are taken
TOLERANCE = 0.02  # 4 sigma of a standard deviation from N * 100 numbers is 0.014 of it, of a mean 0.02
SAMPLED = [
    ("normal", initializers.normal(), 0, 1, None),
    ("normal shifted", initializers.normal(0.5, 2.0), 2, 0.5, None),
    ("uniform", initializers.uniform(), 0, 1 / math.sqrt(3), 1),
    ("uniform in an interval", initializers.uniform(-0.5, 0.5), 0, 0.5 / math.sqrt(3), 0.5),
    ("he_normal", initializers.he_normal, 0, math.sqrt(2 / N), None),
    ("he_uniform", initializers.he_uniform, 0, math.sqrt(2 / N), math.sqrt(6 / N)),
    ("glorot_normal", initializers.glorot_normal, 0, math.sqrt(2 / (N + 100)), None),
    ("glorot_uniform", initializers.glorot_uniform, 0, math.sqrt(2 / (N + 100)), math.sqrt(6 / (N + 100))),
    ("lecun_normal", initializers.lecun_normal, 0, math.sqrt(1 / N), None),
]


class TestInitializers:
    @pytest.mark.parametrize(("init", "mean", "std", "bound"), [row[1:] for row in SAMPLED], ids=[row[0] for row in SAMPLED])
    def test_statistics(self, rng, init, mean, std, bound):
        a = init(rng, (N, 100))
        assert a.shape == (N, 100)
        assert a.dtype == np.float64
        assert abs(a.mean() - mean) < TOLERANCE * std
        assert abs(a.std() / std - 1) < TOLERANCE
        extreme = np.abs(a - mean).max() / std
        if bound is None:
            assert extreme > 3.5  # a Gaussian has tails
        else:
            assert 0.999 * bound < np.abs(a).max() <= bound

    @pytest.mark.parametrize(
        ("init", "value"),
        [
            (initializers.zeros, 0),
            (initializers.ones, 1),
            (initializers.constant(0.25), 0.25),
            (initializers.constant([1.0, 2.0, 3.0]), [1, 2, 3]),
        ],
        ids=["zeros", "ones", "constant", "constant array"],
    )
    def test_values_that_are_not_drawn(self, rng, init, value):
        np.testing.assert_array_equal(init(rng, (2, 3)), np.broadcast_to(value, (2, 3)))

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ((3, 5), (3, 5)),
            ((3, 3, 8, 16), (72, 144)),
            ((7,), (7, 7)),
            ((), (1, 1)),
            ((0, 4), (1, 4)),
            ((2, 5, 6), (10, 12)),
        ],
        ids=str,
    )
    def test_fans(self, shape, expected):
        assert initializers.fans(shape) == expected

    @pytest.mark.parametrize("init", [row[1] for row in SAMPLED], ids=[row[0] for row in SAMPLED])
    def test_the_generator_alone_decides(self, init):
        a, b, c = (init(np.random.default_rng(seed), (3, 4)) for seed in (1, 1, 2))
        assert a.tobytes() == b.tobytes()
        assert (a != c).all()

    @pytest.mark.parametrize(
        "init", [row[1] for row in SAMPLED] + [initializers.constant(2.0)], ids=[*(row[0] for row in SAMPLED), "constant"]
    )
    def test_networks_with_it_can_be_pickled(self, init):
        net = pickle.loads(pickle.dumps(xn.Sequential(xn.Affine(3, init=init))))
        assert bits(net.build((4,))) == bits(xn.Sequential(xn.Affine(3, init=init)).build((4,)))

    def test_affine_begins_with_he_normal_weights_and_zero_biases(self):
        p = xn.Sequential(xn.Affine(200)).build((300,)).parameters.snapshot()
        assert abs(p["0.W"].std() / math.sqrt(2 / 300) - 1) < TOLERANCE
        assert not p["0.b"].any()

    def test_an_initializer_of_the_wrong_shape_is_refused_by_name(self):
        net = xn.Sequential(xn.Affine(3, init=lambda rng, shape: np.zeros(shape[::-1])))
        with pytest.raises(ValueError, match=r"parameter 0\.W has shape \(4, 3\), the values given have \(3, 4\)"):
            net.build((4,))
        assert not net.built

    def test_bias_init(self):
        net = xn.Sequential(xn.Affine(3, bias_init=initializers.constant(0.5))).build((2,))
        np.testing.assert_array_equal(net.parameters.snapshot()["0.b"], 0.5)

    def test_what_is_no_function_is_refused_by_name(self):
        with pytest.raises(
            TypeError, match=r"the initial values of 0\.W are 'he': a function is needed, initializers\.he_normal"
        ):
            xn.Sequential(xn.Affine(3, init="he")).build((4,))
        with pytest.raises(TypeError, match=r"mlp\(5\): widths of the hidden layers are needed, \(5,\)"):
            xn.architectures.mlp(5, "relu", 2)

    def test_mlp_takes_initial_values(self):
        net = xn.architectures.mlp((5,), "relu", 2, init=initializers.ones).build((3,))
        assert {a.min() for name, a in net.parameters.snapshot().items() if name.endswith("W")} == {1.0}
