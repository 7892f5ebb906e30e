"""A trained network in a folder, with what turns a user's data into its inputs and its outputs into answers."""

from __future__ import annotations

import json
import os
import shutil
import zipfile
import zlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from xpnet import layers
from xpnet.backends import Device, resolve
from xpnet.initializers import glorot_normal, he_normal
from xpnet.network import Sequential
from xpnet.preprocessing import Classes, Columns, Quantity, Rows, Target

FORMAT = 1
TARGETS: dict[str, type[Classes] | type[Quantity]] = {"classification": Classes, "regression": Quantity}
FILES = ("model.json", "parameters.npz")
ACTIVATIONS: dict[str, type[layers.Layer]] = {
    "relu": layers.ReLU,
    "sigmoid": layers.Sigmoid,
    "tanh": layers.Tanh,
    "leaky-relu": layers.LeakyReLU,
    "elu": layers.ELU,
    "gelu": layers.GELU,
    "silu": layers.SiLU,
    "softplus": layers.Softplus,
}


@dataclass(frozen=True)
class Model:
    """A network of Affine layers, ``hidden`` wide with ``activation`` between them, its inputs and its target."""

    net: Sequential
    hidden: tuple[int, ...]
    activation: str
    inputs: Columns | Rows
    target: Target
    data: str  # what it was trained on


def network(hidden: Sequence[int], activation: str, outputs: int) -> Sequential:
    """Affine layers of the given widths with the activation between them, not built."""
    init = glorot_normal if activation in ("sigmoid", "tanh") else he_normal
    chain = [layer for n in hidden for layer in (layers.Affine(n, init=init), ACTIVATIONS[activation]())]
    return Sequential(*chain, layers.Affine(outputs, init=init))


def check_folder(folder: str | os.PathLike) -> Path:
    """The path of a folder to save in; OSError where something else than a saved network is there, or it cannot be made."""
    path = Path(folder).expanduser().resolve()
    if path.exists() and not _is_ours(path):
        raise FileExistsError(f"{path} exists and is no network saved by xpnet: choose another name, nothing was changed")
    holder = next(parent for parent in path.parents if parent.exists())
    if not holder.is_dir() or not os.access(holder, os.W_OK):
        raise NotADirectoryError(f"{folder} cannot be made: {holder} is no folder that can be written to")
    return path


def save(folder: str | os.PathLike, model: Model) -> None:
    """Write ``model.json`` and ``parameters.npz`` into a new folder, or in place of a network saved there before.

    They are written beside it and renamed, so that a broken run leaves nothing half done.
    """
    path = check_folder(folder)
    parameters = model.net.parameters.snapshot()
    if not all(np.isfinite(values).all() for values in parameters.values()):
        raise ValueError("the network's parameters are not finite, training has diverged: nothing was saved")
    fresh, old = (path.with_name(f".{path.name}.{os.getpid()}.{kind}") for kind in ("new", "old"))
    fresh.mkdir(parents=True)
    try:
        (fresh / FILES[0]).write_text(json.dumps(_as_dict(model), indent=1, allow_nan=False) + "\n", "utf-8")
        np.savez(fresh / FILES[1], **parameters)  # type: ignore[arg-type]
        if path.exists():
            path.rename(old)
        fresh.rename(path)
    except BaseException:
        shutil.rmtree(fresh, ignore_errors=True)
        if old.exists() and not path.exists():
            old.rename(path)
        shutil.rmtree(old, ignore_errors=True)  # the new one was in place already
        raise
    shutil.rmtree(old, ignore_errors=True)


def load(folder: str | os.PathLike, device: str | Device = "cpu") -> Model:
    """The network saved in a folder, built on the device; ValueError where its files are damaged."""
    path, target = Path(folder) / FILES[0], resolve(device).device
    if not path.is_file():
        raise FileNotFoundError(
            f"{folder} is no network saved by xpnet: it has no {FILES[0]} (xpnet train ... --save {folder})"
        )
    try:
        stored = json.loads(path.read_text("utf-8"))
        if (number := stored["format"]) != FORMAT:
            raise Unknown(f"{path} has format {number!r}, this xpnet reads {FORMAT}: it was saved by xpnet {stored['xpnet']}")
        model = _from_dict(stored, target)
    except Unknown:
        raise
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{path} is damaged ({reason}): train and save again") from error
    model.net.parameters.restore(_parameters(Path(folder) / FILES[1], model.net))
    return model


class Unknown(ValueError):
    """A format that this version does not read."""


def _is_ours(path: Path) -> bool:
    """Whether a folder holds a saved network and nothing else, so that it may be replaced."""
    if not path.is_dir() or sorted(p.name for p in path.iterdir()) != sorted(FILES):
        return False
    try:
        stored = json.loads((path / FILES[0]).read_text("utf-8"))
    except ValueError:
        return False
    return isinstance(stored, dict) and {"format", "xpnet", "network"} <= stored.keys()


def _as_dict(model: Model) -> dict[str, Any]:
    from xpnet import __version__

    inputs = model.inputs.as_dict() if isinstance(model.inputs, Columns) else asdict(model.inputs)
    return {
        "format": FORMAT,
        "xpnet": __version__,
        "data": model.data,
        "network": {
            "hidden": list(model.hidden),
            "activation": model.activation,
            "dtype": model.net.parameters.dtype.name,
        },
        "inputs": {"kind": type(model.inputs).__name__, **inputs},
        "target": {"task": model.target.task, **asdict(model.target)},
    }


def _from_dict(stored: dict[str, Any], device: Device) -> Model:
    """The model, its network built and not yet filled; KeyError, TypeError or ValueError where something is wrong."""
    what = {k: v for k, v in stored["inputs"].items() if k != "kind"}
    kind = {"Columns": Columns, "Rows": Rows}[stored["inputs"]["kind"]]
    inputs = Columns.from_dict(what) if kind is Columns else Rows(**what)
    goal = {k: v for k, v in stored["target"].items() if k != "task"}
    target: Target = TARGETS[stored["target"]["task"]](**goal)
    hidden, activation = tuple(stored["network"]["hidden"]), stored["network"]["activation"]
    net = network(hidden, activation, target.outputs)
    net.build(inputs.width, device=device, dtype=stored["network"]["dtype"])
    return Model(net, hidden, activation, inputs, target, str(stored["data"]))


def _parameters(path: Path, net: Sequential) -> dict[str, np.ndarray]:
    """The arrays in a file, checked against the network's."""
    try:
        with path.open("rb") as file:
            stored = np.load(file, allow_pickle=False)
            arrays = {name: stored[name] for name in stored.files}
    except FileNotFoundError:
        raise
    except (ValueError, EOFError, OSError, AttributeError, TypeError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(f"{path} is damaged: train and save again") from error
    shapes = {name: net.parameters[name].shape for name in net.parameters}
    if {name: a.shape for name, a in arrays.items()} != shapes or any(a.dtype.kind != "f" for a in arrays.values()):
        raise ValueError(f"{path} does not hold the parameters of the network in {FILES[0]}: train and save again")
    if not all(np.isfinite(a).all() for a in arrays.values()):
        raise ValueError(f"{path} is damaged: a parameter is not finite; train and save again")
    return arrays
