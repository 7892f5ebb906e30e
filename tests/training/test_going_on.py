"""Trainings that go on although callbacks, parts of one's own, or circumstances are unusual: to the same bytes, or refused."""

from __future__ import annotations

import json
import os
import pickle
import signal
import threading
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_helpers import FIT, Bang, StopAt, X, Y, everything, trainer

import xpnet as xn
from xpnet.training import feed


def broken_off(folder: Path, stop: int, make: Any, y: np.ndarray = Y, fit: dict[str, Any] = FIT) -> xn.Trainer:
    """One that broke off after so many steps, taken up by another of ``make(*callbacks)``."""
    with pytest.raises(Bang):
        make(StopAt(stop)).fit(X, y, checkpoints=xn.Checkpoints(folder, every=1), **fit)
    found = make()
    found.fit(X, y, checkpoints=xn.Checkpoints(folder, every=1), resume=True, **fit)
    return found


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


class Swap(xn.Callback):
    """Puts another loss or rule in the place of the trainer's."""

    def __init__(self, name: str, part: Any):
        self.name, self.part = name, part

    def __call__(self, trainer: xn.Trainer, record: dict) -> None:
        if record["epoch"] == 2:
            setattr(trainer, self.name, self.part())


@pytest.mark.parametrize(
    ("name", "part"),
    [("loss", xn.HalfSquaredError), ("optimizer", lambda: xn.RMSProp(0.01)), ("optimizer", lambda: xn.SGD(xn.Cosine(0.1, 20)))],
    ids=["loss", "rule", "rule without vectors"],
)
def test_parts_that_a_callback_has_replaced_stay_replaced(name: str, part: Any, device, tmp_path: Path) -> None:
    def make(*callbacks: Any) -> xn.Trainer:
        return trainer(device, Swap(name, part), *callbacks, optimizer=xn.AdaGrad(0.02), loss=xn.MeanSquaredError())

    y, options = xn.datasets.one_hot(Y, 3), {**FIT, "validation": None}
    whole = make()
    whole.fit(X, y, **options)
    assert type(getattr(whole, name)) is type(part())
    for stop in (13, 16):
        assert everything(broken_off(tmp_path / str(stop), stop, make, y, options)) == everything(whole)


class Inverse(xn.Schedule):
    """A schedule of one's own."""

    def __init__(self, rate: float):
        self.rate = rate

    def __call__(self, step: int) -> float:
        return self.rate / (1 + step)


class Slower(xn.Callback):
    def __call__(self, trainer: xn.Trainer, record: dict) -> None:
        trainer.optimizer.schedule.rate *= 0.5


class Heavier(xn.Callback):
    def __call__(self, trainer: xn.Trainer, record: dict) -> None:
        trainer.optimizer.momentum *= 0.9


@pytest.mark.parametrize(
    ("change", "schedule"), [(Slower, Inverse(0.5)), (Heavier, xn.LinearWarmup(Inverse(0.5), 3))], ids=["own", "within"]
)
def test_options_beside_a_schedule_of_ones_own_stay_changed(change: Any, schedule: Any, tmp_path: Path) -> None:
    def make(*callbacks: Any) -> xn.Trainer:
        return trainer("cpu", change(), *callbacks, optimizer=xn.Momentum(schedule))

    whole = make()
    whole.fit(X, Y, **FIT)
    assert everything(broken_off(tmp_path, 13, make)) == everything(whole)


def test_a_schedule_that_no_other_process_would_know_is_refused_when_it_is_written(tmp_path: Path) -> None:
    def assign(trainer: xn.Trainer, record: dict) -> None:
        trainer.optimizer.learning_rate = Inverse(0.3)

    with pytest.raises(
        TypeError, match=r"a callback has changed the optimizer to what no checkpoint can hold: it has a Inverse"
    ):
        trainer("cpu", assign).fit(X, Y, checkpoints=tmp_path, **FIT)


