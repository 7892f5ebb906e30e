"""How far the method of ``xpnet advise`` is off where it can be held against measurement: training steps on this CPU.

    python benchmarks/prediction_error.py [--out result.json]

The profile is made of micro-benchmarks of single NumPy calls alone; their passes and those over the steps take turns, since a
machine is not equally quick at all times.
"""

import argparse
import dataclasses
import json
import statistics
import sys
from pathlib import Path

from xpnet.advise import cpu_measure
from xpnet.advise.noting import cpu_work
from xpnet.backends.workers import cores
from xpnet.bench import machine
from xpnet.bench.networks import NETWORKS
from xpnet.bench.results import Case
from xpnet.bench.running import PASSES, Runner

STEPS = [
    *(("784-30-10", 10), ("784-30-10", 1000)),
    *(("784-256-128-10", 64), ("784-256-128-10", 1024)),
    *(("1024-2048-2048-1000", 32), ("1024-2048-2048-1000", 256)),
    *(("lenet", 64), ("vgg", 32), ("resnet", 8), ("resnet", 32)),
]
ALLOWED, TURNS = 0.30, 6


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    chosen = [Case("forms", name, "matrix", "cpu", n, "float32", cores()) for name, n in STEPS]
    runner, passes = Runner(chosen, seconds=900), []
    for _ in range(TURNS):
        passes.append(cpu_measure.one_pass())
        runner(progress=False, passes=PASSES // TURNS)
    profile, timed = cpu_measure.middle(passes), {r.case: r for r in runner.run.results}
    rows = []
    print(f"{'':22s}{'batch':>6s}{'measured':>12s}{'quartiles':>24s}{'predicted':>12s}{'off by':>8s}")
    for case in chosen:
        network, found = NETWORKS[case.model], timed[case]
        told = profile.step(cpu_work(network.trainer, *network.data(case.batch), profile.threads))
        rows.append({"model": case.model, "batch": case.batch, "measured": found.as_dict(), "predicted": told})
        low, high = found.quartiles
        us = [f"{1e6 * s:,.0f}" for s in (found.median, low, high, told)]
        off = told / found.median - 1
        print(f"{case.model:22s}{case.batch:6d}{us[0]:>12s}{us[1] + ' .. ' + us[2]:>24s}{us[3]:>12s}{100 * off:+7.0f}%")
    off = [abs(r["predicted"] / r["measured"]["median"] - 1) for r in rows]
    right = sum(o <= ALLOWED for o in off)
    median = f"median error {100 * statistics.median(off):.0f} %"
    print(f"us a step, {cores()} threads; {median}; within 30 %: {right} of {len(rows)}")
    if options.out:
        record = {"machine": machine.describe(), "command": sys.argv, "unit": "seconds", "steps": rows}
        Path(options.out).write_text(json.dumps(record | {"profile": dataclasses.asdict(profile)}, indent=1) + "\n")
    sys.exit(right < 0.8 * len(rows))


if __name__ == "__main__":
    main()
