"""Results as tables, the same for every output: training steps in all their forms, and whatever else was timed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from xpnet.bench.cells import ABSENT, Cell, Group, Measured, Table, count, quotient, rate, share, time, times
from xpnet.bench.results import Result

FORMS = {"book": "book's program", "per sample": "per-sample loop", "matrix": "whole minibatch"}
PARTS = ("input", "forward", "loss", "backward", "update")
FLOAT64 = "The book's program computes in float64 whatever it is given: its time in float64 over the minibatch's in float32."
LIMITS = {"products": "the bare products, the limit"}  # of the peers, what is no library: shown by this name
CONDITIONS = ("batch", "dtype", "threads")  # of a case, beside what is timed and where

#: What to say of one attribute of a case.
SAY: dict[str, Callable[[Any], str]] = {
    "device": lambda device: "CPU" if device == "cpu" else "GPU" if device in ("cuda", "cuda:0") else str(device),
    "batch": lambda batch: f"batch {batch}" if batch else "",
    "threads": lambda threads: f"{threads} thread{'' if threads == 1 else 's'}",
}


def forms(found: Sequence[Measured]) -> Table:
    """Rows a second of each form of the step, and how many times as long as the whole minibatch the others take.

    A group is a model on a device of a run, with the least number of threads that it was timed with: the same for all forms.
    """
    names = sorted({m.case.form for m in found}, key=lambda form: (list(FORMS).index(form) if form in FORMS else 9, form))
    others = [form for form in names if form != "matrix"]
    heads = [*(f"{FORMS.get(form, form)}, rows/s" for form in names), *(f"{form} / matrix" for form in others)]
    table = Table(["dtype", "batch", *heads], [])
    for (run, model, device), group in split(found, "model", "device"):
        threads = min(m.case.threads for m in group)
        least = [m for m in group if m.case.threads == threads]
        rows = [_forms_row(least, dtype, batch, names, table) for dtype, batch in sizes(least)]
        title = said(model, place(run, device), SAY["threads"](threads) if device == "cpu" else "")
        table.groups.append(Group(title, rows, (run, model, device)))
    return table


def _forms_row(group: list[Measured], dtype: str, batch: int, names: list[str], table: Table) -> list[Cell]:
    """One size of a minibatch; the book's program in float64 stands for what it cannot do in others."""
    by_form = {m.case.form: m for m in group if (m.case.dtype, m.case.batch) == (dtype, batch)}
    double = {m.case.form: m for m in group if (m.case.dtype, m.case.batch) == ("float64", batch)}
    mark = ""
    if "book" in double and "book" not in by_form:
        by_form["book"], mark = double["book"], table.note(FLOAT64)
    rates = [marked(rate(by_form.get(form)), mark if form == "book" else "") for form in names]
    ratios = []
    for form in names:
        if form != "matrix":
            cell = times(by_form.get(form), by_form.get("matrix"), table)
            ratios.append(marked(cell, mark) if form == "book" else cell)
    return [Cell(dtype), count(batch), *rates, *ratios]


def gpu(found: Sequence[Measured]) -> Table:
    """The whole minibatch on each GPU beside the CPU at its best number of threads: of the same run, or else of any."""
    table = Table(["dtype", "batch", "CPU, rows/s", "its threads", "GPU, rows/s", "CPU / GPU"], [])
    matrix = [m for m in found if m.case.form == "matrix"]
    for (run, model, device), group in split([m for m in matrix if m.case.device.startswith("cuda")], "model", "device"):
        rows = []
        for dtype, batch in sizes(group):
            same = [m for m in matrix if (m.case.model, m.case.dtype, m.case.batch) == (model, dtype, batch)]
            if cpu := best([m for m in same if m.run == run and m.case.device == "cpu"]) or best(
                [m for m in same if m.case.device == "cpu"]
            ):
                other = best([m for m in same if m.run == run and m.case.device == device])
                threads = SAY["threads"](cpu.case.threads) + ("" if cpu.run == run else f" of {cpu.run}")
                rows.append([Cell(dtype), count(batch), rate(cpu), Cell(threads), rate(other), times(cpu, other, table)])
        if rows:
            table.groups.append(Group(said(model, place(run, device)), rows, (run, model, device)))
    return table


def threads(found: Sequence[Measured]) -> Table:
    """Rows a second of the whole minibatch by number of threads, and which number was best; empty where one was tried.

    In one dtype of each model, float32 where it was timed.
    """
    cpu = [m for m in found if m.case.form == "matrix" and m.case.device == "cpu" and m.counts]
    counts = sorted({m.case.threads for m in cpu})
    heads = [SAY["threads"](n) for n in counts]
    table = Table(["batch", *heads, "best", f"{heads[0] if heads else ''} / best"], [])
    for (run, model), group in split(cpu, "model") if len(counts) > 1 else ():
        rows = []
        dtype = sizes(group)[0][0]
        for batch in (batch for found, batch in sizes(group) if found == dtype):
            tried = {m.case.threads: m for m in group if (m.case.dtype, m.case.batch) == (dtype, batch)}
            chosen, one = best(list(tried.values())), tried.get(counts[0])
            if chosen and one and len(tried) > 1:
                gain = quotient(one, chosen, one.result.median / chosen.result.median)
                rates = [rate(tried.get(n)) for n in counts]
                rows.append([count(batch), *rates, count(chosen.case.threads), gain])
        if rows:
            table.groups.append(Group(said(model, place(run, "cpu"), dtype), rows, (run, model)))
    return table


