"""Every layer on every device: PyTorch's values, numerical differentiation, one sample at a time, and the edges."""

import copy
import math

import numpy as np
import pytest
from helpers import CONTAINERS, LAYOUTS, build, close, frozen, golden, network, numbers, run

import xpnet as xn
from xpnet.layers.gelu import erf

CASES = golden("layers")
POINTWISE = {name for name in CASES if not CASES[name].get("values") and name not in ("Softmax", "Flatten")}
DTYPES = ("float32", "float64")
every_case = pytest.mark.parametrize("case", CASES)
every_dtype = pytest.mark.parametrize("dtype", DTYPES)


def built(case, device, dtype="float64", shape=None):
    """The network of a golden case with its parameters."""
    data = CASES[case]
    layer = build(case, data["options"])
    return network(layer, data["x"].shape[1:] if shape is None else shape, device, dtype, data.get("values"))


def check(found, case, rtol, scale=1.0):
    data = CASES[case]
    close(found.y, data["y"], rtol, scale)
    close(found.dx, data["dx"], rtol, scale)
    assert found.grads.keys() == data.get("grads", {}).keys()
    for name, gradient in found.grads.items():
        close(gradient, data["grads"][name], rtol, scale)


# --- the values -----------------------------------------------------------------------------------------------


def test_every_layer_has_a_golden_case():
    layers = {name for name, thing in vars(xn).items() if isinstance(thing, type) and issubclass(thing, xn.Layer)}
    golden_cases = {case.split("-")[0] for case in (*CASES, *golden("images"))}
    elsewhere = {"Add", "Concatenate", "GaussianNoise", "RandomCrop", "RandomFlip", "RandomShift", "Reshape"}  # tests/images
    assert layers - golden_cases == {"Layer", "Sequential", "Dropout", "Step", *elsewhere}  # the first four: below


@every_case
def test_golden(case, device):
    check(run(built(case, device), CASES[case]["x"], CASES[case]["dy"]), case, 1e-10)


@every_case
def test_golden_in_float32(case, device):
    found = run(built(case, device, "float32"), CASES[case]["x"], CASES[case]["dy"])
    check(found, case, 2e-6, max(1, np.abs(CASES[case]["values"]["0.W"]).max() * 3) if "Affine" in case else 3)


@pytest.mark.parametrize("case", ["Sigmoid", "Softplus", "SiLU", "GELU"])
def test_small_outputs_are_right_to_an_absolute_error_of_one_rounding(case, device):
    x = np.linspace(-40, -10, 200)[:, None]
    exact = {
        "Sigmoid": lambda v: 1 / (1 + math.exp(-v)),
        "Softplus": lambda v: math.log1p(math.exp(v)),
        "SiLU": lambda v: v / (1 + math.exp(-v)),
        "GELU": lambda v: v * math.erfc(-v / math.sqrt(2)) / 2,
    }[case]
    found = run(built(case, device, shape=(1,)), x).y
    np.testing.assert_allclose(found[:, 0], [exact(v) for v in x[:, 0]], rtol=0, atol=40 * 2.3e-16)


@every_case
def test_numerical_differentiation(case, device):
    rng = np.random.default_rng(3)
    x = rng.standard_normal(CASES[case]["x"].shape)
    report = xn.gradcheck(built(case, device), x=x, device=device, tolerance=1e-6)
    arrays = {a.name: a for a in report.arrays}
    assert arrays.keys() == {"input", *CASES[case].get("values", {})}
    assert arrays["input"].checked == x.size  # no element lies at a kink
    assert report.skipped == 0


@pytest.mark.parametrize(("case", "parts"), [("ReLU", 1), ("LeakyReLU", 1), ("ELU-0.7", 1), ("Tanh", 0)])
def test_only_kinks_are_skipped(case, parts, device):
    report = xn.gradcheck(built(case, device, shape=(4,)), x=[[-1.0, 0.0, 1.0, 2.0]], device=device)
    assert report.skipped == parts


# --- one sample at a time = the whole minibatch -----------------------------------------------------------------


