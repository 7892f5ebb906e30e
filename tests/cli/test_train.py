"""``xpnet train``: what it prints, how good the result is, and how it fails."""

from __future__ import annotations

import gzip
import re
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from xpnet.cli import main
from xpnet.cli.train import ACTIVATIONS, OPTIMIZERS

ACCURACY = re.compile(r"^test accuracy ([01]\.\d{4})$", re.MULTILINE)


def accuracy(text: str) -> float:
    (found,) = ACCURACY.findall(text)
    return float(found)


@pytest.mark.parametrize("seeds", [2, pytest.param(5, marks=pytest.mark.slow)])
def test_digits_reach_97_percent_over_the_seeds_in_seconds(seeds: int, capsys: pytest.CaptureFixture) -> None:
    reached, seconds = [], []
    for seed in range(seeds):
        assert main(["train", "digits", "--device", "cpu", "--seed", str(seed)]) == 0
        printed = capsys.readouterr().out
        reached.append(accuracy(printed))
        seconds.append(float(re.search(r"([\d.]+) s of training", printed)[1]))
    assert np.mean(reached) >= 0.97
    assert max(seconds) < 15


def test_the_output_says_what_happened(capsys: pytest.CaptureFixture, device) -> None:
    assert main(["train", "digits", "--epochs", "3", "--device", device.name]) == 0
    printed, progress = capsys.readouterr()
    lines = printed.splitlines()
    assert len([line for line in lines if line.startswith("epoch ")]) == 3
    assert f"device {device.name} (asked for by name)" in lines[-2]
    assert "samples/s" in lines[-2]
    assert ACCURACY.fullmatch(lines[-1])
    assert progress == ""  # no bar where standard error is no terminal


def test_the_last_line_is_the_accuracy_of_the_same_net_in_the_library(capsys: pytest.CaptureFixture) -> None:
    import xpnet as xn

    main(
        [
            "train",
            "digits",
            "--epochs",
            "2",
            "--device",
            "cpu",
            "--hidden",
            "20",
            "--optimizer",
            "momentum",
            "--learning-rate",
            "0.05",
            "--batch-size",
            "64",
            "--seed",
            "3",
            "--dtype",
            "float64",
            "--activation",
            "tanh",
        ]
    )
    data = xn.datasets.digits()
    init = xn.initializers.glorot_normal
    net = xn.Sequential(xn.Affine(20, init=init), xn.Tanh(), xn.Affine(10, init=init))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Momentum(0.05), device="cpu", seed=3, dtype="float64")
    trainer.fit(data.x_train, data.y_train, epochs=2, batch_size=64)
    expected = trainer.evaluate(data.x_test, data.y_test)["accuracy"]
    assert accuracy(capsys.readouterr().out) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize(
    "option",
    [
        *(["--activation", a] for a in ACTIVATIONS),
        *(["--optimizer", o] for o in OPTIMIZERS),
        ["--hidden"],
        ["--hidden", "30", "20"],
        ["--batch-size", "0"],
    ],
    ids=" ".join,
)
def test_every_option_trains(capsys: pytest.CaptureFixture, option: list[str]) -> None:
    assert main(["train", "digits", "--epochs", "8", "--device", "cpu", *option]) == 0
    assert accuracy(capsys.readouterr().out) > (0.3 if option == ["--batch-size", "0"] else 0.8)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--device", "gpu"], "no device is called 'gpu'"),
        (["--device", "cuda:99"], "cuda"),
        (["--epochs", "0"], "epochs=0"),
        (["--batch-size", "-3"], "--batch-size -3: a whole number from 1 on, or 0 for the whole set"),
        (["--learning-rate", "-1"], "learning_rate=-1.0"),
        (["--hidden", "0"], "Affine(n_out=0)"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_are_said_in_one_line(capsys: pytest.CaptureFixture, arguments: list[str], said: str) -> None:
    assert main(["train", "digits", *arguments]) == 1
    error = capsys.readouterr().err
    assert error.startswith("xpnet train: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(
    "arguments",
    [[], ["train"], ["train", "cats"], ["train", "digits", "--optimizer", "adem"], ["train", "digits", "--epochs", "many"]],
    ids=" ".join,
)
def test_wrong_usage_names_the_argument(capsys: pytest.CaptureFixture, arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "--help lists the options" in capsys.readouterr().err


def write_idx(path: Path, array: np.ndarray) -> None:
    path.write_bytes(gzip.compress(struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.tobytes()))


@pytest.fixture
def mnist_folder(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder that looks like MNIST: bright rows tell the digit."""
    for part, n in (("train", 300), ("t10k", 100)):
        labels = rng.integers(0, 10, n).astype(np.uint8)
        images = rng.integers(0, 60, (n, 28, 28)).astype(np.uint8)
        images[np.arange(n), 2 * labels] = 255
        write_idx(tmp_path / f"{part}-images-idx3-ubyte.gz", images)
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels)
    return tmp_path


def test_mnist_from_a_folder(capsys: pytest.CaptureFixture, mnist_folder: Path, device) -> None:
    assert (
        main(["train", "mnist", "--data", str(mnist_folder), "--epochs", "5", "--hidden", "30", "--device", device.name]) == 0
    )
    assert accuracy(capsys.readouterr().out) > 0.9


def test_mnist_from_the_environment(capsys: pytest.CaptureFixture, mnist_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XPNET_DATA", str(mnist_folder))
    assert main(["train", "mnist", "--epochs", "1", "--device", "cpu"]) == 0
    capsys.readouterr()


def test_mnist_without_files_says_where_they_go(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XPNET_DATA", raising=False)
    assert main(["train", "mnist"]) == 1
    assert "--data" in capsys.readouterr().err
    assert main(["train", "mnist", "--data", str(tmp_path)]) == 1
    assert "train-images-idx3-ubyte" in capsys.readouterr().err


def test_help_names_the_verbs_and_imports_no_optional_package() -> None:
    code = (
        "import sys, xpnet.cli\n"
        "try: xpnet.cli.main(['--help'])\n"
        "finally: print([m for m in ('cupy', 'matplotlib', 'sklearn', 'torch', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "train" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


def test_python_m_xpnet_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "xpnet", "train", "digits", "--epochs", "1", "--device", "cpu"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert ACCURACY.search(done.stdout)
    assert done.stderr == ""
