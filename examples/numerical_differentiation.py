"""Numerical differentiation: the same gradient as backpropagation, from forward passes alone, and what it costs.

python examples/numerical_differentiation.py                        equal gradients, the best step, the cost
python examples/numerical_differentiation.py --picture numdiff.png  error against step, time against parameters
python examples/numerical_differentiation.py --device sim --quick   on the simulated GPU (cuda: on a real one), small nets only

The central difference ``(L(w + h) - L(w - h)) / 2h`` needs two forward passes for every parameter; backpropagation finds
all of them in one forward and one backward pass, whatever their number. The first proves the second; nobody trains by it.
"""

import argparse
import time

import numpy as np

import xpnet as xn
from xpnet.extras import load

STEPS = [10.0**-k for k in range(1, 13)]
HIDDEN = 2, 8, 32, 128, 450  # 24, 90, 354, 1,410 and 4,952 parameters
BOOK = 784 * 30 + 30 + 30 * 10 + 10  # parameters of 784-30-10


class Problem:
    """A tanh network's loss on ten random rows, in float64; counts its forward passes."""

    def __init__(self, device, sizes=(8, 8, 2), rows=10):
        self.device, rng = xn.device(device), np.random.default_rng(0)
        layers = [layer for n in sizes[1:] for layer in (xn.Affine(n, init=xn.initializers.glorot_normal), xn.Tanh())]
        self.net = xn.Sequential(*layers[:-1]).build(sizes[0], device=self.device, dtype="float64")
        self.x, self.y = (self.device.put(rng.standard_normal((rows, n))) for n in (sizes[0], sizes[-1]))
        self.loss, self.forwards = xn.MeanSquaredError(), 0

    def forward(self):
        """The loss, its gradient by the outputs, and what backward needs."""
        self.forwards += 1
        step = self.net.step(training=True)
        outputs, cache = self.net.forward(self.x, step)
        return *self.loss(outputs, self.y, step), cache, step

    def value(self):
        return float(self.device.get(self.forward()[0]))

    def by_backpropagation(self):
        """All gradients, as one flat vector: one forward and one backward pass."""
        _, dy, cache, step = self.forward()
        self.net.backward(dy, cache, step)
        return self.device.get(self.net.parameters.grad)

    def numerically(self, h=1e-5, central=True):
        """The same vector: every parameter moved by h up and, for the central difference, by h down."""
        w = self.net.parameters.value  # all parameters, one flat vector on the device
        gradient = np.empty(w.size)
        start = 0.0 if central else self.value()
        for i, before in enumerate(self.device.get(w)):
            w[i] = before + h
            up = self.value()
            if central:
                w[i] = before - h
                gradient[i] = (up - self.value()) / (2 * h)
            else:
                gradient[i] = (up - start) / h
            w[i] = before
        return gradient


def relative_error(found, true):
    """The largest difference, relative to the largest element."""
    return abs(found - true).max() / abs(true).max()


def compare(device):
    """(parameter, shape, relative error) for every array of an 8-8-2 net."""
    problem = Problem(device)
    true, found, start, rows = problem.by_backpropagation(), problem.numerically(), 0, []
    for name, p in problem.net.parameters.items():
        part = slice(start, start + p.size)
        rows.append((name, p.shape, relative_error(found[part], true[part])))
        start += p.size
    return rows


def errors_by_step(device):
    """Rows (h, error of the central difference, error of the one-sided one)."""
    problem = Problem(device)
    true = problem.by_backpropagation()
    return [(h, *(relative_error(problem.numerically(h, central), true) for central in (True, False))) for h in STEPS]


def cost(device, hidden):
    """Rows (parameters, forward passes of a numerical gradient, its seconds, backpropagation's, those of a forward pass)."""
    rows = []
    for n in hidden:
        problem = Problem(device, (8, n, 2))
        problem.by_backpropagation()  # makes the buffers
        forward, backprop = seconds(problem.value), seconds(problem.by_backpropagation)
        problem.forwards, began = 0, time.perf_counter()
        problem.numerically()
        rows.append((problem.net.parameters.value.size, problem.forwards, time.perf_counter() - began, backprop, forward))
    return rows


