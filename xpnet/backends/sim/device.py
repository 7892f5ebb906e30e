"""The simulated GPU as a device of xpnet."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.arenas import Arena
from xpnet.backends import ledger, philox
from xpnet.backends.cpu import CPU, aligned_empty
from xpnet.backends.device import Device, DeviceMismatch, DTypeLike
from xpnet.backends.lanes import CopyingLane, Like
from xpnet.backends.resolve import resolve
from xpnet.backends.rows import RowKernel
from xpnet.backends.sim.array import fresh, ndarray, operand, upload
from xpnet.backends.sim.memory import poisoned
from xpnet.backends.sim.namespace import xp
from xpnet.backends.sim.place import PLACES, current
from xpnet.pointwise import Kernel
from xpnet.pointwise.kernel import MASK
from xpnet.step import Pass


class Sim(Device):
    """NumPy behind CuPy's own rules; what a GPU would have done goes into :func:`xpnet.ledger`.

    It has no clock and no streams, and float32 denormals do not flush to zero as they do in CuPy's kernels.
    """

    kind = "sim"
    no_tf32 = ""
    xp = xp
    fuses = poisons = True

    def __init__(self, index: int = 0):
        if index not in range(len(PLACES)):
            raise ValueError(f"there are {len(PLACES)} simulated GPUs, 0 to {len(PLACES) - 1}; got index {index!r}")
        self.place = PLACES[index]
        super().__init__(self.place.name)

    def put(self, a: Any, dtype: DTypeLike | None = None) -> ndarray:
        self._refuse_foreign(a)
        with self.place, ledger.during("device.put", asked=True):
            if not isinstance(a, ndarray):
                return upload(a, dtype)
            return a if dtype is None else xp.asarray(a, dtype)

    def get(self, a: ndarray) -> np.ndarray:
        self._refuse_foreign(a)
        if not isinstance(a, ndarray):
            raise DeviceMismatch(f"device({self.name!r}).get takes an array of this device, not {type(a)}")
        with ledger.during("device.get", asked=True):
            return a.get()

    def _refuse_foreign(self, a: Any) -> None:
        if isinstance(a, ndarray) and a.device is not self.place:
            raise DeviceMismatch(
                f"device({self.name!r}) was given an array of device({a.device.name!r}): get() it there, then put() it here"
            )
        if not isinstance(a, ndarray) and hasattr(a, "__cuda_array_interface__"):
            raise DeviceMismatch(f"device({self.name!r}) was given an array of a real GPU: get() it there first")

    def synchronize(self) -> None:
        with ledger.during("device.synchronize", asked=True):
            ledger.synchronised("device.synchronize")

    def idle(self) -> bool:
        return ledger.idle()

    def use(self) -> contextlib.AbstractContextManager:
        return self.place

    @contextlib.contextmanager
    def tf32(self) -> Iterator[None]:
        before, current.tf32 = current.tf32, True
        try:
            yield
        finally:
            current.tf32 = before

    def owns(self, a: Any) -> bool:
        return isinstance(a, ndarray) and a.device is self.place

    def empty(self, shape: tuple[int, ...], dtype: DTypeLike) -> ndarray:
        return fresh(poisoned(aligned_empty(shape, dtype)), self.place)

    def poison(self, a: ndarray) -> None:
        poisoned(a._a)  # uncounted: a GPU does nothing of the kind

    def mark_unwritten(self, a: ndarray) -> None:
        super().mark_unwritten(a._a)  # uncounted, like poison

    def is_unwritten(self, a: ndarray) -> bool:
        return super().is_unwritten(a._a)

    def gather(self, a: ndarray, rows: ndarray, out: ndarray) -> ndarray:
        with self.place:
            return xp.take(a, rows, axis=0, out=out)

    def lane(self, like: Like) -> CopyingLane:
        return CopyingLane(self, like, [aligned_empty(shape, dtype) for shape, dtype in like])

    def dot(self, a: ndarray, b: ndarray, out: ndarray) -> ndarray:
        with self.place:
            first, second = operand(a, "dot"), operand(b, "dot")
            np.dot(first, second, out=operand(out, "dot"))
        ledger.launched("dot", first, second, flops=2 * first.size)
        return out

    def pointwise(self, kernel: Kernel, arrays: Sequence[ndarray], numbers: Sequence[Any] = ()) -> None:
        with self.place:
            values = [operand(a, kernel.name) for a in arrays]
            scalars = [operand(n, kernel.name) for n in numbers]
        inputs, outputs = ([values[i] for i in chosen] for chosen in (kernel.reads, kernel.writes))
        _check_kernel(kernel, values, scalars)
        with np.errstate(all="ignore"):
            kernel.evaluate(values, scalars)
        ledger.launched(kernel.name, *inputs, *outputs, *scalars)

    def over_rows(self, kernel: RowKernel, step: Any, *args: Any) -> None:
        """Computes as the CPU does, and counts what a GPU would launch."""
        if not kernel.fits(args):
            kernel.twin(step, *args)
            return
        with self.place:
            values = [on_host(a, kernel.name) for a in args]
        with np.errstate(all="ignore"):
            kernel.twin(HostPass.of(step.dtype), *values)
        for launch in kernel.launches(step, *args):
            ledger.launched(launch.entry, *(on_host(a, launch.entry) for a in launch.counted))

    def uniform(self, key: int, stream: int, step: Any, offset: int, out: ndarray) -> ndarray:
        with self.place:
            values, number = operand(out, "uniform"), operand(step, "uniform")
        if not values.flags.c_contiguous or values.dtype != np.float32:
            raise ValueError(f"uniform fills contiguous float32, not {values.dtype} with strides {values.strides}")
        philox.fill_uniform(key, stream, int(number), offset, values)
        ledger.launched("uniform", values, number)
        return out

    def check_range(self, indices: ndarray, stop: int, ignore: int | None = None) -> tuple[int, int] | None:
        """Looks at the values, uncounted: no GPU could do this without waiting, which is why the simulator does."""
        return CPU.check_range(self, indices._a, stop, ignore)  # type: ignore[arg-type]


class HostPass(Pass):
    """What the NumPy form of a kernel asks of a pass: memory and sums of the host."""

    _here = threading.local()

    @classmethod
    def of(cls, dtype: DTypeLike) -> HostPass:
        """This thread's, with memory that is used again."""
        name = np.dtype(dtype).name
        found = getattr(cls._here, name, None)
        if found is None:
            found = cls(dtype)
            setattr(cls._here, name, found)
        found.arena.scratch.taken = 0
        return found

    def __init__(self, dtype: DTypeLike):
        self.device, self.xp, self.dtype = resolve("cpu").device, np, np.dtype(dtype)
        self.arena = Arena(self.device, dtype)
        self.keep, self.scratch = self.arena.empty, self.arena.scratch.empty


def on_host(x: Any, function: str) -> Any:
    """An argument with the memory of device arrays in their place, in a tuple too."""
    if type(x) is tuple:
        return tuple(on_host(item, function) for item in x)
    return operand(x, function) if isinstance(x, ndarray | np.ndarray) else x


def _check_kernel(kernel: Kernel, arrays: Sequence[np.ndarray], numbers: Sequence[Any]) -> None:
    """CuPy's rules: types are those of the kernel's parameters, what is written to has the shape of all together."""
    types = [np.dtype(bool if kind == MASK else kernel.dtype) for kind in kernel.arrays]
    types += [np.dtype(kernel.dtype)] * len(numbers)
    for a, dtype in zip((*arrays, *numbers), types, strict=True):
        if isinstance(a, np.ndarray) and a.dtype != dtype:
            raise TypeError(f"Type is mismatched in kernel {kernel.name}: {a.dtype} for {dtype}")
    inputs = [arrays[i] for i in kernel.reads] + [n for n in numbers if isinstance(n, np.ndarray)]
    shape = np.broadcast_shapes(*(a.shape for a in inputs), arrays[kernel.writes[0]].shape)
    if any(arrays[i].shape != shape for i in kernel.writes):
        raise ValueError("Out shape is mismatched")
