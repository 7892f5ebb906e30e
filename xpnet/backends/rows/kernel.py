"""What such a kernel is, and the CUDA C++ that all of them begin with."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Array = Any


class Unused(NamedTuple):
    """An array in the place of one that there is not; the kernel is told not to look at it."""

    array: Array


class Launch(NamedTuple):
    """One launch: ``entry`` of ``source`` over a grid of blocks.

    ``args`` are arrays of the device, :class:`Unused` ones, and NumPy scalars of the very types of the parameters.
    """

    source: str
    entry: str
    grid: tuple[int, ...]
    block: tuple[int, ...]
    args: tuple[Any, ...]

    @property
    def counted(self) -> list[Any]:
        """The arrays that it reads and writes, and the numbers it is given."""
        return [a.item() if isinstance(a, np.generic) else a for a in self.args if type(a) is not Unused]

    @property
    def given(self) -> tuple[Any, ...]:
        return tuple(a.array if type(a) is Unused else a for a in self.args)


class RowKernel:
    """A function of a step and of arrays that it writes to, called as ``kernel(step, *args)``; made by :func:`fused`.

    ``twin(step, *args)`` is its body against ``step.xp``; ``launches(step, *args)`` gives what a GPU does in its place,
    on arrays that lie in C order: where they do not (:meth:`fits`) the twin computes there too.
    """

    def __init__(self, twin: Callable[..., None], launches: Callable[..., Iterator[Launch]]):
        functools.update_wrapper(self, twin)
        self.twin, self.launches, self.name = twin, launches, twin.__name__

    def __call__(self, step: Any, *args: Any) -> None:
        step.device.over_rows(self, step, *args)

    def fits(self, args: tuple) -> bool:
        return all(
            self.fits(a) if type(a) is tuple else a.flags.c_contiguous for a in args if type(a) is tuple or hasattr(a, "flags")
        )


def fused(launches: Callable[..., Iterator[Launch]]) -> Callable[[Callable[..., None]], RowKernel]:
    """Make a :class:`RowKernel` of a function's body in ``step.xp`` and of the launches that take its place on a GPU."""
    return lambda twin: RowKernel(twin, launches)


REALS = {"float32": "float", "float64": "double"}
BLOCK = 256  # threads
BLOCKS = 1024  # that fill a large GPU several times over

#: A block's threads are a power of two. What blocks have to add up the last one does, in order: the same bits each time.
HEAD = """
typedef {real} T;

struct Sum {{ __device__ T operator()(T a, T b) const {{ return a + b; }} }};
struct Max {{ __device__ T operator()(T a, T b) const {{ return fmax(a, b); }} }};

// Over the threads of one threadIdx.y: a power of two up to 32, or a block of whole warps.
template <class Operation>
__device__ inline T across(T value, Operation operation) {{
    const int lanes = blockDim.x < 32 ? blockDim.x : 32;
    for (int n = lanes / 2; n > 0; n /= 2) value = operation(value, __shfl_xor_sync(0xffffffffu, value, n));
    if (blockDim.x > 32) {{
        __shared__ T warps[32];
        __syncthreads();
        if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = value;
        __syncthreads();
        value = warps[0];
        for (int w = 1; w < blockDim.x / 32; ++w) value = operation(value, warps[w]);
    }}
    return value;
}}

__device__ inline T block_sum(T value) {{
    __shared__ T terms[1024];
    const int mine = threadIdx.y * blockDim.x + threadIdx.x;
    __syncthreads();
    terms[mine] = value;
    for (int n = blockDim.x * blockDim.y / 2; n > 0; n /= 2) {{
        __syncthreads();
        if (mine < n) terms[mine] += terms[mine + n];
    }}
    __syncthreads();
    return terms[0];
}}

// Whether this is the last of the blocks to come here: it sees what the others have written. The counter ends as it began, 0.
__device__ inline bool is_last(int* counter, int blocks) {{
    __shared__ bool last;
    __threadfence();
    __syncthreads();
    if (threadIdx.x == 0 && threadIdx.y == 0) {{
        last = atomicAdd(counter, 1) == blocks - 1;
        if (last) *counter = 0;
    }}
    __syncthreads();
    __threadfence();
    return last;
}}

// The sum over all threads of all blocks, times a factor.
__device__ inline void grid_sum(T mine, T factor, T* out, volatile T* parts, int* counter) {{
    const int thread = threadIdx.y * blockDim.x + threadIdx.x;
    const T sum = block_sum(mine);
    if (thread == 0) parts[blockIdx.x] = sum;
    if (!is_last(counter, gridDim.x)) return;
    T rest = 0;
    for (int block = thread; block < gridDim.x; block += blockDim.x * blockDim.y) rest += parts[block];
    rest = block_sum(rest);
    if (thread == 0) *out = rest * factor;
}}
"""


@functools.cache
def source(body: str, dtype: str, **types: str) -> str:
    """CUDA C++ of a kernel in this precision; ``types`` are the names that its body has for other types."""
    names = "".join(f"typedef {c_type} {name};\n" for name, c_type in types.items())
    return names + HEAD.format(real=REALS[dtype]) + body


def power_of_two(n: int, most: int) -> int:
    """The smallest that is not below ``n``, but at most ``most``, which is one."""
    return min(1 << max(n - 1, 0).bit_length(), most)


def counters(step: Any, n: int) -> Array:
    """Memory of ``n`` counters at 0: each launch leaves it so."""
    return step.lasting(("counters", n), (n,))


def row_blocks(rows: int, length: int) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Grid and block for rows of this length: some of a warp's threads take one, of long rows all of a block's."""
    lanes = power_of_two(length, 32) if length <= 1024 else power_of_two(length // 16, 1024)
    height = 128 // lanes if lanes <= 32 else 1
    return (max(1, min(-(-rows // height), BLOCKS)),), (lanes, height)


def column_blocks(rows: int, columns: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """Grid and block for columns: threads side by side take neighbouring ones, and blocks some rows each."""
    width = power_of_two(columns, 32)
    height, tiles = BLOCK // width, -(-columns // width)
    return (tiles, max(1, min(-(-rows // (4 * height)), BLOCKS // tiles))), (width, height)


def integers(*values: int) -> tuple[np.int64, ...]:
    return tuple(map(np.int64, values))


def reals(dtype: Any, *values: float) -> tuple[np.generic, ...]:
    return tuple(map(np.dtype(dtype).type, values))


def flags(*conditions: bool) -> np.int32:
    """Bits from the lowest on."""
    return np.int32(sum(1 << i for i, condition in enumerate(conditions) if condition))


def present(array: Array | None, instead: Array) -> Array | Unused:
    """The array; where there is none, another one in its place."""
    return Unused(instead) if array is None else array
