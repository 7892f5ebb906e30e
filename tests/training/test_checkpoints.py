"""Checkpoints: a training that was stopped goes on to the same bytes, and nothing is lost on the way."""

from __future__ import annotations

import copy
import errno
import os
import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet.saving.files import read, write
from xpnet.training import feed


class Bang(Exception):
    pass


class StopAt(xn.Callback):
    """Breaks a training off in the middle, as a power cut would."""

    def __init__(self, step: int):
        self.step, self._steps = step, 0

    def end_step(self, trainer: xn.Trainer, batch: Any, loss: Any) -> None:
        self._steps += 1
        if self._steps == self.step:
            raise Bang


def data(rows: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, 6)).astype(np.float32)
    return x, (x[:, 0] + 0.3 * rng.standard_normal(rows) > 0).astype(int) + (x[:, 1] > 1)


X, Y = data()
HELD_OUT = data(31)


def net() -> xn.Sequential:
    return xn.Sequential(xn.Affine(12), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3), xn.GaussianNoise(0.1), xn.Affine(3))


def trainer(device: Any, *callbacks: Any, optimizer: Any = None, **options: Any) -> xn.Trainer:
    rule = copy.deepcopy(optimizer) if optimizer is not None else xn.Adam(0.01)
    options = {"loss": xn.SoftmaxCrossEntropy(), **options}
    return xn.Trainer(net(), optimizer=rule, device=device, seed=4, callbacks=callbacks, **options)


def everything(trained: xn.Trainer) -> dict[str, Any]:
    """All that a training leaves, but for how long it took."""
    history = {name: values for name, values in trained.history.items() if name != "seconds"}
    vectors = {name: trained.device.get(vector).tobytes() for name, vector in trained.optimizer.vectors.items()}
    parameters = {name: a.tobytes() for name, a in trained.net.parameters.snapshot().items()}
    half = trained.half and trained.half.state()
    return {
        "history": repr(history),
        "vectors": vectors,
        "parameters": parameters,
        "half": half,
        "steps": (trained.optimizer.steps, trained.net.steps_begun, trained.epoch, trained.optimizer.current_rate),
    }


FIT: dict[str, Any] = {"epochs": 4, "batch_size": 16, "validation": HELD_OUT}  # five steps an epoch, the last of 6 rows
RULES = {
    "adam": xn.Adam(0.01),
    "sgd": xn.SGD(0.1),
    "momentum, plateau": xn.Momentum(xn.ReduceOnPlateau(0.5, patience=0, factor=0.5)),
    "adamw, all of it": xn.AdamW(xn.LinearWarmup(xn.Cosine(0.02, steps=15), steps=4), clip_norm=0.5, l2=1e-3),
    "adagrad": xn.AdaGrad(0.05),
    "warm plateau": xn.RMSProp(xn.LinearWarmup(xn.ReduceOnPlateau(0.05, patience=0), steps=3)),
}
OPTIONS: dict[str, dict[str, Any]] = {
    "early stopping": {"early_stopping": 1, "epochs": 12},
    "weights": {"sample_weight": np.linspace(0, 2, 70), "class_weight": "balanced"},
    "in order": {"shuffle": False},
    "all at once": {"batch_size": None, "epochs": 6},
    "online": {"batch_size": 2, "epochs": 2},
    "no validation": {"validation": None},
}


def resumed(folder: Path, stop: int, device: Any, every: int | None, options: dict, **made: Any) -> xn.Trainer:
    """A training that broke off after so many steps, taken up by another trainer."""
    keeper = xn.Checkpoints(folder, every=every)
    with pytest.raises(Bang):
        trainer(device, StopAt(stop), **made).fit(X, Y, checkpoints=keeper, **options)
    second = trainer(device, **made)
    second.fit(X, Y, checkpoints=xn.Checkpoints(folder, every=every), resume=True, **options)
    return second


