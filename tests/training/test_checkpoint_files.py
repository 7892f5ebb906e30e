"""The files of a training: which are kept, what is refused, what a full disk and damage leave."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_helpers import FIT, HELD_OUT, Bang, StopAt, X, Y, everything, net, trainer

import xpnet as xn
from xpnet.saving.files import read, write


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
    "weights": ({}, {"sample_weight": np.ones(70)}, "the training rows are not those"),
    "validation": ({}, {"validation": None}, "there were validation rows, now there are none"),
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
    with pytest.raises(ValueError, match="is of another training: the training rows are not those"):
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
    with pytest.warns(RuntimeWarning, match=rf"{newest.name} is damaged.*: checkpoint-000000015.safetensors is taken instead"):
        found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    assert everything(found) == everything(whole)
    for path in xn.Checkpoints(tmp_path).files:
        path.write_bytes(b"")
    with pytest.raises(ValueError, match=r"none of the 3 checkpoints in .* can be read"):
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

    with pytest.raises(TypeError, match=r"callback Odd: state.when: a set cannot be saved"):
        trainer("cpu", Odd()).fit(X, Y, checkpoints=tmp_path, **FIT)


def test_after_a_fall_back_the_damaged_ones_are_out_of_the_way(tmp_path: Path) -> None:
    whole = trainer("cpu")
    whole.fit(X, Y, **FIT)
    with pytest.raises(Bang):
        trainer("cpu", StopAt(19)).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, keep=1), **FIT)
    good = xn.Checkpoints(tmp_path).files[-1]
    damaged = tmp_path / "checkpoint-000000900.safetensors"
    damaged.write_bytes(good.read_bytes()[:-5])
    with pytest.warns(RuntimeWarning), pytest.raises(Bang):
        trainer("cpu", StopAt(4)).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=1, keep=1), resume=True, **FIT)
    assert damaged.with_suffix(".damaged").exists()
    keeper = xn.Checkpoints(tmp_path, every=1, keep=1)
    assert keeper.files[-1].name == "checkpoint-000000018.safetensors"
    found = trainer("cpu")
    found.fit(X, Y, checkpoints=keeper, resume=True, **FIT)
    assert keeper.resumed_from == tmp_path / "checkpoint-000000018.safetensors"
    assert everything(found) == everything(whole)


def test_a_rule_that_forgets_its_steps_costs_no_checkpoint(tmp_path: Path) -> None:
    def forget(trainer: xn.Trainer, record: dict) -> None:
        if record["epoch"] == 3:
            trainer.optimizer.reset()

    found = trainer("cpu", forget)
    found.fit(X, Y, checkpoints=tmp_path, **FIT)
    assert xn.Checkpoints(tmp_path).files[-1].name == "checkpoint-000000020.safetensors"


@pytest.mark.parametrize(
    ("about", "said"),
    [
        ({"order": "x"}, "is what the file says of itself"),
        ({"training": 1}, "is what the file says of itself"),
        ({"x": {1}}, "not JSON serializable"),
        ({"x": float("nan")}, "not JSON compliant"),
    ],
    ids=str,
)
def test_what_is_kept_beside_is_checked_at_once(about: dict, said: str) -> None:
    with pytest.raises((ValueError, TypeError), match=said):
        xn.Checkpoints("run", about=about)


def test_labels_that_differ_in_one_row_are_noticed(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3000, 6)).astype(np.float32), rng.integers(0, 3, 3000)
    options = {"epochs": 1, "batch_size": 500}
    trainer("cpu").fit(x, y, checkpoints=tmp_path, **options)
    y[1] = (y[1] + 1) % 3
    with pytest.raises(ValueError, match="is of another training: the training rows are not those"):
        trainer("cpu").fit(x, y, checkpoints=tmp_path, resume=True, **options)


@pytest.mark.parametrize(
    "change",
    [
        {"epoch": -3},
        {"epoch": 10**9},
        {"first": -5},
        {"step": 99},
        {"history": {"loss": [1.0]}},
        {"history": {"loss": ["x"] * 4}},
        {"optimizer": {"steps": "x", "schedule": {}, "vectors": {}}},
        {"optimizer": {"steps": -7, "schedule": {}, "vectors": {}}},
        {"optimizer": {"schedule": {}, "vectors": {}}},
        {"best": {"name": "../../etc/passwd", "watch": {}}},
        {"stopped": 3},
        {"callbacks": 3},
    ],
    ids=str,
)
def test_a_lying_checkpoint_changes_nothing(tmp_path: Path, change: dict) -> None:
    trainer("cpu").fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, keep=1), **FIT)
    path = xn.Checkpoints(tmp_path).files[-1]
    stored = read(path)
    write(path, stored.arrays, {**stored.about, "training": {**stored.about["training"], **change}})
    built = trainer("cpu").build((6,))
    before = everything(built)
    with pytest.raises(ValueError, match=f"{path.name}: no training can go on from it"):
        built.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    assert everything(built) == before


def test_the_folder_stays_where_it_was_named(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    trainer("cpu", lambda t, r: os.chdir(tmp_path / "elsewhere")).fit(X, Y, checkpoints="run", **FIT)
    assert len(xn.Checkpoints(tmp_path / "run").files) >= 3
    assert not any((tmp_path / "elsewhere").iterdir())


def test_a_number_that_no_record_has_costs_no_epoch(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="there is no 'accuracy' to watch"):
        trainer("cpu").fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, monitor="accuracy"), **FIT)
    assert xn.Checkpoints(tmp_path).files[-1].name == "checkpoint-000000005.safetensors"


def test_random_states_of_other_generators_can_be_kept(tmp_path: Path) -> None:
    class Drawing(xn.Callback):
        def state(self) -> dict:
            return {"key": np.random.MT19937(3).state["state"]["key"]}

        def restore(self, state: dict) -> None:
            assert state["key"].tolist() == self.state()["key"].tolist()

    for epochs in (2, 3):
        trainer("cpu", Drawing()).fit(X, Y, checkpoints=tmp_path, resume=True, **{**FIT, "epochs": epochs})


def test_afterwards_the_data_are_let_go_of(tmp_path: Path) -> None:
    import gc
    import weakref

    keeper, found = xn.Checkpoints(tmp_path), trainer("cpu")
    found.fit(X, Y, checkpoints=keeper, **FIT)
    gone = weakref.ref(found)
    del found
    gc.collect()
    assert gone() is None
    assert keeper.best.exists()


def test_names_that_are_none_and_attributes_in_the_way(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="the name of a folder is needed"):
        trainer("cpu").fit(X, Y, checkpoints="", **FIT)

    class Odd(xn.Callback):
        def __init__(self) -> None:
            self.state = {}  # type: ignore[assignment]

    with pytest.raises(TypeError, match="has an attribute named state or restore, which are its methods"):
        trainer("cpu", Odd())


@pytest.mark.skipif(os.name == "nt", reason="no such locks")
def test_a_folder_is_for_one_training_at_a_time(tmp_path: Path) -> None:
    seen = []

    def another(_: Any, record: dict) -> None:
        if record["epoch"] == 2:
            before = {path: path.read_bytes() for path in tmp_path.iterdir()}
            for again in (tmp_path, keeper):
                other = trainer("cpu")
                with pytest.raises(RuntimeError, match="another training, or a process that it began, is there: wait") as error:
                    other.fit(X, Y, checkpoints=again, resume=again is keeper, **FIT)
                assert not other.net.built
                seen.append(str(error.value))
            assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before

    keeper = xn.Checkpoints(tmp_path)
    trainer("cpu", another).fit(X, Y, checkpoints=keeper, **FIT)
    assert len(seen) == 2
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)  # and let go of at the end


def test_what_is_refused_lets_go_of_the_folder(tmp_path: Path) -> None:
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, **FIT)
    for _ in range(2):
        with pytest.raises(FileExistsError, match="has checkpoints of an earlier training"):
            trainer("cpu").fit(X, Y, checkpoints=tmp_path, **FIT)
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