def parts(found: Sequence[Measured]) -> Table:
    """How long each part of a training step takes, and its share of their sum."""
    table = Table(["part", "time a step", "share"], [])
    for (run, model, *key), group in split(found, "model", "device", *CONDITIONS):
        by_part = {m.case.form: m for m in group}
        names = [part for part in PARTS if part in by_part] + [form for form in by_part if form not in PARTS]
        total = math.fsum(m.result.median for m in group)
        rows = [[Cell(n), time(m := by_part[n]), share(m.result.median / total, m.name)] for n in names]
        table.groups.append(Group(said(model, constants(group, ())), rows, (run, model, *map(str, key))))
    return table


def peers(found: Sequence[Measured]) -> Table:
    """Other libraries beside xpnet on the same work: how many times as long they take. Limits come last."""
    vary = varying(found, "model", "device")
    table = Table([*vary, "library", "its time", "xpnet's time", "library / xpnet"], [])
    for (run, model, device), group in split(found, "model", "device"):
        mine = {_work(m): m for m in group if m.result.peer == "xpnet"}
        others = [m for m in group if m.result.peer != "xpnet"]
        others.sort(key=lambda m: m.result.peer in LIMITS)
        names = [Cell(LIMITS.get(m.result.peer, m.result.peer)) for m in others]
        rows = [
            [*described(m, vary), name, time(m), *_beside(m, mine.get(_work(m)), table)]
            for m, name in zip(others, names, strict=True)
        ]
        if rows:
            table.groups.append(Group(said(model, constants(group, vary)), rows, (run, model, device)))
    return table


def _work(m: Measured) -> tuple[str | int, ...]:
    return tuple(getattr(m.case, name) for name in CONDITIONS)


def _beside(peer: Measured, mine: Measured | None, table: Table) -> list[Cell]:
    return [time(mine), times(peer, mine, table)] if mine else [Cell(ABSENT), Cell(ABSENT)]


def plain(found: Sequence[Measured]) -> Table:
    """Medians and quartiles of any suite, a group for each model; what is the same in all of its rows stands in the heading."""
    vary = varying(found, "model", "device")
    table = Table(["what", *vary, "median (quartiles)"], [])
    for (run, model, device), group in split(found, "model", "device"):
        rows = [[Cell(_form(m)), *described(m, vary), time(m)] for m in group]
        table.groups.append(Group(said(model, constants(group, vary)), rows, (run, model, device)))
    return table


def _form(m: Measured) -> str:
    return m.case.form if m.result.peer == "xpnet" else f"{m.case.form} ({m.result.peer})"


def checks(found: Sequence[Measured]) -> Table:
    """How many results were proved right in each suite, and the largest difference, as a share of what was allowed."""
    heads = ["suite", "timed", "proved right", "largest difference", "of that allowed", "in"]
    rows = []
    for suite in dict.fromkeys(m.case.suite for m in found):
        here = [m for m in found if m.case.suite == suite]
        worst = max(here, key=lambda m: strain(m.result))
        largest, of = worst.result.check.difference, (worst.name,)
        difference = Cell(f"{largest:.2g}", largest, of=of)
        right = sum(m.result.check.ok for m in here)
        allowed = share(strain(worst.result), *of)
        where = said(worst.case.model, _form(worst), constants([worst], ()))
        rows.append([Cell(suite), count(len(here)), count(right), difference, allowed, Cell(where)])
    return Table(heads, [Group("", rows)] if rows else [])


def strain(result: Result) -> float:
    """The difference as a share of the tolerance, 1 being all of it; of an undefined one, infinite."""
    check = result.check
    if not check.difference:
        return 0.0
    return check.difference / check.tolerance if check.tolerance and not math.isnan(check.difference) else math.inf


def split(found: Sequence[Measured], *names: str) -> Iterable[tuple[tuple[Any, ...], list[Measured]]]:
    """The results by run and by these attributes of the case, in the order of their first appearance."""
    groups: dict[tuple[Any, ...], list[Measured]] = {}
    for m in found:
        groups.setdefault((m.run, *(getattr(m.case, name) for name in names)), []).append(m)
    return groups.items()


def sizes(group: Sequence[Measured]) -> list[tuple[str, int]]:
    """The (dtype, batch) that were timed: float32 first, then by batch."""
    return sorted({(m.case.dtype, m.case.batch) for m in group})


def best(found: Sequence[Measured]) -> Measured | None:
    """The quickest of those that count; None where there is none."""
    return min((m for m in found if m.counts), key=lambda m: m.result.median, default=None)


def marked(cell: Cell, mark: str) -> Cell:
    """With this footnote, unless it has one that says why it is blank."""
    return cell if cell.mark or cell.value is None else Cell(**{**vars(cell), "mark": mark})


def varying(found: Sequence[Measured], *within: str) -> list[str]:
    """Which conditions differ between results of the same run that have these attributes in common."""
    groups = [group for _, group in split(found, *within)]
    return [name for name in CONDITIONS if any(len({getattr(m.case, name) for m in group}) > 1 for group in groups)]


def described(m: Measured, names: Iterable[str]) -> list[Cell]:
    """The values of these attributes."""
    values = ((name, getattr(m.case, name)) for name in names)
    return [count(v) if isinstance(v, int) else Cell(SAY.get(name, str)(v)) for name, v in values]


def constants(group: Sequence[Measured], vary: Iterable[str]) -> str:
    """``CPU of A, batch 64, float32, 1 thread``: what holds for all of the group, as far as no column says it."""
    case, names = group[0].case, [name for name in CONDITIONS if name not in set(vary)]
    return said(place(group[0].run, case.device), *(SAY.get(name, str)(getattr(case, name)) for name in names))


def place(run: str, device: str) -> str:
    """``CPU of A``; either may be empty."""
    return " of ".join(piece for piece in (SAY["device"](device), run) if piece)


def said(*pieces: str) -> str:
    return ", ".join(piece for piece in pieces if piece)
