"""The table of Nielsen's book on real MNIST: seven networks with his settings, several seeds each, beside his figures.

python examples/book_table.py --data FOLDER           all rows: 28 runs, about five minutes on two cores
python examples/book_table.py --rows Q30 C30          some rows; --seeds N and --epochs N change how much is run
python examples/book_table.py --quick                 2,000 training images, 2 epochs, 1 seed: whether it works, no more
python examples/book_table.py --json figures.json     every accuracy of every epoch, and the output neurons of row Q100

FOLDER (or XPNET_DATA, or the cache) holds MNIST's four IDX files; --download fetches them. Batch 10, 50,000 training images,
pixels in [0, 1], weights and biases from N(0, 1); a run's figure is its best epoch on the 10,000 test images, as in the book.
"""

import argparse
import dataclasses
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from concurrent.futures import ProcessPoolExecutor, as_completed
from pathlib import Path
from typing import NamedTuple

import numpy as np
import threadpoolctl
from tqdm import tqdm

import xpnet as xn


class Row(NamedTuple):
    """Settings of the book, its figure in per cent, the figure that plain NumPy in float64 gave this project before."""

    hidden: int
    cost: str
    eta: float
    lmbda: float
    epochs: int
    seeds: int
    book: float
    before: str


ROWS = {
    "Q30": Row(30, "quadratic", 3.0, 0, 30, 3, 95.42, "95.1"),
    "Q100": Row(100, "quadratic", 3.0, 0, 30, 10, 96.59, "87.8"),
    "C30": Row(30, "cross-entropy", 0.5, 0, 30, 3, 95.49, "95.4"),
    "C100": Row(100, "cross-entropy", 0.5, 0, 30, 3, 96.82, "96.8"),
    "R30": Row(30, "cross-entropy", 0.5, 5, 30, 3, 96.49, "96.4"),
    "R100": Row(100, "cross-entropy", 0.5, 5, 30, 3, 97.92, "97.8"),
    "T100": Row(100, "cross-entropy", 0.1, 5, 60, 3, 98.04, "97.9"),
}
SILENT = 0.01  # an output neuron whose mean activation on the images of its own digit is below this has not learnt it
WELL = 96.0  # per cent: a run of Q100 that reached this has not collapsed


class CrossEntropyCost(xn.SigmoidCrossEntropy):
    """The book's cost: the sum over the outputs, of which xpnet's loss takes the mean; both average over the rows."""

    def compute(self, y, targets, step, weights, count):
        value, dy = super().compute(y, targets, step, weights, count)
        value *= y.shape[1]
        dy *= y.shape[1]
        return value, dy


def trainer_for(row, n, device, seed, **options):
    """The row's network, cost and step. ``l2`` adds ``lambda / n * w`` to the gradients of the weights, not of the biases."""
    start = {"init": xn.initializers.normal(), "bias_init": xn.initializers.normal()}
    quadratic = row.cost == "quadratic"  # the other cost contains the last sigmoid
    net = xn.Sequential(xn.Affine(row.hidden, **start), xn.Sigmoid(), xn.Affine(10, **start), *[xn.Sigmoid()] * quadratic)
    loss = xn.HalfSquaredError() if quadratic else CrossEntropyCost()
    return xn.Trainer(net, loss=loss, optimizer=xn.SGD(row.eta, l2=row.lmbda / n), device=device, seed=seed, **options)


def output_neurons(row, outputs, labels):
    """What each output neuron does on the images of its own digit: means of its activation, slope and error sent back."""
    found = []
    for digit in range(10):
        own = outputs[labels == digit].astype(np.float64)
        a = own[:, digit] if row.cost == "quadratic" else 1 / (1 + np.exp(-own[:, digit]))
        slope, right = a * (1 - a), own.argmax(axis=1) == digit  # slope: sigma'(z)
        numbers = {"activation": a, "slope": slope, "quadratic": (1 - a) * slope, "cross_entropy": 1 - a, "recognised": right}
        found.append({"digit": digit, **{name: float(values.mean()) for name, values in numbers.items()}})
    return found


def overlap(net, x):
    """The mean of h . h' over pairs of images, h their hidden activations: how far one image's step moves another's z."""
    hidden = net.parameters.snapshot()
    h = 1 / (1 + np.exp(-(x @ hidden["0.W"] + hidden["0.b"]).astype(np.float64)))
    return float(np.square(h.mean(axis=0)).sum())


