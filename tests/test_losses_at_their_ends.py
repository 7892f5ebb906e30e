"""Losses at their ends: huge logits, impossible classes, NaN, and what is refused."""

import math

import numpy as np
import pytest
from helpers import close, network, run_loss
from loss_cases import LOSSES, arguments, every_dtype, forwarded

import xpnet as xn


@every_dtype
def test_softmax_of_large_logits(dtype, device):
    y, labels = np.array([[1e4, 0.0, -1e4], [1e4, 0.0, -1e4], [-1e4, -1e4, -1e4]]), np.array([0, 2, 1])
    value, dy = run_loss(xn.SoftmaxCrossEntropy(), y, labels, None, device, dtype)
    assert value == pytest.approx((0 + 2e4 + math.log(3)) / 3, rel=1e-6)
    third = 1 / 3
    close(3 * dy, np.array([[0, 0, 0], [1, 0, -1], [third, third - 1, third]]), 1e-6)


@every_dtype
def test_sigmoid_of_large_logits(dtype, device):
    y, t = np.array([[1e4, -1e4, 1e4, -1e4]]), np.array([[1.0, 0.0, 0.0, 1.0]])
    value, dy = run_loss(xn.SigmoidCrossEntropy(), y, t, None, device, dtype)
    assert value == 5000
    assert dy.tolist() == [[0, 0, 0.25, -0.25]]


@pytest.mark.parametrize(
    "options", [{}, {"class_weights": (1, 2, 3)}, {"ignore_index": -1}], ids=["plain", "classes", "ignore"]
)
@pytest.mark.parametrize("weights", [None, np.array([1.0, 3.0])], ids=["unweighted", "weights"])
@pytest.mark.parametrize("dense", [False, True], ids=["labels", "probabilities"])
@every_dtype
def test_impossible_classes(options, weights, dense, dtype, device):
    """Logits of -inf for classes that are not the target: as if they were not there."""
    y, labels = np.array([[0.3, -np.inf, 0.1], [-np.inf, -np.inf, 2.0]]), np.array([0, 2])
    targets = np.eye(3)[labels] if dense else labels
    loss = xn.SoftmaxCrossEntropy(**options)
    value, dy = run_loss(loss, y, targets, weights, device, dtype)
    finite, d_finite = run_loss(loss, np.maximum(y, -1e4), targets, weights, device, dtype)
    close(value, finite, 1e-6)
    close(dy, d_finite, 1e-6)


def test_an_impossible_target_is_infinitely_wrong(device):
    value, dy = run_loss(xn.SoftmaxCrossEntropy(), np.array([[0.3, -np.inf, 0.1]]), np.array([1]), None, device)
    assert value == math.inf
    assert np.isfinite(dy).all()


@pytest.mark.parametrize("case", LOSSES)
def test_nan_passes_through(case, device):
    loss, y, targets, weights = arguments(case)
    y = y.copy()
    y[1, 2] = np.nan
    value, dy = run_loss(loss, y, targets, weights, device)
    assert math.isnan(value)
    assert np.isnan(dy[1]).any()
    assert not np.isnan(dy[[0, 2, 3, 4, 5]]).any()


def test_softmax_is_shift_invariant(device):
    loss, y, targets, _ = arguments("SoftmaxCrossEntropy-all")
    value, dy = run_loss(loss, y, targets, None, device)
    shifted, d_shifted = run_loss(loss, y + 256, targets, None, device)
    close(shifted, value, 1e-12)
    close(d_shifted, dy, 1e-12)
    close(dy.sum(1), np.zeros(len(y)), 1e-14)


Y = np.zeros((3, 4))


CONSTRUCTORS = {
    "smoothing 1": ({"label_smoothing": 1}, "label_smoothing=1"),
    "smoothing below 0": ({"label_smoothing": -0.1}, "label_smoothing=-0.1"),
    "class weight below 0": ({"class_weights": (1, -1)}, "class_weights"),
    "class weight infinite": ({"class_weights": (1, math.inf)}, "class_weights"),
    "class weight NaN": ({"class_weights": (1, math.nan)}, "class_weights"),
}


