"""Two copies of a trainer take the same steps: what every layer of the first makes is held against the second's.

Where the second differs it is noted and given the first one's values, in place. So a difference never spreads:
every later one has a cause of its own, and where nothing differs both train as they would alone.
"""

from __future__ import annotations

import contextlib
import copy
import functools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import numpy as np

from xpnet.backends import Device
from xpnet.backends.device import Array
from xpnet.checks import to_host
from xpnet.difference import Gap, difference, largest, unlike
from xpnet.layers.base import Layer, Shape
from xpnet.network import holder
from xpnet.parameters import Parameter
from xpnet.training import Trainer

LOSS = "loss"  # the loss's place among the layers' paths; that of the network itself is ""
FADE = 0.5  # how much of a scale is left a step later
NOTE = "xpnet.parity: "

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


class Observer:
    """Is shown every array where it arises, and says what the step goes on with."""

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


class ObservedLoss:
    """A loss whose value and gradient are shown to a twin's observer; in all else the loss itself."""

    def __init__(self, loss: Any, twin: Twin):
        self._loss, self._twin = loss, twin

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        with self._twin.placing(f"the loss, {self._loss!r}"):
            value, dy = self._loss(*arguments, **options)
        see = self._twin.observer.see
        return see("forward", LOSS, "loss", value), see("backward", LOSS, "gradient", dy)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loss, name)


class Twin:
    """A trainer's copy on a device, built there; the trainer itself is left alone.

    ``layers`` maps the path of every layer, at any depth ("2", "1.shortcut"; "" is the network), to it.
    """

    observer: Observer

    def __init__(self, trainer: Trainer, device: Device, shape: Shape):
        shared = {id(trainer.callbacks): trainer.callbacks}  # they are not run, and need not be fit to be copied
        self.device, self.trainer = device, copy.deepcopy(trainer, shared)
        self.trainer.device = device
        net = self.trainer.build(shape).net
        self.layers = {"": net, **net.layer_paths}
        self.holders = {name: holder(name, net.layer_paths) for name in net.parameters}

    def step(self, number: int, observer: Observer, x: np.ndarray, y: np.ndarray, before: dict[str, np.ndarray]) -> None:
        """One training step on a copy of the rows and targets, since layers may work in place."""
        self.number, self.observer = number, observer
        with self.placing(""), self.device.use():
            self.trainer.step(self.device.put(x.copy()), self.device.put(y.copy()))
        self._see_update(before)

    @contextlib.contextmanager
    def placing(self, place: str) -> Iterator[None]:
        """Give an error that is raised within a note of step, place and device; the innermost place counts."""
        try:
            yield
        except Exception as error:
            if not any(note.startswith(NOTE) for note in getattr(error, "__notes__", ())):
                error.add_note(f"{NOTE}step {self.number}, {place and place + ', '}on {self.device.name}")
            raise

    def _see_update(self, before: dict[str, np.ndarray]) -> None:
        """What the step leaves behind: parameters, the optimizer's vectors parameter by parameter, running statistics."""
        see, parameters, start = functools.partial(self.observer.see, "update"), self.trainer.net.parameters, 0
        for entry in parameters.trainable:
            path = self.holders[entry.name]
            name = _name(entry, path)
            see(path, f"parameter {name}", entry.value, before[entry.name])
            for vector, a in self.trainer.optimizer.vectors.items():
                see(path, f"optimizer {vector} {name}", a[start : start + entry.size])
            start += entry.size
        for entry in parameters.running:
            path = self.holders[entry.name]
            see(path, f"state {_name(entry, path)}", entry.value)

    @contextlib.contextmanager
    def observed(self) -> Iterator[None]:
        """Show the observer what the loss and every layer return, for the time of the block."""
        loss = self.trainer.loss
        self.trainer.loss = ObservedLoss(loss, self)  # type: ignore[assignment]
        for path, layer in self.layers.items():
            self._wrap(path, layer)
        try:
            yield
        finally:  # a layer and its wrapper hold each other: their arrays would live until garbage is collected
            self.trainer.loss = loss
            for layer in self.layers.values():
                del vars(layer)["forward"], vars(layer)["backward"]

    def _wrap(self, path: str, layer: Layer) -> None:
        forward, backward, parameters = layer.forward, layer.backward, self.trainer.net.parameters
        states, trained = ([p for p in group if _inside(p, path)] for group in (parameters.running, parameters.trainable))
        place = f"layer {path}: {layer!r}" if path else "the network"

        def observed_forward(x: Array, step: Any) -> Any:
            with self.placing(f"{place}, forward"):
                result = forward(x, step)
            if type(result) is not tuple or len(result) != 2:
                return result  # the container says what is wrong with it
            see = functools.partial(self.observer.see, "forward", path)
            for p in states:
                see(f"state {_name(p, path)}", p.value)
            return see("output", result[0]), result[1]

        def observed_backward(dy: Array, cache: Any, step: Any) -> Any:
            with self.placing(f"{place}, backward"):
                dx = backward(dy, cache, step)
            see = functools.partial(self.observer.see, "backward", path)
            for p in trained:
                see(f"gradient {_name(p, path)}", p.grad)
            return see("dx", dx)

        vars(layer).update(forward=observed_forward, backward=observed_backward)


def _inside(entry: Parameter, path: str) -> bool:
    return not path or entry.name.startswith(path + ".")


def _name(entry: Parameter, path: str) -> str:
    """The parameter's name as seen from a layer: "W", or "0.W" for that of a layer inside it."""
    return entry.name[len(path) + 1 :] if path else entry.name


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
