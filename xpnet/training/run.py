"""One call of ``fit``: what it trains on, how far it has come, and all that going on from there needs."""

from __future__ import annotations

import time
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends.device import Array
from xpnet.checks import to_host
from xpnet.saving.describing import describe
from xpnet.saving.networks import description
from xpnet.training.callbacks import Callback
from xpnet.training.data import Prepared

if TYPE_CHECKING:
    from xpnet.training.trainer import Trainer

SAMPLED = 1024  # rows by which data are known again
MAY_CHANGE = ("seed", "steps_begun", "frozen", "dtype")  # of a network's description; the seed is the trainer's


POSITION = {  # what a checkpoint holds of a run, and of which types
    "epoch": int,
    "first": int,
    "step": int,
    "stopped": bool,
    "rate": float,
    "seconds": float,
    "losses": np.ndarray,
    "history": dict,
    "optimizer": dict,
    "half": dict | None,
    "callbacks": list,
}


class Run:
    """The position in a training and what it depends on.

    ``first`` counts the trainer's epochs before this call of ``fit``, ``step`` the steps done of the epoch under way,
    ``losses`` has theirs, on the device. ``rate`` is the learning rate with which the epoch began, ``seconds`` what it has
    taken so far, ``stopped`` whether a callback has ended the training.
    """

    losses: Array

    def __init__(self, trainer: Trainer, callbacks: Sequence[Callback]):
        self.trainer, self.callbacks = trainer, callbacks
        self.first, self.step, self.stopped = trainer.epoch, 0, False
        self._earlier: np.ndarray | None = None  # losses of the epoch's steps before the checkpoint
        self._states: Sequence[dict[str, Any]] = ()  # of callbacks, in the checkpoint

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def begin_epoch(self, steps: int) -> None:
        """Have room for the losses of an epoch, those of its steps before a checkpoint in place."""
        device = self.trainer.device
        self.losses = device.empty((steps,), self.trainer.net.parameters.dtype)
        if self._earlier is None:
            self.rate, self._began = self.trainer.optimizer.current_rate, time.perf_counter()
        else:
            self.losses[: self.step] = device.put(self._earlier)
            self._earlier = None

    def state(self) -> dict[str, Any]:
        """The tree that a checkpoint holds beside the network; waits for the device."""
        trainer = self.trainer
        return {
            "epoch": trainer.epoch,
            "first": self.first,
            "step": self.step,
            "stopped": self.stopped,
            "rate": self.rate,
            "seconds": self.seconds,
            "losses": trainer.device.get(self.losses)[: self.step],
            "history": trainer.history,
            "optimizer": trainer.optimizer.state(),
            "half": trainer.half.state() if trainer.half else None,
            "callbacks": [{"class": type(c).__name__, "state": c.state()} for c in self.callbacks],
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Go back to a checkpoint's position, but for the network and the callbacks."""
        trainer = self.trainer
        trainer.epoch, trainer.history = state["epoch"], {name: list(values) for name, values in state["history"].items()}
        trainer.optimizer.restore(state["optimizer"], trainer.net.parameters)
        if trainer.half:
            trainer.half.restore(state["half"])
        self.first, self.step, self.stopped = state["first"], state["step"], state["stopped"]
        self.rate, self._began = state["rate"], time.perf_counter() - state["seconds"]
        self._states = state["callbacks"]
        self._earlier = np.asarray(state["losses"]) if self.step else None

    def restore_callbacks(self) -> None:
        """Give callbacks what the checkpoint holds of those of the same class, one after another; others begin afresh."""
        left, self._states = list(self._states), ()
        for callback in self.callbacks:
            mine = next((s for s in left if s["class"] == type(callback).__name__), None)
            if mine is not None:
                left.remove(mine)
                callback.restore(mine["state"])


def settings_of(trainer: Trainer, data: Prepared, held_out: Prepared | None, **arguments: Any) -> dict[str, Any]:
    """What has to be the same for training to go on as if it had never stopped."""
    about = {name: value for name, value in description(trainer.net).items() if name not in MAY_CHANGE}
    return {
        **arguments,
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
