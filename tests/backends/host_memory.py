"""The real CuPy without a GPU: arrays over host memory, good for everything that CuPy decides before it needs a device."""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np
import pytest

try:
    from cupy.cuda.runtime import CUDARuntimeError as NoDevice  # what stops CuPy where there is no GPU
except ImportError:

    class NoDevice(Exception):  # type: ignore[no-redef]
        """Never raised: there is no CuPy here."""


def cupy_without_a_gpu() -> ModuleType:
    """CuPy; skips where it is not installed, and where a GPU would run its kernels on host addresses."""
    cupy = pytest.importorskip("cupy")
    try:
        gpus = cupy.cuda.runtime.getDeviceCount()
    except NoDevice:
        return cupy
    if gpus:
        pytest.skip("a GPU is here: kernels would run on the addresses of host memory")
    return cupy


def over_host_memory(cupy: ModuleType, a: np.ndarray) -> Any:
    """A ``cupy.ndarray`` of the same shape and dtype, whose memory is the C-contiguous host array's own."""
    memory = cupy.cuda.UnownedMemory(a.ctypes.data, max(a.nbytes, 1), a, device_id=0)
    return cupy.ndarray(a.shape, a.dtype, cupy.cuda.MemoryPointer(memory, 0))
