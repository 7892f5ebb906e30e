"""What goes on inside a training: norms layer by layer, dead units, the size of updates, and where numbers cease to be finite.

Both callbacks work on copies of the trainer, so that the training itself is the same with them as without.
"""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.backends import Device
from xpnet.backends.device import Array
from xpnet.checks import check_count, to_host
from xpnet.layers import ReLU
from xpnet.training import Callback, Trainer
from xpnet.training.callbacks import Batch, Batches, Record
from xpnet.training.data import prepare
from xpnet.training.feed import batch_rows
from xpnet.watching import LOSS, Watched, Watcher

UNREPEATED = "the step could not be taken again: it depends on what a callback changed, or on per_sample=True"
COLUMNS = ("activation", "delta", "gradient", "update_ratio", "dead")


@dataclass
class LayerReport:
    """One layer in one training step; NaN stands for what it does not have, infinity for norms that are no finite numbers.

    Euclidean norms over the whole minibatch: ``activation`` of its output, ``delta`` of the loss's gradient by that output,
    ``gradient`` of the loss's gradient by its own parameters. ``update_ratio`` is the norm of the update over that of these
    parameters. ``dead`` is the share of a ReLU's units (channels, of images) that are 0 for the whole minibatch.
    """

    activation: float = math.nan
    delta: float = math.nan
    gradient: float = math.nan
    update_ratio: float = math.nan
    dead: float = math.nan


@dataclass
class Report:
    """The layers by path ("2", "1.shortcut") in one training step: the ``step``-th of ``epoch``, both from 1 on."""

    epoch: int
    step: int
    loss: float
    layers: dict[str, LayerReport]
    names: dict[str, str] = field(repr=False)

    def numbers(self) -> list[float]:
        """The loss, then the columns of each layer."""
        return [self.loss, *(getattr(row, column) for row in self.layers.values() for column in COLUMNS)]

    @classmethod
    def of_numbers(cls, numbers: Iterator[float], *, epoch: int, step: int, names: dict[str, str]) -> Report:
        """The inverse of :meth:`numbers`."""
        loss = next(numbers)
        rows = {path: LayerReport(*itertools.islice(numbers, len(COLUMNS))) for path in names}
        return cls(epoch, step, loss, rows, names)

    def __str__(self) -> str:
        width = max(map(len, self.names.values()), default=0)
        head = "".join(f"{column.replace('_', ' '):>14}" for column in COLUMNS)
        lines = [f"epoch {self.epoch}, step {self.step}: loss {self.loss:.6g}", f"{'layer':{width}}{head}"]
        for path, row in self.layers.items():
            numbers = [getattr(row, column) for column in COLUMNS]
            texts = ["-" if math.isnan(v) else f"{v:.3g}" for v in numbers]
            lines.append(f"{self.names[path]:{width}}" + "".join(f"{text:>14}" for text in texts))
        return "\n".join(lines)


