"""Data that do not fit: each with an error that names what disagrees and what mends it, before anything changes."""

from __future__ import annotations

import numpy as np
import pytest
from core_helpers import classes_data
from mistake_helpers import BCE, CE, COLUMN, HSE, LABELS, MSE, NUMBERS, X, all_in, state, trainer_for, with_value

import xpnet as xn

# name: (loss, outputs, x, y, options of fit, error, parts of the message in order)
DATA = {
    # targets of the wrong kind
    "labels from 1": (
        CE(),
        3,
        X,
        LABELS + 1,
        {},
        ValueError,
        ("SoftmaxCrossEntropy", "labels reach from 1 to 3", "3 outputs", "0..2", "number the classes from 0"),
    ),
    "labels too large": (CE(), 3, X, LABELS * 50, {}, ValueError, ("labels reach from 0 to 100", "3 outputs", "101 outputs")),
    "negative labels": (
        CE(),
        3,
        X,
        LABELS - 1,
        {},
        ValueError,
        ("labels reach from -1 to 1", "0..2", "number the classes from 0"),
    ),
    "float labels": (
        CE(),
        3,
        X,
        LABELS.astype(float),
        {},
        TypeError,
        ("SoftmaxCrossEntropy", "(12,)", "float64", "labels are integers", "labels.astype(int)", "3 outputs"),
    ),
    "string labels": (
        CE(),
        3,
        X,
        np.array(["a", "b", "c"])[LABELS],
        {},
        TypeError,
        ("SoftmaxCrossEntropy", "<U1", "not integer labels", "numpy.unique(names, return_inverse=True)"),
    ),
    "None labels": (CE(), 3, X, [None] * 12, {}, TypeError, ("SoftmaxCrossEntropy", "object", "not integer labels")),
    "one-hot integers": (
        CE(),
        3,
        X,
        np.eye(3, dtype=int)[LABELS],
        {},
        ValueError,
        ("SoftmaxCrossEntropy", "(12, 3)", "look one-hot where labels are meant", "targets.argmax(axis=-1)"),
    ),
    "labels in a column": (
        CE(),
        3,
        X,
        LABELS[:, None],
        {},
        ValueError,
        ("SoftmaxCrossEntropy", "(12, 1)", "(N, 3)", "labels.reshape(-1)"),
    ),
    "not probabilities": (
        CE(),
        3,
        X,
        2 * NUMBERS,
        {},
        ValueError,
        ("SoftmaxCrossEntropy", "probabilities", "adding up to 1", "2.0"),
    ),
    "negative probabilities": (CE(), 3, X, NUMBERS * 3 - 2 / 3, {}, ValueError, ("probabilities: none below 0", "-0.6")),
    "class_weights of another number": (
        CE(class_weights=[1, 2]),
        3,
        X,
        LABELS,
        {},
        ValueError,
        ("SoftmaxCrossEntropy", "2 class_weights", "3 outputs"),
    ),
    "labels for a squared error": (
        HSE(),
        3,
        X,
        LABELS,
        {},
        ValueError,
        ("HalfSquaredError", "targets have shape (12,)", "outputs (N, 3)", "one_hot"),
    ),
    "labels for one output": (
        CE(),
        1,
        X,
        LABELS % 2,
        {},
        ValueError,
        ("SoftmaxCrossEntropy", "1 output", "SigmoidCrossEntropy"),
    ),
    "zeros for one output": (
        CE(),
        1,
        X,
        LABELS * 0,
        {},
        ValueError,
        ("SoftmaxCrossEntropy", "1 output", "SigmoidCrossEntropy"),
    ),
    "targets beyond 1": (BCE(), 3, X, 2 * NUMBERS, {}, ValueError, ("SigmoidCrossEntropy", "[0, 1]", "0.0 to 2.0")),
    "numbers (N,) for three outputs": (MSE(), 3, X, COLUMN, {}, ValueError, ("MeanSquaredError", "(12,)", "(N, 3)")),
    "two columns for one output": (MSE(), 1, X, NUMBERS[:, :2], {}, ValueError, ("MeanSquaredError", "(12, 2)", "(N, 1)")),
    "strings for numbers": (MSE(), 1, X, ["1.5"] * 12, {}, TypeError, ("MeanSquaredError", "<U3", "not numbers")),
    # values that are no numbers
    "NaN in x": (
        CE(),
        3,
        with_value(X, np.nan, (4, 1)),
        LABELS,
        {},
        ValueError,
        ("x: nan at index (4, 1) (row 4)", "remove such rows or fill the gaps"),
    ),
    "infinity in x": (CE(), 3, with_value(X, -np.inf, (7, 0)), LABELS, {}, ValueError, ("x: -inf at index (7, 0) (row 7)",)),
    "NaN in targets": (
        MSE(),
        1,
        X,
        with_value(COLUMN, np.nan, 3),
        {},
        ValueError,
        ("targets: nan at index (3", "row 3", "remove"),
    ),
    "infinity in targets": (
        BCE(),
        3,
        X,
        with_value(NUMBERS, np.inf, (2, 1)),
        {},
        ValueError,
        ("targets: inf at index (2, 1)",),
    ),
    "NaN in labels": (CE(), 3, X, with_value(LABELS, np.nan, 3), {}, TypeError, ("SoftmaxCrossEntropy", "labels are integers")),
    "NaN in probabilities": (
        CE(),
        3,
        X,
        with_value(NUMBERS, np.nan, (2, 1)),
        {},
        ValueError,
        ("targets: nan at index (2, 1)",),
    ),
    # lengths and shapes
    "x longer than y": (
        CE(),
        3,
        X,
        LABELS[:-1],
        {},
        ValueError,
        ("x has 12 rows", "y has 11", "every sample needs one target"),
    ),
    "y longer than x": (CE(), 3, X[:-2], LABELS, {}, ValueError, ("x has 10 rows", "y has 12")),
    "zero samples": (CE(), 3, X[:0], LABELS[:0], {}, ValueError, ("zero samples", "nothing to train on")),
    "x with one axis": (CE(), 3, X[:, 0], LABELS, {}, ValueError, ("Affine(5)", "(N,)", "reshape them to (N, 1)")),
    "x a single number": (CE(), 3, 5.0, LABELS, {}, ValueError, ("x is a single value", "one row per sample")),
    "y a single number": (CE(), 3, X, 1, {}, ValueError, ("y is a single value", "one row per sample")),
    "ragged x": (CE(), 3, [[1.0, 2.0], [1.0]] * 6, LABELS, {}, ValueError, ("x", "rows of different length")),
    "ragged y": (MSE(), 2, X, [[1.0, 2.0], [1.0]] * 6, {}, ValueError, ("y", "rows of different length")),
    "strings in x": (CE(), 3, np.full((12, 4), "a"), LABELS, {}, TypeError, ("x: values of type <U1 are not numbers",)),
    "numbers as strings in x": (
        CE(),
        3,
        np.full((12, 4), "1.5"),
        LABELS,
        {},
        TypeError,
        ("x: values of type <U3 are not numbers",),
    ),
    "objects in x": (CE(), 3, np.full((12, 4), None), LABELS, {}, TypeError, ("x: values of type object are not numbers",)),
    "complex x": (CE(), 3, X.astype(complex), LABELS, {}, TypeError, ("x: values of type complex128 are not numbers",)),
    # options of fit
    "batch size 0": (CE(), 3, X, LABELS, {"batch_size": 0}, ValueError, ("batch_size=0", "whole number from 1 on")),
    "batch size -1": (CE(), 3, X, LABELS, {"batch_size": -1}, ValueError, ("batch_size=-1", "whole number from 1 on")),
    "batch size 2.5": (CE(), 3, X, LABELS, {"batch_size": 2.5}, ValueError, ("batch_size=2.5", "whole number from 1 on")),
    "batch size in words": (
        CE(),
        3,
        X,
        LABELS,
        {"batch_size": "32"},
        ValueError,
        ("batch_size='32'", "whole number from 1 on"),
    ),
    "epochs 0": (CE(), 3, X, LABELS, {"epochs": 0}, ValueError, ("epochs=0", "whole number from 1 on")),
    "epochs 1.5": (CE(), 3, X, LABELS, {"epochs": 1.5}, ValueError, ("epochs=1.5", "whole number from 1 on")),
    "early_stopping in words": (CE(), 3, X, LABELS, {"early_stopping": "yes"}, TypeError, ("'yes'",)),
    "early_stopping 0": (CE(), 3, X, LABELS, {"early_stopping": 0}, ValueError, ("patience=0", "whole number from 1 on")),
    "EarlyStopping without ()": (CE(), 3, X, LABELS, {"early_stopping": xn.EarlyStopping}, TypeError, ("EarlyStopping(",)),
    # weights
    "negative weights": (
        CE(),
        3,
        X,
        LABELS,
        {"sample_weight": -np.ones(12)},
        ValueError,
        ("sample_weight", "not negative", "-1.0"),
    ),
    "weights all zero": (CE(), 3, X, LABELS, {"sample_weight": np.zeros(12)}, ValueError, ("sample_weight", "not all zero")),
    "weights too few": (
        CE(),
        3,
        X,
        LABELS,
        {"sample_weight": np.ones(11)},
        ValueError,
        ("sample_weight has shape (11,)", "(12,)"),
    ),
    "weights in a column": (
        CE(),
        3,
        X,
        LABELS,
        {"sample_weight": np.ones((12, 1))},
        ValueError,
        ("sample_weight", "(12, 1)", "(12,)"),
    ),
    "NaN in weights": (CE(), 3, X, LABELS, {"sample_weight": [np.nan] * 12}, ValueError, ("sample_weight: nan at index (0,)",)),
    "a label without weight": (
        CE(),
        3,
        X,
        LABELS,
        {"class_weight": {0: 1, 2: 1}},
        ValueError,
        ("class_weight has no weight for label 1", "[0, 1, 2]"),
    ),
    "negative class weight": (CE(), 3, X, LABELS, {"class_weight": {0: 1, 1: -2, 2: 1}}, ValueError, ("class_weight", "-2")),
    "class weights all zero": (CE(), 3, X, LABELS, {"class_weight": {0: 0, 1: 0, 2: 0}}, ValueError, ("class_weight", "0")),
    "unknown class_weight": (CE(), 3, X, LABELS, {"class_weight": "equal"}, ValueError, ("class_weight='equal'", '"balanced"')),
    "class_weight for numbers": (
        MSE(),
        1,
        X,
        COLUMN,
        {"class_weight": "balanced"},
        ValueError,
        ("class_weight needs integer labels", "float32"),
    ),
    # validation data
    "validation x wrong": (
        CE(),
        3,
        X,
        LABELS,
        {"validation": (X[:, :3], LABELS)},
        ValueError,
        ("validation x", "(12, 3)", "(N, 4)"),
    ),
    "validation of other length": (
        CE(),
        3,
        X,
        LABELS,
        {"validation": (X, LABELS[:3])},
        ValueError,
        ("validation x has 12 rows", "validation y has 3"),
    ),
    "NaN in validation x": (
        CE(),
        3,
        X,
        LABELS,
        {"validation": (with_value(X, np.nan, (0, 0)), LABELS)},
        ValueError,
        ("validation x: nan at index (0, 0)",),
    ),
    "validation labels wrong": (CE(), 3, X, LABELS, {"validation": (X, LABELS + 5)}, ValueError, ("labels reach from 5 to 7",)),
    "no validation samples": (CE(), 3, X, LABELS, {"validation": (X[:0], LABELS[:0])}, ValueError, ("zero samples",)),
    "validation an array": (CE(), 3, X, LABELS, {"validation": X}, (TypeError, ValueError), ("validation", "(x, y)")),
}
cases = pytest.mark.parametrize(("loss", "outputs", "x", "y", "options", "error", "parts"), DATA.values(), ids=DATA)


