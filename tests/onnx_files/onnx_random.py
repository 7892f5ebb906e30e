"""Networks of xpnet's layers and graphs of other makers' nodes, put together at random."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

import xpnet as xn

Shape = tuple[int, ...]
SHAPES: list[Shape] = [(6, 7, 3), (1, 9, 2), (5, 5, 1), (4, 4, 4), (7, 6, 6), (8, 3, 4), (9, 1, 3), (12,), (5, 6)]
ACTIVATIONS: list[Callable[[], xn.Layer]] = [
    xn.ReLU,
    xn.Sigmoid,
    xn.Tanh,
    xn.GELU,
    xn.SiLU,
    xn.Softplus,
    xn.Softmax,
    xn.Dropout,
]
LARGEST, ATTEMPTS = 4000, 8  # numbers of a sample; layers that are tried before one fits
SPREADS = [0.3, 0.4, 0.1, 0.1, 0.1]
ODDS = [0.15, 0.25, 0.05, 0.1, 0.05, 0.05, 0.1, 0.25]  # of the kinds of nodes below
CUBES: list[Shape] = [(4, 4, 4), (4, 4, 4), (1, 4, 4), (4, 1, 4), (4, 4, 1), (2, 4, 2)]


# --- networks -----------------------------------------------------------------------------------------------------


def network(rng: np.random.Generator) -> tuple[xn.Sequential, Shape]:
    """A chain of up to seven layers and branches, not built, and the shape of its samples."""
    shape = SHAPES[rng.integers(len(SHAPES))]
    found, _ = chain(rng, shape, int(rng.integers(1, 8)))
    return xn.Sequential(*(found or [xn.Identity()])), shape


def chain(rng: np.random.Generator, shape: Shape, n: int, deep: int = 0) -> tuple[list[xn.Layer], Shape]:
    """Up to so many layers that fit one another, and the shape that they give."""
    found: list[xn.Layer] = []
    for _ in range(n * ATTEMPTS):
        try:
            layer = any_layer(rng, shape, deep)
            given = xn.Sequential(layer).build(shape).output_shape
        except ValueError:  # its options do not go together, or not with the shape
            continue
        if math.prod(given) <= LARGEST:
            found, shape = [*found, layer], given
        if len(found) == n:
            break
    return found, shape


def any_layer(rng: np.random.Generator, shape: Shape, deep: int) -> xn.Layer:
    made = [activation, normalisation, reshaped, *([convolution, pool, pool, crop] if len(shape) == 3 else [affine, affine])]
    if deep < 2:
        made.append(lambda rng, shape: branches(rng, shape, deep + 1))
    return made[rng.integers(len(made))](rng, shape)


def activation(rng: np.random.Generator, shape: Shape) -> xn.Layer:
    return ACTIVATIONS[rng.integers(len(ACTIVATIONS))]()


def affine(rng: np.random.Generator, shape: Shape) -> xn.Layer:
    return xn.Affine(int(rng.integers(1, 12)), bias=bool(rng.integers(2)))


def normalisation(rng: np.random.Generator, shape: Shape) -> xn.Layer:
    scaled = bool(rng.integers(2))
    groups = divisor(rng, shape[-1])
    return [
        xn.BatchNorm(affine=scaled),
        xn.LayerNorm(int(rng.integers(1, len(shape) + 1)), epsilon=0.1, affine=scaled),
        xn.GroupNorm(groups, epsilon=0.1, affine=scaled),
    ][rng.integers(3)]


def reshaped(rng: np.random.Generator, shape: Shape) -> xn.Layer:
    size = math.prod(shape)
    a = divisor(rng, size)
    b = divisor(rng, size // a)
    to: list[Shape] = [(a, b, size // a // b), (a, size // a), (1, *shape[::-1])[-3:], shape[::-1]]
    return [xn.Flatten(), *(xn.Reshape(target) for target in to)][rng.integers(5)]


def convolution(rng: np.random.Generator, shape: Shape) -> xn.Layer:
    groups = divisor(rng, shape[2])
    padding = ["same", 0, pair(rng, 0, 2)][rng.integers(3)]
    options = {"stride": pair(rng, 1, 3), "dilation": pair(rng, 1, 2), "padding": padding, "bias": bool(rng.integers(2))}
    return xn.Conv2d(groups * int(rng.integers(1, 4)), pair(rng, 1, 4), groups=groups, **options)


def pool(rng: np.random.Generator, shape: Shape) -> xn.Layer:
    kernel = pair(rng, 1, 4)
    padding = tuple(int(rng.integers(k // 2 + 1)) for k in kernel)
    options = {"stride": pair(rng, 1, 4), "padding": padding, "ceil_mode": bool(rng.integers(2))}
    counts = bool(rng.integers(2))
    return [
        xn.MaxPool2d(kernel, **options),
        xn.AvgPool2d(kernel, count_include_pad=counts, **options),
        xn.GlobalAvgPool2d(),
    ][rng.choice(3, p=[0.45, 0.45, 0.1])]


def crop(rng: np.random.Generator, shape: Shape) -> xn.Layer:
    return xn.RandomCrop(tuple(int(rng.integers(1, n + 3)) for n in shape[:2]), padding=int(rng.integers(1, 3)))


def branches(rng: np.random.Generator, shape: Shape, deep: int) -> xn.Layer:
    inside, given = chain(rng, shape, int(rng.integers(1, 4)), deep)
    around = [xn.Flatten(), xn.Affine(math.prod(given)), xn.Reshape(given)]
    if rng.integers(2):
        return xn.Residual(*inside, shortcut=None if given == shape else xn.Sequential(*around))
    if rng.integers(2):
        return xn.Add(xn.Sequential(*inside), xn.Sequential(*around))
    return xn.Concatenate(activation(rng, shape), affine(rng, shape), xn.Sequential(xn.Affine(2), activation(rng, shape)))


def divisor(rng: np.random.Generator, n: int) -> int:
    return int(rng.choice([i for i in range(1, n + 1) if n % i == 0]))


def pair(rng: np.random.Generator, low: int, high: int) -> tuple[int, int]:
    return int(rng.integers(low, high + 1)), int(rng.integers(low, high + 1))


# --- graphs of other makers, whose images often have axes of one length ----------------------------------------------


def graph(rng: np.random.Generator) -> tuple[list, dict[str, np.ndarray], Shape]:
    """Nodes and constants for ``written``, and the shape of a sample; the output is a row, whatever is between."""
    shape = dims = CUBES[rng.integers(len(CUBES))]
    nodes, tensors, name = [("Relu", ["x"], "a0", {})], {}, "a0"
    for i in range(1, int(rng.integers(2, 7))):
        op, inputs, attributes, dims, constants = any_node(rng, dims, f"c{i}")
        nodes.append((op, [name, *inputs], f"a{i}", attributes))
        tensors |= constants
        name = f"a{i}"
    tensors["w"] = floats(rng, math.prod(dims), 3)
    return [*nodes, ("Flatten", [name], "flat", {}), ("MatMul", ["flat", "w"], "y", {})], tensors, shape


def any_node(rng: np.random.Generator, dims: Shape, name: str) -> tuple[str, list[str], dict, Shape, dict[str, np.ndarray]]:
    """Operator, names of constants, attributes, the shape that it gives, and the constants by name."""
    kind, rank, n = rng.choice(8, p=ODDS), len(dims), dims[0]
    if kind == 0 and rank == 3:
        return "Conv", [name], {}, dims, {name: floats(rng, n, n, 1, 1)}
    if kind == 1:
        perm = [0, *(int(i) + 1 for i in rng.permutation(rank))]
        return "Transpose", [], {"perm": perm}, tuple(dims[i - 1] for i in perm[1:]), {}
    if kind == 2:
        to = [(math.prod(dims),), dims[::-1], (4, math.prod(dims) // 4)][rng.integers(3)]
        return "Reshape", [name], {}, to, {name: np.array([-1, *to])}
    if kind == 3:
        parts = [f"{name}.{i}" for i in range(4)]
        return "BatchNormalization", parts, {}, dims, {part: abs(floats(rng, n)) + 1 for part in parts}
    if kind == 4:
        axes = int(rng.integers(1, rank + 1))
        return "LayerNormalization", [name], {"axis": -axes, "epsilon": 0.1}, dims, {name: floats(rng, *dims[rank - axes :])}
    if kind == 5:
        return "Softmax", [], {"axis": [1, -1][rng.integers(2)]}, dims, {}
    if kind == 6:
        return "MatMul", [name], {}, (*dims[:-1], 4), {name: floats(rng, dims[-1], 4)}
    spread = [(n, *(1,) * (rank - 1)), dims[-1:], dims, (1, *dims[-1:]), (1,) * (rank + 2)][rng.choice(5, p=SPREADS)]
    return ["Add", "Mul"][rng.integers(2)], [name], {}, dims, {name: floats(rng, *spread)}


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)
