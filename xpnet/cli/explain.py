"""``xpnet explain``: one training step of a model, with every matrix that it computes, as text or as a page."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from xpnet.cli.parity import add_model


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "explain",
        help="show one training step, matrix by matrix",
        description="Make one training step with a copy of a model and show everything that it\n"
        "computes, in that order: outputs, loss, deltas, gradients, and what the\n"
        "optimizer makes of the parameters. Small matrices are shown whole, of large\n"
        "ones the corners.",
    )
    parser.set_defaults(run=run)
    add_model(parser)
    parser.add_argument("--sample", default="0", metavar="ROWS", help="rows of the data that are the minibatch: 0, or 3:7")
    parser.add_argument("--device", help="cpu, sim, cuda, ...; where the model's trainer trains unless given")
    parser.add_argument("--digits", type=int, default=4, help="decimals of numbers around 1, and more of small ones, 4")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--html", type=Path, metavar="FILE", help="write a page instead (needs jinja2)")
    output.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> None:
    """Print the step, or write the page and say where."""
    from xpnet import explain, extras
    from xpnet.pages import check_target, save

    if arguments.html:
        extras.load("jinja2", "html")
        check_target(arguments.html)
    found = explain(arguments.model, sample=arguments.sample, device=arguments.device)
    if arguments.html:
        save(found.html(arguments.digits), arguments.html)
        print(f"wrote {arguments.html}")
    else:
        print(json.dumps(found.as_dict(), indent=1) if arguments.json else found.text(arguments.digits))
