"""Networks that are written as ONNX files and read again: every layer with its options, every model and architecture."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

import xpnet as xn
from xpnet import architectures, models

Case = tuple[str, Callable[[], xn.Layer], tuple[int, ...]]
IMAGE, ODD = (9, 8, 4), (7, 10, 3)


def cases() -> list[Case]:
    """Name, layer and the shape of a sample."""
    return [*pointwise(), *rows(), *convolutions(), *pools(), *norms(), *structures()]


def pointwise() -> list[Case]:
    made: dict[str, Callable[[], xn.Layer]] = {
        "ReLU": xn.ReLU,
        "LeakyReLU": lambda: xn.LeakyReLU(0.2),
        "Sigmoid": xn.Sigmoid,
        "Tanh": xn.Tanh,
        "ELU": lambda: xn.ELU(0.7),
        "GELU": xn.GELU,
        "GELU-tanh": lambda: xn.GELU("tanh"),
        "SiLU": xn.SiLU,
        "Softplus": xn.Softplus,
        "Softmax": xn.Softmax,
        "Step": xn.Step,
        "Identity": xn.Identity,
        "Dropout": xn.Dropout,
        "GaussianNoise": xn.GaussianNoise,
    }
    flat = [(name, make, (6,)) for name, make in made.items()]
    return flat + [(f"{name} of images", after_a_convolution(make), ODD) for name, make in made.items()]


def after_a_convolution(make: Callable[[], xn.Layer]) -> Callable[[], xn.Layer]:
    return lambda: xn.Sequential(xn.Conv2d(5, 2), make())


def rows() -> list[Case]:
    return [
        ("Affine", lambda: xn.Affine(3), (5,)),
        ("Affine, no bias", lambda: xn.Affine(3, bias=False), (5,)),
        ("Affine, kept transposed", lambda: xn.Affine(2), (40,)),
        ("Affine of sequences", lambda: xn.Affine(3), (4, 5)),
        ("Affine of sequences, no bias", lambda: xn.Affine(3, bias=False), (4, 5)),
        ("Affine of images", lambda: xn.Affine(3), ODD),
        ("Affine of what has five axes", lambda: xn.Affine(3), (2, 3, 4, 5)),
        ("Affine behind a convolution", lambda: xn.Sequential(xn.Conv2d(4, 3), xn.Affine(3), xn.ReLU(), xn.Affine(2)), ODD),
        ("Flatten", lambda: xn.Sequential(xn.Flatten(), xn.Affine(3)), ODD),
        ("Flatten of sequences", xn.Flatten, (4, 5)),
        ("Flatten behind a convolution", lambda: xn.Sequential(xn.Conv2d(4, 3), xn.Flatten(), xn.ReLU(), xn.Affine(2)), ODD),
        ("Flatten at the end", lambda: xn.Sequential(xn.Conv2d(4, 3), xn.Flatten()), ODD),
        ("Reshape", lambda: xn.Sequential(xn.Reshape((4, -1, 2)), xn.Conv2d(3, 2)), (24,)),
        ("Reshape behind a convolution", lambda: xn.Sequential(xn.Conv2d(4, 3), xn.Reshape((-1, 4)), xn.Affine(2)), ODD),
        ("Reshape to one channel", lambda: xn.Sequential(xn.Affine(30), xn.Reshape((5, 6, 1))), (4,)),
        ("Reshape to one channel behind another", lambda: xn.Sequential(xn.Reshape((1, 5, 6)), xn.SiLU()), (5, 6, 1)),
        ("Reshape to one pixel", lambda: xn.Sequential(xn.GlobalAvgPool2d(), xn.Reshape((1, 1, 3))), ODD),
        ("Reshape to channels", lambda: xn.Sequential(xn.Reshape((2, 3, 4)), xn.Conv2d(3, 2), xn.Reshape((-1,))), (24,)),
    ]


def convolutions() -> list[Case]:
    options: dict[str, dict] = {
        "kernel 3": {"kernel": 3},
        "oblong": {"kernel": (2, 3), "stride": (2, 1), "padding": (1, 2), "dilation": (1, 2)},
        "same": {"kernel": 3, "padding": "same"},
        "same, even": {"kernel": 4, "padding": "same"},
        "same, stride 2": {"kernel": 3, "stride": 2, "padding": "same"},
        "same, oblong": {"kernel": (2, 5), "stride": (3, 2), "padding": "same"},
        "valid": {"kernel": 3, "padding": "valid", "bias": False},
        "groups": {"kernel": 3, "groups": 2, "bias": False},
        "depthwise": {"kernel": 3, "groups": 4, "padding": 1},
        "1x1": {"kernel": 1, "stride": 2},
        "dilated": {"kernel": 3, "dilation": 2, "padding": 2, "groups": 2},
        "padding beyond the kernel": {"kernel": 1, "padding": 2},
    }
    return [(f"Conv2d, {name}", lambda o=o: xn.Conv2d(8, exact=True, **o), IMAGE) for name, o in options.items()]


def pools() -> list[Case]:
    options: dict[str, dict] = {
        "2": {"kernel": 2},
        "overlapping": {"kernel": 3, "stride": 2},
        "padded": {"kernel": 3, "stride": 2, "padding": 1},
        "oblong": {"kernel": (2, 3), "stride": (1, 2), "padding": (0, 1)},
        "ceil": {"kernel": 2, "ceil_mode": True},
        "ceil, padded": {"kernel": 3, "stride": 2, "padding": 1, "ceil_mode": True},
        "ceil, stride 3": {"kernel": 2, "stride": 3, "ceil_mode": True},
        "ceil along one axis": {"kernel": (3, 2), "padding": (0, 1), "ceil_mode": True},
        "ceil, oblong": {"kernel": (3, 4), "stride": (2, 3), "padding": (1, 0), "ceil_mode": True},
    }
    found: list[Case] = []
    for size in (ODD, (8, 9, 2), (7, 5, 1)):
        for name, o in options.items():
            found.append((f"MaxPool2d, {name}, {size}", lambda o=o: xn.MaxPool2d(**o), size))
            found.append((f"AvgPool2d, {name}, {size}", lambda o=o: xn.AvgPool2d(**o), size))
            not_counted = {**o, "count_include_pad": False}
            found.append((f"AvgPool2d, padding not counted, {name}, {size}", lambda o=not_counted: xn.AvgPool2d(**o), size))
    return [
        *found,
        ("GlobalAvgPool2d", xn.GlobalAvgPool2d, ODD),
        ("RandomFlip", lambda: xn.Sequential(xn.RandomFlip(), xn.RandomShift(2), xn.Conv2d(2, 3)), ODD),
        ("RandomCrop", lambda: xn.RandomCrop(5), ODD),
        ("RandomCrop, one axis", lambda: xn.RandomCrop((7, 5)), ODD),
        ("RandomCrop, padded", lambda: xn.RandomCrop((8, 11), padding=1), ODD),
        ("RandomCrop, one of each", lambda: xn.RandomCrop((8, 5), padding=1), ODD),
        ("RandomCrop behind a convolution", lambda: xn.Sequential(xn.Conv2d(2, 2), xn.RandomCrop(5), xn.Conv2d(3, 2)), ODD),
        (
            "RandomCrop of one pixel's height",
            lambda: xn.Sequential(xn.Reshape((1, 6, 1)), xn.RandomCrop((3, 5), padding=1)),
            (6,),
        ),
        ("MaxPool2d wider than the image", lambda: xn.MaxPool2d((2, 3), ceil_mode=True), (5, 1, 2)),
        ("RandomCrop of all", lambda: xn.RandomCrop((7, 10), padding=2), ODD),
    ]


def norms() -> list[Case]:
    found: list[Case] = []
    for shape in ((6,), (5, 6), (3, 4, 6)):
        for affine in (True, False):
            end = f"{len(shape) + 1} axes{'' if affine else ', no gamma'}"
            found.append((f"BatchNorm, {end}", lambda a=affine: xn.BatchNorm(epsilon=1e-3, momentum=0.2, affine=a), shape))
            found.append((f"GroupNorm, {end}", lambda a=affine: xn.GroupNorm(3, epsilon=1e-3, affine=a), shape))
            for axes in range(1, len(shape) + 1):
                name = f"LayerNorm over {axes}, {end}"
                found.append((name, lambda n=axes, a=affine: xn.LayerNorm(n, epsilon=1e-3, affine=a), shape))
    for name, make in (
        ("BatchNorm", xn.BatchNorm),
        ("GroupNorm", lambda: xn.GroupNorm(4)),
        ("GroupNorm, one group", lambda: xn.GroupNorm(1)),
        ("LayerNorm", xn.LayerNorm),
        ("LayerNorm over 2", lambda: xn.LayerNorm(2)),
        ("LayerNorm over 3", lambda: xn.LayerNorm(3)),
    ):
        found.append((f"{name} behind a convolution", lambda m=make: xn.Sequential(xn.Conv2d(4, 3), m(), xn.Conv2d(2, 2)), ODD))
    return found


def structures() -> list[Case]:
    def block(stride: int = 1) -> xn.Residual:
        shortcut = xn.Sequential(xn.Conv2d(4, 1, stride=stride), xn.BatchNorm()) if stride > 1 else None
        return xn.Residual(xn.Conv2d(4, 3, stride=stride, padding=1), xn.BatchNorm(), xn.ReLU(), shortcut=shortcut)

    return [
        ("Residual", lambda: xn.Residual(xn.Affine(5), xn.Tanh()), (5,)),
        ("Residual with a shortcut", lambda: xn.Residual(xn.Affine(3), xn.Tanh(), shortcut=xn.Affine(3)), (5,)),
        ("Residual blocks", lambda: xn.Sequential(block(), xn.ReLU(), block(2), xn.Residual(block(), xn.SiLU())), IMAGE),
        ("Residual with nothing inside", lambda: xn.Residual(xn.Dropout()), (5,)),
        ("Residual at the border", lambda: xn.Residual(xn.Conv2d(3, 3, padding=1)), ODD),
        ("Add", lambda: xn.Add(xn.Affine(3), xn.Sequential(xn.Affine(4), xn.ReLU(), xn.Affine(3)), xn.Affine(3)), (5,)),
        ("Add of the same", lambda: xn.Add(xn.Identity(), xn.Identity()), (5,)),
        ("Add of two layouts", lambda: xn.Add(xn.Conv2d(3, 1), xn.Affine(3)), ODD),
        ("Concatenate", lambda: xn.Concatenate(xn.Affine(3), xn.Identity(), xn.Sequential(xn.Affine(2), xn.Tanh())), (5,)),
        ("Concatenate sequences", lambda: xn.Concatenate(xn.Affine(3), xn.Identity()), (4, 5)),
        ("Concatenate images", lambda: xn.Concatenate(xn.Conv2d(2, 1), xn.Conv2d(3, 3, padding=1), xn.Identity()), ODD),
        ("Concatenate two layouts", lambda: xn.Sequential(xn.Concatenate(xn.Affine(3), xn.Conv2d(2, 1)), xn.Conv2d(2, 2)), ODD),
        ("Sequential in Sequential", lambda: xn.Sequential(xn.Sequential(xn.Affine(3), xn.ReLU()), xn.Affine(2)), (5,)),
        ("Inception", inception, IMAGE),
    ]


def inception() -> xn.Sequential:
    """Branches within branches, and behind them."""
    wide = xn.Sequential(xn.Conv2d(3, 1), xn.Concatenate(xn.Conv2d(2, (1, 3), padding="same"), xn.Conv2d(2, 1)), xn.ReLU())
    pooled = xn.Sequential(xn.MaxPool2d(3, stride=1, padding=1), xn.Conv2d(2, 1))
    return xn.Sequential(xn.Concatenate(wide, pooled, xn.Residual(xn.BatchNorm())), xn.Conv2d(3, 2), xn.Flatten(), xn.Affine(2))


WHOLE: dict[str, tuple[Callable[[], xn.Sequential], tuple[int, ...]]] = {
    "mlp": (lambda: architectures.mlp((7, 6), "silu", 3), (5,)),
    "lenet": (architectures.lenet, (28, 28, 1)),
    "vgg": (architectures.vgg, (32, 32, 3)),
    "resnet": (architectures.resnet, (32, 32, 3)),
    "vgg16": (architectures.vgg16, (32, 32, 3)),  # 134 MB; on its 224x224 it takes 550
    "resnet18": (architectures.resnet18, (64, 64, 3)),
}
LARGE = ("vgg16", "resnet18")


def whole_networks() -> list[str]:
    """Names of all architectures and built-in models."""
    return [*WHOLE, *(f"model {name}" for name in models.MODELS)]


def whole_network(name: str) -> xn.Sequential:
    """One of them, filled."""
    if name in WHOLE:
        make, shape = WHOLE[name]
        return filled(make(), shape)
    trainer, x, _ = models.MODELS[name.removeprefix("model ")]()
    trainer.build(x.shape[1:])
    return filled(trainer.net, x.shape[1:], trainer.net.parameters.dtype.name)


def filled(layer: xn.Layer, shape: tuple[int, ...], dtype: str = "float32", seed: int = 0) -> xn.Sequential:
    """A built network whose biases, scales and running statistics are random too, none of them as at the start."""
    net = layer if isinstance(layer, xn.Sequential) else xn.Sequential(layer)
    net.build(shape, dtype=dtype, seed=seed)
    rng = np.random.default_rng(seed)
    for name, parameter in net.parameters.items():
        if name.endswith(("gamma", "variance")):
            net.parameters.fill(name, rng.uniform(0.5, 1.5, parameter.shape))
        elif name.endswith(("b", "beta", "mean")):
            net.parameters.fill(name, rng.standard_normal(parameter.shape) / 2)
    return net


def inputs(net: xn.Sequential, n: int, seed: int = 1) -> np.ndarray:
    """Rows for a network, in its dtype."""
    return np.random.default_rng(seed).standard_normal((n, *net.input_shape)).astype(net.parameters.dtype)


def agree(found: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Same shape and dtype, equal to the tolerance relative to the largest element."""
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    scale = max(1.0, float(abs(expected).max())) if expected.size else 1.0
    np.testing.assert_allclose(found, expected, rtol=0, atol=tolerance * scale)


