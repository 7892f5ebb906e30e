"""Logs, TensorBoard's charts, the best network kept; and what callbacks give a checkpoint."""

from __future__ import annotations

import json
import math
import os
import stat

import numpy as np
import pytest
from core_helpers import bits, classes_data
from trainer_helpers import make

import xpnet as xn
from xpnet.training import BestModel, JSONLog, TensorBoardLog


def strict(text: str) -> list[dict]:
    """Lines of JSON, of which NaN and Infinity are no part."""

    def refuse(constant):
        raise AssertionError(f"{constant} is no JSON")

    assert text == "" or text.endswith("\n")
    return [json.loads(line, parse_constant=refuse) for line in text.splitlines()]


def adding(**values):
    """A callback that adds to the record."""
    return lambda trainer, record: record.update(values)


def fit(trainer, epochs=2, **options):
    return trainer.fit(*classes_data(20), epochs=epochs, progress=False, **options)


class TestJSONLog:
    def test_a_line_an_epoch(self, device, tmp_path):
        path = tmp_path / "log.jsonl"
        history = fit(make(device, callbacks=[JSONLog(path)]), epochs=3, validation=classes_data(20))
        lines = strict(path.read_text())
        assert lines == [dict(zip(history, row, strict=True)) for row in zip(*history.values(), strict=True)]
        assert list(lines[0]) == ["epoch", "loss", "learning_rate", "seconds", "validation_loss", "validation_accuracy"]

    def test_a_reader_sees_it_at_once(self, device, tmp_path):
        path, seen = tmp_path / "log.jsonl", []
        look = [JSONLog(path), lambda t, r: seen.append([line["epoch"] for line in strict(path.read_text())])]
        fit(make(device, callbacks=look), epochs=3)
        assert seen == [[1], [1, 2], [1, 2, 3]]

    def test_a_second_fit_goes_on(self, device, tmp_path):
        path = tmp_path / "log.jsonl"
        trainer = make(device, callbacks=[JSONLog(path)])
        fit(trainer)
        fit(trainer, validation=classes_data(20))
        lines = strict(path.read_text())
        assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
        assert [line["loss"] for line in lines] == trainer.history["loss"]

    def test_a_resumed_training_has_no_epoch_twice(self, tmp_path):
        path = tmp_path / "log.jsonl"
        path.write_text('{"epoch": 1}\n{"epoch": 2}\n' + 100_000 * "[" + '\n{"epoch": 3, "los')
        trainer = make(callbacks=[JSONLog(path)])
        trainer.history = {"epoch": [1, 2], "loss": [0.5, math.nan], "validation_loss": [math.inf, 0.25]}  # as a checkpoint has
        trainer.epoch = 2
        fit(trainer, epochs=1)
        lines = strict(path.read_text())
        assert lines[:2] == [
            {"epoch": 1, "loss": 0.5, "validation_loss": None},
            {"epoch": 2, "loss": None, "validation_loss": 0.25},
        ]
        assert lines[2]["epoch"] == 3
        assert len(lines) == 3

    @pytest.mark.parametrize(
        ("value", "written"),
        [
            (math.nan, None),
            (-math.inf, None),
            (np.float32(0.5), 0.5),
            (np.float64("nan"), None),
            (np.int64(7), 7),
            (np.bool_(True), True),
            (np.array([[1.0, math.inf], [2, 3]]), [[1.0, None], [2.0, 3.0]]),
            (np.array(3), 3),
            ([1, (2.5, math.nan)], [1, [2.5, None]]),
            ({"a": np.float32(1), 2: "Wörter"}, {"a": 1.0, "2": "Wörter"}),
            (None, None),
        ],
        ids=repr,
    )
    def test_what_callbacks_add(self, tmp_path, value, written):
        path = tmp_path / "log.jsonl"
        fit(make(callbacks=[adding(mine=value), JSONLog(path)]))
        assert [line["mine"] for line in strict(path.read_text())] == [written, written]

    def test_arrays_of_the_device(self, device, tmp_path):
        path = tmp_path / "log.jsonl"
        fit(make(device, callbacks=[adding(mine=device.put(np.arange(3.0))), JSONLog(path)]))
        assert [line["mine"] for line in strict(path.read_text())] == [[0, 1, 2]] * 2

    def test_what_json_has_not_is_refused_by_name(self, tmp_path):
        with pytest.raises(TypeError, match=r"JSONLog: record\['mine'\] holds 1j: numbers"):
            fit(make(callbacks=[adding(mine=[1j]), JSONLog(tmp_path / "log.jsonl")]))

    def test_a_diverged_training(self, tmp_path):
        path = tmp_path / "log.jsonl"
        with pytest.warns(RuntimeWarning):
            fit(make(loss=xn.MeanSquaredError(), optimizer=xn.SGD(1e30), callbacks=[JSONLog(path)], outputs=1), epochs=3)
        assert strict(path.read_text())[-1]["loss"] is None

    def test_what_was_written_stays_when_fit_raises(self, tmp_path):
        def fail(trainer, record):
            if record["epoch"] == 2:
                raise KeyboardInterrupt

        path = tmp_path / "log.jsonl"
        with pytest.raises(KeyboardInterrupt):
            fit(make(callbacks=[JSONLog(path), fail]), epochs=9)
        assert [line["epoch"] for line in strict(path.read_text())] == [1, 2]

    def test_makes_folders_and_leaves_one_file_of_the_usual_mode(self, tmp_path):
        path = tmp_path / "a" / "b" / "log.jsonl"
        fit(make(callbacks=[JSONLog(str(path))]))
        assert os.listdir(path.parent) == ["log.jsonl"]
        usual = tmp_path / "usual"
        usual.touch()
        assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE(usual.stat().st_mode)


