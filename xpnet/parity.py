"""Whether two devices train a network to the same numbers, and if not, which layer is the first to part."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.checks import as_array, check_count, check_number, row_count, to_host
from xpnet.difference import Gap
from xpnet.lockstep import LOSS, Twin, run
from xpnet.models import Source, load
from xpnet.training import Trainer
from xpnet.training.data import prepare
from xpnet.training.feed import batch_rows, row_order

TOLERANCE = {"float32": 1e-5, "float64": 1e-12}
COLUMNS = ("output", "dx", "gradients", "parameters")
COLUMN_OF = {  # by the first word of a quantity
    "output": "output",
    "loss": "output",
    "dx": "dx",
    "gradient": "gradients",
    "parameter": "parameters",
    "optimizer": "parameters",
    "state": "parameters",
}


def parity(
    model: Source,
    *,
    devices: Sequence[str | Device] = ("cpu", "sim"),
    steps: int = 50,
    batch_size: int | None = None,
    rtol: float | None = None,
) -> Parity:
    """Train copies of a model on two devices in lockstep and compare everything that every layer makes.

    ``model`` is a built-in name (:data:`xpnet.models.MODELS`), ``"file.py:function"``, a function, or what that returns: a
    tuple ``(trainer, x, y)``, of which nothing is changed. The steps are those of ``trainer.fit(x, y, batch_size=...)``,
    all rows at a time if None. Where the second device differs it goes on with the first one's values, so that
    each layer answers for itself alone. The same device twice shows whether it computes the same twice.

    ``rtol`` is what counts as the same, relative to the array's largest magnitude (for a parameter: its largest change in
    the step, two ULP aside) or, where that is more, to half of what it was the step before; None means 1e-5 in float32
    and 1e-12 in float64.
    Raises ValueError, TypeError, FileNotFoundError or DeviceUnavailable before anything is run.
    """
    steps, rtol = check_count("steps", steps), None if rtol is None else check_number("rtol", rtol)
    targets = _two_devices(devices)
    trainer, x, y = load(model)
    x, y = (to_host(trainer.device, as_array(trainer.device, a, name)) for a, name in ((x, "x"), (y, "y")))
    row_count(x, "x")
    first, second = (Twin(trainer, target, trainer.net.input_shape if trainer.net.built else x.shape[1:]) for target in targets)
    data = prepare(first.trainer.net, trainer.loss, x, y)
    batches = _batches(trainer, data.x, data.y, batch_rows(len(data.x), batch_size))
    result = _nothing_seen(first, second, steps, rtol)
    run(first, second, itertools.islice(batches, steps), result.note)
    return result


@dataclass(frozen=True)
class Parting:
    """One quantity of one layer that differs in one step.

    ``stage`` is where that shows: in the "forward" or "backward" of the layer, or in the "update" at the end of the step
    (parameters, the optimizer's vectors, and running statistics that were written after their layer's forward).
    ``quantity`` is "output", "dx", "gradient W", "parameter W", "optimizer mean W", "state mean", and "loss" or "gradient"
    where ``path`` is "loss". ``relative`` and ``ulp`` are infinite where numbers cannot say what ``text`` says.
    """

    step: int
    stage: str
    path: str
    layer: str
    quantity: str
    relative: float
    ulp: float
    text: str

    def __str__(self) -> str:
        return f"{self._place()}: {self.quantity} {self.text or self._size()}"

    def _place(self) -> str:
        if self.path == LOSS:
            return f"the loss, {self.layer}"
        where = f"layer {self.path}: {self.layer}" if self.path else self.layer
        return f"the {self.stage} of {where}"

    def _size(self) -> str:
        change = "of the step's change" if self.quantity.startswith("parameter ") else "relative"
        return f"differs by {self.relative:.1e} ({change}, {self.ulp:,} ULP)"


@dataclass
class Extent:
    """The largest differences of one kind: relative and in ULP, each over all steps and arrays."""

    relative: float = 0.0
    ulp: float = 0

    def include(self, gap: Gap) -> None:
        self.relative, self.ulp = max(self.relative, gap.relative), max(self.ulp, gap.ulp)

    def __str__(self) -> str:
        if not self.ulp:
            return "equal"
        return f"{self.relative:.1e} ({self.ulp:,})" if self.ulp < math.inf else "unlike"


@dataclass
class LayerParity:
    """How far one layer's results are apart; None where it has none of the kind.

    ``parameters`` covers the optimizer's vectors and running statistics too. A container's gradients are those inside it,
    as they are when its own backward has ended. The row "loss" has the loss's value as output.
    """

    path: str
    layer: str
    output: Extent | None = None
    dx: Extent | None = None
    gradients: Extent | None = None
    parameters: Extent | None = None

    @property
    def identical(self) -> bool:
        return not any(extent.ulp for extent in self._extents() if extent)

    def note(self, quantity: str, gap: Gap) -> None:
        column = COLUMN_OF[quantity.split()[0]]
        if getattr(self, column) is None:
            setattr(self, column, Extent())
        getattr(self, column).include(gap)

    def cells(self) -> tuple[str, ...]:
        """The row of the table."""
        name = f"{self.path}: {self.layer}" if self.path else self.layer
        return (name if len(name) <= 48 else name[:45] + "...", *(str(extent or "-") for extent in self._extents()))

    def _extents(self) -> list[Extent | None]:
        return [getattr(self, column) for column in COLUMNS]


@dataclass
class Parity:
    """Outcome of :func:`parity`; true where the devices agree within ``rtol``. ``print`` it for the table.

    ``layers`` has a row for each layer in the order of the network, containers before what they hold, and the loss last;
    ``first`` is the first :class:`Parting` beyond ``rtol`` and ``largest`` the largest of all, None where there is none.
    """

    devices: tuple[str, str]
    steps: int
    rtol: float
    layers: list[LayerParity]
    first: Parting | None = None
    largest: Parting | None = None

    def __post_init__(self) -> None:
        self._by_path = {row.path: row for row in self.layers}

    @property
    def identical(self) -> bool:
        """Whether everything was byte-equal throughout (NaN counts as equal to NaN)."""
        return self.largest is None

    @property
    def ok(self) -> bool:
        """Whether nothing differed by more than ``rtol``."""
        return self.first is None

    def __bool__(self) -> bool:
        return self.ok

    def note(self, step: int, stage: str, path: str, quantity: str, gap: Gap) -> None:
        """Take in one comparison."""
        if path not in self._by_path:
            if not gap:
                return  # the network's own results are those of its outermost layers, unless its class adds to them
            self.layers.insert(0, LayerParity(path, "the network"))
            self._by_path[path] = self.layers[0]
        self._by_path[path].note(quantity, gap)
        if not gap:
            return
        found = Parting(step, stage, path, self._by_path[path].layer, quantity, *gap)
        if self.largest is None or (gap.relative, gap.ulp) > (self.largest.relative, self.largest.ulp):
            self.largest = found
        if self.first is None and gap.relative > self.rtol:
            self.first = found

    def verdict(self) -> str:
        """One sentence."""
        a, b = self.devices
        steps = f"{a} and {b}: {self.steps} step{'s' if self.steps > 1 else ''}"
        if self.largest is None:
            return f"{steps}, byte-equal."
        if self.first is None:
            return f"{steps}, the same within {self.rtol:g}; furthest apart at step {self.largest.step} in {self.largest}."
        return f"{a} and {b} part at step {self.first.step} in {self.first}; tolerance {self.rtol:g}."

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dicts, fit for JSON: None stands for infinite differences."""
        return _finite({**asdict(self), "identical": self.identical, "ok": self.ok, "verdict": self.verdict()})

    def __repr__(self) -> str:
        return f"<Parity: {self.verdict()}>"

    def __str__(self) -> str:
        rows = [("layer", *COLUMNS), *(row.cells() for row in self.layers)]
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        title = f"largest differences of {self.devices[0]} and {self.devices[1]}: relative (ULP)"
        return "\n".join([title, lines[0], "-" * max(map(len, lines)), *lines[1:], "", self.verdict()])


