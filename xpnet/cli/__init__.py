"""The ``xpnet`` command: each verb is a thin call of the library."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

from xpnet import __version__
from xpnet.checks import closest
from xpnet.cli import (
    advise,
    bench,
    color,
    compare,
    doctor,
    exercise,
    explain,
    export,
    parity,
    plot,
    predict,
    report,
    sim,
    train,
)
from xpnet.extras import MissingExtra

VERBS = (train, predict, export, plot, explain, exercise, color, sim, parity, advise, bench, report, compare, doctor)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    The exit status is what the verb returns (None counts as 0), 1 for an error said in one line,
    2 for wrong usage, 130 for Ctrl-C, 141 where the reader of a pipe has gone, as a shell counts them.
    """
    arguments = parse(argv)
    try:
        status = arguments.run(arguments) or 0
        sys.stdout.flush()  # here, where a reader that has gone is no error
        return status
    except KeyboardInterrupt:
        print("stopped", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read the output, ``head`` for instance, has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # Python flushes it once more at the end
        return 141
    except (ValueError, TypeError, RuntimeError, OSError, MemoryError, MissingExtra) as error:
        if arguments.traceback:
            raise
        print("\n".join([f"xpnet {arguments.verb}: {said(error)}", *getattr(error, "__notes__", ())]), file=sys.stderr)
        return 1


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line instead of below a page of usage."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} ({self.prog} --help lists the options)\n")


def parse(argv: Sequence[str] | None) -> argparse.Namespace:
    """The arguments of the verb that was asked for; exits with status 2 where they are wrong."""
    parser = Parser(prog="xpnet", description="Train neural networks on a CPU or an NVIDIA GPU.")
    parser.add_argument("--version", action="version", version=f"xpnet {__version__}")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    for verb in VERBS:
        verb.add_to(verbs)
    arguments, unknown = parser.parse_known_args(argv)
    arguments.words = list(sys.argv[1:] if argv is None else argv)
    if unknown:
        chosen = verbs.choices[arguments.verb]
        chosen.error(f"unknown argument {unknown[0]}{closest(unknown[0], list(chosen._option_string_actions))}")
    return arguments


def said(error: Exception) -> str:
    """An error in one line; the system's in its own words, without their number."""
    if isinstance(error, OSError) and error.filename and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return str(error)