class LayerStatistics(Callback):
    """Per-layer norms of activations and gradients, dead ReLUs, update/weight ratios: ``reports``, one after every epoch.

    ``every=n`` gives one after every ``n`` steps of ``fit`` instead. ``print(reports[-1])`` shows a table. A report watches one
    more step on the last minibatch, by a copy of the trainer; its numbers come back in one copy, the report's one
    synchronisation. Deltas should be alike in all layers (Glorot and Bengio, AISTATS 2010), update ratios about 1e-3.
    """

    _batch: Any  # the last step's
    _steps = _all_steps = 0  # taken: in this epoch, in this ``fit``

    def __init__(self, every: int | None = None):
        self.every = None if every is None else check_count("LayerStatistics: every", every)
        self.reports: list[Report] = []

    def begin(self, trainer: Trainer) -> None:
        self._steps = self._all_steps = 0

    def end_step(self, trainer: Trainer, batch: Batch, loss: Array) -> None:
        self._batch, self._steps, self._all_steps = batch, self._steps + 1, self._all_steps + 1
        if self.every and self._all_steps % self.every == 0:
            self._report(trainer, trainer.epoch + 1)

    def __call__(self, trainer: Trainer, record: Record) -> None:
        if not self.every:
            self._report(trainer, record["epoch"])
        self._steps = 0

    def finish(self, trainer: Trainer) -> None:
        self._batch = None

    def state(self) -> dict[str, Any]:
        numbers = [n for report in self.reports for n in report.numbers()]
        reports = [{"epoch": report.epoch, "step": report.step, "names": report.names} for report in self.reports]
        return {"steps": self._steps, "all_steps": self._all_steps, "reports": reports, "numbers": np.array(numbers)}

    def restore(self, state: dict[str, Any]) -> None:
        self._steps, self._all_steps = state["steps"], state["all_steps"]
        numbers = iter(state["numbers"].tolist())
        self.reports[:] = [Report.of_numbers(numbers, **report) for report in state["reports"]]

    def _report(self, trainer: Trainer, epoch: int) -> None:
        self.reports.append(_watched_step(trainer, self._batch, epoch, self._steps))


def layer_report(trainer: Trainer, x: Any, y: Any) -> Report:
    """What :class:`LayerStatistics` reports, of one step on rows ``x`` (N, *shape) and targets ``y`` that is not taken.

    The trainer's network is built, the arrays are host or device arrays, all rows are one minibatch.
    """
    data = prepare(trainer.net, trainer.loss, x, y)
    batch_rows(len(data.x), None)
    with trainer.net.device.use():
        batch = [None if a is None else trainer.net.device.put(a) for a in data]
    return _watched_step(trainer, batch, trainer.epoch + 1, 1)


def _watched_step(trainer: Trainer, batch: Batch, epoch: int, step: int) -> Report:
    watched = Watched(trainer, trainer.net.device, trainer.net.input_shape, "LayerStatistics")
    watched.watcher = gauge = Gauge(watched)
    with watched.device.use():
        before = watched.trainer.net.parameters.value.copy()
        with watched.observed():
            loss = watched.trainer.step(*batch)
        gauge.updates(before)
        found = gauge.read(loss)
    names = {path: f"{path}: {type(layer).__name__}" for path, layer in watched.layers.items() if path}
    rows = {path: LayerReport() for path in names}
    for (path, quantity), value in found.items():
        if path in rows:
            setattr(rows[path], quantity, value)
    return Report(epoch, step, found[LOSS, "loss"], rows, names)


class Gauge(Watcher):
    """Measures arrays on the device as they arise; all numbers are read at once in the end."""

    def __init__(self, watched: Watched):
        self._watched, self._device = watched, watched.device
        self._found: dict[tuple[str, str], Array] = {}

    def given(self, stage: str, path: str, *arrays: Array) -> None:
        if stage == "backward":
            self._add(path, "delta", arrays[0])

    def see(self, stage: str, path: str, quantity: str, a: Array | None) -> Any:
        if quantity == "output" and a is not None:
            self._add(path, "activation", a)
            if isinstance(self._watched.layers.get(path), ReLU) and a.size:
                xp = self._device.xp
                self._found[path, "dead"] = xp.equal(xp.amax(a.reshape(-1, a.shape[-1]), axis=0), 0).mean(dtype=a.dtype)
        return a

    def updates(self, before: Array) -> None:
        """Norms of gradients, of the update and, ``before`` it, of the parameters, each over all of a layer's own."""
        parameters = self._watched.trainer.net.parameters
        start = 0
        for entry in parameters.trainable:
            old = entry.shaped(before[start : start + entry.size])
            path, start = self._watched.holders[entry.name], start + entry.size
            self._add(path, "gradient", entry.grad)
            self._add(path, "update", entry.value - old)
            self._add(path, "weight", old)

    def read(self, loss: Array) -> dict[tuple[str, str], float]:
        """Everything measured, in one copy to the host."""
        squared = {key for key in self._found if key[1] != "dead"}
        values = self._device.get(self._device.xp.stack([loss, *self._found.values()])).astype(np.float64)
        found = {key: _norm(v) if key in squared else float(v) for key, v in zip(self._found, values[1:], strict=True)}
        for path, quantity in list(found):
            if quantity == "update":
                update, weight = found.pop((path, "update")), found.pop((path, "weight"))
                found[path, "update_ratio"] = math.inf if math.isinf(update) else update / (weight or math.nan)
        return {(LOSS, "loss"): float(values[0]), **found}

    def _add(self, path: str, quantity: str, a: Array) -> None:
        """The squared norm, added to what the path has of this quantity."""
        flat = a.reshape(-1)
        square = self._device.dot(flat, flat, self._device.empty((), a.dtype))
        before = self._found.get((path, quantity))
        self._found[path, quantity] = square if before is None else before + square


