"""Every loss on every device: PyTorch's values, numerical differentiation, one sample at a time, types, weights."""

import math

import numpy as np
import pytest
from helpers import cast, close, network, run_loss
from loss_cases import CASES, CPU, GENTLE, LOSSES, WEIGHTED, arguments, every_case, every_dtype, forwarded, gentle_case

import xpnet as xn

# --- the values -----------------------------------------------------------------------------------------------


def test_every_loss_has_a_golden_case():
    losses = {name for name, thing in vars(xn).items() if isinstance(thing, type) and issubclass(thing, xn.Loss)} - {"Loss"}
    assert losses == set(LOSSES) == {case.split("-")[0] for case in CASES}


@every_case
def test_golden(case, device):
    value, dy = run_loss(*arguments(case), device)
    close(value, CASES[case]["value"], 1e-10)
    close(dy, CASES[case]["dy"], 1e-10)
    assert np.isfinite(dy).all()


@every_case
def test_golden_in_float32(case, device):
    value, dy = run_loss(*arguments(case), device, "float32")
    assert (value.dtype, value.shape, dy.dtype) == ("float32", (), "float32")
    close(value, CASES[case]["value"], 3e-6)
    close(dy, CASES[case]["dy"], 3e-6)


@gentle_case
def test_numerical_differentiation(case, device):
    loss, y, targets, weights = arguments(case)
    if weights is None:
        report = xn.gradcheck(loss, x=y, y=targets, device=device)
        assert report.worst.checked == y.size
    value, dy = run_loss(loss, y, targets, weights, device)
    rng = np.random.default_rng(1)
    for _ in range(3):  # along random directions, with the sample weights that gradcheck does not take
        d = rng.standard_normal(y.shape)
        up, down = (run_loss(loss, y + h * d, targets, weights, device)[0] for h in (1e-5, -1e-5))
        assert (dy * d).sum() == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-8)
    assert value == pytest.approx((up + down) / 2, rel=1e-6)


FORMULAS = {  # of one row's loss
    "MeanSquaredError": lambda y, t: ((y - t) ** 2).mean(),
    "HalfSquaredError": lambda y, t: ((y - t) ** 2).sum() / 2,
    "SigmoidCrossEntropy": lambda z, t: np.mean(
        [-b * math.log(s) - (1 - b) * math.log(1 - s) for a, b in zip(z, t, strict=True) for s in [1 / (1 + math.exp(-a))]]
    ),
    "SoftmaxCrossEntropy": lambda z, t: -math.log(math.exp(z[t]) / sum(math.exp(v) for v in z)),
}


@pytest.mark.parametrize("case", LOSSES)
def test_the_formula_by_hand(case, device):
    loss, y, targets, _ = arguments(case)
    rows = [FORMULAS[case](a, t) for a, t in zip(y, targets, strict=True)]
    assert run_loss(loss, y, targets, None, device)[0] == pytest.approx(np.mean(rows), rel=1e-13)
    weights = np.arange(1.0, 7.0)
    assert run_loss(loss, y, targets, weights, device)[0] == pytest.approx(np.average(rows, weights=weights), rel=1e-13)


@gentle_case
def test_equal_weights_are_no_weights(case, device):
    loss, y, targets, _ = arguments(case)
    value, dy = run_loss(loss, y, targets, None, device)
    weighted, d_weighted = run_loss(loss, y, targets, np.full(len(y), 0.5), device)
    assert weighted == pytest.approx(float(value), rel=1e-13)
    close(d_weighted, dy, 1e-13)


@pytest.mark.parametrize("case", WEIGHTED)
def test_weight_0_leaves_a_row_out(case, device):
    loss, y, targets, weights = arguments(case)
    weights = weights.copy()
    weights[[1, 4]] = 0
    kept = weights > 0
    value, dy = run_loss(loss, y, targets, weights, device)
    alone, d_alone = run_loss(loss, y[kept], targets[kept], weights[kept], device)
    assert value == pytest.approx(float(alone), rel=1e-13)
    close(dy[kept], d_alone, 1e-13)
    assert (dy[~kept] == 0).all()


@pytest.mark.parametrize("case", WEIGHTED)
def test_a_whole_weight_is_that_many_rows(case, device):
    loss, y, targets, _ = arguments(case)
    times = np.array([1, 3, 1, 2, 1, 1])
    value, _ = run_loss(loss, y, targets, times.astype(float), device)
    repeated, _ = run_loss(loss, *(np.repeat(a, times, axis=0) for a in (y, targets)), None, device)
    assert value == pytest.approx(float(repeated), rel=1e-13)


