"""The table of Nielsen's book on real MNIST: seven networks with his settings, several seeds each, beside his figures.

python examples/book_table.py --data FOLDER           all rows, four and a half minutes on two cores
python examples/book_table.py --rows Q30 C30          some rows
python examples/book_table.py --quick                 2,000 training images, 2 epochs, 1 seed: whether it works, no more

FOLDER (or XPNET_DATA, or the cache) holds MNIST's four IDX files; --download fetches them. Batch 10, 50,000 training images,
pixels in [0, 1], weights and biases from N(0, 1); a run's figure is its best epoch on the 10,000 test images, as in the book.
"""

import argparse
import dataclasses
import multiprocessing
import os
import signal
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np
import threadpoolctl

import xpnet as xn


class Row(NamedTuple):
    """Settings of the book, its figure in per cent, and the standard deviation of the output layer's first weights."""

    hidden: int
    cost: str
    eta: float
    lmbda: float
    epochs: int
    seeds: int
    book: float
    std: float = 1.0


ROWS = {
    "Q30": Row(30, "quadratic", 3.0, 0, 30, 3, 95.42),
    "Q100": Row(100, "quadratic", 3.0, 0, 30, 10, 96.59),
    "C30": Row(30, "cross-entropy", 0.5, 0, 30, 3, 95.49),
    "C100": Row(100, "cross-entropy", 0.5, 0, 30, 3, 96.82),
    "R30": Row(30, "cross-entropy", 0.5, 5, 30, 3, 96.49),
    "R100": Row(100, "cross-entropy", 0.5, 5, 30, 3, 97.92),
    "T100": Row(100, "cross-entropy", 0.1, 5, 60, 3, 98.04),
}
Q30, Q100 = (ROWS[name]._replace(epochs=2, seeds=5) for name in ("Q30", "Q100"))
WHY = {  # is it the length of the steps, or where the outputs begin?
    "Q30 as it is": Q30,
    "Q100 as it is": Q100,
    "Q100, eta 0.3": Q100._replace(eta=0.3),
    "Q100, output weights x 0.55": Q100._replace(std=0.55),
    "Q30, output weights x 1.83": Q30._replace(std=1.83),
}
SILENT = 0.01  # an output neuron whose mean activation on the images of its own digit is below this has not learnt it


class CrossEntropyCost(xn.SigmoidCrossEntropy):
    """The book's cost: the sum over the outputs, of which xpnet's loss takes the mean; both average over the rows."""

    def compute(self, y, targets, step, weights, count):
        value, dy = super().compute(y, targets, step, weights, count)
        return value * y.shape[1], dy * y.shape[1]


def trainer_for(row, n, device, seed, **options):
    """The row's network, cost and step. ``l2`` adds ``lambda / n * w`` to the gradients of the weights, not of the biases."""
    normal, quadratic = xn.initializers.normal, row.cost == "quadratic"  # the other cost contains the last sigmoid
    net = xn.Sequential(
        xn.Affine(row.hidden, init=normal(), bias_init=normal()),
        xn.Sigmoid(),
        xn.Affine(10, init=normal(row.std), bias_init=normal()),
        *[xn.Sigmoid()] * quadratic,
    )
    loss = xn.HalfSquaredError() if quadratic else CrossEntropyCost()
    return xn.Trainer(net, loss=loss, optimizer=xn.SGD(row.eta, l2=row.lmbda / n), device=device, seed=seed, **options)


class Run(NamedTuple):
    """What one training gave."""

    accuracy: list  # per cent of the test images, epoch by epoch
    own: list  # at the start and epoch by epoch: the mean activation of each output neuron on the images of its own digit
    spread: float  # the standard deviation of the output neurons' z at the start

    def silent(self, epoch=-1):
        """The digits whose output neurons stay near 0 on images of their own."""
        return [digit for digit, activation in enumerate(self.own[epoch]) if activation < SILENT]


def run(row, seed, data, device="cpu"):
    """Train one network, and look at it before and after every epoch."""
    accuracy, own = [], []

    def look(trainer, record):
        outputs = trainer.predict(data.x_test).astype(np.float64)
        accuracy.append(100 * float((outputs.argmax(axis=1) == data.y_test).mean()))
        a = outputs if row.cost == "quadratic" else sigmoid(outputs)
        own.append([float(a[data.y_test == digit, digit].mean()) for digit in range(10)])

    trainer = trainer_for(row, len(data.x_train), device, seed, callbacks=[look]).build((784,))
    look(trainer, None)
    start = trainer.net.parameters.snapshot()
    z = sigmoid(data.x_test @ start["0.W"] + start["0.b"]) @ start["2.W"] + start["2.b"]
    targets = xn.datasets.one_hot(data.y_train, 10)
    trainer.fit(data.x_train, targets, epochs=row.epochs, batch_size=10, progress=False)
    return Run(accuracy[1:], own, float(z.std()))


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def begin_worker(folder, images):
    """In each process, once: one BLAS thread, and the data with the first ``images`` training rows, 50,000 in the book."""
    global DATA
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends it at once and in silence
    threadpoolctl.threadpool_limits(1)
    data = xn.datasets.mnist(folder)
    DATA = dataclasses.replace(data, x_train=data.x_train[:images], y_train=data.y_train[:images])


