"""The outcome as a page of Markdown."""

from __future__ import annotations

from typing import Any

from xpnet import doctor
from xpnet.gpucheck.parts import Outcome

MARK = {"passed": "ok", "failed": "FAILED", "timed out": "TIMED OUT", "not run": "not run"}


def page(device: str, outcomes: list[Outcome], seconds: float) -> str:
    """Verdict, machine, budgets, parity, tests, and what failed."""
    groups = {name: [o for o in outcomes if o.group == name] for name in ("doctor", "budgets", "parity", "semantics", "suite")}
    sections = [
        f"# xpnet on `{device}`\n\n{verdict(outcomes)} {seconds:.0f} s.",
        _machine(groups["doctor"]),
        _budgets(groups["budgets"]),
        _parity(groups["parity"]),
        _tests("The semantics of CuPy, as the simulated GPU has them", groups["semantics"]),
        _tests("The suite", groups["suite"]),
        _failures(outcomes),
    ]
    return "\n\n".join(filter(None, sections)) + "\n"


def verdict(outcomes: list[Outcome]) -> str:
    """One sentence."""
    bad = [o for o in outcomes if o.status != "passed"]
    if not bad:
        return f"All {len(outcomes)} parts passed."
    words = ", ".join(f"{o.name} ({o.status})" for o in bad[:6]) + (", ..." if len(bad) > 6 else "")
    return f"**{len(bad)} of {len(outcomes)} parts did not pass**: {words}."


def _machine(outcomes: list[Outcome]) -> str:
    if not outcomes or "numpy" not in outcomes[0].found:
        return ""
    return f"## The machine\n\n```\n{doctor.page(outcomes[0].found)}\n```"


def _budgets(outcomes: list[Outcome]) -> str:
    if not outcomes or "unreadable" in outcomes[0].found:
        return ""
    rows = [
        f"| {name} | {_number(b, 'launches')} | {_number(b, 'syncs')} | {_number(b, 'h2d')} + {_number(b, 'd2h')} "
        f"| {_number(b, 'allocations')} | {b.get('error', '')} |"
        for name, b in outcomes[0].found.items()
    ]
    head = "| model | launches | synchronisations | copies there + back | allocations | |\n|---|---|---|---|---|---|"
    return "\n".join(["## A training step (median of 5, after 3)", "", head, *rows])


def _number(budget: dict[str, Any], name: str) -> str:
    value = budget.get(name)
    return "not known" if value is None else f"{value:,}"


def _parity(outcomes: list[Outcome]) -> str:
    if not outcomes:
        return ""
    rows = [f"| {o.name} | {MARK[o.status]} | {o.found.get('verdict', '')} |" for o in sorted(outcomes, key=lambda o: o.name)]
    return "\n".join(["## Parity with the CPU", "", "| model | | |", "|---|---|---|", *rows])


def _tests(title: str, outcomes: list[Outcome]) -> str:
    if not outcomes:
        return f"## {title}\n\nNot run: no checkout with tests was found."
    rows = [
        f"| {o.name} | {MARK[o.status]} | {o.found.get('tests', '')} | {_failed(o)} | {o.found.get('skipped', '')} "
        f"| {o.seconds:.0f} |"
        for o in sorted(outcomes, key=lambda o: o.name)
    ]
    return "\n".join([f"## {title}", "", "| file | | tests | failed | skipped | s |", "|---|---|---|---|---|---|", *rows])


def _failed(outcome: Outcome) -> str:
    return str(outcome.found["failures"] + outcome.found["errors"]) if "failures" in outcome.found else ""


def _failures(outcomes: list[Outcome]) -> str:
    """Failed tests with their first line, and the end of the output of what failed otherwise."""
    blocks = []
    for o in outcomes:
        failed = o.found.get("failed") or {}
        if failed:
            blocks.append("\n".join([f"### {o.name}", "", *(f"- `{test}`: {line}" for test, line in failed.items())]))
        elif o.status != "passed":
            blocks.append(f"### {o.name}: {o.status}\n\n```\n{o.output.strip()}\n```")
    return "## What failed\n\n" + "\n\n".join(blocks) if blocks else ""