def test_labels_are_one_hot_probabilities(device):
    loss, y, labels, _ = arguments("SoftmaxCrossEntropy-3d")
    for options in ({}, {"label_smoothing": 0.2}):
        loss = xn.SoftmaxCrossEntropy(**options)
        found = run_loss(loss, y, labels, None, device)
        dense = run_loss(loss, y, np.eye(4)[labels], None, device)
        close(found[0], dense[0], 1e-14)
        close(found[1], dense[1], 1e-14)


@pytest.mark.parametrize("kind", ["int8", "uint8", "int16", "int32", "uint32", "int64", "uint64"])
def test_integer_labels_of_every_type(kind, device):
    loss, y, labels, _ = arguments("SoftmaxCrossEntropy")
    close(run_loss(loss, y, labels.astype(kind), None, device)[0], CASES["SoftmaxCrossEntropy"]["value"], 1e-12)


@pytest.mark.parametrize(
    "options", [{}, {"class_weights": (1, 2, 3, 4)}, {"ignore_index": 1}], ids=["plain", "classes", "ignore"]
)
def test_truth_values_are_labels(options, device):
    """As in ``Trainer.fit``."""
    loss, (_, y, _, weights) = xn.SoftmaxCrossEntropy(**options), arguments("SoftmaxCrossEntropy-weights")
    labels = np.array([True, False, True, True, False, False])
    found, expected = (run_loss(loss, y, t, weights, device) for t in (labels, labels.astype(int)))
    assert found[0] == expected[0]
    assert found[1].tobytes() == expected[1].tobytes()


@pytest.mark.parametrize("case", [name for name in GENTLE if "-ignore" in name or name.startswith("SoftmaxCrossEntropy-all")])
def test_ignored_rows_count_for_nothing(case, device):
    loss, y, targets, weights = arguments(case)
    ignored = targets == loss.ignore_index
    assert ignored.any()
    value, dy = run_loss(loss, y, targets, weights, device)
    other = np.where(ignored[..., None], -7 * y, y)
    again, d_again = run_loss(loss, other, targets, weights, device)
    assert value == again
    assert dy.tobytes() == d_again.tobytes()
    assert (dy[ignored] == 0).all()


@pytest.mark.parametrize(
    "options", [{}, {"label_smoothing": 0.1}, {"class_weights": (1, 2, 3, 4)}], ids=["plain", "smoothing", "classes"]
)
@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0])], ids=["unweighted", "weights"])
@every_dtype
def test_all_ignored_is_0_and_no_gradient(options, weights, dtype, device):
    loss = xn.SoftmaxCrossEntropy(ignore_index=-1, **options)
    value, dy = run_loss(loss, np.array([[1.0, -2, 3, 0], [5, 5, 5, 5]]), np.array([-1, -1]), weights, device, dtype)
    assert value == 0
    assert (dy == 0).all()


@pytest.mark.parametrize("weights", [None, np.array([0.5, 2.0])], ids=["unweighted", "weights"])
def test_only_classes_of_weight_0_is_0_and_no_gradient(weights, device):
    loss = xn.SoftmaxCrossEntropy(class_weights=(1, 0, 1))
    value, dy = run_loss(loss, np.array([[1.0, -2, 3], [5, 5, 5]]), np.array([1, 1]), weights, device)
    assert value == 0
    assert (dy == 0).all()


@pytest.mark.parametrize("case", [name for name in WEIGHTED if "smoothing" not in name and "all" not in name])
def test_a_batch_of_weight_0_is_0_and_no_gradient(case, device):
    """As a batch of rows that are all weighted 0 is, one of many in an epoch."""
    loss, y, targets, weights = arguments(case)
    value, dy = run_loss(loss, y, targets, np.zeros_like(weights), device)
    assert value == 0
    assert (dy == 0).all()


@every_dtype
def test_smoothing_over_a_class_of_weight_0_stays_bounded(dtype, device):
    """Smoothing leaves such a row a loss, though the weight to divide it by is 0."""
    loss = xn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=(1, 0, 1))
    value, dy = run_loss(loss, np.array([[1.0, -2, 3]]), np.array([1]), None, device, dtype)
    assert np.abs(dy).max() <= 1
    assert 0 <= value < 10


# --- one sample at a time = the whole minibatch -----------------------------------------------------------------


