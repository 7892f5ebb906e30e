"""What several test files share: golden values, and passes that take and give host arrays."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import xpnet as xn

GOLDEN = Path(__file__).parent / "golden"
CONTAINERS = {
    "Residual": lambda: xn.Residual(xn.Affine(4), xn.Tanh()),
    "Residual-shortcut": lambda: xn.Residual(xn.Affine(2), xn.Tanh(), shortcut=xn.Affine(2)),
}


@functools.cache
def golden(name: str) -> dict[str, dict[str, Any]]:
    """The cases of one file of tools/make_golden.py, each a nested dict of arrays, with ``options`` by xpnet's names."""
    cases: dict[str, dict[str, Any]] = {}
    with np.load(GOLDEN / f"{name}.npz") as arrays:
        for path in arrays:
            case, *middle, last = path.split("/")
            place = cases.setdefault(case, {})
            for part in middle:
                place = place.setdefault(part, {})
            place[last] = json.loads(arrays[path].item()) if last == "options" else arrays[path]
    return cases


def build(case: str, options: dict[str, Any]) -> Any:
    """The object that a golden case is about: ``ELU-0.7`` is ``xpnet.ELU(**options)``."""
    return CONTAINERS[case]() if case in CONTAINERS else getattr(xn, case.split("-")[0])(**options)


LAYOUTS = {
    "every second row": lambda put, a: put(np.repeat(a, 2, axis=0))[::2],
    "rows backwards": lambda put, a: put(np.ascontiguousarray(a[::-1]))[::-1],
    "a part of wider rows": lambda put, a: put(np.concatenate([a, a + 1], axis=-1))[..., : a.shape[-1]],
    "Fortran order": lambda put, a: put(np.ascontiguousarray(a.T)).T,
}


def made_again(fresh: dict[str, np.ndarray], path: Path, atol: float) -> None:
    """Values made anew are those of a golden file."""
    with np.load(path) as stored:
        assert list(fresh) == list(stored)
        for key, a in fresh.items():
            assert (a.dtype, a.shape) == (stored[key].dtype, stored[key].shape), key
            if a.dtype.kind == "f":
                np.testing.assert_allclose(stored[key], a, rtol=1e-12, atol=atol, err_msg=key)
            else:
                assert (stored[key] == a).all(), key


def close(a: np.ndarray, b: np.ndarray, rtol: float, scale: float = 1.0) -> None:
    """Equal to ``rtol``, relative to each element or to ``scale``, whichever is larger; shapes equal, NaN refused."""
    assert np.shape(a) == np.shape(b)
    np.testing.assert_allclose(a, b, rtol=rtol, atol=rtol * scale, equal_nan=False)


class Outcome(NamedTuple):
    """Results of one forward and backward pass, on the host."""

    y: np.ndarray
    dx: np.ndarray
    grads: dict[str, np.ndarray]


def network(
    layer: xn.Layer,
    shape: tuple[int, ...],
    device: xn.Device,
    dtype: str = "float64",
    values: dict[str, np.ndarray] | None = None,
    seed: int = 0,
) -> xn.Sequential:
    """A layer as a built network, with the parameters given."""
    net = layer if isinstance(layer, xn.Sequential) else xn.Sequential(layer)
    net.build(shape, device=device, dtype=dtype, seed=seed)
    if values:
        net.parameters.restore(values)
    return net


def run(net: xn.Sequential, x: Any, dy: Any = None, *, training: bool = True) -> Outcome:
    """Forward, and backward for ``dy`` (ones if None), of host or device arrays."""
    device, dtype = net.device, net.parameters.dtype
    step = net.step(training=training, needs_dx=True)
    y, cache = net.forward(device.put(x, dtype), step)
    dy = device.put(np.ones(y.shape) if dy is None else dy, dtype)
    dx = net.backward(dy, cache, step)
    return Outcome(device.get(y), device.get(dx), {p.name: device.get(p.grad) for p in net.parameters.trainable})


def run_loss(
    loss: xn.Loss,
    y: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray | None,
    device: xn.Device,
    dtype: str = "float64",
    count: Any = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Value and gradient of a loss for host arrays."""
    y, targets, weights = cast((y, targets, weights), dtype)
    net = network(xn.Identity(), y.shape[1:], device, dtype)
    step = net.step(training=True, count=count)
    out, _ = net.forward(device.put(y), step)
    value, dy = loss(out, device.put(targets), step, None if weights is None else device.put(weights))
    return device.get(value), device.get(dy)


def cast(arrays: tuple, dtype: str) -> list:
    """Host arrays, those of numbers in the given type, labels as they are."""
    return [a.astype(dtype) if a is not None and a.dtype.kind == "f" else a for a in arrays]


def frozen(f: Callable[[], Any], *arrays: np.ndarray) -> Any:
    """``f()``, which must leave these host arrays' bytes alone."""
    before = [a.tobytes() for a in arrays]
    found = f()
    assert [a.tobytes() for a in arrays] == before
    return found


def numbers(net, x, training=True):
    """Outputs of a forward pass on the host."""
    return net.device.get(net.forward(net.device.put(x, net.parameters.dtype), net.step(training=training))[0])
