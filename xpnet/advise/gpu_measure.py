"""Micro-benchmarks of a GPU through CuPy: the figures of a profile, measured on the GPU that is here.

Not yet run on a real GPU: so far on the simulated one, whose figures mean nothing, and against CuPy's names.
"""

from __future__ import annotations

import functools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from xpnet.backends import Device

SMALL, LARGE = 1 << 10, 1 << 26  # elements: a kernel that is all start, and one that is all memory
CALLS = 400  # fewer than the launches that a stream holds before it makes the host wait
SIZE = 4096  # of the square product
SOURCE = "xpnet bench --profile"
NOT_SEEN = {"l2_bytes": 50 << 20, "sm_count": 100, "memory_bytes": 16 << 30}  # on a simulated GPU


def measure(device: Device) -> dict[str, Any]:
    """The blocks ``gpu`` and ``host`` of a profile file."""
    with device.use():
        properties = _properties(device)
        figures = {
            "sm_count": properties["sm_count"],
            "memory_gb": properties["memory_bytes"] / 2**30,
            "l2_mb": properties["l2_bytes"] / 2**20,
            "fp32_tflops": _product_rate(device, "float32") / 1e12,
            "fp64_tflops": _product_rate(device, "float64") / 1e12,
            "gemm_efficiency": 1.0,  # the rates are those of products
            "memory_gbs": _memory_rate(device, LARGE) / 1e9,
            "memory_efficiency": 1.0,
            "l2_gbs": _memory_rate(device, int(properties["l2_bytes"] // 48)) / 1e9,  # a quarter of the cache
            "launch_us": 1e6 * _kernel(device),
            "gemm_floor_us": 1e6 * _kernel(device, product=True),
            "sync_us": 1e6 * _waiting(device),
            "copy_us": 1e6 * _copying(device, 256),
            "link_gbs": _link_rate(device, pinned=True) / 1e9,
            "link_pageable_gbs": _link_rate(device, pinned=False) / 1e9,
        }
        call = 1e6 * _host_call(device)
    noted = {name: {"value": value, "kind": "measured", "source": SOURCE} for name, value in figures.items()}
    host = {"cupy_call_us": {"value": call, "low": 0.8 * call, "high": 1.25 * call, "kind": "measured", "source": SOURCE}}
    return {"gpu": {"name": properties["name"], "figures": noted}, "host": host}


def _properties(device: Device) -> dict[str, Any]:
    if device.kind != "cuda":
        return {"name": device.name, **NOT_SEEN}
    found = device.xp.cuda.runtime.getDeviceProperties(device.index)  # type: ignore[attr-defined]
    sizes = {
        "sm_count": found["multiProcessorCount"],
        "memory_bytes": found["totalGlobalMem"],
        "l2_bytes": found["l2CacheSize"],
    }
    return {"name": found["name"].decode(), **sizes}


def _median(device: Device, call: Callable[[], Any], rounds: int = 7) -> float:
    """Seconds of a call and of waiting for it, after two that warm up."""
    found = []
    for _ in range(rounds + 2):
        device.synchronize()
        start = time.perf_counter()
        call()
        device.synchronize()
        found.append(time.perf_counter() - start)
    return statistics.median(found[2:])


def _filled(device: Device, n: int, dtype: str = "float32") -> Any:
    a = device.empty((n,), dtype)
    a.fill(0.5)
    return a


def _product_rate(device: Device, dtype: str) -> float:
    n = SIZE if device.kind == "cuda" else 256
    a, b, c = (_filled(device, n * n, dtype).reshape(n, n) for _ in range(3))
    return 2 * n**3 / _median(device, lambda: device.xp.matmul(a, b, out=c))


def _memory_rate(device: Device, n: int) -> float:
    """Bytes a second of additions of ``n`` numbers, beyond what a kernel takes that has nothing to do."""
    n = n if device.kind == "cuda" else min(n, 1 << 16)
    a, b, c = (_filled(device, n) for _ in range(3))
    times = max(1, min(CALLS // 4, (1 << 28) // n))
    alone = _queued(device, lambda: device.xp.add(a, b, out=c), times)
    return 12 * n / max(alone - _kernel(device), 0.1 * alone)


def _queued(device: Device, call: Callable[[], Any], times: int) -> float:
    """Device seconds of each of many calls that wait behind long ones, so that the host is always ahead."""
    call()
    if device.kind != "cuda":
        return _median(device, call)
    a, b, c = (_filled(device, SIZE * SIZE).reshape(SIZE, SIZE) for _ in range(3))
    product = functools.partial(device.xp.matmul, a, b, out=c)
    long = math.ceil(2 * times * _host_call(device) / _median(device, product))  # twice as long as the host needs to launch
    events = device.xp.cuda.Event(), device.xp.cuda.Event()
    found = []
    for _ in range(7):
        for _ in range(long):
            product()
        events[0].record()
        for _ in range(times):
            call()
        events[1].record()
        events[1].synchronize()
        found.append(device.xp.cuda.get_elapsed_time(*events) * 1e-3 / times)
    return statistics.median(found)


def _kernel(device: Device, product: bool = False) -> float:
    """Device seconds of a kernel that has next to nothing to do."""
    a = _filled(device, SMALL)
    square = _filled(device, 32 * 32).reshape(32, 32)
    other = _filled(device, 32 * 32).reshape(32, 32)
    if product:
        return _queued(device, lambda: device.xp.matmul(square, square, out=other), CALLS)
    return _queued(device, lambda: device.xp.add(a, a, out=a), CALLS)


def _host_call(device: Device) -> float:
    """Seconds until an elementwise call returns, with the device's work too small to hold it up."""
    a = _filled(device, SMALL)
    found = []
    for _ in range(7):
        device.synchronize()
        start = time.perf_counter()
        for _ in range(CALLS):
            device.xp.add(a, a, out=a)
        found.append((time.perf_counter() - start) / CALLS)
    return statistics.median(found)


def _waiting(device: Device) -> float:
    """Seconds that waiting takes beyond a kernel."""
    a = _filled(device, SMALL)
    return max(_median(device, lambda: device.xp.add(a, a, out=a)) - _host_call(device), 1e-7)


def _copying(device: Device, n: int) -> float:
    host = np.zeros(n, np.float32)
    return _median(device, lambda: device.put(host))


def _link_rate(device: Device, pinned: bool) -> float:
    n = 1 << 24
    host = np.full(n, 0.5, np.float32)
    if not pinned or device.kind != "cuda":
        return host.nbytes / max(_median(device, lambda: device.put(host), 5) - _copying(device, 1), 1e-9)
    locked, there = np.frombuffer(device.xp.cuda.alloc_pinned_memory(host.nbytes), np.float32, n), _filled(device, n)
    locked[...] = host
    return host.nbytes / _median(device, lambda: there.set(locked), 5)