def small(callbacks, **options):
    return xn.Trainer(
        xn.Sequential(xn.Affine(3)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), callbacks=callbacks, **options
    )


def watching(values):
    return lambda trainer, record: record.__setitem__("watched", values[record["epoch"] - 1])


class TestBestModel:
    @pytest.mark.parametrize(
        ("values", "mode", "best"),
        [
            ([3, 1, 2, 1, 4], None, 2),
            ([3, 1, 2, 1, 4], "max", 5),
            ([math.nan, 5, math.inf, 4, -math.inf], "min", 4),
            ([np.float32(2), 1, 0, 0, 0], "min", 3),
        ],
        ids=str,
    )
    def test_the_file_is_the_best_epoch_s(self, tmp_path, values, mode, best):
        kept, path = [], tmp_path / "best"
        callback = BestModel(path, monitor="watched", mode=mode)
        fit(small([watching(values), callback, lambda t, r: kept.append(bits(t))]), epochs=5)
        assert bits(xn.load(path)) == kept[best - 1]
        assert (callback.best_epoch, callback.best) == (best, values[best - 1])
        assert len(set(kept)) == 5

    def test_accuracies_are_better_when_larger(self, tmp_path):
        callback = BestModel(tmp_path / "best", "validation_accuracy")
        history = fit(small([callback]), epochs=6, validation=classes_data(20))
        assert callback.best_epoch == 1 + int(np.argmax(history["validation_accuracy"]))

    def test_watches_the_validation_loss(self, tmp_path):
        callback = BestModel(tmp_path / "best")
        history = fit(small([callback]), epochs=3, validation=classes_data(20, seed=5))
        assert callback.best == min(history["validation_loss"])

    def test_a_second_fit_does_not_replace_a_better_one(self, tmp_path):
        kept, callback = [], BestModel(tmp_path / "best", "watched")
        trainer = small([watching([2, 1, 3, 1.5]), callback, lambda t, r: kept.append(bits(t))])
        fit(trainer)
        fit(trainer)
        assert bits(xn.load(tmp_path / "best")) == kept[1]

    def test_refused_before_the_training(self, tmp_path):
        with pytest.raises(ValueError, match=r"BestModel\(mode='low'\): choose"):
            BestModel(tmp_path / "best", mode="low")
        trainer = small([BestModel(tmp_path / "best", "validation_auc")])
        with pytest.raises(ValueError, match="there is no 'validation_auc' to watch"):
            fit(trainer)
        assert not trainer.net.built


@pytest.mark.parametrize("make_callback", [JSONLog, BestModel, TensorBoardLog], ids=lambda c: c.__name__)
class TestPlaces:
    def test_below_a_file(self, tmp_path, make_callback):
        if make_callback is TensorBoardLog:
            pytest.importorskip("tensorboardX")
        (tmp_path / "file").touch()
        trainer = small([make_callback(tmp_path / "file" / "log")])
        with pytest.raises(NotADirectoryError, match=rf"^{make_callback.__name__}: .*file.* is a file"):
            fit(trainer)
        assert not trainer.net.built

    def test_where_nothing_may_be_written(self, tmp_path, make_callback, monkeypatch):
        if make_callback is TensorBoardLog:
            pytest.importorskip("tensorboardX")
        monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write everywhere
        with pytest.raises(PermissionError, match=rf"^{make_callback.__name__}: {tmp_path} may not be written to"):
            fit(small([make_callback(tmp_path / "log")]))
        assert not (tmp_path / "log").exists()

    def test_a_folder_where_a_file_is_meant(self, tmp_path, make_callback):
        if make_callback is TensorBoardLog:
            pytest.skip("it takes a folder")
        with pytest.raises(IsADirectoryError, match=rf"{make_callback.__name__}: .* is a folder: give the path of a file"):
            fit(small([make_callback(tmp_path)]))


