"""Colours, XOR, spirals, blobs and the cars: what they hold, by the rule that each states."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

import xpnet as xn
from xpnet.datasets import auto_mpg, blobs, colors, spirals, xor

EVERY = {"colors": colors, "xor": xor, "spirals": spirals, "blobs": blobs, "auto-mpg": auto_mpg}


@pytest.mark.parametrize("make", EVERY.values(), ids=EVERY)
def test_types_and_parts(make):
    data, again = make(), make()
    for part in ("train", "test"):
        x, y = getattr(data, f"x_{part}"), getattr(data, f"y_{part}")
        assert (x.dtype, y.dtype) == (np.float32, np.int64 if data.classes else np.float32)
        assert x.shape == (len(y), len(data.names))
        assert x.flags.c_contiguous
        assert x.flags.writeable
        np.testing.assert_array_equal(x, getattr(again, f"x_{part}"))
        x[...], y[...] = -1, 1  # a caller's own: the next call gives the set again
        assert not (getattr(make(), f"x_{part}") == -1).all()
        if data.classes:
            assert sorted(np.unique(getattr(again, f"y_{part}"))) == list(range(len(data.classes)))


class TestColors:
    def test_the_rule(self):
        data = colors()
        assert (data.x_train.shape, data.x_test.shape) == ((240, 3), (20, 3))
        x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
        assert (x.min(), x.max()) == (0, 255)
        np.testing.assert_array_equal(x, np.round(x))
        first, second = np.sort(x)[:, 2], np.sort(x)[:, 1]
        assert (first - second).min() == 40
        np.testing.assert_array_equal(x[np.arange(260), y], first)
        assert np.bincount(y).min() > 70

    def test_the_four_colours_of_the_talk_are_in_the_test_part(self):
        data = colors()
        assert data.x_test[:4].tolist() == [[255, 0, 0], [0, 255, 0], [0, 0, 255], [233, 63, 127]]
        assert [data.classes[k] for k in data.y_test[:4]] == ["red", "green", "blue", "red"]
        train = set(map(tuple, data.x_train.tolist()))
        assert len(train) == 240
        assert train.isdisjoint(map(tuple, data.x_test.tolist()))

    def test_it_says_that_it_is_rebuilt(self):
        assert repr(colors()) == "Dataset('colors (rebuilt)': 240 + 20 rows of (3), 3 classes)"
        assert "rebuilt" in colors().source

    def test_checksum(self):
        data = colors()
        rows = np.concatenate([data.x_train, data.x_test]).astype(np.uint8).tobytes()
        assert hashlib.sha256(rows).hexdigest() == "2056ac480ef849bc2bb565387a741485a2c574a8fdbf06aa9f449ff919b881bd"


class TestXor:
    def test_rows(self):
        data = xor()
        assert {(*map(int, x), int(y)) for x, y in zip(data.x_train, data.y_train, strict=True)} == {
            (0, 0, 0),
            (0, 1, 1),
            (1, 0, 1),
            (1, 1, 0),
        }
        np.testing.assert_array_equal(data.x_train, data.x_test)
        np.testing.assert_array_equal(data.y_train, data.y_test)

    def test_no_line_separates_it_and_a_hidden_layer_does(self, device):
        data, right = xor(), []
        for hidden in ([], [xn.Affine(8), xn.Tanh()]):
            net = xn.Sequential(*hidden, xn.Affine(2))
            trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.05), device=device, seed=0)
            trainer.fit(data.x_train, data.y_train, epochs=100, batch_size=4)
            right.append(int((trainer.predict(data.x_test).argmax(axis=1) == data.y_test).sum()))
        assert right[0] <= 3
        assert right[1] == 4


class TestSpirals:
    def test_the_formula(self):
        data = spirals(400, 3, noise=0.0, turns=1.5, seed=4)
        assert (data.x_train.shape, data.x_test.shape) == ((320, 2), (80, 2))
        x, y = np.concatenate([data.x_train, data.x_test]), np.concatenate([data.y_train, data.y_test])
        t = np.hypot(x[:, 0], x[:, 1])
        assert t.max() < 1
        angle = 2 * np.pi * (1.5 * t + y / 3)
        np.testing.assert_allclose(x, t[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1), atol=1e-5)
        assert sorted(np.bincount(y)) == [133, 133, 134]

    def test_noise_has_the_stated_deviation_and_the_seed_rules_it(self):
        still, noisy, other = spirals(5000, noise=0), spirals(5000, noise=0.1), spirals(5000, noise=0.1, seed=1)
        assert (noisy.x_train - still.x_train).std() == pytest.approx(0.1, rel=0.03)
        assert not np.allclose(noisy.x_train, other.x_train)

    def test_a_small_network_separates_it_and_none_without_a_hidden_layer(self):
        data, reached = spirals(), []
        for hidden in ([], [xn.Affine(32), xn.Tanh(), xn.Affine(32), xn.Tanh()]):
            net = xn.Sequential(*hidden, xn.Affine(2))
            trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.01), device="cpu", seed=0)
            trainer.fit(data.x_train, data.y_train, epochs=150)
            reached.append(trainer.evaluate(data.x_test, data.y_test)["accuracy"])
        assert reached[0] < 0.75
        assert reached[1] > 0.95


class TestBlobs:
    def test_the_formula(self):
        data = blobs(4000, 4, noise=0.2, seed=1)
        for k, centre in enumerate([(1, 0), (0, 1), (-1, 0), (0, -1)]):
            cloud = data.x_train[data.y_train == k]
            np.testing.assert_allclose(cloud.mean(axis=0), centre, atol=0.03)
            np.testing.assert_allclose(cloud.std(axis=0), 0.2, rtol=0.06)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"classes": 1}, "at least 2 classes and 5 points for each"),
        ({"n": 9, "classes": 2}, "n=9, classes=2: at least 2 classes"),
        ({"n": -5}, "n=-5"),
        ({"n": 50.5}, "n=50.5: it is a whole number"),
        ({"n": "50"}, "n='50': it is a whole number"),
        ({"classes": 2.5}, "classes=2.5: it is a whole number"),
        ({"noise": -0.1}, "noise=-0.1 is a standard deviation"),
        ({"noise": float("nan")}, "noise=nan"),
        ({"noise": float("inf")}, "noise=inf"),
    ],
    ids=str,
)
@pytest.mark.parametrize("make", [spirals, blobs])
def test_refused(make, arguments, message):
    with pytest.raises(ValueError, match=f"{make.__name__}: .*{message}"):
        make(**arguments)


def test_turns_are_finite():
    with pytest.raises(ValueError, match="spirals: turns=nan is not a finite number"):
        spirals(turns=float("nan"))


class TestAutoMpg:
    def test_it_is_the_set_it_says(self):
        """Counts and means as of UCI's 392 complete rows."""
        data = auto_mpg()
        assert repr(data) == "Dataset('auto-mpg': 314 + 78 rows of (9), regression of mpg)"
        x, y = np.concatenate([data.x_train, data.x_test]).astype(float), np.concatenate([data.y_train, data.y_test])
        means = {"cylinders": 5.4719, "displacement": 194.412, "horsepower": 104.4694, "weight": 2977.5842}
        means |= {"acceleration": 15.5413, "model_year": 75.9796}
        for name, mean in means.items():
            assert x[:, data.names.index(name)].mean() == pytest.approx(mean, abs=1e-4)
        assert y.astype(float).mean() == pytest.approx(23.4459, abs=1e-4)
        assert data.names[6:] == ("origin=Europe", "origin=Japan", "origin=USA")
        assert x[:, 6:].sum(axis=0).tolist() == [68, 79, 245]
        assert (x[:, 6:].sum(axis=1) == 1).all()
        years = np.bincount(x[:, data.names.index("model_year")].astype(int))[70:]
        assert years.tolist() == [29, 27, 28, 40, 26, 30, 34, 28, 36, 29, 27, 28, 30]

    def test_the_split_stays_as_it_is(self):
        data = auto_mpg()
        assert np.round(data.y_test[:8].astype(float), 1).tolist() == [18.0, 16.0, 14.0, 14.0, 22.0, 25.0, 24.0, 19.0]
        assert len({row.tobytes() for row in np.concatenate([data.x_train, data.x_test])}) == 392

    def test_a_small_network_learns_it(self):
        """A linear fit leaves an error of 3.4 miles per gallon, guessing the mean one of 7.8."""
        data = auto_mpg()
        mean, std = data.x_train.mean(axis=0), data.x_train.std(axis=0)
        net = xn.Sequential(xn.Affine(32), xn.ReLU(), xn.Affine(1))
        trainer = xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.Adam(0.01), device="cpu", seed=0)
        trainer.fit((data.x_train - mean) / std, data.y_train, epochs=100)
        assert trainer.evaluate((data.x_test - mean) / std, data.y_test)["rmse"] < 3.3
