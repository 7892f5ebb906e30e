"""Advice as tables of cells, each of which names the place in ``as_dict()`` that its figure is from."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence

from xpnet.advise.advice import Advice, GPUAdvice, Point
from xpnet.advise.fit import Line
from xpnet.advise.predict import Prediction
from xpnet.advise.room import Room
from xpnet.advise.verdicts import called, times
from xpnet.backends.ledger.page import in_bytes
from xpnet.bench.cells import ABSENT, Cell, Group, Table, count, duration, thousands
from xpnet.bench.provenance import hardware

ROWS = "Rows a second on data that are there already; the CPU with the number of threads that is best for each batch."
FITS = (
    "A step on N rows takes about t = a + b N: least squares of relative misses. Which device pays is read from the points, "
    "not from these lines."
)
BOUND = (
    "The CPU's parts are the method's, of its products, its passes over memory and its calls. A GPU works while the host "
    "launches what comes next: the longer of the two counts, and copies and waiting besides."
)
ONCE = "Before the first step; no other figure on this page contains it."
PROOF = "The first steps of training on the CPU and on the GPU; the simulated one stands for a GPU that is not here."
METHOD = (
    "On the CPU a step (forward, loss, backward and update) was timed: medians and quartiles of five rounds. The method "
    "counts the calls of a step, their bytes and products, and adds up what each takes by micro-benchmarks of this CPU, or by "
    "the figures of a GPU (xpnet advise --list-gpus), with calls counted on the simulated one."
)
PARTS = ("host", "kernels", "memory", "arithmetic", "copies", "waits")


@dataclasses.dataclass
class Section:
    """Tables under a title, with a sentence on what they hold."""

    name: str
    title: str
    about: str
    tables: list[Table]


def sections(found: Advice) -> list[Section]:
    """All of the advice, in the order of the page."""
    ifs = what_ifs(found)
    kept = [
        Section("time", "Time of a step by batch", FITS, [fits(found)]),
        Section("throughput", "Rows a second", ROWS, [throughput(found)]),
        Section("bound", f"What bounds a step at batch {found.batch:,}", BOUND, [reached(found), *device_parts(found)]),
        Section("what-if", "What if", f"Rows a second, as many times as at batch {found.batch:,}.", [ifs]),
        Section("once", "Paid once", ONCE, [once(found)]),
        Section("memory", "Memory", "Forecast of a training step's, and the batch that fills what there is.", [memory(found)]),
        Section("proof", "The same numbers", PROOF, [proof(found)]),
        Section("basis", "Model, machine and method", METHOD, [basis(found)]),
    ]
    return [section for section in kept if all(table.groups for table in section.tables)]


def seconds(value: float, of: str) -> Cell:
    return Cell(duration(value), value, of=(of,))


def spread(p: Point | Prediction, of: str) -> Cell:
    """Seconds of a step, with what they lie between."""
    return Cell(duration(p.seconds), p.seconds, p.low, p.high, f"{duration(p.low)} to {duration(p.high)}", (f"{of}.seconds",))


def rate(p: Point | None, of: str, between: bool = False) -> Cell:
    """Rows a second; what they lie between is shown if asked."""
    if p is None:
        return Cell(ABSENT)
    low, high = p.batch / p.high, p.batch / p.low
    shown = f"{thousands(low)}..{thousands(high)}" if between else ""
    return Cell(thousands(p.batch / p.seconds), p.batch / p.seconds, low, high, shown, (of,))


def throughput(found: Advice) -> Table:
    """By batch the CPU's rows a second, and each GPU's with how many times as many those are."""
    table = Table(["batch", "CPU", "its threads", "CPU, by the method"], [Group("", [])])
    for g in found.gpus:
        table.heads += [g.name, f"{g.name} / CPU", *([f"{g.name}, by the method"] if g.measured else [])]
    for i, p in enumerate(found.cpu):
        row = [count(p.batch), rate(p, f"cpu[{i}]", between=True), count(p.threads)]
        row.append(rate(found.cpu_predicted[i], f"cpu_predicted[{i}]"))
        for j, g in enumerate(found.gpus):
            row += _beside(p, f"cpu[{i}].seconds", g, f"gpus[{j}]")
        table.groups[0].rows.append(row)
    return table


def _beside(cpu: Point, of_cpu: str, g: GPUAdvice, of: str) -> Iterator[Cell]:
    """A GPU's cells at the batch of the CPU's point."""
    k = next((k for k, q in enumerate(g.points) if q.batch == cpu.batch), None)
    q = None if k is None else g.points[k]
    yield rate(q, f"{of}.points[{k}]", between=True)
    if q is None:
        yield Cell(ABSENT)
    else:
        ratio = cpu.seconds / q.seconds
        yield Cell(times(ratio), ratio, cpu.low / q.high, cpu.high / q.low, of=(of_cpu, f"{of}.points[{k}].seconds"))
    if g.measured:
        k = next((k for k, q in enumerate(g.predicted) if q.batch == cpu.batch), None)
        yield rate(None if k is None else g.predicted[k], f"{of}.predicted[{k}]")


def fits(found: Advice) -> Table:
    """The straight lines, and where each GPU's meets the CPU's."""
    lines: list[tuple[str, Line, str]] = [("CPU, measured", found.cpu_line, "cpu_line")]
    lines += [(called(g), g.line, f"gpus[{i}].line") for i, g in enumerate(found.gpus)]
    rows = []
    for name, fit, of in lines:
        meets = None if of == "cpu_line" else found.cpu_line.meets(fit)
        there = Cell(ABSENT) if meets is None else Cell(f"{meets:,.0f}", meets, of=("cpu_line", of))
        cells = [seconds(fit.fixed, f"{of}.fixed"), seconds(fit.each, f"{of}.each"), share(fit.error, f"{of}.error")]
        rows.append([Cell(name), *cells, there])
    return Table(["t = a + b N", "a, of a step", "b, of a row", "off by", "meets the CPU's at N ="], [Group("", rows)])


def reached(found: Advice) -> Table:
    """What the CPU's step makes of the most that the micro-benchmarks saw."""
    i = next(i for i, p in enumerate(found.cpu) if p.batch == found.batch)
    t, rows = found.cpu[i].seconds, []
    for name, key, unit in (("products", "flops", "FLOP/s"), ("memory", "bytes", "B/s")):
        here, most = found.cpu_parts[key] / t, found.ceilings[key]
        cells = [Cell(thousands(here), here, of=(f"cpu_parts.{key}", f"cpu[{i}].seconds"))]
        rows.append([Cell(f"{name}, {unit}"), *cells, Cell(thousands(most), most, of=(f"ceilings.{key}",))])
    return Table(["CPU", "reached", "the most that was seen"], [Group("", rows)])