def means(*axes, x="x", output="y"):
    """LayerNorm spelt out by its means, as before operator set 17; ``e`` and ``square`` are constants."""
    mean = {"axes": list(axes)}
    return [
        *(("ReduceMean", [x], "mean", mean), ("Sub", [x, "mean"], "d", {}), ("Pow", ["d", "square"], "dd", {})),
        *(("ReduceMean", ["dd"], "var", mean), ("Add", ["var", "e"], "var_e", {}), ("Sqrt", ["var_e"], "root", {})),
        ("Div", ["d", "root"], output, {}),
    ]


def written(nodes, tensors, shape, path, *, batch="N", opset=18, dtype=1):
    """A file as others might write it: nodes as (operator, inputs, output, attributes), constants by name; input ``x``."""
    import onnx
    from onnx import helper

    made = [
        helper.make_node(op, i, o if isinstance(o, list) else [o], name=f"n{k}", **a) for k, (op, i, o, a) in enumerate(nodes)
    ]
    constants = [onnx.numpy_helper.from_array(np.asarray(value), name) for name, value in tensors.items()]
    given = helper.make_tensor_value_info("x", dtype, [batch, *shape])
    found = helper.make_tensor_value_info(made[-1].output[0], dtype, ["N"])  # its true shape is for the reader to find
    graph = helper.make_graph(made, "g", [given], [found], constants)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return model
