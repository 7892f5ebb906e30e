"""One real training step of a copy of a model, with everything that it computes written down as it arises."""

from __future__ import annotations

import contextlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.backends.device import Array
from xpnet.checks import as_array, row_count, to_host
from xpnet.explain.sample import Sample, rows_of
from xpnet.layers.base import Layer
from xpnet.losses.base import Loss
from xpnet.models import Source, load
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.parameters import Parameter, Parameters
from xpnet.training.data import prepare
from xpnet.watching import LOSS, Watched, Watcher, own_name

Arrays = dict[str, np.ndarray]


@dataclass
class Call:
    """One run of a layer's forward or backward (``stage``), and the runs of other layers inside it.

    Forward: ``given`` is the input, ``result`` the output, ``parameters`` the layer's own before the step, by name.
    Backward: ``given`` is the delta, the loss's gradient by the output, ``result`` that by the input (None where nobody
    needs it), ``parameters`` the gradients of the layer's own. ``states`` are running statistics before and after.
    """

    stage: str
    path: str
    given: np.ndarray
    parameters: Arrays = field(default_factory=dict)
    states: dict[str, tuple[np.ndarray, np.ndarray]] = field(default_factory=dict)
    result: np.ndarray | None = None
    inner: list[Call] = field(default_factory=list)

    def walk(self) -> Iterator[Call]:
        """This call and all inside it, in the order in which they begin."""
        yield self
        for call in self.inner:
            yield from call.walk()


@dataclass
class LossCall:
    """The loss: ``outputs`` of the network and ``targets``, the ``value`` (0-d), its ``gradient`` by the outputs."""

    outputs: np.ndarray
    targets: np.ndarray
    value: np.ndarray = field(default_factory=lambda: np.zeros(()))
    gradient: np.ndarray = field(default_factory=lambda: np.zeros(()))
    stage: str = "loss"


@dataclass
class Changed:
    """One parameter in an update; ``after`` is what the optimizer made of it."""

    name: str
    before: np.ndarray
    gradient: np.ndarray
    after: np.ndarray
    frozen: bool


@dataclass
class Update:
    """What the optimizer did in its update ``number`` (from 1 on) at learning rate ``rate``, in the order of the network."""

    number: int
    rate: float
    changed: list[Changed]
    stage: str = "update"


@dataclass
class Described:
    """A layer, loss or optimizer in words: what it prints as, its docstring's first line, what that says of ``backward``."""

    title: str
    formula: str = ""
    backward: str = ""


@dataclass
class LayerRow(Described):
    """A layer in the table of the network; shapes are those of the step, None where it did not run."""

    path: str = ""
    depth: int = 0
    container: bool = False
    input_shape: tuple[int, ...] | None = None
    output_shape: tuple[int, ...] | None = None
    parameters: list[Parameter] = field(default_factory=list)


@dataclass
class Explanation:
    """Outcome of :func:`explain`: ``print`` it, or write ``html()`` to a file. All arrays are NumPy's, whole.

    ``events`` are what happened, in that order: the forward of the network (:class:`Call`, the layers inside it), the
    loss (:class:`LossCall`), the backward, the update (:class:`Update`). ``rows`` are those of the model's ``n`` that the
    step was made with, ``x`` and ``y`` their inputs and targets. ``layers`` is the table of the network.
    """

    name: str
    device: str
    dtype: str
    rows: range
    n: int
    x: np.ndarray
    y: np.ndarray
    layers: list[LayerRow]
    loss: Described
    optimizer: Described
    clip_norm: float | None
    events: list[Call | LossCall | Update]

    def calls(self, stage: str) -> list[Call]:
        """Every run of a layer in the stage "forward" or "backward", in the order in which they begin; first the network's."""
        return [c for event in self.events if isinstance(event, Call) for c in event.walk() if c.stage == stage]

    def text(self, digits: int = 4) -> str:
        """The step as text; small numbers get more decimals than ``digits``, so that as many of their digits show."""
        from xpnet.explain.text import page

        return page(self, digits)

    def html(self, digits: int = 4) -> str:
        """The step as a page in one file; needs jinja2 (the extra ``html``)."""
        from xpnet.explain.html import page

        return page(self, digits)

    def as_dict(self) -> dict[str, Any]:
        """Everything fit for JSON: small arrays with their numbers (None for NaN and infinity), others with their extremes."""
        from xpnet.explain.numbers import plain

        return plain(self)

    def __str__(self) -> str:
        return self.text()

    def __repr__(self) -> str:
        return f"<Explanation of one step of {self.name}: print it, or write its html() to a file>"


def explain(model: Source, *, sample: Sample = 0, device: str | Device | None = None) -> Explanation:
    """One training step of a model, with every matrix that it computes: ``print(xn.explain("worked"))``.

    ``model`` is a built-in name (:data:`xpnet.models.MODELS`), ``"file.py:function"``, a function, or what that returns: a
    tuple ``(trainer, x, y)``, of which nothing is changed. ``sample`` names the rows that are the minibatch, ``0`` or
    ``"3:7"`` (3 to 6). The step runs where the trainer trains unless ``device`` says otherwise.
    Raises ValueError, TypeError, FileNotFoundError or DeviceUnavailable before anything is run.
    """
    target = None if device is None else resolve(device).device
    trainer, x, y = load(model)
    x, y = (to_host(trainer.device, as_array(trainer.device, a, name)) for a, name in ((x, "x"), (y, "y")))
    n = row_count(x, "x")
    rows = rows_of(sample, n)
    shape = trainer.net.input_shape if trainer.net.built else x.shape[1:]
    watched = Watched(trainer, target or trainer.device, shape, "explain")
    data = prepare(watched.trainer.net, trainer.loss, x, y)
    x, y = data.x[rows.start : rows.stop], data.y[rows.start : rows.stop]
    events = _run(watched, x.copy(), y.copy())
    rule = trainer.optimizer
    return Explanation(
        name=model if isinstance(model, str) else getattr(model, "__name__", "the model"),
        device=watched.device.name,
        dtype=watched.trainer.net.parameters.dtype.name,
        rows=rows,
        n=n,
        x=x,
        y=y,
        layers=_table(watched, events),
        loss=_described(trainer.loss, Loss),
        optimizer=_described(rule, Optimizer),
        clip_norm=rule.clip_norm,
        events=events,
    )


