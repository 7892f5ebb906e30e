"""``xpnet doctor``: what this machine offers, whether its GPU works, and how to mend it."""

from __future__ import annotations

import argparse
import json


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "doctor",
        help="say what this machine offers and what is wrong with its GPU",
        description="Say what this machine offers to xpnet, what device='auto' chooses and why, and how to mend a GPU that "
        "does not work. The exit status is 1 where a GPU or its driver is broken, and otherwise 0.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> int:
    """Print the page or the JSON; 1 where something is broken."""
    from xpnet import doctor

    found = doctor.examine()
    print(json.dumps(found, indent=2) if arguments.json else doctor.page(found))
    return int(found["broken"])