class Halving(xn.Callback):
    """Counts the epochs that begin, and sets the rate by them."""

    count = 0

    def begin_epoch(self, trainer: xn.Trainer, steps: int, batches: Any) -> None:
        self.count += 1
        trainer.optimizer.learning_rate = 0.02 * 0.5**self.count

    def state(self) -> dict:
        return {"count": self.count}

    def restore(self, state: dict) -> None:
        self.count = state["count"]


def test_the_beginning_of_an_epoch_counts_once(device, tmp_path: Path) -> None:
    seen: list[Halving] = []

    def make(*callbacks: Any) -> xn.Trainer:
        seen.append(Halving())
        return trainer(device, seen[-1], *callbacks)

    whole = make()
    whole.fit(X, Y, **FIT)
    for stop in (8, 10, 11):
        assert everything(broken_off(tmp_path / str(stop), stop, make)) == everything(whole)
        assert seen[-1].count == 4


class Beginning(xn.Callback):
    """Sets the rate when fit begins, and changes it by each epoch; shrinks the weights before each epoch."""

    def begin(self, trainer: xn.Trainer) -> None:
        trainer.optimizer.learning_rate = 0.05

    def begin_epoch(self, trainer: xn.Trainer, steps: int, batches: Any) -> None:
        trainer.net.parameters.value *= 0.9

    def __call__(self, trainer: xn.Trainer, record: dict) -> None:
        trainer.optimizer.learning_rate *= 0.5


@pytest.mark.parametrize("stop", [9, 11, 13])  # the newest checkpoint: within an epoch, at its end, within the next
def test_what_happens_when_fit_and_epochs_begin_does_not_count_twice(stop: int, device, tmp_path: Path) -> None:
    def make(*callbacks: Any) -> xn.Trainer:
        return trainer(device, Beginning(), *callbacks)

    whole = make()
    whole.fit(X, Y, **FIT)
    assert everything(broken_off(tmp_path, stop, make)) == everything(whole)


class Meddling(xn.Callback):
    """Does to the trainer, when fit or an epoch begins, what counts twice if it is done twice."""

    def __init__(self, when: str):
        self.when = when

    def begin(self, trainer: xn.Trainer) -> None:
        if self.when == "fit":
            self.meddle(trainer)

    def begin_epoch(self, trainer: xn.Trainer, steps: int, batches: Any) -> None:
        if self.when == "epoch":
            self.meddle(trainer)

    def meddle(self, trainer: xn.Trainer) -> None:
        trainer.partial_fit(X[:8], Y[:8])  # parameters, running statistics, vectors, masks, loss scale
        trainer.net.seed += 1


@pytest.mark.parametrize("when", ["fit", "epoch"])
@pytest.mark.parametrize("options", [{}, {"precision": "float16", "loss_scale": "dynamic"}], ids=["float32", "float16"])
def test_what_callbacks_do_when_they_begin_is_done_once(when: str, options: dict, device, tmp_path: Path) -> None:
    def make(*callbacks: Any) -> xn.Trainer:
        return trainer(device, Meddling(when), *callbacks, **options)

    whole = make()
    whole.fit(X, Y, **FIT)
    for stop in (8, 11):
        assert everything(broken_off(tmp_path / str(stop), stop, make)) == everything(whole), stop
    made = make()
    made.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path / "8", every=1), resume=True, **FIT)  # it is complete
    assert everything(made) == everything(whole)


class Warming(xn.Callback):
    """An epoch at a rate of its own, then a schedule of one's own."""

    def begin(self, trainer: xn.Trainer) -> None:
        trainer.optimizer.learning_rate = 0.05

    def __call__(self, trainer: xn.Trainer, record: dict) -> None:
        trainer.optimizer.learning_rate = Inverse(0.05)


