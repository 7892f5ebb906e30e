"""The book's convolution nets: its settings and its program, step by step; and what today's net reaches."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from example_helpers import EXAMPLES, load_example

import xpnet as xn

example = load_example("conv_nets")
COMMAND = [sys.executable, str(EXAMPLES / "conv_nets.py")]

SETTINGS = {  # maps, activation, eta, lambda, the book's figure
    "one": ((20,), xn.Sigmoid, 0.1, 0.0, 98.78),
    "two": ((20, 40), xn.Sigmoid, 0.1, 0.0, 99.06),
    "relu": ((20, 40), xn.ReLU, 0.03, 0.1, 99.23),
}
SHAPES = {
    "one": [(28, 28, 1), (24, 24, 20), (12, 12, 20), (12, 12, 20), (2880,), (100,), (100,), (10,)],
    "two": [*[(28, 28, 1), (24, 24, 20), (12, 12, 20), (12, 12, 20)], *[(8, 8, 40), (4, 4, 40), (4, 4, 40), (640,)]],
}


def small(n: int = 300) -> list:
    """Random images whose label can be learnt: a light block for each digit."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, n)
    x = rng.random((n, 28, 28, 1), dtype=np.float32) / 2
    for image, label in zip(x, y, strict=True):
        row, column = divmod(int(label), 4)
        image[9 * row : 9 * row + 6, 7 * column : 7 * column + 6] += 0.5
    return [(x, y)] * 3


def test_the_settings_are_the_book_s() -> None:
    assert {name: tuple(row) for name, row in example.BOOK.items()} == SETTINGS
    assert (example.BATCH, example.EPOCHS) == (10, 60)
    _, rule, how = example.settings("relu", 50_000, 60)
    assert how == {"batch_size": 10, "epochs": 60, "shuffle": False}
    assert (rule.current_rate, rule.l2) == (0.03, pytest.approx(0.1 / 5_000))


@pytest.mark.parametrize("name", SHAPES)
def test_the_shapes_are_the_book_s(name: str) -> None:
    net = example.book_net(example.BOOK[name]).build((28, 28, 1))
    assert net.shapes[: len(SHAPES[name])] == SHAPES[name]
    assert net.output_shape == (10,)


@pytest.mark.parametrize("name", SETTINGS)
def test_the_first_weights_are_the_book_s(name: str) -> None:
    maps = SETTINGS[name][0]
    start = example.book_net(example.BOOK[name]).build((28, 28, 1)).parameters.snapshot()
    weights = [w for path, w in start.items() if path.endswith("W")]
    for w, n_out in zip(weights, [*(m * 25 / 4 for m in maps), 100], strict=False):
        assert w.std() == pytest.approx(n_out**-0.5, rel=0.15)
    *biases, last = (b for path, b in start.items() if path.endswith("b"))
    assert np.concatenate(biases).std() == pytest.approx(1, abs=0.25)
    assert not weights[-1].any()
    assert not last.any()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_minibatch_is_the_book_s_program(name: str, device) -> None:
    """``w -= eta (dC/dw + lambda / (number of minibatches) w)``, ``b -= eta dC/db``, in float64."""
    row, ((x, y), *_) = SETTINGS[name], small(200)
    net, rule, _ = example.settings(name, 200, 1)
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=rule, device=device, dtype="float64")
    trainer.build((28, 28, 1))
    x, y = device.put(x[:10], "float64"), device.put(y[:10])
    for _ in range(2):  # the last layer begins with zeros
        before = net.parameters.snapshot()
        trainer.step(x, y)
    for path, w in net.parameters.snapshot().items():
        slope = device.get(net.parameters[path].grad) + row[3] / 20 * before[path] * path.endswith("W")
        np.testing.assert_allclose(w, before[path] - row[2] * slope, rtol=0, atol=1e-12)
        assert np.abs(w - before[path]).max() > 1e-6


@pytest.mark.parametrize("name", ["relu", *(pytest.param(n, marks=pytest.mark.slow) for n in example.NETS if n != "relu")])
def test_one_run_is_the_same_on_every_device(name: str, device) -> None:
    found = example.run(name, small(), 2, device, dtype="float64")
    assert found[:2] == example.run(name, small(), 2, dtype="float64")[:2]
    assert found.epoch in (1, 2)


def test_today_s_net_learns(device) -> None:
    assert example.run("today", small(), 4, device).accuracy > 90


def test_the_parts_are_the_book_s(mnist) -> None:
    training, validation, test = example.parts_of(mnist)
    assert [len(x) for x, _ in (training, validation, test)] == [50_000, 10_000, 10_000]
    assert validation[0].base is mnist.x_train
    assert (validation[1] == mnist.y_train[50_000:]).all()
    assert (test[1] == mnist.y_test).all()


@pytest.mark.slow
def test_today_s_net_on_mnist() -> None:
    try:
        data = xn.datasets.mnist(flatten=False)
    except FileNotFoundError as error:
        pytest.skip(str(error))
    found = example.run("today", example.parts_of(data), 4)
    assert found.accuracy >= 99.0
    assert found.seconds < 300


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "nowhere"], 1, "nowhere has no train-images-idx3-ubyte"),
        (["--device", "gpu"], 1, "conv_nets: "),
        (["--nets", "three"], 2, "invalid choice: 'three'"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], code: int, message: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
