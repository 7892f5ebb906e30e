"""A training that is killed (SIGKILL) at random moments, while it writes checkpoints all the time."""

from __future__ import annotations

import random
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

import xpnet as xn

SCRIPT = """
import sys
import numpy as np
import xpnet as xn

folder, epochs = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
x, y = rng.standard_normal((640, 100)).astype(np.float32), rng.integers(0, 5, 640)
net = xn.Sequential(xn.Affine(300), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.2), xn.Affine(5))
trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(1e-3), device="cpu", seed=1)
print("ready", flush=True)
keeper = xn.Checkpoints(folder, every=2)
trainer.fit(x, y, epochs=epochs, batch_size=32, validation=(x[:64], y[:64]), checkpoints=keeper, resume=True)
"""


def start(folder: Path, epochs: int) -> subprocess.Popen:
    child = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, folder, str(epochs)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert child.stdout.readline() == b"ready\n"
    return child


def kill(folder: Path, epochs: int, moment: random.Random) -> bool:
    """Start or go on, and kill within 0.15 seconds; whether the training had ended before."""
    child = start(folder, epochs)
    time.sleep(moment.uniform(0, 0.15))
    child.kill()
    errors = child.communicate()[1]
    assert b"Error" not in errors, errors.decode()
    return child.returncode == 0


def check_newest(folder: Path) -> int:
    """The newest checkpoint can be read, without falling back; the number of its updates."""
    files = xn.Checkpoints(folder).files
    if not files:
        return 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        path, _ = xn.Checkpoints(folder).newest()
    assert path == files[-1]
    assert xn.load(path).built
    return int(path.stem.partition("-")[2])


def final(folder: Path) -> dict[str, bytes]:
    """Arrays of the last checkpoint but for the seconds that epochs took."""
    from xpnet.saving.files import read

    return {name: a.tobytes() for name, a in read(xn.Checkpoints(folder).files[-1]).arrays.items()}


def killed(tmp_path: Path, kills: int, epochs: int) -> None:
    whole, moment, run = tmp_path / "whole", random.Random(7), 0
    child = start(whole, epochs)
    child.communicate()
    assert child.returncode == 0
    expected, while_writing, done = final(whole), 0, 0
    while done < kills:
        folder, ended, before = tmp_path / f"run{run}", False, 0
        while not ended and done < kills:
            ended = kill(folder, epochs, moment)
            done += not ended
            while_writing += folder.exists() and any(path.name.endswith(".tmp") for path in folder.iterdir())
            reached = check_newest(folder)
            assert reached >= before  # nothing is lost
            before = reached
        start(folder, epochs).communicate()
        assert final(folder) == expected
        assert not [path for path in folder.iterdir() if path.name.endswith(".tmp")]
        run += 1
    print(f"{kills} kills, {while_writing} of them while a file was being written, {run} trainings")
    assert while_writing or kills < 50


def test_killed_a_few_times_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    killed(tmp_path, 6, 4)


@pytest.mark.slow
def test_killed_200_times_it_ends_in_the_same_bytes(tmp_path: Path) -> None:
    killed(tmp_path, 200, 30)
