"""``xpnet exercise my_network.py``: a learner's matrix form of the book's program, judged."""

from __future__ import annotations

import argparse
import contextlib
import json
import sys


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "exercise",
        help="judge a matrix form of the book's program",
        description="The exercise: rewrite the program of Nielsen's book so that a whole minibatch is one matrix. Say whether "
        "the gradients are right, and if not, where they first go wrong and by which mistake; whether it is a matrix form; "
        "and how fast it is. The exit status is 0 where it is right and a matrix form, and otherwise 1.",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "file",
        help="a Python file with a class Network(sizes) that has lists weights and biases, and update_mini_batch(mini_batch, "
        "eta) or (X, Y, eta), or only backprop(X, Y), which returns (nabla_b, nabla_w); samples are columns or rows",
    )
    parser.add_argument("--starter", action="store_true", help="write the program to be rewritten into the file, which is new")
    parser.add_argument(
        "--cost", choices=["quadratic", "cross-entropy"], help="the cost that is meant; without it, the one that fits"
    )
    parser.add_argument("--json", action="store_true", help="print the same as JSON; what the program prints goes to stderr")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> int:
    """Write the starter, or print the page or the JSON; 1 where the program is not right or no matrix form."""
    from xpnet import exercise

    if arguments.starter:
        print(
            f"wrote {exercise.starter(arguments.file)}: rewrite update_mini_batch and backprop without a loop over the samples,"
        )
        print(f"then run: xpnet exercise {arguments.file}")
        return 0
    if sys.stderr.isatty():
        print(f"running {arguments.file}; Ctrl-C stops it", file=sys.stderr)  # it may hold an endless loop
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        found = exercise.examine(arguments.file, arguments.cost)
    print(json.dumps(found.as_dict(), indent=2) if arguments.json else found)
    return int(not found.ok)