@every_case
def test_per_sample_equals_minibatch_in_a_network(case, device):
    data, rng = CASES[case], np.random.default_rng(5)
    shape = data["x"].shape[1:]
    net = network(xn.Sequential(xn.Affine(shape[-1]), build(case, data["options"]), xn.Affine(2)), shape, device)
    x = device.put(rng.standard_normal(data["x"].shape))
    y = device.put(rng.standard_normal((len(data["x"]), *net.output_shape)))
    loss = xn.MeanSquaredError()
    value = float(device.get(xn.backward_per_sample(net, loss, x, y)))
    summed = device.get(net.parameters.grad)
    step = net.step(training=True)
    out, cache = net.forward(x, step)
    whole, dy = loss(out, y, step)
    net.backward(dy, cache, step)
    assert value == pytest.approx(float(device.get(whole)), rel=1e-12)
    close(summed, device.get(net.parameters.grad), 1e-12, np.abs(summed).max())


@every_case
def test_samples_do_not_interact(case, device):
    """A loop over the rows gives the rows of y and dx, and gradients that add up to the minibatch's."""
    data = CASES[case]
    net = built(case, device)
    whole = run(net, data["x"], data["dy"])
    parts = [run(net, data["x"][i : i + 1], data["dy"][i : i + 1]) for i in range(len(data["x"]))]
    close(np.concatenate([p.y for p in parts]), whole.y, 1e-12)
    close(np.concatenate([p.dx for p in parts]), whole.dx, 1e-12)
    for name, gradient in whole.grads.items():
        close(sum(p.grads[name] for p in parts), gradient, 1e-12, np.abs(gradient).max())


# --- types and shapes -------------------------------------------------------------------------------------------


@every_case
@every_dtype
def test_types_and_shapes(case, dtype, device):
    data = CASES[case]
    net = built(case, device, dtype)
    assert net.output_shape == data["y"].shape[1:]
    assert net.parameters.dtype == dtype
    found = run(net, data["x"], data["dy"])
    pairs = [(found.y, data["y"]), (found.dx, data["dx"]), *((found.grads[k], data["grads"][k]) for k in found.grads)]
    for a, expected in pairs:
        assert a.dtype == dtype
        assert a.shape == expected.shape


@every_case
@every_dtype
def test_results_are_arrays_of_the_device(case, dtype, device):
    net = built(case, device, dtype)
    x = device.put(CASES[case]["x"], dtype)
    step = net.step(training=True, needs_dx=True)
    y, cache = net.forward(x, step)
    assert device.owns(y)
    assert y.dtype == dtype
    dx = net.backward(device.put(CASES[case]["dy"], dtype), cache, step)
    assert device.owns(dx)
    assert dx.dtype == dtype
    assert dx.shape == x.shape


@every_case
def test_no_input_gradient_unless_asked(case, device):
    net = built(case, device)
    step = net.step(training=True)
    _, cache = net.forward(device.put(CASES[case]["x"]), step)
    assert net.backward(device.put(CASES[case]["dy"]), cache, step) is None
    found = {p.name: device.get(p.grad) for p in net.parameters.trainable}
    for name, gradient in CASES[case].get("grads", {}).items():
        close(found[name], gradient, 1e-10, 10)


# --- edges ------------------------------------------------------------------------------------------------------


@every_case
def test_batch_of_one(case, device):
    data = CASES[case]
    found = run(built(case, device), data["x"][:1], data["dy"][:1])
    close(found.y, data["y"][:1], 1e-10)
    close(found.dx, data["dx"][:1], 1e-10)


@every_case
@every_dtype
def test_empty_batch(case, dtype, device):
    data = CASES[case]
    net = built(case, device, dtype)
    run(net, data["x"], data["dy"])  # gradients that are not 0
    found = run(net, data["x"][:0], data["dy"][:0])
    assert (found.y.shape, found.y.dtype) == ((0, *net.output_shape), dtype)
    assert (found.dx.shape, found.dx.dtype) == ((0, *data["x"].shape[1:]), dtype)
    assert all((g == 0).all() for g in found.grads.values())


@every_case
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout(case, layout, device):
    data, lay = CASES[case], LAYOUTS[layout]
    x, dy = lay(device.put, data["x"]), lay(device.put, data["dy"])
    assert not x.flags.c_contiguous
    assert not dy.flags.c_contiguous
    check(run(built(case, device), x, dy), case, 1e-10, 10)


