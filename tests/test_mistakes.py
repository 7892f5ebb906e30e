"""Arrays of other devices, losses called by hand, and what is no mistake."""

from __future__ import annotations

import re

import numpy as np
import pytest
from core_helpers import bits
from mistake_helpers import BCE, CE, COLUMN, HSE, LABELS, MSE, NUMBERS, X, all_in, by_hand, state, trainer_for

import xpnet as xn


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


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda v: xn.Affine(3, bias=v), "Affine(bias="),
        (lambda v: xn.Conv2d(3, 1, bias=v), "Conv2d(bias="),
        (lambda v: xn.Conv2d(3, 1, exact=v), "Conv2d(exact="),
        (lambda v: xn.BatchNorm(affine=v), "BatchNorm(affine="),
        (lambda v: xn.LayerNorm(affine=v), "LayerNorm(affine="),
        (lambda v: xn.GroupNorm(1, affine=v), "GroupNorm(affine="),
    ],
)
def test_what_is_neither_true_nor_false(make, said):
    for wrong in ("no", 0, None, [1]):
        with pytest.raises(ValueError, match=re.escape(f"{said}{wrong!r}): it is True or False")):
            make(wrong)
    assert make(np.True_)
