"""An NVIDIA GPU: CuPy, which the resolver imports and hands in (this file must load without it)."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from types import ModuleType
from typing import Any

import numpy as np

from xpnet.backends import ledger, philox
from xpnet.backends.device import Array, Device, DeviceMismatch, DTypeLike
from xpnet.backends.lanes import Like, StreamLane
from xpnet.backends.rows import RowKernel
from xpnet.pointwise import Kernel
from xpnet.pointwise.cuda import elementwise

PHILOX = """
// Philox4x64-10 (Salmon et al., SC 2011, table 2): c holds the counter, and then the four random words.
__device__ inline void philox4x64_10(unsigned long long c[4], unsigned long long k0, unsigned long long k1) {
    for (int round = 0; round < 10; ++round) {
        unsigned long long low0 = 0xD2E7470EE14C6C93ull * c[0], high0 = __umul64hi(0xD2E7470EE14C6C93ull, c[0]);
        unsigned long long low1 = 0xCA5A826395121157ull * c[2], high1 = __umul64hi(0xCA5A826395121157ull, c[2]);
        c[0] = high1 ^ c[1] ^ k0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ k1;
        c[3] = low0;
        k0 += 0x9E3779B97F4A7C15ull;
        k1 += 0xBB67AE8584CAA73Bull;
    }
}
"""

# One thread makes one block, so eight elements; the first and the last block may stick out of the array.
FILL_BLOCK = """
unsigned long long c[4] = {first_block + i, stream, step, 0};
philox4x64_10(c, key, 0);
for (int half = 0; half < 8; ++half) {
    ptrdiff_t element = 8 * i + half - skip;
    unsigned int bits = c[half / 2] >> 32 * (half % 2);
    if (0 <= element && element < count) out[element] = (bits >> 8) * (1.0f / 16777216.0f);
}
"""

#: The arguments of ``cupy.ElementwiseKernel`` for :meth:`CUDA.uniform`; C++ plain enough for g++, which tests it without a GPU.
UNIFORM_KERNEL: dict[str, Any] = {
    "in_params": "uint64 key, uint64 stream, uint64 step, uint64 first_block, int64 skip, int64 count",
    "out_params": "raw float32 out",
    "operation": FILL_BLOCK,
    "name": "xpnet_uniform",
    "preamble": PHILOX,
    "no_return": True,
}


#: The same for a step whose number is in the device's memory, as a captured step needs it.
UNIFORM_OF_STEP_KERNEL = {
    **UNIFORM_KERNEL,
    "in_params": UNIFORM_KERNEL["in_params"].replace("uint64 step", "raw uint64 step"),
    "operation": FILL_BLOCK.replace("stream, step,", "stream, step[0],"),
    "name": "xpnet_uniform_of_step",
}


#: The arguments of ``cupy.ReductionKernel`` for :meth:`CUDA.dot`. ``cupy.dot`` multiplies into a temporary of full size.
DOT_KERNEL = {
    "in_params": "T x, T y",
    "out_params": "T out",
    "map_expr": "x * y",
    "reduce_expr": "a + b",
    "post_map_expr": "out = a",
    "identity": "0",
    "name": "xpnet_dot",
}


TF32_CAPABILITY = 80  # CuPy's way of writing 8.0


class CUDA(Device):
    """One NVIDIA GPU, on the current stream of the calling thread."""

    kind = "cuda"
    fuses = True  # not run on a GPU yet: the kernels are compiled by NVRTC, and computed by g++'s

    def __init__(self, index: int, cupy: ModuleType):
        super().__init__(f"cuda:{index}")
        self.index = index
        self.xp = cupy
        self._kernels: dict[Kernel, Callable] = {}
        self._row_kernels: dict[tuple[str, str], Callable] = {}
        self._uniform = cupy.ElementwiseKernel(**UNIFORM_KERNEL)
        ledger.watch_cuda(cupy)

    def put(self, a: Any, dtype: DTypeLike | None = None) -> Array:
        if not isinstance(a, self.xp.ndarray):
            a = np.asarray(a, dtype)  # cast on the host: float64 data would cross the bus at twice the size
        elif not self.owns(a):
            raise DeviceMismatch(
                f"device({self.name!r}).put got an array of cuda:{a.device.id}: "
                f"bring it to the host with device('cuda:{a.device.id}').get first"
            )
        with self.use(), ledger.during("device.put", asked=True):
            return self.xp.asarray(a, dtype)

    def get(self, a: Array) -> np.ndarray:
        with self.use(), ledger.during("device.get", asked=True):
            return a.get()

    def synchronize(self) -> None:
        with self.use(), ledger.during("device.synchronize", asked=True):
            self.xp.cuda.get_current_stream().synchronize()

    def idle(self) -> bool:
        with self.use():
            return self.xp.cuda.get_current_stream().done

    def use(self) -> contextlib.AbstractContextManager:
        # A new object each time: it remembers the device to return to, so one shared by threads would mix them up.
        return self.xp.cuda.Device(self.index)

    @functools.cached_property
    def no_tf32(self) -> str:  # type: ignore[override]
        capability = self.xp.cuda.Device(self.index).compute_capability
        return "" if int(capability) >= TF32_CAPABILITY else f"its compute capability is {capability}, below {TF32_CAPABILITY}"

    @contextlib.contextmanager
    def tf32(self) -> Iterator[None]:
        """For products of up to two axes (CuPy's others have no TF32), and for all threads of the process while it lasts.

        It takes CuPy's private ``set_compute_type``, as the environment variable CUPY_TF32 does. Not run on a GPU yet.
        """
        from cupy._core._routines_linalg import COMPUTE_TYPE_TF32, get_compute_type, set_compute_type

        before = get_compute_type("f")
        with self.use():  # it looks at the current device
            set_compute_type("f", COMPUTE_TYPE_TF32)
        try:
            yield
        finally:
            set_compute_type("f", before)

    def owns(self, a: Any) -> bool:
        return isinstance(a, self.xp.ndarray) and a.device.id == self.index

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        with self.use():
            return self.xp.empty(shape, dtype)  # CuPy's pool hands out multiples of 512 bytes

    def gather(self, a: Array, rows: Array, out: Array) -> Array:
        with self.use():
            return self.xp.take(a, rows, axis=0, out=out)

    def lane(self, like: Like) -> StreamLane:
        from cupyx import empty_pinned

        with self.use():
            return StreamLane(self, like, [empty_pinned(shape, dtype) for shape, dtype in like], self._feeding)

    @functools.cached_property
    def _feeding(self) -> Any:
        """The stream on which rows are copied here."""
        return self.xp.cuda.Stream(non_blocking=True)

    @functools.cached_property
    def _dot(self) -> Callable:
        return self.xp.ReductionKernel(**DOT_KERNEL)

    def dot(self, a: Array, b: Array, out: Array) -> Array:
        with self.use():
            return self._dot(a, b, out)

    def pointwise(self, kernel: Kernel, arrays: Sequence[Array], numbers: Sequence[Any] = ()) -> None:
        run = self._kernels.get(kernel)
        if run is None:
            run = self._kernels[kernel] = self.xp.ElementwiseKernel(**elementwise(kernel))
        with self.use():
            run(*(arrays[i] for i in kernel.reads), *numbers, *(arrays[i] for i in kernel.writes))

    def over_rows(self, kernel: RowKernel, step: Any, *args: Any) -> None:
        if not kernel.fits(args):
            kernel.twin(step, *args)
            return
        with self.use():
            for launch in kernel.launches(step, *args):
                key = launch.source, launch.entry
                run = self._row_kernels.get(key)
                if run is None:
                    run = self._row_kernels[key] = self.xp.RawKernel(launch.source, launch.entry)
                run(launch.grid, launch.block, launch.given)

    @functools.cached_property
    def _uniform_of_step(self) -> Callable:
        return self.xp.ElementwiseKernel(**UNIFORM_OF_STEP_KERNEL)

    def uniform(self, key: int, stream: int, step: Any, offset: int, out: Array) -> Array:
        fill = self._uniform if isinstance(step, int) else self._uniform_of_step
        block, skip = divmod(offset, philox.VALUES_PER_BLOCK)
        blocks = -(-(skip + out.size) // philox.VALUES_PER_BLOCK)
        with self.use():  # block + 1: NumPy increments the counter before it produces anything
            fill(key, stream, step, block + 1, skip, out.size, out, size=blocks)
        return out

    def check_range(self, indices: Array, stop: int, ignore: int | None = None) -> tuple[int, int] | None:
        return None  # the answer would cost a synchronisation
