"""What has to be the same for a training to go on as if it had never stopped."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.checks import to_host
from xpnet.layers.base import Configured
from xpnet.saving.describing import CLASS, by_name, describe, make, take_over
from xpnet.saving.networks import description
from xpnet.training.data import Prepared

if TYPE_CHECKING:
    from xpnet.training.run import Run
    from xpnet.training.trainer import Trainer

DATA = {"data": "training rows", "validation": "validation rows"}
SAMPLED = 1024  # rows of the inputs by which they are known again; targets and weights are read whole


def settings_of(run: Run) -> dict[str, Any]:
    """Network, loss, optimizer, order of the samples and data, for JSON."""
    trainer, network = run.trainer, description(run.trainer.net)
    return {
        "batch_size": run.size,
        "shuffle": run.shuffle,
        "per_sample": run.per_sample,
        "seed": trainer.seed,
        "dtype": trainer.net.parameters.dtype.name,
        "precision": trainer.precision,
        "loss_scale": trainer.half and trainer.half.loss_scale,
        "metrics": list(trainer.metrics),
        "rows": len(run.data.x),
        "data": fingerprint(trainer, run.data),
        "validation": run.held_out and fingerprint(trainer, run.held_out),
        "parts": {**parts_of(trainer), **of_network(network)},
    }


def parts_of(trainer: Trainer) -> dict[str, Any]:
    """Those settings that a callback may change while it trains, but for the network's, which its file has anyway."""
    return {"loss": describe(trainer.loss), "optimizer": describe(trainer.optimizer)}


def of_network(found: dict[str, Any]) -> dict[str, Any]:
    """Those of a network, from its description."""
    return {"network": found["architecture"], "frozen": found["frozen"]}


def own_classes(trainer: Trainer) -> dict[str, type]:
    """Classes of loss, optimizer and schedules, by name: the user's own are among them."""
    found, waiting = [], [trainer.loss, trainer.optimizer]
    while waiting:
        part = waiting.pop()
        if isinstance(part, Configured):
            found.append(type(part))
            waiting += part.config().values()
    return by_name(found)


def made_again(trainer: Trainer, parts: dict[str, Any], own: Mapping[str, type]) -> tuple[Any, Any]:
    """Loss and optimizer of a checkpoint: the trainer's, or new ones where a callback had put others in their place.

    ValueError, TypeError or KeyError for what cannot be made.
    """
    pairs = ((trainer.loss, parts["loss"]), (trainer.optimizer, parts["optimizer"]))
    loss, optimizer = (now if describe(now)[CLASS] == then[CLASS] else make(then, own) for now, then in pairs)
    return loss, optimizer


def change_parts(trainer: Trainer, parts: dict[str, Any], own: Mapping[str, type]) -> None:
    """Set them to what they were when a checkpoint was written."""
    trainer.loss, trainer.optimizer = made_again(trainer, parts, own)
    for part, found in ((trainer.net, "network"), (trainer.loss, "loss"), (trainer.optimizer, "optimizer")):
        take_over(part, parts[found], own)
    frozen = {p.name for p in trainer.net.parameters.trainable if p.frozen}
    for names, freezes in ((set(parts["frozen"]) - frozen, True), (frozen - set(parts["frozen"]), False)):
        if names:
            trainer.net.parameters.freeze(*names, frozen=freezes)


def fingerprint(trainer: Trainer, data: Prepared) -> int:
    """CRC-32 of up to 1,024 rows of the inputs, evenly spread, and of all targets and weights."""
    found = 0
    rows = slice(None, None, -(-len(data.x) // SAMPLED))
    for a, part in ((data.x, rows), (data.y, slice(None)), (data.weights, slice(None))):
        if a is not None:
            host = np.ascontiguousarray(to_host(trainer.device, a[part]))
            found = zlib.crc32(f"{host.dtype.str} {a.shape}".encode(), found)
            found = zlib.crc32(host.reshape(-1).view(np.uint8).data, found)
    return found


def differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Where two settings differ: "batch_size was 32, is 64"."""
    if isinstance(found, list) and isinstance(wanted, list):
        if len(found) != len(wanted):
            return [f"{path} were {len(found)}, are {len(wanted)}"]
        found, wanted = ({str(i): value for i, value in enumerate(values)} for values in (found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict) and (not path or found.keys() == wanted.keys()):
        keys = {**found, **wanted}
        at = f"{path}." if path else ""
        return [line for key in keys for line in differences(found.get(key), wanted.get(key), at + key)]
    if found != wanted and path in DATA:
        if None in (found, wanted):
            return [f"there were {'no ' * (found is None)}{DATA[path]}, now there are {'none' if wanted is None else 'some'}"]
        return [f"the {DATA[path]} are not those that it was trained with"]
    if found == wanted or repr(found) == repr(wanted):  # NaN is not equal to itself
        return []
    return [f"{path.removeprefix('parts.')} was {_short(found)}, is {_short(wanted)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
