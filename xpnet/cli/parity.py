"""``xpnet parity``: whether two devices train a model to the same numbers, and which layer is the first to part."""

from __future__ import annotations

import argparse
import json

from xpnet.models import MODELS, listing


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "parity",
        help="compare two devices layer by layer",
        description="Train copies of a model on two devices in lockstep, compare what every layer\n"
        "computes, and name the first layer and step that part. The exit status is 1\n"
        "where they part, and otherwise 0.",
    )
    parser.set_defaults(run=run)
    add_model(parser)
    parser.add_argument(
        "--devices",
        nargs=2,
        default=["cpu", "sim"],
        metavar="DEVICE",
        help="cpu sim (the default), cpu cuda, ...; the same twice shows whether it computes the same twice",
    )
    parser.add_argument("--steps", type=int, default=50, help="training steps, 50")
    parser.add_argument(
        "--rtol", type=float, help="relative difference that counts as the same, 1e-5 in float32 and 1e-12 in float64"
    )
    parser.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def add_model(parser: argparse.ArgumentParser) -> None:
    """The model, a built-in one or a user's own; the built-in ones are listed below the help."""
    parser.epilog, parser.formatter_class = listing(), argparse.RawDescriptionHelpFormatter
    parser.add_argument(
        "model",
        metavar="MODEL",
        help=f"{', '.join(MODELS)}; or file.py:function, which returns (trainer, x, y): an xpnet.Trainer and two arrays",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the table and the verdict, or the JSON; 1 where the devices part."""
    from xpnet import parity

    found = parity(arguments.model, devices=arguments.devices, steps=arguments.steps, rtol=arguments.rtol)
    print(json.dumps(found.as_dict(), indent=2) if arguments.json else found)
    return int(not found.ok)
