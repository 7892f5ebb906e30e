"""Every mistake that newcomers make: the error names the argument, what disagrees and the fix, and nothing has changed."""

from __future__ import annotations

import copy
import re

import numpy as np
import pytest
from core_helpers import bits, classes_data, regression_data

import xpnet as xn

X, LABELS = classes_data(12)
NUMBERS = np.eye(3, dtype=np.float32)[LABELS]
COLUMN = regression_data(12)[1]


def with_value(a, value, place):
    a = np.array(a, np.float64)
    a[place] = value
    return a


def trainer_for(loss=None, device="cpu", outputs=3, **options):
    net = xn.Sequential(xn.Affine(5), xn.ReLU(), xn.Affine(outputs))
    return xn.Trainer(net, loss=loss or xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device=device, **options)


def state(trainer):
    """All that a refused call must leave as it was."""
    net = trainer.net
    return (
        net.built,
        bits(net) if net.built else None,
        copy.deepcopy(trainer.history),
        trainer.optimizer.steps,
        trainer.epoch,
        net.steps_begun if net.built else None,
        net.device.name if net.built else None,
    )


def all_in(*parts):
    """A pattern of these texts, each anywhere, in this order."""
    return "(?s)" + ".*".join(map(re.escape, parts))


MSE, HSE, BCE, CE = xn.MeanSquaredError, xn.HalfSquaredError, xn.SigmoidCrossEntropy, xn.SoftmaxCrossEntropy

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
    "weights all zero": (CE(), 3, X, LABELS, {"sample_weight": np.zeros(12)}, ValueError, ("sample_weight", "not all 0")),
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


class TestOtherDevices:
    """Arrays of one device where those of another, or of the host, are needed."""

    def foreign(self, device):
        other = xn.device("sim:1")
        return [other.put(X)] if device.kind == "cpu" else [X, other.put(X)]

    def test_forward(self, device):
        trainer = trainer_for(device=device).build((4,))
        for x in self.foreign(device):
            before = state(trainer)[:-2]
            with pytest.raises(xn.DeviceMismatch, match=all_in("forward: x is a", f"on {device.name}", "get()")):
                trainer.net.forward(x, trainer.net.step(training=True))
            assert state(trainer)[:-2] == before

    def test_trainer_step(self, device):
        trainer = trainer_for(device=device).build((4,))
        good_x, good_y = device.put(X), device.put(LABELS)
        other = xn.device("sim:1")
        put = [other.put] if device.kind == "cpu" else [np.asarray, other.put]
        for p in put:
            for x, y, name in ((p(X), good_y, "forward: x is a"), (good_x, p(LABELS), "SoftmaxCrossEntropy: targets is a")):
                before = state(trainer)[:5]
                with pytest.raises(xn.DeviceMismatch, match=all_in(name, f"on {device.name}", "get()")):
                    trainer.step(x, y)
                assert state(trainer)[:5] == before

    def test_weights_by_hand(self, device):
        trainer = trainer_for(device=device).build((4,))
        other = xn.device("sim:1").put(np.ones(12, np.float32))
        with pytest.raises(xn.DeviceMismatch, match=all_in("SoftmaxCrossEntropy: weights is a", "get()")):
            trainer.step(device.put(X), device.put(LABELS), other)

    def test_backward(self, device):
        net = trainer_for(device=device).build((4,)).net
        step = net.step(training=True)
        _, cache = net.forward(device.put(X), step)
        for dy in self.foreign(device):
            with xn.device("sim:1").use():
                part = dy[:, :3]
            with pytest.raises(xn.DeviceMismatch, match=r"backward: dy is a .*get\(\)"):
                net.backward(part, cache, step)

    @pytest.mark.parametrize("act", ["fit", "partial_fit", "evaluate", "predict"])
    @pytest.mark.parametrize("what", ["x", "y"])
    def test_the_border_takes_host_arrays_and_its_own_devices(self, device, act, what):
        trainer = trainer_for(device=device).build((4,))
        other = xn.device("sim:1")
        args = {"x": X, "y": LABELS}
        args[what] = other.put(args[what])
        if act == "predict":
            del args["y"]
            args["x"] = other.put(X)
            what = "x"
        before = state(trainer)
        with pytest.raises(xn.DeviceMismatch, match=all_in(f"{what} is a", f"on {device.name}", "get")):
            getattr(trainer, act)(**args)
        assert state(trainer) == before

    def test_put_and_get(self):
        sim, other, cpu = xn.device("sim"), xn.device("sim:1"), xn.device("cpu")
        with pytest.raises(xn.DeviceMismatch, match=all_in("device('sim')", "device('sim:1')", "get", "put")):
            sim.put(other.put(X))
        with pytest.raises(xn.DeviceMismatch, match=all_in("device('sim')", "device('sim:1')")):
            sim.get(other.put(X))
        with pytest.raises(xn.DeviceMismatch, match=all_in("device('cpu').put", "device.get first")):
            cpu.put(sim.put(X))


