"""Runs that others published, on a CPU and a GPU, beside what the method of ``xpnet advise`` predicts for the same networks.

    python benchmarks/published_pairs.py [--profile p.json] [--out result.json]

The GPU's time is predicted from its profile, with the framework's own cost of a call where one is known; the CPU's from
the profile of the CPU here, which is another one than theirs, so that the ratio is only as good as the CPUs are alike.
"""

import argparse
import dataclasses
import json
import math
import statistics
import sys
from pathlib import Path

from published import PAIRS

from xpnet.advise import cpu_measure
from xpnet.advise.counting import Counted
from xpnet.advise.noting import cpu_work
from xpnet.advise.predict import predict
from xpnet.advise.profiles import gpu_profile
from xpnet.advise.profiling import cpu_of
from xpnet.advise.subject import Subject
from xpnet.bench import machine

WIDTHS = (22, 34, 9, 8, 6, 9, 8, 6, 9, 8)
HEADS = ("", "GPU", "GPU publ.", "pred.", "off", "CPU publ.", "pred.", "off", "CPU/GPU", "pred.")


def judged(pair, cpu):
    """Predicted and published seconds of both devices and their ratio."""
    subject = Subject(pair.model)
    work = Counted(subject.make, subject.rows)(pair.batch)
    if pair.reads_loss_each_step:
        work = dataclasses.replace(work, copies=[*work.copies, 4.0], syncs=work.syncs + 1)
    gpu = gpu_profile(pair.gpu)
    if pair.host_call_seconds:
        gpu = dataclasses.replace(gpu, host_call=pair.host_call_seconds)
    there = predict(work, gpu).seconds
    here = cpu.step(cpu_work(subject.make, *subject.rows(pair.batch), cpu.threads))
    return {
        "name": pair.name,
        "gpu": pair.gpu + (" (a guess)" if pair.gpu_is_guess else ""),
        "batch": pair.batch,
        "gpu_published": pair.gpu_seconds,
        "gpu_predicted": there,
        "cpu_published": pair.cpu_seconds,
        "cpu_predicted": here,
        "ratio_published": pair.cpu_seconds / pair.gpu_seconds,
        "ratio_predicted": here / there,
        "source": pair.source,
    }


def off(found, name):
    """By what factor a prediction is off, in either direction."""
    return math.exp(abs(math.log(found[f"{name}_predicted"] / found[f"{name}_published"])))


def line(cells):
    """A row of the table: names to the left, numbers to the right."""
    return "".join(f"{c:{w}s}" if i < 2 else f"{c:>{w}s}" for i, (c, w) in enumerate(zip(cells, WIDTHS, strict=True)))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", help="of this CPU, by xpnet bench --profile; measured unless given")
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    cpu = cpu_of(options.profile) if options.profile else cpu_measure.measure()
    rows = [judged(pair, cpu) for pair in PAIRS]
    print("milliseconds a step, published and predicted, and the factor by which they are apart")
    print(line(HEADS))
    for r in rows:
        cells = [r["name"], r["gpu"]]
        for name in ("gpu", "cpu"):
            cells += [f"{1e3 * r[f'{name}_{how}']:.2f}" for how in ("published", "predicted")] + [f"{off(r, name):.1f}"]
        print(line([*cells, *(f"{r[f'ratio_{how}']:.1f}" for how in ("published", "predicted"))]))
    for name in ("gpu", "cpu", "ratio"):
        print(f"median factor by which {name} is off: {statistics.median(off(r, name) for r in rows):.2f}")
    right = sum((r["ratio_published"] > 1) == (r["ratio_predicted"] > 1) for r in rows)
    print(f"the right device: {right} of {len(rows)}")
    if options.out:
        record = {"machine": machine.describe(), "command": sys.argv, "unit": "seconds", "pairs": rows}
        Path(options.out).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
