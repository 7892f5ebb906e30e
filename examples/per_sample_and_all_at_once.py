"""Backpropagation one sample at a time and all at once: three forms of one program, equal to rounding, timed.

python examples/per_sample_and_all_at_once.py                        gradients, learning curve, speed on this machine
python examples/per_sample_and_all_at_once.py --device sim           xpnet's form on the simulated GPU (cuda: a real one)
python examples/per_sample_and_all_at_once.py --picture speed.png    the speed-up against the size of the minibatch
python examples/per_sample_and_all_at_once.py --quick                fewer epochs and timings

The book's program (xpnet/book.py) loops over the samples of a minibatch. ``MatrixNetwork`` below is the answer to the
exercise of rewriting it: the minibatch is one matrix. The third form is xpnet's network. All three compute in float64, and
are timed on one thread, since products as small as these gain little from more.
"""

import argparse
import time

import numpy as np
import threadpoolctl

import xpnet as xn
from xpnet.book import Network, sigmoid
from xpnet.extras import load

FORMS = ("book", "matrix", "xpnet", "xpnet float32")


class MatrixNetwork:
    """The book's network with the minibatch as one matrix, a column for each sample: x (n_in, N), y (n_out, N)."""

    def __init__(self, network):
        self.weights, self.biases = list(network.weights), list(network.biases)

    def feedforward(self, a):
        for w, b in zip(self.weights, self.biases, strict=True):
            a = sigmoid(w @ a + b)  # the column b is added to every column
        return a

    def backprop(self, x, y):
        """The gradients of the costs' sum over the minibatch: (those by the biases, those by the weights)."""
        activations = [x]
        for w, b in zip(self.weights, self.biases, strict=True):
            activations.append(sigmoid(w @ activations[-1] + b))
        a = activations.pop()
        delta = (a - y) * a * (1 - a)
        nabla_b, nabla_w = [], []
        for layer in reversed(range(len(self.weights))):
            before = activations[layer]
            nabla_b.insert(0, delta.sum(axis=1, keepdims=True))
            nabla_w.insert(0, delta @ before.T)  # the product adds up the samples
            if layer:
                delta = (self.weights[layer].T @ delta) * before * (1 - before)
        return nabla_b, nabla_w

    def update_mini_batch(self, x, y, eta):
        nabla_b, nabla_w = self.backprop(x, y)
        self.weights = [w - eta / x.shape[1] * nw for w, nw in zip(self.weights, nabla_w, strict=True)]
        self.biases = [b - eta / x.shape[1] * nb for b, nb in zip(self.biases, nabla_b, strict=True)]


def xpnet_trainer(network, eta, device, dtype="float64"):
    """xpnet's form of the book's network, from the same weights: rows are samples, so that they are transposed."""
    layers = [layer for n in network.sizes[1:] for layer in (xn.Affine(n), xn.Sigmoid())]
    net, rule = xn.Sequential(*layers), xn.SGD(eta)
    trainer = xn.Trainer(net, loss=xn.HalfSquaredError(), optimizer=rule, device=device, seed=0, dtype=dtype)
    trainer.build(network.sizes[0])
    arrays = [a for w, b in zip(network.weights, network.biases, strict=True) for a in (w.T, b[:, 0])]
    net.parameters.restore(dict(zip(net.parameters, arrays, strict=True)))
    return trainer


def pairs(x, y):
    """Rows as the book has its minibatches: a list of pairs of columns."""
    return [(a[:, None], b[:, None]) for a, b in zip(x, y, strict=True)]


def digits():
    data = xn.datasets.digits()
    return data.x_train.astype("float64"), xn.datasets.one_hot(data.y_train, 10, "float64"), data.x_test, data.y_test


def gradients(device, n=10):
    """Mean gradients of one minibatch by every form: W1, b1, W2, b2 in the book's shapes."""
    x, y = (a[:n] for a in digits()[:2])
    network = Network([64, 30, 10], seed=0)
    book = [network.backprop(*sample) for sample in pairs(x, y)]  # a pair (nabla_b, nabla_w) for each sample
    matrix = [MatrixNetwork(network).backprop(x.T, y.T)]  # a pair for all
    found = {}
    for form, found_by in (("book", book), ("matrix", matrix)):
        found[form] = [sum(nabla[kind][layer] for nabla in found_by) / n for layer in (0, 1) for kind in (1, 0)]
    for form, per_sample in (("xpnet", False), ("xpnet, per_sample=True", True)):
        trainer = xpnet_trainer(network, 3.0, device)
        where, parameters = trainer.device, trainer.net.parameters
        trainer.step(where.put(x), where.put(y), per_sample=per_sample)
        grads = (where.get(p.grad) for p in parameters.values())
        found[form] = [g.T if g.ndim == 2 else g[:, None] for g in grads]
    return found


def differences(found):
    """Largest difference from the book's gradient in each array, relative to its largest element, form by form."""
    return {
        form: [float(abs(g - b).max() / abs(b).max()) for g, b in zip(grads, found["book"], strict=True)]
        for form, grads in found.items()
        if form != "book"
    }


