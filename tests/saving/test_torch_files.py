"""xpnet -> safetensors -> PyTorch -> the same outputs, and back, for the layouts of every layer that has parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn
from xpnet import architectures
from xpnet.saving.files import read

torch = pytest.importorskip("torch")
nn = torch.nn
pytestmark = pytest.mark.torch


class Block(nn.Module):
    """A residual block whose parts are named as xpnet's are."""

    def __init__(self, body: list, shortcut: Any):
        super().__init__()
        for i, part in enumerate(body):
            self.add_module(str(i), part)
        self.body, self.shortcut = [str(i) for i in range(len(body))], shortcut

    def forward(self, x: Any) -> Any:
        y = x
        for name in self.body:
            y = getattr(self, name)(y)
        return y + (x if self.shortcut is None else self.shortcut(x))


class Sides(nn.Module):
    """Branches, joined along the channels or added."""

    def __init__(self, branches: list, joins: bool):
        super().__init__()
        for i, part in enumerate(branches):
            self.add_module(str(i), part)
        self.count, self.joins = len(branches), joins

    def forward(self, x: Any) -> Any:
        outputs = [getattr(self, str(i))(x) for i in range(self.count)]
        return torch.cat(outputs, 1) if self.joins else sum(outputs)


def as_torch(layer: Any, shape: tuple) -> Any:
    """The PyTorch module of a built layer, which gets samples of ``shape``."""
    if isinstance(layer, xn.Residual):
        shortcut = None if layer.shortcut is None else as_torch(layer.shortcut, shape)
        return Block(modules(layer), shortcut)
    if isinstance(layer, xn.Sequential):
        return nn.Sequential(*modules(layer))
    if isinstance(layer, xn.Concatenate | xn.Add):
        return Sides([as_torch(branch, shape) for branch in layer.branches], isinstance(layer, xn.Concatenate))
    if isinstance(layer, xn.Reshape):
        height, width, channels = layer.shape
        return nn.Unflatten(1, (channels, height, width))
    made: dict[type, Callable[[Any], Any]] = {
        xn.Affine: lambda a: nn.Linear(shape[-1], a.n_out, bias=a.bias),
        xn.Conv2d: lambda c: nn.Conv2d(shape[-1], c.n_out, c.kernel, c.stride, c.padding, c.dilation, c.groups, bias=c.bias),
        xn.BatchNorm: lambda b: (nn.BatchNorm1d if len(shape) == 1 else nn.BatchNorm2d)(shape[-1], b.epsilon, b.momentum),
        xn.LayerNorm: lambda n: nn.LayerNorm((shape[2], *shape[:2]) if n.axes == 3 else shape[-1:]),
        xn.GroupNorm: lambda g: nn.GroupNorm(g.groups, shape[-1]),
        xn.MaxPool2d: lambda p: nn.MaxPool2d(p.kernel, p.stride, p.padding),
        xn.GlobalAvgPool2d: lambda p: nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten()),
        xn.Dropout: lambda d: nn.Dropout(d.rate),
        xn.Flatten: lambda f: nn.Flatten(),
        xn.ReLU: lambda r: nn.ReLU(),
        xn.Tanh: lambda t: nn.Tanh(),
        xn.Identity: lambda i: nn.Identity(),
    }
    return made[type(layer)](layer)


def modules(chain: Any) -> list:
    return [as_torch(layer, shape) for layer, shape in zip(chain.layers, chain.shapes, strict=False)]


def channels_first(x: np.ndarray) -> Any:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1) if x.ndim == 4 else x))


