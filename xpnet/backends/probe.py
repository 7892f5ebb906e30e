"""Find out whether CuPy can compute here, and if not, which of nine reasons it is and what helps.

``cupy.cuda.is_available()`` is never asked: it answers False for all nine alike, and caches that.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
from types import ModuleType
from typing import Any

WHEELS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
OLDEST_DRIVER = {12: 525, 13: 580}  # by major version of CUDA
CUDA_DRIVER_TOO_OLD, CUDA_NO_DEVICE = 35, 100  # cudaErrorInsufficientDriver, cudaErrorNoDevice


class DeviceUnavailable(RuntimeError):
    """A device was asked for that this machine cannot offer.

    ``reason`` is a short code: not-installed, duplicate-wheels, import-error, no-driver,
    no-device, driver-too-old, cuda-error, missing-libraries or smoke-test. ``problem`` says
    what is wrong, ``advice`` what to do about it.
    """

    def __init__(self, reason: str, problem: str, advice: str):
        super().__init__(reason, problem, advice)
        self.reason, self.problem, self.advice = reason, problem, advice

    def __str__(self) -> str:
        return f"{self.problem} [{self.reason}]. To do: {self.advice}."


@functools.cache
def usable_cupy() -> ModuleType:
    """CuPy, after it has shown once per process that it can compute; raises :class:`DeviceUnavailable` otherwise.

    Only success is remembered: who starts a driver or installs a library may try again.
    """
    cupy = _import_cupy()
    _require_gpu(cupy.cuda.runtime)
    _require_libraries(cupy)
    _require_product(cupy)
    return cupy


def gpu_index(cupy: ModuleType, index: int | None) -> int:
    """The checked index of a GPU; None means CuPy's current device."""
    if index is None:
        return cupy.cuda.runtime.getDevice()
    count = cupy.cuda.runtime.getDeviceCount()
    if index >= count:
        visible = f"{count} GPU{'s' if count > 1 else ''} visible, counted from 0"
        raise DeviceUnavailable("no-device", f"there is no cuda:{index}: {visible}", "use 'cuda' or a smaller number")
    return index


def gpu_model(cupy: ModuleType, index: int) -> str:
    """What the driver calls that GPU, for instance "NVIDIA H200"."""
    return cupy.cuda.runtime.getDeviceProperties(index)["name"].decode()


def _import_cupy() -> ModuleType:
    if importlib.util.find_spec("cupy") is None:
        advice = f"{_install()}; `nvidia-smi` shows the driver"
        raise DeviceUnavailable("not-installed", "CuPy is not installed", advice)
    wheels = [name for name in WHEELS if any(importlib.metadata.distributions(name=name))]
    if len(wheels) > 1:
        problem = f"{' and '.join(wheels)} are both installed and overwrite each other's files"
        raise DeviceUnavailable("duplicate-wheels", problem, f"pip uninstall -y {' '.join(wheels)}, then {_install()}")
    cupy = _import_once()
    if isinstance(cupy, Exception):
        problem = f"`import cupy` failed with {_first_cause(cupy)}"
        advice = f'CuPy 14 needs NumPy 2.0 to 2.5: pip install --force-reinstall {" ".join(wheels)} "numpy>=2.0,<2.6"'
        raise DeviceUnavailable("import-error", problem, advice) from cupy
    return cupy


@functools.cache
def _import_once() -> ModuleType | Exception:
    """CuPy, or what its import raised: a failed import is slow and leaves parts behind, so it is not repeated."""
    try:
        return importlib.import_module("cupy")
    except Exception as error:
        return error


def _require_gpu(runtime: ModuleType) -> None:
    try:
        count = runtime.getDeviceCount()
    except runtime.CUDARuntimeError as error:
        raise _explain(error, runtime) from error
    if count == 0:
        raise _no_device(runtime.driverGetVersion())


