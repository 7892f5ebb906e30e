"""What an explanation shows and in which order, for every form that it is written in."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate

import numpy as np

from xpnet.explain.numbers import number
from xpnet.explain.trace import Call, Changed, Described, Explanation, LayerRow, LossCall, Update
from xpnet.models import MODELS

READING = (
    "The delta of a layer is the gradient of the loss by that layer's output: it says how fast the loss grows with each "
    "number of the output, and so it has the output's shape. (That of an affine layer is what textbooks call the delta, or "
    "error, of its neurons.)",
    "The gradient of a weight array holds one such slope for each weight, and so it has the shape of the weights: the update "
    "moves each weight against its slope.",
)
FORWARD = "From the input to the output. In the formulas ``x`` is what a layer is given and ``y`` its output."
BACKWARD = (
    "From the output back to the input. In the formulas ``dy`` is the delta that a layer receives, ``dx`` the one that it "
    "passes on, ``dW`` the gradient of ``W``."
)
NO_NEED = "not needed: nothing before this layer has parameters"
NO_BACKWARD = "no backward needed: neither this layer nor anything before it has parameters"
NOT_RUN = "its backward did not run"


@dataclass
class Quantity:
    """An array by its name, or a ``note`` in its place."""

    name: str
    a: np.ndarray | None = None
    note: str = ""


@dataclass
class Entry:
    """A layer, or a parameter in the update: notes (code between double backticks), quantities, and the layers inside."""

    name: str
    notes: list[str] = field(default_factory=list)
    items: list[Entry | Quantity] = field(default_factory=list)
    layer: bool = True


@dataclass
class Section:
    """One part of the step."""

    title: str
    notes: list[str] = field(default_factory=list)
    items: list[Entry | Quantity] = field(default_factory=list)


@dataclass
class Story:
    """The whole: title, how to read it, the table of the network with its headings first, a line below it, the parts."""

    title: str
    reading: tuple[str, ...]
    table: list[tuple[str, ...]]
    total: str
    sections: list[Section]


def story(found: Explanation) -> Story:
    """The input, then everything that happened, part by part."""
    one = len(found.rows) == 1
    rows = f"row {found.rows[0]}" if one else f"rows {found.rows[0]} to {found.rows[-1]}"
    title = f"One training step of {found.name}: {rows} of {found.n}, on {found.device} in {found.dtype}"
    data = [Quantity("x", found.x), Quantity("targets", found.y)]
    sections = [Section("Input", [f"The minibatch is {rows} of the model's data."], list(data)), *Teller(found).sections()]
    for section in sections:
        alike = [s for s in sections if s.title == section.title]
        for again, other in enumerate(alike[1:], 2):
            other.title += f" ({again})"
    about = MODELS[found.name].__doc__ if found.name in MODELS else None
    reading = READING if about is None else (f"{found.name}: {about}", *READING)
    sizes = sum(p.size for layer in found.layers for p in layer.parameters if p.trainable)
    return Story(title, reading, _table(found.layers), f"{sizes:,} parameters; shapes are those of this step.", sections)


class Teller:
    """Goes through the events of a step; ``last`` is the output that the next layer's input is held against."""

    def __init__(self, found: Explanation):
        self.found = found
        self.layers = {layer.path: layer for layer in found.layers}
        self.last: tuple[str, np.ndarray] = ("", found.x)
        self.ran = {call.path for call in found.calls("forward")}
        own = [path for path, layer in self.layers.items() if any(p.trainable for p in layer.parameters)]
        self.trained = {around for path in own for around in accumulate(path.split("."), "{}.{}".format)}
        self.inside: dict[str, list[str]] = {}  # by the path of a layer, those directly inside
        for path in self.layers:
            self.inside.setdefault(self._around(path), []).append(path)

    def sections(self) -> list[Section]:
        """A part for each event."""
        return [self._section(event) for event in self.found.events]

    def _section(self, event: Call | LossCall | Update) -> Section:
        if isinstance(event, LossCall):
            return self._loss(event)
        if isinstance(event, Update):
            return self._update(event)
        if event.stage == "forward":
            return _part("Forward", FORWARD, event, self._forward(event))
        return _part("Backward", BACKWARD, event, self._backward(event))

    def _forward(self, call: Call) -> Entry:
        entry = self._entry(call, self._words(call).formula)
        if call.path and not _same(call.given, self.last[1]):
            entry.items.append(Quantity("input", call.given))
            self.last = (call.path, call.given)
        entry.items += [Quantity(name, a) for name, a in call.parameters.items()]
        entry.items += [self._forward(inner) for inner in call.inner]
        entry.items += self._states(call, always=True)
        if call.result is not None and call.path:
            repeated = bool(call.inner) and _same(call.result, self.last[1])
            entry.items.append(Quantity("output", None if repeated else call.result, f"that of {self.last[0]}"))
            self.last = (self.last[0] if repeated else call.path, call.result)
        return entry

    def _backward(self, call: Call) -> Entry:
        words = self._words(call)
        entry = self._entry(call, words.backward or words.formula)
        if call.path:
            entry.items.append(Quantity("delta received", call.given))
        entry.items += [self._backward(inner) for inner in call.inner]
        entry.items += self._not_run(call)
        entry.items += [Quantity(f"gradient of {name}", a) for name, a in call.parameters.items()]
        entry.items += self._states(call, always=False)
        if call.path:
            entry.items.append(Quantity("delta passed on", call.result, NO_NEED))
        return entry

    def _not_run(self, call: Call) -> list[Entry | Quantity]:
        """Layers directly inside whose forward ran, but not their backward."""
        done = {c.path for c in call.inner}
        missing = [p for p in self.inside.get(call.path, []) if p in self.ran and p not in done]
        return [Entry(self._name(p), [NOT_RUN if p in self.trained else NO_BACKWARD]) for p in reversed(missing)]

    def _states(self, call: Call, always: bool) -> list[Entry | Quantity]:
        found: list[Entry | Quantity] = []
        for name, (before, after) in call.states.items():
            if not _same(before, after):
                found += [Quantity(f"running {name} before", before), Quantity(f"running {name} after", after)]
            elif always:
                found.append(Quantity(f"running {name}", after))
        return found

    def _loss(self, event: LossCall) -> Section:
        words = self.found.loss
        return Section(
            "Loss",
            [f"``{words.title}``", *filter(None, (words.formula, words.backward))],
            [
                Quantity("outputs", event.outputs),
                Quantity("targets", event.targets),
                Quantity("loss", event.value),
                Quantity("gradient by the outputs", event.gradient),
            ],
        )

    def _update(self, event: Update) -> Section:
        words = self.found.optimizer
        notes = [
            f"``{words.title}``",
            *filter(None, [words.formula]),
            f"Update {event.number}, learning rate {number(event.rate)}.",
        ]
        if self.found.clip_norm is not None:
            squares = sum(float(np.square(p.gradient, dtype=np.float64).sum()) for p in event.changed if not p.frozen)
            norm, most = number(squares**0.5), number(self.found.clip_norm)
            notes.append(f"The norm of all gradients is {norm}; beyond {most} they are scaled down to it.")
        if not event.changed:
            notes.append("The network has no parameters.")
        return Section("Update", notes, [_changed(p) for p in event.changed])

    def _entry(self, call: Call, formula: str) -> Entry:
        return Entry(self._name(call.path), [formula] if formula else [])

    def _name(self, path: str) -> str:
        return f"{path}  {self.layers[path].title}" if path else "the network"

    def _words(self, call: Call) -> Described:
        return self.layers.get(call.path, Described(""))

    def _around(self, path: str) -> str:
        """The path of the layer that this one is inside of; a name may itself have a point."""
        path = path.rpartition(".")[0]
        return path if not path or path in self.layers else self._around(path)


def _part(title: str, note: str, call: Call, entry: Entry) -> Section:
    """What the network's own call holds, or that of a layer which was called by itself."""
    return Section(title, [note], [entry] if call.path else entry.items)


def _changed(p: Changed) -> Entry:
    notes = ["frozen: not updated"] if p.frozen else []
    return Entry(
        p.name, notes, [Quantity("before", p.before), Quantity("gradient", p.gradient), Quantity("after", p.after)], False
    )


def _table(layers: list[LayerRow]) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [("layer", "input", "output", "parameters")]
    for layer in layers:
        own = [f"{p.name[len(layer.path) + 1 :]} {p.shape}{'' if p.trainable else ' running'}" for p in layer.parameters]
        absent = "none" if layer.input_shape is not None else "not run"
        shapes = [absent if s is None else str(s) for s in (layer.input_shape, layer.output_shape)]
        rows.append((f"{'  ' * layer.depth}{layer.path}  {shortened(layer.title, 44)}", *shapes, ", ".join(own) or "-"))
    return rows


def shortened(title: str, most: int) -> str:
    return title if len(title) <= most else f"{title[: most - 3]}..."


def _same(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and a.tobytes() == b.tobytes()
