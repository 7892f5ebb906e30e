"""What users hand in, checked and brought into the form that training takes; nothing of theirs is written to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from xpnet.backends import Device
from xpnet.backends.device import Array
from xpnet.checks import as_array, as_numbers, check_finite, check_weights, row_count, to_host
from xpnet.losses.base import Loss
from xpnet.network import Sequential
from xpnet.training.feed import is_streamed
from xpnet.training.stream import Streamed

ClassWeight = Mapping[int, float] | Sequence[float] | str | None


class Prepared(NamedTuple):
    """Rows, targets and weights that fit the network and the loss, on the host or on the network's device."""

    x: Array | Streamed
    y: Array
    weights: np.ndarray | None  # on the host


def prepare(
    net: Sequential,
    loss: Loss,
    x: Any,
    y: Any,
    sample_weight: Any = None,
    class_weight: ClassWeight = None,
    what: str = "",
) -> Prepared:
    """Check everything and convert it; raises ValueError or TypeError that names what disagrees."""
    device = net.device
    x, y = as_array(device, x, what + "x"), as_array(device, y, what + "y")
    n, targets = row_count(x, what + "x"), row_count(y, what + "y")
    if n != targets:
        raise ValueError(f"{what}x has {n} rows, {what}y has {targets}: every sample needs one target")
    rows = _rows(net, x, what + "x")
    weights = row_weights(net, y, sample_weight, class_weight)
    return Prepared(rows, _targets(net, loss, y, what), weights)


def row_weights(net: Sequential, y: Array, sample_weight: Any, class_weight: ClassWeight) -> np.ndarray | None:
    """Weight of each row as the product of both kinds, None where neither is given."""
    weights = None if sample_weight is None else sample_weights(net.device, sample_weight, len(y))
    if class_weight is not None:
        by_class = label_weights(to_host(net.device, y), class_weight)
        check_weights(by_class, "class_weight")
        by_class = in_unit(by_class)
        weights = by_class if weights is None else weights * by_class
    if weights is None:
        return None
    check_weights(weights, "sample_weight times class_weight")
    return in_unit(weights).astype(net.parameters.dtype)


def sample_weights(device: Device, given: Any, n: int) -> np.ndarray:
    """Weights of ``n`` rows, checked: float64 (n,) on the host, by :func:`in_unit`."""
    weights = to_host(device, as_numbers(device, given, "sample_weight")).astype(np.float64)
    if weights.shape != (n,):
        raise ValueError(f"sample_weight has shape {weights.shape}, {n} rows need ({n},)")
    check_weights(weights, "sample_weight")
    return in_unit(weights)


def in_unit(weights: np.ndarray) -> np.ndarray:
    """The largest brought to [0.5, 1), as float32 can hold it: only ratios count. By a power of two, which rounds nothing."""
    return np.ldexp(weights, -np.frexp(weights.max(initial=0))[1])


def label_weights(labels: np.ndarray, class_weight: Mapping[int, float] | Sequence[float] | str) -> np.ndarray:
    """Weight of each row by its label; "balanced" gives every class the same sum, the mean weight being 1."""
    if labels.ndim != 1 or labels.dtype.kind not in "iu":
        raise ValueError(f"class_weight needs integer labels of shape (N,), not {labels.dtype} of shape {labels.shape}")
    classes, index, counts = np.unique(labels, return_inverse=True, return_counts=True)
    if isinstance(class_weight, str):
        if class_weight != "balanced":
            raise ValueError(f'class_weight={class_weight!r}: a mapping from label to weight, or "balanced"')
        return (len(labels) / (len(classes) * counts))[index]
    if not isinstance(class_weight, Mapping):
        class_weight = dict(enumerate(class_weight))
    if missing := [int(c) for c in classes if c not in class_weight]:
        raise ValueError(f"class_weight has no weight for label {missing[0]}; the labels are {classes.tolist()}")
    return np.array([float(class_weight[c]) for c in classes])[index]


def _rows(net: Sequential, x: Array, name: str) -> Array | Streamed:
    """Checked; as the network takes them, or to be read batch by batch."""
    rows, dtype = net.as_rows(x, name), net.parameters.dtype
    if is_streamed(net.device, rows, dtype):
        source = Streamed(rows, dtype)
        source.check(name)
        return source
    rows = net.as_input(rows, name)
    _check_rows(net.device, rows, name)
    return rows


def _check_rows(device: Device, rows: Array, name: str) -> None:
    """Refuse NaN and infinity; on a device this reads two numbers back, once."""
    if device.owns(rows) and device.kind != "cpu" and rows.size:
        with device.use():
            ends = device.get(device.xp.stack([rows.min(), rows.max()]))
        if not np.isfinite(ends).all():
            check_finite(device.get(rows), name)
    elif not device.owns(rows) or device.kind == "cpu":
        check_finite(rows, name)


def _targets(net: Sequential, loss: Loss, y: Array, what: str) -> Array:
    """Checked on the host; a device array that needs no conversion stays where it is."""
    host = to_host(net.device, y)
    try:
        prepared = loss.prepare(host, net.parameters.dtype, net.output_shape)
    except (ValueError, TypeError) as error:
        if not what:
            raise
        raise type(error)(f"{what}{error}") from error
    return y if prepared is host else prepared