def by_hand(device, layers, loss, x=X, targets=LABELS, weights=None):
    """Forward and loss as a user writes them; the value, so that its being right can be seen too."""
    net = xn.Sequential(*layers).build(x.shape[1:], device=device)
    step = net.step(training=True)
    outputs, _ = net.forward(device.put(x), step)
    weights = None if weights is None else device.put(weights)
    return float(device.get(loss(outputs, device.put(targets), step, weights)[0]))


# name: (loss, outputs, targets, weights, error, parts of the message)
BY_HAND = {
    "labels from 1": (CE(), 3, LABELS + 1, None, ValueError, ("SoftmaxCrossEntropy", "from 1 to 3", "3 outputs", "0..2")),
    "negative labels": (CE(), 3, LABELS - 1, None, ValueError, ("labels reach from -1 to 1", "3 outputs", "0..2")),
    "float labels": (
        CE(),
        3,
        LABELS.astype("f4"),
        None,
        TypeError,
        ("SoftmaxCrossEntropy", "(12,)", "float32", "labels.astype(int)"),
    ),
    "one-hot integers": (CE(), 3, np.eye(3, dtype=int)[LABELS], None, ValueError, ("(12, 3)", "one-hot", "argmax(axis=-1)")),
    "too few labels": (CE(), 3, LABELS[:5], None, ValueError, ("SoftmaxCrossEntropy", "12 outputs but 5 targets")),
    "labels in a column": (
        CE(),
        3,
        LABELS[:, None],
        None,
        ValueError,
        ("outputs have shape (12, 3)", "labels (12, 1)", "(12,)"),
    ),
    "probabilities of another dtype": (
        CE(),
        3,
        NUMBERS.astype("f8"),
        None,
        TypeError,
        ("outputs are float32", "targets float64", "device.put(targets, dtype='float32')"),
    ),
    "one output": (CE(), 1, LABELS * 0, None, ValueError, ("SoftmaxCrossEntropy", "1 output", "use SigmoidCrossEntropy")),
    "class_weights": (CE(class_weights=[1, 2]), 3, LABELS, None, ValueError, ("2 class_weights for 3 outputs",)),
    "(N,) against (N, 1)": (
        MSE(),
        1,
        COLUMN,
        None,
        ValueError,
        ("MeanSquaredError", "(12, 1)", "(12,)", "reshape", "broadcasting"),
    ),
    "(N, 1) against (N, 3)": (
        HSE(),
        3,
        COLUMN[:, None],
        None,
        ValueError,
        ("HalfSquaredError", "(12, 3)", "(12, 1)", "reshape"),
    ),
    "float64 targets": (
        MSE(),
        1,
        COLUMN[:, None].astype("f8"),
        None,
        TypeError,
        ("outputs are float32, targets float64", "device.put"),
    ),
    "integer targets": (
        BCE(),
        1,
        (LABELS % 2)[:, None],
        None,
        TypeError,
        ("SigmoidCrossEntropy", "float32", "int64", "device.put"),
    ),
    "too few weights": (MSE(), 3, NUMBERS, np.ones(5, "f4"), ValueError, ("MeanSquaredError", "12 outputs but 5 weights")),
    "weights in a column": (
        MSE(),
        3,
        NUMBERS,
        np.ones((12, 1), "f4"),
        ValueError,
        ("MeanSquaredError", "weights", "(12, 1)", "(12,)"),
    ),
}


