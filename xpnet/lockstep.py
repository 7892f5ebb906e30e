"""Two copies of a trainer take the same steps: what every layer of the first makes is held against the second's.

Where the second differs it is noted and given the first one's values, in place. So a difference never spreads:
every later one has a cause of its own, and where nothing differs both train as they would alone.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from xpnet.backends import Device
from xpnet.backends.device import Array
from xpnet.checks import to_host
from xpnet.difference import Gap, difference, largest, unlike
from xpnet.layers.base import Shape
from xpnet.training import Trainer
from xpnet.watching import LOSS, Watched, Watcher, own_name

FADE = 0.5  # how much of a scale is left a step later

Note = Callable[[int, str, str, str, Gap], None]  # step from 1 on, stage, path, quantity, difference (also where there is none)
What = tuple[str, str, str]  # stage ("forward", "backward" or "update"), path, quantity
Key = tuple[str, str, str, int]  # and how often seen before in this step


def run(first: Twin, second: Twin, batches: Iterable[tuple[np.ndarray, np.ndarray]], note: Note) -> None:
    """One step on each pair of host rows and targets; everything is noted in the order of execution on the second device."""
    scales: dict[What, float] = {}
    with first.observed(), second.observed():
        for number, (x, y) in enumerate(batches, 1):
            before = first.trainer.net.parameters.snapshot()
            recorder = Recorder(first.device)
            first.step(number, recorder, x, y, before)
            comparer = Comparer(second.device, recorder.seen, scales, functools.partial(note, number))
            second.step(number, comparer, x, y, before)
            comparer.finish()


class Observer(Watcher):
    """A watcher that tells apart what arises several times in a step."""

    def __init__(self, device: Device):
        self.device = device
        self._counts: Counter[What] = Counter()

    def see(self, stage: str, path: str, quantity: str, a: Array | None, before: np.ndarray | None = None) -> Any:
        """``a`` or what replaces it; ``before`` are the values that a parameter had before the step."""
        what = (stage, path, quantity)
        self._counts[what] += 1
        return self.seen_as((*what, self._counts[what] - 1), a, before)

    def seen_as(self, key: Key, a: Array | None, before: np.ndarray | None) -> Any:
        raise NotImplementedError


class Recorder(Observer):
    """Keeps a host copy of everything that one step makes."""

    def __init__(self, device: Device):
        super().__init__(device)
        self.seen: dict[Key, np.ndarray | None] = {}

    def seen_as(self, key: Key, a: Array | None, before: np.ndarray | None) -> Any:
        self.seen[key] = None if a is None else to_host(self.device, a)
        return a


class Comparer(Observer):
    """Holds everything that one step makes against another device's record, and puts the record in its place.

    ``scales`` say what differences are relative to (:meth:`_scale`), over all steps.
    """

    def __init__(
        self,
        device: Device,
        expected: dict[Key, np.ndarray | None],
        scales: dict[What, float],
        note: Callable[[str, str, str, Gap], None],
    ):
        super().__init__(device)
        self.expected, self.scales, self.note = expected, scales, note

    def seen_as(self, key: Key, a: Array | None, before: np.ndarray | None) -> Any:
        what = key[:3]
        if key not in self.expected:
            self.note(*what, unlike("is computed on the second device only"))
            return a
        expected = self.expected.pop(key)
        if expected is None and a is None:
            return None
        gap = self._gap(key, expected, a, before)
        self.note(*what, gap)
        return self._replaced(a, expected) if gap else a

    def finish(self) -> None:
        """Note what the second device has not computed."""
        for key in self.expected:
            self.note(*key[:3], unlike("is computed on the first device only"))

    def _gap(self, key: Key, expected: np.ndarray | None, a: Array | None, before: np.ndarray | None) -> Gap:
        if expected is None or a is None:
            return unlike(f"is None on the {'first' if expected is None else 'second'} device only")
        size, slack = _magnitude(expected, before)
        scale = self._scale(key, size, expected.shape[:1])
        return difference(expected, to_host(self.device, a), scale, slack)

    def _scale(self, key: Key, size: float, rows: tuple[int, ...]) -> float:
        """The array's own largest magnitude or, where that has shrunk in a step by more than half, half of what was.

        What is small may be what is left of terms that cancel, and their rounding does not shrink with it. The loss's
        never shrink: its gradient is the distance of probabilities and targets, both of the order of 1, over the rows.
        """
        what, again = key[:3], key[3]
        old = self.scales.get(what, 0.0)
        least = min(old, 1 / max(*rows, 1, 1)) if key[1] == LOSS else 0.0
        self.scales[what] = max(size, least, old if again else FADE * old)
        return self.scales[what]

    def _replaced(self, a: Array, expected: np.ndarray | None) -> Array:
        """The record on this device: written into ``a``, of which others may hold views, if it fits there."""
        if expected is None:
            return None
        with self.device.use():
            values = self.device.put(expected)
            if self.device.owns(a) and (a.shape, a.dtype) == (values.shape, values.dtype) and _writeable(a):
                a[...] = values
                return a
        return values


class Twin(Watched):
    """One of the two copies."""

    def __init__(self, trainer: Trainer, device: Device, shape: Shape):
        super().__init__(trainer, device, shape, "parity")

    def step(self, number: int, observer: Observer, x: np.ndarray, y: np.ndarray, before: dict[str, np.ndarray]) -> None:
        """One training step on a copy of the rows and targets, since layers may work in place."""
        self.number, self.watcher = number, observer
        with self.placing(""), self.device.use():
            self.trainer.step(self.device.put(x.copy()), self.device.put(y.copy()))
        self._see_update(observer, before)

    def _see_update(self, observer: Observer, before: dict[str, np.ndarray]) -> None:
        """What the step leaves behind: parameters, the optimizer's vectors parameter by parameter, running statistics."""
        see, parameters, start = functools.partial(observer.see, "update"), self.trainer.net.parameters, 0
        for entry in parameters.trainable:
            path = self.holders[entry.name]
            name = own_name(entry, path)
            see(path, f"parameter {name}", entry.value, before[entry.name])
            for vector, a in self.trainer.optimizer.vectors.items():
                see(path, f"optimizer {vector} {name}", a[start : start + entry.size])
            start += entry.size
        for entry in parameters.running:
            path = self.holders[entry.name]
            see(path, f"state {own_name(entry, path)}", entry.value)


def _magnitude(a: np.ndarray, before: np.ndarray | None) -> tuple[float, float]:
    """What differences in ``a`` are relative to, and up to what size they count for nothing.

    A step changes a parameter little. Held against the parameter's own size a wrong update would pass for rounding,
    so that it is the change that counts; by rounding alone, parameters may then be apart by one ULP, with decay by two.
    """
    if a.dtype.kind != "f":
        return 0.0, 0.0
    if before is None:
        return largest(a), 0.0
    with np.errstate(invalid="ignore", over="ignore"):
        change = largest(a.astype(np.float64) - before)
    return change, 2 * float(np.spacing(a.dtype.type(largest(a))))


def _writeable(a: Array) -> bool:
    """Whether every element has a place of its own: NumPy's broadcast views say no, CuPy's would let themselves be written."""
    return getattr(a.flags, "writeable", True) and all(stride or n < 2 for n, stride in zip(a.shape, a.strides, strict=True))