def test_classes_that_the_trainer_was_made_with_are_known(tmp_path: Path) -> None:
    def make(*callbacks: Any) -> xn.Trainer:
        return trainer("cpu", Warming(), *callbacks, optimizer=xn.Adam(Inverse(0.01)))

    whole = make()
    whole.fit(X, Y, **FIT)
    for stop in (6, 8, 12):
        assert everything(broken_off(tmp_path / str(stop), stop, make)) == everything(whole)


def test_a_rule_that_begins_afresh_has_no_vectors(tmp_path: Path) -> None:
    def fresh(trainer: xn.Trainer, record: dict) -> None:
        trainer.optimizer = xn.Adam(0.01)

    def make(*callbacks: Any) -> xn.Trainer:
        found = trainer("cpu", fresh, *callbacks)
        found.partial_fit(X[:8], Y[:8])
        return found

    whole = make()
    whole.fit(X, Y, **FIT)
    for stop in (6, 8):
        assert everything(broken_off(tmp_path / str(stop), stop, make)) == everything(whole)


@pytest.mark.parametrize(("name", "value"), [("seed", 7), ("metrics", {})])
def test_changes_that_no_checkpoint_keeps_are_refused_when_it_is_written(name: str, value: Any, tmp_path: Path) -> None:
    def change(trainer: xn.Trainer, record: dict) -> None:
        setattr(trainer, name, value)

    with pytest.raises(TypeError, match=f"a callback has changed trainer.{name}, which a checkpoint does not keep"):
        trainer("cpu", change).fit(X, Y, checkpoints=tmp_path, **FIT)


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


def test_fewer_epochs_than_are_done_end_it_with_the_best(tmp_path: Path) -> None:
    def make(*callbacks: Any) -> xn.Trainer:
        return trainer("cpu", xn.EarlyStopping(30), *callbacks)

    whole = make()
    whole.fit(X, Y, **{**FIT, "epochs": 2})
    with pytest.raises(Bang):
        make(StopAt(14)).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=1), **FIT)
    found = make()
    found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=1), resume=True, **{**FIT, "epochs": 2})
    assert found.callbacks[0].best_epoch == whole.callbacks[0].best_epoch
    assert everything(found)["parameters"] == everything(whole)["parameters"]


