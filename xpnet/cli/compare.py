"""``xpnet compare``: what became slower between two files of benchmark results."""

from __future__ import annotations

import argparse
import json


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "compare",
        help="compare two files of benchmark results",
        description="Say which cases became slower or quicker between two files of xpnet bench, beyond the\n"
        "noise of both. The exit status is 1 where something became slower, and otherwise 0.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("old", help="results of before")
    parser.add_argument("new", help="results of after")
    parser.add_argument("--json", action="store_true", help="print every case's change as JSON")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> int:
    """Print the verdict; 1 where something became slower."""
    from xpnet.bench.compare import compare
    from xpnet.bench.results import read

    found = compare(read(arguments.old), read(arguments.new))
    print(json.dumps(found.as_dict(), indent=1) if arguments.json else found)
    return int(found.worse)