CALLS = {
    "no rows": (xn.MeanSquaredError(), Y[:0], Y[:0], None, ValueError, "zero samples"),
    "no rows of labels": (xn.SoftmaxCrossEntropy(), Y[:0], np.zeros(0, int), None, ValueError, "zero samples"),
    "rows that differ": (xn.MeanSquaredError(), Y, Y[:2], None, ValueError, "3 outputs but 2 targets"),
    "weights that differ": (xn.MeanSquaredError(), Y, Y, np.ones(2), ValueError, "3 outputs but 2 weights"),
    "broadcasting": (xn.MeanSquaredError(), Y, Y[:, :1], None, ValueError, r"\(3, 4\), targets \(3, 1\)"),
    "float32 targets": (xn.MeanSquaredError(), Y, Y.astype("float32"), None, TypeError, "dtype='float64'"),
    "weights as a column": (xn.MeanSquaredError(), Y, Y, np.ones((3, 1)), ValueError, "weights"),
    "one output": (xn.SoftmaxCrossEntropy(), Y[:, :1], np.zeros(3, int), None, ValueError, "SigmoidCrossEntropy"),
    "label too large": (xn.SoftmaxCrossEntropy(), Y, np.array([0, 4, 1]), None, ValueError, r"from 0 to 4, .* 4 outputs"),
    "label below 0": (xn.SoftmaxCrossEntropy(), Y, np.array([0, -1, 1]), None, ValueError, "from -1 to 1"),
    "float labels": (xn.SoftmaxCrossEntropy(), Y, np.zeros(3), None, TypeError, r"labels.astype\(int\)"),
    "one-hot integers": (xn.SoftmaxCrossEntropy(), Y, np.zeros((3, 4), int), None, ValueError, "argmax"),
    "a column of labels": (xn.SoftmaxCrossEntropy(), Y, np.zeros((3, 1), int), None, ValueError, r"labels of shape \(3,\)"),
    "class weights of other number": (
        xn.SoftmaxCrossEntropy(class_weights=(1, 2)),
        Y,
        np.zeros(3, int),
        None,
        ValueError,
        "2 class_weights for 4 outputs",
    ),
}


@pytest.mark.parametrize(("options", "message"), CONSTRUCTORS.values(), ids=CONSTRUCTORS)
def test_bad_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        xn.SoftmaxCrossEntropy(**options)


@pytest.mark.parametrize(("loss", "y", "targets", "weights", "error", "message"), CALLS.values(), ids=CALLS)
def test_bad_arguments_are_refused(loss, y, targets, weights, error, message, device):
    out, step = forwarded(y, device)
    with pytest.raises(error, match=message):
        loss(out, device.put(targets), step, None if weights is None else device.put(weights))


@pytest.mark.parametrize(("activation", "loss"), [(xn.Softmax, xn.SoftmaxCrossEntropy), (xn.Sigmoid, xn.SigmoidCrossEntropy)])
def test_double_activation_is_refused(activation, loss, device):
    net = network(xn.Sequential(xn.Affine(4), activation()), (4,), device)
    step = net.step(training=True)
    out, _ = net.forward(device.put(Y), step)
    targets = device.put(np.zeros(3, int)) if activation is xn.Softmax else device.put(Y)
    with pytest.raises(ValueError, match=f"contains it already.*remove the {activation.__name__} layer"):
        loss()(out, targets, step)


def test_a_step_without_forward_is_refused(device):
    net = network(xn.Identity(), (4,), device)
    with pytest.raises(RuntimeError, match="no forward pass"):
        xn.MeanSquaredError()(device.put(Y), device.put(Y), net.step(training=True))


@pytest.mark.parametrize("which", [1, 2])
def test_arrays_of_another_device_are_refused(which):
    sim = xn.device("sim")
    with sim.use():
        out, step = forwarded(Y, sim)
        given = [out, sim.put(Y), sim.put(np.ones(3))]
        given[which] = sim.get(given[which])
        with pytest.raises(xn.DeviceMismatch, match=r"device.put\((targets|weights)\)"):
            xn.MeanSquaredError()(given[0], given[1], step, given[2])


def test_a_loss_of_ones_own(device):
    class Absolute(xn.Loss):
        def compute(self, y, targets, step, weights, count):
            d = y - targets
            return step.xp.sum(step.xp.absolute(d)) / count, step.xp.sign(d) / count

    assert xn.gradcheck(Absolute(), 4, device=device).skipped == 0
    value, dy = run_loss(Absolute(), np.array([[2.0, -1.0]]), np.array([[0.0, 1.0]]), None, device)
    assert value == 4
    assert dy.tolist() == [[1, -1]]
