"""What losses and normalisations ask of a GPU, counted on the simulated one; and of NumPy and Numba, in their calls."""

import numpy as np
import pytest
from helpers import close, network

import xpnet as xn
from xpnet.backends.recording import Recorder, recorded
from xpnet.losses.cross_entropy import FEW, softmax_cross_entropy

LAUNCHES = {  # of value and gradient, with what the batch weighs
    "labels": (xn.SoftmaxCrossEntropy(), False, 1),
    "labels, smoothing": (xn.SoftmaxCrossEntropy(label_smoothing=0.1), False, 1),
    "labels, weights": (xn.SoftmaxCrossEntropy(), True, 4),  # the batch's weight, made 1 where it is 0 by two more
    "labels, ignored": (xn.SoftmaxCrossEntropy(ignore_index=2), False, 4),
    "labels, all": (xn.SoftmaxCrossEntropy(ignore_index=2, class_weights=(1, 2, 3)), True, 4),
    "squares": (xn.MeanSquaredError(), False, 1),
    "squares, weights": (xn.HalfSquaredError(), True, 4),
}
NORMS = {  # forward and backward
    "batch norm": (xn.BatchNorm(), (3, 3)),
    "batch norm alone": (xn.BatchNorm(affine=False), (3, 3)),
    "layer norm": (xn.LayerNorm(), (1, 2)),
    "layer norm alone": (xn.LayerNorm(2, affine=False), (1, 1)),
    "group norm": (xn.GroupNorm(2), (1, 2)),
}


def loss_pass(loss, weighted, device, shape=(6, 3), dtype="float32"):
    """A function that computes the loss of a network that hands its input on, and the arrays that it takes."""
    rng = np.random.default_rng(0)
    net = network(xn.Identity(), shape[1:], device, dtype)
    labels = isinstance(loss, xn.SoftmaxCrossEntropy)
    y = device.put(rng.standard_normal(shape), dtype)
    targets = device.put(rng.integers(0, shape[1], shape[0])) if labels else device.put(rng.standard_normal(shape), dtype)
    weights = device.put(rng.random(shape[0]), dtype) if weighted else None

    def compute():
        step = net.step(training=True)
        return loss(net.forward(y, step)[0], targets, step, weights)

    return compute, (y, targets, weights)


@pytest.mark.parametrize(("loss", "weighted", "expected"), LAUNCHES.values(), ids=LAUNCHES)
def test_launches_of_losses(loss, weighted, expected):
    compute, (y, targets, _) = loss_pass(loss, weighted, xn.device("sim"))
    compute()
    with xn.ledger() as seen:
        compute()
    assert (seen.launches, seen.syncs, seen.copies) == (expected, 0, 0)
    name = "softmax_cross_entropy" if isinstance(loss, xn.SoftmaxCrossEntropy) else "squared_error"
    (kernel,) = [k for (n, _), k in seen.kernels.items() if n == name]
    if expected == 1:  # logits, targets and gradient once each; the value, the one block's part of it, and the counter
        assert kernel.moved_bytes == 2 * y.nbytes + targets.nbytes + 3 * 4


@pytest.mark.parametrize(("layer", "expected"), NORMS.values(), ids=NORMS)
def test_launches_of_normalisations(layer, expected):
    device, rng = xn.device("sim"), np.random.default_rng(0)
    net = network(layer, (5, 5, 4), device, "float32")
    x, found = device.put(rng.standard_normal((3, 5, 5, 4)), "float32"), []
    for _ in range(2):
        step = net.step(training=True, needs_dx=True)
        with xn.ledger() as forward:
            y, cache = net.forward(x, step)
        with xn.ledger() as backward:
            net.backward(y, cache, step)
        found.append((forward.launches, backward.launches))
        del step, y, cache
    assert found[1] == expected
    step = net.step(training=False)
    net.forward(x, step)
    with xn.ledger() as seen:
        net.forward(x, net.step(training=False))
    assert seen.launches <= 2


@pytest.mark.parametrize("strided", ["logits", "targets"])
@pytest.mark.parametrize("loss", [xn.SoftmaxCrossEntropy(), xn.MeanSquaredError()], ids=repr)
def test_arrays_in_another_order(loss, strided, device):
    compute, (y, targets, _) = loss_pass(loss, False, device)
    expected = [device.get(a) for a in compute()]
    net = network(xn.Identity(), (3,), device, "float32")
    y, targets = (
        device.put(np.repeat(device.get(a), 2, axis=-1))[..., ::2] if strided == which else a
        for which, a in (("logits", y), ("targets", targets))
    )
    step = net.step(training=True)
    for a, b in zip(loss(net.forward(y, step)[0], targets, step), expected, strict=True):
        close(device.get(a), b, 1e-6)


ODD = [
    [1e4, 0, -1e4],
    [-np.inf, 2, 1],
    [2, -np.inf, 1],
    [-np.inf] * 3,
    [np.inf, 0, 1],
    [np.nan, 1, 2],
    [1, 2, np.nan],
    [0, 0, 0],
]


@pytest.mark.parametrize("width", [3, FEW + 1])
@pytest.mark.parametrize("row", ODD, ids=str)
@pytest.mark.parametrize("name", ["cpu", "cpu-fast"])
def test_labels_alone_are_as_labels_of_weight_1(name, row, width):
    """The quick form, by columns or by rows or as a loop, against the general one, at the edges."""
    device = available(name)
    z = np.array([row + [0.5] * (width - 3), [0.25] * width])
    for label in range(3):
        found = []
        for classes in (None, np.ones(width)):
            net = network(xn.Identity(), (width,), device)
            step = net.step(training=True)
            step.begin(z)
            dz, value = np.empty(z.shape), np.empty(())
            with np.errstate(all="ignore"):
                softmax_cross_entropy(step, z, np.array([label, 1]), classes, None, 2, dz, value, 0.0, None)
            found.append((value, dz))
        for a, b in zip(*found, strict=True):
            np.testing.assert_allclose(a, b, 1e-12, 1e-15)


def available(name):
    try:
        return xn.device(name)
    except xn.DeviceUnavailable as reason:
        pytest.skip(str(reason))


@pytest.mark.parametrize(("name", "most"), [("cpu", 16), ("cpu-fast", 1)])
def test_calls_of_a_record(name, most):
    """Labels without weights cost few calls, and none of them allocates."""
    device = available(name)
    for kind in ("uint8", "int64", "uint64", "bool"):
        net = network(xn.Identity(), (2,), device, "float32")
        step = net.step(training=True)
        step.begin(z := np.zeros((8, 2), "float32"))
        recorder, dz, value = Recorder(), np.empty_like(z), np.empty((), "float32")
        labels, (keep, scratch) = np.ones(8, kind), (step.keep, step.scratch)
        step.keep, step.scratch = (lambda *a, f=f: recorded(f(*a)) for f in (keep, scratch))
        with recorder.active():
            softmax_cross_entropy(step, recorded(z), recorded(labels), None, None, 8, recorded(dz), recorded(value), 0.0, None)
        assert not recorder.refused
        assert len(recorder.calls) <= most
        assert not any(f.__name__ == "_refill" for f, _ in recorder.calls if hasattr(f, "__name__"))
        assert value == pytest.approx(np.log(2), rel=1e-6)
