"""Four rules of update, SGD, Momentum, AdaGrad and Adam: on one loss surface, and on digits.

python examples/update_rules.py                     both as tables
python examples/update_rules.py --device sim        the same on the simulated GPU (cuda: on a real one)
python examples/update_rules.py --picture rules.png both as pictures
python examples/update_rules.py --quick             fewer digits, epochs and seeds

The surface is a bowl, f(x, y) = x^2 / 20 + y^2, flat along x and steep along y; all start at (-7, 2). The point (x, y) is a
network of two parameters, so that xpnet's own optimizers descend; NumPy checks them by the formulas of textbooks.
"""

import argparse

import numpy as np

import xpnet as xn
from xpnet.extras import load

START, STEEP = np.array([-7.0, 2.0]), np.array([1 / 20, 1.0])
RULES = {"SGD": (xn.SGD, 0.95), "Momentum": (xn.Momentum, 0.1), "AdaGrad": (xn.AdaGrad, 1.5), "Adam": (xn.Adam, 0.3)}
USUAL = {"SGD": 0.01, "Momentum": 0.01, "AdaGrad": 0.01, "Adam": 0.001}  # for digits; xpnet's defaults for the last two


class Point(xn.Layer):
    """``x + p``: for x = 0 the output is the parameter, the point itself."""

    def build(self, shape, make):
        self.p = make.parameter("p", shape, xn.initializers.constant(START))
        return shape

    def forward(self, x, step):
        return x + self.p.value, None

    def backward(self, dy, cache, step):
        self.p.grad[...] = dy.sum(axis=0)
        return dy


class Bowl(xn.Loss):
    """``sum of c p^2``, averaged over rows; the targets are the coefficients c."""

    def compute(self, p, c, step, weights, count):
        return (c * p * p).sum() / count, 2 * c * p / count


def bowl(points):
    return points**2 @ STEEP


def descend(name, device, steps=30):
    """The path (steps + 1, 2) of one of xpnet's optimizers down the bowl, in float64."""
    rule, rate = RULES[name]
    net = xn.Sequential(Point())
    trainer = xn.Trainer(net, loss=Bowl(), optimizer=rule(rate), device=device, dtype="float64").build(2)
    zero, steep = trainer.device.put(np.zeros((1, 2))), trainer.device.put(STEEP[None])
    path = [START]
    for _ in range(steps):
        trainer.step(zero, steep)
        path.append(net.parameters.snapshot()["0.p"])
    return np.array(path)


def by_formula(name, steps=30):
    """The same path by the rule as it stands in textbooks."""
    w, v, s, path, rate = START, 0.0, 0.0, [START], RULES[name][1]
    for t in range(1, steps + 1):
        g = 2 * STEEP * w
        if name == "SGD":
            w = w - rate * g
        elif name == "Momentum":
            v = 0.9 * v - rate * g
            w = w + v
        elif name == "AdaGrad":
            s = s + g * g
            w = w - rate * g / (np.sqrt(s) + 1e-10)
        else:  # Adam
            v = 0.9 * v + 0.1 * g
            s = 0.999 * s + 0.001 * g * g
            w = w - rate * (v / (1 - 0.9**t)) / (np.sqrt(s / (1 - 0.999**t)) + 1e-8)
        path.append(w)
    return np.array(path)


def on_digits(name, device, rows, epochs, seed):
    """64-32-10 on digits, minibatches of 32: training loss epoch by epoch, and the test accuracy at the end."""
    data, net = xn.datasets.digits(), xn.Sequential(xn.Affine(32), xn.ReLU(), xn.Affine(10))
    optimizer = RULES[name][0](USUAL[name])
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=optimizer, device=device, seed=seed)
    history = trainer.fit(data.x_train[:rows], data.y_train[:rows], epochs=epochs, progress=False)
    return history["loss"], trainer.evaluate(data.x_test, data.y_test)["accuracy"]


def spread(values, form):
    return f"{np.mean(values):{form}} ({min(values):{form}} to {max(values):{form}})"


def picture(path, paths, digits):
    """The four paths on the bowl's contours; the mean loss on digits with its range over the seeds."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(11, 4.4), layout="constrained")
    surface, curves = figure.subplots(1, 2)
    xs, ys = np.meshgrid(np.linspace(-8, 4, 200), np.linspace(-3, 3, 200))
    heights = bowl(np.stack([xs, ys], axis=-1))
    surface.contour(xs, ys, heights, levels=[0.05, 0.25, 0.5, 1, 2, 3, 4, 6, 8], colors="lightgrey", linewidths=0.8)
    for (name, p), marker in zip(paths.items(), "os^D", strict=True):
        surface.plot(*p.T, marker=marker, markersize=3, linewidth=1, label=f"{name}, {RULES[name][1]}")
    surface.plot(0, 0, "k+", markersize=10)
    surface.set(title="f = x²/20 + y², 30 steps from (-7, 2)", xlabel="x", ylabel="y")
    for name, runs in digits.items():
        losses = np.array([losses for losses, _ in runs])
        epochs = range(1, losses.shape[1] + 1)
        (line,) = curves.plot(epochs, losses.mean(axis=0), marker="o", label=f"{name}, {USUAL[name]}")
        curves.fill_between(epochs, losses.min(axis=0), losses.max(axis=0), color=line.get_color(), alpha=0.2)
    curves.set(title=f"Digits, {len(losses)} seeds", xlabel="epoch", ylabel="training loss", ylim=(0, None), xticks=epochs)
    surface.legend(fontsize=8)
    curves.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--picture", metavar="FILE.png")
    parser.add_argument("--quick", action="store_true", help="400 digits, 2 epochs, 2 seeds")
    options = parser.parse_args()
    if options.picture:
        load("matplotlib.figure", "plot")  # where it is missing, that is said before the work
    rows, epochs, seeds = (400, 2, 2) if options.quick else (None, 5, 5)

    print("1. Down the bowl from (-7, 2), 30 steps: the point (x, y)")
    paths = {name: descend(name, options.device) for name in RULES}
    print("step  " + "".join(f"{f'{name}, rate {RULES[name][1]}':>20}" for name in paths))
    for step in (0, 1, 2, 5, 10, 20, 30):
        print(f"{step:4}  " + "".join(f"{f'({p[step, 0]:.3f}, {p[step, 1]:.3f})':>20}" for p in paths.values()))
    print("f end " + "".join(f"{bowl(p)[-1]:20.6f}" for p in paths.values()))
    worst = max(np.abs(p - by_formula(name)).max() for name, p in paths.items())
    print(f"Largest distance from the formulas of textbooks below 1e-12: {'yes' if worst < 1e-12 else f'no, {worst:.1e}'}")
    print("SGD swings across the steep axis; momentum overshoots and returns; AdaGrad and Adam scale each axis by itself.")

    print(f"\n2. On digits: {epochs} epochs, minibatches of 32, {seeds} seeds, mean (lowest to highest)")
    print("rule      rate   loss of the last epoch    test accuracy, %")
    digits = {name: [on_digits(name, options.device, rows, epochs, seed) for seed in range(seeds)] for name in RULES}
    for name, runs in digits.items():
        loss, accuracy = [losses[-1] for losses, _ in runs], [100 * accuracy for _, accuracy in runs]
        print(f"{name:8}  {USUAL[name]:5}  {spread(loss, '.3f'):24}  {spread(accuracy, '.2f')}")
    print("Each at its usual rate, not its best: with 0.1 (examples/descending.py) plain SGD is no longer slow.")
    if options.picture:
        picture(options.picture, paths, digits)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
