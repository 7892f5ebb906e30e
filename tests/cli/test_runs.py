"""``xpnet train --save DIR`` and ``--resume DIR``: the folder of a run, and going on with it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from dataset_helpers import synthetic
from dataset_helpers import write as write_images

from xpnet.cli import main
from xpnet.saving.files import read
from xpnet.saving.models import load_model

TRAIN = ("train", "digits", "--device", "cpu", "--hidden", "20", "--save")


def train(*arguments: object) -> int:
    return main(["train", *map(str, arguments)])


def parameters(folder: Path) -> dict[str, bytes]:
    return {name: a.tobytes() for name, a in load_model(folder).net.parameters.snapshot().items()}


@pytest.fixture
def whole(tmp_path: Path, capsys) -> Path:
    assert main([*TRAIN, str(tmp_path / "whole"), "--epochs", "4"]) == 0
    capsys.readouterr()
    return tmp_path / "whole"


def test_the_folder_holds_options_checkpoints_log_and_model(whole: Path) -> None:
    names = sorted(path.name for path in whole.iterdir())
    assert names == [*(f"checkpoint-{45 * e:09d}.safetensors" for e in (2, 3, 4)), "log.jsonl", "model.safetensors", "run.json"]
    options = json.loads((whole / "run.json").read_text())["arguments"]
    assert (options["dataset"], options["hidden"], options["epochs"]) == ("digits", [20], 4)
    assert "save" not in options
    lines = [json.loads(line) for line in (whole / "log.jsonl").read_text().splitlines()]
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    model = load_model(whole)
    assert (model.data, model.target.outputs, model.inputs.shape) == ("digits", 10, (64,))
    about = read(whole / "checkpoint-000000180.safetensors").about
    assert about["inputs"]["kind"] == "Rows"  # a checkpoint serves as well


def test_a_finished_run_can_go_on_for_longer(whole: Path, tmp_path: Path, capsys) -> None:
    assert train("--resume", whole, "--epochs", 6) == 0
    printed = capsys.readouterr().out
    assert f"going on from {whole}/checkpoint-000000180.safetensors" in printed
    assert "epoch   5" in printed
    assert "epoch   4" not in printed
    assert train("--resume", whole) == 0  # it has ended
    said = "checkpoint-000000270.safetensors; its 6 epochs are done: --epochs with a larger number goes on"
    assert said in capsys.readouterr().out
    assert main([*TRAIN, str(tmp_path / "longer"), "--epochs", "6"]) == 0
    assert parameters(whole) == parameters(tmp_path / "longer")
    assert len((whole / "log.jsonl").read_text().splitlines()) == 6


def test_options_of_ones_own_data_are_remembered(tmp_path: Path, capsys, monkeypatch) -> None:
    rows = [f"{i},{i % 7},{'ab'[i % 2]}" for i in range(60)]
    (tmp_path / "rows.csv").write_text("\n".join(["n,m,kind", *rows]) + "\n")
    monkeypatch.chdir(tmp_path)
    options = ("--target", "kind", "--drop", "n", "--early-stopping", 5, "--seed", 3)
    assert train("./rows.csv", *options, "--epochs", 2, "--save", "net") == 0
    first = json.loads((tmp_path / "net" / "run.json").read_text())["arguments"]
    assert first["dataset"] == str(tmp_path / "rows.csv")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert train("--resume", "../net", "--epochs", 3) == 0
    assert "best epoch" in capsys.readouterr().out
    (tmp_path / "rows.csv").write_text("\n".join(["n,m,kind", *rows[::-1]]) + "\n")
    assert train("--resume", "../net", "--epochs", 4) == 1
    assert "is of another training: the training rows are not those that it was trained with" in capsys.readouterr().err


def test_a_run_whose_data_were_moved_goes_on_where_they_are_now(tmp_path: Path, capsys) -> None:
    there, now = tmp_path / "there", tmp_path / "now here"
    there.mkdir()
    np.savez(there / "a.npz", x=np.random.default_rng(0).random((60, 3)), y=np.arange(60) % 3)
    assert train(there / "a.npz", "--epochs", 2, "--save", there / "net") == 0
    there.rename(now)
    capsys.readouterr()
    assert train("--resume", now / "net", "--epochs", 3) == 1
    said = f"xpnet train: {there}/a.npz is not there; where the data are now: xpnet train --resume '{now}/net' FILE\n"
    assert capsys.readouterr().err == said
    np.savez(now / "b.npz", x=np.ones((60, 3)), y=np.arange(60) % 3)
    assert train(now / "b.npz", "--resume", now / "net", "--epochs", 3) == 1
    assert "the training rows are not those that it was trained with" in capsys.readouterr().err
    assert train(now / "a.npz", "--resume", now / "net", "--epochs", 3) == 0
    assert train("--resume", now / "net", "--epochs", 4) == 0  # it has been written down
    assert "going on from" in capsys.readouterr().out
    assert train("--resume", now / "net", "--epochs", 4, "--data", now / "a.npz") == 0
    assert train("--resume", now / "net", "--", now / "a.npz") == 0
    assert json.loads((now / "net" / "run.json").read_text())["arguments"]["epochs"] == 4
    capsys.readouterr()
    assert train("digits", "--resume", now / "net") == 1
    assert f"digits: the run is of {now}/a.npz, and goes on with that" in capsys.readouterr().err


def test_mnist_that_was_moved(tmp_path: Path, capsys) -> None:
    mnist_folder = write_images(tmp_path / "there", synthetic())
    (tmp_path / "a").symlink_to(mnist_folder)
    assert train("mnist", "--data", tmp_path / "a", "--epochs", 1, "--hidden", 4, "--save", tmp_path / "net") == 0
    (tmp_path / "a").unlink()
    assert train("--resume", tmp_path / "net", "--epochs", 2) == 1
    error = capsys.readouterr().err
    assert error.endswith(f"where the data are now: xpnet train --resume {tmp_path / 'net'} --data FOLDER\n")
    assert train("--resume", tmp_path / "net", "--epochs", 2, "--data", mnist_folder) == 0


def test_more_epochs_are_remembered(whole: Path, capsys) -> None:
    assert train("--resume", whole, "--epochs", 6) == 0
    (whole / "checkpoint-000000270.safetensors").unlink()  # as if it had been stopped
    assert train("--resume", whole) == 0
    assert "epoch   6" in capsys.readouterr().out


def test_a_run_without_checkpoints_is_not_begun_anew_over_its_network(whole: Path, capsys) -> None:
    for path in whole.glob("checkpoint-*"):
        path.unlink()
    before = {path.name: path.read_bytes() for path in whole.iterdir()}
    assert train("--resume", whole, "--epochs", 6) == 1
    assert "has a network, but no checkpoint to go on from" in capsys.readouterr().err
    assert {path.name: path.read_bytes() for path in whole.iterdir()} == before
    (whole / "model.safetensors").unlink()
    assert train("--resume", whole) == 0
    assert "no checkpoint was written yet: the training begins anew" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--resume", "none"), "none holds no run: it has no run.json, which xpnet train ... --save none writes"),
        (("--resume", "none", "--batch-size", "32"), "--batch-size: a run goes on with the options it has"),
        (
            ("--resume", "none", "--hidden", "3"),
            "--hidden: a run goes on with the options it has; only --epochs, --device, --data may",
        ),
        (("--resume", "none", "--save", "other"), "--save: a run goes on with the options it has"),
    ],
)
def test_what_does_not_go_together(arguments: tuple, said: str, capsys, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert train(*arguments) == 1
    assert said in capsys.readouterr().err
    assert not any(tmp_path.iterdir())


WRONG = [
    '{"dataset": "digits", "optimizer": "nope"}',
    '{"dataset": "digits", "epochs": "x"}',
    '{"dataset": 3}',
    "{}",
    "3",
    "[]",
]
WRONG += ['{"dataset": "digits", "hidden": 5.5}', '{"dataset": "digits", "hidden": ["a"]}']


@pytest.mark.parametrize("text", ["", "[]", "{}", "\x00", "[" * 10**5, *(f'{{"arguments": {wrong}}}' for wrong in WRONG)])
def test_damaged_options(whole: Path, text: str, capsys) -> None:
    (whole / "run.json").write_text(text)
    assert train("--resume", whole) == 1
    error = capsys.readouterr().err
    assert "run.json is of no use (" in error
    assert error.count("\n") == 1


def test_ctrl_c_saves_says_how_to_go_on_and_going_on_ends_in_the_same_bytes(tmp_path: Path, whole: Path) -> None:
    folder = tmp_path / "my run"
    command = [sys.executable, "-m", "xpnet", *TRAIN, str(folder), "--epochs", "3000"]
    before = signal.signal(
        signal.SIGINT, signal.default_int_handler
    )  # ignored, and inherited, where tests run in the background
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    signal.signal(signal.SIGINT, before)
    while not list(folder.glob("checkpoint-*")):
        assert child.poll() is None
        time.sleep(0.01)
    child.send_signal(signal.SIGINT)
    _, error = child.communicate(timeout=60)
    assert child.returncode == 130
    assert f"saved in {folder}: xpnet train --resume '{folder}' goes on" in error
    assert "Traceback" not in error
    done = max(int(path.stem.partition("-")[2]) for path in folder.glob("checkpoint-*"))
    epochs = -(-done // 45) + 1
    assert train("--resume", folder, "--epochs", epochs, "--device", "cpu") == 0
    assert main([*TRAIN, str(tmp_path / "straight"), "--epochs", str(epochs)]) == 0
    assert parameters(folder) == parameters(tmp_path / "straight")


def test_an_unfinished_run_is_told_to_predict(tmp_path: Path, whole: Path, capsys) -> None:
    (whole / "model.safetensors").unlink()
    np.save(tmp_path / "x.npy", np.zeros((2, 64)))
    assert main(["predict", str(whole), str(tmp_path / "x.npy")]) == 1
    assert f"its training has not ended, or has diverged: xpnet train --resume {whole}" in capsys.readouterr().err
    newest = whole / "checkpoint-000000180.safetensors"
    assert main(["predict", str(newest), str(tmp_path / "x.npy")]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 3


def test_trained_on_sim_it_predicts_on_the_cpu(tmp_path: Path, capsys) -> None:
    assert train("digits", "--device", "sim", "--epochs", 2, "--save", tmp_path / "net") == 0
    model = load_model(tmp_path / "net", "cpu")
    x = np.random.default_rng(0).random((5, 64)).astype(np.float32)
    there = load_model(tmp_path / "net", "sim").net.predict(x)
    np.testing.assert_allclose(model.net.predict(x), there, rtol=0, atol=1e-5 * abs(there).max())


def test_a_folder_that_cannot_be_written_to_is_told_before_training(tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert main([*TRAIN, str(tmp_path / "net")]) == 1
    assert "--save: " in capsys.readouterr().err
    assert not (tmp_path / "net").exists()


def test_a_folder_with_the_name_of_a_data_set(tmp_path: Path, capsys, monkeypatch) -> None:
    from dataset_helpers import synthetic
    from dataset_helpers import write as write_idx

    write_idx(tmp_path / "mnist", synthetic())
    monkeypatch.chdir(tmp_path)
    assert train("mnist", "--data", "mnist", "--device", "cpu", "--epochs", 1, "--save", tmp_path / "net") == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert train("--resume", tmp_path / "net", "--epochs", 2) == 0


def test_a_training_that_cannot_begin_leaves_no_folder(tmp_path: Path, capsys) -> None:
    for wrong in (("--learning-rate", "-1"), ("--batch-size", "-3"), ("--epochs", "0"), ("--device", "nonsense")):
        assert main([*TRAIN, str(tmp_path / "net"), *wrong]) == 1
        assert not (tmp_path / "net").exists(), wrong
    assert main([*TRAIN, str(tmp_path / "net"), "--epochs", "1"]) == 0