@gentle_case
def test_per_sample_equals_minibatch(case, device):
    loss, y, targets, weights = arguments(case)
    net = network(xn.Sequential(xn.Affine(y.shape[-1])), y.shape[1:], device)
    x, t, w = (None if a is None else device.put(a) for a in (y, targets, weights))
    value = device.get(xn.backward_per_sample(net, loss, x, t, w))
    summed = device.get(net.parameters.grad)
    step = net.step(training=True)
    out, cache = net.forward(x, step)
    whole, dy = loss(out, t, step, w)
    net.backward(dy, cache, step)
    assert value == pytest.approx(float(device.get(whole)), rel=1e-12)
    close(summed, device.get(net.parameters.grad), 1e-12, np.abs(summed).max())
    assert np.abs(summed).max() > 1e-3


@gentle_case
@pytest.mark.parametrize("size", [1, 4])
def test_parts_of_a_batch_add_up(case, size, device):
    """Every part is given the whole batch's count, so losses add up and gradients stand side by side."""
    loss, y, targets, weights = arguments(case)
    value, dy = run_loss(loss, y, targets, weights, device)
    _, step = forwarded(y, device)
    count = loss.total(device.put(targets), step, None if weights is None else device.put(weights))
    values, gradients = [], []
    for part in (slice(i, i + size) for i in range(0, len(y), size)):
        found = run_loss(loss, y[part], targets[part], None if weights is None else weights[part], device, count=count)
        values.append(found[0])
        gradients.append(found[1])
    assert sum(values) == pytest.approx(float(value), rel=1e-12)
    close(np.concatenate(gradients), dy, 1e-12)


TOTALS = {  # labels 0, 2, 2, 3 with class weights 1, 2, 4, 8; sample weights 1, 10, 100, 1000
    "plain": ({}, None, 4),
    "weights": ({}, (1, 10, 100, 1000), 1111),
    "ignore": ({"ignore_index": 2}, None, 2),
    "ignore, weights": ({"ignore_index": 2}, (1, 10, 100, 1000), 1001),
    "classes": ({"class_weights": (1, 2, 4, 8)}, None, 17),
    "all": ({"class_weights": (1, 2, 4, 8), "ignore_index": 2, "label_smoothing": 0.3}, (1, 10, 100, 1000), 8001),
}


@pytest.mark.parametrize(("options", "weights", "expected"), TOTALS.values(), ids=TOTALS)
def test_total_weight(options, weights, expected, device):
    loss, targets = xn.SoftmaxCrossEntropy(**options), device.put(np.array([0, 2, 2, 3]))
    _, step = forwarded(np.zeros((4, 4)), device)
    total = loss.total(targets, step, None if weights is None else device.put(np.array(weights, float)))
    assert float(total if isinstance(total, int) else device.get(total)) == expected


@pytest.mark.parametrize("count", [2, 2.0, np.array(2.0)], ids=["int", "float", "array"])
@pytest.mark.parametrize("case", LOSSES)
def test_count_of_the_step_divides(case, count, device):
    loss, y, targets, _ = arguments(case)
    value, dy = run_loss(loss, y, targets, None, device)
    count = device.put(count) if isinstance(count, np.ndarray) else count
    doubled, d_doubled = run_loss(loss, y, targets, None, device, count=count)
    assert doubled == pytest.approx(float(value) * 3, rel=1e-13)  # 6 rows divided by 2
    close(d_doubled, dy * 3, 1e-13)


@gentle_case
def test_batch_of_one(case, device):
    """Each row alone: its loss by its own weight, which cancels but for the classes' weights of probabilities."""
    loss, y, targets, weights = arguments(case)
    classes = loss.config().get("class_weights")
    for i in range(len(y)):
        if classes and targets.dtype.kind == "i" and 0 in [classes[t] for t in targets[i].flat if t in range(4)]:
            continue  # smoothing leaves a loss, and the weight to divide it by is 0
        row = slice(i, i + 1)
        value, dy = run_loss(loss, y[row], targets[row], None if weights is None else weights[row], device)
        repeated, _ = run_loss(loss, y[[i] * 3], targets[[i] * 3], None, device)
        assert value == pytest.approx(float(repeated), rel=1e-13)
        assert dy.shape == y[row].shape
        name = case.removesuffix("-weights")
        if name in FORMULAS:
            assert value == pytest.approx(FORMULAS[name](y[i], targets[i]), rel=1e-12)


# --- types, shapes, layout --------------------------------------------------------------------------------------


@gentle_case
@every_dtype
def test_types_and_shapes(case, dtype, device):
    loss, *given = arguments(case)
    y, targets, weights = cast(given, dtype)
    out, step = forwarded(y, device, dtype)
    value, dy = loss(out, device.put(targets), step, None if weights is None else device.put(weights))
    assert device.owns(value)
    assert device.owns(dy)
    assert (value.shape, value.dtype) == ((), dtype)
    assert (dy.shape, dy.dtype) == (y.shape, dtype)