def device_parts(found: Advice) -> Iterator[Table]:
    """Of each GPU what the host and the device have to do, which they do at the same time."""
    rows = []
    for i, g in enumerate(found.gpus):
        if a := g.at_batch:
            of = f"gpus[{i}].at_batch"
            parts = [seconds(getattr(a, name), f"{of}.{name}") for name in PARTS]
            rows.append([Cell(g.name), Cell(a.bound), *parts, spread(a, of)])
    if rows:
        heads = ["GPU, predicted", "bound by", "host", "kernel starts", "memory", "arithmetic", "copies", "waiting", "step"]
        yield Table(heads, [Group("", rows)])


def what_ifs(found: Advice) -> Table:
    named = [("CPU, measured", found.what_if, "what_if")]
    named += [(f"{g.name}, predicted", g.what_if, f"gpus[{i}].what_if") for i, g in enumerate(found.gpus)]
    groups = []
    for name, items, of in named:
        rows = [[Cell(what), Cell(f"{r:.2f}x", r, of=(f"{of}[{k}][1]",))] for k, (what, r) in enumerate(items)]
        groups += [Group(name, rows)] if rows else []
    return Table(["what", "rows a second"], groups)


def once(found: Advice) -> Table:
    """What a GPU costs before the first step, and after how many steps at the batch asked about it has earned that."""
    groups = []
    for i, g in enumerate(found.gpus):
        of = f"gpus[{i}].once"
        rows = [
            [Cell(name), seconds(low, f"{of}.items[{k}][1]"), seconds(high, f"{of}.items[{k}][2]")]
            for k, (name, low, high) in enumerate(g.once.items)
        ]
        low, high = g.once.seconds
        rows.append([Cell("together"), Cell(duration(low), low), Cell(duration(high), high)])
        steps = g.once.steps
        if steps is None:
            title = f"{g.name}: never earned at batch {found.batch:,}"
        else:
            epochs = steps * found.batch / found.rows
            title = f"{g.name}: earned after {thousands(math.ceil(steps))} steps at most, {epochs:.2g} epochs of {found.rows:,} rows"
        groups.append(Group(title, rows))
    return Table(["paid once", "at least", "at most"], groups)


def memory(found: Advice) -> Table:
    rooms: Sequence[tuple[str, Room, str]] = [("CPU", found.cpu_room, "cpu_room")]
    rooms = [*rooms, *((g.name, g.room, f"gpus[{i}].room") for i, g in enumerate(found.gpus))]
    rows = []
    for name, room, of in rooms:
        cells = [_bytes(room.bytes, f"{of}.bytes"), _bytes(room.available, f"{of}.available")]
        rows.append([Cell(name), *cells, Cell(f"{room.largest:,}", room.largest, of=(f"{of}.largest",))])
    return Table(["", f"a step at batch {found.batch:,}", "there is", "largest batch"], [Group("", rows)])


def _bytes(value: float, of: str) -> Cell:
    return Cell(in_bytes(int(value)), value, of=(of,)) if math.isfinite(value) else Cell("not known")


def proof(found: Advice) -> Table:
    rows = [[Cell(g.name), Cell(g.proof)] for g in found.gpus]
    return Table([], [Group("", rows)] if rows else [])


def basis(found: Advice) -> Table:
    """The model, what the figures were made on and how."""
    card = found.card
    rows = [
        ("model", f"{found.model}: {card['parameters']:,} parameters in {card['layers']} layers, {card['dtype']}"),
        ("input of a row", " x ".join(map(str, card["input"]))),
        ("arithmetic", f"about {thousands(card['flops_per_row'])} FLOP a row and step"),
        *((name, text) for name, text in hardware(found.machine) if text),
        ("took", f"{found.seconds:.0f} s"),
    ]
    return Table([], [Group("", [[Cell(name), Cell(text)] for name, text in rows])])


def share(value: float, of: str) -> Cell:
    return Cell(f"{100 * value:.0f}%", value, of=(of,))
