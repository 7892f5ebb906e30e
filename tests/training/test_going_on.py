"""Trainings that go on although callbacks, parts of one's own, or circumstances are unusual: to the same bytes, or refused."""

from __future__ import annotations

import json
import os
import pickle
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_helpers import FIT, Bang, StopAt, X, Y, everything, trainer

import xpnet as xn
from xpnet.training import feed


@pytest.mark.parametrize("stop", [6, 7, 8])
def test_a_streamed_set_whose_epoch_is_nearly_done(stop: int, device, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(feed, "RESIDENT_BYTES", 1 << 10)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 1)  # a batch at a time
    rng = np.random.default_rng(0)
    np.save(tmp_path / "x.npy", rng.standard_normal((64, 16)).astype("float32"))
    x, y = np.load(tmp_path / "x.npy", mmap_mode="r"), rng.integers(0, 3, 64)

    def run(*callbacks: Any, **options: Any) -> xn.Trainer:
        found = trainer(device, *callbacks)
        found.fit(x, y, epochs=3, batch_size=8, **options)
        return found

    with pytest.raises(Bang):
        run(StopAt(stop), checkpoints=xn.Checkpoints(tmp_path / "run", every=1))
    found = run(checkpoints=xn.Checkpoints(tmp_path / "run", every=1), resume=True)
    assert everything(found) == everything(run())


@pytest.mark.parametrize("every", [2, 100])
def test_what_watches_for_nan_begins_each_epoch_afresh(every: int, tmp_path: Path) -> None:
    trainer("cpu", xn.StopOnNonFinite(every)).fit(X, Y, checkpoints=tmp_path, **{**FIT, "epochs": 1})
    second = trainer("cpu", xn.StopOnNonFinite(every), Poison(2, 3))
    with pytest.raises(FloatingPointError, match=r"epoch 2, step 3: the step could not be taken again") as error:
        second.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    assert "The parameters are those from before this step" in str(error.value)


class Poison(xn.Callback):
    """Makes a weight NaN before a step."""

    def __init__(self, epoch: int, step: int):
        self.epoch, self.step, self._steps = epoch, step, 0

    def begin_epoch(self, trainer: xn.Trainer, steps: int, batches: Any) -> None:
        self._steps = 0

    def end_step(self, trainer: xn.Trainer, batch: Any, loss: Any) -> None:
        self._steps += 1
        if (trainer.epoch + 1, self._steps) == (self.epoch, self.step - 1):
            trainer.net.parameters["0.W"].value[0, 0] = np.nan


def test_overflow_that_a_loss_scale_takes_care_of_is_no_alarm() -> None:
    found = trainer("cpu", xn.StopOnNonFinite(2), precision="float16", loss_scale="dynamic").build(6)
    found.half._scale.of["scale"].fill(2.0**19)
    found.half._scale.of["inverse"].fill(2.0**-19)
    found.fit(X, Y, **FIT)
    assert found.history["skipped"][0] > 0
    found.net.parameters["0.W"].value[0, 0] = np.nan
    with pytest.raises(FloatingPointError, match="epoch 5, step 1"):
        found.fit(X, Y, **FIT)


def test_an_alarm_after_going_on_puts_back_what_was_there(tmp_path: Path) -> None:
    class Poisoned(xn.Callback):
        def end_step(self, trainer: xn.Trainer, batch: Any, loss: Any) -> None:
            if trainer.optimizer.steps == 9:
                trainer.net.parameters["0.W"].value[0, 0] = np.nan

    def make(*callbacks: Any) -> xn.Trainer:
        return trainer("cpu", Shrinking(), xn.StopOnNonFinite(10), *callbacks)

    ends = []
    for folder, stop in ((tmp_path / "whole", None), (tmp_path / "stopped", 8)):
        if stop:
            with pytest.raises(Bang):
                make(StopAt(stop)).fit(X, Y, checkpoints=xn.Checkpoints(folder, every=1), **FIT)
        found = make(Poisoned())
        with pytest.raises(FloatingPointError):
            found.fit(X, Y, checkpoints=xn.Checkpoints(folder, every=1), resume=True, **FIT)
        ends.append(found.net.parameters.snapshot())
    for name, a in ends[0].items():
        assert np.isfinite(a).all()
        np.testing.assert_array_equal(ends[1][name], a)


class Shrinking(xn.Callback):
    def begin_epoch(self, trainer: xn.Trainer, steps: int, batches: Any) -> None:
        trainer.net.parameters.value *= 0.5


