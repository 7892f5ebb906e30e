"""What PyTorch's exporters write, the one by tracing (dynamo) and the older TorchScript one, is read: outputs to 1e-5."""

from __future__ import annotations

import numpy as np
import pytest
from onnx_cases import agree, filled

import xpnet as xn
from xpnet.onnx import export, load

torch = pytest.importorskip("torch")
onnx = pytest.importorskip("onnx")
nn = torch.nn
pytestmark = [pytest.mark.torch, pytest.mark.filterwarnings("ignore")]  # the exporters' own


class Block(nn.Module):
    """Two convolutions with normalisation, and a shortcut."""

    def __init__(self, n_in, n_out, stride=1):
        super().__init__()
        self.conv1, self.norm1 = nn.Conv2d(n_in, n_out, 3, stride, 1, bias=False), nn.BatchNorm2d(n_out)
        self.conv2, self.norm2 = nn.Conv2d(n_out, n_out, 3, 1, 1, bias=False), nn.BatchNorm2d(n_out)
        around = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))
        self.around = around if stride > 1 else nn.Identity()

    def forward(self, x):
        y = torch.relu(self.norm1(self.conv1(x)))
        return torch.relu(self.norm2(self.conv2(y)) + self.around(x))


class Function(nn.Module):
    """Any function of tensors."""

    def __init__(self, f, *parts):
        super().__init__()
        self.f, self.parts = f, nn.ModuleList(parts)

    def forward(self, x):
        return self.f(x, *self.parts)


def lenet():
    head = (nn.Flatten(), nn.Linear(50 * 4 * 3, 20), nn.ReLU(), nn.Linear(20, 4))
    return nn.Sequential(
        nn.Conv2d(1, 20, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU(), *head
    )


def vgg():
    def stage(n_in, n_out):
        return nn.Conv2d(n_in, n_out, 3, padding=1), nn.BatchNorm2d(n_out), nn.ReLU(), nn.MaxPool2d(2)

    head = (nn.Flatten(), nn.Linear(8 * 3 * 2, 10), nn.ReLU(), nn.Dropout(), nn.Linear(10, 3))
    return nn.Sequential(*stage(3, 4), *stage(4, 8), *head)


def resnet():
    blocks = (Block(4, 4), Block(4, 8, 2))
    return nn.Sequential(
        *(nn.Conv2d(3, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), *blocks),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3)),
    )


def behind(layer, n=6):
    """A layer between two affine maps."""
    return lambda: nn.Sequential(nn.Linear(5, n), layer, nn.Linear(n, 2))


def image(*layers):
    """Layers behind a convolution of (3, 6, 7), flattened for an affine map."""
    return lambda: nn.Sequential(nn.Conv2d(3, 4, 3), *layers, nn.ReLU(), nn.Flatten(), nn.Linear(80, 2))


