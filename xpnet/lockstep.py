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
from xpnet.layers.containers import Chain
from xpnet.network import Sequential
from xpnet.parameters import Maker, Parameter
from xpnet.training import Trainer

LOSS = "loss"  # the loss's place among the layers' paths; that of the network itself is ""

Note = Callable[[int, str, str, Gap], None]  # step from 1 on, path, quantity, difference (also where there is none)
Key = tuple[str, str, int]  # path, quantity, how often seen before in this step


def run(first: Twin, second: Twin, batches: Iterable[tuple[np.ndarray, np.ndarray]], note: Note) -> None:
    """One step on each pair of host rows and targets; everything is noted in the order of execution on the second device."""
    scales: dict[tuple[str, str], float] = {}
    with first.observed(), second.observed():
        for number, (x, y) in enumerate(batches, 1):
            before = first.trainer.net.parameters.snapshot()
            recorder = Recorder(first.device)
            first.step(recorder, x, y, before)
            comparer = Comparer(second.device, recorder.seen, scales, functools.partial(note, number))
            second.step(comparer, x, y, before)
            comparer.finish()


class Observer:
    """Is shown every array where it arises, and says what the step goes on with."""

    def __init__(self, device: Device):
        self.device = device
        self._counts: Counter[tuple[str, str]] = Counter()

    def see(self, path: str, quantity: str, a: Array | None, before: np.ndarray | None = None) -> Any:
        """``a`` or what replaces it; ``before`` are the values that a parameter had before the step."""
        key = (path, quantity, self._counts[path, quantity])
        self._counts[path, quantity] += 1
        return self.seen_as(key, a, before)

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

    ``scales`` are the largest magnitudes so far by path and quantity, over all steps: a gradient that has all but vanished,
    say, is what is left of terms that cancel, and their rounding does not vanish.
    """

    def __init__(
        self,
        device: Device,
        expected: dict[Key, np.ndarray | None],
        scales: dict[tuple[str, str], float],
        note: Callable[[str, str, Gap], None],
    ):
        super().__init__(device)
        self.expected, self.scales, self.note = expected, scales, note

    def seen_as(self, key: Key, a: Array | None, before: np.ndarray | None) -> Any:
        path, quantity, _ = key
        if key not in self.expected:
            self.note(path, quantity, unlike("is computed on the second device only"))
            return a
        expected = self.expected.pop(key)
        if expected is None and a is None:
            return None
        gap = self._gap(key, expected, a, before)
        self.note(path, quantity, gap)
        return self._replaced(a, expected) if gap else a

    def finish(self) -> None:
        """Note what the second device has not computed."""
        for path, quantity, _ in self.expected:
            self.note(path, quantity, unlike("is computed on the first device only"))

    def _gap(self, key: Key, expected: np.ndarray | None, a: Array | None, before: np.ndarray | None) -> Gap:
        if expected is None or a is None:
            return unlike(f"is None on the {'first' if expected is None else 'second'} device only")
        size, slack = _magnitude(expected, before)
        scale = self.scales[key[:2]] = max(size, self.scales.get(key[:2], 0.0))
        return difference(expected, to_host(self.device, a), scale, slack)

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
        value, dy = self._loss(*arguments, **options)
        see = self._twin.observer.see
        return see(LOSS, "loss", value), see(LOSS, "gradient", dy)

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
        self.layers = layer_paths(net)
        self.trained = [(entry, _holder(entry, self.layers)) for entry in net.parameters.trainable]

    def step(self, observer: Observer, x: np.ndarray, y: np.ndarray, before: dict[str, np.ndarray]) -> None:
        """One training step on a copy of the rows and targets, since layers may work in place."""
        self.observer = observer
        with self.device.use():
            self.trainer.step(self.device.put(x.copy()), self.device.put(y.copy()))
        self._see_update(before)

    def _see_update(self, before: dict[str, np.ndarray]) -> None:
        """What the optimizer has written: parameters, and its own vectors parameter by parameter."""
        see, start = self.observer.see, 0
        for entry, path in self.trained:
            name = _name(entry, path)
            see(path, f"parameter {name}", entry.value, before[entry.name])
            for vector, a in self.trainer.optimizer._vectors.items():
                see(path, f"optimizer {vector} {name}", a[start : start + entry.size])
            start += entry.size

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

        def observed_forward(x: Array, step: Any) -> Any:
            result = forward(x, step)
            if type(result) is not tuple or len(result) != 2:
                return result  # the container says what is wrong with it
            for p in states:
                self.observer.see(path, f"state {_name(p, path)}", p.value)
            return self.observer.see(path, "output", result[0]), result[1]

        def observed_backward(dy: Array, cache: Any, step: Any) -> Any:
            dx = backward(dy, cache, step)
            for p in trained:
                self.observer.see(path, f"gradient {_name(p, path)}", p.grad)
            return self.observer.see(path, "dx", dx)

        vars(layer).update(forward=observed_forward, backward=observed_backward)


def layer_paths(net: Sequential) -> dict[str, Layer]:
    """Every layer of a built network by its path, the network itself first; from a build that is undone."""
    maker = Maker(rebuilt=net.parameters)
    try:
        Chain.build(net, net.input_shape, maker)
        return {"": net} | {maker.paths[id(layer)]: layer for layer, _ in maker.before}
    finally:
        maker.undo()


def _holder(entry: Parameter, paths: Iterable[str]) -> str:
    """Path of the innermost layer that holds a parameter."""
    return max((path for path in paths if _inside(entry, path)), key=len)


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