@pytest.mark.parametrize("rule", RULES)
def test_stopped_anywhere_it_ends_in_the_same_bytes(device, rule: str, tmp_path: Path) -> None:
    whole = trainer(device, optimizer=RULES[rule])
    whole.fit(X, Y, **FIT)
    for stop in (1, 4, 5, 6, 13, 20):
        for every in (1, 3, None):
            found = resumed(tmp_path / f"{stop} {every}", stop, device, every, FIT, optimizer=RULES[rule])
            assert everything(found) == everything(whole), (stop, every)


@pytest.mark.parametrize("name", OPTIONS)
def test_with_every_option_of_fit(device, name: str, tmp_path: Path) -> None:
    options = {**FIT, **OPTIONS[name]}
    whole = trainer(device)
    whole.fit(X, Y, **options)
    for stop in {1, 3, whole.optimizer.steps - 1}:
        found = resumed(tmp_path / str(stop), stop, device, 2, options)
        assert everything(found) == everything(whole), stop


def test_in_half_precision(device, tmp_path: Path) -> None:
    made = {"precision": "float16", "loss_scale": "dynamic"}
    whole = trainer(device, **made)
    whole.fit(X * 100, Y, **FIT)
    with pytest.raises(Bang):
        trainer(device, StopAt(8), **made).fit(X * 100, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    found = trainer(device, **made)
    found.fit(X * 100, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)
    assert everything(found) == everything(whole)


@pytest.mark.parametrize("made", [{"dtype": "float64"}, {"loss": xn.MeanSquaredError()}], ids=str)
def test_in_float64_and_for_numbers(device, made: dict, tmp_path: Path) -> None:
    targets = Y if "loss" not in made else np.eye(3)[Y]
    options = {**FIT, "validation": (X[:9], targets[:9])}
    whole = trainer(device, **made)
    whole.fit(X, targets, **options)
    with pytest.raises(Bang):
        trainer(device, StopAt(7), **made).fit(X, targets, checkpoints=xn.Checkpoints(tmp_path, every=2), **options)
    found = trainer(device, **made)
    found.fit(X, targets, checkpoints=xn.Checkpoints(tmp_path, every=2), resume=True, **options)
    assert everything(found) == everything(whole)


def test_one_sample_at_a_time(tmp_path: Path) -> None:
    def plain(*callbacks: Any) -> xn.Trainer:
        layers = xn.Sequential(xn.Affine(5), xn.Tanh(), xn.Affine(3))
        return xn.Trainer(layers, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu", callbacks=callbacks)

    whole, found = plain(), plain()
    whole.fit(X, Y, per_sample=True, **FIT)
    with pytest.raises(Bang):
        plain(StopAt(7)).fit(X, Y, per_sample=True, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    found.fit(X, Y, per_sample=True, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)
    assert everything(found) == everything(whole)


def test_of_data_that_are_read_batch_by_batch(device, tmp_path: Path, monkeypatch) -> None:
    np.save(tmp_path / "x.npy", X.astype(np.float64))
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    monkeypatch.setattr(feed, "RESIDENT_BYTES", 100)
    whole = trainer(device)
    whole.fit(mapped, Y, **FIT)
    with pytest.raises(Bang):
        trainer(device, StopAt(8)).fit(mapped, Y, checkpoints=xn.Checkpoints(tmp_path / "run", every=3), **FIT)
    found = trainer(device)
    found.fit(mapped, Y, checkpoints=xn.Checkpoints(tmp_path / "run", every=3), resume=True, **FIT)
    assert everything(found) == everything(whole)


def test_stopped_on_one_device_it_goes_on_on_another(tmp_path: Path) -> None:
    """Not to the same bytes: sums are made in another order. Weights stay within 1e-4 of their size in these 20 steps."""
    whole = trainer("cpu")
    whole.fit(X, Y, **FIT)
    with pytest.raises(Bang):
        trainer("sim", StopAt(12)).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    found = trainer("cpu")
    found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)
    for name, a in whole.net.parameters.snapshot().items():
        np.testing.assert_allclose(found.net.parameters.snapshot()[name], a, rtol=0, atol=1e-4 * max(1, abs(a).max()))


def test_it_can_go_on_for_longer_and_again_and_again(tmp_path: Path) -> None:
    whole = trainer("cpu")
    whole.fit(X, Y, **{**FIT, "epochs": 9})
    for epochs in (2, 5, 5, 9):
        found = trainer("cpu")
        found.fit(X, Y, checkpoints=tmp_path, resume=True, **{**FIT, "epochs": epochs})
        assert found.epoch == epochs
    assert everything(found) == everything(whole)


def test_without_a_checkpoint_it_begins(tmp_path: Path) -> None:
    whole, found = trainer("cpu"), trainer("cpu")
    whole.fit(X, Y, **FIT)
    found.fit(X, Y, checkpoints=tmp_path / "new" / "folder", resume=True, **FIT)
    assert everything(found) == everything(whole)


def test_early_stopping_has_ended_it_once_and_for_all(tmp_path: Path) -> None:
    options = {**FIT, "epochs": 40, "early_stopping": 1}
    first, second = trainer("cpu"), trainer("cpu")
    first.fit(X, Y, checkpoints=tmp_path, **options)
    assert first.epoch < 40
    second.fit(X, Y, checkpoints=tmp_path, resume=True, **options)
    assert everything(second) == everything(first)  # the best epoch's parameters are in place


def test_the_newest_and_the_best_are_kept(tmp_path: Path) -> None:
    against = (HELD_OUT[0], 2 - HELD_OUT[1])  # labels that have nothing to do with what is learned: it gets worse
    options = {**FIT, "validation": against}
    keeper, found = xn.Checkpoints(tmp_path, keep=2), trainer("cpu")
    found.fit(X, Y, checkpoints=keeper, **{**options, "epochs": 12})
    best = int(np.argmin(found.history["validation_loss"])) + 1
    assert best < 11
    assert keeper.best == tmp_path / f"checkpoint-{5 * best:09d}.safetensors"
    assert {path.name for path in keeper.files} == {f"checkpoint-{5 * epoch:09d}.safetensors" for epoch in (best, 11, 12)}
    loaded = xn.Trainer(xn.load(keeper.best), loss=found.loss, optimizer=xn.SGD(1), device="cpu")
    assert loaded.evaluate(*against)["loss"] == pytest.approx(min(found.history["validation_loss"]), abs=0)
    again = xn.Checkpoints(tmp_path, keep=2)
    trainer("cpu").fit(X, Y, checkpoints=again, resume=True, **{**options, "epochs": 13})
    assert again.best == keeper.best  # remembered


def test_a_checkpoint_is_a_network_with_what_was_to_be_kept(device, tmp_path: Path) -> None:
    found = trainer(device)
    found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, about={"note": "mine"}), **FIT)
    path = xn.Checkpoints(tmp_path).files[-1]
    np.testing.assert_array_equal(xn.load(path, device=device).predict(X), found.predict(X))
    stored = read(path)
    assert stored.about["note"] == "mine"
    assert "training.optimizer.vectors.mean.0.weight" in stored.arrays
    assert stored.arrays["training.optimizer.vectors.mean.0.weight"].shape == (12, 6)