@every_case
def test_inputs_are_not_written_to(case, device):
    data = CASES[case]
    net = built(case, device)
    x, dy = device.put(data["x"].copy()), device.put(data["dy"].copy())
    before = {name: device.get(p.value) for name, p in net.parameters.items()}
    run(net, x, dy)
    assert device.get(x).tobytes() == data["x"].tobytes()
    assert device.get(dy).tobytes() == data["dy"].tobytes()
    assert all((device.get(p.value) == before[name]).all() for name, p in net.parameters.items())


@every_case
def test_read_only_input(case):
    data = CASES[case]
    x, dy = data["x"].copy(), data["dy"].copy()
    x.flags.writeable = dy.flags.writeable = False
    check(frozen(lambda: run(built(case, xn.device("cpu")), x, dy), x, dy), case, 1e-10, 10)


LOWER = {
    "Tanh": lambda x: -1,
    "LeakyReLU": lambda x: 0.01 * x,
    "LeakyReLU-0.3": lambda x: 0.3 * x,
    "ELU": lambda x: -1,
    "ELU-0.7": lambda x: -0.7,
    "Identity": lambda x: x,
}  # what large negative numbers become, where it is not 0


@every_case
@every_dtype
@pytest.mark.parametrize("size", [1e4, 1e30])
def test_huge_inputs_stay_finite(case, dtype, size, device):
    signs = np.random.default_rng(7).choice([-1.0, 1.0], CASES[case]["x"].shape)
    found = run(built(case, device, dtype), size * signs, CASES[case]["dy"])
    for a in (found.y, found.dx, *found.grads.values()):
        assert np.isfinite(a).all()
    if case in POINTWISE:
        high = 1 if case in ("Sigmoid", "Tanh") else size
        assert (found.y[signs > 0] == np.asarray(high, dtype)).all()  # the asymptote itself
        low = LOWER.get(case, lambda x: 0)(-size)
        np.testing.assert_allclose(found.y[signs < 0], low, rtol=1e-6)


@every_case
def test_nan_passes_through(case, device):
    x = CASES[case]["x"].copy()
    x[1] = np.nan
    y = run(built(case, device), x).y
    assert np.isnan(y[1]).all()
    assert not np.isnan(y[[0, 2, 3, 4]]).any()


@every_case
def test_nan_in_the_upstream_gradient_passes_through(case, device):
    dy = CASES[case]["dy"].copy()
    dy[1] = np.nan
    found = run(built(case, device), CASES[case]["x"], dy)
    assert np.isnan(found.dx[1]).all()
    assert not np.isnan(found.dx[[0, 2, 3, 4]]).any()
    assert all(np.isnan(g).any() for g in found.grads.values())


@every_case
def test_inference_gives_the_same_outputs(case, device):
    close(numbers(built(case, device), CASES[case]["x"], training=False), CASES[case]["y"], 1e-10)


@every_case
def test_two_passes_under_way_keep_apart(case, device):
    """A forward pass between another's forward and backward changes nothing: layers keep no per-call data."""
    data = CASES[case]
    net = built(case, device)
    step = net.step(training=True, needs_dx=True)
    y, cache = net.forward(device.put(data["x"]), step)
    numbers(net, data["x"] + 1, training=False)
    run(net, data["x"] - 1, data["dy"])
    dx = net.backward(device.put(data["dy"]), cache, step)
    close(device.get(y), data["y"], 1e-10)
    close(device.get(dx), data["dx"], 1e-10)


@pytest.mark.parametrize("case", ["ReLU", "LeakyReLU-0.3", "ELU-0.7"])
def test_slope_at_the_kink(case, device):
    found = run(built(case, device, shape=(1,)), np.zeros((1, 1)))
    assert found.dx == {"ReLU": 0, "LeakyReLU-0.3": 0.3, "ELU-0.7": 0.7}[case]
    assert found.y == 0


def test_softmax_rows_add_up_to_one(device, rng):
    y = run(network(xn.Softmax(), (7,), device), 50 * rng.standard_normal((20, 7))).y
    close(y.sum(1), np.ones(20), 1e-14)
    assert (y >= 0).all()


def test_softmax_of_an_impossible_class(device):
    y = run(network(xn.Softmax(), (3,), device), np.array([[-np.inf, 0.0, 0.0]])).y
    assert y.tolist() == [[0, 0.5, 0.5]]


