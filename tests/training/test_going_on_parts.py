"""Trainings that go on although callbacks, or users, have changed their parts: to the same bytes, or refused."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_helpers import FIT, X, Y, broken_off, everything, trainer

import xpnet as xn


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


class Centred(xn.Layer):
    def __init__(self, mean: np.ndarray):
        self.mean = mean


def test_large_arrays_of_layers_are_refused_by_name(tmp_path: Path) -> None:
    net = xn.Sequential(Centred(np.zeros((101, 100))), xn.Affine(2)).build((100,))
    with pytest.raises(TypeError, match=r"mean: an array of 10,100 numbers \([0-9a-f]{8}\) is not kept: give .* make.state"):
        net.save(tmp_path / "net")


def test_other_metrics_are_another_training(tmp_path: Path) -> None:
    trainer("cpu").fit(X, Y, checkpoints=tmp_path, **{**FIT, "epochs": 2})
    with pytest.raises(ValueError, match=r"metrics.0 was 'accuracy', is 'mine'"):
        trainer("cpu", metrics={"mine": lambda *_: 0.0}).fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
