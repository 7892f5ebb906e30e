"""Launches of normalisations: statistics of columns for batch norm, of parts of rows for the others."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

from xpnet.backends.rows.kernel import (
    BLOCK,
    Array,
    Launch,
    column_blocks,
    counters,
    flags,
    integers,
    present,
    reals,
    row_blocks,
    source,
)

# What a thread has seen of its column, then what a block has, then all: Welford's moments (1962), merged as Chan et al. (1983).
COLUMNS = """
struct Moments {
    enum { fields = 3 };  // how many, their mean, the sum of squared distances from it
    T v[fields];
    __device__ void add(T x) {
        const T distance = x - v[1];
        v[0] += 1;
        v[1] += distance / v[0];
        v[2] += distance * (x - v[1]);
    }
    __device__ void merge(const Moments& other) {
        const T n = v[0] + other.v[0];
        if (n == 0) return;
        const T distance = other.v[1] - v[1], share = other.v[0] / n;
        v[1] += distance * share;
        v[2] += other.v[2] + distance * distance * (v[0] * share);
        v[0] = n;
    }
};

struct Sums {
    enum { fields = 2 };
    T v[fields];
    __device__ void add(T x, T y) {
        v[0] += x;
        v[1] += x * y;
    }
    __device__ void merge(const Sums& other) {
        v[0] += other.v[0];
        v[1] += other.v[1];
    }
};

template <class Found>
__device__ void merge_block(Found& mine) {
    __shared__ Found all[256];
    const int here = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
    all[here] = mine;
    for (int n = blockDim.y / 2; n > 0; n /= 2) {
        __syncthreads();
        if (threadIdx.y < n) all[here].merge(all[here + n * blockDim.x]);
    }
    __syncthreads();
    mine = all[threadIdx.x];
}

// True for the one thread of a column that has what all blocks found.
template <class Found>
__device__ bool merge_all(Found& mine, volatile T* parts, int* counter, long long columns) {
    const long long column = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    merge_block(mine);
    if (column < columns && threadIdx.y == 0)
        for (int i = 0; i < Found::fields; ++i) parts[(blockIdx.y * Found::fields + i) * columns + column] = mine.v[i];
    if (!is_last(counter + blockIdx.x, gridDim.y)) return false;
    mine = Found();
    for (int block = threadIdx.y; column < columns && block < gridDim.y; block += blockDim.y) {
        Found other;
        for (int i = 0; i < Found::fields; ++i) other.v[i] = parts[(block * Found::fields + i) * columns + column];
        mine.merge(other);
    }
    merge_block(mine);
    return column < columns && threadIdx.y == 0;
}

// Where this thread's elements are: from `start` on, so many apart, before `stop`.
struct Place {
    long long column, start, stop, apart;
    __device__ Place(long long rows, long long columns) {
        column = blockIdx.x * (long long)blockDim.x + threadIdx.x;
        start = (rows * blockIdx.y / gridDim.y + threadIdx.y) * columns + column;
        stop = column < columns ? rows * (blockIdx.y + 1) / gridDim.y * columns : 0;
        apart = blockDim.y * columns;
    }
};

extern "C" __global__ void moments(
    const T* x, T* mean, T* variance, T* parts, int* counter, long long rows, long long columns
) {
    const Place place(rows, columns);
    Moments found = Moments();
    for (long long i = place.start; i < place.stop; i += place.apart) found.add(x[i]);
    if (!merge_all(found, parts, counter, columns)) return;
    mean[place.column] = found.v[1];
    variance[place.column] = found.v[2] / rows;
}

extern "C" __global__ void column_sums(
    const T* dy, const T* x, const T* mean, T* sum, T* product, T* parts, int* counter, long long rows, long long columns,
    int flags
) {
    const Place place(rows, columns);
    const T centre = flags & 1 && place.column < columns ? mean[place.column] : (T)0;
    Sums found = Sums();
    for (long long i = place.start; i < place.stop; i += place.apart) found.add(dy[i], x[i] - centre);
    if (!merge_all(found, parts, counter, columns)) return;
    sum[place.column] = found.v[0];
    product[place.column] = found.v[1];
}

extern "C" __global__ void scale_and_shift(
    const T* x, const T* scale, const T* shift, T* y, long long rows, long long columns
) {
    const Place place(rows, columns);
    if (place.column >= columns) return;
    const T a = scale[place.column], b = shift[place.column];
    for (long long i = place.start; i < place.stop; i += place.apart) y[i] = x[i] * a + b;
}

extern "C" __global__ void input_gradient(
    const T* dy, const T* x, const T* scale, const T* slope, const T* offset, T* dx, long long rows, long long columns
) {
    const Place place(rows, columns);
    if (place.column >= columns) return;
    const T a = scale[place.column], b = slope[place.column], c = offset[place.column];
    for (long long i = place.start; i < place.stop; i += place.apart) dx[i] = dy[i] * a + x[i] * b + c;
}

