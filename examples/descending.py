"""Gradient descent: how long the steps are, how many rows each step sees, and which rule makes the step.

python examples/descending.py                          four tables: learning rates, batches, rules on a bowl, rules on digits
python examples/descending.py --device sim             the same on the simulated GPU (cuda: on a real one)
python examples/descending.py --picture descending.png the same as four pictures
python examples/descending.py --quick                  fewer digits, epochs and seeds

The bowl is f(x, y) = x^2 / 20 + y^2, flat along x and steep along y, from (-7, 2). Its point is a network of two parameters,
so that xpnet's own optimizers descend; plain Python formulas check them. Digits: 64-32-10, ReLU, softmax cross-entropy.
"""

import argparse
import math
import time
import warnings

import numpy as np

import xpnet as xn
from xpnet.extras import load

START, STEEP = (-7.0, 2.0), (1 / 20, 1.0)
RULES = {"SGD": (xn.SGD, 0.95), "Momentum": (xn.Momentum, 0.1), "AdaGrad": (xn.AdaGrad, 1.5), "Adam": (xn.Adam, 0.3)}
USUAL = {"SGD": 0.01, "Momentum": 0.01, "AdaGrad": 0.01, "Adam": 0.001}  # xpnet's defaults for the last two
BOWL_RATES, DIGITS_RATES = (0.01, 0.1, 0.95, 1.05), (0.001, 0.1, 100.0)


class Shift(xn.Layer):
    """``x + p``: for x = 0 the output is the parameter, the point (x, y) itself."""

    def build(self, shape, make):
        self.p = make.parameter("p", shape, xn.initializers.constant(np.array(START)))
        return shape

    def forward(self, x, step):
        return x + self.p.value, None

    def backward(self, dy, cache, step):
        self.p.grad[...] = dy.sum(axis=0)
        return dy


class Bowl(xn.Loss):
    """``sum of c y^2``, averaged over rows; the targets are the coefficients c."""

    def compute(self, y, c, step, weights, count):
        return (c * y * y).sum() / count, 2 * c * y / count


def bowl(x, y):
    return STEEP[0] * x**2 + STEEP[1] * y**2


def descend(rule, rate, device, steps=30):
    """The path (steps + 1, 2) of one of xpnet's optimizers down the bowl, in float64."""
    trainer = xn.Trainer(xn.Sequential(Shift()), loss=Bowl(), optimizer=rule(rate), device=device, dtype="float64").build(2)
    device, point = trainer.device, trainer.net.parameters["0.p"].value
    zero, steep = device.put(np.zeros((1, 2))), device.put(np.array([STEEP]))
    path = [device.get(point).copy()]
    for _ in range(steps):
        trainer.step(zero, steep)
        path.append(device.get(point).copy())
    return np.array(path)


def by_formula(name, rate, steps=30):
    """The same path by the rule as it stands in textbooks, one number at a time."""
    p, m, s, path = [*START], [0.0, 0.0], [0.0, 0.0], [START]
    for t in range(1, steps + 1):
        for i in (0, 1):
            g = 2 * STEEP[i] * p[i]
            if name == "SGD":
                p[i] -= rate * g
            elif name == "Momentum":
                m[i] = 0.9 * m[i] - rate * g
                p[i] += m[i]
            elif name == "AdaGrad":
                s[i] += g * g
                p[i] -= rate * g / (math.sqrt(s[i]) + 1e-10)
            else:  # Adam
                m[i] = 0.9 * m[i] + 0.1 * g
                s[i] = 0.999 * s[i] + 0.001 * g * g
                p[i] -= rate * (m[i] / (1 - 0.9**t)) / (math.sqrt(s[i] / (1 - 0.999**t)) + 1e-8)
        path.append(tuple(p))
    return np.array(path)


def digits(quick):
    data = xn.datasets.digits()
    n = 400 if quick else len(data.x_train)
    return data.x_train[:n], data.y_train[:n], data.x_test, data.y_test


