"""Callbacks and early stopping."""

from __future__ import annotations

import copy
import math

import numpy as np
import pytest
from core_helpers import bits, classes_data
from trainer_helpers import Diary, make

import xpnet as xn


class TestCallbacks:
    def test_a_function(self, device):
        seen = []
        trainer = make(device, callbacks=[lambda t, record: seen.append((t, dict(record)))])
        history = trainer.fit(*classes_data(20), epochs=3)
        assert [t is trainer for t, _ in seen] == [True] * 3
        for k, (_, record) in enumerate(seen):
            assert record == {name: column[k] for name, column in history.items()}

    def test_begin_and_finish(self, device):
        diary = Diary()
        trainer = make(device, callbacks=[diary])
        trainer.fit(*classes_data(20), epochs=2)
        trainer.fit(*classes_data(20))
        assert diary.events == ["begin", 1, 2, "finish", "begin", 3, "finish"]

    @pytest.mark.parametrize(
        "stopping",
        [Diary(stop=2), lambda t, r: r["epoch"] == 2, lambda t, r: np.bool_(r["epoch"] == 2)],
        ids=["class", "function", "NumPy's bool"],
    )
    def test_true_ends_the_training_after_all_were_called(self, device, stopping):
        before, after = Diary(), Diary()
        trainer = make(device, callbacks=[before, copy.deepcopy(stopping), after])
        history = trainer.fit(*classes_data(20), epochs=9)
        assert history["epoch"] == [1, 2]
        assert before.events == after.events == ["begin", 1, 2, "finish"]

    @pytest.mark.parametrize("returned", [None, False, 0])
    def test_anything_else_goes_on(self, device, returned):
        trainer = make(device, callbacks=[lambda t, r: returned])
        assert trainer.fit(*classes_data(20), epochs=3)["epoch"] == [1, 2, 3]

    def test_finish_is_called_on_an_exception_too(self, device):
        first, failing = Diary(), Diary(fail=2)
        trainer = make(device, callbacks=[first, failing])
        with pytest.raises(RuntimeError, match="planned"):
            trainer.fit(*classes_data(20), epochs=9)
        assert first.events == failing.events == ["begin", 1, 2, "finish"]
        assert trainer.history["epoch"] == [1, 2]

    def test_interrupted_early_stopping_restores_the_best(self, device):
        kept = []

        def interrupt(trainer, record):
            kept.append(bits(trainer))
            if record["epoch"] == 3:
                raise KeyboardInterrupt

        class Rising(xn.EarlyStopping):
            def __call__(self, trainer, record):
                return super().__call__(trainer, record | {"rising": float(record["epoch"])})

        trainer = make(device, callbacks=[Rising(9, monitor="rising"), interrupt])
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(*classes_data(20), epochs=9)
        assert len(set(kept)) == 3
        assert bits(trainer) == kept[0]

    def test_what_cannot_be_called_is_refused_before_anything(self, device):
        with pytest.raises(TypeError, match=r"callbacks: 3 cannot be called; a callback is a function f\(trainer, record\)"):
            make(device, callbacks=[3])
        with pytest.raises(TypeError, match=r"EarlyStopping is a class: write EarlyStopping\(\.\.\.\)"):
            make(device, callbacks=[xn.EarlyStopping])
        with pytest.raises(TypeError, match=r"a callback is a function f\(trainer, record\); too many positional arguments"):
            make(device, callbacks=[lambda record: None])
        make(device, callbacks=[print, lambda *both: None, lambda trainer, record, more=3: None])

    def test_one_function_needs_no_list(self, device):
        seen = []
        make(device, callbacks=lambda trainer, record: seen.append(record["epoch"])).fit(*classes_data(20), epochs=2)
        assert seen == [1, 2]

    def test_print_epoch(self, device, capsys):
        x, y = classes_data(20)
        make(device, callbacks=[xn.print_epoch]).fit(x, y, epochs=2, validation=(x, y))
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) == 2
        assert lines[1].startswith("epoch   2  loss ")
        assert all(word in lines[1] for word in ("validation loss", "validation accuracy", " s"))