ACTIVATIONS = {
    "relu": nn.ReLU(),
    "leaky": nn.LeakyReLU(0.2),
    "sigmoid": nn.Sigmoid(),
    "tanh": nn.Tanh(),
    "elu": nn.ELU(0.7),
    "gelu": nn.GELU(),
    "gelu tanh": nn.GELU("tanh"),
    "silu": nn.SiLU(),
    "softplus": nn.Softplus(),
    "softmax": nn.Softmax(-1),
    "step": Function(lambda x: (x > 0).float()),
}
NETS = {
    **{name: (behind(layer), (5,)) for name, layer in ACTIVATIONS.items()},
    "MLP": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(12, 6), nn.ReLU(), nn.Dropout(), nn.Linear(6, 2, bias=False)),
        (3, 4),
    ),
    "LeNet": (lenet, (1, 28, 24)),
    "VGG": (vgg, (3, 12, 8)),
    "ResNet": (resnet, (3, 8, 6)),
    "normalised rows": (behind(nn.BatchNorm1d(6)), (5,)),
    "sequences": (lambda: nn.Sequential(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3, bias=False)), (7, 4)),
    "layer norm": (image(nn.LayerNorm((4, 4, 5))), (3, 6, 7)),
    "group norm": (image(nn.GroupNorm(2, 4)), (3, 6, 7)),
    "group norm, no scale": (image(nn.GroupNorm(2, 4, affine=False)), (3, 6, 7)),
    "instance norm": (image(nn.InstanceNorm2d(4, affine=True)), (3, 6, 7)),
    "norm first": (lambda: nn.Sequential(nn.BatchNorm2d(3), nn.ReLU(), nn.Conv2d(3, 4, 3)), (3, 6, 7)),
    "view": (lambda: nn.Sequential(Function(lambda x: x.view(x.size(0), -1)), nn.Linear(126, 2)), (3, 6, 7)),
    "mean": (lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Function(lambda x: x.mean((2, 3))), nn.Linear(4, 2)), (3, 6, 7)),
    "pools": (
        lambda: nn.Sequential(
            *(nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.AvgPool2d(2, ceil_mode=True, padding=1)),
            nn.AvgPool2d(2, 1, count_include_pad=False, padding=1),
        ),
        (3, 13, 14),
    ),
    "same": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 4, padding="same"), nn.Conv2d(4, 4, 3, padding="same", groups=2, dilation=2)),
        (3, 6, 7),
    ),
    "autoencoder": (
        lambda: nn.Sequential(nn.Flatten(), nn.Linear(30, 30), Function(lambda x: torch.sigmoid(x).view(-1, 1, 5, 6))),
        (1, 5, 6),
    ),
    "decoder": (lambda: nn.Sequential(nn.Linear(3, 30), nn.Unflatten(1, (1, 5, 6))), (3,)),
    "one pixel": (lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.AdaptiveAvgPool2d(1)), (1, 6, 7)),
    "zeros around": (lambda: nn.Sequential(nn.ZeroPad2d((1, 1, 2, 2)), nn.Conv2d(3, 4, 3)), (3, 6, 7)),
    "zeros on two sides": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ZeroPad2d((0, 1, 0, 1)), nn.Conv2d(4, 5, 3, 2)),
        (3, 10, 10),
    ),
    "zeros around same": (lambda: nn.Sequential(nn.ZeroPad2d(1), nn.Conv2d(3, 5, 3, padding="same")), (3, 6, 7)),
    "zeros around, then a pool": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.ZeroPad2d((2, 2, 1, 1)), nn.AvgPool2d((3, 4), 2)),
        (3, 10, 10),
    ),
    "pixels as a sequence": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), Function(lambda x: x.flatten(2).transpose(1, 2)), nn.Linear(4, 2)),
        (3, 6, 7),
    ),
    "product of lengths": (
        lambda: nn.Sequential(Function(lambda x: x.view(x.shape[0], x.shape[1] * x.shape[2] * x.shape[3])), nn.Linear(126, 2)),
        (3, 6, 7),
    ),
    "layer norm of a flattened image": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LayerNorm(80), nn.Linear(80, 2)),
        (3, 6, 7),
    ),
    "layer norm of a flattened image, no scale": (
        lambda: nn.Sequential(nn.Conv2d(3, 4, 3), nn.Flatten(), nn.LayerNorm(80, elementwise_affine=False), nn.Linear(80, 2)),
        (3, 6, 7),
    ),
    "concatenated": (
        lambda: Function(lambda x, a, b: torch.cat([a(x), x, torch.relu(b(x))], 1), nn.Conv2d(3, 4, 1), nn.Conv2d(3, 2, 1)),
        (3, 6, 7),
    ),
}

LAYER_NORMS = [name for name in NETS if name.startswith("layer norm")]


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)
    torch.manual_seed(0)


def random_statistics(net):
    for module in net.modules():
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
            module.running_mean.normal_()
            module.running_var.uniform_(0.5, 1.5)
        if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.LayerNorm | nn.GroupNorm) and module.weight is not None:
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.bias)
    return net.eval()


def by_dynamo(net, x, path, *, open_batch=True, **options):
    pytest.importorskip("onnxscript")
    shapes = ({0: torch.export.Dim("batch")},) if open_batch else None
    torch.onnx.export(net, (x,), path, dynamo=True, dynamic_shapes=shapes, external_data=False, verbose=False, **options)


def by_torchscript(net, x, path, *, open_batch=True, **options):
    axes = {"x": {0: "n"}} if open_batch else None
    torch.onnx.export(net, (x,), path, dynamo=False, input_names=["x"], dynamic_axes=axes, **options)


EXPORTERS = pytest.mark.parametrize("exporter", [by_dynamo, by_torchscript])


