"""What the tests of the core share: small networks and data, steps by hand, and a count of allocations on every device."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from types import SimpleNamespace

import numpy as np

import xpnet as xn


def mlp(*, seed: int = 0, device: xn.Device | str = "cpu", dtype: str = "float32", features: int = 4) -> xn.Sequential:
    """A built 4-6-3 network with dropout: every kind of thing that a step carries."""
    net = xn.Sequential(xn.Affine(6), xn.Tanh(), xn.Dropout(0.25), xn.Affine(3))
    return net.build((features,), device=device, dtype=dtype, seed=seed)


def classes_data(n: int = 60, features: int = 4, classes: int = 3, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Blobs, one a class, that a small network learns in a few epochs."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, n)
    labels[:classes] = np.arange(classes)
    centres = 2 * rng.standard_normal((classes, features))
    return (centres[labels] + rng.standard_normal((n, features))).astype(np.float32), labels


def regression_data(n: int = 60, features: int = 4, seed: int = 2) -> tuple[np.ndarray, np.ndarray]:
    """Rows and numbers (N,) that depend on them linearly, with a little noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, features))
    return x.astype(np.float32), (x @ rng.standard_normal(features) + 0.1 * rng.standard_normal(n)).astype(np.float32)


def exact(device: xn.Device) -> bool:
    """Whether its numbers are NumPy's to the last bit: a GPU's are not, nor cpu-fast's exponential and its kin."""
    return device.kind != "cuda" and device.name != "cpu-fast"


def bits(parameters: xn.Sequential | xn.Trainer) -> bytes:
    """Every parameter and running statistic as bytes: equal only if all are equal to the last bit."""
    net = getattr(parameters, "net", parameters)
    return b"".join(a.tobytes() for a in net.parameters.snapshot().values())


def run_step(net: xn.Sequential, loss: xn.Loss, optimizer: xn.Optimizer, x: object, y: object) -> SimpleNamespace:
    """One training step as a user writes it by hand; everything it made comes back, and so is held by the caller."""
    step = net.step(training=True, needs_dx=True)
    logits, cache = net.forward(x, step)
    value, dlogits = loss(logits, y, step)
    dx = net.backward(dlogits, cache, step)
    optimizer.update(net.parameters)
    return SimpleNamespace(logits=logits, value=value, dlogits=dlogits, dx=dx)


@contextlib.contextmanager
def allocations(device: xn.Device) -> Iterator[SimpleNamespace]:
    """Counts in ``.count`` what the block allocates: every array on the simulated GPU, elsewhere every ``device.empty``."""
    seen = SimpleNamespace(count=0)
    if device.kind == "sim":
        with xn.ledger() as counts:
            yield seen
        seen.count = counts.allocations
        return
    original = device.empty

    def counting(shape: tuple[int, ...], dtype: object) -> object:
        seen.count += 1
        return original(shape, dtype)

    device.empty = counting
    try:
        yield seen
    finally:
        del device.empty


def address(device: xn.Device, a: object) -> int:
    """Where an array's memory begins."""
    return a.ctypes.data if device.kind == "cpu" else a.data.ptr


def shares_memory(device: xn.Device, part: object, whole: object) -> bool:
    """Whether a write to ``whole`` shows in ``part``: tried out, and undone."""
    before = device.get(whole)
    with device.use():
        whole[...] = 7
        seen = device.get(part)
        whole[...] = device.put(before)
    return bool((seen == 7).all())
