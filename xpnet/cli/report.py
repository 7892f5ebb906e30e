"""``xpnet report``: results of benchmarks as tables for the terminal, as a page, or for GitHub."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "report",
        help="show what benchmarks found, of one machine or several",
        description="Show the results of benchmarks: what follows from them, every figure with its spread, and on which "
        "machine it was made. Files of several runs and machines make one report.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("files", nargs="+", type=Path, metavar="FILE", help="results, as JSON")
    parser.add_argument("--html", type=Path, metavar="FILE", help="write a page instead (needs jinja2)")
    parser.add_argument("--markdown", type=Path, metavar="FILE", help="write tables for GitHub instead")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> None:
    """Print the report, or write it and say where."""
    from xpnet import extras
    from xpnet.bench import html, markdown, text
    from xpnet.bench.report import load
    from xpnet.pages import check_target, save

    if arguments.html:
        extras.load("jinja2", "html")
    pages = {path: page for path, page in ((arguments.html, html.page), (arguments.markdown, markdown.page)) if path}
    for path in pages:
        check_target(path)
    runs = load(arguments.files)
    for path, page in pages.items():
        save(page(runs), path)
        print(f"wrote {path}")
    if not pages:
        print(text.page(runs), end="")