def watching(values):
    """A callback that puts a number of our choosing into each record, under "watched"."""
    return lambda trainer, record: record.__setitem__("watched", values[record["epoch"] - 1])


class TestEarlyStopping:
    @pytest.mark.parametrize(
        ("values", "options", "epochs", "best"),
        [
            ([3, 2, 1, 2, 2, 2, 0], {"patience": 3}, 6, 3),
            ([3, 2, 1, 2, 2, 0, 0], {"patience": 3}, 7, 6),
            ([3, 2, 1, 1, 0, 0, 0], {"patience": 1}, 4, 3),
            ([1, 2, 3, 3, 0, 0, 0], {"patience": 2, "mode": "max"}, 5, 3),
            ([3, 2.9, 2.8, 2.7, 2.7, 0, 0], {"patience": 2, "min_delta": 0.15}, 5, 3),
            ([3, math.nan, math.nan, 0, 0, 0, 0], {"patience": 2}, 3, 1),
            ([7, 6, 5, 4, 3, 2, 1], {"patience": 1}, 7, 7),
        ],
        ids=["stops", "saved in time", "equal is no better", "max", "min_delta", "NaN", "always better"],
    )
    def test_when_it_stops_and_what_it_keeps(self, device, values, options, epochs, best):
        kept, stopping = [], xn.EarlyStopping(monitor="watched", **options)
        trainer = make(device, callbacks=[watching(values), lambda t, r: kept.append(bits(t))])
        history = trainer.fit(*classes_data(20), epochs=7, early_stopping=stopping)
        assert len(history["epoch"]) == epochs
        assert stopping.best_epoch == best
        assert bits(trainer) == kept[best - 1]
        assert len(set(kept)) == epochs

    def test_without_restoring(self, device):
        kept = []
        trainer = make(device, callbacks=[watching([1, 2, 3]), lambda t, r: kept.append(bits(t))])
        trainer.fit(*classes_data(20), epochs=9, early_stopping=xn.EarlyStopping(2, monitor="watched", restore_best=False))
        assert bits(trainer) == kept[-1] != kept[0]

    def test_a_number_is_the_patience(self, device):
        x, y = classes_data(20)
        trainer = make(device, optimizer=xn.SGD(1000.0))
        history = trainer.fit(x, y, epochs=50, early_stopping=2, validation=(x, y))
        best = int(np.argmin(history["validation_loss"]))
        assert len(history["epoch"]) < 50
        assert trainer.evaluate(x, y)["loss"] == history["validation_loss"][best]

    def test_watches_the_training_loss_without_validation(self, device):
        stopping = xn.EarlyStopping(3)
        history = make(device, optimizer=xn.SGD(1000.0)).fit(*classes_data(20), epochs=40, early_stopping=stopping)
        assert stopping.best_epoch == int(np.argmin(history["loss"])) + 1

    def test_begins_afresh_with_each_fit(self, device):
        stopping = xn.EarlyStopping(2, monitor="watched")
        trainer = make(device, callbacks=[watching([0, 1, 1, 5, 4, 3, 2])])
        trainer.fit(*classes_data(20), epochs=9, early_stopping=stopping)
        assert (trainer.epoch, stopping.best_epoch) == (3, 1)
        trainer.fit(*classes_data(20), epochs=4, early_stopping=stopping)
        assert (trainer.epoch, stopping.best_epoch) == (7, 7)

    def test_an_unknown_monitor_names_what_there_is(self, device):
        with pytest.raises(ValueError, match=r"there is no 'validation_auc' to watch; an epoch's record has epoch, loss"):
            make(device).fit(*classes_data(20), early_stopping=xn.EarlyStopping(monitor="validation_auc"))

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"mode": "low"}, r"mode='low'\): choose 'min' or 'max'"),
            ({"patience": 0}, "patience=0"),
            ({"patience": -1}, "patience=-1"),
            ({"patience": 2.5}, r"patience=2\.5"),
        ],
        ids=str,
    )
    def test_arguments_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            xn.EarlyStopping(**options)
