"""``xpnet plot RUN``: pictures of a training that ``xpnet train --save RUN`` saved."""

from __future__ import annotations

import argparse
import io
from pathlib import Path

from xpnet.checks import check_folder_place
from xpnet.cli.plot_pictures import PICTURES, draw, renamed
from xpnet.cli.plot_run import LeftOut, Run
from xpnet.extras import load
from xpnet.saving.atomic import write_atomically


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "plot",
        help="pictures of a saved training",
        description="Draw every picture that makes sense for a training that xpnet train --save RUN saved, and say where each "
        "is, or why there is none. Pictures of the held-out rows need the data that it was trained on.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("folder", metavar="RUN", type=Path, help="folder that xpnet train --save RUN wrote")
    parser.add_argument("--data", metavar="PATH", help="where its data are now, if they were moved")
    parser.add_argument("--out", metavar="DIR", type=Path, help="folder for the pictures, RUN/pictures")
    parser.add_argument("--format", choices=("png", "svg"), default="png", help="of the files, png")
    parser.add_argument("--only", nargs="+", choices=PICTURES, metavar="NAME", help=f"these alone: {', '.join(PICTURES)}")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> None:
    """Write the pictures, a line each; ValueError where not one can be drawn."""
    load("matplotlib", "plot")  # where it is missing, that is said before the work
    training, out = Run(arguments.folder, arguments.data), arguments.out or arguments.folder / "pictures"
    check_folder_place(out, "--out")
    written = 0
    for name, picture in draw(training, arguments.only or PICTURES):
        if isinstance(picture, LeftOut):
            print(f"{name}: left out, {picture}", flush=True)
            continue
        path = out / f"{name}.{arguments.format}"
        out.mkdir(parents=True, exist_ok=True)
        drawn = io.BytesIO()
        picture.savefig(drawn, dpi=120, format=arguments.format)
        write_atomically(path, drawn.getvalue())
        print(path, flush=True)
        written += 1
    if not written:
        raise ValueError(f"nothing of {arguments.folder} could be drawn")
    if names := renamed(training):
        print(f"no installed font has the letters of some names, pictures have numbers for them: {', '.join(names)}")
