"""What the tests of one pass share."""

from __future__ import annotations

from core_helpers import classes_data

STEPS = 6  # of a loop whose allocations are counted, after the two that may allocate


def on_device(device, n=12, seed=1):
    """Rows and labels on the device."""
    x, y = classes_data(n, seed=seed)
    return device.put(x), device.put(y)


def parts(device, result):
    """All arrays that a step made, on the host."""
    return {name: device.get(a) for name, a in vars(result).items()}
