"""A machine's profile in a file: what ``xpnet bench --profile`` measures and ``xpnet advise`` predicts from."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from xpnet.advise import cpu_measure, gpu_measure
from xpnet.advise.cpu_profile import CPUProfile
from xpnet.advise.profiles import SCHEMA, VERSION
from xpnet.backends import Device
from xpnet.bench import machine


def measure(gpu: Device | None = None, note: Callable[[str], Any] = lambda text: None) -> dict[str, Any]:
    """The profile of this machine's CPU and, where one is given, of a GPU: fit for JSON."""
    found: dict[str, Any] = {"schema": SCHEMA, "version": VERSION, "machine": machine.describe()}
    found["cpu"] = dataclasses.asdict(cpu_measure.measure(note=note))
    if gpu is not None:
        note(f"GPU {gpu.name}")
        found |= gpu_measure.measure(gpu)
    return found


def cpu_of(path: str | Path) -> CPUProfile:
    """The CPU's part of a profile in a file; raises ValueError where it has none."""
    try:
        return CPUProfile(**json.loads(Path(path).read_text("utf-8"))["cpu"])
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{path} has no profile of a CPU: xpnet bench --profile --out {path} makes one") from error
