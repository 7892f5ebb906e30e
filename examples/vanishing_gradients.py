"""Vanishing and exploding gradients: what depth does to them, the bound that says so, and four cures.

python examples/vanishing_gradients.py                         the tables
python examples/vanishing_gradients.py --picture gradients.png and as a picture
python examples/vanishing_gradients.py --device sim            the same on the simulated GPU (cuda: on a real one)
python examples/vanishing_gradients.py --quick                 shorter trainings

A chain: z_1 = x W_1 + b_1, z_2 = s(z_1) W_2 + b_2, ..., and z_L are the logits. Delta_l is the loss's gradient by z_l, a row
for each sample of the batch. Backpropagation, delta_l-1 = (delta_l W_l^T) * s'(z_l-1), multiplies element by element, so that

    |delta_l|  <=  c^k * |W_l+1|_2 * ... * |W_L|_2 * |delta_L|,    k = L - l,

with c the steepest slope of the activation, 1/4 for the sigmoid and 1 for ReLU, |W|_2 a matrix's largest singular value, and
|delta| the Frobenius norm over the whole batch. Here all nets are 64-64-...-64-10, on 300 digits, before any training.
"""

import argparse
from typing import NamedTuple

import numpy as np

import xpnet as xn
from xpnet.extras import load

DEPTH, DEPTHS = 20, (1, 2, 3, 4, 5, 10, 15, 20)  # hidden layers
ROWS = 300  # digits of the batch whose gradients are looked at
STEEPEST = {xn.Sigmoid: 0.25, xn.ReLU: 1.0}


class Delta(xn.Layer):
    """Passes everything on, and keeps the gradient that comes back."""

    def forward(self, x, step):
        return x, None

    def backward(self, dy, cache, step):
        self.kept = dy.copy()
        return dy


class Chain(NamedTuple):
    """A kind of net: its activation, its weights, N(0, gain^2 / n_in), and what else there is between the layers."""

    activation: type[xn.Layer]
    gain: float
    cure: str = ""


CHAINS = {
    "sigmoid, N(0, 1/n)": Chain(xn.Sigmoid, 1),
    "sigmoid, N(0, 0.1/n)": Chain(xn.Sigmoid, 0.1**0.5),
    "sigmoid, N(0, 900/n)": Chain(xn.Sigmoid, 30),
    "ReLU, N(0, 0.5/n)": Chain(xn.ReLU, 0.5**0.5),
    "ReLU, N(0, 8/n)": Chain(xn.ReLU, 8**0.5),
}
CURES = {
    "none: sigmoid, N(0, 1/n)": Chain(xn.Sigmoid, 1),
    "sigmoid, N(0, 16/n)": Chain(xn.Sigmoid, 4),  # 4 = 1 / the steepest slope
    "ReLU, N(0, 2/n), He's": Chain(xn.ReLU, 2**0.5),
    "sigmoid, batch norm": Chain(xn.Sigmoid, 1, "batch norm"),
    "sigmoid, residual": Chain(xn.Sigmoid, 1, "residual"),
}


def net_of(chain, depth):
    """64-64-...-64-10 with ``depth`` hidden layers, and a :class:`Delta` at every z."""
    layers, init = [], xn.initializers.normal(chain.gain / 64**0.5)
    for k in range(depth):
        norm = [xn.BatchNorm()] if chain.cure == "batch norm" else []
        hidden = [xn.Affine(64, init=init), Delta(), *norm, chain.activation()]
        layers += [xn.Residual(*hidden)] if chain.cure == "residual" and k else hidden
    return xn.Sequential(*layers, xn.Affine(10, init=init), Delta())


def look(chain, depth, device):
    """|delta_1| ... |delta_L| in float64, and the bounds of those (of a chain without batch norm and residual connections)."""
    data = xn.datasets.digits()
    net = net_of(chain, depth).build(64, device=device, dtype="float64")
    step = net.step(training=True)
    outputs, cache = net.forward(net.device.put(data.x_train[:ROWS], "float64"), step)
    net.backward(xn.SoftmaxCrossEntropy()(outputs, net.device.put(data.y_train[:ROWS]), step)[1], cache, step)
    norms = [np.linalg.norm(net.device.get(layer.kept)) for layer in net.walk() if isinstance(layer, Delta)]
    weights = [w for name, w in net.parameters.snapshot().items() if name.endswith("W")]
    factors = [STEEPEST[chain.activation] * np.linalg.norm(w, 2) for w in weights[1:]]
    return np.array(norms), norms[-1] * np.cumprod([1, *factors[::-1]])[::-1]


