"""Training steps of xpnet beside PyTorch and beside the bare matrix products: ratios of one run.

    python benchmarks/step_speed.py [--cases a b c d e f] [--blocks 5] [--out result.json]
    python benchmarks/step_speed.py --memory [--cases d e f vgg16]

Each library runs in processes of its own (two thread pools in one process spin against each other), two threads each; the
processes of the libraries take turns, so that other load on the machine hits all of them. PyTorch is left out where it is
not installed. What is timed is checked: all libraries start from the same weights and must report the same losses.
With --memory it is the largest resident set of a few steps, less that after the import, and beside it xpnet's forecast.
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
from pathlib import Path

from cases import CASES

HERE = Path(__file__).parent
THREADS = "2"
ROUNDS = 5  # in one process
TOLERANCE = 2e-4  # of the losses of three steps


def run(library, case, rounds=ROUNDS):
    """One process; its result."""
    threads = dict.fromkeys(("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS", "XPNET_THREADS"), THREADS)
    path = {"PYTHONPATH": os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, str(HERE / "worker.py"), library, case, str(rounds)],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        env={**os.environ, **threads, **path},
    )
    return json.loads(done.stdout.splitlines()[-1])


def measure(name, libraries, blocks):
    """All libraries in turn, ``blocks`` times over; refuses results of unlike computations."""
    results = [run(library, name) for _ in range(blocks) for library in libraries]
    losses = {r["library"]: r["first_losses"] for r in results if r["library"] != "products"}
    for library, values in losses.items():
        if any(abs(v - w) > TOLERANCE * max(abs(w), 1e-3) for v, w in zip(values, losses["xpnet"], strict=True)):
            raise SystemExit(f"case {name}: {library} and xpnet do not compute the same: {losses}")
    seconds = {lib: [s for r in results if r["library"] == lib for s in r["seconds"]] for lib in libraries}
    return {
        lib: {"median": statistics.median(s), "quartiles": statistics.quantiles(s, n=4), "minimum": min(s), "count": len(s)}
        for lib, s in seconds.items()
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES))
    parser.add_argument("--blocks", type=int, default=5, help="processes of each library")
    parser.add_argument("--memory", action="store_true", help="memory of image cases instead of speed")
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    has_torch = importlib.util.find_spec("torch") is not None
    chosen = options.cases or ([*list("def"), "vgg16"] if options.memory else list("abcdef"))
    measured, unit = (memory, "bytes") if options.memory else (speed, "seconds")
    found = {}
    for name in chosen:
        case = CASES[name]
        print(case, flush=True)
        libraries = [library for library in case.libraries if has_torch or not library.startswith("torch")]
        found[name] = measured(case, libraries, options.blocks)
    if options.out:
        record = {"machine": machine(), "command": sys.argv, "unit": unit, "cases": found}
        Path(options.out).write_text(json.dumps(record, indent=1) + "\n")


def speed(case, libraries, blocks):
    result = measure(case.name, libraries, blocks)
    for library, r in result.items():
        q = r["quartiles"]
        print(
            f"  {library:19s} {case.batch / r['median']:10,.0f} samples/s   step {r['median'] * 1e6:9.1f} us   "
            f"quartiles {q[0] * 1e6:.1f} .. {q[2] * 1e6:.1f}   {r['median'] / result['xpnet']['median']:5.2f} x xpnet",
            flush=True,
        )
    return result


def memory(case, libraries, blocks):
    results = {library: run(library, case.name, rounds=0) for library in libraries if library != "torch-channels-last"}
    for library, r in results.items():
        told = f"   forecast {r['forecast'] / 2**20:.0f} MiB, {r['forecast'] / r['bytes']:.2f} of it" if "forecast" in r else ""
        share = r["bytes"] / results["xpnet"]["bytes"]
        print(f"  {library:19s} {r['bytes'] / 2**20:8.0f} MiB   {share:5.2f} x xpnet{told}", flush=True)
    return results


def machine():
    """What the figures depend on."""
    import numpy

    model = next(
        (line.split(":")[1].strip() for line in Path("/proc/cpuinfo").read_text().splitlines() if "model name" in line), ""
    )
    torch = importlib.util.find_spec("torch") and __import__("importlib.metadata", fromlist=["version"]).version("torch")
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "threads": int(THREADS),
        "python": platform.python_version(),
        "numpy": numpy.__version__,
        "torch": torch,
        "blas": numpy.show_config(mode="dicts")["Build Dependencies"]["blas"]["name"],
    }


if __name__ == "__main__":
    main()
