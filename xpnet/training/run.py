"""One call of ``fit``: the loop over epochs and minibatches, and all that going on from a checkpoint needs."""

from __future__ import annotations

import contextlib
import copy
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from tqdm import tqdm

from xpnet.backends.device import Array
from xpnet.saving import trees
from xpnet.saving.describing import describe
from xpnet.saving.files import reading
from xpnet.training.callbacks import Callback, EarlyStopping, Record
from xpnet.training.data import Prepared
from xpnet.training.feed import Feed, row_order
from xpnet.training.logs import BestModel
from xpnet.training.settings import change_parts, own_classes

if TYPE_CHECKING:
    from xpnet.training.checkpoints import Checkpoints
    from xpnet.training.trainer import Trainer

POSITION = {  # what a checkpoint holds of a run, and of which types
    "epoch": int,
    "first": int,
    "step": int,
    "stopped": bool,
    "parts": dict,
    "rate": float,
    "seconds": float,
    "losses": np.ndarray,
    "history": dict,
    "optimizer": dict,
    "half": dict | None,
    "callbacks": list,
}


class Found(NamedTuple):
    """What a checkpoint holds: its file, the state of the run, the network's parameters, its counters."""

    path: Path
    state: dict[str, Any]
    values: Mapping[str, np.ndarray]
    network: dict[str, Any]

    def go_back(self, run: Run) -> None:
        """Make network, loss, optimizer and loss scale what they were."""
        trainer, net, state = run.trainer, run.trainer.net, self.state
        net.parameters.restore(self.values)
        net.seed = self.network["seed"]
        net.count_step(by=self.network["steps_begun"] - net.steps_begun)
        change_parts(trainer, state["parts"], run.own)
        trainer.optimizer.restore(state["optimizer"], net.parameters)
        if trainer.half:
            trainer.half.restore(state["half"])


class Run:
    """The loop, and how far it has come: what ``fit`` was given, checked, and the position in it.

    ``first`` counts the trainer's epochs before this call of ``fit``, ``step`` the steps done of the epoch under way,
    ``losses`` has theirs, on the device. ``rate`` is the learning rate with which the epoch began, ``seconds`` what it has
    taken so far. ``stopped`` says that a callback has ended the training, for good if it is one that a checkpoint remembers:
    where :class:`EarlyStopping` has, it does not go on; where a function has that watches the clock, it does.
    """

    losses: Array

    def __init__(
        self,
        trainer: Trainer,
        data: Prepared,
        held_out: Prepared | None,
        callbacks: Sequence[Callback],
        *,
        epochs: int,
        size: int,
        shuffle: bool,
        per_sample: bool,
        keeper: Checkpoints | None,
    ):
        self.trainer, self.data, self.held_out, self.callbacks, self.keeper = trainer, data, held_out, callbacks, keeper
        self.epochs, self.size, self.shuffle, self.per_sample = epochs, size, shuffle, per_sample
        self.steps = -(-len(data.x) // size)  # an epoch
        self.first, self.step = trainer.epoch, 0
        self.stopped: Sequence[Callback] = ()  # by these
        self._earlier: np.ndarray | None = None  # losses of the epoch's steps before the checkpoint
        self._resumed: Found | None = None  # in the checkpoint, until all have taken it over
        self.own = own_classes(trainer) if keeper else {}  # before callbacks change anything
        self.ended = False  # by a callback, before the checkpoint

    def go(self, progress: bool) -> None:
        """Train from where it is until the epochs are complete or a callback ends it."""
        trainer = self.trainer
        feed, held_out = Feed(trainer.device, self.data), Feed(trainer.device, self.held_out or ())
        with contextlib.ExitStack() as begun:
            for callback in self.callbacks:
                callback.begin(trainer)
                begun.callback(callback.finish, trainer)
            if self._resumed:  # what begin has changed is as it was at the checkpoint
                self._resumed.go_back(self)
            if not self.step or self.finished:  # else after begin_epoch
                self._restore_callbacks()
            if self.keeper:
                self._check_states()
            total, hidden = self.epochs * self.steps, None if progress else True
            bar = begun.enter_context(tqdm(total=total, initial=self.updates, unit="step", disable=hidden, leave=False))
            while not self.finished:
                record = self._epoch(feed, bar)
                if self.held_out is not None:
                    scores = trainer.scores(held_out, self.held_out)
                    record |= {f"validation_{name}": value for name, value in scores.items()}
                self.stopped = trainer.end_epoch(record, self.callbacks)
                self.step = 0
                if self.keeper:
                    self.keeper.after_epoch(record)

    @property
    def finished(self) -> bool:
        return self.ended or bool(self.stopped) or self.trainer.epoch >= self.first + self.epochs

    @property
    def updates(self) -> int:
        """Steps done since it began."""
        return (self.trainer.epoch - self.first) * self.steps + self.step

    @property
    def seconds(self) -> float:
        return time.perf_counter() - self._began

    def _epoch(self, feed: Feed, bar: tqdm) -> Record:
        """Every row once, or what is left of them. The losses stay on the device and are read with one copy at the end.

        The epoch's loss is the mean of the minibatches', weighted by the rows in them, or by their sample weights.
        """
        trainer, n, size = self.trainer, len(self.data.x), self.size
        order = row_order(n, trainer.seed, trainer.epoch) if self.shuffle else np.arange(n)
        with trainer.device.use():
            self._begin_epoch()
            for callback in self.callbacks:
                callback.begin_epoch(trainer, self.steps, functools.partial(feed.batches, order, size))
            if self._resumed:  # in the middle of an epoch: what begin_epoch has changed is as it was at the checkpoint
                self._resumed.go_back(self)
                self._restore_callbacks()
            for batch in feed.batches(order[self.step * size :], size):
                loss = self.losses[self.step] = trainer.step(*batch, per_sample=self.per_sample)
                self.step += 1
                for callback in self.callbacks:
                    callback.end_step(trainer, batch, loss)
                if self.keeper:
                    self.keeper.after_step()
                bar.update()
        weights = np.ones(n) if self.data.weights is None else self.data.weights[order].astype(np.float64)
        average = mean(trainer.device.get(self.losses), np.add.reduceat(weights, range(0, n, size)))
        scaling = trainer.half.report(self.steps) if trainer.half else {}
        return {"epoch": trainer.epoch + 1, "loss": average, "learning_rate": self.rate, "seconds": self.seconds, **scaling}

    def _begin_epoch(self) -> None:
        """Have room for the epoch's losses, those of its steps before a checkpoint in place."""
        device = self.trainer.device
        self.losses = device.empty((self.steps,), self.trainer.net.parameters.dtype)
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
            "stopped": self.ended or any(callback.state() for callback in self.stopped),
            "rate": self.rate,
            "seconds": self.seconds,
            "losses": trainer.device.get(self.losses)[: self.step],
            "history": check_history(trainer.history),
            "optimizer": trainer.optimizer.state(),
            "half": trainer.half.state() if trainer.half else None,
            "callbacks": [{**kind_of(callback), "state": callback.state()} for callback in self.callbacks],
        }

    def restore(self, found: Found) -> None:
        """Go back to the position of a checkpoint; callbacks follow when they have begun."""
        trainer, state = self.trainer, found.state
        found.go_back(self)
        trainer.epoch, trainer.history = state["epoch"], {name: list(values) for name, values in state["history"].items()}
        self.first, self.step, self.ended = state["first"], state["step"], state["stopped"]
        self.rate, self._began = state["rate"], time.perf_counter() - state["seconds"]
        self._resumed = found
        self._earlier = np.asarray(state["losses"]) if self.step else None

    def check_callbacks(self, states: Sequence[dict[str, Any]]) -> None:
        """Refuse states that callbacks which watch a number could not take, tried on copies: ValueError or the like."""
        for callback, state in self._matched(states):
            if type(callback) in (EarlyStopping, BestModel):  # not one of a user's own, which may do anything
                trial = copy.deepcopy(callback)
                if isinstance(trial, EarlyStopping):
                    trial.begin(self.trainer)
                trial.restore(state)

    def _restore_callbacks(self) -> None:
        found, self._resumed = self._resumed, None
        if found is None:
            return
        for callback, state in self._matched(found.state["callbacks"]):
            with reading(found.path, f"what it holds of {type(callback).__name__} is of no use"):
                callback.restore(state)

    def _matched(self, states: Sequence[dict[str, Any]]) -> list[tuple[Callback, dict[str, Any]]]:
        """Callbacks with what a checkpoint holds of their class, if it can be with the same options; others begin afresh."""
        left, found = dict(enumerate(states)), dict[int, dict[str, Any]]()
        kinds = [kind_of(callback) for callback in self.callbacks] if left else []
        for known in (("class", "options"), ("class",)):
            for i, kind in enumerate(kinds):
                alike = [k for k, state in left.items() if all(state[name] == kind[name] for name in known)]
                if i not in found and alike:
                    found[i] = left.pop(alike[0])["state"]
        return [(self.callbacks[i], found[i]) for i in sorted(found)]

    def _check_states(self) -> None:
        """Refuse callbacks whose state no checkpoint could hold, before the first step: TypeError."""
        for callback in self.callbacks:
            try:
                state = callback.state()
            except Exception:  # it may need what begin_epoch makes
                continue
            try:
                trees.split(state, {}, "state")
            except TypeError as error:
                raise TypeError(f"callback {type(callback).__name__}: {error}") from error


