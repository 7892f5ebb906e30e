"""What can be done after an epoch. A callback is any function ``f(trainer, record)``; returning True ends the training.

``record`` is the epoch's row of the history: {"epoch": 3, "loss": ..., "validation_loss": ..., ...}.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends.device import Array
from xpnet.checks import check_count
from xpnet.layers.base import Configured

if TYPE_CHECKING:
    from xpnet.training.trainer import Trainer

Record = dict[str, Any]
Batch = Sequence[Any]  # inputs, targets and weights (or None) of one step, on the device, valid until the next
Batches = Callable[[], Iterator[Batch]]

LARGER_IS_BETTER = ("accuracy", "r2")  # ends of names
BETTER = {1: "smaller is better", -1: "larger is better"}


class Callback(Configured):
    """A callback with a beginning and an end, and steps between; override what you need."""

    def check(self, names: Sequence[str]) -> None:
        """Called before anything else, with the names that records will hold; raise where one is missing."""

    def begin(self, trainer: Trainer) -> None:
        """Called once when ``fit`` begins."""

    def begin_epoch(self, trainer: Trainer, steps: int, batches: Batches) -> None:
        """Called before every epoch, of so many steps; ``batches()`` gives its minibatches, as often as asked."""

    def end_step(self, trainer: Trainer, batch: Batch, loss: Array) -> None:
        """Called after every step with its minibatch and its loss (0-d), both on the device: reading them waits for it."""

    def __call__(self, trainer: Trainer, record: Record) -> bool | None:
        """Called after every epoch; True ends the training."""

    def finish(self, trainer: Trainer) -> None:
        """Called once when ``fit`` ends, however it ends."""

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it: numbers, texts and NumPy arrays, in lists and dicts; asked for at first, too."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave, where training goes on from a checkpoint.

        Called after :meth:`begin`; in the middle of an epoch after :meth:`begin_epoch`, which is called for it once more.
        """


class Watch:
    """Which record has the best value so far of ``monitor``: "validation_loss" if None (the training loss without validation).

    ``mode`` "min" or "max" says what is better (None: "max" for accuracies and r2, else "min"). ``best``, the value, and
    ``best_epoch`` are None before the first that is finite. Values better by ``min_delta`` or less do not count.
    """

    def __init__(self, owner: str, monitor: str | None, mode: str | None, min_delta: float = 0.0):
        if mode not in ("min", "max", None):
            raise ValueError(f"{owner}(mode={mode!r}): choose 'min' or 'max'")
        larger_is_better = mode is None and str(monitor).endswith(LARGER_IS_BETTER)
        self.monitor, self.min_delta = monitor, min_delta
        self._sign = -1 if mode == "max" or larger_is_better else 1
        self.best: float | None = None
        self.best_epoch: int | None = None

    def check(self, names: Sequence[str]) -> None:
        """Refuse a monitor that no record will have."""
        if str(self.monitor).startswith("val"):  # these come from fit alone; others a callback may add
            watched(self.monitor, names)

    def improved(self, record: Record) -> bool:
        """Whether the record is the best so far, which is then remembered."""
        value = float(monitored(record) if self.monitor is None else record[watched(self.monitor, record)])
        bound = math.inf if self.best is None else self._sign * self.best
        if not (math.isfinite(value) and self._sign * value < bound - self.min_delta):
            return False
        self.best, self.best_epoch = value, record["epoch"]
        return True

    def state(self) -> dict[str, Any]:
        """As :meth:`Callback.state`."""
        return {"of": [self.monitor, self._sign], "best": self.best, "best_epoch": self.best_epoch}

    def restore(self, state: dict[str, Any]) -> None:
        """As :meth:`Callback.restore`; ValueError where another number was watched."""
        if state["of"] != [self.monitor, self._sign]:
            was, now = (f"monitor={name!r}, {BETTER[sign]}" for name, sign in (state["of"], (self.monitor, self._sign)))
            raise ValueError(f"it watched {was}, now it is {now}: watch the same")
        best, epoch = state["best"], state["best_epoch"]
        self.best, self.best_epoch = (None, None) if best is None else (float(best), int(epoch))


def has_diverged(trainer: Trainer, record: Record) -> bool:
    """A callback that ends a training whose loss is no finite number."""
    return not math.isfinite(record["loss"])