def _explain(error: Any, runtime: ModuleType) -> DeviceUnavailable:
    """What a failed count of the GPUs means, from CUDA's error code and two versions (1000 * major + 10 * minor)."""
    driver, built = runtime.driverGetVersion(), runtime.runtimeGetVersion()
    if driver == 0:
        advice = "run with device='cpu', or install a driver, or start the container with --gpus all"
        return DeviceUnavailable("no-driver", "there is no NVIDIA driver (libcuda was not found)", advice)
    if error.status == CUDA_NO_DEVICE:
        return _no_device(driver)
    if error.status == CUDA_DRIVER_TOO_OLD:
        problem = f"the driver supports CUDA {_version(driver)} and CuPy was built for CUDA {built // 1000}"
        return DeviceUnavailable("driver-too-old", problem, _advise_driver(driver // 1000, built // 1000))
    advice = "make `nvidia-smi` run without an error first; a reboot cures a driver updated in a running system"
    return DeviceUnavailable("cuda-error", f"CUDA cannot start: {error}", advice)


def _no_device(driver: int) -> DeviceUnavailable:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    problem = f"there is a driver (CUDA {_version(driver)}) but no GPU is visible (CUDA_VISIBLE_DEVICES={visible!r})"
    return DeviceUnavailable("no-device", problem, "see what `nvidia-smi -L` lists, or run with device='cpu'")


def _advise_driver(driver: int, built: int) -> str:
    update = f"update the driver to {OLDEST_DRIVER.get(built, 'a version')} or newer"
    if driver not in OLDEST_DRIVER:
        return update
    return f'{update}, or pip uninstall -y cupy-cuda{built}x and pip install "cupy-cuda{driver}x[ctk]"'


def _require_libraries(cupy: ModuleType) -> None:
    """Refuse a CuPy without the two libraries that xpnet uses; both load on first use."""
    missing = []
    for name, load in (("NVRTC", lambda: cupy.cuda.nvrtc.getVersion()), ("cuBLAS", lambda: cupy.cuda.cublas)):
        try:
            load()
        except (ImportError, RuntimeError):
            missing.append(name)
    if missing:
        raise _missing_libraries(cupy, f"not found: {', '.join(missing)}")


def _require_product(cupy: ModuleType) -> None:
    """One small product proves a compiled kernel, cuBLAS and a copy back."""
    try:
        x = cupy.ones((2, 2), "float32")
        total = float((x @ x + 1).sum())
    except Exception as error:
        if "CUDA headers" in str(error):  # CuPy raises a bare RuntimeError when it cannot find them
            raise _missing_libraries(cupy, "not found: CUDA headers") from error
        raise _failed_product(_first_cause(error)) from error
    if total != 12:
        raise _failed_product(f"a sum of {total} instead of 12")


def _missing_libraries(cupy: ModuleType, problem: str) -> DeviceUnavailable:
    major = cupy.cuda.runtime.runtimeGetVersion() // 1000
    return DeviceUnavailable("missing-libraries", problem, f'pip install "cupy-cuda{major}x[ctk]", or the CUDA toolkit')


def _failed_product(outcome: str) -> DeviceUnavailable:
    advice = "see with `nvidia-smi` whether others fill its memory, or whether it is too old for this CUDA"
    return DeviceUnavailable("smoke-test", f"there is a GPU but a 2x2 product on it gave {outcome}", advice)


def _first_cause(error: BaseException) -> str:
    """Type and first line of the exception that all others came from: CuPy wraps it into a banner of twenty lines."""
    while error.__cause__ is not None:
        error = error.__cause__
    return f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}"


def _install() -> str:
    choices = [f'pip install "cupy-cuda{cuda}x[ctk]" (driver >= {driver})' for cuda, driver in OLDEST_DRIVER.items()]
    return " or ".join(reversed(choices))


def _version(number: int) -> str:
    return f"{number // 1000}.{number % 1000 // 10}"
