"""What is timed apart from whole steps: parts of one, update rules, ways to convolve, feeding, the start, nothing at all."""

from __future__ import annotations

import functools
import itertools
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import xpnet as xn
from xpnet.backends import Device
from xpnet.bench.forms import all_gradients, compared
from xpnet.bench.networks import NETWORKS
from xpnet.bench.results import Case, Check
from xpnet.bench.timing import Work
from xpnet.layers.convolution.plan import METHODS, unsuited
from xpnet.training.feed import Feed, row_order

PARTS = ("input", "forward", "loss", "backward", "update")
RULES = {f.__name__: f for f in (xn.SGD, xn.Momentum, xn.Nesterov, xn.AdaGrad, xn.RMSProp, xn.Adam, xn.AdamW)}
FEEDS = ("shuffle", "rows gathered on the device", "rows gathered on the host and copied")
ROWS, EPOCH = 4096, 256  # rows of the set that is fed from, batches of an epoch


def part(case: Case, device: Device) -> Work:
    """One part of a training step, after those before it: the clock runs for this part alone."""
    network = NETWORKS[case.model]
    trainer = network.trainer(device, case.dtype)
    x, y = network.data(max(ROWS if len(network.shape) == 1 else 4 * case.batch, case.batch), case.dtype)
    x[: case.batch], y[: case.batch] = network.data(case.batch, case.dtype)
    batches = endless(Feed(device, (x, y)), np.arange(case.batch))
    index = PARTS.index(case.form)

    def advance(state: dict[str, Any], until: int) -> dict[str, Any]:
        for name in PARTS[len(state) : until]:
            state[name] = _PART[name](trainer, state, batches)
        return state

    def verify() -> Check:
        net = network.trainer(device, case.dtype).net
        trainer.net.parameters.value[...] = net.parameters.value
        advance({}, len(PARTS))
        return compared(all_gradients(trainer.net), case)

    return Work(lambda state: advance(state, index + 1), verify, device, before=lambda: advance({}, index))


def endless(feed: Feed, rows: np.ndarray) -> Iterator[list]:
    """The batch of these rows again and again; as in training, the order goes to the device once for many batches."""
    while True:
        yield from feed.batches(np.tile(rows, EPOCH), len(rows))


def _forward(trainer: xn.Trainer, state: dict[str, Any], *_: Any) -> tuple:
    step = trainer.net.step(training=True)
    return (step, *trainer.net.forward(state["input"][0], step))


def _loss(trainer: xn.Trainer, state: dict[str, Any], *_: Any) -> Any:
    step, outputs, _cache = state["forward"]
    return trainer.loss(outputs, state["input"][1], step)[1]


def _backward(trainer: xn.Trainer, state: dict[str, Any], *_: Any) -> None:
    step, _outputs, cache = state["forward"]
    trainer.net.backward(state["loss"], cache, step)


_PART: dict[str, Callable] = {
    "input": lambda trainer, state, batches: next(batches),
    "forward": _forward,
    "loss": _loss,
    "backward": _backward,
    "update": lambda trainer, *_: trainer.optimizer.update(trainer.net.parameters),
}


