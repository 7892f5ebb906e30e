"""One training step in all its forms, and the gradient by which each is checked."""

from __future__ import annotations

import functools

import numpy as np

from xpnet import book
from xpnet.backends import Device
from xpnet.bench.networks import LEARNING_RATE, NETWORKS, Network
from xpnet.bench.results import Case, Check
from xpnet.bench.timing import Work
from xpnet.network import Sequential
from xpnet.training import Trainer

FORMS = ("book", "per sample", "matrix")
TOLERANCE = {"float32": 1e-4, "float64": 1e-9}  # of a gradient
OF_IMAGES = 1e-2  # in float32, where a pool may choose another of two like numbers


def step(case: Case, device: Device) -> Work:
    """A whole training step on rows that are on the device already."""
    network = NETWORKS[case.model]
    return _books(case, network, device) if case.form == "book" else _xpnets(case, network, device)


def _xpnets(case: Case, network: Network, device: Device) -> Work:
    trainer = network.trainer(device, case.dtype)
    x, y = (device.put(a) for a in network.data(case.batch, case.dtype))
    start = trainer.net.parameters.value.copy()
    per_sample = case.form == "per sample"

    def call() -> None:
        trainer.step(x, y, per_sample=per_sample)

    def verify() -> Check:
        trainer.net.parameters.value[...] = start
        call()
        return compared(all_gradients(trainer.net), case)

    return Work(call, verify, device)


def _books(case: Case, network: Network, device: Device) -> Work:
    """The program of the book, as it is written: lists of pairs of columns, in float64."""
    if device.kind != "cpu" or case.dtype != "float64" or not network.books:
        raise ValueError(f"{case.name}: the book's program has sigmoids and computes on the CPU in float64")
    net, pairs = _books_network(network), _pairs(network, case.batch)

    def verify() -> Check:
        again = _books_network(network)
        again.update_mini_batch(pairs, -1.0)  # ascends by one gradient: what it adds is the gradient
        found = _flat([a - b for a, b in zip(again.weights, _books_network(network).weights, strict=True)], again, network)
        return compared(found, case)

    return Work(lambda: net.update_mini_batch(pairs, LEARNING_RATE), verify, device)


def _books_network(network: Network) -> book.Network:
    """With the initial values of xpnet's."""
    net = book.Network(list(network.sizes), seed=0)
    parameters = network.trainer("cpu", "float64").net.parameters
    names = [name for name in parameters if name.endswith(".W")]
    net.weights = [parameters[name].value.T.copy() for name in names]
    net.biases = [parameters[name.replace(".W", ".b")].value[:, None].copy() for name in names]
    return net


def _pairs(network: Network, n: int) -> list[tuple[np.ndarray, np.ndarray]]:
    x, y = network.data(n, "float64")
    return [(row[:, None], target[:, None]) for row, target in zip(x, y, strict=True)]


def _flat(weights: list[np.ndarray], net: book.Network, network: Network) -> np.ndarray:
    """The book's gradients in the order of xpnet's vector."""
    start = _books_network(network).biases
    biases = [a - b for a, b in zip(net.biases, start, strict=True)]
    return np.concatenate([a.ravel() for w, b in zip(weights, biases, strict=True) for a in (w.T, b)])


@functools.lru_cache(maxsize=64)
def all_gradients(net: Sequential) -> np.ndarray:
    """A network's gradients one behind the other, each in C order, whatever their order in memory."""
    return np.concatenate([net.device.get(entry.grad).ravel() for entry in net.parameters.trainable])


def gradient(model: str, batch: int) -> np.ndarray:
    """The step's gradient in float64 by another way: the book's backprop, or else whole layers at a time."""
    network = NETWORKS[model]
    if network.books:
        net = _books_network(network)
        sums = [np.zeros_like(a) for w, b in zip(net.weights, net.biases, strict=True) for a in (w.T, b)]
        for x, y in _pairs(network, batch):
            nabla_b, nabla_w = net.backprop(x, y)
            for total, part in zip(sums, (a for w, b in zip(nabla_w, nabla_b, strict=True) for a in (w.T, b)), strict=True):
                total += part
        return np.concatenate([a.ravel() for a in sums]) / batch
    return _layer_by_layer(network.trainer("cpu", "float64"), *network.data(batch, "float64"))


def _layer_by_layer(trainer: Trainer, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Without blocks, threads and records of calls."""
    step = trainer.net.step(training=True)
    step.splits = False
    outputs, cache = trainer.net.forward(x, step)
    trainer.net.backward(trainer.loss(outputs, y, step)[1], cache, step)
    return all_gradients(trainer.net)


def compared(found: np.ndarray, case: Case) -> Check:
    """How far a gradient is from the right one: root mean square, relative."""
    right = gradient(case.model, case.batch)
    difference = float(np.linalg.norm(found - right) / np.linalg.norm(right))
    loose = case.dtype == "float32" and not NETWORKS[case.model].sizes
    return Check("gradient, against float64 by another way", difference, OF_IMAGES if loose else TOLERANCE[case.dtype])
