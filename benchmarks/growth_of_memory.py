"""How the memory of training grows with parameters and with the batch, and that it does not grow from step to step.

    python benchmarks/growth_of_memory.py [--parts parameters batch steps] [--device cpu-fast] [--out result.json]

``parameters``, ``batch``: multilayer perceptrons with ReLU, softmax cross-entropy and Adam in float32, a few steps of each in a
process of its own, whose rows are in memory before. ``peak`` is the largest resident set until the end less that from before
the network was built, ``resident`` what of it is in memory after the steps; beside it what xpnet.forecast foretells, the
caller's rows apart. A line is fitted by least squares: so many bytes a parameter, or a row.

``steps``: 10,000 calls of ``Trainer.step`` of the cases (a) and (b) after 2,048 others; the resident set before, after every
2,000 and at the end, in one process, and in another what Python and NumPy have allocated (tracemalloc).
"""

import argparse
import dataclasses
import gc
import statistics
import sys
import tracemalloc
from array import array

import in_xpnet
import networks
import processes
from call_times import LEARNING_RATE
from cases import CASES
from worker import resident

import xpnet as xn
from xpnet.bench.networks import perceptron
from xpnet.forecast import forecast

BATCH, STEPS = 64, 4
WIDTHS, BATCHES = (256, 512, 1024, 2048, 3072, 4096), (64, 256, 1024, 4096, 8192, 16384)
SIZES = (784, 256, 128, 10)
FIRST, LATER, SPANS = 2048, 10_000, 5  # losses come from vectors of 1,024: after two of them all is there


def peak(sizes, batch, device):
    """In a process of its own: memory of a few steps of one network."""
    network, device = perceptron(tuple(sizes), xn.Adam), processes.device(device)
    x, y = network.data(batch)
    before = resident("VmRSS")
    trainer = network.trainer(device)
    rows, targets = device.put(x), device.put(y)
    for _ in range(STEPS):
        trainer.step(rows, targets)
    found = {"peak": resident("VmHWM") - before, "resident": resident("VmRSS") - before}
    told = forecast(trainer.net, batch)
    return {
        "parameters": int(trainer.net.parameters.value.size),
        "batch": batch,
        **found,
        "forecast": told.total + 2 * told.vector - x.nbytes,  # Adam has two; the rows were there before
        "threads": {"xpnet's workers": device.threads},
    }


def growth(name, device, traced):
    """In a process of its own: what so many steps of a case leave in memory."""
    case, device = dataclasses.replace(CASES[name], learning_rate=LEARNING_RATE), processes.device(device)
    trainer = in_xpnet.made(case, device)
    x, y = (device.put(a) for a in networks.rows(case))
    watch = tracemalloc_bytes if traced else resident_bytes
    if traced:
        tracemalloc.start()
    found = array("q", bytes(8 * SPANS + 8))  # nothing grows but what is watched
    steps(trainer, x, y, FIRST)
    watch()  # what the watching itself needs is there now
    found[0] = watch()
    for span in range(SPANS):
        steps(trainer, x, y, LATER // SPANS)
        found[span + 1] = watch()
    return {"bytes": found.tolist(), "threads": {"xpnet's workers": device.threads}}


def steps(trainer, x, y, count):
    for _ in range(count):
        trainer.step(x, y)


def resident_bytes():
    gc.collect()
    return resident("VmRSS")


def tracemalloc_bytes():
    """Allocated by Python and by NumPy, which tells tracemalloc of its arrays' memory."""
    gc.collect()
    return tracemalloc.get_traced_memory()[0]


def line(points, key, value):
    """Least squares: bytes for one more, bytes for none, and the part of the variance that the line explains."""
    xs, ys = [p[key] for p in points], [p[value] for p in points]
    fit = statistics.linear_regression(xs, ys)
    return {"slope": fit.slope, "intercept": fit.intercept, "explained": statistics.correlation(xs, ys) ** 2}


def sweep(key, device, threads):
    """Points of one sweep, and the lines; points that were not measured apart."""
    given = {"parameters": [((w, w, w, w, 10), BATCH) for w in WIDTHS], "batch": [(SIZES, n) for n in BATCHES]}[key]
    answers = [processes.run("growth_of_memory", "peak", *each, device, threads=threads) for each in given]
    points = [a for a in answers if "peak" in a]
    lines = {value: line(points, key, value) for value in ("peak", "resident", "forecast")} if len(points) > 2 else {}
    return {"points": points, "without": [a for a in answers if "peak" not in a], "lines": lines}


def tell(key, found):
    """One sweep as Markdown, with its sentence."""
    print(f"| {key} | peak | resident | forecast | forecast / peak | peak / {key} |\n|---|---|---|---|---|---|")
    for p in found["points"]:
        sizes = " | ".join(f"{p[value] / 2**20:,.1f} MiB" for value in ("peak", "resident", "forecast"))
        print(f"| {p[key]:,} | {sizes} | {p['forecast'] / p['peak']:.2f} | {p['peak'] / p[key]:,.1f} B |")
    for answer in found["without"]:
        print(f"not measured: {answer.get('left_out') or answer['refused']}")
    one = {"parameters": "parameter", "batch": "row"}[key]
    for value, fit in found["lines"].items():
        text = f"{value}: {fit['slope']:,.2f} bytes a {one} and {fit['intercept'] / 2**20:,.1f} MiB"
        each = f", {fit['slope'] / sum(SIZES):.2f} an element of inputs and activations" if key == "batch" else ""
        print(f"{text}{each}; the line explains {fit['explained']:.2%} of the variance")
    print(flush=True)


def over_steps(device, threads):
    """Growth of both cases, by what is watched."""
    return {
        name: {
            "resident set": processes.run("growth_of_memory", "growth", name, device, False, threads=threads),
            "allocated": processes.run("growth_of_memory", "growth", name, device, True, threads=threads),
        }
        for name in "ab"
    }


def tell_steps(found):
    """Growth in bytes, from the first to the last look, and at each between."""
    print(f"| case | watched | before | growth over {LATER:,} steps | after every {LATER // SPANS:,} |\n|---|---|---|---|---|")
    for name, by in found.items():
        for watched, answer in by.items():
            if "bytes" not in answer:
                print(f"| ({name}) | {watched} | not measured: {answer.get('left_out') or answer['refused']} | | |")
                continue
            first, *later = answer["bytes"]
            growth = ", ".join(f"{v - first:+,}" for v in later)
            print(f"| ({name}) | {watched} | {first:,} B | {later[-1] - first:+,} B | {growth} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    kinds = ["parameters", "batch", "steps"]
    parser.add_argument("--parts", nargs="+", choices=kinds, default=kinds)
    parser.add_argument("--device", default="cpu", help="cpu, or cpu-fast (with Numba)")
    parser.add_argument("--threads", type=int, default=processes.THREADS)
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    found = {}
    for key in options.parts:
        if key == "steps":
            found[key] = over_steps(options.device, options.threads)
            tell_steps(found[key])
        else:
            found[key] = sweep(key, options.device, options.threads)
            tell(key, found[key])
    if options.out:
        processes.write(options.out, unit="bytes", device=options.device, threads=options.threads, **found)
    answers = [a for key in found if key != "steps" for a in found[key]["without"]]
    answers += [a for by in found.get("steps", {}).values() for a in by.values()]
    sys.exit("; ".join(f"refused: {a['refused']}" for a in answers if "refused" in a) or None)


if __name__ == "__main__":
    main()
