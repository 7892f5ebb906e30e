"""``xpnet sim script.py [arguments]``: a training script on the simulated GPU, and what a real one would have to do."""

from __future__ import annotations

import argparse


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "sim",
        help="run a script on the simulated GPU and report what it costs there",
        description='Run a training script with the devices "cuda" and "auto", and `import cupy`, answered by the simulated '
        "GPU. Then print, by file and line, where it would have waited for a GPU or copied to or from it, and what a step "
        "costs. The exit status is the script's, or 1 where a real GPU would have stopped it.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--traceback", action="store_true", help="show where an error of xpnet itself came from")
    parser.add_argument("script", help="a Python file")
    rest = parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script is given")
    rest.required = False  # Python 3.11 would ask for it where the script is missing


def run(arguments: argparse.Namespace) -> int:
    """Run the script; its own output comes first, then the report."""
    from xpnet.simulate import simulate

    found = simulate(arguments.script, arguments.arguments)
    print(f"\n--- xpnet sim ---\n{found}", flush=True)
    return found.status
