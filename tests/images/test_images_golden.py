"""Layers for images: PyTorch's values for every pair of options, one sample at a time, numerical differentiation, in blocks."""

import numpy as np
import pytest
from helpers import LAYOUTS, close, golden, network, run

import xpnet as xn
from xpnet.backends.cpu import CPU
from xpnet.blocks import Cut
from xpnet.layers.convolution.plan import METHODS, unsuited

CASES = golden("images")
every_case = pytest.mark.parametrize("case", CASES)
CONVOLUTIONS = [case for case in CASES if case.startswith("Conv2d")]
NO_MIXING = [case for case in CASES if not (case.startswith("BatchNorm") and CASES[case]["training"])]


def layer(case, **more):
    data = CASES[case]
    options = {k: tuple(v) if isinstance(v, list) else v for k, v in data["options"].items()}
    return getattr(xn, case.split("-")[0])(**options, **more)


def built(case, device, dtype="float64", **more):
    """The network of a golden case with its parameters and running statistics."""
    data = CASES[case]
    values = {**data.get("values", {}), **data.get("before", {})}
    return network(layer(case, **more), data["x"].shape[1:], device, dtype, values)


def run_case(net, case, rows=slice(None), factor=1.0):
    data = CASES[case]
    return run(net, factor * data["x"][rows], data["dy"][rows], training=bool(data.get("training", True)))


def check(net, found, case, rtol):
    data = CASES[case]
    close(found.y, data["y"], rtol, max(1, np.abs(data["y"]).max(initial=0)))
    close(found.dx, data["dx"], rtol, max(1, np.abs(data["dx"]).max(initial=0)))
    assert found.grads.keys() == data.get("grads", {}).keys()
    for name, gradient in found.grads.items():
        close(gradient, data["grads"][name], rtol, max(1, np.abs(data["grads"][name]).max(initial=0)))
    for name, state in data.get("after", {}).items():
        close(net.parameters.snapshot()[name], state, rtol, 1)


@every_case
@pytest.mark.parametrize(("dtype", "rtol"), [("float64", 1e-12), ("float32", 5e-6)])
def test_golden(case, device, dtype, rtol):
    net = built(case, device, dtype)
    found = run_case(net, case)
    check(net, found, case, rtol)
    assert {a.dtype.name for a in (found.y, found.dx, *found.grads.values())} == {dtype}


@pytest.mark.parametrize("case", CONVOLUTIONS)
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("workspace", [None, 1])
def test_every_method_that_suits(case, method, workspace, device):
    plain = built(case, device)
    if why := unsuited(method, plain.layers[0].geometry):
        with pytest.raises(ValueError, match="does not suit.*" + why[:20]):
            built(case, device, method=method)
        return
    net = built(case, device, method=method, workspace=workspace)
    assert net.layers[0].plan(device).name == method
    check(net, run_case(net, case), case, 1e-12)


@pytest.mark.parametrize("case", NO_MIXING)
def test_one_sample_at_a_time(case, device):
    data, net = CASES[case], built(case, device)
    whole = run_case(net, case)
    parts = [run_case(net, case, slice(i, i + 1)) for i in range(len(data["x"]))]
    if not parts:
        assert all((g == 0).all() for g in whole.grads.values())
        return
    close(np.concatenate([p.y for p in parts]), whole.y, 1e-12)
    close(np.concatenate([p.dx for p in parts]), whole.dx, 1e-12)
    for name, gradient in whole.grads.items():
        close(sum(p.grads[name] for p in parts), gradient, 1e-12, np.abs(gradient).max())


@every_case
def test_numerical_differentiation(case, device):
    data = CASES[case]
    if not len(data["x"]):
        pytest.skip("an empty batch has no gradient")
    x = np.random.default_rng(3).standard_normal(data["x"].shape)
    training = bool(data.get("training", True))
    assert xn.gradcheck(built(case, device), x=x, device=device, directions=3, training=training)


@pytest.mark.parametrize("case", [case for case in CASES if len(CASES[case]["x"]) > 1 and CASES[case]["x"].ndim == 4])
@pytest.mark.parametrize("dtype", ["float64", "float32"])
def test_in_blocks(case, dtype, monkeypatch):
    """A row a block: learned, recorded and replayed, on values that change, as when the batch is taken at once."""
    device, rtol = xn.device("cpu"), {"float64": 1e-11, "float32": 3e-5}[dtype]
    monkeypatch.setattr(CPU, "block_count", lambda self, n, *sizes: n)
    blocks, whole = built(case, device, dtype), built(case, device, dtype)
    whole.in_blocks = False
    assert blocks.in_blocks
    for factor in (1.0, -0.5, 2.0, 0.25):
        found, expected = run_case(blocks, case, factor=factor), run_case(whole, case, factor=factor)
        close(found.y, expected.y, rtol, max(1, np.abs(expected.y).max()))
        close(found.dx, expected.dx, rtol, max(1, np.abs(expected.dx).max()))
        for name, gradient in expected.grads.items():
            close(found.grads[name], gradient, rtol, max(1, np.abs(gradient).max()))
        for name, state in whole.parameters.snapshot().items():
            close(blocks.parameters.snapshot()[name], state, rtol, 1)
    if CASES[case].get("training", True):
        (cut,) = (part for part in next(iter(blocks.arenas._free.values()))[0].kin.values() if isinstance(part, Cut))
        assert len(cut.rows) == len(CASES[case]["x"])
        assert cut.forward_plan
        assert cut.backward_plan


@every_case
@pytest.mark.parametrize("layout", LAYOUTS)
def test_memory_layout(case, layout, device):
    data, lay = CASES[case], LAYOUTS[layout]
    net = built(case, device)
    found = run(net, lay(device.put, data["x"]), lay(device.put, data["dy"]), training=bool(data.get("training", True)))
    check(net, found, case, 1e-12)


@every_case
def test_read_only_input_is_not_written_to(case):
    data, net = CASES[case], built(case, xn.device("cpu"))
    x, dy = data["x"].copy(), data["dy"].copy()
    x.flags.writeable = dy.flags.writeable = False
    check(net, run(net, x, dy, training=bool(data.get("training", True))), case, 1e-12)
    assert x.tobytes() == data["x"].tobytes()
    assert dy.tobytes() == data["dy"].tobytes()


@every_case
def test_no_input_gradient_unless_asked(case, device):
    data, net = CASES[case], built(case, device)
    step = net.step(training=bool(data.get("training", True)))
    _, cache = net.forward(device.put(data["x"]), step)
    assert net.backward(device.put(data["dy"]), cache, step) is None
    for name, gradient in data.get("grads", {}).items():
        close(device.get(net.parameters[name].grad), gradient, 1e-12, max(1, np.abs(gradient).max(initial=0)))


@every_case
def test_repr_rebuilds_the_layer(case):
    again = eval(repr(layer(case)), {**vars(xn)})
    assert again.config() == layer(case).config()