def judge(net, shape, exporter, path, dtype=torch.float32, **options):
    """The file's operators, once the network that was read was seen to give what PyTorch's gives."""
    net, x = net.to(dtype), torch.randn(4, *shape, dtype=dtype)
    exporter(net, x[:2], str(path), **options)
    expected = net(x).detach().numpy()
    given, expected = (a.transpose(0, 2, 3, 1) if a.ndim == 4 else a for a in (x.numpy(), expected))
    agree(load(path).predict(np.ascontiguousarray(given)), expected)
    return [node.op_type for node in onnx.load(path).graph.node]


@EXPORTERS
@pytest.mark.parametrize("name", NETS)
def test_networks(name, exporter, tmp_path):
    make, shape = NETS[name]
    judge(random_statistics(make()), shape, exporter, tmp_path / "net.onnx")


@EXPORTERS
@pytest.mark.parametrize("name", ["MLP", "LeNet", "group norm", "view", "ResNet"])
def test_a_fixed_batch(name, exporter, tmp_path):
    make, shape = NETS[name]
    judge(random_statistics(make()), shape, exporter, tmp_path / "net.onnx", open_batch=False)


@pytest.mark.parametrize("name", ["VGG", "ResNet"])
@pytest.mark.parametrize(
    ("exporter", "options"),
    [(by_dynamo, {"optimize": False}), (by_torchscript, {"training": torch.onnx.TrainingMode.PRESERVE})],
    ids=["dynamo", "torchscript"],
)
def test_normalisation_that_was_not_folded(name, exporter, options, tmp_path):
    make, shape = NETS[name]
    ops = judge(random_statistics(make()), shape, exporter, tmp_path / "net.onnx", **options)
    assert "BatchNormalization" in ops


@pytest.mark.parametrize("name", ["gelu", "gelu tanh", "softplus", "step", "sequences", "group norm", *LAYER_NORMS])
@pytest.mark.parametrize(("exporter", "opset"), [(by_dynamo, 18), (by_torchscript, 17), (by_torchscript, 13)])
def test_older_operator_sets(name, exporter, opset, tmp_path):
    """They spell more out: GELU by the error function or tanh, LayerNorm by its means."""
    make, shape = NETS[name]
    ops = judge(random_statistics(make()), shape, exporter, tmp_path / "net.onnx", opset_version=opset)
    assert not {"Gelu", "GroupNormalization"} & set(ops)


@pytest.mark.parametrize("opset", [13, 17])
def test_training_mode_is_refused(opset, tmp_path):
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3))
    options = {"training": torch.onnx.TrainingMode.TRAINING, "do_constant_folding": False, "opset_version": opset}
    by_torchscript(net, torch.randn(2, 2, 6, 6), str(tmp_path / "net.onnx"), **options)
    with pytest.raises(ValueError, match=r"\(BatchNormalization\): (it gives the statistics|attribute training_mode=1)"):
        load(tmp_path / "net.onnx")


@EXPORTERS
@pytest.mark.parametrize("name", ["LeNet", "gelu", "sequences"])
def test_float64(name, exporter, tmp_path):
    make, shape = NETS[name]
    judge(random_statistics(make()), shape, exporter, tmp_path / "net.onnx", dtype=torch.float64)


def test_channels_first_is_what_pytorch_takes(tmp_path):
    """A file with ``channels_first=True`` goes where PyTorch's own went."""
    runtime = pytest.importorskip("onnxruntime")
    theirs = random_statistics(lenet())
    by_torchscript(theirs, torch.randn(2, 1, 28, 24), str(tmp_path / "theirs.onnx"))
    export(load(tmp_path / "theirs.onnx"), tmp_path / "ours.onnx", channels_first=True)
    x = torch.randn(3, 1, 28, 24)
    found = runtime.InferenceSession(str(tmp_path / "ours.onnx")).run(None, {"input": x.numpy()})[0]
    agree(found, theirs(x).detach().numpy())


def test_names_are_those_of_pytorch(tmp_path):
    """The names and shapes of a chain's weights are those of the same chain there."""
    net = filled(xn.Sequential(xn.Conv2d(4, 3), xn.BatchNorm(), xn.ReLU(), xn.Flatten(), xn.Affine(2)), (6, 5, 3))
    export(net, tmp_path / "net.onnx")
    ours = {tensor.name: tuple(tensor.dims) for tensor in onnx.load(tmp_path / "net.onnx").graph.initializer}
    theirs = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(48, 2)).state_dict()
    assert ours == {name: tuple(a.shape) for name, a in theirs.items() if name != "1.num_batches_tracked"}