def run(name, seed, data, device="cpu", epochs=None):
    """Train one network; its test accuracy after every epoch, its output neurons at the start and after every epoch."""
    row, began, accuracy, neurons = ROWS[name], time.perf_counter(), [], []

    def look(trainer, record):
        outputs = trainer.predict(data.x_test)
        accuracy.append(100 * float((outputs.argmax(axis=1) == data.y_test).mean()))
        neurons.append(output_neurons(row, outputs, data.y_test))

    trainer = trainer_for(row, len(data.x_train), device, seed, callbacks=[look]).build(data.x_train.shape[1:])
    look(trainer, None)
    h_h = overlap(trainer.net, data.x_test)
    targets = xn.datasets.one_hot(data.y_train, 10)
    trainer.fit(data.x_train, targets, epochs=epochs or row.epochs, batch_size=10, progress=False)
    return {
        "row": name,
        "seed": seed,
        "best": max(accuracy[1:]),
        "best_epoch": int(np.argmax(accuracy[1:])) + 1,
        "accuracy": accuracy[1:],
        "overlap": h_h,
        "neurons": {"start": neurons[0], "first": neurons[1], "last": neurons[-1]},
        "seconds": time.perf_counter() - began,
    }


def silent(run, when="last"):
    """The digits whose output neurons stay near 0 on images of their own."""
    return [n["digit"] for n in run["neurons"][when] if n["activation"] < SILENT]


def mnist(folder, images):
    """MNIST with the first ``images`` training rows only: 50,000 in the book."""
    data = xn.datasets.mnist(folder)
    return dataclasses.replace(data, x_train=data.x_train[:images], y_train=data.y_train[:images])


def begin_worker(folder, images):
    """In each process, once: one BLAS thread, and the data."""
    global DATA
    threadpoolctl.threadpool_limits(1)
    tqdm.set_lock(threading.RLock())  # its usual lock is a semaphore of the system, which an ended process leaves behind
    DATA = mnist(folder, images)


def run_in_worker(name, seed, device, epochs):
    return run(name, seed, DATA, device, epochs)


def run_all(tasks, folder, images, device, epochs, workers):
    """Every (row, seed) in processes of their own, longest first; a line on stderr for each that has ended."""
    tasks = sorted(tasks, key=lambda task: ROWS[task[0]].epochs * ROWS[task[0]].hidden, reverse=True)
    context, found = multiprocessing.get_context("spawn"), []
    pool = ProcessPoolExecutor(workers, context, begin_worker, (folder, images))
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)  # workers inherit this: Ctrl-C is for the parent, which ends them
    futures = [pool.submit(run_in_worker, *task, device, epochs) for task in tasks]
    try:
        signal.signal(signal.SIGINT, usual)
        for future in as_completed(futures):
            found.append(future.result())
            text = "{row} seed {seed}: best {best:.2f} % in epoch {best_epoch}, {seconds:.0f} s".format(**found[-1])
            print(f"[{len(found)}/{len(tasks)}] {text}", file=sys.stderr, flush=True)
    except BaseException:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)
    return sorted(found, key=lambda r: (list(ROWS).index(r["row"]), r["seed"]))


def print_table(runs):
    print("row    network     cost           eta  lambda  epochs  seeds   mean  lowest  highest   book    diff   seen  silent")
    for name in dict.fromkeys(r["row"] for r in runs):
        row, mine = ROWS[name], [r for r in runs if r["row"] == name]
        best, epochs = [r["best"] for r in mine], len(mine[0]["accuracy"])
        print(
            f"{name:5}  784-{f'{row.hidden}-10':6}  {row.cost:13}  {row.eta:3.1f}  {row.lmbda:6}  {epochs:6}  "
            f"{len(best):5}  {np.mean(best):5.2f}  {min(best):6.2f}  {max(best):7.2f}  {row.book:5.2f}  "
            f"{np.mean(best) - row.book:+6.2f}  {row.before:>5}  {sum(len(silent(r)) for r in mine):6}"
        )
    print(
        "Per cent of the test images, each run by its best epoch; diff: mean less book; seen: by plain NumPy before.\n"
        f"silent: output neurons of all runs whose mean activation on images of their own digit is below {SILENT} at the end."
    )