def trainer_for(optimizer, device, seed=0):
    net = xn.Sequential(xn.Affine(32), xn.ReLU(), xn.Affine(10))
    return xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=optimizer, device=device, seed=seed)


def fit_digits(optimizer, data, device, epochs, batch_size=32, seed=0):
    """Training loss before each epoch and after the last, and the test accuracy; what diverges here is meant to."""
    x, y, x_test, y_test = data
    trainer = trainer_for(optimizer, device, seed).build(64)
    losses = [trainer.evaluate(x, y)["loss"]]
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        for epoch in range(epochs):
            if batch_size == "online":
                for rows in xn.minibatches(len(x), 1, seed=seed, epoch=epoch):
                    trainer.partial_fit(x[rows], y[rows])
            else:
                trainer.fit(x, y, batch_size=batch_size, progress=False)
            losses.append(trainer.evaluate(x, y)["loss"])
        return losses, trainer.evaluate(x_test, y_test)["accuracy"]


def verdict(losses):
    """What the loss at the end says of the learning rate."""
    if not math.isfinite(losses[-1]) or losses[-1] > losses[0]:
        return "diverges"
    return "too small: more than half is left" if losses[-1] > 0.5 * losses[0] else "descends"


def learning_rates(data, device, epochs):
    """(what, rate) -> losses, by plain gradient descent."""
    found = {("bowl", rate): [bowl(*p) for p in descend(xn.SGD, rate, device)] for rate in BOWL_RATES}
    return found | {("digits", rate): fit_digits(xn.SGD(rate), data, device, epochs)[0] for rate in DIGITS_RATES}


