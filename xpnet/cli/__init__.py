"""The ``xpnet`` command: each verb is a thin call of the library."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence

from xpnet import __version__
from xpnet.cli import color, doctor, exercise, explain, parity, predict, sim, train
from xpnet.extras import MissingExtra


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    The exit status is what the verb returns (None counts as 0), 1 for an error said in one line,
    2 for wrong usage, 130 for Ctrl-C, 141 where the reader of a pipe has gone, as a shell counts them.
    """
    parser = argparse.ArgumentParser(prog="xpnet", description="Train neural networks on a CPU or an NVIDIA GPU.")
    parser.add_argument("--version", action="version", version=f"xpnet {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    train.add_to(verbs)
    predict.add_to(verbs)
    color.add_to(verbs)
    sim.add_to(verbs)
    doctor.add_to(verbs)
    parity.add_to(verbs)
    explain.add_to(verbs)
    exercise.add_to(verbs)
    arguments = parser.parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output, ``head`` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at the end
        return 141
    except (ValueError, TypeError, RuntimeError, OSError, MissingExtra) as error:
        if arguments.traceback:
            raise
        print("\n".join([f"xpnet {arguments.verb}: {said(error)}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return 1


def said(error: Exception) -> str:
    """An error in one line; the system's in its own words, without their number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