def seconds(call, times=20):
    """The median duration of a call."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        call()
        found.append(time.perf_counter() - began)
    return float(np.median(found))


def exponent(sizes, values):
    """k of the best fit ``values ~ sizes**k``."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def picture(errors, costs, path):
    figure = load("matplotlib.figure", "plot").Figure(figsize=(8, 3.8), dpi=100, layout="constrained")
    left, right = figure.subplots(1, 2)
    h, central, one_sided = zip(*errors, strict=True)
    left.loglog(h, central, "o-", label="central")
    left.loglog(h, one_sided, "s--", label="one-sided")
    left.set(xlabel="step h", ylabel="relative error", title="Too large or too small a step")
    n, _, numerical, backprop, _ = zip(*costs, strict=True)
    right.loglog(n, numerical, "o-", label="numerical differentiation")
    right.loglog(n, backprop, "s--", label="backpropagation")
    right.set(xlabel="parameters", ylabel="seconds for one gradient", title="The cost of one gradient")
    for axes in (left, right):
        axes.grid(alpha=0.3)
        axes.legend()
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--picture", metavar="FILE.png", help="draw error and cost (needs matplotlib)")
    parser.add_argument("--quick", action="store_true", help="leave out the large nets")
    options = parser.parse_args()
    if options.picture:
        load("matplotlib.figure", "plot")  # where it is missing, that is said before the work

    print("Numerical differentiation (h = 1e-5) finds what backpropagation finds, array by array of an 8-8-2 tanh net:\n")
    for name, shape, error in compare(options.device):
        print(f"{name:5s}{shape!s:9s} relative error {error:.0e}")

    print("\nxn.gradcheck does this for any layer, network or loss, the gradient by the input included:\n")
    print(xn.gradcheck(Problem("cpu").net, 8, device=options.device))

    errors = errors_by_step(options.device)
    print("\nThe error against the step: too large a step meets the curvature, too small a one the 16 digits of a float64.\n")
    print(f"{'h':>8s}{'central':>12s}{'one-sided':>12s}")
    for row in errors:
        print("{:8.0e}{:12.1e}{:12.1e}".format(*row))
    best = [min(errors, key=lambda row: row[k])[0] for k in (1, 2)]
    print(f"Best: h = {best[0]:.0e} for the central difference, {best[1]:.0e} for the one-sided one.")

    costs = cost(options.device, HIDDEN[:3] if options.quick else HIDDEN)
    print("\nThe cost of one gradient: two forward passes for each parameter, against one forward and one backward pass.\n")
    print(f"{'parameters':>11s}{'forward passes':>16s}{'numerical':>14s}{'backpropagation':>18s}{'= forward passes':>18s}")
    for n, forwards, numerical, backprop, forward in costs:
        print(f"{n:11,d}{forwards:16,d}{numerical * 1e3:11.2f} ms{backprop * 1e3:15.3f} ms{backprop / forward:16.1f} x")
    n, forwards, numerical, backprop, _ = zip(*costs, strict=True)
    print(f"Forward passes grow as the parameters to the power {exponent(n, forwards):.2f}; backpropagation needs one.")
    tenfold = [10 ** exponent(n, times) for times in (numerical, backprop)]
    print("Time, by the power fitted to these rows: ten times the parameters take")
    print(f"numerically {tenfold[0]:.1f} x, by backpropagation {tenfold[1]:.1f} x")

    book = Problem(options.device, (784, 30, 10))
    forward, backprop = seconds(book.value), seconds(book.by_backpropagation)
    print(f"\nExtrapolated, not run: 784-30-10 has {BOOK:,} parameters, so {2 * BOOK:,} forward passes for one gradient.")
    print(f"At the speed of one forward pass, measured, that takes {2 * BOOK * forward:.2f} s")
    print(f"Backpropagation, measured, takes {backprop * 1e6:.0f} us, as long as forward passes: {backprop / forward:.1f} x")
    if options.picture:
        picture(errors, costs, options.picture)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
