"""What this machine offers to xpnet, whether its GPU works, and the one line that mends it where it does not."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import threadpoolctl

import xpnet
from xpnet.backends import driver, probe
from xpnet.backends.resolve import NOTHING_BROKEN, resolve

WORKS = 'device="auto" computes on the GPU'
NO_GPU = 'xpnet computes on the CPU, and device="sim" checks a script against the rules of a GPU'

MEMINFO = Path("/proc/meminfo")  # Linux
HIDDEN = "A GPU is hidden: a container must be started with --gpus all, a machine of one's own needs the driver's libcuda"


def examine() -> dict[str, Any]:
    """Everything that :func:`page` prints, in plain JSON types; sizes are in bytes, and None is what could not be found out.

    ``broken`` tells that a GPU or a driver is there and cannot be used; ``to_do`` is the line that
    mends it (or that makes use of a GPU), None where there is nothing to do; ``note`` says what holds then.
    """
    found = {
        "xpnet": xpnet.__version__,
        "python": {"version": platform.python_version(), "platform": platform.platform()},
        "cpu": {"model": _cpu_model(), "cores": os.cpu_count(), "usable_cores": _usable_cores()},
        "memory": _memory(),
        "numpy": {"version": np.__version__, "blas": _blas()},
        "numba": _version("numba"),
        "cupy": [{"wheel": name, "version": importlib.metadata.version(name)} for name in probe.installed_wheels()],
    }
    return found | _examine_gpu(driver.ask())


def page(found: dict[str, Any]) -> str:
    """What :func:`examine` found, for people: a line for each thing, and last what to do."""
    blas, wheels = found["numpy"]["blas"], [f"{cupy['version']} ({cupy['wheel']})" for cupy in found["cupy"]]
    rows = [
        ("xpnet", found["xpnet"]),
        ("Python", f"{found['python']['version']} on {found['python']['platform']}"),
        ("CPU", f"{found['cpu']['model']}, {_cores(found['cpu'])}"),
        ("memory", _sizes(found["memory"])),
        ("NumPy", f"{found['numpy']['version']}, with {blas['name']} {blas['version']} on {_count(blas['threads'], 'thread')}"),
        ("Numba", found["numba"] or 'not installed; pip install "xpnet[fast]" brings it, for device="cpu-fast"'),
        ("CuPy", " and ".join(wheels) or "not installed"),
        ("driver", _driver_row(found["driver"])),
        *([_gpu_row(gpu) for gpu in found["gpus"]] or [("GPU", "none")]),
        ("auto", f"{found['auto']['device']} ({found['auto']['why']})"),
    ]
    last = f"To do: {found['to_do']}" if found["to_do"] else f"Nothing to mend: {found['note']}."
    return "\n".join([*(f"{name:8}{text}" for name, text in rows), "", last])


def _examine_gpu(here: driver.Driver) -> dict[str, Any]:
    """The driver, the GPUs, what "auto" chooses, and what follows from them."""
    cupy, error = _probe()
    broken, to_do, note = _conclude(error, here)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the page says the same
        device, why = resolve("auto")
    return {
        "driver": {
            "cuda": None if here.cuda is None else driver.cuda_version(here.cuda),
            "kernel_module": here.kernel,
            "problem": here.problem,
            "visible": os.environ.get("CUDA_VISIBLE_DEVICES"),
        },
        "gpus": _gpus_of_driver(here) if cupy is None else _gpus_of_cupy(cupy),
        "auto": {"device": device.name, "why": why.removeprefix("auto: "), "reason": error and error.reason},
        "broken": broken,
        "to_do": to_do,
        "note": note,
    }


def _probe() -> tuple[ModuleType | None, probe.DeviceUnavailable | None]:
    """CuPy where it can compute, and otherwise why it cannot."""
    try:
        return probe.usable_cupy(), None
    except probe.DeviceUnavailable as error:
        return None, error


def _conclude(error: probe.DeviceUnavailable | None, here: driver.Driver) -> tuple[bool, str | None, str | None]:
    """Whether something is broken, what to do, and what to say where there is nothing to do."""
    if error is None:
        return False, None, WORKS
    if error.reason not in NOTHING_BROKEN:
        return True, error.advice, None
    if here.broken:
        return True, probe.REPAIR_DRIVER, None
    if error.reason == "not-installed" and here.gpus:
        return False, probe.install_for(here), None
    if here.cuda is not None:
        return False, None, f"no GPU is visible, so {NO_GPU}. If there is one, see what `nvidia-smi -L` lists"
    if here.kernel is not None:
        return False, None, f"{NO_GPU}. {HIDDEN}"
    return False, None, f"there is no NVIDIA driver, so {NO_GPU}"


def _gpus_of_driver(here: driver.Driver) -> list[dict[str, Any]]:
    return [
        {"index": index, "name": name, "capability": capability, "bus": None, "memory": {"total": None, "free": None}}
        for index, (name, capability) in enumerate(here.gpus)
    ]


def _gpus_of_cupy(cupy: ModuleType) -> list[dict[str, Any]]:
    gpus = []
    for index in range(cupy.cuda.runtime.getDeviceCount()):
        properties = cupy.cuda.runtime.getDeviceProperties(index)
        name, capability = properties["name"].decode(), f"{properties['major']}.{properties['minor']}"
        memory = {"total": properties["totalGlobalMem"], "free": _free_memory(cupy, index)}
        bus = "{pciDomainID:08X}:{pciBusID:02X}:{pciDeviceID:02X}.0".format(**properties) if "pciBusID" in properties else None
        gpus.append({"index": index, "name": name, "capability": capability, "bus": bus, "memory": memory})
    return gpus


def _free_memory(cupy: ModuleType, index: int) -> int | None:
    """Free bytes of one GPU; asking makes a context there, which a GPU that is full or reserved by others refuses."""
    try:
        with cupy.cuda.Device(index):
            return cupy.cuda.runtime.memGetInfo()[0]
    except RuntimeError:
        return None


def _version(name: str) -> str | None:
    """That of an installed library."""
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()  # Linux; ARM's has no model
    except OSError:
        lines = []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


def _usable_cores() -> int | None:
    """The cores that this process may run on, all or fewer; a limit on their time, as of `docker --cpus`, does not count."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def _memory() -> dict[str, int | None]:
    """Memory of the machine; what is free for programs is known on Linux."""
    try:
        text = MEMINFO.read_text(errors="replace")
    except OSError:
        text = ""
    sizes = {name: int(size) * 1024 for name, size in re.findall(r"^(\w+):\s+(\d+) kB", text, re.MULTILINE)}
    return {"total": sizes["MemTotal"] if "MemTotal" in sizes else _pages(), "free": sizes.get("MemAvailable")}