class TestLossByHand:
    @pytest.mark.parametrize(("loss", "outputs", "targets", "weights", "error", "parts"), BY_HAND.values(), ids=BY_HAND)
    def test_refused(self, device, loss, outputs, targets, weights, error, parts):
        with pytest.raises(error, match=all_in(*parts)):
            by_hand(device, [xn.Affine(outputs)], loss, targets=targets, weights=weights)

    @pytest.mark.parametrize("loss", [CE(), MSE(), HSE(), BCE()], ids=repr)
    def test_zero_samples(self, device, loss):
        targets = LABELS[:0] if isinstance(loss, CE) else NUMBERS[:0]
        with pytest.raises(ValueError, match=rf"{type(loss).__name__}: zero samples; a mean over none is undefined"):
            by_hand(device, [xn.Affine(3)], loss, X[:0], targets)

    @pytest.mark.parametrize("dtype", ["bool", "int8", "int32", "uint8", "int64"])
    def test_labels_of_any_whole_kind_are_right(self, device, dtype):
        """Twelve rows, twelve classes: a label mistaken for a row of probabilities would fit the shape."""
        labels = (np.arange(12) % 2).astype(dtype)
        expected = by_hand(device, [xn.Affine(12)], CE(), targets=labels.astype("int64"))
        assert by_hand(device, [xn.Affine(12)], CE(), targets=labels) == expected


ACTIVATED = {
    "Softmax": (lambda: [xn.Affine(3), xn.Softmax()], CE()),
    "Softmax, nested": (lambda: [xn.Affine(3), xn.Sequential(xn.ReLU(), xn.Sequential(xn.Softmax()))], CE()),
    "Softmax below Dropout": (lambda: [xn.Affine(3), xn.Softmax(), xn.Dropout(0.1), xn.Identity()], CE()),
    "Softmax below Flatten": (lambda: [xn.Affine(3), xn.Sequential(xn.Softmax(), xn.Flatten())], CE()),
    "Softmax below a chain that changes nothing": (lambda: [xn.Affine(3), xn.Softmax(), xn.Sequential(xn.Identity())], CE()),
    "Sigmoid": (lambda: [xn.Affine(3), xn.Sigmoid()], BCE()),
    "Sigmoid, nested": (lambda: [xn.Sequential(xn.Affine(3), xn.Sigmoid())], BCE()),
}
ROWS = [(name.split()[0].strip(","), *row) for name, row in ACTIVATED.items()]
activated = pytest.mark.parametrize(("name", "layers", "loss"), ROWS, ids=ACTIVATED)


class TestActivationTwice:
    def parts(self, name, loss):
        contained = f"{type(loss).__name__} contains it already"
        return (f"the network ends in {name}", contained, "training stalls", f"remove the {name} layer")

    @activated
    def test_trainer(self, name, layers, loss):
        with pytest.raises(ValueError, match=all_in(*self.parts(name, loss))):
            xn.Trainer(xn.Sequential(*layers()), loss=loss, optimizer=xn.Adam())

    @activated
    def test_by_hand(self, device, name, layers, loss):
        targets = LABELS if name == "Softmax" else NUMBERS
        with pytest.raises(ValueError, match=all_in(*self.parts(name, loss))):
            by_hand(device, layers(), loss, targets=targets)

    @pytest.mark.parametrize(
        ("layers", "loss"),
        [
            ([xn.Affine(3), xn.Softmax()], MSE()),
            ([xn.Affine(3), xn.Sigmoid()], HSE()),
            ([xn.Affine(3), xn.Sigmoid()], CE()),
            ([xn.Softmax(), xn.Affine(3)], CE()),
            ([xn.Affine(3), xn.Residual(xn.Softmax())], CE()),
            ([xn.Affine(3), xn.Tanh()], BCE()),
        ],
        ids=repr,
    )
    def test_what_is_no_mistake_trains(self, device, layers, loss):
        trainer = xn.Trainer(xn.Sequential(*layers), loss=loss, optimizer=xn.SGD(0.1), device=device)
        history = trainer.fit(X, LABELS if isinstance(loss, CE) else NUMBERS, epochs=20)
        assert history["loss"][-1] < history["loss"][0]


def through_step(layer):
    net = xn.Sequential(xn.Affine(3), layer, xn.Affine(3))
    return xn.Trainer(net, loss=MSE(), optimizer=xn.SGD(1))


