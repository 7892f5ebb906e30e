"""The book's table: its settings are the book's to the step, its figures come out, its errors are one line."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from xpnet import book

ROOT = Path(__file__).parents[2]
PATH = ROOT / "examples/book_table.py"
SPEC = importlib.util.spec_from_file_location("book_table", PATH)
example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(example)

SETTINGS = {  # hidden neurons, cost, eta, lambda, epochs, seeds, the book's figure
    "Q30": (30, "quadratic", 3.0, 0, 30, 3, 95.42),
    "Q100": (100, "quadratic", 3.0, 0, 30, 10, 96.59),
    "C30": (30, "cross-entropy", 0.5, 0, 30, 3, 95.49),
    "C100": (100, "cross-entropy", 0.5, 0, 30, 3, 96.82),
    "R30": (30, "cross-entropy", 0.5, 5, 30, 3, 96.49),
    "R100": (100, "cross-entropy", 0.5, 5, 30, 3, 97.92),
    "T100": (100, "cross-entropy", 0.1, 5, 60, 3, 98.04),
}


QUICK = {"Q30": 52.41, "Q100": 50.54, "C30": 73.57, "C100": 78.11, "R30": 76.28, "R100": 78.01, "T100": 68.18}  # seen


def call(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, str(PATH), *arguments]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)


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


def test_output_neurons() -> None:
    """Digit 0's neuron is right, digit 1's silent."""
    outputs = np.full((20, 10), 0.1)
    labels = np.repeat(np.arange(10), 2)
    outputs[np.arange(20), labels] = 0.8
    outputs[labels == 1, 1] = 1e-6
    found = example.output_neurons(example.ROWS["Q100"], outputs, labels)
    assert found[0] == pytest.approx(
        {"digit": 0, "activation": 0.8, "slope": 0.16, "quadratic": 0.032, "cross_entropy": 0.2, "recognised": 1}
    )
    assert found[1]["quadratic"] == pytest.approx(1e-6, rel=1e-5)
    assert (found[1]["cross_entropy"], found[1]["recognised"]) == (pytest.approx(1, abs=1e-5), 0)
    logits = np.log(outputs / (1 - outputs))
    assert example.output_neurons(example.ROWS["C100"], logits, labels)[0] == pytest.approx(found[0])
    assert example.silent({"neurons": {"last": found}}) == [1]


def test_one_run_is_the_same_on_every_device(device) -> None:
    found = [example.run("Q100", 1, small(), name, epochs=2) for name in ("cpu", device)]
    assert {**found[0], "seconds": 0} == {**found[1], "seconds": 0}
    assert len(found[0]["accuracy"]) == 2
    assert found[0]["best"] == max(found[0]["accuracy"])


def test_more_hidden_neurons_overlap_more() -> None:
    """h . h' grows with the hidden layer: the cause of the collapse, before any training."""
    data, found = small(), {}
    for name in ("Q30", "Q100"):
        found[name] = [example.run(name, seed, data, epochs=1)["overlap"] for seed in range(3)]
    assert min(found["Q100"]) > 2 * max(found["Q30"])


def test_quick_on_mnist(device, mnist, tmp_path: Path) -> None:
    """All rows, in processes: the same text on every device, and the figures in the file."""
    path = tmp_path / "figures.json"
    done = call("--quick", "--device", device.name, "--json", str(path))
    assert done.returncode == 0, done.stderr
    assert "[7/7] " in done.stderr
    lines = [line.split() for line in done.stdout.splitlines()]
    table = {line[0]: line for line in lines if line and line[0] in SETTINGS}
    assert list(table) == list(SETTINGS)
    assert {name: float(line[7]) for name, line in table.items()} == pytest.approx(QUICK, abs=2)  # other BLAS, other rounding
    stored = json.loads(path.read_text())
    assert {r["row"]: f"{r['best']:.2f}" for r in stored["runs"]} == {name: line[7] for name, line in table.items()}
    assert stored["rows"]["T100"]["eta"] == 0.1
    assert "Q100, seed by seed: 0 of 1 above 96 %" in done.stdout
    run = next(r for r in stored["runs"] if r["row"] == "Q100")
    neurons = [run["neurons"]["last"][digit] for digit in example.silent(run)]
    assert len(neurons) >= 1
    assert all(n["quadratic"] < 0.01 and n["cross_entropy"] > 0.98 and n["recognised"] < 0.2 for n in neurons)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["--data", "nowhere"], 1, "nowhere has no train-images-idx3-ubyte"),
        (["--rows", "Q31"], 2, "invalid choice: 'Q31'"),
        (["--seeds", "0"], 2, "--seeds 0: a whole number from 1 on is needed"),
        (["--json", "nowhere/figures.json"], 2, "--json nowhere/figures.json: a file in a folder that exists is needed"),
    ],
)
def test_mistakes_are_told_in_one_line(arguments: list[str], code: int, message: str) -> None:
    done = call(*arguments)
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
    command = [sys.executable, str(PATH), "--rows", "T100"]
    with subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, text=True, start_new_session=True) as process:
        assert "3 runs on 50,000" in process.stderr.readline()
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        rest = process.communicate(timeout=10)[1]  # ends when no process, worker or parent, holds stderr any more
    assert process.returncode == 1
    assert rest == "book_table: interrupted, nothing is left running\n"