BAD = {
    "Affine without outputs": (lambda: xn.Affine(0), "n_out=0"),
    "Affine of a float": (lambda: xn.Affine(2.0), "n_out=2.0"),
    "slope 1": (lambda: xn.LeakyReLU(1), "slope"),
    "slope below 0": (lambda: xn.LeakyReLU(-0.1), "slope"),
    "alpha 0": (lambda: xn.ELU(0), "alpha"),
    "alpha NaN": (lambda: xn.ELU(math.nan), "alpha"),
    "GELU of another name": (lambda: xn.GELU("erf"), "approximate='erf'"),
    "rate 1": (lambda: xn.Dropout(1), "rate"),
    "rate below 0": (lambda: xn.Dropout(-0.1), "rate"),
    "Affine on single numbers": (lambda: xn.Sequential(xn.Affine(2)).build(()), r"reshape them to \(N, 1\)"),
    "Residual of another shape": (lambda: xn.Sequential(xn.Residual(xn.Affine(3))).build((4,)), r"shortcut=Affine\(3\)"),
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("case", CASES)
def test_repr_rebuilds_the_layer(case):
    layer = build(case, CASES[case]["options"])
    again = eval(repr(layer), {**vars(xn)})
    assert repr(again) == repr(layer)
    if case not in CONTAINERS:
        assert CASES[case]["options"].items() <= again.config().items()


@every_case
def test_a_copy_computes_the_same(case, device):
    net = built(case, device)
    first = run(net, CASES[case]["x"], CASES[case]["dy"])
    again = run(copy.deepcopy(net), CASES[case]["x"], CASES[case]["dy"])
    assert again.y.tobytes() == first.y.tobytes()
    assert again.dx.tobytes() == first.dx.tobytes()


# --- the error function -----------------------------------------------------------------------------------------

ENDS = 0.46875 + np.linspace(-1e-6, 1e-6, 21)  # of the first interval
ERF_PLACES = np.concatenate([np.linspace(-8, 8, 20_001), ENDS, -ENDS, [0.0, -0.0, 1e-300, 5.999, 6.001]])


@pytest.mark.parametrize(("dtype", "error"), [("float64", 1e-15), ("float32", 4e-7)])
def test_erf(dtype, error, device):
    x = ERF_PLACES.astype(dtype)
    net = network(xn.Identity(), (), device, dtype)
    step = net.step(training=False)
    net.forward(device.put(x), step)
    found = device.get(erf(device.put(x), step.keep(x.shape), step))
    expected = np.array([math.erf(float(v)) for v in x])
    assert found.dtype == dtype
    assert np.abs(found - expected).max() < error
    assert found[x == 0].tobytes() == x[x == 0].tobytes()  # the sign of 0 too
    if dtype == "float64":
        near = np.abs(x) > 1e-3
        assert (np.abs(found / np.where(x == 0, 1, expected) - 1)[near]).max() < 1e-14


def test_gelu_is_x_times_the_normal_distribution(device):
    x = np.linspace(-8, 8, 1001)
    y = run(network(xn.GELU(), (), device), x).y
    np.testing.assert_allclose(y, [v * (1 + math.erf(v / math.sqrt(2))) / 2 for v in x], rtol=0, atol=1e-14)


# --- Step -------------------------------------------------------------------------------------------------------


@every_dtype
def test_step_forward(dtype, device):
    x = np.array([[-1e30, -1.0, -1e-30, -0.0], [0.0, 1e-30, 1.0, 1e30]], dtype)
    y = numbers(network(xn.Step(), (4,), device, dtype), x)
    assert y.dtype == dtype
    assert y.tolist() == [[0, 0, 0, 0], [0, 1, 1, 1]]


def test_step_refuses_backward(device):
    net = network(xn.Sequential(xn.Affine(2), xn.Step()), (3,), device)
    with pytest.raises(TypeError, match=r"Step cannot be trained through.*Sigmoid"):
        run(net, np.ones((2, 3)))


def test_step_is_refused_by_the_trainer():
    with pytest.raises(ValueError, match=r"Step\(\) cannot be trained through"):
        xn.Trainer(xn.Sequential(xn.Affine(2), xn.Residual(xn.Step())), loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1))