@pytest.mark.extras
class TestTensorBoardLog:
    @pytest.fixture(autouse=True)
    def _libraries(self):
        pytest.importorskip("tensorboardX")

    def read(self, folder):
        accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator").EventAccumulator
        found = accumulator(str(folder), size_guidance={"scalars": 0, "histograms": 0})
        return found.Reload()

    def test_scalars(self, device, tmp_path):
        added = adding(auc=np.float32(0.5), words="no number", array=np.ones(3))
        history = fit(make(device, callbacks=[added, TensorBoardLog(tmp_path)]), epochs=3, validation=classes_data(20))
        found = self.read(tmp_path)
        names = {
            "loss/train": "loss",
            "loss/validation": "validation_loss",
            "accuracy/validation": "validation_accuracy",
            "learning_rate": "learning_rate",
            "seconds": "seconds",
        }
        assert sorted(found.Tags()["scalars"]) == sorted([*names, "auc"])
        assert not found.Tags()["histograms"]
        for chart, name in names.items():
            events = found.Scalars(chart)
            assert [event.step for event in events] == [1, 2, 3]
            np.testing.assert_allclose([event.value for event in events], history[name], rtol=1e-6)

    def test_numbers_too_large_for_a_float(self, tmp_path):
        fit(make(callbacks=[adding(many=10**400, few=-(10**400)), TensorBoardLog(tmp_path)]))
        found = self.read(tmp_path)
        assert [[event.value for event in found.Scalars(name)] for name in ("many", "few")] == [[math.inf] * 2, [-math.inf] * 2]

    def test_histograms(self, device, tmp_path):
        trainer = make(device, callbacks=[TensorBoardLog(tmp_path, histograms=True)])
        fit(trainer)
        found = self.read(tmp_path)
        assert sorted(found.Tags()["histograms"]) == [f"parameters/{name}" for name in ("0.W", "0.b", "3.W", "3.b")]
        first, last = found.Histograms("parameters/0.W")
        weights = trainer.net.parameters.snapshot()["0.W"]
        value = last.histogram_value
        assert (first.step, last.step, value.num) == (1, 2, weights.size)
        np.testing.assert_allclose([value.min, value.max, value.sum], [weights.min(), weights.max(), weights.sum()], rtol=1e-5)

    def test_a_diverged_training_is_logged_too(self, tmp_path):
        log = TensorBoardLog(tmp_path, histograms=True)
        with pytest.warns(RuntimeWarning):
            fit(make(loss=xn.MeanSquaredError(), optimizer=xn.SGD(1e30), callbacks=[log], outputs=1), epochs=3)
        assert not math.isfinite(self.read(tmp_path).Scalars("loss/train")[-1].value)

    def test_a_resumed_training_has_no_epoch_twice(self, tmp_path):
        """The first was killed in epoch 4, its checkpoint was from epoch 2."""
        fit(make(callbacks=[TensorBoardLog(tmp_path)]), epochs=4)
        again = make(seed=1, callbacks=[TensorBoardLog(tmp_path)])
        again.epoch = 2
        fit(again, epochs=3)
        events = self.read(tmp_path).Scalars("loss/train")
        assert [event.step for event in events] == [1, 2, 3, 4, 5]
        np.testing.assert_allclose([event.value for event in events[2:]], again.history["loss"], rtol=1e-6)

    def test_closed_when_fit_raises(self, tmp_path):
        def fail(trainer, record):
            raise RuntimeError("planned")

        log = TensorBoardLog(tmp_path)
        with pytest.raises(RuntimeError, match="planned"):
            fit(make(callbacks=[log, fail]))
        assert log._writer is None
        assert len(self.read(tmp_path).Scalars("loss/train")) == 1


def test_without_tensorboardx_its_extra_is_named(monkeypatch, tmp_path):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    trainer = make(callbacks=[TensorBoardLog(tmp_path)])
    with pytest.raises(ImportError, match=r'pip install "xpnet\[tensorboard\]"'):
        fit(trainer)
    assert not trainer.net.built