def regimes(data, device, epochs, rate=0.05):
    """name -> (updates, losses, accuracy, seconds): the same rows as often, cut differently."""
    found, n = {}, len(data[0])
    for name, size, updates in (("full batch", None, 1), ("minibatch of 32", 32, -(-n // 32)), ("online", "online", n)):
        began = time.perf_counter()
        losses, accuracy = fit_digits(xn.SGD(rate), data, device, epochs, size)
        found[name] = updates * epochs, losses, accuracy, time.perf_counter() - began
    return found


def rules_on_digits(data, device, epochs, seeds):
    """name -> one (losses, accuracy) a seed."""
    return {
        name: [fit_digits(rule(USUAL[name]), data, device, epochs, seed=seed) for seed in range(seeds)]
        for name, (rule, _) in RULES.items()
    }


def spread(values, form):
    return f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def print_rates(found, epochs):
    print(f"1. Learning rate, plain gradient descent: 30 steps down the bowl; digits, minibatches of 32, {epochs} epochs")
    print("           rate   loss before    loss after")
    for (what, rate), losses in found.items():
        print(f"{what:8} {rate:6}  {losses[0]:12.4f}  {losses[-1]:12.4g}  {verdict(losses)}")
    print("A step along y multiplies y by 1 - 2 rate: beyond rate 1 it overshoots farther each time.")


def print_regimes(found):
    print("\n2. How many rows a step sees: digits, rate 0.05, the same number of epochs")
    print("regime           updates    loss  accuracy      time")
    for name, (updates, losses, accuracy, seconds) in found.items():
        print(f"{name:15}  {updates:7}  {losses[-1]:6.4f}  {100 * accuracy:6.2f} %  {seconds:6.2f} s")
    print("More updates from the same rows go farther; one row at a time (online, by partial_fit) takes the most time.")


def print_paths(paths):
    print("\n3. Four rules down the bowl from (-7, 2), 30 steps: the point (x, y)")
    print("step  " + "".join(f"{f'{name}, rate {RULES[name][1]}':>20}" for name in paths))
    for step in (0, 1, 2, 5, 10, 20, 30):
        print(f"{step:4}  " + "".join(f"{f'({p[step, 0]:.3f}, {p[step, 1]:.3f})':>20}" for p in paths.values()))
    print("f end " + "".join(f"{bowl(*p[-1]):20.6f}" for p in paths.values()))
    worst = max(np.abs(p - by_formula(name, RULES[name][1])).max() for name, p in paths.items())
    print(f"Largest distance from the formulas in plain Python below 1e-12: {'yes' if worst < 1e-12 else f'no, {worst:.1e}'}")
    print("SGD swings across the steep axis; momentum overshoots and returns; AdaGrad and Adam scale each axis by itself.")


def print_rules(found, epochs):
    seeds = len(next(iter(found.values())))
    print(f"\n4. The four rules on digits: {epochs} epochs, minibatches of 32, {seeds} seeds, mean (lowest to highest)")
    print("rule      rate   training loss             test accuracy, %")
    for name, runs in found.items():
        loss, accuracy = [losses[-1] for losses, _ in runs], [100 * accuracy for _, accuracy in runs]
        print(f"{name:8}  {USUAL[name]:5}  {spread(loss, '.3f'):24}  {spread(accuracy, '.2f')}")
    print("Each at its usual rate, not its best: plain SGD is slow at 0.01; table 1 shows it at 0.1.")


def draw(path, rates, batches, paths, rules, device):
    """Learning rates, batch regimes, the four paths on the bowl's contours, the four rules on digits."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(10, 8), layout="constrained")
    (a, b), (c, d) = figure.subplots(2, 2)
    for (what, rate), losses in rates.items():
        if what == "bowl":
            a.plot(losses, label=f"{rate}: {verdict(losses)}")
    a.set(title="Learning rate: SGD on the bowl", xlabel="step", ylabel="f", yscale="log")
    for name, (updates, losses, _, _) in batches.items():
        b.plot(losses, marker="o", label=f"{name}: {updates:,} updates")
    b.set(title="Rows a step: digits, rate 0.05", xlabel="epoch", ylabel="training loss", ylim=(0, 3.2))
    xs, ys = np.meshgrid(np.linspace(-8, 4, 200), np.linspace(-3, 3, 200))
    c.contour(xs, ys, bowl(xs, ys), levels=[0.05, 0.25, 0.5, 1, 2, 3, 4, 6, 8], colors="lightgrey", linewidths=0.8)
    for (name, p), marker in zip(paths.items(), "os^D", strict=True):
        c.plot(*p.T, marker=marker, markersize=3, linewidth=1, label=f"{name}, {RULES[name][1]}")
    c.plot(0, 0, "k+", markersize=10)
    c.set(title="Four rules, f = x²/20 + y², 30 steps from (-7, 2)", xlabel="x", ylabel="y")
    for name, runs in rules.items():
        losses = np.array([losses for losses, _ in runs])
        (line,) = d.plot(losses.mean(axis=0), marker="o", label=f"{name}, {USUAL[name]}")
        d.fill_between(range(losses.shape[1]), losses.min(axis=0), losses.max(axis=0), color=line.get_color(), alpha=0.2)
    d.set(title=f"Four rules on digits, {len(losses)} seeds", xlabel="epoch", ylabel="training loss", ylim=(0, None))
    for axes in (a, b, c, d):
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--picture", metavar="FILE.png")
    parser.add_argument("--quick", action="store_true", help="400 digits, 2 epochs, 2 seeds")
    options = parser.parse_args()
    device, data = options.device, digits(options.quick)
    epochs, seeds = (2, 2) if options.quick else (5, 5)

    rates = learning_rates(data, device, epochs)
    print_rates(rates, epochs)
    batches = regimes(data, device, epochs)
    print_regimes(batches)
    paths = {name: descend(rule, rate, device) for name, (rule, rate) in RULES.items()}
    print_paths(paths)
    rules = rules_on_digits(data, device, epochs, seeds)
    print_rules(rules, epochs)
    if options.picture:
        draw(options.picture, rates, batches, paths, rules, device)


if __name__ == "__main__":
    main()