def check_position(state: dict[str, Any], run: Run) -> None:
    """Refuse what no run can have written: ValueError, TypeError or KeyError."""
    for name, kind in POSITION.items():
        if not isinstance(state[name], kind):
            raise TypeError(f"{name} is a {type(state[name]).__name__}")
    steps, counts = state["optimizer"]["steps"], [state[name] for name in ("first", "epoch", "step")]
    if type(steps) is not int or min(steps, *counts) < 0 or counts[0] > counts[1]:
        raise ValueError(f"{steps} updates, {counts[1]} epochs, the first {counts[0]}")
    if state["losses"].shape != (state["step"],) or state["step"] > run.steps:
        raise ValueError(f"losses of {state['losses'].shape} after step {state['step']} of {run.steps}")
    if check_history(state["history"]) and state["history"]["epoch"][-1:] != [state["epoch"]]:
        raise ValueError(f"a history that does not end in epoch {state['epoch']}")


def check_history(history: dict[str, list]) -> dict[str, list]:
    """The history as it is; ValueError for columns that a callback has added to it, of another length or of no numbers."""
    for name, column in history.items():
        if len(column) != len(history.get("epoch", ())) or not all(isinstance(v, int | float) for v in column):
            raise ValueError(f"history[{name!r}] does not have a number for each epoch: put what you add into the record")
    return history


def kind_of(callback: Callback) -> dict[str, Any]:
    """By what a callback is known again."""
    return {"class": type(callback).__name__, "options": describe(callback.config())}


def mean(values: Sequence[float] | np.ndarray, weights: Sequence[float] | np.ndarray) -> float:
    """Weighted mean; 0 where nothing weighs anything, as in the losses."""
    values, weights = np.asarray(values, np.float64), np.asarray(weights, np.float64)
    return float(values @ weights) / (float(weights.sum()) or 1.0)
