"""Learning rates that change: functions of the number of updates done so far.

``optimizer = Adam(Cosine(1e-3, steps=2000))``. A plain number is constant. Count epochs as
``steps = epochs * steps_per_epoch``, with ``steps_per_epoch = math.ceil(samples / batch_size)``.
"""

from __future__ import annotations

import math
from typing import Any

from xpnet.checks import check_count, check_number
from xpnet.layers.base import Configured


class Schedule(Configured):
    """Base: ``schedule(step)`` is the learning rate of update number ``step``, the first being 0."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError

    def observe(self, value: float) -> None:
        """Hear the monitored loss once per epoch; only :class:`ReduceOnPlateau` listens."""

    def reset(self) -> None:
        """Forget what was observed."""

    def state(self) -> dict[str, Any]:
        """What was observed, for a checkpoint: numbers; empty where the rate depends on the step alone."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what :meth:`state` gave."""


class Constant(Schedule):
    """Always ``learning_rate``."""

    def __init__(self, learning_rate: float):
        self.learning_rate = check_number("learning_rate", learning_rate, above=0)

    def __call__(self, step: int) -> float:
        return self.learning_rate


class StepDecay(Schedule):
    """Multiplied by ``factor`` after every ``every`` updates (PyTorch's ``StepLR``)."""

    def __init__(self, learning_rate: float, every: int, factor: float = 0.1):
        self.learning_rate, self.every = (
            check_number("StepDecay(learning_rate", learning_rate, above=0),
            check_count("StepDecay(every", every),
        )
        self.factor = check_number("StepDecay(factor", factor, above=0)

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.factor ** (step // self.every)


class Exponential(Schedule):
    """Multiplied by ``factor`` after every update (PyTorch's ``ExponentialLR``)."""

    def __init__(self, learning_rate: float, factor: float):
        self.learning_rate = check_number("Exponential(learning_rate", learning_rate, above=0)
        self.factor = check_number("Exponential(factor", factor, above=0)

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.factor**step


class Cosine(Schedule):
    """Half a cosine from ``learning_rate`` to ``minimum`` in ``steps`` updates, then ``minimum``. Loshchilov, Hutter 2017."""

    def __init__(self, learning_rate: float, steps: int, minimum: float = 0.0):
        self.learning_rate, self.steps = (
            check_number("Cosine(learning_rate", learning_rate, above=0),
            check_count("Cosine(steps", steps),
        )
        self.minimum = check_number("Cosine(minimum", minimum)

    def __call__(self, step: int) -> float:
        part = min(step / self.steps, 1.0)
        return self.minimum + (self.learning_rate - self.minimum) * (1 + math.cos(math.pi * part)) / 2


class LinearWarmup(Schedule):
    """From ``start`` times the rate up to the rate in ``steps`` updates, then the schedule (or number) ``after`` from its 0.

    PyTorch's ``LinearLR`` followed by ``after``. Goyal et al., 2017.
    """

    def __init__(self, after: float | Schedule, steps: int, start: float = 1 / 3):
        self.after, self.steps, self.start = (
            as_schedule(after),
            check_count("LinearWarmup(steps", steps),
            check_number("LinearWarmup(start", start),
        )

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.after(step - self.steps)
        return self.after(0) * (self.start + (1 - self.start) * step / self.steps)

    def observe(self, value: float) -> None:
        self.after.observe(value)

    def reset(self) -> None:
        self.after.reset()

    def state(self) -> dict[str, Any]:
        return self.after.state()

    def restore(self, state: dict[str, Any]) -> None:
        self.after.restore(state)


class ReduceOnPlateau(Schedule):
    """Multiplied by ``factor`` when the monitored loss has not fallen for more than ``patience`` epochs.

    Fallen means below the best so far by the relative ``threshold``; after a reduction,
    ``cooldown`` epochs do not count; never below ``minimum``. PyTorch's ``ReduceLROnPlateau``.
    ``Trainer.fit`` tells it the validation loss (without validation, the training loss) once per epoch.
    """

    def __init__(
        self,
        learning_rate: float,
        factor: float = 0.1,
        patience: int = 10,
        threshold: float = 1e-4,
        cooldown: int = 0,
        minimum: float = 0.0,
    ):
        self.learning_rate = check_number("ReduceOnPlateau(learning_rate", learning_rate, above=0)
        self.factor = check_number("ReduceOnPlateau(factor", factor, above=0, below=1)
        self.patience = check_number("ReduceOnPlateau(patience", patience)
        self.threshold = check_number("ReduceOnPlateau(threshold", threshold)
        self.cooldown = check_number("ReduceOnPlateau(cooldown", cooldown)
        self.minimum = check_number("ReduceOnPlateau(minimum", minimum)
        self.reset()

    def reset(self) -> None:
        self._rate, self._best, self._bad = self.learning_rate, math.inf, 0
        self._cooling: float = 0

    def state(self) -> dict[str, Any]:
        return {"rate": self._rate, "best": self._best, "bad": self._bad, "cooling": self._cooling}

    def restore(self, state: dict[str, Any]) -> None:
        self._rate, self._best, self._bad, self._cooling = (state[name] for name in ("rate", "best", "bad", "cooling"))

    def __call__(self, step: int) -> float:
        return self._rate

    def observe(self, value: float) -> None:
        if value < self._best * (1 - self.threshold):
            self._best, self._bad = value, 0
        else:
            self._bad += 1
        if self._cooling:
            self._cooling -= 1
            self._bad = 0
        if self._bad > self.patience:
            self._rate = max(self._rate * self.factor, self.minimum)
            self._cooling, self._bad = self.cooldown, 0


def as_schedule(rate: float | Schedule) -> Schedule:
    """A number as the constant schedule."""
    return rate if isinstance(rate, Schedule) else Constant(rate)
