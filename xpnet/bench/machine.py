"""What a run must say about the machine it was made on."""

from __future__ import annotations

import contextlib
import platform
import subprocess
from pathlib import Path
from typing import Any

import xpnet
from xpnet import doctor

CLOCKS = ("clocks.sm", "clocks.mem", "clocks.max.sm", "power.limit", "temperature.gpu", "utilization.gpu")


def describe() -> dict[str, Any]:
    """CPU, memory, BLAS, versions, and each GPU with its driver and, where nvidia-smi tells, clocks (MHz) and power (W)."""
    found = doctor.examine()
    kept = {name: found[name] for name in ("xpnet", "python", "cpu", "memory", "numpy", "cupy", "gpus", "driver")}
    for gpu in kept["gpus"]:
        gpu["clocks"] = clocks(gpu.get("bus"))
    load = _load()
    return {**kept, "kernel": platform.release(), "load": load}


def clocks(bus: str | None) -> dict[str, str] | None:
    """What nvidia-smi says about the clocks of the GPU on this PCI bus (its numbers are not CUDA's); None where it cannot."""
    if bus is None:
        return None
    query = [f"--query-gpu={','.join(CLOCKS)}", "--format=csv,noheader,nounits", f"--id={bus}"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        told = subprocess.run(["nvidia-smi", *query], capture_output=True, text=True, timeout=10, check=True).stdout
        return dict(zip(CLOCKS, (part.strip() for part in told.strip().split(",")), strict=False))
    return None


def revision() -> str | None:
    """The commit of the checkout that xpnet was imported from, with ``+`` where it has changes; None outside of one."""
    folder = Path(xpnet.__file__).parents[1]
    if not (folder / ".git").exists():
        return None
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return _git(folder, "rev-parse", "--short=12", "HEAD") + ("+" if _git(folder, "status", "--porcelain", "-uno") else "")
    return None


def _git(folder: Path, *arguments: str) -> str:
    done = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=20, check=True)
    return done.stdout.strip()


def _load() -> float | None:
    """Processes that wanted to run in the last minute, on average: other work disturbs what is timed."""
    with contextlib.suppress(OSError):
        return round(float(Path("/proc/loadavg").read_text().split()[0]), 2)
    return None
