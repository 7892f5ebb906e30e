"""The methods that compute a convolution, side by side on a CPU: forward and backward of one layer, as ratios of one run.

    XPNET_THREADS=2 python benchmarks/convolution_methods.py [--rounds 30] [--out result.json]

Every method that suits a shape takes its turn in each round. The planned one is marked; ``error`` is the largest of those of
outputs and gradients in float32: root mean square of the difference from float64, relative.
"""

import argparse
import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

import xpnet as xn
from xpnet.bench import machine
from xpnet.layers.convolution.plan import METHODS, unsuited

SHAPES = [  # images (N, height, width, channels), and the layer's options
    ((32, 32, 32, 3), {"n_out": 32, "kernel": 3, "padding": 1}),
    ((32, 32, 32, 32), {"n_out": 32, "kernel": 3, "padding": 1}),
    ((32, 16, 16, 64), {"n_out": 64, "kernel": 3, "padding": 1}),
    ((32, 32, 32, 64), {"n_out": 64, "kernel": 3, "padding": 1}),
    ((32, 8, 8, 128), {"n_out": 128, "kernel": 3, "padding": 1}),
    ((64, 12, 12, 20), {"n_out": 50, "kernel": 5}),
    ((64, 28, 28, 1), {"n_out": 20, "kernel": 5}),
    ((32, 32, 32, 64), {"n_out": 128, "kernel": 3, "padding": 1, "stride": 2}),
    ((32, 16, 16, 64), {"n_out": 128, "kernel": 1}),
    ((32, 32, 32, 64), {"n_out": 64, "kernel": 3, "padding": 1, "groups": 64}),
]


class Candidate:
    """One layer by one method, and what it computes."""

    def __init__(self, shape, options, method, dtype="float32"):
        rng = np.random.default_rng(0)
        self.net = xn.Sequential(xn.Conv2d(**options, method=method)).build(shape[1:], dtype=dtype)
        self.x = rng.standard_normal(shape).astype("float32").astype(dtype)
        self.dy = rng.standard_normal((shape[0], *self.net.output_shape)).astype("float32").astype(dtype)
        self.seconds = []
        for _ in range(3):  # buffers, the record, the first replay
            self.found = self.step()

    def step(self):
        step = self.net.step(training=True, needs_dx=True)
        start = time.perf_counter()
        y, cache = self.net.forward(self.x, step)
        dx = self.net.backward(self.dy, cache, step)
        self.seconds.append(time.perf_counter() - start)
        return [a.copy() for a in (y, dx, self.net.parameters.grad)]

    def error(self, right):
        pairs = zip(self.found, right, strict=True)
        return max(float(np.sqrt(np.mean((a - b) ** 2) / np.mean(b**2))) for a, b in pairs)


def measure(shape, options, rounds):
    planned = Candidate(shape, options, "auto").net.layers[0]
    device, geometry = xn.device("cpu"), planned.geometry
    made = {name: Candidate(shape, options, name) for name in METHODS if not unsuited(name, geometry)}
    right = Candidate(shape, options, "im2col", "float64").found
    for candidate in made.values():
        candidate.seconds.clear()
    for _ in range(rounds):
        for candidate in made.values():
            candidate.step()
    return {
        name: {
            "median": statistics.median(c.seconds),
            "quartiles": statistics.quantiles(c.seconds, n=4),
            "error": c.error(right),
            "planned": name == planned.plan(device).name,
        }
        for name, c in made.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    record = {
        "machine": {**machine.describe(), "threads": xn.device("cpu").threads},
        "command": sys.argv,
        "unit": "seconds",
        "cases": [],
    }
    for shape, layer in SHAPES:
        print(f"{shape} {', '.join(f'{k}={v}' for k, v in layer.items())}")
        found = measure(shape, layer, options.rounds)
        for name, r in found.items():
            low, _, high = (1e3 * q for q in r["quartiles"])
            ratio = found["im2col"]["median"] / r["median"]
            print(
                f"  {'*' if r['planned'] else ' '} {name:9s} {1e3 * r['median']:8.2f} ms   quartiles {low:.2f} .. {high:.2f}   "
                f"{ratio:5.2f} x as quick as im2col   error {r['error']:.1e}",
                flush=True,
            )
        record["cases"].append({"images": shape, "layer": layer, "methods": found})
    if options.out:
        Path(options.out).write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
