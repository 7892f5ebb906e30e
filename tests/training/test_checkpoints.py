"""Checkpoints: a training that was stopped goes on to the same bytes, and nothing is lost on the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from checkpoint_helpers import FIT, Bang, StopAt, X, Y, everything, trainer

import xpnet as xn
from xpnet.training import feed

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
    stops = ((1, 1), (4, 3), (5, None), (6, 1), (6, None), (13, 3), (20, 3))
    for stop, every in stops if device.kind == "cpu" else stops[3:6]:
        found = resumed(tmp_path / f"{stop} {every}", stop, device, every, FIT, optimizer=RULES[rule])
        assert everything(found) == everything(whole), (stop, every)


@pytest.mark.parametrize("name", OPTIONS)
def test_with_every_option_of_fit(device, name: str, tmp_path: Path) -> None:
    options = {**FIT, **OPTIONS[name]}
    whole = trainer(device)
    whole.fit(X, Y, **options)
    for stop in {1, 3, whole.optimizer.steps - 1} if device.kind == "cpu" else {3}:
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
    """To the same bytes where both compute alike, as cpu and sim do but for convolutions."""
    whole = trainer("cpu")
    whole.fit(X, Y, **FIT)
    with pytest.raises(Bang):
        trainer("sim", StopAt(12)).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    found = trainer("cpu")
    found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)
    assert everything(found) == everything(whole)


def test_with_convolutions_another_device_rounds_otherwise(tmp_path: Path) -> None:
    """Weights stay within 1e-4 of the largest of their array in these 18 steps."""
    x = np.random.default_rng(2).standard_normal((70, 16, 16, 4)).astype(np.float32)
    options = {**FIT, "validation": None, "batch_size": 32, "epochs": 6}

    def conv(device: str, *callbacks: Any) -> xn.Trainer:
        layers = xn.Sequential(xn.Conv2d(16, 3, bias=False), xn.BatchNorm(), xn.ReLU(), xn.Flatten(), xn.Affine(3))
        return xn.Trainer(layers, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.05), device=device, callbacks=callbacks)

    whole, found = conv("cpu"), conv("cpu")
    whole.fit(x, Y, **options)
    with pytest.raises(Bang):
        conv("sim", StopAt(12)).fit(x, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **options)
    found.fit(x, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **options)
    pairs = zip(found.net.parameters.snapshot().values(), whole.net.parameters.snapshot().values(), strict=True)
    for one, other in pairs:
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-4 * abs(other).max())
    assert everything(found)["parameters"] != everything(whole)["parameters"]  # else this would show nothing


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


class At(xn.Callback):
    """Does something after an epoch."""

    def __init__(self, epoch: int, action: Callable[[xn.Trainer], Any]):
        self._epoch, self._action = epoch, action

    def __call__(self, trainer: xn.Trainer, record: dict) -> None:
        if record["epoch"] == self._epoch:
            self._action(trainer)


CHANGED: dict[str, Callable[[xn.Trainer], Any]] = {
    "learning rate": lambda t: setattr(t.optimizer, "learning_rate", 0.001),
    "schedule": lambda t: setattr(t.optimizer, "learning_rate", xn.Exponential(0.01, 0.9)),
    "weight decay": lambda t: setattr(t.optimizer, "weight_decay", 0.1),
    "frozen": lambda t: t.net.freeze(0),
    "dropout": lambda t: setattr(t.net.layers[3], "rate", 0.0),
    "loss": lambda t: setattr(t.loss, "label_smoothing", 0.2),
}


def test_a_schedule_in_the_place_of_another(tmp_path: Path) -> None:
    """What the first has observed is of no use to the second."""
    plateau = xn.SGD(xn.ReduceOnPlateau(0.1, patience=0))
    change = At(1, lambda t: setattr(t.optimizer, "learning_rate", 0.01))
    whole = trainer("cpu", change, optimizer=plateau)
    whole.fit(X, Y, **FIT)
    with pytest.raises(Bang):
        trainer("cpu", change, StopAt(8), optimizer=plateau).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    found = trainer("cpu", optimizer=plateau)
    found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)
    assert everything(found) == everything(whole)


@pytest.mark.parametrize("name", CHANGED)
def test_what_a_callback_has_changed_stays_changed(name: str, tmp_path: Path) -> None:
    change = At(1, CHANGED[name])
    whole, plain = trainer("cpu", change), trainer("cpu")
    whole.fit(X, Y, **FIT)
    plain.fit(X, Y, **FIT)
    assert everything(whole)["parameters"] != everything(plain)["parameters"]
    broken = trainer("cpu", change, StopAt(8))
    with pytest.raises(Bang):
        broken.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    found = trainer("cpu")  # the change was in the epoch before: nothing makes it again
    found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **{**FIT, "epochs": 3})
    broken.callbacks = ()
    broken.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)  # as in a notebook
    assert everything(broken) == everything(whole)


def test_early_stopping_ends_it_for_good_a_function_until_the_next_time(tmp_path: Path) -> None:
    whole = trainer("cpu")
    whole.fit(X, Y, **FIT)
    times = iter((False, True, False, False, False))
    found = trainer("cpu", lambda t, r: next(times))
    found.fit(X, Y, checkpoints=tmp_path, **FIT)
    assert found.epoch == 2
    found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    assert everything(found) == everything(whole)


class Fading(xn.SGD):
    """A rule of one's own with something of its own to remember."""

    def __init__(self, learning_rate: float):
        super().__init__(learning_rate)
        self._share = 1.0

    def numbers(self, rate: float) -> tuple[float, ...]:
        self._share *= 0.9
        return (rate * self._share,)

    def state(self) -> dict:
        return {**super().state(), "share": self._share}

    def restore(self, state: dict, parameters: Any) -> None:
        super().restore(state, parameters)
        self._share = state["share"]


