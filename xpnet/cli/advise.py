"""``xpnet advise``: whether a GPU pays off for a model."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from xpnet.cli.parity import add_model


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "advise",
        help="say whether a GPU pays off for a model",
        description="Time the training step of a model on this CPU by batch, and on the GPU of this machine, or\n"
        "predict it for GPUs that are not here from what the simulated one counts. First the verdict,\n"
        "then what it rests on: docs/advise.md.",
    )
    parser.set_defaults(run=run)
    add_model(parser)
    parser.add_argument(
        "--gpu", nargs="+", default=[], metavar="NAME", help='after the model: predict for these, "H200", "rtx 4090", ...'
    )
    parser.add_argument("--profile", nargs="+", default=[], metavar="FILE", help="and for these, of xpnet bench --profile")
    parser.add_argument("--list-gpus", action=Listing, help="list the GPUs that have a profile, with their figures")
    parser.add_argument("--device", help="cuda, cuda:1: time it there; where not given a GPU that works, unless --gpu is")
    parser.add_argument("--batch", type=int, help="the batch that the verdict is about; the model's own unless given")
    parser.add_argument("--rows", type=int, default=60_000, help="rows of an epoch, 60000")
    output = parser.add_mutually_exclusive_group()
    output.add_argument("--html", type=Path, metavar="FILE", help="write a page with charts instead (needs jinja2)")
    output.add_argument("--json", action="store_true", help="print the same as JSON")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


class Listing(argparse.Action):
    """Prints the table and ends, as ``--help`` does: no model is needed."""

    def __init__(self, option_strings: list[str], dest: str, **options: object):
        super().__init__(option_strings, dest, nargs=0, help=str(options["help"]))

    def __call__(self, *arguments: object) -> None:
        from xpnet.advise.profiles import table

        print(table())
        sys.exit(0)


def run(arguments: argparse.Namespace) -> None:
    """Print the advice or the JSON, or write the page and say where."""
    from xpnet import extras
    from xpnet.advise import advise, gpu_profile, load_profile
    from xpnet.backends import resolve
    from xpnet.checks import check_count
    from xpnet.pages import check_target, save

    if arguments.html:
        extras.load("jinja2", "html")
        check_target(arguments.html)
    gpus = [gpu_profile(name) for name in arguments.gpu] + [load_profile(path) for path in arguments.profile]
    device = arguments.device
    if device is None and not gpus and (auto := resolve("auto").device).kind == "cuda":
        device = auto.name
    if device is not None and resolve(device).device.kind != "cuda":
        raise ValueError(f"--device {device}: it is a GPU of this machine, cuda or cuda:1; one that is not here is --gpu NAME")
    batch = None if arguments.batch is None else check_count("--batch", arguments.batch)
    rows = check_count("--rows", arguments.rows)
    found = advise(arguments.model, gpus=gpus, device=device, batch=batch, rows=rows, note=_say)
    if arguments.html:
        save(found.html(), arguments.html)
        print(f"wrote {arguments.html}")
    else:
        print(json.dumps(found.as_dict(), indent=1) if arguments.json else found)


def _say(text: str) -> None:
    print(f"... {text}", file=sys.stderr, flush=True)