IMAGE = (6, 5, 4)
NETS: dict[str, tuple[Callable[[], xn.Sequential], tuple]] = {
    "mlp": (lambda: xn.Sequential(xn.Affine(50), xn.ReLU(), xn.Affine(9, bias=False), xn.Tanh(), xn.Affine(3)), (40,)),
    "lenet": (architectures.lenet, (28, 28, 1)),
    "vgg": (architectures.vgg, (32, 32, 3)),
    "resnet": (architectures.resnet, (32, 32, 3)),
    "norms": (
        lambda: xn.Sequential(
            *(xn.Conv2d(8, 3, groups=2, padding=1), xn.GroupNorm(2), xn.LayerNorm(3), xn.ReLU(), xn.Flatten()),
            *(xn.BatchNorm(), xn.LayerNorm(), xn.Dropout(), xn.ReLU(), xn.Affine(7)),
        ),
        IMAGE,
    ),
    "residual behind flatten": (
        lambda: xn.Sequential(
            xn.Flatten(), xn.Residual(xn.Affine(30), xn.ReLU(), xn.Affine(120)), xn.BatchNorm(), xn.Affine(5)
        ),
        IMAGE,
    ),
    "reshape": (
        lambda: xn.Sequential(
            *(xn.Affine(9), xn.ReLU(), xn.Affine(60), xn.Reshape((5, 4, 3)), xn.Conv2d(2, 3), xn.Flatten(), xn.Affine(3))
        ),
        (8,),
    ),
    "branches": (
        lambda: xn.Sequential(
            xn.Concatenate(xn.Conv2d(3, 1), xn.Conv2d(5, 3, padding=1)),
            xn.Concatenate(
                xn.Flatten(), xn.Sequential(xn.Flatten(), xn.Affine(4)), xn.Sequential(xn.MaxPool2d(2), xn.Flatten())
            ),
            xn.Add(xn.Affine(6), xn.Sequential(xn.BatchNorm(), xn.Affine(6))),
        ),
        IMAGE,
    ),
}


def randomised(name: str) -> tuple[xn.Sequential, Any, np.ndarray]:
    """A net with random numbers everywhere, PyTorch's of the same shapes (others), and inputs."""
    make, shape = NETS[name]
    net, rng = make().build(shape, seed=3), np.random.default_rng(5)
    net.parameters.restore({n: a + 0.05 * rng.random(a.shape) for n, a in net.parameters.snapshot().items()})
    theirs = nn.Sequential(*modules(net)).eval()
    return net, theirs, rng.standard_normal((4, *shape)).astype(np.float32)


def agree(net: xn.Sequential, theirs: Any, x: np.ndarray) -> None:
    with torch.no_grad():
        expected = theirs(channels_first(x)).numpy()
    np.testing.assert_allclose(net.predict(x), expected, rtol=0, atol=1e-6 * max(1, abs(expected).max()))


@pytest.mark.parametrize("name", NETS)
def test_a_file_of_xpnet_in_pytorch(tmp_path: Path, name: str) -> None:
    from safetensors.torch import load_file

    net, theirs, x = randomised(name)
    net.save(tmp_path / "net.safetensors")
    assert read(tmp_path / "net.safetensors").about["order"] == "pytorch"
    missing, unexpected = theirs.load_state_dict(load_file(tmp_path / "net.safetensors"), strict=False)
    assert unexpected == []
    assert {key.rpartition(".")[2] for key in missing} <= {"num_batches_tracked"}
    agree(net, theirs, x)


@pytest.mark.parametrize("name", NETS)
def test_a_state_dict_of_pytorch_in_xpnet(name: str, device) -> None:
    net, theirs, x = randomised(name)
    with torch.no_grad():
        for key, value in theirs.state_dict().items():
            if value.is_floating_point():
                value += 0.05 * torch.rand(value.shape) + (0.5 if key.endswith("var") else 0)
    net.to(device)
    net.load_state_dict(theirs.state_dict())
    agree(net, theirs, x)
    for key, value in net.state_dict().items():
        np.testing.assert_array_equal(value, theirs.state_dict()[key].numpy())


@pytest.mark.parametrize("name", ["mlp", "lenet", "vgg", "resnet"])
def test_by_order_the_names_do_not_matter(name: str) -> None:
    net, theirs, x = randomised(name)
    state = {f"features.part{i}.{key.rpartition('.')[2]}": value for i, (key, value) in enumerate(theirs.state_dict().items())}
    with pytest.raises(ValueError, match="load_state_dict: the state has no"):
        net.load_state_dict(state)
    net.load_state_dict(state, by_order=True)
    agree(net, theirs, x)


def test_an_order_that_pytorch_cannot_give_is_kept_as_it_is(tmp_path: Path) -> None:
    net = xn.Sequential(xn.Flatten(), xn.GroupNorm(4), xn.Affine(3)).build(IMAGE)
    with pytest.raises(ValueError, match="takes features of a flattened image in an order that PyTorch"):
        net.state_dict()
    net.save(tmp_path / "net")
    assert read(tmp_path / "net").about["order"] == "channels-last"
    x = np.random.default_rng(0).standard_normal((3, *IMAGE)).astype(np.float32)
    np.testing.assert_array_equal(xn.load(tmp_path / "net").predict(x), net.predict(x))
