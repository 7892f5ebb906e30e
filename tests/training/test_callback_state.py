"""What callbacks give a checkpoint, and that they go on from it as if never stopped."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
from checkpoint_helpers import Bang, StopAt
from core_helpers import bits, classes_data
from trainer_helpers import make, timeless

import xpnet as xn
from xpnet.saving.trees import join, split
from xpnet.training import BestModel, JSONLog
from xpnet.training.callbacks import as_callback


def through_a_file(state):
    """The state as a checkpoint gives it back: strict JSON, and arrays beside it."""
    arrays = {}
    tree = json.loads(json.dumps(split(state, arrays, "state"), allow_nan=False))
    return join(tree, {name: a.copy() for name, a in arrays.items()})


class Resume(xn.Callback):
    """Stands after a callback and has it take a state."""

    def __init__(self, callback, state):
        self.callback, self.taken = callback, state

    def begin(self, trainer):
        self.callback.restore(self.taken)


def halves(device, new, epochs, at, before=()):
    """One training in one go, the same stopped after epoch ``at`` and resumed: (trainer, callback) of both."""
    kept = {}

    def keep(trainer, record):
        if record["epoch"] == at:
            kept["trainer"] = copy.deepcopy(trainer, {id(trainer.callbacks): ()})
            kept["state"] = through_a_file(whole[1].state())

    whole = make(device, callbacks=[*before, callback := new(), keep]), callback
    data = classes_data(20)
    whole[0].fit(*data, epochs=epochs, batch_size=6, progress=False)
    resumed = kept["trainer"]
    resumed.callbacks = (*map(as_callback, before), callback := new(), Resume(callback, kept["state"]))
    resumed.fit(*data, epochs=epochs - at, batch_size=6, progress=False)
    return whole, (resumed, callback)


def watching(values):
    return lambda trainer, record: record.__setitem__("watched", values[record["epoch"] - 1])


@pytest.mark.parametrize("values", [[3, 1, 2, 2, 2, 0, 0], [1, math.nan, 3, 0.5, 0, 0, 0], [3] + [math.nan] * 6], ids=str)
def test_early_stopping(device, values):
    (whole, a), (resumed, b) = halves(device, lambda: xn.EarlyStopping(3, monitor="watched"), 7, 2, [watching(values)])
    assert timeless(resumed.history) == timeless(whole.history)
    assert bits(resumed) == bits(whole)
    assert (b.best, b.best_epoch, b.waited) == (a.best, a.best_epoch, a.waited)


def test_early_stopping_before_its_first_epoch():
    state = through_a_file(xn.EarlyStopping().state())
    assert state == {"of": [None, 1], "best": None, "best_epoch": None, "waited": 0, "snapshot": None}


def test_best_model(tmp_path):
    saved = []

    def new():
        return BestModel(tmp_path / "best", "watched")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(xn.Sequential, "save", lambda net, path: saved.append(bits(net)))
        (_, a), (_, b) = halves("cpu", new, 4, 2, [watching([3, 1, 2, 0.5])])
    assert (a.best_epoch, b.best_epoch) == (4, 4)
    assert len(saved) == 4  # epochs 1, 2, 4 and again 4: what the resumed one saw in epoch 3 is not the best
    assert saved[2] == saved[3]


@pytest.mark.parametrize("every", [None, 3])
def test_layer_statistics(device, every):
    (_, a), (_, b) = halves(device, lambda: xn.LayerStatistics(every), 4, 2)
    assert len(b.reports) == (4 if every is None else 5)
    for back, report in zip(b.reports, a.reports, strict=True):
        np.testing.assert_equal(back.numbers(), report.numbers())
        assert (back.epoch, back.step, back.names) == (report.epoch, report.step, report.names)
    assert str(b.reports[0]) == str(a.reports[0])


def test_a_report_that_is_not_finite_comes_back():
    seen = xn.LayerStatistics()
    with np.errstate(all="ignore"), pytest.warns(RuntimeWarning):
        make(optimizer=xn.SGD(1e38), callbacks=[seen]).fit(*classes_data(20), epochs=3, progress=False)
    back = xn.LayerStatistics()
    back.restore(through_a_file(seen.state()))
    assert not math.isfinite(seen.reports[-1].loss)
    np.testing.assert_equal([r.numbers() for r in back.reports], [r.numbers() for r in seen.reports])


class Bomb(xn.Layer):
    """Makes its output infinite in the step of this number."""

    def __init__(self, number):
        self.number = number

    def forward(self, x, step):
        return (x * np.inf if step.training and step.number == self.number else x), None

    def backward(self, dy, cache, step):
        return dy


def test_stop_on_non_finite_in_the_middle_of_an_epoch():
    """Resumed after step 3 of 8, as a trainer does it: the epoch's beginning, then the steps that are left."""
    x, y = classes_data(32)
    trainer = xn.Trainer(
        xn.Sequential(xn.Affine(3), Bomb(6)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu"
    )
    trainer.build(4)
    batches = [(x[i : i + 4], y[i : i + 4], None) for i in range(0, 32, 4)]
    first, second = xn.StopOnNonFinite(every=2), xn.StopOnNonFinite(every=2)
    first.begin(trainer)
    first.begin_epoch(trainer, 8, lambda: iter(batches))
    for batch in batches[:3]:
        first.end_step(trainer, batch, trainer.step(*batch))
    second.begin(trainer)
    second.restore(through_a_file(first.state()))
    second.begin_epoch(trainer, 8, lambda: iter(batches))

    def go_on():
        for batch in batches[3:]:
            second.end_step(trainer, batch, trainer.step(*batch))

    with np.errstate(all="ignore"), pytest.raises(FloatingPointError, match=r"epoch 1, step 7: layer 1, .*Bomb.* forward"):
        go_on()


def test_callbacks_without_a_state():
    assert xn.Callback().state() == {}
    assert xn.Callback().restore({}) is None


def test_all_of_them_through_a_checkpoint_in_the_middle_of_an_epoch(device, tmp_path):
    """Logs, the best model, reports and early stopping are those of a training that was never stopped."""
    data, validation = classes_data(40), classes_data(20, seed=3)

    def fit(folder, stop=(), resume=False):
        callbacks = [
            seen := xn.LayerStatistics(every=2),
            xn.StopOnNonFinite(every=4),
            best := BestModel(folder / "best", "validation_accuracy"),
            JSONLog(folder / "log.jsonl"),
            *stop,
        ]
        trainer = make(device, callbacks=callbacks)
        keeper, stopping = xn.Checkpoints(folder / "run", every=3), xn.EarlyStopping(4)
        options = {"epochs": 6, "batch_size": 8, "progress": False, "validation": validation, "early_stopping": stopping}
        trainer.fit(*data, checkpoints=keeper, resume=resume, **options)
        lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
        numbers = [report.numbers() for report in seen.reports]
        return [{**line, "seconds": 0} for line in lines], numbers, (best.best, best.best_epoch), bits(xn.load(folder / "best"))

    with pytest.raises(Bang):
        fit(tmp_path / "stopped", stop=[StopAt(20)])  # in the last step of the fourth epoch
    assert int(xn.Checkpoints(tmp_path / "stopped" / "run").files[-1].stem.partition("-")[2]) % 5  # within an epoch
    np.testing.assert_equal(fit(tmp_path / "stopped", resume=True), fit(tmp_path / "whole"))