CHANGES: dict[str, tuple[dict, dict, str]] = {
    "batch size": ({}, {"batch_size": 8}, "batch_size was 16, is 8"),
    "shuffle": ({}, {"shuffle": False}, "shuffle was True, is False"),
    "seed": ({"seed": 5}, {}, "seed was 4, is 5"),
    "optimizer": ({"optimizer": xn.Adam(0.02)}, {}, "optimizer.learning_rate was 0.01, is 0.02"),
    "rule": ({"optimizer": xn.SGD(0.01)}, {}, "optimizer was"),
    "loss": ({"loss": xn.SoftmaxCrossEntropy(label_smoothing=0.1)}, {}, "loss.label_smoothing was 0.0, is 0.1"),
    "weights": ({}, {"sample_weight": np.ones(70)}, "data was"),
    "validation": ({}, {"validation": None}, "validation was"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_training_is_refused_by_what_differs(name: str, tmp_path: Path) -> None:
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, **FIT)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    made, options, said = CHANGES[name]
    rule = made.get("optimizer", xn.Adam(0.01))
    other = xn.Trainer(
        net(), loss=made.get("loss", xn.SoftmaxCrossEntropy()), optimizer=rule, device="cpu", seed=made.get("seed", 4)
    )
    with pytest.raises(ValueError, match=rf"checkpoint-000000020.safetensors is of another training: .*{said}"):
        other.fit(X, Y, checkpoints=tmp_path, resume=True, **{**FIT, **options})
    assert not other.net.built  # as it was before
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_other_data_and_another_network_are_refused(tmp_path: Path) -> None:
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, **FIT)
    with pytest.raises(ValueError, match="is of another training: data was"):
        trainer("cpu").fit(X + 1, Y, checkpoints=tmp_path, resume=True, **FIT)
    normal = (xn.LayerNorm(), *net().layers[2:5])
    for layers, said in (((xn.ReLU(),), "network.layers were 6, are 3"), (normal, "network.layers.1 was")):
        other = trainer("cpu")
        other.net = xn.Sequential(xn.Affine(12), *layers, xn.Affine(3))
        with pytest.raises(ValueError, match=f"is of another training: .*{said}"):
            other.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)


