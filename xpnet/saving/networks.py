"""Networks in safetensors files, and their arrays as PyTorch has them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.network import Sequential, check_shape
from xpnet.saving.describing import by_name, configuration, make
from xpnet.saving.files import Stored, read, reading, write
from xpnet.saving.layouts import Arrays, Layout
from xpnet.saving.orders import NoPyTorchOrder

PYTORCH, OURS = "pytorch", "channels-last"  # the order of features of flattened images


def save(
    path: str | os.PathLike, net: Sequential, about: Mapping[str, Any] | None = None, arrays: Arrays | None = None
) -> None:
    """Write a network; ``about`` and ``arrays`` go into the file as well. A net on a device is copied to the host."""
    layout, order = layout_of(net)
    tensors = {**layout.to_torch(net.parameters.snapshot()), **(arrays or {})}
    write(path, tensors, {"network": description(net), "order": order, **(about or {})})


def load(path: str | os.PathLike, device: str | Device = "cpu", *, own: Iterable[type] = ()) -> Sequential:
    """The network in a file that :meth:`Sequential.save`, a checkpoint or ``xpnet train --save`` wrote, built on a device.

    It does not matter on which device it was trained. ``own``: the classes of layers of your own that it has.
    Raises OSError where the file is not there and ValueError where it is damaged or was not written by xpnet.
    """
    return network_in(read(path), path, device, own)


def network_in(stored: Stored, path: str | os.PathLike, device: str | Device = "cpu", own: Iterable[type] = ()) -> Sequential:
    """The network in what was read from a file."""
    if stored.about is None:
        raise ValueError(
            f"{os.fspath(path)} holds arrays only, no network by xpnet: build one and give it "
            f"safetensors.numpy.load_file(path) by net.load_state_dict(...)"
        )
    target = resolve(device).device
    with reading(path, "no network can be made of it"):
        return _made(stored, target, by_name(own))


def state_dict(net: Sequential) -> Arrays:
    return {name: np.array(a, order="C") for name, a in Layout(net, *_built(net)).to_torch(net.parameters.snapshot()).items()}


def load_state_dict(net: Sequential, state: Mapping[str, Any], *, by_order: bool = False) -> None:
    layout, what = Layout(net, *_built(net)), "load_state_dict: the state"
    arrays = {name: as_host(a) for name, a in state.items()}
    net.parameters.restore(layout.from_torch(layout.in_order(arrays, what) if by_order else arrays, what))


def as_host(a: Any) -> np.ndarray:
    """A NumPy array of an array or of a PyTorch tensor."""
    return np.asarray(a.detach().cpu() if hasattr(a, "detach") else a)


def layout_of(net: Sequential) -> tuple[Layout, str]:
    """How a network's parameters lie in a file; in xpnet's order of features where PyTorch has none for it."""
    try:
        return Layout(net, *_built(net)), PYTORCH
    except NoPyTorchOrder:
        return Layout(net, *_built(net), permutes=False), OURS


def description(net: Sequential) -> dict[str, Any]:
    """What a network is, apart from its numbers."""
    return {
        **configuration(net),
        "input_shape": list(net.input_shape),
        "dtype": net.parameters.dtype.name,
        "seed": net.seed,
        "steps_begun": net.steps_begun,
        "frozen": [p.name for p in net.parameters.trainable if p.frozen],
    }


def parameters_in(stored: Stored) -> Arrays:
    """The network's own arrays, whose names begin with a layer's number; a checkpoint has others beside them."""
    return {name: a for name, a in stored.arrays.items() if name.partition(".")[0].isdigit()}


def _made(stored: Stored, device: Device, own: Mapping[str, type]) -> Sequential:
    about: Any = stored.about
    found = about["network"]
    net, shape = Sequential(*make(found["layers"], own)), check_shape(found["input_shape"])

    def values(entries: list) -> Arrays:
        layout = Layout(net, shape, entries, permutes=about["order"] == PYTORCH)
        return layout.from_torch(parameters_in(stored), "the file")

    net.build_from(shape, values, device=device, dtype=found["dtype"], seed=found["seed"])
    net.count_step(by=found["steps_begun"])
    if found["frozen"]:
        net.parameters.freeze(*found["frozen"])
    return net


def _built(net: Sequential) -> tuple[Any, Any]:
    parameters = net.parameters  # raises NotBuilt
    return net.input_shape, parameters.values()
