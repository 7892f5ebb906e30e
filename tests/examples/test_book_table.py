"""The book's table: its settings are the book's to the step, its figures come out, its errors are one line."""

from __future__ import annotations

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from core_helpers import exact
from example_helpers import EXAMPLES, load_example

import xpnet as xn
from xpnet import book

example = load_example("book_table")
COMMAND = [sys.executable, str(EXAMPLES / "book_table.py")]

SETTINGS = {  # hidden neurons, cost, eta, lambda, epochs, seeds, the book's figure
    "Q30": (30, "quadratic", 3.0, 0, 30, 3, 95.42),
    "Q100": (100, "quadratic", 3.0, 0, 30, 10, 96.59),
    "C30": (30, "cross-entropy", 0.5, 0, 30, 3, 95.49),
    "C100": (100, "cross-entropy", 0.5, 0, 30, 3, 96.82),
    "R30": (30, "cross-entropy", 0.5, 5, 30, 3, 96.49),
    "R100": (100, "cross-entropy", 0.5, 5, 30, 3, 97.92),
    "T100": (100, "cross-entropy", 0.1, 5, 60, 3, 98.04),
}


def small(n: int = 300) -> xn.datasets.Dataset:
    """Random images whose label can be learnt, so that the code runs where MNIST is absent."""
    rng = np.random.default_rng(0)
    y = rng.integers(0, 10, n)
    x = rng.random((n, 784), dtype=np.float32) * (np.arange(784) % 10 == y[:, None])
    return xn.datasets.Dataset("small", x, y, x, y, tuple("0123456789"), "", "")


def test_the_settings_are_the_book_s() -> None:
    assert {name: tuple(row)[:7] for name, row in example.ROWS.items()} == SETTINGS


@pytest.mark.parametrize("name", SETTINGS)
def test_twenty_minibatches_are_the_book_s_program(name: str, device) -> None:
    """Same start, same minibatches, float64: with ``w *= 1 - eta lambda / n`` as in the book's second program."""
    row, n, data = example.ROWS[name], 200, small(200)
    trainer = example.trainer_for(row, n, device, 0, dtype="float64").build((784,))
    x, y = data.x_train.astype(np.float64), xn.datasets.one_hot(data.y_train, 10, "float64")
    cost = book.QuadraticCost if row.cost == "quadratic" else book.CrossEntropyCost
    theirs = book.Network([784, row.hidden, 10], cost=cost)
    ours = trainer.net.parameters.snapshot()
    theirs.weights, theirs.biases = [ours[k].T for k in ("0.W", "2.W")], [ours[k][:, None] for k in ("0.b", "2.b")]
    start = [w.copy() for w in theirs.weights]
    for k in range(20):
        rows = slice(10 * k, 10 * k + 10)
        decayed = [(1 - row.eta * row.lmbda / n) * w for w in theirs.weights]
        before = theirs.weights
        theirs.update_mini_batch([(a[:, None], b[:, None]) for a, b in zip(x[rows], y[rows], strict=True)], row.eta)
        theirs.weights = [d + w - b for d, w, b in zip(decayed, theirs.weights, before, strict=True)]
        trainer.step(device.put(x[rows]), device.put(y[rows]))
    ours = trainer.net.parameters.snapshot()
    for i, layer in enumerate(("0", "2")):
        np.testing.assert_allclose(ours[f"{layer}.W"], theirs.weights[i].T, rtol=0, atol=1e-11)
        np.testing.assert_allclose(ours[f"{layer}.b"], theirs.biases[i][:, 0], rtol=0, atol=1e-11)
        assert np.abs(theirs.weights[i] - start[i]).max() > 0.01


def test_the_cost_is_the_sum_over_outputs(device) -> None:
    net = xn.Sequential(xn.Identity()).build((10,), device=device, dtype="float64")
    z = np.random.default_rng(0).standard_normal((4, 10))
    y = np.eye(10)[:4]
    step = net.step(training=True)
    logits, _ = net.forward(device.put(z), step)
    value, dy = example.CrossEntropyCost()(logits, device.put(y), step)
    a = 1 / (1 + np.exp(-z))
    assert float(device.get(value)) == pytest.approx(-(y * np.log(a) + (1 - y) * np.log(1 - a)).sum(axis=1).mean(), rel=1e-12)
    np.testing.assert_allclose(device.get(dy), (a - y) / 4, atol=1e-15)


def test_one_run_is_the_same_on_every_device(device) -> None:
    row = example.ROWS["Q100"]._replace(epochs=2)
    found = [example.run(row, 1, small(), name) for name in ("cpu", device)]
    if exact(device):
        assert found[0] == found[1]
    assert found[0].accuracy == found[1].accuracy
    assert len(found[0].accuracy) == 2
    assert np.shape(found[0].own) == (3, 10)


@pytest.mark.parametrize("name", ["Q30", "C30"])
def test_the_activation_of_each_neuron_on_its_own_digit(name: str) -> None:
    """By the parameters at the start, and which of them are silent."""
    row, data = example.ROWS[name]._replace(epochs=1), small()
    found = example.run(row, 0, data)
    w = example.trainer_for(row, len(data.x_train), "cpu", 0).build((784,)).net.parameters.snapshot()
    h = example.sigmoid(data.x_test @ w["0.W"] + w["0.b"])
    z = h @ w["2.W"] + w["2.b"]
    own = [example.sigmoid(z[data.y_test == digit, digit]).mean() for digit in range(10)]
    assert found.own[0] == pytest.approx(own, rel=1e-3)
    assert found.spread == pytest.approx(z.std(), rel=1e-5)
    assert example.Run([], [own, [0.5, 0.009] + [0.5] * 8], 0).silent() == [1]


def test_why_q100_collapses(mnist) -> None:
    """Where the outputs begin decides, not the length of the steps: one epoch of what the example compares."""
    data = dataclasses.replace(mnist, x_train=mnist.x_train[:50_000], y_train=mnist.y_train[:50_000])
    runs = {name: example.run(row._replace(epochs=1), 2, data) for name, row in example.WHY.items()}
    narrow = [runs.pop(name) for name in ("Q30 as it is", "Q100, output weights x 0.55")]
    assert max(r.spread for r in narrow) < min(r.spread for r in runs.values())
    assert [r.silent() for r in narrow] == [[], []]
    assert all(r.silent() for r in runs.values())


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "nowhere"], 1, "nowhere has no train-images-idx3-ubyte"),
        (["--device", "gpu"], 1, "book_table: "),
        (["--rows", "Q31"], 2, "invalid choice: 'Q31'"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], code: int, message: str) -> None:
    done = subprocess.run([*COMMAND, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (code, "")
    assert message in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("download", [False, True])
def test_download_is_asked_for_by_one_word(download: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []
    monkeypatch.setattr(xn.datasets, "mnist", lambda folder, download: asked.append((folder, download)))
    monkeypatch.setattr(sys, "argv", ["book_table.py", "--data", "here", *["--download"] * download])
    example.parsed()
    assert asked == [("here", download)]


def test_an_interrupt_ends_all_processes(mnist) -> None:
    with subprocess.Popen([*COMMAND, "--rows", "T100"], stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        time.sleep(1.5)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=10)[1]  # ends when no process, worker or parent, holds stderr any more
    assert process.returncode != 0
    said = ("interrupted", "KeyboardInterrupt", "BrokenProcessPool")  # the last: workers were interrupted as they started
    assert any(word in rest for word in said)