def learn(chain, device, epochs):
    """Test accuracy of the deep net after ``epochs`` of Adam in minibatches of 32."""
    data = xn.datasets.digits()
    trainer = xn.Trainer(net_of(chain, DEPTH), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device=device)
    trainer.fit(data.x_train, data.y_train, epochs=epochs, progress=False)
    return trainer.evaluate(data.x_test, data.y_test)["accuracy"]


def picture(path, first, cured):
    """|delta_1| by depth with its bounds, and |delta_l| layer by layer in the deep nets."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(12, 5), layout="constrained")
    depths, layers = figure.subplots(1, 2)
    for k, (name, found) in enumerate(first.items()):
        norms, bounds = np.array([(norms[0], bounds[0]) for norms, bounds in found.values()]).T
        depths.plot(list(found), norms, marker="o", markersize=4, color=f"C{k}", label=name)
        depths.plot(list(found), bounds, linestyle=":", color=f"C{k}")
    depths.plot([], [], linestyle=":", color="grey", label="its bound")
    depths.set(title="Gradient at the first layer, and its bound", xlabel="hidden layers", ylabel="|delta| of the first layer")
    depths.set(xticks=(1, 5, 10, 15, 20), ylim=(1e-25, 1e11))
    for k, (name, (norms, _)) in enumerate(cured.items()):
        layers.plot(range(1, len(norms) + 1), norms, marker="o", markersize=4, color="k" if k == 0 else f"C{k + 4}", label=name)
    layers.set(
        title=f"{DEPTH} hidden layers: cures", xlabel="layer", ylabel="|delta| of the layer", xticks=range(1, DEPTH + 2, 4)
    )
    for axes in (depths, layers):
        axes.set_yscale("log")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--picture", metavar="FILE.png", help="draw the norms (needs matplotlib)")
    parser.add_argument("--quick", action="store_true", help="trainings of 2 epochs")
    options = parser.parse_args()
    try:
        xn.device(options.device)
        if options.picture:
            load("matplotlib.figure", "plot")  # where it is missing, that is said before the work
    except (ImportError, xn.DeviceUnavailable) as error:
        parser.exit(1, f"vanishing_gradients: {error}\n")

    first = {name: {depth: look(chain, depth, options.device) for depth in DEPTHS} for name, chain in CHAINS.items()}
    print(
        "1. The gradient at the first layer by the number of hidden layers, and its bound c^k |W_2|_2 ... |W_L|_2 |delta_L|\n"
    )
    print(f"{'hidden layers':22}" + "".join(f"{depth:10d}" for depth in DEPTHS))
    print(f"{'(1/4)^k':22}" + "".join(f"{0.25**depth:10.4f}" if depth < 5 else f"{0.25**depth:10.0e}" for depth in DEPTHS))
    for name, found in first.items():
        print(f"{name:22}" + "".join(f"{norms[0]:10.1e}" for norms, _ in found.values()))
        print(f"{'    bound':22}" + "".join(f"{bounds[0]:10.1e}" for _, bounds in found.values()))
    under = all((norms <= bounds * (1 + 1e-12)).all() for found in first.values() for norms, bounds in found.values())
    print(f"Every layer of every net is under its bound: {'yes' if under else 'NO'}.")
    print("Small slopes and small weights let gradients vanish; large weights let them explode, behind sigmoids too.")

    cured = {name: look(chain, DEPTH, options.device) for name, chain in CURES.items()}
    sick = cured["none: sigmoid, N(0, 1/n)"][0][0]
    epochs = 2 if options.quick else 10
    print(f"\n2. Cures, {DEPTH} hidden layers: |delta| layer by layer, and the test accuracy after {epochs} epochs of Adam\n")
    shown = (1, 6, 11, 16, DEPTH + 1)
    print(f"{'cure':26}" + "".join(f"{f'layer {k}':>10}" for k in shown) + "  first lifted by  accuracy")
    for name, (norms, _) in cured.items():
        accuracy = 100 * learn(CURES[name], options.device, epochs)
        print(f"{name:26}" + "".join(f"{norms[k - 1]:10.1e}" for k in shown) + f"{norms[0] / sick:17.0e}{accuracy:8.2f} %")
    print("Adam scales steps to one length for gradients well above its epsilon, 1e-8; without a cure they are far below.")
    if options.picture:
        picture(options.picture, first, cured)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
