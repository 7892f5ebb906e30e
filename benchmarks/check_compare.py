"""Whether ``xpnet compare`` calls chance a change, and whether it finds a slowdown that is planted: by real runs.

    python benchmarks/check_compare.py [--pairs 10] [--suite forms harness] [--out result.json]

Each pair is two runs of the same code, one after the other: an alarm is a false one. Then the second run of each pair is
made again with one case, another one each time, that waits for a quarter of its time: it should be found.
"""

import argparse
import dataclasses
import json
import sys
import time
from pathlib import Path

from xpnet.bench import machine, running
from xpnet.bench.compare import compare
from xpnet.bench.suites import cases, prepare
from xpnet.bench.timing import calls_for, threads, timed

FACTOR = 1.25


def run(chosen, slow=None):
    """One run; the case ``slow`` takes so many times as long."""

    def slowed(case):
        work = prepare(case)
        if case != slow:
            return work
        with work.device.use(), threads(case.threads, work.device):
            calls = calls_for(work)
            seconds = min(timed(work, calls) / calls for _ in range(9))

        def call(*arguments, call=work.call):
            call(*arguments)
            until = time.perf_counter() + (FACTOR - 1) * seconds
            while time.perf_counter() < until:
                pass

        return dataclasses.replace(work, call=call)

    running.prepare = slowed
    try:
        return [running.Runner(chosen, seconds=600, quick=True)(progress=False)]
    finally:
        running.prepare = prepare


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pairs", type=int, default=10)
    parser.add_argument("--suite", nargs="+", default=["harness", "forms"])
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    chosen = [c for c in cases("cpu", options.suite, quick=True) if c.threads == 1 and c.batch <= 100]
    ours = [c for c in chosen if c.form == "matrix"]
    record = {"machine": machine.describe(), "command": sys.argv, "factor": FACTOR, "pairs": []}
    before = run(chosen)
    for i in range(options.pairs):
        after, slow = run(chosen), ours[i * len(ours) // options.pairs]
        same, planted = compare(before, after), compare(after, run(chosen, slow))
        found = {
            "false": [c.case.name for c in same.slower],
            "planted": slow.name,
            "seen": [c.case.name for c in planted.slower],
        }
        found |= {"found": slow.name in found["seen"], "machine": same.machine, "whole": same.whole and same.whole.factor}
        record["pairs"].append(found)
        (change,) = [c for c in planted.changes if c.case == slow]
        print(f"{i + 1}: the same code: slower {found['false']}; machine {same.machine:.2f}")
        print(f"   planted: {change}, noise {change.noise:.3f}; slower {len(found['seen'])}", flush=True)
        before = after
    alarms = sum(bool(pair["false"]) for pair in record["pairs"])
    hits = sum(pair["found"] for pair in record["pairs"])
    print(f"false alarms in {alarms} of {options.pairs} pairs; planted slowdowns found in {hits} of {options.pairs}")
    if options.out:
        Path(options.out).write_text(json.dumps(record | {"alarms": alarms, "hits": hits}, indent=1) + "\n")


if __name__ == "__main__":
    main()
