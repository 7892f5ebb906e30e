"""Networks in safetensors files, and their arrays as PyTorch has them."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.checks import check_seed, check_shape
from xpnet.layers import Conv2d
from xpnet.network import Sequential
from xpnet.saving.describing import by_name, describe, lost, make
from xpnet.saving.files import Stored, read, reading, write
from xpnet.saving.layouts import Arrays, Layout
from xpnet.saving.orders import NoPyTorchOrder

LARGEST = 1 << 31  # numbers of a sample between layers, 8 GiB in float32: no file is believed that needs more
PYTORCH, OURS = "pytorch", "channels-last"  # the order of features of flattened images


def save(path: str | os.PathLike, net: Sequential, about: Mapping[str, Any] | None = None) -> None:
    """Write a network; what ``about`` says goes into the file as well. A net on a device is copied to the host.

    TypeError, before anything is written, where a layer has options that a file does not hold.
    """
    _built(net)
    found = description(net)
    if reasons := list(lost(found["architecture"])):
        raise TypeError(f"the network could not be made again from a file: {'; '.join(reasons[:3])}. Nothing was written")
    write_network(path, net, layout_of(net), found, about or {}, {})


def write_network(
    path: str | os.PathLike,
    net: Sequential,
    layout: tuple[Layout, str],
    found: Mapping[str, Any],
    about: Mapping[str, Any],
    arrays: Arrays,
) -> None:
    """Write a network as ``found`` describes it, with whatever else."""
    tensors = {**layout[0].to_torch(net.parameters.snapshot()), **arrays}
    write(path, tensors, {"network": found, "order": layout[1], **about})


def load(path: str | os.PathLike, device: str | Device = "cpu", *, own: Iterable[type] | type = ()) -> Sequential:
    """The network in a file that :meth:`Sequential.save`, a checkpoint or ``xpnet train --save`` wrote, built on a device.

    It does not matter on which device it was trained. ``own``: the classes of layers of your own that it has.
    Raises OSError where the file is not there and ValueError where it is damaged or was not written by xpnet.
    """
    return network_in(read(path), path, device, own)


def network_in(
    stored: Stored, path: str | os.PathLike, device: str | Device = "cpu", own: Iterable[type] | type = ()
) -> Sequential:
    """The network in what was read from a file; arguments as of :func:`load`."""
    if stored.about is None:
        raise ValueError(
            f"{os.fspath(path)} holds arrays only, no network by xpnet: build one and give it "
            f"safetensors.numpy.load_file(path) by net.load_state_dict(...)"
        )
    target, classes = resolve(device).device, by_name(own)
    with reading(path, "no network can be made of it"):
        return _made(stored, target, classes)


def state_dict(net: Sequential) -> Arrays:
    return {name: np.array(a, order="C") for name, a in Layout(net, *_built(net)).to_torch(net.parameters.snapshot()).items()}


def load_state_dict(net: Sequential, state: Mapping[str, Any], *, by_order: bool = False) -> None:
    layout, what = Layout(net, *_built(net)), "load_state_dict: the state"
    if not isinstance(state, Mapping) or not all(isinstance(name, str) for name in state):
        raise TypeError(
            f"load_state_dict({type(state).__name__}): arrays by name are needed, as module.state_dict() gives them"
        )
    arrays = {name: as_host(a, f"load_state_dict: {name}") for name, a in state.items()}
    net.parameters.restore(layout.from_torch(layout.in_order(arrays, what) if by_order else arrays, what))


def as_host(a: Any, name: str = "") -> np.ndarray:
    """A NumPy array of an array or of a PyTorch tensor; of bfloat16, which NumPy has not, in float32."""
    if not hasattr(a, "detach"):
        return np.asarray(a)
    tensor = a.detach().cpu()
    try:
        return np.asarray(tensor.float() if "bfloat16" in str(tensor.dtype) else tensor)
    except (TypeError, RuntimeError) as error:
        raise TypeError(f"{name} is no array of numbers that NumPy has ({error})") from error


def layout_of(net: Sequential) -> tuple[Layout, str]:
    """How a network's parameters lie in a file; in xpnet's order of features where PyTorch has none for it."""
    try:
        return Layout(net, *_built(net)), PYTORCH
    except NoPyTorchOrder:
        return Layout(net, *_built(net), permutes=False), OURS


def description(net: Sequential) -> dict[str, Any]:
    """What a network is, apart from its numbers."""
    return {
        "architecture": describe(net),
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
    net, shape = make(found["architecture"], own), check_shape(found["input_shape"])
    if not isinstance(net, Sequential) or about["order"] not in (PYTORCH, OURS):
        raise ValueError(f"a {type(net).__name__} in the order {about['order']!r}")

    def values(entries: list) -> Arrays:
        if (size := largest(net)) > LARGEST:
            raise ValueError(f"a sample would become {size:,} numbers on the way")
        layout = Layout(net, shape, entries, permutes=about["order"] == PYTORCH)
        return layout.from_torch(parameters_in(stored), "the file")

    net.build_from(shape, values, device=device, dtype=found["dtype"], seed=found["seed"])
    net.count_step(by=check_seed(found["steps_begun"]))
    if found["frozen"]:
        net.parameters.freeze(*found["frozen"])
    return net


def largest(net: Sequential) -> int:
    """The numbers of a sample where it is largest, between layers or padded for a convolution."""
    sizes = [math.prod(shape) for part in (net, *net.walk()) for shape in getattr(part, "shapes", ())]
    for layer in net.walk():
        if isinstance(layer, Conv2d):
            sides = [axis.before + axis.length + axis.after for axis in (layer.geometry.rows, layer.geometry.columns)]
            sizes.append(math.prod(sides) * layer.geometry.channels)
    return max(sizes)


def _built(net: Sequential) -> tuple[Any, Any]:
    parameters = net.parameters  # raises NotBuilt
    return net.input_shape, parameters.values()
