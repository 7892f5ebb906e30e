"""Gradient descent, W = W - dW * ep: how long the steps are, and how many rows each step sees.

python examples/descending.py                          learning rates on a curve and on digits; full batch, minibatch, online
python examples/descending.py --device sim             the same on the simulated GPU (cuda: on a real one)
python examples/descending.py --picture descending.png the same as pictures
python examples/descending.py --quick                  fewer digits and epochs

The curve is f(x) = x^4 / 4 - x^2 + 0.3 x, with a deep valley at x = -1.48 and a shallow one at x = 1.33, from x = 2.2.
Digits: 64-32-10, ReLU, softmax cross-entropy. ep is the learning rate.
"""

import argparse
import math
import time
import warnings

import numpy as np

import xpnet as xn
from xpnet.extras import load

CURVE_RATES, DIGITS_RATES = (0.0001, 0.01, 0.35, 1.0), (0.001, 0.1, 100.0)


def f(x):
    return x**4 / 4 - x**2 + 0.3 * x


def slope(x):
    return x**3 - 2 * x + 0.3


def descend(ep, x=2.2, steps=100):
    """The points of gradient descent on the curve, up to the first beyond 1000."""
    points = [x]
    while len(points) <= steps and abs(x) < 1000:
        x = x - slope(x) * ep
        points.append(x)
    return points


def curve_verdict(x):
    """What the point at the end says of the learning rate."""
    ends = {"too large: diverges": abs(x) > 3, "slow: still on its way": x > 1.4, "sticks in the shallow valley": x > 0}
    return next((words for words, true in ends.items() if true), "finds the deep valley")


def fit_digits(rate, data, device, epochs, batch_size=32, online=False):
    """Plain gradient descent: training loss before each epoch and after the last, and the test accuracy."""
    x, y, x_test, y_test = data
    net = xn.Sequential(xn.Affine(32), xn.ReLU(), xn.Affine(10))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(rate), device=device).build(64)
    losses = [trainer.evaluate(x, y)["loss"]]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what diverges here is meant to
        for epoch in range(epochs):
            if online:  # a new sample arrives, one update
                for row in xn.minibatches(len(x), 1, seed=0, epoch=epoch):
                    trainer.partial_fit(x[row], y[row])
            else:
                trainer.fit(x, y, batch_size=batch_size, progress=False)
            losses.append(trainer.evaluate(x, y)["loss"])
        return losses, trainer.evaluate(x_test, y_test)["accuracy"]


def digits_verdict(losses):
    """What the loss at the end says of the learning rate."""
    if not math.isfinite(losses[-1]) or losses[-1] > losses[0]:
        return "too large: diverges"
    return "slow: more than half is left" if losses[-1] > 0.5 * losses[0] else "descends"


def regimes(data, device, epochs, rate=0.05):
    """name -> (updates, losses, accuracy, seconds): the same rows as often, cut differently."""
    found, n = {}, len(data[0])
    cuts = {"full batch": {"batch_size": None}, "minibatch of 32": {"batch_size": 32}, "online": {"online": True}}
    for (name, cut), updates in zip(cuts.items(), (1, math.ceil(n / 32), n), strict=True):
        began = time.perf_counter()
        losses, accuracy = fit_digits(rate, data, device, epochs, **cut)
        found[name] = updates * epochs, losses, accuracy, time.perf_counter() - began
    return found


def picture(path, digits, batches):
    """The paths on the curve, and the training loss by learning rate and by regime."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(12, 3.8), layout="constrained")
    curve, rates, rows = figure.subplots(1, 3)
    x = np.linspace(-2.4, 2.6, 200)
    curve.plot(x, f(x), color="lightgrey")
    for ep, marker in zip(CURVE_RATES[:-1], "s^o", strict=True):
        points = np.array(descend(ep))
        curve.plot(points, f(points), marker=marker, markersize=4, linewidth=0.8, label=f"{ep}: {curve_verdict(points[-1])}")
    curve.set(title="100 steps from x = 2.2", xlabel="x", ylabel="f", ylim=(-1.6, 3.5))
    for ep, (losses, _) in digits.items():
        rates.plot(losses, marker="o", label=f"{ep}: {digits_verdict(losses)}")
    rates.set(title="Digits: learning rates", xlabel="epoch", ylabel="training loss", yscale="log")
    for name, (updates, losses, _, _) in batches.items():
        rows.plot(losses, marker="o", label=f"{name}: {updates:,} updates")
    rows.set(title="Digits: rows a step, rate 0.05", xlabel="epoch", ylabel="training loss", ylim=(0, 3.2))
    for axes in (curve, rates, rows):
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--picture", metavar="FILE.png")
    parser.add_argument("--quick", action="store_true", help="400 digits, 2 epochs")
    options = parser.parse_args()
    if options.picture:
        load("matplotlib.figure", "plot")  # where it is missing, that is said before the work
    d = xn.datasets.digits()
    epochs, n = (2, 400) if options.quick else (5, len(d.x_train))
    data = d.x_train[:n], d.y_train[:n], d.x_test, d.y_test

    print("1. The learning rate ep: 100 steps down the curve from x = 2.2")
    for ep in CURVE_RATES:
        points = descend(ep)
        print(f"{ep:8}  x = {points[1]:6.3f}, {points[2]:6.3f}, ... {points[-1]:8.3f}  {curve_verdict(points[-1])}")
    print(f"and {epochs} epochs of digits in minibatches of 32: the training loss before and after")
    digits = {ep: fit_digits(ep, data, options.device, epochs) for ep in DIGITS_RATES}
    for ep, (losses, _) in digits.items():
        print(f"{ep:8}  {losses[0]:6.4f}  {losses[-1]:7.4g}  {digits_verdict(losses)}")

    print(f"\n2. How many rows a step sees: digits, rate 0.05, {epochs} epochs each")
    print("regime           updates    loss  accuracy      time")
    batches = regimes(data, options.device, epochs)
    for name, (updates, losses, accuracy, seconds) in batches.items():
        print(f"{name:15}  {updates:7}  {losses[-1]:6.4f}  {100 * accuracy:6.2f} %  {seconds:6.2f} s")
    print("More updates from the same rows go farther; one row at a time (online, by partial_fit) takes the most time.")
    print("The rows of a minibatch are one matrix: a CPU's threads and SIMD units, or a GPU's, work at many of them together.")
    if options.picture:
        picture(options.picture, digits, batches)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
