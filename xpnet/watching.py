"""A copy of a trainer under watch: every layer's forward and backward and the loss are shown to a watcher as they run."""

from __future__ import annotations

import contextlib
import copy
import functools
from collections.abc import Iterator
from typing import Any

from xpnet.backends import Device
from xpnet.backends.device import Array
from xpnet.layers.base import Layer, Shape
from xpnet.network import holder
from xpnet.parameters import Parameter
from xpnet.training import Trainer

LOSS = "loss"  # the loss's place among the layers' paths; that of the network itself is ""


class Watcher:
    """Is told what each call begins with, and shown every array where it arises.

    ``stage`` is "forward" or "backward", ``path`` that of the layer ("2", "1.shortcut"), "" for the network, or "loss".
    """

    def given(self, stage: str, path: str, *arrays: Array) -> None:
        """A forward begins with its input, a backward with the gradient by its output, the loss with outputs and targets."""

    def see(self, stage: str, path: str, quantity: str, a: Array | None) -> Any:
        """``a``, or what the step goes on with instead."""
        raise NotImplementedError

    def ended_without_result(self) -> None:
        """The layer's call that began last raised an error, or its forward returned no pair; a container may go on."""


class Watched:
    """A trainer's copy on a device, built there; the trainer itself is left alone.

    ``layers`` maps the path of every layer, at any depth, to it ("" is the network), ``holders`` the name of every
    parameter and running statistic to the path of the layer that it belongs to. Errors carry a note of their place that
    begins with ``verb``. Its steps are in the network's own dtype, whatever the trainer's ``precision``.
    """

    watcher: Watcher
    number = 1  # of the step

    def __init__(self, trainer: Trainer, device: Device, shape: Shape, verb: str):
        shared = {id(trainer.callbacks): trainer.callbacks}  # they are not run, and need not be fit to be copied
        self.device, self.note = device, f"xpnet.{verb}: "
        try:
            self.trainer = copy.deepcopy(trainer, shared)
        except Exception as error:
            raise TypeError(f"{verb} works on a copy of the trainer, and it holds what has none: {error}") from error
        self.trainer.device = device
        self.trainer.precision = self.trainer.half = None
        self.trainer.records.wanted = False  # layers are watched as they run
        net = self.trainer.build(shape).net
        net.in_blocks = net.fuses = False  # layer after layer, each for the whole batch
        self.layers = {"": net, **net.layer_paths}
        self.holders = {name: holder(name, net.layer_paths) for name in net.parameters}

    @contextlib.contextmanager
    def placing(self, place: str) -> Iterator[None]:
        """Give an error that is raised within a note of step, place and device; the innermost place counts."""
        try:
            yield
        except Exception as error:
            if not any(note.startswith(self.note) for note in getattr(error, "__notes__", ())):
                error.add_note(f"{self.note}step {self.number}, {place and place + ', '}on {self.device.name}")
            raise

    @contextlib.contextmanager
    def _running(self, place: str) -> Iterator[None]:
        """A layer's call: :meth:`placing`, and the watcher is told of an error."""
        try:
            with self.placing(place):
                yield
        except Exception:
            self.watcher.ended_without_result()
            raise

    @contextlib.contextmanager
    def observed(self) -> Iterator[None]:
        """Show the watcher what the loss and every layer are given and return, for the time of the block."""
        loss = self.trainer.loss
        self.trainer.loss = WatchedLoss(loss, self)  # type: ignore[assignment]
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

        def watched_forward(x: Array, step: Any) -> Any:
            self.watcher.given("forward", path, x)
            with self._running(f"{place}, forward"):
                result = forward(x, step)
            if type(result) is not tuple or len(result) != 2:
                self.watcher.ended_without_result()
                return result  # the container says what is wrong with it
            see = functools.partial(self.watcher.see, "forward", path)
            for p in states:
                see(f"state {own_name(p, path)}", p.value)
            return see("output", result[0]), result[1]

        def watched_backward(dy: Array, cache: Any, step: Any) -> Any:
            self.watcher.given("backward", path, dy)
            with self._running(f"{place}, backward"):
                dx = backward(dy, cache, step)
            see = functools.partial(self.watcher.see, "backward", path)
            for p in trained:
                see(f"gradient {own_name(p, path)}", p.grad)
            return see("dx", dx)

        vars(layer).update(forward=watched_forward, backward=watched_backward)


class WatchedLoss:
    """A loss whose arguments, value and gradient are shown to a watcher; in all else the loss itself."""

    def __init__(self, loss: Any, watched: Watched):
        self._loss, self._watched = loss, watched

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        watcher = self._watched.watcher
        watcher.given("forward", LOSS, *arguments[:2])
        with self._watched.placing(f"the loss, {self._loss!r}"):
            value, dy = self._loss(*arguments, **options)
        return watcher.see("forward", LOSS, "loss", value), watcher.see("backward", LOSS, "gradient", dy)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loss, name)


def own_name(entry: Parameter, path: str) -> str:
    """The parameter's name as seen from a layer: "W", or "0.W" for that of a layer inside it."""
    return entry.name[len(path) + 1 :] if path else entry.name


def _inside(entry: Parameter, path: str) -> bool:
    return not path or entry.name.startswith(path + ".")
