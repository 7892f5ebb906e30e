"""The outcome as a page of Markdown."""

from __future__ import annotations

from typing import Any

from xpnet import doctor
from xpnet.gpucheck.parts import Outcome

MARK = {"passed": "ok", "skipped": "skipped", "failed": "FAILED", "timed out": "TIMED OUT", "not run": "not run"}
NAMED = 6  # parts of each kind that the verdict names


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
    """One or two sentences; what failed comes first."""
    skipped = [o.name for o in outcomes if o.status == "skipped"]
    if skipped:
        passed = verdict([o for o in outcomes if o.status != "skipped"])
        return f"{passed} {len(skipped)} more skipped all their tests{_some(skipped)}."
    bad = {status: [o.name for o in outcomes if o.status == status] for status in MARK if status not in ("passed", "skipped")}
    count = sum(map(len, bad.values()))
    if not outcomes:
        return "Nothing was run."
    if not count:
        return "The only part passed." if len(outcomes) == 1 else f"All {len(outcomes)} parts passed."
    who = f"{count} of {len(outcomes)} parts" if len(outcomes) > 1 else "The only part"
    return f"**{who} did not pass**: {', '.join(f'{len(names)} {status}{_some(names)}' for status, names in bad.items())}."


def _some(names: list[str]) -> str:
    """The first of them, in brackets."""
    return f" ({', '.join(names[:NAMED])}{', ...' if len(names) > NAMED else ''})" if names else ""


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
    """Failed tests with their first line, the end of the output of what failed otherwise, and last what was not run."""
    blocks = [_block(o) for status in ("failed", "timed out") for o in outcomes if o.status == status]
    idle = [f"- {o.name}: {o.output}" for o in outcomes if o.status == "not run"]
    blocks += ["\n".join(["### Not run", "", *idle])] if idle else []
    return "## What did not pass\n\n" + "\n\n".join(blocks) if blocks else ""


def _block(o: Outcome) -> str:
    failed = o.found.get("failed")
    if failed:
        return "\n".join([f"### {o.name}", "", *(f"- `{test}`: {line}" for test, line in failed.items())])
    return f"### {o.name}: {o.status}\n\n```\n{o.output.strip()}\n```"