def _norm(square: float) -> float:
    """From its square, which is NaN where an element was: infinite, as NaN says that a layer has none."""
    return math.inf if math.isnan(square) else math.sqrt(square)


class StopOnNonFinite(Callback):
    """Ends the training with FloatingPointError at the first NaN or infinity, and names the layer and the step it arose in.

    Every step computes one number of its gradients; these are read after every ``every`` steps and after each epoch,
    the one synchronisation. On alarm a copy of the trainer, made at the last reading, takes the steps since then
    again, the bad one with all that its layers compute looked at. Network and optimizer get back what they were before that
    step (an EarlyStopping then restores its best epoch, as ever).
    """

    _before: Any = None  # the trainer, as it was at the last reading
    _before_of: Any = None  # the trainer itself
    _batches: Any
    _sums: Any  # of each step since then: the gradients' squares, and the loss
    _done = _pending = 0  # steps of this epoch: read; not read yet

    def __init__(self, every: int = 100):
        self.every = check_count("StopOnNonFinite: every", every)

    def begin(self, trainer: Trainer) -> None:
        self._done = self._pending = 0

    def begin_epoch(self, trainer: Trainer, steps: int, batches: Batches) -> None:
        self._steps, self._batches = steps, batches
        self._sums = trainer.net.device.empty((min(self.every, steps) + 1, 2), trainer.net.parameters.dtype)
        self._begin(trainer)

    def end_step(self, trainer: Trainer, batch: Batch, loss: Array) -> None:
        row, g = self._sums[self._pending], trainer.net.parameters.grad
        trainer.net.device.dot(g, g, out=row[0:1].reshape(()))
        row[1] = loss
        self._pending += 1
        if self._pending == self.every or self._done + self._pending == self._steps:
            self._read(trainer)

    def __call__(self, trainer: Trainer, record: Record) -> None:
        self._done = self._pending = 0

    def finish(self, trainer: Trainer) -> None:
        self._before = self._before_of = self._batches = self._sums = None

    def state(self) -> dict[str, Any]:
        return {"done": self._done + self._pending}

    def restore(self, state: dict[str, Any]) -> None:
        self._done = state["done"]
        if self._before is not None:  # made by begin_epoch; what that has changed is now as it was
            self._begin(self._before_of)

    def _begin(self, trainer: Trainer) -> None:
        self._pending = 0
        self._before, self._before_of = _copy(trainer), trainer

    def _read(self, trainer: Trainer) -> None:
        device, values, count = trainer.net.device, trainer.net.parameters.value, self._pending
        device.dot(values, values, out=self._sums[count, 0:1].reshape(()))  # what the last update made
        self._sums[count, 1] = 0
        finite = np.isfinite(device.get(self._sums[: count + 1]))
        if trainer.half:  # it leaves out steps whose gradients overflow
            finite[:count, 0] = True
        finite = finite.all(axis=1)
        if not finite.all():
            self._alarm(trainer, int(finite.argmin()))
        self._done += count
        if self._done < self._steps:
            self._begin(trainer)

    def _alarm(self, trainer: Trainer, bad: int) -> None:
        """Take the steps before the ``bad``-th again, look into that one, and put the trainer back to before it."""
        steps = itertools.islice(self._batches(), self._done, self._done + bad + 1)
        good, earlier = self._before, self._before
        for i, batch in enumerate(itertools.islice(steps, bad)):
            earlier = _copy(good) if i == bad - 1 else earlier
            good.step(*batch)
        found = _bad_parameter(good)
        if found and bad:
            good, bad = earlier, bad - 1
        else:
            batch = next(steps, None)
            found = self._look(good, batch) if batch else UNREPEATED
        _put_back(trainer, good)
        raise FloatingPointError(
            f"epoch {trainer.epoch + 1}, step {self._done + bad + 1}: {found}. The parameters are those from before this step"
        )

    @np.errstate(all="ignore")  # the step itself has warned
    def _look(self, trainer: Trainer, batch: Batch) -> str:
        """What is the first that is not finite in a step of the trainer."""
        watched = Watched(trainer, trainer.net.device, trainer.net.input_shape, "StopOnNonFinite")
        watched.watcher = search = Search(watched)
        with watched.observed(), watched.device.use():
            watched.trainer.step(*batch)
        return search.first or search.largest()


