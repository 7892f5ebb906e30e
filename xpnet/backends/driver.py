"""What the NVIDIA driver says of itself, asked of its library through ctypes, so that it works without CuPy.

Nothing here raises: whatever is wrong with a driver becomes a phrase.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
KERNEL_MODULE = Path("/proc/driver/nvidia/version")  # Linux only

NO_DEVICE, NOT_FOUND = 100, 500  # CUDA_ERROR_NO_DEVICE, CUDA_ERROR_NOT_FOUND
CAPABILITY_MAJOR, CAPABILITY_MINOR = 75, 76  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR, _MINOR
MEANINGS = {
    3: "it cannot be initialised",
    34: "it is the stub of a CUDA toolkit, not a driver",
    NO_DEVICE: "it sees no GPU",
    304: "a call of the operating system failed, often because /dev/nvidia* is missing or closed to this user",
    NOT_FOUND: "it lacks a function that every driver has",
    802: "the GPUs are not ready, often because the fabric manager does not run",
    803: "its library and its kernel module are of different versions",
    804: "its library is too new for this GPU",
    999: "it reports an unknown error",
}


class Driver(NamedTuple):
    """The driver of this machine.

    ``cuda`` is the newest CUDA that it supports (1000 * major + 10 * minor), ``kernel`` the version of
    its kernel module, ``gpus`` a pair of name and compute capability for each GPU that this process may see.
    ``problem`` says why there is no GPU; ``broken`` tells a fault from a machine that has no driver or no GPU.
    """

    cuda: int | None = None
    kernel: str | None = None
    gpus: tuple[tuple[str, str], ...] = ()
    problem: str | None = None
    broken: bool = False


def ask() -> Driver:
    """Load the driver's library, initialise it and ask for its version and its GPUs."""
    kernel = kernel_module()
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        if isinstance(error, FileNotFoundError) or "No such file" in str(error):  # Windows, Linux
            return Driver(None, kernel, problem=f"{LIBRARY} was not found")
        return Driver(None, kernel, problem=f"{LIBRARY} cannot be loaded ({error})", broken=True)
    cuda, _ = _number(library, "cuDriverGetVersion")
    status = _call(library, "cuInit", ctypes.c_uint(0))
    count, counted = _number(library, "cuDeviceGetCount") if status == 0 else (None, status)
    if not count:
        status = counted or NO_DEVICE
        return Driver(cuda, kernel, problem=_meaning(status), broken=status != NO_DEVICE)
    return Driver(cuda, kernel, tuple(_gpu(library, index) for index in range(count)))


def kernel_module() -> str | None:
    """The version of the NVIDIA kernel module, "580.95.05"; None where there is none."""
    try:
        text = KERNEL_MODULE.read_text(errors="replace")
    except OSError:
        return None
    found = re.search(r"NVRM version:.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else "unknown"


def cuda_version(number: int) -> str:
    """CUDA's way to write a version, 12080, as people read it, "12.8"."""
    return f"{number // 1000}.{number % 1000 // 10}"


def _gpu(library: ctypes.CDLL, index: int) -> tuple[str, str]:
    """Name and compute capability of one GPU."""
    name = ctypes.create_string_buffer(256)
    device, failed = _number(library, "cuDeviceGet", ctypes.c_int(index))
    if failed or _call(library, "cuDeviceGetName", name, ctypes.c_int(len(name)), ctypes.c_int(device)):
        return "unknown", "unknown"
    major, _ = _number(library, "cuDeviceGetAttribute", ctypes.c_int(CAPABILITY_MAJOR), ctypes.c_int(device))
    minor, _ = _number(library, "cuDeviceGetAttribute", ctypes.c_int(CAPABILITY_MINOR), ctypes.c_int(device))
    return name.value.decode(errors="replace"), "unknown" if None in (major, minor) else f"{major}.{minor}"


def _number(library: ctypes.CDLL, function: str, *arguments: Any) -> tuple[Any, int]:
    """What a function of the driver writes to its first argument, an int (None where it fails), and its status."""
    value = ctypes.c_int()
    status = _call(library, function, ctypes.byref(value), *arguments)
    return (value.value if status == 0 else None), status


def _call(library: ctypes.CDLL, function: str, *arguments: Any) -> int:
    """The status of a call; a function that is not there counts as CUDA_ERROR_NOT_FOUND."""
    found: Callable[..., int] | None = getattr(library, function, None)
    return NOT_FOUND if found is None else found(*arguments)


def _meaning(status: int) -> str:
    return f"{MEANINGS.get(status, 'it cannot be used')} (CUDA error {status})"
