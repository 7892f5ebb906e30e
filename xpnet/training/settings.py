"""What has to be the same for a training to go on as if it had never stopped."""

from __future__ import annotations

import zlib
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.checks import to_host
from xpnet.saving.describing import describe
from xpnet.saving.networks import description
from xpnet.training.data import Prepared

if TYPE_CHECKING:
    from xpnet.training.run import Run
    from xpnet.training.trainer import Trainer

SAMPLED = 1024  # rows by which data are known again
MAY_CHANGE = ("seed", "steps_begun", "frozen", "dtype")  # of a network's description; the seed is the trainer's


def settings_of(run: Run) -> dict[str, Any]:
    """Network, loss, optimizer, order of the samples and data, for JSON."""
    trainer, data, held_out = run.trainer, run.data, run.held_out
    about = {name: value for name, value in description(trainer.net).items() if name not in MAY_CHANGE}
    return {
        "batch_size": run.size,
        "shuffle": run.shuffle,
        "per_sample": run.per_sample,
        "network": about,
        "loss": describe(trainer.loss),
        "optimizer": describe(trainer.optimizer),
        "seed": trainer.seed,
        "dtype": trainer.net.parameters.dtype.name,
        "precision": trainer.precision,
        "frozen": [p.name for p in trainer.net.parameters.trainable if p.frozen],
        "rows": len(data.x),
        "data": fingerprint(trainer, data),
        "validation": held_out and fingerprint(trainer, held_out),
    }


def fingerprint(trainer: Trainer, data: Prepared) -> int:
    """CRC-32 of up to 1,024 rows, evenly spread, with their targets and weights."""
    n, found = len(data.x), 0
    rows = slice(None, None, -(-n // SAMPLED))
    for a in data:
        if a is not None:
            part = np.ascontiguousarray(to_host(trainer.device, a[rows]))
            found = zlib.crc32(part.reshape(-1).view(np.uint8).data, zlib.crc32(f"{part.dtype.str} {a.shape}".encode(), found))
    return found


def differences(found: Any, wanted: Any, path: str = "") -> list[str]:
    """Where two settings differ: "batch_size was 32, is 64"."""
    if isinstance(found, list) and isinstance(wanted, list):
        if len(found) != len(wanted):
            return [f"{path} were {len(found)}, are {len(wanted)}"]
        found, wanted = ({str(i): value for i, value in enumerate(values)} for values in (found, wanted))
    if isinstance(found, dict) and isinstance(wanted, dict) and found.keys() == wanted.keys():
        return [line for key in found for line in differences(found[key], wanted[key], f"{path}.{key}" if path else key)]
    return [] if found == wanted else [f"{path} was {_short(found)}, is {_short(wanted)}"]


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