def run_in_worker(row, seed, device):
    return run(row, seed, DATA, device)


def run_all(rows, options):
    """name -> a Run for each seed; in a process for each core, the longest first; a line on stderr for each."""
    tasks = [(name, row, seed) for name, row in rows.items() for seed in range(row.seeds)]
    tasks.sort(key=lambda task: task[1].epochs * task[1].hidden, reverse=True)
    names, task_rows, seeds = zip(*tasks, strict=True)
    begin = begin_worker, (options.data, 2_000 if options.quick else 50_000)
    found = {name: [] for name in rows}
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn"), *begin) as pool:
        runs = pool.map(run_in_worker, task_rows, seeds, [options.device] * len(tasks))
        for k, (name, seed, one) in enumerate(zip(names, seeds, runs, strict=True), 1):
            found[name].append(one)
            print(f"[{k}/{len(tasks)}] {name} seed {seed}: best {max(one.accuracy):.2f} %", file=sys.stderr, flush=True)
    return found


def print_table(found):
    print("row    network     cost           eta  lambda  epochs  seeds   mean  lowest  highest   book    diff  silent")
    for name, runs in found.items():
        row, best = ROWS[name], [max(r.accuracy) for r in runs]
        print(
            f"{name:5}  784-{f'{row.hidden}-10':6}  {row.cost:13}  {row.eta:3.1f}  {row.lmbda:6}  {len(runs[0].accuracy):6}  "
            f"{len(runs):5}  {np.mean(best):5.2f}  {min(best):6.2f}  {max(best):7.2f}  {row.book:5.2f}  "
            f"{np.mean(best) - row.book:+6.2f}  {sum(len(r.silent()) for r in runs):6}"
        )
    print(
        "Per cent of the test images, each run by its best epoch; diff: mean less book.\n"
        f"silent: output neurons of all runs whose mean activation on images of their own digit is below {SILENT} at the end."
    )


def print_collapse(runs):
    """Row Q100's distribution, and which output neurons its bad runs have lost."""
    print(f"\nQ100, seed by seed: {sum(max(r.accuracy) > 96 for r in runs)} of {len(runs)} above 96 %")
    print("seed   best  silent after epoch 1   at the end  (the digits of these output neurons; their mean activation)")
    for seed, r in enumerate(runs):
        first, last = ("".join(map(str, r.silent(epoch))) or "none" for epoch in (1, -1))
        activations = ", ".join(f"{r.own[-1][digit]:.0e}" for digit in r.silent())
        print(f"{seed:4}  {max(r.accuracy):5.2f}  {first:>20}  {last:>11}  {activations}")
    print("A neuron that is silent at the end costs the images of its digit, about a tenth of all; the others woke in time.")


def print_why(found):
    print(
        "\nThe reason. An output ought to be 0 for nine images of ten, so that the first steps push it down for all images.\n"
        "The quadratic cost sends back (a - y) sigma'(z), for an image of its own digit less than a itself: once a is all but\n"
        "0 the neuron is told nothing, wrong as it is. Cross-entropy sends a - y. And with 100 hidden neurons, all weights\n"
        "from N(0, 1), the outputs' z begin spread farther from 0 than with 30. That is the cause, not the length of the steps:"
        "\n\nafter two epochs                spread of z at the start  silent output neurons a run"
    )
    for name, runs in found.items():
        print(f"{name:30}  {np.mean([r.spread for r in runs]):24.1f}  {np.mean([len(r.silent()) for r in runs]):27.1f}")
    print("The cure is the book's own, in chapter 3: weights from N(0, 1/n_in).")


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's IDX files; default: XPNET_DATA")
    parser.add_argument("--download", action="store_true", help="fetch MNIST where it is missing")
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--rows", nargs="+", choices=ROWS, default=list(ROWS), metavar="ROW", help=" ".join(ROWS))
    parser.add_argument("--quick", action="store_true", help="2,000 training images, 2 epochs, 1 seed")
    options = parser.parse_args()
    try:
        xn.device(options.device)
        xn.datasets.mnist(options.data, download=options.download)  # before any process is started
    except (OSError, ValueError, ImportError, xn.DeviceUnavailable) as error:
        parser.exit(1, f"book_table: {error}\n")
    return options


def main():
    options, began = parsed(), time.perf_counter()
    rows = {name: ROWS[name] for name in options.rows} | (WHY if "Q100" in options.rows else {})
    if options.quick:
        rows = {name: row._replace(epochs=2, seeds=1) for name, row in rows.items()}
    try:
        found = run_all(rows, options)
    except KeyboardInterrupt:
        sys.exit("book_table: interrupted")
    print_table({name: found[name] for name in options.rows})
    if "Q100" in rows:
        print_collapse(found["Q100"])
        print_why({name: found[name] for name in WHY})
    print(f"\n{sum(map(len, found.values()))} runs: {time.perf_counter() - began:.0f} s")


if __name__ == "__main__":
    main()
