"""What is known of each GPU: nominal figures, what is reached of them, fixed costs; each figure with its kind and source.

The figures stand in gpus.json, with units in their names. Kinds: ``datasheet`` (the maker's, as a named copy quotes it),
``measured`` (by somebody, on that GPU or, where the source says so, on its class), ``derived`` (arithmetic), ``estimate``
(ours, from a sister GPU) and ``memory`` (not looked up).
"""

from __future__ import annotations

import functools
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet.checks import check_number, closest

SCHEMA, VERSION = "xpnet-profile", 1
KINDS = {"datasheet": " ", "measured": "*", "derived": "=", "estimate": "~", "memory": "?"}  # and their marks in the table
Source = tuple[str, str]

# field of a profile: the figure that it is read from, and what that is multiplied by. Makers' GB and MB are powers of two.
FIGURES = {
    "sm_count": ("sm_count", 1),
    "fp32_flops": ("fp32_tflops", 1e12),
    "fp64_flops": ("fp64_tflops", 1e12),
    "gemm_efficiency": ("gemm_efficiency", 1),
    "memory_bandwidth": ("memory_gbs", 1e9),
    "memory_efficiency": ("memory_efficiency", 1),
    "memory_bytes": ("memory_gb", 2**30),
    "l2_bytes": ("l2_mb", 2**20),
    "l2_bandwidth": ("l2_gbs", 1e9),
    "link_bandwidth": ("link_gbs", 1e9),
    "link_pageable_bandwidth": ("link_pageable_gbs", 1e9),
    "launch": ("launch_us", 1e-6),
    "gemm_floor": ("gemm_floor_us", 1e-6),
    "sync": ("sync_us", 1e-6),
    "copy": ("copy_us", 1e-6),
}
HOST_CALL = "cupy_call_us"


@dataclass(frozen=True)
class GPUProfile:
    """One GPU's figures in seconds, bytes, bytes/s and FLOP/s; ``sources`` has (kind, source) under each field's name.

    Rates are nominal; products reach ``gemm_efficiency`` of ``fp32_flops``, passes over memory ``memory_efficiency`` of
    ``memory_bandwidth``. ``launch`` is a small kernel's device time among others, ``gemm_floor`` the smallest product's,
    ``copy`` the smallest copy's; ``host_call`` is the host's time for one CuPy call, with the range that was seen.
    """

    name: str
    sm_count: float
    fp32_flops: float
    fp64_flops: float
    gemm_efficiency: float
    memory_bandwidth: float
    memory_efficiency: float
    memory_bytes: float
    l2_bytes: float
    l2_bandwidth: float
    link_bandwidth: float
    link_pageable_bandwidth: float
    launch: float
    gemm_floor: float
    sync: float
    copy: float
    host_call: float
    host_call_low: float
    host_call_high: float
    sources: dict[str, Source]


def gpu_names() -> list[str]:
    """The names of the GPUs that have a profile, older ones first."""
    return [gpu["name"] for gpu in _stored()["gpus"]]


def gpu_profile(name: str) -> GPUProfile:
    """The profile of a GPU by its name, or as the driver calls it: "H200", "rtx 4090", "4090", "NVIDIA GeForce RTX 4090".

    Raises ValueError for a name that is not there, with one that is near or else all of them.
    """
    known = _spellings()
    if _plain(name) in known:
        return _profile(known[_plain(name)], _stored()["host"], "gpus.json")
    names = [spelling for gpu in _stored()["gpus"] for spelling in (gpu["name"], *gpu["aliases"])]
    raise ValueError(f"no GPU called {name!r} has a profile" + (closest(name, names) or ": say " + ", ".join(gpu_names())))