@every_case
def test_inputs_are_not_written_to(case, device):
    loss, *given = arguments(case)
    given = [None if a is None else a.copy() for a in given]
    y, targets, weights = (None if a is None else device.put(a) for a in given)
    net = network(xn.Identity(), y.shape[1:], device)
    step = net.step(training=True)
    loss(net.forward(y, step)[0], targets, step, weights)
    for a, before in zip((y, targets, weights), arguments(case)[1:], strict=True):
        assert a is None or device.get(a).tobytes() == before.tobytes()


@gentle_case
def test_read_only_and_strided_arguments(case):
    loss, *given = arguments(case)
    for lay in (lambda a: np.asfortranarray(a), lambda a: np.repeat(a, 2, axis=0)[::2]):
        arrays = [None if a is None else lay(a.copy()) for a in given]
        for a in arrays:
            if a is not None:
                a.flags.writeable = False
        out, step = forwarded(given[0], CPU)
        value, dy = loss(arrays[0], arrays[1], step, arrays[2])
        close(value, CASES[case]["value"], 1e-12)
        close(dy, CASES[case]["dy"], 1e-12)
        assert out.tobytes() == given[0].tobytes()


@pytest.mark.parametrize("case", LOSSES)
def test_training_history_is_the_mean_loss(case, device):
    """With a learning rate of nearly 0, an epoch's loss is the loss of the whole set."""
    loss, y, targets, _ = arguments(case)
    net = network(xn.Affine(y.shape[-1]), y.shape[1:], device)
    trainer = xn.Trainer(net, loss=loss, optimizer=xn.SGD(1e-300), device=device)
    history = trainer.fit(y, targets, epochs=1, batch_size=4, progress=False)  # 4 rows and 2
    assert history["loss"] == pytest.approx([trainer.evaluate(y, targets)["loss"]], rel=1e-12)


@pytest.mark.parametrize("case", LOSSES)
def test_training_history_with_sample_weights(case, device):
    loss, y, targets, _ = arguments(case)
    net, weights = network(xn.Affine(y.shape[-1]), y.shape[1:], device), np.array([1.0, 2, 1, 0, 50, 1])
    trainer = xn.Trainer(net, loss=loss, optimizer=xn.SGD(1e-300), device=device)
    history = trainer.fit(y, targets, batch_size=4, sample_weight=weights, shuffle=False, progress=False)
    expected = trainer.evaluate(y, targets, sample_weight=weights)["loss"]
    assert history["loss"] == pytest.approx([expected], rel=1e-12)


@pytest.mark.parametrize("case", LOSSES)
def test_evaluation_in_parts_one_of_which_weighs_nothing(case, device):
    """More rows than are evaluated at once, and those of the last part weigh 0: as if they were not there."""
    loss, y, targets, _ = arguments(case)
    y, targets, weights = (np.resize(a, (1030, *a.shape[1:])) for a in (y, targets, np.array([1e-3])))
    weights[1024:] = 0
    net = network(xn.Affine(y.shape[-1]), y.shape[1:], device)
    trainer = xn.Trainer(net, loss=loss, optimizer=xn.SGD(0.1), device=device, metrics=())
    found = trainer.evaluate(y, targets, sample_weight=weights)["loss"]
    assert found == pytest.approx(trainer.evaluate(y[:1024], targets[:1024])["loss"], rel=1e-12)


@pytest.mark.parametrize("case", LOSSES)
def test_training_row_by_row_passes_over_rows_of_weight_0(case, device):
    loss, y, targets, _ = arguments(case)
    weights = np.array([1.0, 0, 1, 0, 1, 0])
    found = []
    for kept, given in ((slice(None), weights), (weights > 0, None)):
        net = network(xn.Affine(y.shape[-1]), y.shape[1:], device)
        trainer = xn.Trainer(net, loss=loss, optimizer=xn.SGD(0.01), device=device)
        trainer.fit(y[kept], targets[kept], batch_size=1, sample_weight=given, shuffle=False, progress=False)
        found.append(device.get(net.parameters.value))
    close(found[0], found[1], 1e-12)


def test_values_are_the_receivers_own(device):
    """A value and a gradient held on to are not overwritten by the next step."""
    loss, y, targets, _ = arguments("SoftmaxCrossEntropy")
    net = network(xn.Identity(), y.shape[1:], device)
    found = []
    for k in range(4):
        step = net.step(training=True)
        found.append(loss(net.forward(device.put(y * k), step)[0], device.put(targets), step))
    for k, (value, dy) in enumerate(found):
        expected = run_loss(loss, y * k, targets, None, device)
        close(device.get(value), expected[0], 1e-14)
        close(device.get(dy), expected[1], 1e-14)