def test_a_folder_with_checkpoints_is_not_begun_anew(tmp_path: Path) -> None:
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, **FIT)
    with pytest.raises(FileExistsError, match="has checkpoints of an earlier training: go on with it by resume=True"):
        trainer("cpu").fit(X, Y, checkpoints=tmp_path, **FIT)


def test_resume_without_a_folder_and_wrong_numbers() -> None:
    with pytest.raises(ValueError, match=r"fit\(resume=True\) goes on from checkpoints="):
        trainer("cpu").fit(X, Y, resume=True)
    for wrong in ({"every": 0}, {"keep": 0}, {"every": 1.5}):
        with pytest.raises(ValueError, match="it is a whole number from 1 on"):
            xn.Checkpoints("run", **wrong)


def test_a_damaged_checkpoint_is_told_and_the_one_before_taken(tmp_path: Path) -> None:
    whole = trainer("cpu")
    whole.fit(X, Y, checkpoints=tmp_path, **FIT)
    newest = xn.Checkpoints(tmp_path).files[-1]
    newest.write_bytes(newest.read_bytes()[:-9])
    found = trainer("cpu")
    with pytest.warns(RuntimeWarning, match=rf"{newest.name} is damaged.*: the checkpoint before it is taken"):
        found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    assert everything(found) == everything(whole)
    for path in xn.Checkpoints(tmp_path).files:
        path.write_bytes(b"")
    with pytest.warns(RuntimeWarning), pytest.raises(ValueError, match=r"none of the 3 checkpoints in .* can be read"):
        trainer("cpu").fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)


def test_a_checkpoint_that_lacks_something_is_damaged(tmp_path: Path) -> None:
    trainer("cpu").fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, keep=1), **FIT)
    (path,) = {*xn.Checkpoints(tmp_path).files[-1:]}
    stored = read(path)
    for key in ("optimizer", "settings", "best", "history"):
        tree = {name: value for name, value in stored.about["training"].items() if name != key}
        write(path, stored.arrays, {**stored.about, "training": tree})
        with pytest.raises(ValueError, match=r"no training can go on from it \(KeyError"):
            trainer("cpu").fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    missing = {name: a for name, a in stored.arrays.items() if name != "training.optimizer.vectors.mean.0.bias"}
    write(path, missing, stored.about)
    with pytest.raises(ValueError, match=r"no training can go on from it \(KeyError"):
        trainer("cpu").fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    write(path, stored.arrays, {**stored.about, "training": None})
    with pytest.raises(ValueError, match="no training can go on from it"):
        trainer("cpu").fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)


def test_a_full_disk_ends_the_training_and_leaves_the_last_checkpoint(tmp_path: Path, monkeypatch) -> None:
    whole = trainer("cpu")
    whole.fit(X, Y, **FIT)
    written: list[int] = []
    sync = os.fsync

    def full(descriptor: int) -> None:
        written.append(descriptor)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match=r"No space left on device, nothing was changed.*checkpoint-"):
        trainer("cpu").fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    monkeypatch.undo()
    assert all(path.name.startswith(("checkpoint-", "log.jsonl")) for path in tmp_path.iterdir())
    found = trainer("cpu")
    found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)
    assert everything(found) == everything(whole)