extern "C" __global__ void statistics(
    const T* mean, const T* variance, const T* gamma, const T* beta, T* running_mean, T* running_variance, T* inverse, T* scale,
    T* shift, long long columns, T epsilon, T momentum, T correction, int flags
) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= columns) return;
    if (flags & 2) {
        running_mean[i] += (mean[i] - running_mean[i]) * momentum;
        running_variance[i] += (variance[i] * correction - running_variance[i]) * momentum;
    }
    const T found = 1 / sqrt(variance[i] + epsilon), factor = flags & 1 ? gamma[i] * found : found;
    inverse[i] = found;
    scale[i] = factor;
    shift[i] = (flags & 1 ? beta[i] : (T)0) - mean[i] * factor;
}

extern "C" __global__ void statistics_gradients(
    const T* sum, const T* product, const T* inverse, const T* mean, const T* scale, T* dgamma, T* dbeta, T* slope, T* offset,
    long long columns, T n, int flags
) {
    const long long i = blockIdx.x * (long long)blockDim.x + threadIdx.x;
    if (i >= columns) return;
    const T normal = product[i] * inverse[i], along = normal * inverse[i] * (-1 / n);
    const T all = sum[i];
    if (flags & 1) {
        dgamma[i] = normal;
        dbeta[i] = all;
    }
    slope[i] = along * scale[i];
    offset[i] = (all * (-1 / n) - along * mean[i]) * scale[i];
}
"""

# A group is what one mean is taken over: `channels / groups` neighbouring channels of all pixels of a sample.
SAMPLES = """
struct Groups {
    long long pixels, channels, groups, width, size;
    __device__ Groups(long long pixels, long long channels, long long groups)
        : pixels(pixels), channels(channels), groups(groups), width(channels / groups), size(pixels * (channels / groups)) {}
    __device__ long long channel(long long group, long long i) const { return group % groups * width + i % width; }
    __device__ long long element(long long group, long long i) const {
        return (group / groups * pixels + i / width) * channels + channel(group, i);
    }
};

extern "C" __global__ void normalise_samples(
    const T* x, const T* gamma, const T* beta, T* normal, T* inverse, T* y, long long samples, long long pixels,
    long long channels, long long groups, T epsilon, int flags
) {
    const Groups of(pixels, channels, groups);
    const long long all = samples * groups, step = gridDim.x * (long long)blockDim.y;
    for (long long round = blockIdx.x * (long long)blockDim.y; round < all; round += step) {
        const bool inside = round + threadIdx.y < all;  // threads beyond go along, since others wait for them
        const long long group = inside ? round + threadIdx.y : all - 1;
        T sum = 0, squares = 0;
        for (long long i = threadIdx.x; i < of.size; i += blockDim.x) sum += x[of.element(group, i)];
        const T mean = across(sum, Sum()) / of.size;
        for (long long i = threadIdx.x; i < of.size; i += blockDim.x) {
            const T distance = x[of.element(group, i)] - mean;
            squares += distance * distance;
        }
        const T found = 1 / sqrt(across(squares, Sum()) / of.size + epsilon);
        if (!inside) continue;
        for (long long i = threadIdx.x; i < of.size; i += blockDim.x) {
            const long long here = of.element(group, i), channel = of.channel(group, i);
            const T result = (x[here] - mean) * found;
            normal[here] = result;
            if (flags & 1) y[here] = result * gamma[channel] + beta[channel];
        }
        if (flags & 2) {
            for (long long i = threadIdx.x; i < of.width; i += blockDim.x)
                inverse[group / groups * channels + of.channel(group, i)] = found;
        } else if (threadIdx.x == 0) {
            inverse[group] = found;
        }
    }
}