# Calls that are refused at once, with nothing to be changed.
CALLS = {
    "unknown device": (lambda: xn.device("tpu"), ValueError, ("'tpu'", "'cpu', 'cuda'", "'sim'", "'auto'")),
    "device in capitals": (lambda: xn.device("CPU"), ValueError, ("'CPU'", "did you mean 'cpu'?")),
    "device gpu": (lambda: trainer_for(device="gpu:1"), ValueError, ("'gpu:1'", "did you mean 'cuda:1'?")),
    "device None": (lambda: trainer_for(device=None), TypeError, ("'cpu'", "NoneType")),
    "layer option": (lambda: xn.Affine(3, activation="relu"), TypeError, ("Affine", "'activation'")),
    "layer option misspelt": (lambda: xn.Dropout(p=0.5), TypeError, ("Dropout", "'p'")),
    "optimizer option": (lambda: xn.Adam(lr=0.1), TypeError, ("'lr'",)),
    "loss option": (lambda: CE(weight=[1]), TypeError, ("SoftmaxCrossEntropy", "'weight'")),
    "trainer option": (lambda: trainer_for(epochs=3), TypeError, ("Trainer", "'epochs'")),
    "fit option": (lambda: trainer_for().fit(X, LABELS, epoch=3), TypeError, ("fit", "'epoch'")),
    "unknown metric": (
        lambda: trainer_for(metrics=["auc"]),
        ValueError,
        ("no metric is called 'auc'", "accuracy", "pass a function"),
    ),
    "dtype": (lambda: trainer_for(dtype="float16").fit(X, LABELS), ValueError, ("dtype='float16'", "float32, float64")),
    "dtype of build": (lambda: xn.Sequential(xn.ReLU()).build(3, dtype=int), ValueError, ("dtype='int64'", "float32, float64")),
    "class of a layer": (
        lambda: xn.Sequential(xn.Affine(3), xn.ReLU),
        TypeError,
        ("Sequential: argument 1", "class ReLU", "write ReLU()"),
    ),
    "class of a layer in a residual": (
        lambda: xn.Residual(xn.ReLU),
        TypeError,
        ("Residual: argument 0", "class ReLU", "ReLU()"),
    ),
    "class as shortcut": (lambda: xn.Residual(xn.ReLU(), shortcut=xn.ReLU), TypeError, ("shortcut", "class ReLU", "ReLU()")),
    "class of a loss": (
        lambda: trainer_for(CE),
        TypeError,
        ("loss=SoftmaxCrossEntropy", "is a class", "SoftmaxCrossEntropy(...)"),
    ),
    "class of an optimizer": (
        lambda: xn.Trainer(xn.Sequential(), loss=MSE(), optimizer=xn.Adam),
        TypeError,
        ("optimizer=Adam", "is a class", "Adam(...)"),
    ),
    "names for objects": (
        lambda: xn.Trainer(xn.Sequential(), loss="mse", optimizer="adam"),
        TypeError,
        ("loss='mse'", "xpnet.Loss"),
    ),
    "list of layers": (lambda: xn.Sequential([xn.ReLU(), xn.ReLU()]), TypeError, ("one by one", "Sequential(*layers)")),
    "list of layers in a residual": (lambda: xn.Residual([xn.ReLU()]), TypeError, ("one by one", "Residual(*layers)")),
    "list for a network": (
        lambda: xn.Trainer([xn.ReLU()], loss=MSE(), optimizer=xn.Adam()),
        TypeError,
        ("net=[ReLU()]", "Sequential"),
    ),
    "a number for a layer": (lambda: xn.Sequential(64), TypeError, ("Sequential: argument 0 is 64", "no forward and backward")),
    "a function for a layer": (lambda: xn.Sequential(np.tanh), TypeError, ("argument 0", "tanh", "it takes layers")),
    "a loss for a layer": (
        lambda: xn.Sequential(xn.ReLU(), CE()),
        TypeError,
        ("argument 1", "SoftmaxCrossEntropy", "it takes layers"),
    ),
    "Affine of 0": (lambda: xn.Affine(0), ValueError, ("Affine(n_out=0)", "whole number from 1 on")),
    "Affine of 2.5": (lambda: xn.Affine(2.5), ValueError, ("Affine(n_out=2.5)", "whole number from 1 on")),
    "Affine of two sizes": (lambda: xn.Affine(4, 3), TypeError, ("Affine",)),
    "dropout of 1": (lambda: xn.Dropout(1), ValueError, ("Dropout(rate=1)", "0", "1")),
    "dropout of 50": (lambda: xn.Dropout(50), ValueError, ("Dropout(rate=50)", "0", "1")),
    "learning rate 0": (lambda: xn.SGD(0), ValueError, ("learning_rate=0", "greater than 0")),
    "learning rate negative": (lambda: xn.Adam(-0.1), ValueError, ("learning_rate=-0.1", "greater than 0")),
    "learning rate in words": (lambda: xn.Adam("0.1"), ValueError, ("learning_rate='0.1'", "number")),
    "no learning rate": (lambda: xn.SGD(), TypeError, ("learning_rate",)),
    "training through Step": (
        lambda: through_step(xn.Step()),
        ValueError,
        ("Step()", "cannot be trained through", "derivative is 0", "use Sigmoid"),
    ),
    "training through a nested Step": (
        lambda: through_step(xn.Residual(xn.ReLU(), shortcut=xn.Step())),
        ValueError,
        ("Step()", "cannot be trained"),
    ),
    "gradcheck without shape": (lambda: xn.gradcheck(xn.ReLU()), ValueError, ("gradcheck", "shape of one sample", "x=")),
    "gradcheck of a class": (lambda: xn.gradcheck(xn.ReLU, 3), TypeError, ("class ReLU", "ReLU()")),
    "forward before build": (
        lambda: xn.Sequential(xn.Affine(3)).step(training=True),
        xn.NotBuilt,
        ("not built", "net.build(", "trainer.build(", "fit"),
    ),
    "predict before build": (
        lambda: xn.Sequential(xn.Affine(3)).predict(X),
        xn.NotBuilt,
        ("not built", "net.build(", "trainer.build(", "fit"),
    ),
    "predict before fit": (lambda: trainer_for().predict(X), xn.NotBuilt, ("not built", "net.build(", "trainer.build(", "fit")),
    "evaluate before fit": (
        lambda: trainer_for().evaluate(X, LABELS),
        xn.NotBuilt,
        ("not built", "net.build(", "trainer.build(", "fit"),
    ),
    "parameters before build": (lambda: xn.Sequential(xn.Affine(3)).parameters, xn.NotBuilt, ("not built", "net.build(")),
    "update before build": (lambda: xn.SGD(1).update(xn.Sequential(xn.Affine(3)).parameters), xn.NotBuilt, ("not built",)),
    "minibatches of none": (lambda: list(xn.minibatches(0, 3)), ValueError, ("zero samples",)),
}


