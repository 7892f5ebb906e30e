"""Learning rates that change: functions of the number of updates done so far.

``optimizer = Adam(Cosine(1e-3, steps=2000))``. A plain number is constant. Count epochs as
``steps = epochs * steps_per_epoch``, with ``steps_per_epoch = math.ceil(samples / batch_size)``.
"""

from __future__ import annotations

import math

from xpnet.layers.base import Configured


class Schedule(Configured):
    """Base: ``schedule(step)`` is the learning rate of update number ``step``, the first being 0."""

    def __call__(self, step: int) -> float:
        raise NotImplementedError

    def observe(self, value: float) -> None:
        """Hear the monitored loss once per epoch; only :class:`ReduceOnPlateau` listens."""


class Constant(Schedule):
    """Always ``learning_rate``."""

    def __init__(self, learning_rate: float):
        self.learning_rate = positive("Constant", learning_rate)

    def __call__(self, step: int) -> float:
        return self.learning_rate


class StepDecay(Schedule):
    """Multiplied by ``factor`` after every ``every`` updates (PyTorch's ``StepLR``)."""

    def __init__(self, learning_rate: float, every: int, factor: float = 0.1):
        self.learning_rate, self.every, self.factor = positive("StepDecay", learning_rate), at_least_one("every", every), factor

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.factor ** (step // self.every)


class Exponential(Schedule):
    """Multiplied by ``factor`` after every update (PyTorch's ``ExponentialLR``)."""

    def __init__(self, learning_rate: float, factor: float):
        self.learning_rate, self.factor = positive("Exponential", learning_rate), factor

    def __call__(self, step: int) -> float:
        return self.learning_rate * self.factor**step


class Cosine(Schedule):
    """Half a cosine from ``learning_rate`` to ``minimum`` in ``steps`` updates, then ``minimum``. Loshchilov, Hutter 2017."""

    def __init__(self, learning_rate: float, steps: int, minimum: float = 0.0):
        self.learning_rate, self.steps = positive("Cosine", learning_rate), at_least_one("steps", steps)
        self.minimum = minimum

    def __call__(self, step: int) -> float:
        part = min(step / self.steps, 1.0)
        return self.minimum + (self.learning_rate - self.minimum) * (1 + math.cos(math.pi * part)) / 2


class LinearWarmup(Schedule):
    """From ``start`` times the rate up to the rate in ``steps`` updates, then the schedule (or number) ``after`` from its 0.

    PyTorch's ``LinearLR`` followed by ``after``. Goyal et al., 2017.
    """

    def __init__(self, after: float | Schedule, steps: int, start: float = 1 / 3):
        self.after, self.steps, self.start = as_schedule(after), at_least_one("steps", steps), start

    def __call__(self, step: int) -> float:
        if step >= self.steps:
            return self.after(step - self.steps)
        return self.after(0) * (self.start + (1 - self.start) * step / self.steps)

    def observe(self, value: float) -> None:
        self.after.observe(value)


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
        self.learning_rate = positive("ReduceOnPlateau", learning_rate)
        self.factor, self.patience, self.threshold = factor, patience, threshold
        self.cooldown, self.minimum = cooldown, minimum
        self._rate, self._best, self._bad, self._cooling = learning_rate, math.inf, 0, 0

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


def positive(name: str, rate: float) -> float:
    """The learning rate, refused unless it is a finite number above 0."""
    if isinstance(rate, bool) or not isinstance(rate, int | float) or not 0 < rate < math.inf:
        raise ValueError(f"{name}: learning_rate={rate!r}: it is a finite number greater than 0")
    return float(rate)


def at_least_one(name: str, n: int) -> int:
    """A count, refused unless it is a whole number from 1 on."""
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise ValueError(f"{name}={n!r}: it is a whole number from 1 on")
    return n