def test_a_log_of_several_fits_keeps_what_was_added(tmp_path: Path) -> None:
    def add(trainer: xn.Trainer, record: dict) -> None:
        record["extra"] = record["epoch"] * 10

    def script(*callbacks: Any) -> None:
        found = trainer("cpu", add, xn.JSONLog(tmp_path / "log"), *callbacks)
        found.fit(X, Y, checkpoints=tmp_path / "one", resume=True, **{**FIT, "epochs": 2})
        found.fit(X, Y, checkpoints=tmp_path / "two", resume=True, **FIT)

    def bang(trainer: xn.Trainer, record: dict) -> None:
        if record["epoch"] == 5:
            raise Bang

    with pytest.raises(Bang):
        script(bang)
    script()
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["extra"] for line in lines] == [10, 20, 30, 40, 50, 60]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork")
def test_a_forked_process_does_not_hold_the_folder(tmp_path: Path) -> None:
    children: list[int] = []

    def fork(trainer: xn.Trainer, record: dict) -> None:
        if not children:
            children.append(os.fork())
            if not children[0]:
                time.sleep(60)
                os._exit(0)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of forking with threads
        trainer("cpu", fork).fit(X, Y, checkpoints=tmp_path, **{**FIT, "epochs": 1})
    try:
        trainer("cpu").fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    finally:
        os.kill(children[0], signal.SIGKILL)
        os.waitpid(children[0], 0)


def test_what_is_kept_beside_a_checkpoint_must_come_back() -> None:
    with pytest.raises(TypeError, match=r"Checkpoints\(about\).a: keys \['__number__'\] cannot be saved"):
        xn.Checkpoints("a", about={"a": {"__number__": "abc"}})


def test_a_best_model_that_was_overwritten_is_told(tmp_path: Path) -> None:
    def script() -> xn.BestModel:
        best = xn.BestModel(tmp_path / "best")
        found = trainer("cpu", best)
        found.fit(X, Y, epochs=1, batch_size=16)
        found.fit(X, Y, checkpoints=tmp_path / "run", resume=True, **{**FIT, "epochs": 6})
        return best

    first = script()
    assert first.best_epoch > 1
    with pytest.warns(
        RuntimeWarning, match=rf"best is not the network of epoch {first.best_epoch}, the best, any more"
    ) as told:
        script()
    assert len(told) == 1


def test_in_a_notebook_it_goes_on_after_a_write_that_failed(tmp_path: Path, monkeypatch) -> None:
    def slower(trainer: xn.Trainer, record: dict) -> None:
        trainer.optimizer.learning_rate *= 0.9

    whole = trainer("cpu", slower)
    whole.fit(X, Y, **FIT)
    found = trainer("cpu", slower, StopAt(13))
    for _ in range(2):
        with pytest.raises(Bang):
            found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
        found.callbacks[-1]._steps = 10  # the third step of the third epoch, again
    found.callbacks[-1].step = 0  # never again
    found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    assert everything(found) == everything(whole)


def test_a_temporary_file_of_an_earlier_process_of_this_number_goes(tmp_path: Path) -> None:
    left = tmp_path / f".xpnet-{os.getpid()}-0123456789abcdef.tmp"
    left.write_bytes(b"x")
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, **{**FIT, "epochs": 1})
    assert not left.exists()


def test_additions_to_a_log_stay_when_columns_come_later(tmp_path: Path) -> None:
    def add(trainer: xn.Trainer, record: dict) -> None:
        record["extra"] = record["epoch"] * 10

    found = trainer("cpu", add, xn.JSONLog(tmp_path / "log"))
    found.fit(X, Y, epochs=2, batch_size=16)  # no validation yet
    found.fit(X, Y, **{**FIT, "epochs": 1})
    lines = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    assert [line["extra"] for line in lines] == [10, 20, 30]


def test_interrupted_can_be_sent_to_another_process() -> None:
    error = xn.Interrupted("in epoch 2", Path("run"))
    again = pickle.loads(pickle.dumps(error))
    assert (str(again), again.where, again.folder) == (str(error), "in epoch 2", Path("run"))


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege there")
def test_a_link_to_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "run").symlink_to(tmp_path / "gone")
    with pytest.raises(NotADirectoryError, match=r"run is a link to .*gone, which is not there"):
        trainer("cpu").fit(X, Y, checkpoints=tmp_path / "run", **FIT)
