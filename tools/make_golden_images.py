"""Golden values of layers for images from PyTorch in float64, written to ``tests/golden/images.npz``.

Every two values of options occur together in some case (pairwise coverage), as far as they make sense together. PyTorch's
results are brought from channels first to channels last. Inputs lie on a coarse grid: ties occur, and files are small.
Needs torch and allpairspy; ``tests/images/test_torch_images.py`` calls the functions below on fresh random inputs.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own custom
from allpairspy import AllPairs
from make_golden import GOLDEN, Values, flatten, generator, tensor

Options = dict[str, Any]

CONVOLUTION = {
    "size": [(7, 9), (8, 8), (5, 6), (12, 3)],
    "kernel": [1, 2, 3, 5, (3, 2), (1, 3)],
    "stride": [1, 2, 3, (2, 1)],
    "padding": [0, 1, 2, (1, 0), "same", "valid"],
    "dilation": [1, 2, (1, 2)],
    "groups": ["one", "two", "channels"],
    "channels": [2, 4],
    "bias": [True, False],
    "batch": [0, 1, 3],
}
MAXIMUM = {
    "size": [(7, 9), (8, 8), (5, 6), (1, 4)],
    "kernel": [1, 2, 3, (3, 2), (1, 4)],
    "stride": [None, 1, 2, 4, (2, 3)],
    "padding": [0, 1, (1, 0)],
    "ceil_mode": [False, True],
    "batch": [0, 1, 3],
}
MEAN = {**MAXIMUM, "count_include_pad": [True, False]}
BATCH_NORM = {
    "shape": [(5,), (4, 3), (3, 4, 2), (2, 3, 2, 4)],
    "affine": [True, False],
    "epsilon": [1e-5, 0.1],
    "momentum": [0.1, 1.0, 0.0],
    "training": [True, False],
    "batch": [2, 5],
}
LAYER_NORM = {
    "shape": [(5,), (4, 3), (3, 4, 2)],
    "axes": [1, 2, 3],
    "affine": [True, False],
    "epsilon": [1e-5, 0.1],
    "batch": [0, 1, 3],
}
GROUP_NORM = {
    "shape": [(4,), (3, 4), (3, 2, 6)],
    "groups": [1, 2, "channels"],
    "affine": [True, False],
    "epsilon": [1e-5, 0.1],
    "batch": [0, 1, 3],
}


def pairs(choices: Mapping[str, Sequence], suits: Callable[[Options], bool] = lambda options: True) -> Iterator[Options]:
    """Dicts of options in which every two values occur together, left out what does not suit."""
    names = list(choices)
    found = AllPairs(
        list(choices.values()), filter_func=lambda row: len(row) < len(names) or suits(dict(zip(names, row, strict=True)))
    )
    return (dict(zip(names, row, strict=True)) for row in found)


def both(value: Any) -> tuple[int, int]:
    return value if isinstance(value, tuple) else (value, value)


def grid(rng: np.random.Generator, shape: tuple[int, ...], step: float = 0.25) -> np.ndarray:
    return rng.integers(-8, 9, shape) * step


def first(x: torch.Tensor) -> torch.Tensor:
    """Channels first."""
    return x.movedim(-1, 1)


def last(y: torch.Tensor) -> torch.Tensor:
    """Channels last."""
    return y.movedim(1, -1)


def amounts(length: int, kernel: int, stride: int, padding: Any, dilation: int) -> tuple[int, int]:
    """Padding before and after an axis."""
    if padding == "valid":
        return 0, 0
    if padding != "same":
        return padding, padding
    total = max((-(-length // stride) - 1) * stride + dilation * (kernel - 1) + 1 - length, 0)
    return total // 2, total - total // 2


def convolution(x: torch.Tensor, values: dict[str, torch.Tensor], o: Options) -> torch.Tensor:
    kernels, strides, dilations = (both(o[name]) for name in ("kernel", "stride", "dilation"))
    paddings = (o["padding"],) * 2 if isinstance(o["padding"], str) else both(o["padding"])
    rows, columns = (amounts(*numbers) for numbers in zip(x.shape[1:3], kernels, strides, paddings, dilations, strict=True))
    padded = F.pad(first(x), (*columns, *rows))
    weight = values["0.W"].permute(3, 2, 0, 1).contiguous()
    return last(F.conv2d(padded, weight, values.get("0.b"), stride=strides, dilation=dilations, groups=o["groups"]))


def fits(o: Options) -> bool:
    """Whether some window lies in the padded image."""
    kernels, strides, dilations = (both(o[name]) for name in ("kernel", "stride", "dilation"))
    paddings = (o["padding"],) * 2 if isinstance(o["padding"], str) else both(o["padding"])
    ends = zip(o["size"], kernels, strides, paddings, dilations, strict=True)
    return all(length + sum(amounts(length, k, s, p, d)) >= d * (k - 1) + 1 for length, k, s, p, d in ends)


def pooling(f: Callable) -> Callable:
    def pool(x: torch.Tensor, values: dict[str, torch.Tensor], o: Options) -> torch.Tensor:
        names = ("padding", "ceil_mode", "count_include_pad")
        return last(f(first(x), o["kernel"], o["stride"], **{name: o[name] for name in names if name in o}))

    return pool


def half_padded(o: Options) -> bool:
    ends = zip(o["size"], both(o["kernel"]), both(o["padding"]), strict=True)
    return all(2 * p <= k and n + 2 * p >= k for n, k, p in ends)


def maximum(x: torch.Tensor, *arguments: Any, **options: Any) -> torch.Tensor:
    return F.max_pool2d(x, *arguments, **options)


def normalised(x: torch.Tensor, values: dict[str, torch.Tensor], o: Options) -> torch.Tensor:
    """Batch normalisation; ``running`` are changed in place by a training pass."""
    mean, variance = o["running"]
    y = F.batch_norm(
        first(x), mean, variance, values.get("0.gamma"), values.get("0.beta"), o["training"], o["momentum"], o["epsilon"]
    )
    return last(y)


def layer_normalised(x: torch.Tensor, values: dict[str, torch.Tensor], o: Options) -> torch.Tensor:
    return F.layer_norm(x, x.shape[-o["axes"] :], values.get("0.gamma"), values.get("0.beta"), o["epsilon"])


def group_normalised(x: torch.Tensor, values: dict[str, torch.Tensor], o: Options) -> torch.Tensor:
    return last(torch.group_norm(first(x), o["groups"], values.get("0.gamma"), values.get("0.beta"), o["epsilon"]))


def global_mean(x: torch.Tensor, values: dict[str, torch.Tensor], o: Options) -> torch.Tensor:
    return x.mean((1, 2))


FUNCTIONS = {
    "Conv2d": convolution,
    "MaxPool2d": pooling(maximum),
    "AvgPool2d": pooling(F.avg_pool2d),
    "GlobalAvgPool2d": global_mean,
    "BatchNorm": normalised,
    "LayerNorm": layer_normalised,
    "GroupNorm": group_normalised,
}
ARGUMENTS = {  # what the layer is made with; the rest tells the input
    "Conv2d": ("n_out", "kernel", "stride", "padding", "dilation", "groups", "bias"),
    "MaxPool2d": ("kernel", "stride", "padding", "ceil_mode"),
    "AvgPool2d": ("kernel", "stride", "padding", "ceil_mode", "count_include_pad"),
    "GlobalAvgPool2d": (),
    "BatchNorm": ("epsilon", "momentum", "affine"),
    "LayerNorm": ("axes", "epsilon", "affine"),
    "GroupNorm": ("groups", "epsilon", "affine"),
}


def cases() -> Iterator[tuple[str, Options, tuple[int, ...]]]:
    """Layer, options, shape of the input."""
    for o in pairs(CONVOLUTION, fits):
        groups = {"one": 1, "two": 2, "channels": o["channels"]}[o["groups"]]
        yield (
            "Conv2d",
            {**o, "groups": groups, "n_out": 2 * groups if groups < 4 else groups},
            (o["batch"], *o["size"], o["channels"]),
        )
    for name, choices in (("MaxPool2d", MAXIMUM), ("AvgPool2d", MEAN)):
        for o in pairs(choices, half_padded):
            yield name, o, (o["batch"], *o["size"], 2)
    yield "GlobalAvgPool2d", {}, (3, 4, 5, 2)
    yield "GlobalAvgPool2d", {}, (0, 1, 3, 2)
    for o in pairs(BATCH_NORM):
        yield "BatchNorm", o, (o["batch"], *o["shape"])
    for o in pairs(LAYER_NORM, lambda o: o["axes"] <= len(o["shape"])):
        yield "LayerNorm", o, (o["batch"], *o["shape"])
    for o in pairs(GROUP_NORM):
        groups = o["shape"][-1] if o["groups"] == "channels" else o["groups"]
        yield "GroupNorm", {**o, "groups": groups}, (o["batch"], *o["shape"])


def parameters(name: str, o: Options, shape: tuple[int, ...], rng: np.random.Generator) -> dict[str, np.ndarray]:
    if name == "Conv2d":
        W = (*both(o["kernel"]), shape[-1] // o["groups"], o["n_out"])
        return {"0.W": grid(rng, W), **({"0.b": grid(rng, (o["n_out"],))} if o["bias"] else {})}
    if not o.get("affine"):
        return {}
    scale = shape[-o["axes"] :] if name == "LayerNorm" else shape[-1:]
    return {"0.gamma": grid(rng, scale), "0.beta": grid(rng, scale)}


def values(name: str, o: Options, x: np.ndarray, given: dict[str, np.ndarray], rng: np.random.Generator) -> Values:
    """Output and gradients; for batch normalisation also the running statistics before and after."""
    running: dict[str, Any] = {}
    if name == "BatchNorm":
        before = {"0.mean": grid(rng, x.shape[-1:]), "0.variance": 1 + rng.integers(0, 8, x.shape[-1:]) / 4}
        after = [tensor(v.copy()) for v in before.values()]
        o, running = {**o, "running": after}, {"before": before}
    x, given = tensor(x, True), {key: tensor(v, True) for key, v in given.items()}
    y = FUNCTIONS[name](x, given, o)
    dy = grid(rng, tuple(y.shape))
    y.backward(tensor(dy))
    if running:
        running["after"] = dict(zip(running["before"], (a.numpy() for a in after), strict=True))
    grads = {key: np.zeros(v.shape) if v.grad is None else v.grad.numpy() for key, v in given.items()}
    return {"dy": dy, "y": y.detach().numpy(), "dx": x.grad.numpy(), "grads": grads, **running}


def images() -> Iterator[tuple[str, Values]]:
    counts: dict[str, int] = {}
    for name, o, shape in cases():
        counts[name] = counts.get(name, 0) + 1
        case = f"{name}-{counts[name]:02d}"
        rng = generator(case)
        x, given = grid(rng, shape), parameters(name, o, shape, rng)
        if name.endswith("Norm"):
            x = x + rng.standard_normal(shape) / 8  # no variance of 0
        options = {key: o[key] for key in ARGUMENTS[name] if key in o}
        mode = {"training": np.array(o["training"])} if "training" in o else {}
        yield case, {"options": options, "x": x, "values": given, **mode, **values(name, o, x, given, rng)}


def main() -> None:
    arrays = flatten(dict(images()))
    np.savez_compressed(GOLDEN / "images.npz", **arrays)
    print(
        len(arrays),
        "arrays",
        (GOLDEN / "images.npz").stat().st_size // 1000,
        "kB",
        len({path.split("/")[0] for path in arrays}),
        "cases",
    )


if __name__ == "__main__":
    main()