def _run(watched: Watched, x: np.ndarray, y: np.ndarray) -> list[Call | LossCall | Update]:
    """The step on the copy, which layers may write to, and what happened in it."""
    tracer = Tracer(watched)
    watched.watcher = tracer
    with watched.observed(), tracer.updates(), watched.placing(""), watched.device.use():
        watched.trainer.step(watched.device.put(x), watched.device.put(y))
    return tracer.events


class Tracer(Watcher):
    """Writes down calls as they begin and end, each inside the one that made it."""

    def __init__(self, watched: Watched):
        self.device, self.trainer = watched.device, watched.trainer
        self.events: list[Call | LossCall | Update] = []
        self._open: list[Call] = []
        parameters = self.trainer.net.parameters
        self._own = {path: _held(parameters.trainable, path, watched.holders) for path in watched.layers}
        self._states = {path: _held(parameters.running, path, watched.holders) for path in watched.layers}

    def given(self, stage: str, path: str, *arrays: Array) -> None:
        host = [to_host(self.device, a) for a in arrays]
        if path == LOSS:
            self.events.append(LossCall(host[0], host[1]))
            return
        call = Call(stage, path, host[0])
        if stage == "forward":
            call.parameters = self._values(self._own[path])
        call.states = {name: (a, a) for name, a in self._values(self._states[path]).items()}
        (self._open[-1].inner if self._open else self.events).append(call)
        self._open.append(call)

    def see(self, stage: str, path: str, quantity: str, a: Array | None) -> Any:
        if path == LOSS:
            event = self.events[-1]
            assert isinstance(event, LossCall)
            setattr(event, "value" if quantity == "loss" else "gradient", to_host(self.device, a))
        elif quantity in ("output", "dx"):
            self._end(self._open.pop(), a)
        return a

    def ended_without_result(self) -> None:
        self._open.pop()

    def _end(self, call: Call, a: Array | None) -> None:
        call.result = None if a is None else to_host(self.device, a)
        if call.stage == "backward":
            call.parameters = {name: to_host(self.device, p.grad) for name, p in self._own[call.path].items()}
        after = self._values(self._states[call.path])
        call.states = {name: (before, after[name]) for name, (before, _) in call.states.items()}

    def _values(self, entries: dict[str, Parameter]) -> Arrays:
        return {name: to_host(self.device, p.value) for name, p in entries.items()}

    @contextlib.contextmanager
    def updates(self) -> Iterator[None]:
        """Write down what each call of the optimizer's ``update`` changes, for the time of the block."""
        optimizer, update = self.trainer.optimizer, self.trainer.optimizer.update

        def watched_update(parameters: Parameters) -> None:
            rate, before = float(optimizer.current_rate), parameters.snapshot()
            gradients = {p.name: to_host(self.device, p.grad) for p in parameters.trainable}
            update(parameters)
            after = parameters.snapshot()
            rows = [Changed(p.name, before[p.name], gradients[p.name], after[p.name], p.frozen) for p in parameters.trainable]
            self.events.append(Update(optimizer.steps, rate, rows))

        vars(optimizer)["update"] = watched_update
        try:
            yield
        finally:
            del vars(optimizer)["update"]


def _held(entries: list[Parameter], path: str, holders: dict[str, str]) -> dict[str, Parameter]:
    """Those of one layer, by its own names for them."""
    return {own_name(p, path): p for p in entries if holders[p.name] == path}


def _table(watched: Watched, events: list[Call | LossCall | Update]) -> list[LayerRow]:
    """The layers in the order of the network, containers before what they hold."""
    shapes: dict[str, tuple] = {}
    for call in (c for e in events if isinstance(e, Call) and e.stage == "forward" for c in e.walk()):
        shapes.setdefault(call.path, (call.given.shape, None if call.result is None else call.result.shape))
    rows = []
    for path, layer in watched.layers.items():
        if path:
            container = any(other.startswith(path + ".") for other in watched.layers)
            own = [p for p in watched.trainer.net.parameters.values() if watched.holders[p.name] == path]
            words = _described(layer, Sequential if isinstance(layer, Sequential) else Layer)
            title = type(layer).__name__ if container else words.title
            given, made = shapes.get(path, (None, None))
            depth = sum(path.startswith(other + ".") for other in watched.layers)
            rows.append(LayerRow(title, words.formula, words.backward, path, depth, container, given, made, own))
    return rows


def _described(thing: object, base: type) -> Described:
    """In the words of the docstring of its class, or of the nearest one below ``base`` that has one."""
    classes = [c for c in type(thing).__mro__ if c is not object and c not in base.__mro__]
    text = inspect.cleandoc(next((doc for c in classes if (doc := vars(c).get("__doc__"))), ""))
    text = re.sub(r":\w+:`~?([^`]*)`", r"``\1``", text)
    backward = re.search(r"Backward: (.+?)(?:\n\s*\n|\Z)", text, re.DOTALL) or re.search(r"(gradient ``[^`]+``)", text)
    title = " ".join(repr(thing).split())
    return Described(title, text.partition("\n")[0].strip(), " ".join(backward[1].split()) if backward else "")
