"""What a run was made on and how, in words: whatever its file does not tell is left out."""

from __future__ import annotations

import shlex
from typing import Any

from xpnet.bench.results import Run

CLOCKS = {  # names of nvidia-smi
    "clocks.sm": "SM at {} MHz",
    "clocks.max.sm": "SM at most {} MHz",
    "clocks.mem": "memory at {} MHz",
    "power.limit": "power at most {} W",
    "temperature.gpu": "{} degrees",
    "utilization.gpu": "{}% busy",
}


def provenance(run: Run) -> list[tuple[str, str]]:
    """(name, text) of everything; the text is empty where it is not known."""
    told = run.machine
    return [
        *hardware(told),
        ("libraries", _list(*(_words(name, version) for name, version in (_get(told, "libraries") or {}).items()))),
        ("xpnet", _list(_get(told, "xpnet"), _words("revision", run.revision))),
        ("load before", _list(_get(told, "load"))),
        ("command", shlex.join(map(str, run.command))),
        ("started", _list(run.started)),
        ("took", _list(f"{run.seconds:.0f} s", "a quick run" if run.quick else "")),
        ("seed", str(run.seed)),
    ]


def hardware(told: dict[str, Any]) -> list[tuple[str, str]]:
    """The machine, and what xpnet rests on there."""
    usable = _get(told, "cpu", "usable_cores")
    cores = _get(told, "cpu", "cores") or usable
    blas = _get(told, "numpy", "blas")
    return [
        (
            "CPU",
            _list(
                _get(told, "cpu", "model"),
                _words(cores, "cores"),
                _words(None if usable == cores else usable, "of them usable"),
            ),
        ),
        ("memory", _memory(told)),
        *((_words("GPU", gpu.get("index")) or "GPU", _gpu(gpu)) for gpu in _get(told, "gpus") or ()),
        (
            "driver",
            _list(_words("CUDA", _get(told, "driver", "cuda")), _words("kernel module", _get(told, "driver", "kernel_module"))),
        ),
        ("CuPy", _list(*(_words(wheel.get("wheel"), wheel.get("version")) for wheel in _get(told, "cupy") or ()))),
        ("NumPy", _list(_get(told, "numpy", "version"))),
        ("BLAS", _list(_words(_get(blas, "name"), _get(blas, "version")), _words(_get(blas, "threads"), "threads by default"))),
        ("Python", _list(_get(told, "python", "version"), _get(told, "python", "platform"))),
    ]


def _gpu(gpu: dict[str, Any]) -> str:
    clocks = [text.format(_get(gpu, "clocks", name)) for name, text in CLOCKS.items() if _get(gpu, "clocks", name)]
    return _list(gpu["name"], _words("compute capability", gpu.get("capability")), _memory(gpu), *clocks)


def _memory(told: dict[str, Any]) -> str:
    total, free = _get(told, "memory", "total"), _get(told, "memory", "free")
    return _list(total and f"{total / 2**30:.1f} GiB", free and f"{free / 2**30:.1f} GiB free")


def _get(told: Any, *names: str) -> Any:
    """An entry of nested dictionaries; None where there is none."""
    for name in names:
        told = told.get(name) if isinstance(told, dict) else None
    return told


def _words(first: Any, second: Any) -> str:
    """Both, or nothing where one of them is not known."""
    return "" if first in (None, "") or second in (None, "") else f"{first} {second}"


def _list(*pieces: Any) -> str:
    """Those that are known, with commas."""
    return ", ".join(str(piece) for piece in pieces if piece not in (None, ""))