def test_a_place_that_cannot_be_written_to_is_told_before_training(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError, match=r"Checkpoints: .*file cannot be a folder: .*file is a file"):
        trainer("cpu").fit(X, Y, checkpoints=tmp_path / "file", **FIT)
    with pytest.raises(ValueError, match="there is no 'validation_f1' to watch"):
        trainer("cpu").fit(X, Y, checkpoints=xn.Checkpoints(tmp_path / "run", monitor="validation_f1"), **FIT)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    fresh = trainer("cpu")
    with pytest.raises(PermissionError, match=r"Checkpoints: .* may not be written to"):
        fresh.fit(X, Y, checkpoints=tmp_path / "run", **FIT)
    assert fresh.epoch == 0


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal: it is ignored where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press(times: int) -> Callable[[xn.Trainer, dict], None]:
    def callback(trainer: xn.Trainer, record: dict) -> None:
        if record["epoch"] == 2:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return callback


class PressAt(StopAt):
    def end_step(self, trainer: xn.Trainer, batch: Any, loss: Any) -> None:
        try:
            super().end_step(trainer, batch, loss)
        except Bang:
            signal.raise_signal(signal.SIGINT)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    whole = trainer("cpu")
    whole.fit(X, Y, **FIT)
    with pytest.raises(xn.Interrupted, match=rf"stopped in epoch 2, after step 3 of 5; saved in {tmp_path}: fit with the same"):
        trainer("cpu", PressAt(8)).fit(X, Y, checkpoints=tmp_path, **FIT)
    assert xn.Checkpoints(tmp_path).files[-1].name == "checkpoint-000000008.safetensors"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    found = trainer("cpu", press(1))
    with pytest.raises(xn.Interrupted, match="stopped in epoch 2; saved in"):
        found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    found.callbacks = ()
    found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)  # the same trainer, as in a notebook
    assert everything(found) == everything(whole)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_twice_stops_at_once_and_without_checkpoints_as_ever(tmp_path: Path) -> None:
    for options in ({"checkpoints": tmp_path}, {}):
        with pytest.raises(KeyboardInterrupt) as stopped:
            trainer("cpu", press(2)).fit(X, Y, **options, **FIT)
        assert not isinstance(stopped.value, xn.Interrupted)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_ones_own_and_other_threads_are_left_alone(tmp_path: Path) -> None:
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        trainer("cpu", press(1)).fit(X, Y, checkpoints=tmp_path / "a", **FIT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]
    thread = threading.Thread(target=lambda: trainer("cpu").fit(X, Y, checkpoints=tmp_path / "b", **FIT))
    thread.start()
    thread.join()
    assert xn.Checkpoints(tmp_path / "b").files


class Counting(xn.Callback):
    """A user's own, with something to remember."""

    def __init__(self) -> None:
        self.losses: list[float] = []

    def end_step(self, trainer: xn.Trainer, batch: Any, loss: Any) -> None:
        self.losses.append(float(trainer.device.get(loss)))

    def state(self) -> dict:
        return {"losses": self.losses, "last": np.array(self.losses[-1:])}

    def restore(self, state: dict) -> None:
        self.losses = state["losses"]
        assert state["last"].tolist() == self.losses[-1:]


def test_a_callback_of_ones_own_remembers(tmp_path: Path) -> None:
    whole, first, second = Counting(), Counting(), Counting()
    trainer("cpu", whole).fit(X, Y, **FIT)
    with pytest.raises(Bang):
        trainer("cpu", first, StopAt(8)).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=4), **FIT)
    trainer("cpu", second).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=4), resume=True, **FIT)
    assert second.losses == whole.losses


def test_a_callback_whose_state_cannot_be_saved_is_told(tmp_path: Path) -> None:
    class Odd(xn.Callback):
        def state(self) -> dict:
            return {"when": {1, 2}}

    with pytest.raises(TypeError, match=r"training.callbacks.0.state.when: a set cannot be saved"):
        trainer("cpu", Odd()).fit(X, Y, checkpoints=tmp_path, **FIT)