def print_collapse(runs):
    """Row Q100's distribution, and why some runs collapse: output neurons that fell silent at once and get no gradient."""
    mine = [r for r in runs if r["row"] == "Q100"]
    print(f"\nQ100, seed by seed: {sum(r['best'] > WELL for r in mine)} of {len(mine)} above {WELL:.0f} %")
    print("seed   best  silent at the start   after epoch 1   at the end  (the digits of these output neurons)")
    for r in mine:
        start, first, last = ("".join(map(str, silent(r, when))) or "none" for when in ("start", "first", "last"))
        print(f"{r['seed']:4}  {r['best']:5.2f}  {start:>19}  {first:>14}  {last:>11}")
    print("A neuron that is silent at the end costs the images of its digit, about a tenth of all; the others woke in time.")
    print("\nEvery neuron that is silent at the end, and the mean of all others; means over the test images of its own digit:")
    print("seed  digit  recognised  activation: start  epoch 1      end   sigma'  delta, quadratic  delta if cross-entropy")
    for r in mine:
        for digit in silent(r):
            print(f"{r['seed']:4}  {digit:5}  {neuron(*(r['neurons'][when][digit] for when in r['neurons']))}")
    others = [(r, digit) for r in mine for digit in range(10) if digit not in silent(r)]
    if others:
        whens = [means([r["neurons"][when][digit] for r, digit in others]) for when in ("start", "first", "last")]
        print(f" all  other  {neuron(*whens)}")
    print(
        "\nThe reason. An output ought to be 0 for nine images of ten, so that the first steps push all outputs down. A step\n"
        "moves an output's z by eta times its delta times h . h', the product of two images' hidden activations, which grows\n"
        "with the number of hidden neurons; its mean at the start is"
    )
    for name in ("Q30", "Q100"):
        if found := [r["overlap"] for r in runs if r["row"] == name]:
            print(f"  {np.mean(found):.1f} with {ROWS[name].hidden} hidden neurons ({min(found):.1f} to {max(found):.1f})")
    print(
        "Times eta 3 that throws some z so far below 0 that sigma'(z) is all but 0. The quadratic cost sends back\n"
        "(a - y) sigma'(z): wrong by nearly 1, such a neuron is told nothing. Cross-entropy sends a - y: the last column of\n"
        "its rows in the table above."
    )


def means(neurons):
    return {key: float(np.mean([n[key] for n in neurons])) for key in neurons[0]}


def neuron(start, first, last):
    activations = "  ".join(f"{n['activation']:7.1e}" for n in (start, first, last))
    return (
        f"{100 * last['recognised']:8.1f} %  {activations:>35}  {last['slope']:7.1e}  {last['quadratic']:16.1e}  "
        f"{last['cross_entropy']:22.2f}"
    )


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's IDX files; default: XPNET_DATA")
    parser.add_argument("--download", action="store_true", help="fetch MNIST where it is missing")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=" ".join(ROWS))
    parser.add_argument("--seeds", type=int, metavar="N", help="default: 3, and 10 for Q100")
    parser.add_argument("--epochs", type=int, metavar="N", help="default: the book's")
    parser.add_argument("--workers", type=int, metavar="N", default=min(os.cpu_count() or 1, 8), help="processes at a time")
    parser.add_argument("--quick", action="store_true", help="2,000 training images, 2 epochs, 1 seed")
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    for name in ("seeds", "epochs", "workers"):
        if getattr(options, name) is not None and getattr(options, name) < 1:
            parser.error(f"--{name} {getattr(options, name)}: a whole number from 1 on is needed")
    if options.json and (options.json.is_dir() or not options.json.absolute().parent.is_dir()):
        parser.error(f"--json {options.json}: a file in a folder that exists is needed")
    try:
        xn.device(options.device)
        xn.datasets.mnist(options.data, download=options.download)  # before any process is started
    except (OSError, ValueError, ImportError, xn.DeviceUnavailable) as error:
        parser.exit(1, f"book_table: {error}\n")
    return options


def report(options):
    began = time.perf_counter()
    epochs, seeds, images = (2, 1, 2_000) if options.quick else (None, None, 50_000)
    epochs, seeds = options.epochs or epochs, options.seeds or seeds
    tasks = [(name, seed) for name in dict.fromkeys(options.rows) for seed in range(seeds or ROWS[name].seeds)]
    print(f"{len(tasks)} runs on {images:,} training images, {options.workers} at a time, on {options.device}", file=sys.stderr)
    runs = run_all(tasks, options.data, images, options.device, epochs, options.workers)
    print_table(runs)
    if "Q100" in options.rows:
        print_collapse(runs)
    seconds = time.perf_counter() - began
    print(f"\n{len(runs)} runs, {options.workers} at a time: {seconds:.0f} s")
    if options.json:
        found = {"images": images, "seconds": seconds, "rows": {k: ROWS[k]._asdict() for k in options.rows}, "runs": runs}
        options.json.write_text(json.dumps(found, indent=1))


def main():
    try:
        report(parsed())
    except KeyboardInterrupt:
        sys.exit("book_table: interrupted, nothing is left running")


if __name__ == "__main__":
    main()