def curves(device, epochs, eta=3.0):
    """Right answers on the 360 test digits after every epoch, by form: 64-30-10, batch 10, one order of samples."""
    x, y, x_test, y_test = digits()
    network = Network([64, 30, 10], seed=0)
    matrix, trainer = MatrixNetwork(network), xpnet_trainer(network, eta, device)
    samples, right = pairs(x, y), {form: [] for form in FORMS[:3]}
    for epoch in range(epochs):
        for rows in xn.minibatches(len(x), 10, seed=0, epoch=epoch):
            network.update_mini_batch([samples[i] for i in rows], eta)
            matrix.update_mini_batch(x[rows].T, y[rows].T, eta)
        trainer.fit(x, y, epochs=1, batch_size=10, progress=False)  # draws the same order from its seed 0
        answers = (network.feedforward(x_test.T).T, matrix.feedforward(x_test.T).T, trainer.predict(x_test))
        for form, outputs in zip(right, answers, strict=True):
            right[form].append(int((outputs.argmax(axis=1) == y_test).sum()))
    return right


def seconds_per_step(device, n, budget):
    """Median time of one update of 784-30-10 with ``n`` samples, by form; the forms take turns until the budget is used."""
    rng, network = np.random.default_rng(0), Network([784, 30, 10], seed=0)
    x, y = rng.random((n, 784)), np.eye(10)[rng.integers(0, 10, n)]
    samples, matrix = pairs(x, y), MatrixNetwork(network)
    steps = [lambda: network.update_mini_batch(samples, 3.0), lambda: matrix.update_mini_batch(x.T, y.T, 3.0)]
    steps += [step_of(xpnet_trainer(network, 3.0, device, dtype), x, y) for dtype in ("float64", "float32")]
    times, began = [[] for _ in FORMS], time.perf_counter()
    while len(times[0]) < 3 or time.perf_counter() - began < budget:
        for step, mine in zip(steps, times, strict=True):
            start = time.perf_counter()
            step()
            mine.append(time.perf_counter() - start)
    return {form: float(np.median(mine)) for form, mine in zip(FORMS, times, strict=True)}


def step_of(trainer, x, y):
    """A function that makes one step and waits for the device, with the data there already."""
    device, dtype = trainer.device, trainer.dtype
    x, y = device.put(x, dtype=dtype), device.put(y, dtype=dtype)

    def step():
        trainer.step(x, y)
        device.synchronize()

    return step


def draw(path, times):
    """Speed-up against batch size, one line a form, both axes logarithmic."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    for form, marker in zip(FORMS[1:], "osD", strict=True):
        axes.plot(list(times), [t["book"] / t[form] for t in times.values()], marker=marker, label=form)
    axes.axhline(1, color="grey", linewidth=1)
    axes.annotate("the book's program: 1", (max(times), 1), (0, 4), textcoords="offset points", ha="right", color="grey")
    axes.set(xscale="log", yscale="log", xlabel="samples in a minibatch", ylabel="times as fast as the book's program")
    axes.set_title("A training step of 784-30-10: one sample at a time against all at once")
    axes.set_xticks(list(times), [f"{n:,}" for n in times])
    axes.yaxis.set_major_formatter("{x:g}x")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=130)


def print_speed(times):
    print("\n3. Time per sample of one update (median), 784-30-10, one thread, random data, and times as fast as the book's")
    print("batch " + "".join(f"{form:>24}" for form in FORMS))
    for n, t in times.items():
        cells = [f"{1e6 * t[form] / n:10.2f} us  {t['book'] / t[form]:8.1f}x" for form in FORMS]
        print(f"{n:5} " + "".join(f"{cell:>24}" for cell in cells))
    print("A loop pays NumPy's price per call for every sample, a matrix once a minibatch: the larger the batch, the greater")
    print("the gain, until the products themselves take the time. float32 moves half the bytes. The matrix form makes the")
    print("update and no more; xpnet's step computes the loss and checks its arguments too, and has samples as rows, not")
    print("columns, in products that a BLAS may take at another speed.")
    print("\nHow fast on this machine: an epoch of MNIST (50,000 images, batch 10) would take")
    for form in FORMS:
        print(f"  {form:14} {5000 * times[10][form]:7.2f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--picture", metavar="FILE.png")
    parser.add_argument("--quick", action="store_true", help="2 epochs, short timings")
    options = parser.parse_args()
    if options.picture:
        load("matplotlib.figure", "plot")  # where it is missing, that is said before the work

    print("1. Gradients of one minibatch of 10 digits: largest difference from the book's, relative to the largest element")
    print(f"{'form':24}" + "".join(f"{name:>10}" for name in ("W1", "b1", "W2", "b2")))
    for form, worst in differences(gradients(options.device)).items():
        print(f"{form:24}" + "".join(f"{d:10.1e}" for d in worst))
    print("All of them are rounding: float64 carries 16 digits.")

    print("\n2. The same curve from one seed: right of 360 test digits, 64-30-10, batch 10, eta 3, the same order of samples")
    print("epoch" + "".join(f"{form:>8}" for form in FORMS[:3]))
    for epoch, right in enumerate(zip(*curves(options.device, 2 if options.quick else 8).values(), strict=True), 1):
        print(f"{epoch:5}" + "".join(f"{r:8}" for r in right))

    batches, budget = ((1, 10, 100), 0.1) if options.quick else ((1, 10, 100, 1000), 3.0)
    with threadpoolctl.threadpool_limits(1):
        times = {n: seconds_per_step(options.device, n, budget) for n in batches}
    print_speed(times)
    if options.picture:
        draw(options.picture, times)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