def load_profile(path: str | Path) -> GPUProfile:
    """The profile in a file of one GPU, as measured on a machine: ``{"schema": "xpnet-profile", "version": 1, "gpu": ...}``.

    ``gpu`` has a name and the figures of gpus.json; ``host``, as there, may be missing: then that of gpus.json holds.
    Raises ValueError for a file of another kind and for a figure that is missing or out of range.
    """
    try:
        found = json.loads(Path(path).expanduser().read_text("utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not JSON: {error}") from error
    kind = (found.get("schema"), found.get("version")) if isinstance(found, dict) else (None, None)
    if kind != (SCHEMA, VERSION):
        raise ValueError(f"{path}: schema {kind[0]!r}, version {kind[1]!r}: a profile has {SCHEMA!r}, version {VERSION}")
    if not isinstance(found.get("gpu"), dict):
        raise ValueError(f"{path}: it has no GPU, or not as an object with a name and figures")
    return measured_profile(found, str(path))


def measured_profile(found: dict[str, Any], where: str = "the measured profile") -> GPUProfile:
    """The profile in the blocks ``gpu`` and, where there is one, ``host``."""
    return _profile(found["gpu"], found.get("host", _stored()["host"]), where)


def table() -> str:
    """A line for each GPU, each figure marked with its kind; SGEMM is what large products in float32 reach."""
    marks = ", ".join(f"{mark} {kind}" for kind, mark in KINDS.items() if kind != "datasheet")
    head = f"{'':24s}{'TFLOP/s':>9s} {'SGEMM':>9s} {'GB/s':>9s} {'reached':>9s} {'GB':>6s}"
    lines = [_line(gpu_profile(name)) for name in gpu_names()]
    return "\n".join([head, *lines, f"unmarked: the maker's figure; {marks}"])


def _line(gpu: GPUProfile) -> str:
    cells = [
        (gpu.fp32_flops / 1e12, "fp32_flops", 8),
        (gpu.fp32_flops * gpu.gemm_efficiency / 1e12, "gemm_efficiency", 8),
        (gpu.memory_bandwidth / 1e9, "memory_bandwidth", 8),
        (gpu.memory_bandwidth * gpu.memory_efficiency / 1e9, "memory_efficiency", 8),
        (gpu.memory_bytes / 2**30, "memory_bytes", 5),
    ]
    texts = [f"{_short(number):>{width}s}{KINDS[gpu.sources[field][0]]}" for number, field, width in cells]
    return f"{gpu.name:24s}{' '.join(texts)}".rstrip()


def _short(number: float) -> str:
    """Three digits: 1.28, 23.5, 143, 4800."""
    return f"{number:.0f}" if number >= 100 else f"{number:.3g}"


@functools.cache
def _stored() -> dict[str, Any]:
    return json.loads(Path(__file__).with_name("gpus.json").read_text("utf-8"))


@functools.cache
def _spellings() -> dict[str, dict[str, Any]]:
    return {_plain(spelling): gpu for gpu in _stored()["gpus"] for spelling in (gpu["name"], *gpu["aliases"])}


def _plain(name: str) -> str:
    """Letters and digits only, without the maker's name: "NVIDIA GeForce RTX 4090" and "geforce-rtx4090" are the same."""
    return re.sub(r"[^a-z0-9]", "", name.casefold()).removeprefix("nvidia")


def _profile(gpu: dict[str, Any], host: dict[str, Any], where: str) -> GPUProfile:
    """The profile of one entry of gpus.json; ``where`` says in errors which file it is from."""
    figures, sources = {}, {}
    for field, (name, factor) in FIGURES.items():
        figure = _figure(gpu.get("figures", {}), name, where)
        most = {"below": 1 + 1e-9} if name.endswith("efficiency") else {}
        figures[field] = check_number(f"{where}: {name}", figure["value"], above=0.0, **most) * factor
        sources[field] = (figure["kind"], figure["source"])
    call = _figure(host, HOST_CALL, where)
    for field, key in (("host_call", "value"), ("host_call_low", "low"), ("host_call_high", "high")):
        figures[field] = check_number(f"{where}: {HOST_CALL}", call.get(key, call["value"]), above=0.0) * 1e-6
        sources[field] = (call["kind"], call["source"])
    return GPUProfile(name=gpu.get("name", where), sources=sources, **figures)


def _figure(figures: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    figure = figures.get(name)
    if not isinstance(figure, dict) or not {"value", "kind", "source"} <= figure.keys() or figure["kind"] not in KINDS:
        raise ValueError(f"{where}: figure {name} is missing, or has no value, source and kind ({', '.join(KINDS)})")
    return figure
