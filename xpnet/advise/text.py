"""Advice as text: the verdict first, then what it rests on."""

from __future__ import annotations

from collections.abc import Iterator

from xpnet.advise.advice import Advice, GPUAdvice, Point
from xpnet.advise.fit import Line
from xpnet.advise.room import Room
from xpnet.advise.verdicts import NO_GPU, UNPROVED, called, doubt, point, span, times, verdict
from xpnet.backends.ledger.page import in_bytes
from xpnet.bench.cells import duration, thousands


def page(found: Advice) -> str:
    """Everything, for a terminal."""
    parts = ["\n".join(verdict(found, gpu) for gpu in found.gpus) or _no_gpu(found), _card(found), _throughput(found)]
    parts += [_bounds(found), _what_ifs(found), *(_gpu(found, gpu) for gpu in found.gpus), _memory(found), _basis(found)]
    return "\n\n".join(part for part in parts if part)


def _no_gpu(found: Advice) -> str:
    p = point(found.cpu, found.batch)
    return f"{thousands(found.batch / p.seconds)} rows a second at batch {found.batch:,} on the CPU. {NO_GPU}"


def _card(found: Advice) -> str:
    card = found.card
    sizes = f"{card['parameters']:,} parameters in {card['layers']} layers, {card['dtype']}, input {tuple(card['input'])}"
    return f"{found.model}: {sizes}, about {thousands(card['flops_per_row'])} FLOP a row and step"


def _throughput(found: Advice) -> str:
    """A row for each batch: rows a second, the CPU's with its best threads, and each GPU's with how many times as many."""
    heads = ["batch", "CPU", "threads", "predicted"]
    heads += [f"{g.name} {name}" for g in found.gpus for name in (("measured", "predicted") if g.measured else ("predicted",))]
    rows = [heads]
    for p, told in zip(found.cpu, found.cpu_predicted, strict=True):
        row = [f"{p.batch:,}", _spread(p), str(p.threads), thousands(p.batch / told.seconds)]
        for g in found.gpus:
            for points in (g.points, g.predicted) if g.measured else (g.points,):
                q = next((q for q in points if q.batch == p.batch), None)
                row.append("" if q is None else f"{thousands(q.batch / q.seconds)} ({times(p.seconds / q.seconds)})")
        rows.append(row)
    lines = [f"CPU: {_line(found.cpu_line)}"] + [f"{g.name}: {_line(g.line)}{_meets(found, g)}" for g in found.gpus]
    return "\n".join(["rows a second (of the CPU with its quartiles), by batch", *_table(rows), *lines])


def _line(fit: Line) -> str:
    each = f" + {duration(fit.each)} * N"
    return f"t = {duration(fit.fixed)}{each}, off by {100 * fit.error:.0f} %"


def _meets(found: Advice, gpu: GPUAdvice) -> str:
    n = found.cpu_line.meets(gpu.line)
    return "" if n is None else f"; the lines meet at N = {n:,.0f}"


def _bounds(found: Advice) -> str:
    """What the step at the batch asked about consists of, and what it reaches of what the devices can do."""
    p, parts = point(found.cpu, found.batch), found.cpu_parts
    whole = sum(parts[name] for name in ("products", "memory and elements", "calls"))
    shares = ", ".join(f"{name} {100 * parts[name] / whole:.0f} %" for name in ("products", "memory and elements", "calls"))
    flops, ceiling = parts["flops"] / p.seconds, found.ceilings["flops"]
    lines = [f"what bounds a step at batch {found.batch:,}", f"  CPU: {shares} (by the method)"]
    lines.append(
        f"       {flops / 1e9:.1f} GFLOP/s of the {ceiling / 1e9:.0f} that its products reach, "
        f"{parts['bytes'] / p.seconds / 1e9:.1f} GB/s where memory gives {found.ceilings['bytes'] / 1e9:.0f}"
    )
    for g in found.gpus:
        if g.at_batch is not None:
            a = g.at_batch
            device = f"kernel starts {duration(a.kernels)}, memory {duration(a.memory)}, arithmetic {duration(a.arithmetic)}"
            lines.append(f"  {g.name}: {a.bound}; host {duration(a.host)} beside device {duration(a.device)} ({device})")
    return "\n".join(lines)


def _what_ifs(found: Advice) -> str:
    groups = [("CPU, measured", found.what_if)] + [(called(g), g.what_if) for g in found.gpus]
    lines = [f"  {name}: {what}: {ratio:.2f} times the rows a second" for name, items in groups for what, ratio in items]
    return "\n".join(["what if", *lines])


def _gpu(found: Advice, g: GPUAdvice) -> str:
    low, high = g.once.seconds
    items = ", ".join(f"{name} {span(*limits)}" for name, *limits in g.once.items)
    earned = "never earned at this batch"
    if g.once.steps is not None:
        epochs = g.once.steps * found.batch / found.rows
        earned = f"earned after {thousands(g.once.steps)} steps at most, {thousands(epochs)} epochs of {found.rows:,} rows"
    return f"{g.name}, paid once: {items}; together {span(low, high)}, {earned}\nthe same numbers? {g.proof}"


def _memory(found: Advice) -> str:
    rooms = [("CPU", found.cpu_room)] + [(g.name, g.room) for g in found.gpus]
    return "\n".join(["memory of a step (forecast)", *(f"  {name}: {_room(room, found.batch)}" for name, room in rooms)])


def _room(room: Room, batch: int) -> str:
    here = f"{in_bytes(int(room.bytes))} at batch {batch:,}"
    if room.available is None or room.largest is None:
        return here
    return f"{here}; {in_bytes(int(room.available))} hold batch {thousands(room.largest)}"


def _basis(found: Advice) -> str:
    cpu, blas = found.machine["cpu"], found.machine["numpy"]["blas"]
    lines = [
        f"measured on {cpu['model']}, {cpu['usable_cores']} cores, NumPy {found.machine['numpy']['version']} with "
        f"{blas['name']}, in {found.seconds:.0f} s",
        f"the method's median error on this CPU: {100 * found.cpu_error:.0f} % (the column predicted beside the CPU's)",
    ]
    if told := doubt(found):
        lines.append(told)
    if any(not g.measured for g in found.gpus):
        lines.append(UNPROVED)
    return "\n".join(lines)


def _spread(p: Point) -> str:
    return f"{thousands(p.batch / p.seconds)} ({thousands(p.batch / p.high)}..{thousands(p.batch / p.low)})"


def _table(rows: list[list[str]]) -> Iterator[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        yield "  " + "  ".join(cell.rjust(w) for cell, w in zip(row, widths, strict=True))