def _pages() -> int | None:
    known = "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {})
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") if known else None


def _blas() -> dict[str, Any]:
    """The library behind NumPy's products; threadpoolctl sees which one is loaded, but not Apple's."""
    pools = threadpoolctl.ThreadpoolController().select(user_api="blas").info()
    if pools:
        pool = min(pools, key=lambda pool: "numpy" not in pool["filepath"])  # SciPy and PyTorch bring their own
        return {"name": pool["internal_api"], "version": pool["version"], "threads": pool["num_threads"]}
    built: Any = np.show_config(mode="dicts")
    blas = built["Build Dependencies"]["blas"]
    return {"name": blas.get("name"), "version": blas.get("version"), "threads": None}


def _cores(cpu: dict[str, Any]) -> str:
    all_of_them = _count(cpu["cores"], "core")
    return all_of_them if cpu["usable_cores"] == cpu["cores"] else f"{all_of_them}, {cpu['usable_cores']} for this process"


def _driver_row(here: dict[str, Any]) -> str:
    parts = [f"supports CUDA {here['cuda']}"] if here["cuda"] else []
    parts += [f"kernel module {here['kernel_module']}"] if here["kernel_module"] else []
    parts += [here["problem"]] if here["problem"] else []
    parts += [f"CUDA_VISIBLE_DEVICES={here['visible']!r}"] if here["visible"] is not None else []
    return ("" if here["cuda"] or here["kernel_module"] else "none: ") + ", ".join(parts)


def _gpu_row(gpu: dict[str, Any]) -> tuple[str, str]:
    sizes = "" if gpu["memory"]["total"] is None else f", {_sizes(gpu['memory'])}"
    return f"GPU {gpu['index']}", f"{gpu['name']}, compute capability {gpu['capability']}{sizes}"


def _sizes(memory: dict[str, int | None]) -> str:
    total, free = (None if size is None else f"{size / 2**30:.1f} GiB" for size in (memory["total"], memory["free"]))
    return "unknown" if total is None else total if free is None else f"{total}, {free} free"


def _count(number: int | None, what: str) -> str:
    return f"{number or 'unknown'} {what}{'' if number == 1 else 's'}"
