"""Advice as tables of cells, each of which names the place in ``as_dict()`` that its figure is from."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence

from xpnet.advise.advice import Advice, GPUAdvice, Point
from xpnet.advise.fit import Line
from xpnet.advise.predict import Prediction
from xpnet.advise.room import Room
from xpnet.advise.verdicts import called, point, short, span, times
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
PARTS = {
    "host": "host",
    "kernels": "kernel starts",
    "memory": "memory",
    "arithmetic": "arithmetic",
    "copies": "copies",
    "waits": "waiting",
}


@dataclasses.dataclass
class Section:
    """Tables under a title, with a sentence on what they hold."""

    name: str
    title: str
    about: str
    tables: list[Table]


def sections(found: Advice) -> list[Section]:
    """All of the advice, in the order of the page."""
    kept = [
        Section("time", "Time of a step by batch", FITS, [fits(found)]),
        Section("throughput", "Rows a second", ROWS, [throughput(found), epoch(found)]),
        Section("bound", f"What bounds a step at batch {found.batch:,}", BOUND, [reached(found), *device_parts(found)]),
        Section("what-if", "What if", f"Rows a second, as many times as at batch {found.batch:,}.", what_ifs(found)),
        Section("once", "Paid once", ONCE, [once(found)]),
        Section("memory", "Memory", "Forecast of a training step's, and the batch that fills what there is.", [memory(found)]),
        Section("proof", "The same numbers", PROOF, [proof(found)]),
        Section("basis", "Model, machine and method", METHOD, [basis(found)]),
    ]
    return [section for section in kept if any(table.groups for table in section.tables)]


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
        name = short(g.name)
        table.heads += [name, f"{name} / CPU", *([f"{name}, by the method"] if g.measured else [])]
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
    yield rate(q, f"{of}.points[{k}]")
    if q is None:
        yield Cell(ABSENT)
    else:
        ratio = cpu.seconds / q.seconds
        low, high = cpu.low / q.high, cpu.high / q.low
        shown = f"{times(low)} to {times(high)}".replace("x", "", 1)
        yield Cell(times(ratio), ratio, low, high, shown, (of_cpu, f"{of}.points[{k}].seconds"))
    if g.measured:
        k = next((k for k, q in enumerate(g.predicted) if q.batch == cpu.batch), None)
        yield rate(None if k is None else g.predicted[k], f"{of}.predicted[{k}]")


def epoch(found: Advice) -> Table:
    """Time of all rows once at the batch asked about; on each GPU after the costs that are paid once."""
    steps = found.rows / found.batch
    points = [("CPU, measured", point(found.cpu, found.batch))]
    points += [(short(called(g)), q) for g in found.gpus for q in g.points if q.batch == found.batch]
    rows = []
    for name, p in points:
        low, high = p.low * steps, p.high * steps
        between = f"{duration(low)} to {duration(high)}"
        rows.append([Cell(name), Cell(duration(p.seconds * steps), p.seconds * steps, low, high, between)])
    return Table([f"an epoch of {found.rows:,} rows at batch {found.batch:,}", "time"], [Group("", rows)])


def fits(found: Advice) -> Table:
    """The straight lines, and where each GPU's meets the CPU's."""
    lines: list[tuple[str, Line, str]] = [("CPU, measured", found.cpu_line, "cpu_line")]
    lines += [(short(called(g)), g.line, f"gpus[{i}].line") for i, g in enumerate(found.gpus)]
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
    """Of each GPU what the host and the device have to do, which they do at the same time, and what comes on top of that."""
    known = [(g, a, f"gpus[{i}].at_batch") for i, g in enumerate(found.gpus) if (a := g.at_batch)]
    parts = {name: head for name, head in PARTS.items() if any(getattr(a, name) for _, a, _ in known)}
    rows = [
        [Cell(short(g.name)), Cell(a.bound), *(seconds(getattr(a, name), f"{of}.{name}") for name in parts), spread(a, of)]
        for g, a, of in known
    ]
    if rows:
        yield Table(["GPU, predicted", "bound by", *parts.values(), "step"], [Group("", rows)])


def what_ifs(found: Advice) -> list[Table]:
    """As many times the rows a second: on the CPU as timed, and on the GPUs side by side."""
    tables = []
    if found.what_if:
        rows = [[Cell(what), _ratio(r, f"what_if[{k}][1]")] for k, (what, r) in enumerate(found.what_if)]
        tables.append(Table(["CPU, measured", "rows a second"], [Group("", rows)]))
    if names := dict.fromkeys(what for g in found.gpus for what, _ in g.what_if):
        rows = [[Cell(what), *(_on(g, of, what) for g, of in _gpus(found))] for what in names]
        heads = [short(called(g)) for g in found.gpus]
        tables.append(Table(["GPU", *heads], [Group("", rows)]))
    return tables


def _on(g: GPUAdvice, of: str, what: str) -> Cell:
    return next((_ratio(r, f"{of}.what_if[{k}][1]") for k, (name, r) in enumerate(g.what_if) if name == what), Cell(ABSENT))


def _ratio(value: float, of: str) -> Cell:
    return Cell(f"{value:.2f}x", value, of=(of,))


def _gpus(found: Advice) -> list[tuple[GPUAdvice, str]]:
    """Each, and where it stands."""
    return [(g, f"gpus[{i}]") for i, g in enumerate(found.gpus)]


def _by_gpu(found: Advice, head: str, rows: list[list[Cell]]) -> Table:
    """A column for each GPU."""
    return Table([head, *(short(g.name) for g in found.gpus)], [Group("", rows)] if found.gpus else [])


def once(found: Advice) -> Table:
    """What a GPU costs before the first step, and after how many steps at the batch asked about it has earned that."""
    names = dict.fromkeys(name for g in found.gpus for name, _, _ in g.once.items)
    cpu = point(found.cpu, found.batch).seconds
    rows = [[Cell(name), *(_cost(g, of, name) for g, of in _gpus(found))] for name in names]
    rows.append([Cell("together"), *(_between(*g.once.seconds) for g in found.gpus)])
    rows.append([Cell("earned after steps, at most"), *(_steps(g.once.steps, f"{of}.once.steps") for g, of in _gpus(found))])
    for name, each, shown in (
        (f"in epochs of {found.rows:,} rows", found.batch / found.rows, _epochs),
        ("in time, at the CPU's pace", cpu, duration),
    ):
        rows.append([Cell(name), *(_earned(g.once.steps, each, shown) for g in found.gpus)])
    return _by_gpu(found, "paid once", rows)


def _cost(g: GPUAdvice, of: str, name: str) -> Cell:
    costs = ((k, low, high) for k, (found, low, high) in enumerate(g.once.items) if found == name)
    return next((_between(low, high, f"{of}.once.items[{k}][2]") for k, low, high in costs), Cell(ABSENT))


def _between(low: float, high: float, *of: str) -> Cell:
    return Cell(span(low, high), high, low, high, of=of)


def _steps(steps: float | None, of: str) -> Cell:
    return Cell("never") if steps is None else Cell(thousands(steps), steps, of=(of,))


def _earned(steps: float | None, each: float, shown: Callable[[float], str]) -> Cell:
    return Cell(ABSENT) if steps is None else Cell(shown(steps * each), steps * each)


def _epochs(n: float) -> str:
    return f"{n:.2g}" if n < 10 else f"{n:,.0f}"


def memory(found: Advice) -> Table:
    rooms: Sequence[tuple[str, Room, str]] = [("CPU", found.cpu_room, "cpu_room")]
    rooms = [*rooms, *((g.name, g.room, f"gpus[{i}].room") for i, g in enumerate(found.gpus))]
    rows = []
    for name, room, of in rooms:
        rows.append([Cell(short(name)), _bytes(room.bytes, f"{of}.bytes"), *_limit(room, of)])
    return Table(["", f"a step at batch {found.batch:,}", "there is", "largest batch"], [Group("", rows)])


def _limit(room: Room, of: str) -> list[Cell]:
    if room.available is None or room.largest is None:
        return [Cell("not known"), Cell("not known")]
    return [_bytes(room.available, f"{of}.available"), Cell(f"{room.largest:,}", room.largest, of=(f"{of}.largest",))]


def _bytes(value: float, of: str) -> Cell:
    return Cell(in_bytes(int(value)), value, of=(of,))


def proof(found: Advice) -> Table:
    """What was compared, and the GPUs that it holds for."""
    names: dict[str, list[str]] = {}
    for g in found.gpus:
        names.setdefault(g.proof, []).append(short(g.name))
    rows = [[Cell(", ".join(whose)), Cell(text)] for text, whose in names.items()]
    return Table([], [Group("", rows)] if rows else [])


def basis(found: Advice) -> Table:
    """The model, what the figures were made on and how."""
    card = found.card
    rows = [
        ("model", f"{found.model}: {card['parameters']:,} parameters in {card['layers']} layers, {card['dtype']}"),
        ("input of a row", " x ".join(map(str, card["input"]))),
        ("arithmetic", f"about {thousands(card['flops_per_row'])} FLOP a row and step"),
        *((name, text) for name, text in hardware(found.machine)),
        ("load before", str(found.machine.get("load", ""))),
        ("took", f"{found.seconds:.0f} s"),
    ]
    return Table([], [Group("", [[Cell(name), Cell(text)] for name, text in rows if text])])


def share(value: float, of: str) -> Cell:
    return Cell(f"{100 * value:.0f}%", value, of=(of,))