def _two_devices(names: Sequence[str | Device]) -> list[Device]:
    if isinstance(names, str) or len(names) != 2:
        raise ValueError(f'devices={names!r}: two are compared, for instance ("cpu", "sim")')
    return [resolve(name).device for name in names]


def _nothing_seen(first: Twin, second: Twin, steps: int, rtol: float | None) -> Parity:
    if rtol is None:
        rtol = TOLERANCE[first.trainer.net.parameters.dtype.name]
    names = {path: repr(layer) for path, layer in first.layers.items() if path} | {LOSS: repr(first.trainer.loss)}
    rows = [LayerParity(path, name) for path, name in names.items()]
    return Parity((first.device.name, second.device.name), steps, rtol, rows)


def _batches(trainer: Trainer, x: Any, y: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The minibatches of ``trainer.fit``, epoch after epoch without end."""
    for epoch in itertools.count(trainer.epoch):
        order = row_order(len(x), trainer.seed, epoch)
        for start in range(0, len(x), size):
            rows = order[start : start + size]
            yield x[rows], y[rows]


def _finite(found: Any) -> Any:
    if isinstance(found, dict):
        return {key: _finite(value) for key, value in found.items()}
    if isinstance(found, list | tuple):
        return [_finite(value) for value in found]
    return None if found == math.inf else found
