"""What a training step costs on the simulated GPU beside the same step on the CPU: ratios of one run.

    python benchmarks/sim_cost.py [--cases a c] [--blocks 5] [--out result.json]

Processes, threads and checks as in peers.py; "ledger" is the simulator with a ledger open.
"""

import argparse
import json
import sys
from pathlib import Path

from cases import CASES
from peers import ask, judge

from xpnet.bench import machine

LIBRARIES = ["xpnet", "sim", "ledger"]
AT_MOST = {"a": 25.0, "c": 3.0}  # times the CPU's step


def measured(name, blocks):
    """Times in seconds by library; ends with an error where something was refused."""
    made, refused = judge(CASES[name], ask(name, LIBRARIES, blocks)[0])
    if refused:
        raise SystemExit(f"case {name}: {'; '.join(f'{library}: {reason}' for library, reason in refused.items())}")
    return {library: r.as_dict() for library, r in made.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES), default=list(AT_MOST))
    parser.add_argument("--blocks", type=int, default=5, help="processes of each kind")
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    found = {name: measured(name, options.blocks) for name in options.cases}
    for name, result in found.items():
        print(CASES[name])
        for library, r in result.items():
            quartiles = " .. ".join(f"{q * 1e6:.1f}" for q in r["quartiles"])
            ratio = r["median"] / result["xpnet"]["median"]
            print(f"  {library:9s} step {r['median'] * 1e6:9.1f} us   quartiles {quartiles}   {ratio:5.2f} x the CPU's")
    if options.out:
        record = {"machine": machine.describe(), "command": sys.argv, "cases": found}
        Path(options.out).write_text(json.dumps(record, indent=1) + "\n")
    slow = [n for n, r in found.items() if r["ledger"]["median"] > AT_MOST.get(n, float("inf")) * r["xpnet"]["median"]]
    sys.exit(f"more than the simulator may cost: case {', '.join(slow)}" if slow else 0)


if __name__ == "__main__":
    main()
