"""A trained network in a file with what turns a user's data into its inputs and its outputs into answers."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.backends import Device
from xpnet.network import Sequential
from xpnet.preprocessing import Classes, Columns, Quantity, Rows, Target
from xpnet.saving.files import read, reading
from xpnet.saving.networks import network_in, save

MODEL = "model.safetensors"  # in the folder of a run
TARGETS: dict[str, type[Classes] | type[Quantity]] = {"classification": Classes, "regression": Quantity}


@dataclass(frozen=True)
class Model:
    """A network, its inputs and its target."""

    net: Sequential
    inputs: Columns | Rows
    target: Target
    data: str  # what it was trained on


def save_model(path: str | os.PathLike, model: Model) -> None:
    """Write a model into one file, atomically; ValueError where training has diverged, OSError where it cannot be written."""
    vectors = (model.net.parameters.value, model.net.parameters.state)
    if not all(np.isfinite(model.net.device.get(vector)).all() for vector in vectors):
        raise ValueError("the network's parameters are not finite, training has diverged: nothing was saved")
    save(path, model.net, about(model.inputs, model.target, model.data))


def about(inputs: Columns | Rows, target: Target, data: str) -> dict[str, Any]:
    """What a file holds of a model beside the network."""
    form = inputs.as_dict() if isinstance(inputs, Columns) else asdict(inputs)
    return {
        "inputs": {"kind": type(inputs).__name__, **form},
        "target": {"task": target.task, **asdict(target)},
        "data": data,
    }


def load_model(path: str | os.PathLike, device: str | Device = "cpu") -> Model:
    """The model in a file, a checkpoint, or the folder of a finished run; ValueError where it is damaged or has no model."""
    path = Path(path).expanduser()
    file = path / MODEL if path.is_dir() else path
    if file != path and not file.is_file():
        hint = ""
        if checkpoints := sorted(path.glob("checkpoint-*.safetensors")):
            begun = (path / "run.json").exists()
            goes_on = f"its training has not ended, or has diverged: xpnet train --resume {path}"
            hint = f"; {goes_on if begun else f'it has the checkpoints of a script, {checkpoints[-1]} for instance'}"
        raise FileNotFoundError(f"{path} has no {MODEL}, which xpnet train ... --save {path} writes{hint}")
    stored = read(file)
    net, found = network_in(stored, file, device), stored.about or {}
    if missing := [name for name in ("inputs", "target", "data") if name not in found]:
        raise ValueError(f"{file} has no {missing[0]}: it holds a network alone, which xpnet.load reads")
    with reading(file, "no model can be made of it"):
        return _from_dict(net, found)


def _from_dict(net: Sequential, found: Mapping[str, Any]) -> Model:
    what = {k: v for k, v in found["inputs"].items() if k != "kind"}
    inputs = Columns.from_dict(what) if found["inputs"]["kind"] == "Columns" else Rows(**what)
    goal = {k: v for k, v in found["target"].items() if k != "task"}
    target: Target = TARGETS[found["target"]["task"]](**goal)
    if (net.input_shape, net.output_shape) != ((inputs.width,), (target.outputs,)):
        raise ValueError(
            f"a network from {net.input_shape} to {net.output_shape} for {inputs.width} inputs, {target.outputs} outputs"
        )
    return Model(net, inputs, target, str(found["data"]))
