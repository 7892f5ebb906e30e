"""Layers for images beside PyTorch, live and in float64: options at random, a whole training, the golden file made again.

Skipped where PyTorch is not installed; alone by ``pytest -m torch``.
"""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from helpers import GOLDEN, close, made_again, network, run

import xpnet as xn

pytestmark = pytest.mark.torch
TOOLS = Path(__file__).parents[2] / "tools"
STEPS = 25
IDLE = {"4.0.b"}  # a bias before batch normalisation: its gradient is 0 but for rounding


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # small arrays: the threads would only wait for each other
    return torch


@pytest.fixture(scope="module")
def tool(torch):
    """tools/make_golden_images.py as a module."""
    pytest.importorskip("allpairspy")
    sys.path.insert(0, str(TOOLS))
    try:
        yield importlib.import_module("make_golden_images")
    finally:
        sys.path.remove(str(TOOLS))


# --- layers -----------------------------------------------------------------------------------------------------


def pick(rng, *choices):
    return choices[rng.integers(len(choices))]


def number_or_pair(rng, low, high):
    a, b = (int(n) for n in rng.integers(low, high + 1, 2))
    return pick(rng, a, (a, b))


def draw(name, tool, rng):
    """Options and the shape of the input."""
    size = tuple(int(n) for n in rng.integers(3, 10, 2))
    channels, batch = int(rng.integers(1, 5)), int(rng.integers(2, 5))
    options = {"affine": bool(rng.integers(2)), "epsilon": float(pick(rng, 1e-5, 1e-3, 0.3))}
    if name == "Conv2d":
        groups = pick(rng, 1, 1, channels)
        options = {
            "n_out": groups * int(rng.integers(1, 4)),
            "kernel": number_or_pair(rng, 1, 5),
            "stride": number_or_pair(rng, 1, 3),
            "padding": pick(rng, "same", "valid", number_or_pair(rng, 0, 3)),
            "dilation": pick(rng, 1, number_or_pair(rng, 1, 3)),
            "groups": groups,
            "bias": bool(rng.integers(2)),
        }
        fits = tool.fits({**options, "size": size})
    elif name.endswith("Pool2d"):
        kernel = number_or_pair(rng, 1, 4)
        options = {
            "kernel": kernel,
            "stride": pick(rng, None, number_or_pair(rng, 1, 4)),
            "padding": number_or_pair(rng, 0, 2),
            "ceil_mode": bool(rng.integers(2)),
        }
        if name == "AvgPool2d":
            options["count_include_pad"] = bool(rng.integers(2))
        fits = tool.half_padded({**options, "size": size})
    elif name == "BatchNorm":
        options |= {"momentum": float(rng.random()), "training": bool(rng.integers(2))}
        fits, size = True, size[: rng.integers(3)]
    elif name == "LayerNorm":
        options["axes"] = int(rng.integers(1, 4))
        fits = True
    else:
        options["groups"] = int(rng.integers(1, 4))
        fits, channels = True, 6
    return (options, (batch, *size, channels)) if fits else draw(name, tool, rng)


@pytest.mark.parametrize("name", ["Conv2d", "MaxPool2d", "AvgPool2d", "BatchNorm", "LayerNorm", "GroupNorm"])
def test_layer(name, tool, device, rng):
    for _ in range(25):
        options, shape = draw(name, tool, rng)
        x = rng.standard_normal(shape)
        values = tool.parameters(name, options, shape, rng)
        expected = tool.values(name, options, x, values, rng)
        arguments = {key: options[key] for key in tool.ARGUMENTS[name] if key in options}
        net = network(getattr(xn, name)(**arguments), shape[1:], device, values={**values, **expected.get("before", {})})
        found = run(net, x, expected["dy"], training=options.get("training", True))
        close(found.y, expected["y"], 1e-10, 10)
        close(found.dx, expected["dx"], 1e-10, 10)
        assert found.grads.keys() == expected["grads"].keys()
        for key, gradient in expected["grads"].items():
            close(found.grads[key], gradient, 1e-10, 100)
        for key, state in expected.get("after", {}).items():
            close(net.parameters.snapshot()[key], state, 1e-12)


@pytest.mark.parametrize("place", [(0, 0), (0, 1), (1, 0), (1, 1), (2, 2), (0, 4)])
@pytest.mark.parametrize("options", [{}, {"stride": 1}, {"padding": 1}, {"ceil_mode": True}], ids=str)
def test_nan_in_maxima(place, options, tool, torch, device, rng):
    x = rng.standard_normal((2, 5, 5, 2))
    x[1, *place, 1] = np.nan
    expected = tool.last(torch.nn.functional.max_pool2d(tool.first(torch.tensor(x)), 2, **options)).numpy()
    np.testing.assert_array_equal(run(network(xn.MaxPool2d(2, **options), (5, 5, 2), device), x).y, expected)


