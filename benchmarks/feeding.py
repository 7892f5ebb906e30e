"""Training on a memory-mapped file larger than the budget, beside training on the same rows in memory: ratios of one run.

    python benchmarks/feeding.py [--cases a b d] [--blocks 5] [--rows 30000] [--out result.json]
    python benchmarks/feeding.py --memory

Each way of feeding runs in processes of its own, which take turns, so that other load on the machine hits all of them. A
round is an epoch of ``fit``, shuffled, from a file that the page cache holds; the first one does not count, nor does the pass
over a file of floats in which ``fit`` looks for NaN before it begins. What is compared trains to the same weights, bit for
bit, or it is refused. With --memory it is the largest anonymous memory (what is not a page of a file) during the training,
less that before it.
"""

import argparse
import datetime
import functools
import hashlib
import re
import sys
import tempfile
import time
from pathlib import Path

import processes
from cases import CASES
from worker import THREADS

BLOCKS, ROUNDS = 5, 3
BUDGET = 32 << 20
WAYS = {"resident": "float32", "streamed": "float32", "streamed and converted": "uint8"}


def write_rows(folder, n):
    """The same random rows as uint8 and as float32, a part at a time."""
    import numpy as np

    rng, width = np.random.default_rng(0), 28 * 28
    files = {d: np.lib.format.open_memmap(folder / f"{d}.npy", "w+", d, (n, width)) for d in ("uint8", "float32")}
    for start in range(0, n, 1000):
        part = rng.integers(0, 256, (min(1000, n - start), width), np.uint8)
        for rows in files.values():
            rows[start : start + 1000] = part
    for rows in files.values():
        rows.flush()


def fit_of(case, way, folder):
    """A function that trains for one epoch and returns its seconds, the steps of an epoch, and the network."""
    import in_xpnet
    import numpy as np

    from xpnet.training import feed

    feed.RESIDENT_BYTES = BUDGET
    trainer = in_xpnet.made(case, "cpu")
    x = np.load(folder / f"{WAYS[way]}.npy", mmap_mode=None if way == "resident" else "r")
    y = np.random.default_rng(1).integers(0, 10, len(x))
    if case.loss == "half-squared-error":
        y = np.eye(10, dtype=np.float32)[y]
    trainer.optimizer.learning_rate = 1e-6  # the rows are not scaled
    x = x.reshape(len(x), *case.shape)
    steps = -(-len(x) // case.batch)

    def epoch(**options):
        return trainer.fit(x, y, batch_size=case.batch, progress=False, **options)["seconds"][-1]

    return epoch, steps, trainer


def speed(name, way, folder):
    """In a process of its own: seconds of a step, epoch by epoch."""
    epoch, steps, trainer = fit_of(CASES[name], way, Path(folder))
    seconds = [epoch() / steps for _ in range(1 + ROUNDS)][1:]
    weights = hashlib.sha256(trainer.net.parameters.value.tobytes()).hexdigest()
    return {"seconds": seconds, "steps": steps, "weights": weights, "threads": {"xpnet's workers": trainer.device.threads}}


def memory(name, way, folder):
    """In a process of its own: bytes."""
    import xpnet as xn

    class Largest(xn.Callback):
        bytes = 0

        def end_step(self, trainer, batch, loss):
            self.bytes = max(self.bytes, anonymous())

    before = anonymous()
    epoch, _, trainer = fit_of(CASES[name], way, Path(folder))
    trainer.callbacks = (largest := Largest(),)
    epoch()
    return {"bytes": largest.bytes - before}


def anonymous():
    return int(re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def result(case, way, answers, right):
    from xpnet.bench import results

    found = {a["weights"] for a in answers}
    check = results.Check("weights that are not those of resident training", float(found != right), 0.0)
    form = results.Case("feeding", case.text, f"{way} ({WAYS[way]})", "cpu", case.batch, "float32", THREADS)
    seconds = [s for a in answers for s in a["seconds"]]
    return results.Result(form, seconds, answers[0]["steps"], check, THREADS, synchronised=True)


def asked(what, *arguments):
    found = processes.run("feeding", what, *map(str, arguments))
    if "refused" in found:
        raise SystemExit(f"refused: {found['refused']}")
    return found


def compare(case, folder, blocks):
    """Results of the case by way; ends where a process was refused."""
    answers = {way: [] for way in WAYS}
    for _ in range(blocks):
        for way, known in answers.items():
            known.append(asked("speed", case.name, way, folder))
    right = {a["weights"] for a in answers["resident"]}
    return {way: result(case, way, known, right) for way, known in answers.items()}


def tell(case, found):
    print(case)
    for way, r in found.items():
        low, high = (1e6 * q for q in r.quartiles)
        times = f"{r.median * 1e6:9.1f} us a step   quartiles {low:.1f} .. {high:.1f}   least {min(r.seconds) * 1e6:.1f}"
        resident = found["resident"]
        share, least = resident.median / r.median, min(resident.seconds) / min(r.seconds)
        right = "" if r.check.ok else "   REFUSED: other weights"
        print(f"  {way:23s} {times}   speed {share:.2f} of resident, by the least {least:.2f}{right}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=["a", "b", "d"], default=["a", "b", "d"])
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="processes of each way")
    parser.add_argument("--rows", type=int, default=30_000, help="of the file; what they take as float32 exceeds the budget")
    parser.add_argument("--memory", action="store_true", help="memory instead of speed")
    parser.add_argument("--out", help="write the times as JSON")
    options = parser.parse_args()
    if options.rows * 28 * 28 * 4 <= BUDGET:
        parser.error(f"--rows {options.rows}: they would fit the budget of {BUDGET >> 20} MiB")
    with tempfile.TemporaryDirectory() as folder:
        write_rows(Path(folder), options.rows)
        (tell_memory if options.memory else functools.partial(tell_speed, options))(options.cases, Path(folder))


def tell_memory(names, folder):
    for name in names:
        print(CASES[name])
        for way in WAYS:
            print(f"  {way:23s} {asked('memory', name, way, folder)['bytes'] / 2**20:8.1f} MiB", flush=True)


def tell_speed(options, names, folder):
    """Print, and write where a file is named; ends with an error where weights differ."""
    from xpnet.bench import machine, results

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    about = {**machine.describe(), "feeding": {"rows": options.rows, "budget": BUDGET}}
    made = results.Run(about, sys.argv, machine.revision(), 0, now, quick=options.blocks < BLOCKS)
    start = time.perf_counter()
    for name in names:
        found = compare(CASES[name], folder, options.blocks)
        tell(CASES[name], found)
        made.results += found.values()
        made.seconds = time.perf_counter() - start
        if options.out:
            results.write(Path(options.out), [made])
    if not all(r.check.ok for r in made.results):
        raise SystemExit("refused: streamed training did not give the weights of resident training")


if __name__ == "__main__":
    main()