class Watching(xn.Schedule):
    """Observes, and does not say what it has seen."""

    def __call__(self, step: int) -> float:
        return 0.1

    def observe(self, value: float) -> None:
        pass


def test_a_rule_of_ones_own_remembers(tmp_path: Path) -> None:
    whole = trainer("cpu", optimizer=Fading(0.2))
    whole.fit(X, Y, **FIT)
    found = resumed(tmp_path, 8, "cpu", 3, FIT, optimizer=Fading(0.2))
    assert everything(found) == everything(whole)
    with pytest.raises(TypeError, match="Watching observes losses: give it state"):
        trainer("cpu", optimizer=xn.SGD(Watching())).fit(X, Y, checkpoints=tmp_path / "other", **FIT)


def test_several_watchers_take_each_their_own(tmp_path: Path) -> None:
    def watchers() -> list[xn.EarlyStopping]:
        return [xn.EarlyStopping(30, monitor="validation_accuracy"), xn.EarlyStopping(30)]

    first, second, whole = watchers(), watchers()[::-1], watchers()
    trainer("cpu", *whole).fit(X, Y, **FIT)
    with pytest.raises(Bang):
        trainer("cpu", *first, StopAt(13)).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    trainer("cpu", *second).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)
    assert [w.best for w in second[::-1]] == [w.best for w in whole]
    built = trainer("cpu", xn.EarlyStopping(30, monitor="validation_accuracy", mode="min")).build((6,))
    before = everything(built)
    with pytest.raises(ValueError, match=r"no training can go on from it \(it watched"):
        built.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    assert everything(built) == before


class Bounded(xn.Layer):
    """A layer of one's own with options of several kinds."""

    def __init__(self, high: Any):
        self.high = high

    def forward(self, x: Any, step: Any) -> Any:
        return x, None

    def backward(self, dy: Any, cache: None, step: Any) -> Any:
        return dy


@pytest.mark.parametrize("high", [float("inf"), float("nan"), np.array([1.0, np.inf]), [1, "a"]], ids=str)
def test_options_that_json_does_not_have(high: Any, tmp_path: Path) -> None:
    def bounded(*callbacks: Any, value: Any = high) -> xn.Trainer:
        stopping = xn.EarlyStopping(9, min_delta=-float("inf"))
        found = trainer("cpu", stopping, *callbacks)
        found.net = xn.Sequential(xn.Affine(3), Bounded(value))
        return found

    whole, found = bounded(), bounded()
    whole.fit(X, Y, **FIT)
    with pytest.raises(Bang):
        bounded(StopAt(8)).fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), **FIT)
    with pytest.raises(ValueError, match=r"is of another training: network.layers.1.high.* was"):
        bounded(value=np.array([2.0, np.inf])).fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    found.fit(X, Y, checkpoints=xn.Checkpoints(tmp_path, every=3), resume=True, **FIT)
    assert everything(found) == everything(whole)
    again = xn.load(xn.Checkpoints(tmp_path).files[-1], own=[Bounded])
    np.testing.assert_equal(again.layers[1].high, tuple(high) if isinstance(high, list) else high)


def test_options_that_no_file_holds_are_refused_before_training(tmp_path: Path) -> None:
    found = trainer("cpu")
    found.net = xn.Sequential(xn.Affine(3), Bounded({1, 2}))
    with pytest.raises(TypeError, match=r"known again from a checkpoint: network\.layers\.1\.high: a set is not kept"):
        found.fit(X, Y, checkpoints=tmp_path / "run", **FIT)
    assert not found.net.built
    assert not (tmp_path / "run").exists()