@pytest.mark.parametrize("method", ["im2col", "winograd"])
@pytest.mark.parametrize("kernel", [2, 3, 4, 5])
def test_methods(method, kernel, tool, device, rng):
    """Channels as many as a real network has, in blocks and workspaces of several parts."""
    options = {"n_out": 24, "kernel": kernel, "padding": kernel // 2, "stride": 1, "dilation": 1, "groups": 1, "bias": True}
    shape = (5, 14, 11, 16)
    values = {"0.W": rng.standard_normal((kernel, kernel, 16, 24)), "0.b": rng.standard_normal(24)}
    x = rng.standard_normal(shape)
    expected = tool.values("Conv2d", options, x, values, rng)
    found = run(
        network(xn.Conv2d(**options, method=method, workspace=40_000), shape[1:], device, values=values), x, expected["dy"]
    )
    close(found.y, expected["y"], 1e-11, np.abs(expected["y"]).max())
    close(found.dx, expected["dx"], 1e-11, np.abs(expected["dx"]).max())
    close(found.grads["0.W"], expected["grads"]["0.W"], 1e-11, np.abs(expected["grads"]["0.W"]).max())


# --- trainings --------------------------------------------------------------------------------------------------


def small(device):
    conv = lambda n, **options: xn.Conv2d(n, 3, padding=1, **options)  # noqa: E731
    net = xn.Sequential(
        *(conv(6, bias=False), xn.BatchNorm(), xn.ReLU(), xn.MaxPool2d(2)),
        *(xn.Residual(conv(6), xn.BatchNorm(), xn.ReLU(), conv(6)), xn.GroupNorm(2), xn.ReLU()),
        *(xn.Conv2d(8, 3, stride=2), xn.AvgPool2d(2), xn.Flatten(), xn.Affine(3)),
    )
    return net.build((13, 12, 2), device=device, dtype="float64", seed=4)


def twin(net, torch):
    """The same network in PyTorch, and its tensors by xpnet's names."""
    nn = torch.nn

    class Residual(nn.Sequential):
        def forward(self, x):
            return super().forward(x) + x

    class Rows(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1).flatten(1)

    body = Residual(nn.Conv2d(6, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 6, 3, padding=1))
    model = nn.Sequential(
        *(nn.Conv2d(2, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.MaxPool2d(2), body, nn.GroupNorm(2, 6)),
        *(nn.ReLU(), nn.Conv2d(6, 8, 3, stride=2), nn.AvgPool2d(2), Rows(), nn.Linear(8, 3)),
    ).double()
    names = {"W": "weight", "b": "bias", "gamma": "weight", "beta": "bias", "mean": "running_mean", "variance": "running_var"}
    tensors = {}
    for name in net.parameters:
        path, _, kind = name.rpartition(".")
        tensors[name] = getattr(model.get_submodule(path), names[kind])
    return model, tensors


def to_torch(value, torch):
    axes = {4: (3, 2, 0, 1), 2: (1, 0)}.get(value.ndim, tuple(range(value.ndim)))
    return torch.tensor(np.ascontiguousarray(value.transpose(axes)))


def from_torch(tensor):
    value = tensor.detach().numpy()
    return value.transpose({4: (2, 3, 1, 0), 2: (1, 0)}.get(value.ndim, tuple(range(value.ndim))))


def test_training(torch, device, rng):
    net = small(device)
    start = net.parameters.snapshot()
    model, tensors = twin(net, torch)
    for name, value in start.items():
        tensors[name].data = to_torch(value, torch)
    x = rng.standard_normal((STEPS, 6, 13, 12, 2))
    labels = (x[..., 0].mean((2, 3)) > x[..., 1].mean((2, 3))).astype(int) + 1
    optimizer = torch.optim.SGD(model.parameters(), 0.05, momentum=0.9)
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Momentum(0.05), device=device)
    for rows, targets in zip(x, labels, strict=True):
        optimizer.zero_grad()
        expected = torch.nn.functional.cross_entropy(model(torch.tensor(rows).movedim(-1, 1)), torch.tensor(targets))
        expected.backward()
        optimizer.step()
        found = trainer.step(device.put(rows), device.put(targets))
        close(float(device.get(found)), expected.item(), 1e-8)
    for name, value in net.parameters.snapshot().items():
        close(value, from_torch(tensors[name]), 1e-8)
        assert np.abs(value - start[name]).max() > (0 if name in IDLE else 1e-3)
    model.eval()
    close(net.predict(x[0]), model(torch.tensor(x[0]).movedim(-1, 1)).detach().numpy(), 1e-8, 10)


# --- the golden file --------------------------------------------------------------------------------------------


def test_golden_file_is_made_again(tool):
    made_again(tool.flatten(dict(tool.images())), GOLDEN / "images.npz", 1e-13)


def test_golden_file_is_small_and_has_every_layer(tool):
    assert (GOLDEN / "images.npz").stat().st_size < 500_000
    with np.load(GOLDEN / "images.npz") as stored:
        assert {path.split("-")[0] for path in stored} == set(tool.FUNCTIONS)