class Late(xn.Callback):
    """Has a state from the first epoch on."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def begin_epoch(self, trainer: xn.Trainer, steps: int, batches: Any) -> None:
        self.steps.append(steps)

    def state(self) -> dict:
        return {"last": self.steps[-1]}

    def restore(self, state: dict) -> None:
        self.steps = [state["last"]]


def test_a_state_that_is_there_late_will_do(tmp_path: Path) -> None:
    found = broken_off(tmp_path, 8, lambda *callbacks: trainer("cpu", Late(), *callbacks))
    assert found.callbacks[0].steps == [5, 5, 5]


def test_a_column_of_steps_is_refused_by_name_in_the_first_epoch(tmp_path: Path) -> None:
    class Steps(xn.Callback):
        def end_step(self, trainer: xn.Trainer, batch: Any, loss: Any) -> None:
            trainer.history.setdefault("mine", []).append(1.0)

    with pytest.raises(ValueError, match=r"history\['mine'\] does not have a number for each epoch"):
        trainer("cpu", Steps()).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=2), **FIT)


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


def test_a_new_training_of_a_trainer_has_its_own_settings(tmp_path: Path) -> None:
    def slower(trainer: xn.Trainer, record: dict) -> None:
        trainer.optimizer.learning_rate *= 0.5

    found = trainer("cpu", slower)
    found.fit(X, Y, checkpoints=tmp_path, **FIT)
    for path in tmp_path.iterdir():
        path.unlink()
    found.fit(X, Y, checkpoints=tmp_path, **FIT)
    with pytest.raises(ValueError, match=r"optimizer.learning_rate was 0.000625, is 0.01"):
        trainer("cpu").fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)


class Tag(xn.Callback):
    def __init__(self, tag: str):
        self.tag, self.seen = tag, ""

    def __call__(self, trainer: xn.Trainer, record: dict) -> None:
        self.seen += self.tag

    def state(self) -> dict:
        return {"seen": self.seen}

    def restore(self, state: dict) -> None:
        self.seen = state["seen"]


def test_states_go_to_the_callbacks_with_the_same_options_first(tmp_path: Path) -> None:
    trainer("cpu", Tag("a"), Tag("b")).fit(X, Y, checkpoints=tmp_path, **{**FIT, "epochs": 2})
    tags = [Tag("new"), Tag("a"), Tag("b")]
    trainer("cpu", *tags).fit(X, Y, checkpoints=tmp_path, resume=True, **{**FIT, "epochs": 3})
    assert [tag.seen for tag in tags] == ["new", "aaa", "bbb"]


class Locked(xn.EarlyStopping):
    def __init__(self, patience: int):
        super().__init__(patience)
        self.lock = threading.Lock()


def test_a_callback_that_cannot_be_copied_goes_on(tmp_path: Path) -> None:
    whole = trainer("cpu", Locked(3))
    whole.fit(X, Y, **FIT)
    found = broken_off(tmp_path, 13, lambda *callbacks: trainer("cpu", Locked(3), *callbacks))
    assert everything(found) == everything(whole)


class Holding(xn.Callback):
    def __init__(self, x: np.ndarray):
        self.x = x


def test_large_arrays_of_callbacks_are_not_written(tmp_path: Path) -> None:
    trainer("cpu", Holding(np.array(["a"] * 10_001, object))).fit(X, Y, checkpoints=tmp_path / "a", **{**FIT, "epochs": 1})
    trainer("cpu", Holding(np.zeros((300, 784)))).fit(X, Y, checkpoints=tmp_path, **{**FIT, "epochs": 2})
    assert max(path.stat().st_size for path in tmp_path.glob("checkpoint-*")) < 20_000
    found = trainer("cpu", Holding(np.zeros((300, 784))))
    found.fit(X, Y, checkpoints=tmp_path, resume=True, **{**FIT, "epochs": 3})
    assert found.epoch == 3


class Centred(xn.Layer):
    def __init__(self, mean: np.ndarray):
        self.mean = mean


def test_large_arrays_of_layers_are_refused_by_name(tmp_path: Path) -> None:
    net = xn.Sequential(Centred(np.zeros((101, 100))), xn.Affine(2)).build((100,))
    with pytest.raises(TypeError, match=r"mean: an array of 10,100 numbers \([0-9a-f]{8}\) is not kept: give .* make.state"):
        net.save(tmp_path / "net")


def test_states_that_no_checkpoint_holds_are_refused_before_the_first_step(tmp_path: Path) -> None:
    class Odd(Halving):
        def state(self) -> dict:
            return {0: self.count}

    found = trainer("cpu", Odd())
    with pytest.raises(TypeError, match=r"callback Odd: state: keys \[0\] cannot be saved"):
        found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=1000), **FIT)
    assert found.optimizer.steps == 0


def test_a_column_of_ones_own_in_the_history_is_refused_by_name(tmp_path: Path) -> None:
    def add(trainer: xn.Trainer, record: dict) -> None:
        trainer.history.setdefault("mine", []).append("text")

    with pytest.raises(
        ValueError, match=r"history\['mine'\] does not have a number for each epoch: put what you add into the rec"
    ):
        trainer("cpu", add).fit(X, Y, checkpoints=tmp_path, **FIT)


def test_what_is_kept_beside_a_checkpoint_must_come_back() -> None:
    with pytest.raises(TypeError, match=r"Checkpoints\(about\).a: keys \['__number__'\] cannot be saved"):
        xn.Checkpoints("a", about={"a": {"__number__": "abc"}})


def test_other_metrics_are_another_training(tmp_path: Path) -> None:
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, **{**FIT, "epochs": 2})
    with pytest.raises(ValueError, match=r"metrics.0 was 'accuracy', is 'mine'"):
        trainer("cpu", metrics={"mine": lambda *_: 0.0}).fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)


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