def rule(case: Case, device: Device) -> Work:
    """An optimizer's update of one flat vector; the model's name is its size."""
    size = int(case.model.replace(",", "").split()[0])
    net = xn.Sequential(xn.Affine(size // 1000, bias=False)).build(1000, device=device, dtype=case.dtype)
    rng = np.random.default_rng(0)
    start, slope = (rng.standard_normal(net.parameters.value.size).astype(case.dtype) for _ in range(2))
    net.parameters.grad[...] = device.put(slope)
    optimizer = RULES[case.form](1e-6)

    def verify() -> Check:
        twin = xn.Sequential(xn.Affine(size // 1000, bias=False)).build(1000, dtype="float64")
        found = [_updated(n, RULES[case.form](0.1), start, slope) for n in (net, twin)]
        difference = float(np.abs(found[0] - found[1]).max() / np.abs(found[1] - start).max())
        return Check("the change of the vector, against float64", difference, 1e-5 if case.dtype == "float32" else 1e-12)

    return Work(lambda: optimizer.update(net.parameters), verify, device)


def _updated(net: xn.Sequential, optimizer: xn.Optimizer, start: np.ndarray, slope: np.ndarray) -> np.ndarray:
    """The vector after one update by the rule."""
    net.parameters.value[...], net.parameters.grad[...] = net.device.put(start), net.device.put(slope)
    optimizer.update(net.parameters)
    return net.device.get(net.parameters.value)


LAYERS: dict[str, tuple[tuple[int, ...], dict[str, Any]]] = {  # one image's shape, and the layer's options
    "3x3, 32x32x3 to 32": ((32, 32, 3), {"n_out": 32, "kernel": 3, "padding": 1}),
    "3x3, 32x32x32 to 32": ((32, 32, 32), {"n_out": 32, "kernel": 3, "padding": 1}),
    "3x3, 16x16x64 to 64": ((16, 16, 64), {"n_out": 64, "kernel": 3, "padding": 1}),
    "3x3, 32x32x64 to 64": ((32, 32, 64), {"n_out": 64, "kernel": 3, "padding": 1}),
    "3x3, 8x8x128 to 128": ((8, 8, 128), {"n_out": 128, "kernel": 3, "padding": 1}),
    "5x5, 12x12x20 to 50": ((12, 12, 20), {"n_out": 50, "kernel": 5}),
    "5x5, 28x28x1 to 20": ((28, 28, 1), {"n_out": 20, "kernel": 5}),
    "3x3 stride 2, 32x32x64 to 128": ((32, 32, 64), {"n_out": 128, "kernel": 3, "padding": 1, "stride": 2}),
    "1x1, 16x16x64 to 128": ((16, 16, 64), {"n_out": 128, "kernel": 1}),
    "3x3 depthwise, 32x32x64": ((32, 32, 64), {"n_out": 64, "kernel": 3, "padding": 1, "groups": 64}),
}


def methods(layer: str) -> list[str]:
    """The ways to convolve that suit a layer."""
    shape, options = LAYERS[layer]
    geometry = xn.Sequential(xn.Conv2d(**options)).build(shape).layers[0].geometry
    return [name for name in METHODS if not unsuited(name, geometry)]


def convolution(case: Case, device: Device) -> Work:
    """Forward and backward of one layer by one method."""
    x, dy, net = _layer(case.model, case.form, case.batch, case.dtype, device)
    there = device.put(x), device.put(dy)

    def verify() -> Check:
        found, right = _both_ways(net, *there), _convolved(case.model, case.batch)
        difference = max(float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))) for a, b in zip(found, right, strict=True))
        return Check("outputs and gradients, root mean square, against float64", difference, 1e-4)

    def call() -> None:
        step = net.step(training=True, needs_dx=True)
        net.backward(there[1], net.forward(there[0], step)[1], step)

    return Work(call, verify, device)


def _layer(
    name: str, method: str, batch: int, dtype: str, device: str | Device
) -> tuple[np.ndarray, np.ndarray, xn.Sequential]:
    shape, options = LAYERS[name]
    net = xn.Sequential(xn.Conv2d(**options, method=method)).build(shape, device=device, dtype=dtype)
    rng = np.random.default_rng(0)
    sizes = (batch, *shape), (batch, *net.output_shape)
    x, dy = (rng.standard_normal(s).astype("float32").astype(dtype) for s in sizes)
    return x, dy, net


def _both_ways(net: xn.Sequential, x: Any, dy: Any) -> list[np.ndarray]:
    step = net.step(training=True, needs_dx=True)
    y, cache = net.forward(x, step)
    dx = net.backward(dy, cache, step)
    return [net.device.get(a) for a in (y, dx, net.parameters.grad)]


@functools.lru_cache(maxsize=8)
def _convolved(name: str, batch: int) -> list[np.ndarray]:
    x, dy, net = _layer(name, "im2col", batch, "float64", "cpu")
    return _both_ways(net, x, dy)


def feeding(case: Case, device: Device) -> Work:
    """Rows on their way to the network: the order of an epoch, or one minibatch of a shuffled set."""
    x = np.random.default_rng(0).random((ROWS, 784), np.float32).astype(case.dtype)
    if case.form == "shuffle":
        epochs = itertools.count()

        def drawn() -> Check:
            return Check("rows that are missing", float(len(set(range(ROWS)) - set(row_order(ROWS, 0, 0).tolist()))), 0.0)

        return Work(lambda: row_order(ROWS, 0, next(epochs)), drawn, device)
    rows = row_order(ROWS, 0, 0)[: case.batch]
    batches = endless(Feed(device, (x,)), rows)

    def call() -> Any:
        return next(batches)[0] if case.form == FEEDS[1] else device.put(x[rows])

    return Work(call, lambda: Check("rows", float(np.abs(device.get(call()) - x[rows]).max()), 0.0), device)


STARTS = ("import", "first step", "second step")
ON_GPU = ("context and first kernel", "first step with kernels compiled before")
_START = """
import json, sys, time
t = [time.perf_counter()]
import xpnet as xn
from xpnet.bench.networks import NETWORKS
t.append(time.perf_counter())
device = xn.device(sys.argv[1])
device.xp.zeros(1, dtype="float32") + 1
device.synchronize()
t.append(time.perf_counter())
network = NETWORKS[sys.argv[2]]
trainer, (x, y) = network.trainer(device, sys.argv[4]), network.data(int(sys.argv[3]), sys.argv[4])
x, y = device.put(x), device.put(y)
device.synchronize()
t.append(time.perf_counter())
for _ in range(2):
    loss = trainer.step(x, y)
    device.synchronize()
    t.append(time.perf_counter())
assert device.idle()
print(json.dumps({"seconds": [b - a for a, b in zip(t, t[1:])], "loss": float(loss)}))
"""


def start(case: Case, device: Device) -> Work:
    """What a program pays once, each time in a process of its own; kernels are compiled anew unless the form says otherwise."""
    losses: list[float] = []

    def fresh() -> float:
        with tempfile.TemporaryDirectory() as cache:
            found = _child(case, {} if case.form == ON_GPU[1] else {"CUPY_CACHE_DIR": cache})
        losses.append(found["loss"])
        place = {"import": 0, ON_GPU[0]: 1, "first step": 3, ON_GPU[1]: 3, "second step": 4}[case.form]
        return found["seconds"][place]

    def verify() -> Check:
        fresh()
        network = NETWORKS[case.model]
        trainer, (x, y) = network.trainer("cpu", "float64"), network.data(case.batch, "float64")
        right = [float(trainer.step(x, y)) for _ in range(2)][-1]
        return Check("the second step's loss, against float64", abs(losses[-1] - right) / abs(right), 1e-4)

    return Work(lambda: None, verify, device, timer=fresh)


def _child(case: Case, environment: dict[str, str]) -> dict[str, Any]:
    command = [sys.executable, "-c", _START, case.device, case.model, str(case.batch), case.dtype]
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **environment})
    if done.returncode:
        raise RuntimeError(f"{case.name}: a fresh process ended with an error: {done.stderr.strip().splitlines()[-1:]}")
    return json.loads(done.stdout.splitlines()[-1])


YARDSTICKS = ("no-op", "product", "exp", "copy", "Python")


def yardstick(case: Case, device: Device) -> Work:
    """No work, which is what the harness itself takes; or work that is not xpnet's, which tells how quick the machine is."""
    xp, n = device.xp, 512
    a = device.put(np.random.default_rng(0).random((n, n), np.float32))
    out = device.empty((n, n), "float32")
    calls: dict[str, Callable[[], Any]] = {
        "no-op": lambda: None,
        "product": lambda: xp.matmul(a, a, out=out),
        "exp": lambda: xp.exp(a, out=out),
        "copy": lambda: xp.copyto(out, a),
        "Python": lambda: sum(i for i in range(1000)),
    }
    results: dict[str, Callable[[Any], Any]] = {"product": lambda a: a @ a, "exp": np.exp, "copy": np.copy}
    right = results.get(case.form)

    def verify() -> Check:
        if right is None:
            return Check("nothing", 0.0, 0.0)
        expected = right(device.get(a).astype("float64"))
        calls[case.form]()
        return Check("numbers", float(np.abs(device.get(out) - expected).max() / np.abs(expected).max()), 1e-5)

    return Work(calls[case.form], verify, device)