def _copy(trainer: Trainer) -> Trainer:
    return copy.deepcopy(trainer, {id(trainer.callbacks): ()})


def _bad_parameter(trainer: Trainer) -> str:
    """The first parameter that is not finite, in words; empty if all are."""
    for entry in trainer.net.parameters.values():
        if found := not_finite(trainer.net.device, entry.value):
            return f"the update made the parameter {entry.name}: {found}"
    return ""


def _put_back(trainer: Trainer, good: Trainer) -> None:
    """Network and optimizer as they are in a copy."""
    trainer.net.parameters.restore(good.net.parameters.snapshot())
    trainer.net.steps_begun = good.net.steps_begun
    trainer.optimizer.go_back_to(good.optimizer)


class Search(Watcher):
    """Looks for the first array of a step that is not finite."""

    first: str | None = None

    def __init__(self, watched: Watched):
        self._watched = watched

    def given(self, stage: str, path: str, *arrays: Array) -> None:
        if not path and stage == "forward":
            self.see(stage, path, "the minibatch", arrays[0])

    def see(self, stage: str, path: str, quantity: str, a: Array | None) -> Any:
        if a is not None and self.first is None and (found := not_finite(self._watched.device, a)):
            place = "the loss" if path == LOSS else f"layer {path}, {self._watched.layers[path]!r}," if path else "the network"
            self.first = f"{place} {stage}: {quantity} of shape {tuple(a.shape)} has {found}"
        return a

    def largest(self) -> str:
        """For gradients each of which is finite: where the largest is."""
        device, parameters = self._watched.device, self._watched.trainer.net.parameters
        sizes = {entry.name: float(np.abs(to_host(device, entry.grad)).max(initial=0)) for entry in parameters.trainable}
        name = max(sizes, key=sizes.__getitem__)
        if math.isfinite(sum(size**2 for size in sizes.values())) and sizes[name] < 1e15:
            return UNREPEATED
        return f"the sum of the gradients' squares is infinite; the largest gradient is one of {name}, {sizes[name]:.3g}"


def not_finite(device: Device, a: Array) -> str:
    """How many elements of an array are NaN or infinite, in words; empty if none is."""
    values = to_host(device, a)
    if values.dtype.kind != "f":
        return ""
    nan, inf = int(np.isnan(values).sum()), int(np.isinf(values).sum())
    return " and ".join(f"{n} {what}" for n, what in ((nan, "NaN"), (inf, "infinite")) if n)
