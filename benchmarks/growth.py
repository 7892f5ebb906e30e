"""How a training step's time grows with width, depth and batch, and from which size on Python's part of it is small.

    python benchmarks/growth.py [--sweeps width depth batch] [--optimizer sgd] [--device cpu-fast] [--out result.json]

Multilayer perceptrons with ReLU and softmax cross-entropy in float32, random rows, a learning rate of 1e-12. Of three numbers
one grows, in a process of its own: all its sizes are timed in passes, whose median
counts. The parts of a step are those of call_times.py. An exponent is the slope of log time over log size: between two
neighbours, and fitted by least squares to the upper half of the sizes, where the work itself and not its calls is most of it.
"""

import argparse
import itertools
import math
import statistics
import sys
import time

import processes
from call_times import FEWEST, LEARNING_RATE, Profile

import xpnet as xn
from xpnet.bench import cells
from xpnet.bench.networks import perceptron
from xpnet.bench.timing import Refused

SMALL = 0.1  # of the step
SECONDS, APART = 40.0, 1.0  # of the passes of one sweep, and from one's beginning to the next's
POWERS = [2**k for k in range(13)]
SWEEPS = {
    "width": (POWERS[4:], lambda n: ((n, n, n, n, 10), 64), "networks n-n-n-n-10, batch 64"),
    "depth": (POWERS[:7], lambda n: ((64, *[64] * n, 10), 64), "networks of n hidden layers of 64, 64 inputs, batch 64"),
    "batch": (POWERS, lambda n: ((784, 256, 128, 10), n), "network 784-256-128-10, batch n"),
}


def measured(sweep, optimizer, device, seconds):
    """In a process of its own: a step and its parts at every size."""
    device = processes.device(device)
    rule = {"adam": xn.Adam, "sgd": xn.SGD}[optimizer]
    profiles = {}
    for n in SWEEPS[sweep][0]:
        layers, batch = SWEEPS[sweep][1](n)
        network = perceptron(layers, lambda _: rule(LEARNING_RATE))
        profiles[n] = Profile(network.trainer, *network.data(batch), device)
    take_rounds(list(profiles.values()), seconds)
    points = [point(n, profile) for n, profile in profiles.items()]
    return {"points": points, "threads": {"xpnet's workers": device.threads}}


def take_rounds(profiles, seconds):
    """A round of each, pass by pass, for so long."""
    start, passes = time.perf_counter(), 0
    while passes < FEWEST or time.perf_counter() - start < seconds:
        began, passes = time.perf_counter(), passes + 1
        for profile in profiles:
            profile.round()
        time.sleep(max(0.0, min(APART, seconds / FEWEST) - (time.perf_counter() - began)))


def point(n, profile):
    """What was found of one size, or why it does not count."""
    about = {"size": n, "parameters": int(profile.trainer.net.parameters.value.size)}
    try:
        return about | profile.result()
    except Refused as error:
        return about | {"refused": str(error)}


def slope(points):
    """Least squares of log time over log size: the exponent, and its standard error (None of two points)."""
    xs, ys = ([math.log(value) for value in column] for column in zip(*points, strict=True))
    fit = statistics.linear_regression(xs, ys)
    rest = sum((y - fit.intercept - fit.slope * x) ** 2 for x, y in zip(xs, ys, strict=True))
    spread = sum((x - statistics.fmean(xs)) ** 2 for x in xs)
    return fit.slope, math.sqrt(rest / (len(xs) - 2) / spread) if len(xs) > 2 else None


def summary(points):
    """Exponents, and from which size on Python is a small part, of the points that count."""
    known = [p for p in points if "refused" not in p]
    pairs = [(p["size"], p["median"]) for p in known]
    local = {b[0]: slope([a, b])[0] for a, b in itertools.pairwise(pairs)}
    upper = [pair for pair in pairs if pair[0] >= points[len(points) // 2]["size"]]
    exponent, error = slope(upper) if len(upper) > 1 else (None, None)
    return {
        "exponents": local,
        "fit": {"exponent": exponent, "error": error, "sizes": [pair[0] for pair in upper]},
        "python_small_from": small_from(known),
    }


def small_from(points):
    """The first size from which on Python is less than a tenth of every step; None where it is not at the largest."""
    found = None
    for p in reversed(points):
        if p["parts"]["python"]["share"] >= SMALL:
            break
        found = p["size"]
    return found


def table(sweep, answer):
    """One sweep as Markdown, with its sentences."""
    heads = [sweep, "parameters", "step", "quartiles", "exponent", "products", "elementwise", "copies", "update", "Python"]
    exponents = answer["exponents"]
    rows = [row(p, exponents) for p in answer["points"]]
    lines = [f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows)]
    return "\n".join([f"{SWEEPS[sweep][2]}:", "", *lines, "", *sentences(sweep, answer)])


def row(p, exponents):
    about = [f"{p['size']:,}", f"{p['parameters']:,}"]
    if "refused" in p:
        return [*about, f"not measured: {p['refused']}", *[""] * 7]
    exponent = f"{exponents[p['size']]:.2f}" if p["size"] in exponents else ""
    parts = [f"{p['parts'][name]['share']:.0%}" for name in ("products", "elementwise", "copies", "update", "python")]
    low, high = map(duration, p["quartiles"])
    return [*about, duration(p["median"]), f"{low} .. {high}", exponent, *parts]


def sentences(sweep, answer):
    fit, small = answer["fit"], answer["python_small_from"]
    if fit["exponent"] is not None:
        error = "" if fit["error"] is None else f" (standard error {fit['error']:.2f})"
        yield f"From {sweep} {fit['sizes'][0]:,} to {fit['sizes'][-1]:,} time grows as {sweep}^{fit['exponent']:.2f}{error}."
    else:
        yield "Too few points count for a fit."
    if small is None:
        yield f"Python's part is {SMALL:.0%} or more at the largest {sweep} that was measured."
    else:
        yield f"Python's part is below {SMALL:.0%} from {sweep} {small:,} on."


def duration(seconds):
    """Three digits, in microseconds, milliseconds or seconds."""
    return cells.duration(seconds).replace("µs", "us")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweeps", nargs="+", choices=list(SWEEPS), default=list(SWEEPS))
    parser.add_argument("--optimizer", choices=["adam", "sgd"], default="adam")
    parser.add_argument("--device", default="cpu", help="cpu, or cpu-fast (with Numba)")
    parser.add_argument("--threads", type=int, default=processes.THREADS)
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of the passes of each sweep")
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    processes.note_load()
    found = {}
    for sweep in options.sweeps:
        given = sweep, options.optimizer, options.device, options.seconds
        answer = found[sweep] = processes.run("growth", "measured", *given, threads=options.threads)
        answer["networks"] = SWEEPS[sweep][2]
        if "points" in answer:
            answer |= summary(answer["points"])
            print(table(sweep, answer), end="\n\n", flush=True)
        else:
            print(f"{sweep}: not measured: {answer.get('left_out') or answer['refused']}\n", flush=True)
    if options.out:
        processes.write(options.out, optimizer=options.optimizer, device=options.device, threads=options.threads, sweeps=found)
    refused = [f"refused: {sweep}: {a['refused']}" for sweep, a in found.items() if "refused" in a]
    sys.exit("; ".join(refused) or None)


if __name__ == "__main__":
    main()