extern "C" __global__ void samples_gradient(
    const T* dy, const T* normal, const T* inverse, const T* gamma, T* dx, long long samples, long long pixels,
    long long channels, long long groups, int flags
) {
    const Groups of(pixels, channels, groups);
    const long long all = samples * groups, step = gridDim.x * (long long)blockDim.y;
    for (long long round = blockIdx.x * (long long)blockDim.y; round < all; round += step) {
        const bool inside = round + threadIdx.y < all;
        const long long group = inside ? round + threadIdx.y : all - 1;
        T sum = 0, products = 0;
        for (long long i = threadIdx.x; i < of.size; i += blockDim.x) {
            const long long here = of.element(group, i);
            const T d = flags & 1 ? dy[here] * gamma[of.channel(group, i)] : dy[here];
            sum += d;
            products += d * normal[here];
        }
        const T mean = across(sum, Sum()) / of.size, along = across(products, Sum()) / of.size;
        if (!inside) continue;
        const T found = inverse[flags & 2 ? group / groups * channels + of.channel(group, 0) : group];
        for (long long i = threadIdx.x; i < of.size; i += blockDim.x) {
            const long long here = of.element(group, i);
            const T d = flags & 1 ? dy[here] * gamma[of.channel(group, i)] : dy[here];
            dx[here] = (d - mean - normal[here] * along) * found;
        }
    }
}
"""


def moments(step: Any, x: Array, mean: Array, variance: Array, pixels: int) -> Iterator[Launch]:
    """The last block of a stretch of columns has the whole of them."""
    yield _columns("moments", x.shape, (x, mean, variance), 3, step)


def column_sums(step: Any, dy: Array, x: Array, mean: Array | None, sums: Array, products: Array) -> Iterator[Launch]:
    given = dy, x, present(mean, x), sums, products
    yield _columns("column_sums", x.shape, given, 2, step, flags(mean is not None))


def scale_and_shift(step: Any, x: Array, scale: Array, shift: Array, y: Array) -> Iterator[Launch]:
    yield _columns("scale_and_shift", _rows(x, scale), (x, scale, shift, y))


def input_gradient(step: Any, dy: Array, x: Array, scale: Array, slope: Array, offset: Array, dx: Array) -> Iterator[Launch]:
    yield _columns("input_gradient", _rows(x, scale), (dy, x, scale, slope, offset, dx))


def statistics(
    step: Any,
    mean: Array,
    variance: Array,
    affine: tuple[Array | None, Array | None],
    running: tuple[Array | None, Array | None],
    inverse: Array,
    scale: Array,
    shift: Array,
    *numbers: float,
) -> Iterator[Launch]:
    arrays = [present(a, mean) for a in (*affine, *running)]
    how = flags(affine[0] is not None, running[0] is not None)
    yield _vectors("statistics", (mean, variance, *arrays, inverse, scale, shift), numbers, how)


def statistics_gradients(
    step: Any,
    sums: tuple[Array, Array],
    inverse: Array,
    mean: Array,
    scale: Array,
    affine: tuple[Array | None, Array | None],
    slope: Array,
    offset: Array,
    n: int,
) -> Iterator[Launch]:
    arrays = (*sums, inverse, mean, scale, *(present(a, slope) for a in affine), slope, offset)
    yield _vectors("statistics_gradients", arrays, (n,), flags(affine[0] is not None))


def normalise_samples(
    step: Any,
    x: Array,
    affine: tuple[Array | None, Array | None],
    normal: Array,
    inverse: Array,
    y: Array,
    means: Callable,
    groups: int,
    epsilon: float,
) -> Iterator[Launch]:
    arrays = x, *(present(a, x) for a in affine), normal, inverse, y
    yield _samples("normalise_samples", x.shape, arrays, groups, inverse, affine[0], reals(x.dtype, epsilon))


def samples_gradient(
    step: Any, dy: Array, normal: Array, inverse: Array, gamma: Array | None, dx: Array, means: Callable, groups: int
) -> Iterator[Launch]:
    yield _samples("samples_gradient", dy.shape, (dy, normal, inverse, present(gamma, dy), dx), groups, inverse, gamma)


def _rows(x: Array, columns: Array) -> tuple[int, int]:
    size = math.prod(x.shape)
    return size // len(columns), len(columns)


def _columns(entry: str, shape: tuple[int, int], arrays: tuple, fields: int = 0, step: Any = None, *how: Any) -> Launch:
    """A launch over the columns of matrices of this shape; with so many ``fields`` of each column that blocks add up."""
    grid, block = column_blocks(*shape)
    memory = (step.scratch((grid[1], fields, shape[1])), counters(step, grid[0])) if fields else ()
    code = source(COLUMNS, arrays[0].dtype.name)
    return Launch(code, entry, grid, block, (*arrays, *memory, *integers(*shape), *how))


def _vectors(entry: str, arrays: tuple, numbers: tuple, how: Any) -> Launch:
    dtype, n = arrays[0].dtype, len(arrays[0])
    args = *arrays, *integers(n), *reals(dtype, *numbers), how
    return Launch(source(COLUMNS, dtype.name), entry, (-(-n // BLOCK),), (BLOCK, 1), args)


def _samples(
    entry: str, shape: tuple[int, ...], arrays: tuple, groups: int, inverse: Array, gamma: Array | None, numbers: tuple = ()
) -> Launch:
    samples, pixels, channels = (shape[0], math.prod(shape[1:-1]), shape[-1])
    grid, block = row_blocks(samples * groups, pixels * channels // groups)
    sizes = integers(samples, pixels, channels, groups)
    how = flags(gamma is not None, inverse.ndim == 3)  # a number for each channel, where the view has three axes
    return Launch(source(SAMPLES, arrays[0].dtype.name), entry, grid, block, (*arrays, *sizes, *numbers, how))
