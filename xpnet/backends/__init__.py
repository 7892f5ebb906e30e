"""The shim between xpnet and the arrays it computes on; the only place that knows CuPy."""

from xpnet.backends.device import Device, DeviceMismatch
from xpnet.backends.resolve import DeviceUnavailable, device, resolve

__all__ = ["Device", "DeviceMismatch", "DeviceUnavailable", "device", "resolve"]
