"""Slide code: the right forms are xpnet's, and every slip does what the example says."""

import numpy as np
import pytest
from example_helpers import load_example

import xpnet as xn

example = load_example("slide_code")


def test_the_right_forms_give_the_gradients_of_xpnet_s_layers(device):
    """64-32-10 in float64: affine, ReLU, affine, softmax with cross-entropy."""
    data, xp = xn.datasets.digits(), device.xp
    net = xn.Sequential(xn.Affine(32), xn.ReLU(), xn.Affine(10)).build(64, device=device, dtype="float64")
    x, labels = device.put(data.x_train[:100], "float64"), device.put(data.y_train[:100])
    step = net.step(training=True)
    z, cache = net.forward(x, step)
    net.backward(xn.SoftmaxCrossEntropy()(z, labels, step)[1], cache, step)
    W1, b1, W2, b2 = (p.value for p in net.parameters.values())
    h = xp.maximum(x @ W1 + b1, 0)
    dz = (example.softmax(xp, h @ W2 + b2) - xp.equal(labels.reshape(-1, 1), xp.arange(10))) / len(x)
    dh, *second = example.affine_backward(dz, h, W2)
    _, *first = example.affine_backward(example.relu_backward(dh, h), x, W1)
    for found, p in zip(first + second, net.parameters.values(), strict=True):
        np.testing.assert_allclose(device.get(found), device.get(p.grad), rtol=0, atol=1e-14)


def test_the_affine_slip_spoils_the_weights_gradient_alone(device):
    found = xn.gradcheck(example.SlideAffine(3), 4, device=device, raises=False)
    errors = {array.name: array.error for array in found.arrays}
    assert errors["0.W"] > 0.5
    assert max(errors["input"], errors["0.b"]) < 1e-8


def test_softmax_slips(device):
    three, one = example.row_sums(device, example.softmax)
    assert np.allclose(three, 1, atol=1e-15)
    assert one == pytest.approx([1])
    three, one = example.row_sums(device, example.slide_softmax)
    assert three.sum() == pytest.approx(1)
    assert three.max() < 0.6
    assert one == pytest.approx([1])  # a batch of one hides it


@pytest.mark.parametrize(
    ("dtype", "z", "overflows"),
    [("float32", 88, False), ("float32", 89, True), ("float64", 709, False), ("float64", 710, True), ("float64", 1000, True)],
)
def test_large_logits(device, dtype, z, overflows):
    right, slip = example.of_large_logit(device, dtype, z)
    assert right == pytest.approx(1)
    assert np.isnan(slip) == overflows


def test_relu_slip_changes_the_caller_s_array(device):
    dy, onward = example.through_a_residual_block(device, example.relu_backward)
    assert dy.tolist() == [0.5, -0.3, 0.2, 0.7]
    assert onward.tolist() == [1.0, -0.3, 0.4, 0.7]
    dy, onward = example.through_a_residual_block(device, example.slide_relu_backward)
    assert dy.tolist() == [0.5, 0, 0.2, 0]
    assert onward.tolist() == [1.0, 0, 0.4, 0]


def test_what_gradcheck_finds(device):
    assert list(example.gradchecks(device).values()) == [False, False, True, True, True, False]


def test_the_consequence_in_training():
    rows = {name.strip(): row for name, row in example.trainings("cpu").items()}
    right = rows["64-32-10, right"]
    assert right[1] > 0.92
    assert rows["dx.T for x.T"][1] < 0.4
    assert rows["softmax over the whole batch"][1] < 0.2
    assert rows["softmax over the whole batch"][2] > 1e30
    assert rows["softmax without the maximum"][:2] == pytest.approx(right[:2], abs=0.006)
    assert rows["ReLU in place"] == right  # harmless in a chain
    assert rows["64-32-10, pixels 0..255, right"][1] > 0.75
    assert np.isnan(rows["without the maximum, pixels 0..255"][2])
    right, slip = rows["4 residual blocks in it, right"], rows["ReLU in place, 4 residual blocks"]
    assert slip[0] < right[0] - 0.1
    assert 0.8 < slip[1] < right[1]