class FromFunction(Callback):
    """A plain function as a callback."""

    def __init__(self, function: Callable[[Trainer, Record], bool | None]):
        if not callable(function):
            raise TypeError(f"callbacks: {function!r} cannot be called; a callback is a function f(trainer, record)")
        with contextlib.suppress(ValueError):  # of what is written in C
            try:
                inspect.signature(function).bind("trainer", "record")
            except TypeError as error:
                raise TypeError(f"callbacks: {function!r}: a callback is a function f(trainer, record); {error}") from None
        self.function = function

    def __call__(self, trainer: Trainer, record: Record) -> bool | None:
        return self.function(trainer, record)


def as_callback(callback: Any) -> Callback:
    """A callback as it is, a function wrapped."""
    if isinstance(callback, type):
        raise TypeError(f"callbacks: {callback.__name__} is a class: write {callback.__name__}(...)")
    if isinstance(callback, Callback) and not (callable(callback.state) and callable(callback.restore)):
        raise TypeError(f"callbacks: {type(callback).__name__} has an attribute named state or restore, which are its methods")
    return callback if isinstance(callback, Callback) else FromFunction(callback)


class Watching(Callback):
    """A callback that watches a number of the records: ``best`` so far and its ``best_epoch``, None before the first."""

    _watch: Watch

    @property
    def best(self) -> float | None:
        return self._watch.best

    @property
    def best_epoch(self) -> int | None:
        return self._watch.best_epoch

    def check(self, names: Sequence[str]) -> None:
        self._watch.check(names)

    def state(self) -> dict[str, Any]:
        return self._watch.state()

    def restore(self, state: dict[str, Any]) -> None:
        self._watch.restore(state)


class EarlyStopping(Watching):
    """Ends the training when ``monitor`` has not improved by more than ``min_delta`` for ``patience`` epochs.

    ``monitor`` is a key of the record, "validation_loss" if None (the training loss without
    validation); ``mode`` "min" or "max" says what improves (None: "max" for accuracies and r2, else
    "min"). ``restore_best`` puts the parameters of the best epoch back at the end. Prechelt, 1998.
    """

    def __init__(
        self,
        patience: int = 5,
        *,
        monitor: str | None = None,
        mode: str | None = None,
        min_delta: float = 0.0,
        restore_best: bool = True,
    ):
        self.patience = check_count("EarlyStopping: patience", patience)
        self.monitor, self.mode, self.min_delta = monitor, mode, min_delta
        self.restore_best = restore_best
        self.begin()

    def begin(self, trainer: Trainer | None = None) -> None:
        self._watch = Watch("EarlyStopping", self.monitor, self.mode, self.min_delta)
        self.waited = 0
        self._snapshot: dict[str, np.ndarray] | None = None
        self._shapes = {} if trainer is None else {name: p.shape for name, p in trainer.net.parameters.items()}

    def __call__(self, trainer: Trainer, record: Record) -> bool:
        if self._watch.improved(record):
            self.waited = 0
            if self.restore_best:
                self._snapshot = trainer.net.parameters.snapshot()
        else:
            self.waited += 1
        return self.waited >= self.patience

    def finish(self, trainer: Trainer) -> None:
        if self._snapshot is not None:
            trainer.net.parameters.restore(self._snapshot)
            self._snapshot = None

    def state(self) -> dict[str, Any]:
        return {**super().state(), "waited": self.waited, "snapshot": self._snapshot}

    def restore(self, state: dict[str, Any]) -> None:
        waited, snapshot = int(state["waited"]), state["snapshot"]
        if snapshot is not None and {name: np.shape(a) for name, a in snapshot.items()} != self._shapes:
            raise ValueError("its best parameters are those of another network")
        super().restore(state)
        self.waited, self._snapshot = waited, snapshot


def watched(name: Any, names: Iterable[str]) -> Any:
    """The name, refused where it is none of the names."""
    if name not in names:
        raise ValueError(f"there is no {name!r} to watch; an epoch's record has {', '.join(names)}")
    return name


def monitored(record: Record) -> float:
    """The watched number of an epoch: the validation loss, or without one the training loss."""
    return record["validation_loss" if "validation_loss" in record else "loss"]


def print_epoch(trainer: Trainer, record: Record) -> None:
    """A callback that prints one line an epoch."""
    from tqdm import tqdm

    parts = [f"epoch {record['epoch']:3d}"]
    shown = [name for name in record if name not in ("epoch", "learning_rate", "seconds")]
    parts += [f"{name.replace('_', ' ')} {record[name]:.4f}" for name in shown]
    tqdm.write(f"{'  '.join(parts)}  {record['seconds']:.2f} s")  # over a progress bar, if there is one
