"""The ``xpnet`` command: each verb is a thin call of the library."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from xpnet import __version__
from xpnet.cli import train


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; the exit status is 0, 1 for an error said in one line, 2 for wrong usage, 130 for Ctrl-C."""
    parser = argparse.ArgumentParser(prog="xpnet", description="Train neural networks on a CPU or an NVIDIA GPU.")
    parser.add_argument("--version", action="version", version=f"xpnet {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    train.add_to(verbs)
    arguments = parser.parse_args(argv)
    try:
        arguments.run(arguments)
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except (ValueError, TypeError, RuntimeError, OSError) as error:
        if arguments.traceback:
            raise
        print(f"xpnet {arguments.verb}: {error}", file=sys.stderr)
        return 1
    return 0