class TestCalls:
    @pytest.mark.parametrize(("call", "error", "parts"), CALLS.values(), ids=CALLS)
    def test_refused(self, call, error, parts):
        with pytest.raises(error, match=all_in(*parts)):
            call()

    def test_a_layer_used_twice(self, device):
        affine = xn.Affine(4)
        trainer = xn.Trainer(xn.Sequential(affine, xn.ReLU(), affine), loss=CE(), optimizer=xn.SGD(0.1), device=device)
        before = state(trainer)
        with pytest.raises(ValueError, match=all_in("same Affine object", "at 0 and at 2", "make a second Affine(...)")):
            trainer.fit(X, LABELS)
        assert state(trainer) == before

    @pytest.mark.parametrize(
        ("x", "error", "parts"),
        [
            (X.astype("f8"), TypeError, ("forward: x is float64", "computes in float32", "device.put(x, dtype='float32')")),
            ((X * 9).astype("u1"), TypeError, ("forward: x is uint8", "computes in float32", "device.put(x, dtype='float32')")),
            (X[:, :3], ValueError, ("x has shape (12, 3)", "built for (N, 4)")),
            (X[0], ValueError, ("x has shape (4,)", "(N, 4)", "x[None]")),
        ],
        ids=["float64", "uint8", "features", "one sample"],
    )
    def test_forward(self, device, x, error, parts):
        net = trainer_for(device=device).build((4,)).net
        before = bits(net)
        with pytest.raises(error, match=all_in(*parts)):
            net.forward(device.put(x), net.step(training=True))
        assert bits(net) == before

    def test_a_list_to_forward(self, device):
        net = trainer_for(device=device).build((4,)).net
        with pytest.raises(xn.DeviceMismatch, match=all_in("forward: x is a", "list", "device.put(")):
            net.forward(X.tolist(), net.step(training=True))

    def test_one_optimizer_for_two_networks(self, device):
        optimizer = xn.Adam()
        first, second = (
            xn.Trainer(xn.Sequential(xn.Affine(3)), loss=CE(), optimizer=optimizer, device=device) for _ in range(2)
        )
        first.fit(X, LABELS)
        second.build((4,))
        before, steps = bits(second), optimizer.steps
        with pytest.raises(
            ValueError, match=all_in("this Adam has begun to train another network", "optimizer of its own", "reset()")
        ):
            second.fit(X, LABELS)
        assert (bits(second), optimizer.steps) == (before, steps)

    def test_step_passes_forward_and_refuses_backward(self, device):
        net = xn.Sequential(xn.Affine(3), xn.Step()).build((4,), device=device)
        step = net.step(training=True)
        outputs, cache = net.forward(device.put(X), step)
        assert set(np.unique(device.get(outputs))) == {0, 1}
        with pytest.raises(TypeError, match=all_in("Step cannot be trained through", "derivative is 0", "Sigmoid")):
            net.backward(outputs, cache, step)


