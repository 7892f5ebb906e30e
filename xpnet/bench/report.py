"""The report on all runs together: what follows from them, the tables, and where they were made."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from pathlib import Path

from xpnet.bench import tables, verdicts
from xpnet.bench.cells import Cell, Group, Measured, Table, letter
from xpnet.bench.provenance import provenance
from xpnet.bench.results import BadFile, Run, read
from xpnet.bench.verdicts import Verdict

STEPS = (
    "A step is forward, loss, backward and update. Ratios say how many times as long the same rows take, always with equal "
    "threads. Their spread goes from lower quartile over upper quartile to upper over lower."
)
GPU = "The whole minibatch on the GPU, and on the CPU with the number of threads that is best there. Above 1x the GPU pays."
PEERS = (
    "How many times as long they take: above 1x xpnet is quicker. The bare products are the step's matrix products alone: "
    "no library, but the limit of them all."
)
ABOUT = {
    "optimizers": ("Optimizers", "One update of a vector of parameters."),
    "convolution": ("Ways to convolve", "One convolution layer, by each method."),
    "feeding": ("Feeding", "What it takes to make minibatches of a set of rows."),
    "startup": ("One-off costs", "Paid once, before the first step or in it; no other table contains them."),
    "harness": ("Yardsticks", "What is not xpnet's, timed by the same harness: its own cost, and the speed of the machine."),
}
LAST = ("startup", "harness")


@dataclasses.dataclass
class Section:
    """A table, its title, and a sentence on what it holds; ``name`` is the suite's or the table's own."""

    name: str
    title: str
    about: str
    table: Table


@dataclasses.dataclass
class Report:
    """What all outputs show. ``runs`` are (label, machine, when); warnings come before everything else."""

    runs: list[tuple[str, str, str]]
    warnings: list[str]
    verdicts: list[Verdict]
    sections: list[Section]


def load(paths: Sequence[str | Path]) -> list[Run]:
    """The runs of these files; raises BadFile, also for a file in which nothing was timed."""
    runs = []
    for path in paths:
        found = read(path)
        results = [result for run in found for result in run.results]
        if not results:
            raise BadFile(f"{path}: nothing was timed in it")
        runs += found
    return runs


def build(runs: Sequence[Run]) -> Report:
    """The report on these runs; two or more are labelled A, B, ..."""
    labelled = {letter(i) if len(runs) > 1 else "": run for i, run in enumerate(runs)}
    found = [Measured(label, result) for label, run in labelled.items() for result in run.results]
    sections = [
        *_timed(found),
        Section("checks", "Proof", "Every result is compared with one that was computed in another way.", tables.checks(found)),
        Section("missing", "Not in the tables", "Cases that were not run or do not count, and why.", _missing(labelled)),
        Section("machines", "Machines and runs", "", _machines(labelled)),
    ]
    kept = {section.name: section for section in sections if section.table.groups}
    return Report(
        [(label, run.name, moment(run.started)) for label, run in labelled.items()],
        list(_warnings(labelled)),
        list(verdicts.verdicts({name: section.table for name, section in kept.items()})),
        list(kept.values()),
    )


def _timed(found: Sequence[Measured]) -> Iterator[Section]:
    """The tables of figures: whole steps first, one-off costs and yardsticks last."""
    suites: dict[str, list[Measured]] = {}
    for m in found:
        suites.setdefault(m.case.suite, []).append(m)
    steps, parts, peers = (suites.pop(name, []) for name in ("forms", "parts", "peers"))
    yield Section("forms", "Training steps", STEPS, tables.forms(steps))
    yield Section("gpu", "GPU against CPU", GPU, tables.gpu(steps))
    yield Section(
        "threads", "Threads", "Rows a second of the whole minibatch on the CPU, by number of threads.", tables.threads(steps)
    )
    yield Section("parts", "Where a step's time goes", "Each part timed alone, after those before it.", tables.parts(parts))
    yield Section("peers", "Other libraries", PEERS, tables.peers(peers))
    for name in sorted(suites, key=lambda name: LAST.index(name) if name in LAST else -1):
        title, about = ABOUT.get(name, (name.capitalize(), "Time of a call."))
        yield Section(name, title, about, tables.plain(suites[name]))


def moment(started: str) -> str:
    """``2026-11-29 01:30:10 UTC``"""
    return started.replace("T", " ").replace("+00:00", " UTC")


def _warnings(labelled: dict[str, Run]) -> Iterator[str]:
    quick = [label for label, run in labelled.items() if run.quick]
    if quick:
        whose = f" of {', '.join(quick)}" if any(quick) else ""
        yield f"The figures{whose} are those of a quick run, with few cases and little time for each."


def _missing(labelled: dict[str, Run]) -> Table:
    """The names of cases that have no figures, by the reason why."""
    reasons: dict[str, list[list[Cell]]] = {}
    for label, run in labelled.items():
        for kind, cases in (("refused", run.refused), ("left out", run.left_out)):
            for name, why in cases.items():
                reasons.setdefault(tables.said(label, f"{kind}: {why}"), []).append([Cell(name)])
    return Table([], [Group(reason, rows) for reason, rows in reasons.items()])


def _machines(labelled: dict[str, Run]) -> Table:
    groups = [
        Group(tables.said(label, run.name), [[Cell(name), Cell(text)] for name, text in provenance(run) if text])
        for label, run in labelled.items()
    ]
    return Table([], groups)
