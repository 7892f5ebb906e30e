"""In what precision a trainer's steps compute, where that is not the network's own."""

from __future__ import annotations

from typing import Any

from xpnet.backends import Device
from xpnet.backends.device import DTypeLike

PRECISIONS = ("tf32", "float16")


def check_precision(precision: Any, loss_scale: Any, device: Device) -> None:
    """Refuse what there is not, and what the device cannot do."""
    if precision is not None and precision not in PRECISIONS:
        choices = ", ".join(map(repr, PRECISIONS))
        raise ValueError(f"Trainer(precision={precision!r}): choose {choices}, or None for the network's own dtype")
    if loss_scale != "dynamic" and precision != "float16":
        raise ValueError(f"Trainer(loss_scale={loss_scale!r}): losses are scaled with precision='float16' only")
    if precision == "tf32" and device.no_tf32:
        raise ValueError(f"Trainer(precision='tf32'): {device.name} has no TF32, {device.no_tf32}: leave precision out")


def check_per_sample(precision: str | None) -> None:
    if precision is not None:
        raise ValueError(f"per_sample=True computes in the network's own dtype: it does not go with precision={precision!r}")


def check_float32(precision: str | None, dtype: DTypeLike) -> None:
    """Either precision is a way to compute what is float32 in the network."""
    if precision is not None and dtype != "float32":
        raise ValueError(f"Trainer(precision={precision!r}): the network is {dtype}, and has to be float32, the default")
