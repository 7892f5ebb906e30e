"""The report as a page in one file: no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from xpnet.bench.cells import Cell, Group, Table, short
from xpnet.bench.charts import Series, bars, lines
from xpnet.bench.pages import render, signs
from xpnet.bench.report import build
from xpnet.bench.results import Run
from xpnet.bench.tables import place, said

Chart = tuple[str, str]  # title, SVG


def page(runs: Sequence[Run]) -> str:
    """Everything about these runs, what follows from them first; raises MissingExtra where jinja2 is not installed."""
    report = build(runs)
    tables = {section.name: section.table for section in report.sections}
    return render("bench/page.html", report=report, sections=report.sections, charts=charts(tables))


def charts(tables: dict[str, Table]) -> dict[str, list[Chart]]:
    """The charts of each section, by its name: all are drawn from the cells of the tables."""
    found: dict[str, list[Chart]] = {name: [] for name in tables}
    if "forms" in tables:
        found["forms"] = [*_rates(tables["forms"]), *_ratios(tables["forms"])]
    if "gpu" in tables:
        found["gpu"] = [*_ratios(tables["gpu"])]
    if "parts" in tables:
        found["parts"] = [_shares(group) for group in tables["parts"].groups]
    for name in ("optimizers", "convolution"):
        found[name] = [_times(group) for group in tables[name].groups] if name in tables else []
    if "peers" in tables:
        found["peers"] = [_peers(g) for g in tables["peers"].groups if any(row[-1].value for row in g.rows)]
    return found


def _rates(table: Table) -> Iterator[Chart]:
    """For each model of a run, rows a second of all forms on all devices."""
    heads = [head for head in table.heads if head.endswith(", rows/s")]
    for run, model in dict.fromkeys(group.key[:2] for group in table.groups):
        series = []
        for group in (g for g in table.groups if g.key[:2] == (run, model)):
            for style, head in enumerate(heads):
                name = f"{head.removesuffix(', rows/s')}, {place('', group.key[2])}"
                series.append(Series(name, style, _points(table, group, head), dashed=group.key[2] != "cpu"))
        yield from _lines(f"{model}{' on ' + run if run else ''}", series, "rows per second", short)


def _ratios(table: Table) -> Iterator[Chart]:
    """For each comparison on a device of a run, a line for each model."""
    models = list(dict.fromkeys(group.key[1] for group in table.groups))
    for head in (head for head in table.heads if " / " in head):
        for run, device in dict.fromkeys((group.key[0], group.key[2]) for group in table.groups):
            groups = [g for g in table.groups if (g.key[0], g.key[2]) == (run, device)]
            series = [Series(g.key[1], models.index(g.key[1]), _points(table, g, head)) for g in groups]
            yield from _lines(
                f"{head}, {place(run, device)}", series, f"times as long: {head}", lambda tick: signs(f"{tick:g}x"), 1.0
            )


def _points(table: Table, group: Group, head: str) -> list[tuple[float, Cell]]:
    """(batch, cell) of a column, in the first dtype of the group; float64 where it has no other, as the book's program."""
    column, dtypes = table.heads.index(head), list(dict.fromkeys(row[0].text for row in group.rows))
    for dtype in dtypes:
        found = [
            (row[1].value or 1, row[column]) for row in group.rows if row[0].text == dtype and row[column].value is not None
        ]
        if found:
            return found
    return []


def _lines(
    title: str, series: Sequence[Series], y: str, show: Callable[[float], str], mark: float | None = None
) -> Iterator[Chart]:
    """A chart of the series that have points, or none where there is nothing to connect."""
    drawn = [one for one in series if one.points]
    if len({at for one in drawn for at, _ in one.points}) > 1:
        yield title, lines(title, drawn, x="batch", y=y, mark=mark, show=show)


def _shares(group: Group) -> Chart:
    rows = [(name.text, time, f"{time.text}, {share.text}") for name, time, share in group.rows]
    return group.title, bars(f"Parts of a step: {group.title}", rows)


def _times(group: Group) -> Chart:
    return group.title, bars(group.title, [(said(*map(str, row[:-1])), row[-1], row[-1].text) for row in group.rows])


def _peers(group: Group) -> Chart:
    """The ratios, and a line where both would take the same."""
    rows = [(said(*map(str, row[:-3])), row[-1], signs(row[-1].text)) for row in group.rows if row[-1].value is not None]
    return f"{group.title} (dotted: equal)", bars(f"Library / xpnet: {group.title}", rows, mark=1.0)