class TestNoMistakes:
    """What looks like a mistake and just works."""

    GIVEN = {  # noqa: RUF012
        "lists": (X.tolist(), LABELS.tolist()),
        "tuples": (tuple(map(tuple, X.tolist())), tuple(LABELS.tolist())),
        "lists of arrays": (list(X), list(LABELS)),
        "float64": (X.astype(np.float64), LABELS),
        "Fortran order": (np.asfortranarray(X), LABELS),
        "non-contiguous": (np.repeat(X, 2, axis=1)[:, ::2], np.repeat(LABELS, 2)[::2]),
        "backwards": (X[::-1].copy()[::-1], LABELS[::-1].copy()[::-1]),
        "int32 labels": (X, LABELS.astype(np.int32)),
        "uint8 labels": (X, LABELS.astype(np.uint8)),
        "big-endian": (X.astype(">f4"), LABELS.astype(">i8")),
    }

    @pytest.mark.parametrize(("x", "y"), GIVEN.values(), ids=GIVEN)
    def test_the_same_numbers_in_another_form(self, device, x, y):
        ends = []
        for rows, labels in ((X, LABELS), (x, y)):
            trainer = trainer_for(device=device)
            trainer.fit(rows, labels, epochs=2, batch_size=5, validation=(rows, labels))
            trainer.partial_fit(rows[:1], labels[:1])
            ends.append((bits(trainer), trainer.predict(rows).tobytes(), trainer.evaluate(rows, labels)))
        assert ends[0] == ends[1]

    @pytest.mark.parametrize("dtype", ["uint8", "int64", "bool"])
    def test_whole_numbers_as_inputs(self, device, dtype):
        rows = (X > 0).astype(dtype)
        ends = []
        for x in (rows, rows.astype(np.float32), device.put(rows)):
            trainer = trainer_for(device=device)
            trainer.fit(x, LABELS, epochs=2, batch_size=5)
            ends.append((bits(trainer), trainer.predict(x).tobytes()))
        assert ends[0] == ends[1] == ends[2]

    def test_read_only(self, device):
        x, y = X.copy(), LABELS.copy()
        x.flags.writeable = y.flags.writeable = False
        trainer, other = trainer_for(device=device), trainer_for(device=device)
        trainer.fit(x, y, epochs=2)
        other.fit(X, LABELS, epochs=2)
        assert bits(trainer) == bits(other)

    def test_a_batch_size_larger_than_the_data(self, device):
        trainer, other = trainer_for(device=device), trainer_for(device=device)
        trainer.fit(X, LABELS, epochs=2, batch_size=10**9)
        other.fit(X, LABELS, epochs=2, batch_size=None)
        assert bits(trainer) == bits(other)

    def test_one_sample(self, device):
        trainer = trainer_for(device=device)
        trainer.fit(X[:1], LABELS[:1], epochs=2)
        assert trainer.predict(X[:1]).shape == (1, 3)

    @pytest.mark.parametrize(
        "targets", [NUMBERS, NUMBERS.astype(np.float64), NUMBERS.tolist()], ids=["float32", "float64", "lists"]
    )
    def test_one_hot_rows_of_floats_are_probabilities(self, device, targets):
        trainer, other = trainer_for(device=device, dtype="float64"), trainer_for(device=device, dtype="float64")
        trainer.fit(X, targets, epochs=2)
        other.fit(X, LABELS, epochs=2)
        for name, a in trainer.net.parameters.snapshot().items():
            np.testing.assert_allclose(a, other.net.parameters.snapshot()[name], rtol=1e-12)

    @pytest.mark.parametrize(
        "y", [(LABELS % 2), (LABELS % 2).astype(bool), (LABELS % 2).astype(np.uint8)], ids=["int", "bool", "uint8"]
    )
    def test_two_classes_as_whole_numbers_for_one_logit(self, device, y):
        trainer, other = trainer_for(BCE(), device, 1), trainer_for(BCE(), device, 1)
        trainer.fit(X, y, epochs=2)
        other.fit(X, y.astype(np.float32)[:, None], epochs=2)
        assert bits(trainer) == bits(other)
        assert trainer.evaluate(X, y) == other.evaluate(X, y.astype(np.float32)[:, None])
