"""Find out whether CuPy can compute here, and if not, which of nine reasons it is and what helps.

``cupy.cuda.is_available()`` is never asked: it answers False for all nine alike, and caches that.
"""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import os
import warnings
from types import ModuleType
from typing import Any

from xpnet.backends.driver import Driver, ask, cuda_version

WHEELS = ("cupy", "cupy-cuda11x", "cupy-cuda12x", "cupy-cuda13x")
OLDEST_DRIVER = {12: 525, 13: 580}  # by major version of CUDA
OLDEST_GPU = {12: (5, 0), 13: (7, 5)}  # compute capabilities: driver 580 still serves GPUs that CUDA 13 has dropped
CUDA_DRIVER_TOO_OLD, CUDA_NO_DEVICE = 35, 100  # cudaErrorInsufficientDriver, cudaErrorNoDevice
REPAIR_DRIVER = "make `nvidia-smi` run without an error first; a reboot cures a driver updated in a running system"


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


def installed_wheels() -> list[str]:
    """The names of CuPy's distributions that are installed; more than one is a mistake."""
    return [name for name in WHEELS if any(importlib.metadata.distributions(name=name))]


def install_for(driver: Driver) -> str:
    """The command that installs the newest CuPy for this driver and for all of its GPUs that any CuPy serves."""
    dropped = _too_old(driver)
    if dropped:
        return dropped
    served = [capability for capability in _capabilities(driver) if capability >= min(OLDEST_GPU.values())]
    supported = (driver.cuda or 0) // 1000
    fitting = [cuda for cuda, oldest in OLDEST_GPU.items() if cuda <= supported and all(c >= oldest for c in served)]
    if fitting:
        return f'pip install "cupy-cuda{max(fitting)}x[ctk]"'
    return f"update the driver to {min(OLDEST_DRIVER.values())} or newer, then {_install()}"


def _capabilities(driver: Driver) -> list[tuple[int, ...]]:
    """Those that are known."""
    return [tuple(map(int, capability.split("."))) for _, capability in driver.gpus if capability != "unknown"]


def _too_old(driver: Driver) -> str | None:
    """What to do where no CuPy serves any of the GPUs; the newer drivers have dropped such GPUs too."""
    known, cuda = _capabilities(driver), min(OLDEST_GPU)
    if not known or len(known) < len(driver.gpus) or max(known) >= OLDEST_GPU[cuda]:
        return None
    found, oldest = (".".join(map(str, capability)) for capability in (max(known), OLDEST_GPU[cuda]))
    old = f"a GPU of compute capability {found} is too old for CuPy 14"
    return f"use device='cpu': {old}, which needs CUDA {cuda}, and that {oldest} or newer"


def _import_cupy() -> ModuleType:
    spec = importlib.util.find_spec("cupy")
    # A folder without a file is what a removed CuPy leaves behind, and importing it succeeds.
    if spec is None or (spec.origin is None and spec.submodule_search_locations is not None):
        advice = f"{_install()}; `xpnet doctor` says which, if any"
        raise DeviceUnavailable("not-installed", "CuPy is not installed", advice)
    wheels = installed_wheels()
    if len(wheels) > 1:
        problem = f"{' and '.join(wheels)} are both installed and overwrite each other's files"
        raise DeviceUnavailable("duplicate-wheels", problem, f"pip uninstall -y {' '.join(wheels)}, then {_install()}")
    cupy = _import_once()
    if isinstance(cupy, Exception):
        problem = f"`import cupy` failed with {_first_cause(cupy)}"
        raise DeviceUnavailable("import-error", problem, _advise_import(wheels)) from cupy
    return cupy


@functools.cache
def _import_once() -> ModuleType | Exception:
    """CuPy, or what its import raised: a failed import is slow and leaves parts behind, so it is not repeated."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # CuPy's banners say in twenty lines what a reason here says in one
            return importlib.import_module("cupy")
    except Exception as error:
        return error


def _advise_import(wheels: list[str]) -> str:
    numpy = '"numpy>=2.0,<2.6"'  # what CuPy 14 needs
    if wheels:
        return f"pip install --force-reinstall {' '.join(wheels)} {numpy}"
    return f"remove the cupy that is there, then {_install()}, beside {numpy}"


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
        problem = f"the driver supports CUDA {cuda_version(driver)} and CuPy was built for CUDA {built // 1000}"
        advice = _too_old(ask()) or _advise_driver(driver // 1000, built // 1000)
        return DeviceUnavailable("driver-too-old", problem, advice)
    return DeviceUnavailable("cuda-error", f"CUDA cannot start: {error}", REPAIR_DRIVER)


def _no_device(driver: int) -> DeviceUnavailable:
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    hidden = "" if visible is None else f" (CUDA_VISIBLE_DEVICES={visible!r})"
    problem = f"there is a driver (CUDA {cuda_version(driver)}) but no GPU is visible{hidden}"
    return DeviceUnavailable("no-device", problem, "see what `nvidia-smi -L` lists, or run with device='cpu'")


def _advise_driver(driver: int, built: int) -> str:
    update = f"update the driver to {OLDEST_DRIVER[built]} or newer" if built in OLDEST_DRIVER else "update the driver"
    if driver not in OLDEST_DRIVER or driver >= built:
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
