"""Launches of losses."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from xpnet.backends.rows.kernel import (
    BLOCK,
    BLOCKS,
    Array,
    Launch,
    counters,
    flags,
    integers,
    power_of_two,
    present,
    reals,
    row_blocks,
    source,
)

C_TYPES = {
    "bool": "bool",
    "int8": "signed char",
    "uint8": "unsigned char",
    "int16": "short",
    "uint16": "unsigned short",
    "int32": "int",
    "uint32": "unsigned int",
    "int64": "long long",
    "uint64": "unsigned long long",
    "float32": "float",
    "float64": "double",
}

# The largest logit is passed over where it is NaN, which the sum then finds. The gradient may be written over the logits.
SOFTMAX = """
extern "C" __global__ void softmax_cross_entropy(
    const T* logits, const Target* targets, const T* classes, const T* weights, const T* count, T* gradient, T* value, T* parts,
    int* counter, long long rows, long long k, long long rows_of_weight, long long ignore, T kept, T even, T factor, int flags
) {
    const bool labels = flags & 1, mixed = flags & 2, has_classes = flags & 4, has_weights = flags & 8, ignores = flags & 16;
    if (flags & 32) factor /= *count;
    const long long first = blockIdx.x * (long long)blockDim.y + threadIdx.y, step = gridDim.x * (long long)blockDim.y;
    T loss = 0;
    for (long long round = first - threadIdx.y; round < rows; round += step) {
        const bool inside = round + threadIdx.y < rows;  // threads beyond go along, since others wait for them
        const long long row = inside ? round + threadIdx.y : rows - 1;
        const T* z = logits + row * k;
        const Target* target = targets + (labels ? row : row * k);
        T weight = has_weights ? weights[row / rows_of_weight] : (T)1;
        if (ignores && (long long)*target == ignore) weight = 0;
        auto wanted = [&](long long j) -> T {
            T q = labels ? (T)((long long)*target == j) : (T)target[j];
            if (mixed) q = (q * kept + even) * (has_classes ? classes[j] : (T)1) * weight;
            return q;
        };
        T top = z[threadIdx.x < k ? threadIdx.x : 0];
        for (long long j = threadIdx.x; j < k; j += blockDim.x) top = fmax(top, z[j]);
        top = across(top, Max());
        T sum = 0, mass = 0;
        for (long long j = threadIdx.x; j < k; j += blockDim.x) {
            sum += exp(z[j] - top);
            mass += wanted(j);
        }
        sum = across(sum, Sum());
        mass = mixed ? across(mass, Sum()) : (T)1;
        const T logarithm = log(sum), share = mass / sum;
        if (!inside) continue;
        for (long long j = threadIdx.x; j < k; j += blockDim.x) {
            const T shifted = z[j] - top, q = wanted(j);
            gradient[row * k + j] = (exp(shifted) * share - q) * factor;
            if (q != 0) loss += q * (logarithm - shifted);  // 0 * inf is NaN
        }
    }
    grid_sum(loss, factor, value, parts, counter);
}
"""

# Over all labels what each counts for: 1, its class's weight, its sample's, 0 where it is ignored.
WEIGHT = """
extern "C" __global__ void label_weight(
    const Target* labels, const T* classes, const T* weights, T* out, T* parts, int* counter, long long n, long long k,
    long long rows_of_weight, long long ignore, int flags
) {
    T sum = 0;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += gridDim.x * (long long)blockDim.x) {
        const long long label = labels[i];
        T weight = flags & 2 ? weights[i / rows_of_weight] : (T)1;
        if (flags & 1) weight *= 0 <= label && label < k ? classes[label] : (T)0;
        sum += flags & 4 && label == ignore ? (T)0 : weight;
    }
    grid_sum(sum, 1, out, parts, counter);
}
"""

SQUARES = """
extern "C" __global__ void squared_error(
    const T* outputs, const T* targets, const T* weights, const T* count, T* gradient, T* value, T* parts, int* counter,
    long long n, long long row, T factor, int flags
) {
    if (flags & 2) factor /= *count;
    T sum = 0;
    for (long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x; i < n; i += gridDim.x * (long long)blockDim.x) {
        const T difference = outputs[i] - targets[i], weighted = flags & 1 ? difference * weights[i / row] : difference;
        sum += weighted * difference;
        gradient[i] = weighted * (2 * factor);
    }
    grid_sum(sum, factor, value, parts, counter);
}
"""


def softmax_cross_entropy(
    step: Any,
    z: Array,
    targets: Array,
    classes: Array | None,
    weights: Array | None,
    count: Any,
    dz: Array,
    value: Array,
    smoothing: float,
    ignore: int | None,
) -> Iterator[Launch]:
    """One launch; a warp or less has a row, of more than 1024 classes a block."""
    (rows, k), labels = z.shape, targets.dtype.kind != "f"
    grid, block = row_blocks(rows, k)
    ignores = labels and ignore is not None
    given = (classes is not None, weights is not None, ignores)
    divisor, number = _divisor(count)
    how = flags(labels, any(given) or bool(smoothing), *given, divisor is not None)
    yield Launch(
        source(SOFTMAX, z.dtype.name, Target=C_TYPES[targets.dtype.name]),
        "softmax_cross_entropy",
        grid,
        block,
        (
            *(z, targets, present(classes, z), present(weights, z), present(divisor, z), dz, value),
            *_sum_memory(step, grid[0]),
            *integers(rows, k, rows // len(weights) if weights is not None else 1, (ignore or 0) if ignores else 0),
            *reals(z.dtype, 1 - smoothing, smoothing / k, 1 / number),
            how,
        ),
    )


def label_weight(
    step: Any, labels: Array, classes: Array | None, weights: Array | None, ignore: int | None, out: Array
) -> Iterator[Launch]:
    n = math.prod(labels.shape)
    grid, block = _even_blocks(n)
    sizes = n, len(classes) if classes is not None else 1, n // len(weights) if weights is not None else 1, ignore or 0
    yield Launch(
        source(WEIGHT, out.dtype.name, Target=C_TYPES[labels.dtype.name]),
        "label_weight",
        grid,
        block,
        (
            *(labels, present(classes, out), present(weights, out), out, *_sum_memory(step, grid[0])),
            *integers(*sizes),
            flags(classes is not None, weights is not None, ignore is not None),
        ),
    )


def squared_error(
    step: Any, y: Array, targets: Array, weights: Array | None, count: Any, dy: Array, value: Array, factor: float
) -> Iterator[Launch]:
    n = math.prod(y.shape)
    grid, block = _even_blocks(n)
    divisor, number = _divisor(count)
    yield Launch(
        source(SQUARES, y.dtype.name),
        "squared_error",
        grid,
        block,
        (
            *(y, targets, present(weights, y), present(divisor, y), dy, value, *_sum_memory(step, grid[0])),
            *integers(n, n // len(y)),
            *reals(y.dtype, factor / number),
            flags(weights is not None, divisor is not None),
        ),
    )


def _divisor(count: Any) -> tuple[Array | None, float]:
    """What to divide by: an array of the device, or a number."""
    return (count, 1) if hasattr(count, "dtype") else (None, count)


def _even_blocks(n: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    block = power_of_two(n, BLOCK)
    return (max(1, min(-(-n // (4 * block)), BLOCKS)),), (max(block, 32), 1)


def _sum_memory(step: Any, blocks: int) -> tuple[Array, Array]:
    return step.scratch((blocks,)), counters(step, 1)
