"""The ``xpnet`` command: each verb is a thin call of the library."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from xpnet import __version__
from xpnet.cli import doctor, parity, sim, train
from xpnet.extras import MissingExtra


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    The exit status is what the verb returns (None counts as 0), 1 for an error said in one line,
    2 for wrong usage, 130 for Ctrl-C.
    """
    parser = argparse.ArgumentParser(prog="xpnet", description="Train neural networks on a CPU or an NVIDIA GPU.")
    parser.add_argument("--version", action="version", version=f"xpnet {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    train.add_to(verbs)
    sim.add_to(verbs)
    doctor.add_to(verbs)
    parity.add_to(verbs)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (ValueError, TypeError, RuntimeError, OSError, MissingExtra) as error:
        if arguments.traceback:
            raise
        notes = getattr(error, "__notes__", ())
        print("\n".join([f"xpnet {arguments.verb}: {error}", *notes]), file=sys.stderr)
        return 1