class TestData:
    @cases
    def test_fit_of_a_network_not_built(self, device, loss, outputs, x, y, options, error, parts):
        trainer = trainer_for(loss, device, outputs)
        before = state(trainer)
        with pytest.raises(error, match=all_in(*parts)):
            trainer.fit(x, y, **options)
        assert state(trainer) == before

    @cases
    def test_fit_in_the_middle_of_training(self, device, loss, outputs, x, y, options, error, parts):
        if "Affine(5)" in parts:
            parts = ("x has shape (12,)", "(N, 4)")  # built for four features, it says so
        trainer = trainer_for(loss, device, outputs).build((4,))
        good = classes_data(9)[1] if isinstance(loss, CE) and outputs == 3 else np.full((9, outputs), 0.5)
        trained = outputs != 1 or not isinstance(loss, CE)
        if trained and not (isinstance(loss, CE) and loss.class_weights):
            trainer.fit(X[:9], good, epochs=2)
        before = state(trainer)
        with pytest.raises(error, match=all_in(*parts)):
            trainer.fit(x, y, **options)
        assert state(trainer) == before

    @pytest.mark.parametrize("name", [name for name, row in DATA.items() if not row[4] and row[0] is not None])
    @pytest.mark.parametrize("act", ["partial_fit", "evaluate"])
    def test_the_same_through(self, device, act, name):
        loss, outputs, x, y, _, error, parts = DATA[name]
        parts = ("x has shape (12,)", "(N, 4)") if "Affine(5)" in parts else parts
        trainer = trainer_for(loss, device, outputs).build((4,))
        before = state(trainer)
        with pytest.raises(error, match=all_in(*parts)):
            getattr(trainer, act)(x, y)
        assert state(trainer) == before

    @pytest.mark.parametrize(
        "name",
        [
            "NaN in x",
            "infinity in x",
            "x longer than y",
            "labels from 1",
            "float labels",
            "one-hot integers",
            "negative labels",
            "zero samples",
            "NaN in targets",
            "two columns for one output",
        ],
    )
    def test_the_same_with_device_arrays(self, device, name):
        loss, outputs, x, y, _, error, parts = DATA[name]
        trainer = trainer_for(loss, device, outputs)
        before = state(trainer)
        with pytest.raises(error, match=all_in(*parts)):
            trainer.fit(device.put(x), device.put(y))
        assert state(trainer) == before

    @pytest.mark.parametrize("act", ["fit", "partial_fit", "evaluate", "predict"])
    @pytest.mark.parametrize(
        ("rows", "parts"),
        [
            (X[:, :3], ("x has shape (12, 3)", "built for (N, 4)")),
            (X[0], ("x has shape (4,)", "(N, 4)", "batch of one: x[None]")),
            (X[None], ("x has shape (1, 12, 4)", "(N, 4)")),
        ],
        ids=["features", "one sample", "axis too many"],
    )
    def test_wrong_number_of_features(self, device, act, rows, parts):
        trainer = trainer_for(device=device).build((4,))
        before = state(trainer)
        args = (rows,) if act == "predict" else (rows, np.zeros(len(rows), int))
        with pytest.raises(ValueError, match=all_in(*parts)):
            getattr(trainer, act)(*args)
        assert state(trainer) == before

    def test_a_refused_fit_does_not_move_the_network(self):
        trainer = trainer_for(device="sim")
        trainer.net.build((4,), device="cpu")
        before = state(trainer)
        with pytest.raises(ValueError, match="x has 12 rows, y has 11"):
            trainer.fit(X, LABELS[:-1])
        assert state(trainer) == before

    def test_after_a_refusal_another_shape_can_be_given(self, device):
        trainer = trainer_for(device=device)
        with pytest.raises(ValueError, match="x has 12 rows"):
            trainer.fit(X[:, :2], LABELS[:3])
        trainer.fit(X, LABELS)
        assert trainer.net.input_shape == (4,)
