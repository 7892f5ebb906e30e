"""``xpnet sim script.py [arguments]``: a training script on the simulated GPU, and what a real one would have to do."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "sim",
        help="run a script on the simulated GPU and report what it costs there",
        description='Run a training script with the devices "cuda" and "auto", and `import cupy`, answered by the simulated '
        "GPU. Then say, by file and line, where it would have waited for a GPU or copied to or from it, and what a step "
        "costs. The report goes to standard error, so that the script's own output stays as it is. The exit status is "
        "the script's where that is not 0, and 1 where a real GPU would have stopped it.",
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", metavar="FILE", help="write the whole ledger there as JSON")
    parser.add_argument("--traceback", action="store_true", help="show where an error of xpnet itself came from")
    parser.add_argument("script", help="a Python file")
    rest = parser.add_argument("arguments", nargs=argparse.REMAINDER, help="what the script is given")
    rest.required = False  # Python 3.11 would ask for it where the script is missing


def run(arguments: argparse.Namespace) -> int:
    """Run the script; its own output comes first, then the report."""
    from xpnet.simulate import simulate

    target = Path(arguments.json).absolute() if arguments.json else None  # the script may go elsewhere
    found = simulate(arguments.script, arguments.arguments)
    sys.stdout.flush()
    print(f"\n--- xpnet sim ---\n{found}", file=sys.stderr, flush=True)
    if target:
        target.write_text(json.dumps(found.as_dict(), indent=1) + "\n")
    return found.status
