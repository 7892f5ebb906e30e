"""What every backend offers to the rest of xpnet: arrays in, arrays out, and the few operations that differ by device."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

if TYPE_CHECKING:
    from xpnet.backends.lanes import Lane, Like
    from xpnet.backends.rows import RowKernel
    from xpnet.pointwise import Kernel

Array = Any  # numpy.ndarray, cupy.ndarray or the simulated GPU's array: CuPy ships no types
DTypeLike = Any


#: Bits of a quiet NaN for elements of 2, 4 and 8 bytes; a CPU's arithmetic hands them on, and makes no such NaN by itself.
#: (The first is the second as half precision has it.)
UNWRITTEN = {2: 0x7E06, 4: 0x7FC0DEAD, 8: 0x7FF8DEADDEADDEAD}


class DeviceMismatch(TypeError):
    """An array of one device reached an operation of another."""


class Device:
    """A place where arrays live and the namespace ``xp`` that computes on them.

    Made by :func:`xpnet.device`; compare with ``==``. A device holds no state of a network, so
    a CPU model and a GPU model live side by side in one process.

    Attributes: ``name`` ("cpu", "cpu-fast", "cuda:0", "sim", "sim:1"), ``kind`` ("cpu", "cuda", "sim"),
    ``xp`` (the array namespace).
    """

    kind: ClassVar[str]
    xp: Any
    #: Elements that an elementwise chain takes at a time: a cache-sized block on a CPU, None (all) on a GPU.
    block_size: ClassVar[int | None] = None
    #: Whether layers whose samples do not interact take a batch in cache-sized blocks, shared among threads.
    takes_blocks: ClassVar[bool] = False
    #: Whether training steps are recorded and replayed.
    records: ClassVar[bool] = False
    #: The threads, where it does.
    workers: Any = None
    #: Whether bodies that work element by element are compiled to one kernel each, which :meth:`pointwise` runs.
    fuses: ClassVar[bool] = False
    #: Whether fresh and re-used memory, and gradients before a backward pass, are filled with NaN.
    poisons: ClassVar[bool] = False

    #: Why float32 products cannot be computed in TF32 (:meth:`tf32`); empty where they can.
    no_tf32 = "only a GPU's tensor cores have it"
    #: Bytes that a convolution gathers at a time.
    workspace_bytes: ClassVar[int] = 1 << 28

    def __init__(self, name: str):
        self.name = name
        self._constants: dict[tuple, Array] = {}

    def put(self, a: Any, dtype: DTypeLike | None = None) -> Array:
        """Copy a host array (or anything ``numpy.asarray`` takes) here; an array that is here already is returned as it is."""
        raise NotImplementedError

    def get(self, a: Array) -> np.ndarray:
        """Copy an array of this device to the host, as a NumPy array of the caller's own."""
        raise NotImplementedError

    def synchronize(self) -> None:
        """Wait until all work queued on this device has ended."""
        raise NotImplementedError

    def idle(self) -> bool:
        """Whether all work queued by this thread has ended, without waiting for it."""
        raise NotImplementedError

    def use(self) -> contextlib.AbstractContextManager:
        """Make this the current device of the calling thread (matters where there are several GPUs)."""
        raise NotImplementedError

    def tf32(self) -> contextlib.AbstractContextManager:
        """In which products of two float32 matrices round them to TF32: 8 bits of exponent, 10 of mantissa."""
        raise NotImplementedError(f"{self.name} computes no products in TF32: {self.no_tf32}")

    def owns(self, a: Any) -> bool:
        """Whether ``a`` is an array of this very device."""
        raise NotImplementedError

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> Array:
        """Fresh uninitialised memory, 64-byte aligned; its views keep the returned array itself as their ``base``."""
        raise NotImplementedError

    def gather(self, a: Array, rows: Array, out: Array) -> Array:
        """``out[i] = a[rows[i]]`` along the first axis, with no temporary; ``rows`` are known to be in range."""
        raise NotImplementedError

    def lane(self, like: Like) -> Lane:
        """Memory for rows on their way from the host (:mod:`xpnet.backends.lanes`): arrays of these shapes and dtypes."""
        raise NotImplementedError

    def dot(self, a: Array, b: Array, out: Array) -> Array:
        """Sum of the products of two vectors into the 0-d array ``out``, with no temporary of their size."""
        raise NotImplementedError

    def uniform(self, key: int, stream: int, step: Any, offset: int, out: Array) -> Array:
        """Fill ``out`` (contiguous float32) with uniform numbers in [0, 1), the same bits on every device.

        ``step`` is a number, or on a GPU a uint64 array of one in its memory.

        Philox4x64-10 with key (key, 0) and counter (block, stream, step, 0); ``offset`` is the
        index of the first element in the sequence. Source: Salmon et al., SC 2011.
        """
        raise NotImplementedError

    def check_range(self, indices: Array, stop: int, ignore: int | None = None) -> tuple[int, int] | None:
        """The smallest and largest index where some lie outside ``[0, stop)``, those equal to ``ignore`` aside, else None.

        Checked where it costs no synchronisation (CPU, simulated GPU); a real GPU answers None.
        """
        raise NotImplementedError

    def poison(self, a: Array) -> None:
        """Fill float memory with NaN, so that reading it before it is written shows."""
        if a.dtype.kind == "f":
            a.fill(np.nan)

    def mark_unwritten(self, a: Array) -> None:
        """Fill float memory with a NaN of its own bits, by which :meth:`is_unwritten` knows it again."""
        a.view(f"uint{8 * a.itemsize}").fill(UNWRITTEN[a.itemsize])

    def is_unwritten(self, a: Array) -> bool:
        """Whether some element still is as marked, or was computed from one that was; waits for the device.

        (A real GPU's float32 arithmetic makes NaN of its own, so that there computed ones are not told apart.)
        """
        bits = a.view(f"uint{8 * a.itemsize}") & ((1 << 8 * a.itemsize - 1) - 1)  # whatever the sign
        return bool((bits == UNWRITTEN[a.itemsize]).any())

    def block_count(self, n: int, row_bytes: int, weight_bytes: int) -> int:
        """In how many blocks to take ``n`` rows of this size, which layers with so many bytes of weights work on."""
        raise NotImplementedError

    def shared_matmul(self, a: Array, b: Array, out: Array) -> Array:
        """Product of two matrices, shared among the workers where there are any."""
        return self.xp.matmul(a, b, out=out)

    def relu(self, a: Array, out: Array) -> Array:
        """max(0, a)."""
        return self.xp.maximum(a, 0, out=out)

    def pointwise(self, kernel: Kernel, arrays: Sequence[Array], numbers: Sequence[Any] = ()) -> None:
        """Run a kernel over arrays of one shape (and rows); ``numbers`` are floats or 0-d arrays, read when it runs."""
        kernel.evaluate(arrays, numbers)

    def over_rows(self, kernel: RowKernel, step: Any, *args: Any) -> None:
        """A computation with sums over rows or columns; on a GPU its kernel, for which the twin in NumPy stands here."""
        kernel.twin(step, *args)

    def repeats(self, rows: int, width: int) -> int:
        """How many rows of a matrix to take as one where a vector is added to each."""
        return 1

    def preferred_convolution(self, geometry: Any, suited: list[str]) -> str:
        """The name of the best of the suited methods (:mod:`xpnet.layers.convolution`)."""
        return next(name for name in suited if name != "winograd")

    def arange(self, n: int) -> Array:
        """The int64 vector 0, 1, ..., n-1, made once and shared: do not write to it."""
        return self._once(("arange", n), lambda: self.xp.arange(n, dtype="int64"))

    def row_starts(self, rows: int, width: int) -> Array:
        """Where the rows of a matrix begin, counted in elements; shared: do not write to it."""
        return self._once(("row starts", rows, width), lambda: self.xp.arange(0, rows * width, width, dtype="int64"))

    def constant(self, values: tuple[float, ...], dtype: DTypeLike) -> Array:
        """A vector of these numbers, copied to the device once and shared: do not write to it."""
        return self._once((values, dtype), lambda: self.put(np.array(values), dtype))

    def _once(self, key: tuple, make: Callable[[], Array]) -> Array:
        if key not in self._constants:
            with self.use():
                self._constants[key] = make()
        return self._constants[key]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"device({self.name!r})"

    def __deepcopy__(self, memo: dict) -> Device:
        return self

    def __reduce__(self) -> tuple:
        from xpnet.backends.resolve import device_or_cpu

        return device_or_cpu, (self.name,)
