"""Callbacks in trainings that go on: what they do counts once, what they remember comes back, or is refused."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_helpers import FIT, Bang, StopAt, X, Y, broken_off, everything, trainer

import xpnet as xn


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
