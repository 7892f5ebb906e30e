"""Overfitting: what each cure changes, that it is off outside of training, and that the gap is there."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from example_helpers import EXAMPLES, load_example

import xpnet as xn

example = load_example("overfitting")
ADDED = {"dropout": "Dropout", "noise": "GaussianNoise", "shift": "RandomShift", "flip": "RandomFlip"}


def names(cure: str) -> list[str]:
    return [type(layer).__name__ for layer in example.net_of(cure, 2).layers]


@pytest.mark.parametrize("cure", example.CURES)
def test_the_net_is_always_the_same(cure: str) -> None:
    added = set(ADDED.values())
    assert [name for name in names(cure) if name not in added] == ["Flatten", "Affine", "ReLU", "Affine", "ReLU", "Affine"]
    expected = {"noise and shift": {"GaussianNoise", "RandomShift"}}.get(cure, {ADDED[cure]} if cure in ADDED else set())
    assert {name for name in names(cure) if name in added} == expected


@pytest.mark.parametrize("cure", example.CURES)
def test_a_cure_is_for_training_only(cure: str, device) -> None:
    x = np.random.default_rng(0).random((20, 8, 8, 1), dtype=np.float32)
    plain, cured = (example.net_of(name, 1).build((8, 8, 1), device=device) for name in ("none", cure))
    starts = [list(net.parameters.snapshot().values()) for net in (plain, cured)]
    cured.parameters.restore(dict(zip(cured.parameters.keys(), starts[0], strict=True)))
    np.testing.assert_allclose(cured.predict(x), plain.predict(x), rtol=1e-5, atol=1e-6)
    if cure in (*ADDED, "noise and shift"):
        y, _ = cured.forward(cured.device.put(x), cured.step(training=True))
        assert np.abs(cured.device.get(y) - plain.predict(x)).max() > 0.01


def test_the_gap_on_digits() -> None:
    """Without a cure nothing is left to learn, and a tenth of other digits is not recognised."""
    name, training, test = example.images(None, quick=True)
    assert (name, len(training[0])) == ("the digits", 300)
    found = example.learn("none", training, test, (1, 40), "cpu", 0)
    assert found.shape == (2, 2)
    assert found[1, 0] == 100
    assert 85 < found[1, 1] < 95


@pytest.mark.slow
def test_a_shift_narrows_the_gap_on_mnist(mnist) -> None:
    name, training, test = example.images(None, quick=False)
    assert (name, len(training[0]), len(test[0])) == ("MNIST", 1_000, 10_000)
    none, shift, flip = (example.learn(cure, training, test, (30,), "cpu", 0)[-1] for cure in ("none", "shift", "flip"))
    assert none[0] == 100
    assert shift[1] > none[1] + 1.5 > flip[1] + 2
    assert shift[0] - shift[1] < none[0] - none[1] - 3


def test_without_mnist_the_digits_are_taken(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(folder, flatten):
        raise FileNotFoundError("no MNIST")

    monkeypatch.setattr(xn.datasets, "mnist", missing)
    assert example.images(None, quick=False)[0] == "the digits"
    with pytest.raises(FileNotFoundError):
        example.images(tmp_path, quick=False)


def test_a_folder_without_mnist_is_told_in_one_line() -> None:
    command = [sys.executable, str(EXAMPLES / "overfitting.py"), "--data", "nowhere"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.splitlines()[-1].startswith("overfitting: MNIST: nowhere has no train-images-idx3-ubyte")
