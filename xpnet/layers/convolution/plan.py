"""Which method computes a convolution."""

from __future__ import annotations

import functools

from xpnet.backends.device import Device
from xpnet.layers.convolution.geometry import Geometry
from xpnet.layers.convolution.im2col import Im2col
from xpnet.layers.convolution.pointwise import Pointwise
from xpnet.layers.convolution.taps import Taps
from xpnet.layers.convolution.winograd import Winograd

Method = Im2col | Pointwise | Taps | Winograd
METHODS: dict[str, type] = {m.name: m for m in (Pointwise, Winograd, Taps, Im2col)}


@functools.lru_cache(maxsize=1024)
def plan(geometry: Geometry, device: Device, method: str, exact: bool, workspace: int | None) -> Method:
    """The method of that name, or where "auto" the one that the device prefers; ``workspace`` bounds its bytes."""
    if method == "auto":
        suited = [name for name in METHODS if not unsuited(name, geometry) and not (exact and name == "winograd")]
        method = device.preferred_convolution(geometry, suited)
    return METHODS[method](geometry, workspace or device.workspace_bytes)


def unsuited(method: str, geometry: Geometry) -> str:
    """Why a method cannot compute it; empty where it can."""
    rows, columns, channels, n_out, groups = geometry
    padded = any(a.before > 0 or a.after > 0 for a in (rows, columns))
    kernel = (rows.kernel, columns.kernel)
    if method == "product" and (kernel != (1, 1) or padded or groups > 1):
        return "it takes kernels of one pixel without padding, in one group"
    if method == "taps" and not channels == n_out == groups:
        return "it takes as many groups as channels, with one output each"
    if method == "winograd":
        if kernel not in ((2, 2), (3, 3), (4, 4), (5, 5)) or groups > 1:
            return "it takes kernels from 2x2 to 5x5 in one group"
        if any(a.stride > 1 or a.dilation > 1 or a.before >= a.kernel for a in (rows, columns)):
            return "it takes stride 1, dilation 1 and less padding than the kernel is wide"
    return ""
