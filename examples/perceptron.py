"""From the perceptron to a hidden layer: u = W x + b, z = f(u), and why XOR needs a second layer.

python examples/perceptron.py                       activations, the perceptron's rule, XOR by one layer and by two
python examples/perceptron.py --device sim          the same on the simulated GPU (cuda: on a real one)
python examples/perceptron.py --picture xor.png     the plane of the two inputs as three networks see it

A perceptron answers 1 where u = W x + b is above 0: its f is the step. Yes and no are divided by one straight line.
"""

import argparse

import numpy as np

import xpnet as xn
from xpnet.extras import load

INPUTS = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], "float32")
WANTED = {"AND": (0, 0, 0, 1), "OR": (0, 1, 1, 1), "NAND": (1, 1, 1, 0), "XOR": (0, 1, 1, 0)}
ACTIVATIONS = {  # where each is used
    "Step": "the perceptron",
    "Sigmoid": "hidden layers; output: the probability of yes",
    "Tanh": "hidden layers",
    "ReLU": "hidden layers",
    "Identity": "output: a number (regression)",
}


def activation(name, device, u=(-2.0, -1.0, 0.0, 1.0, 2.0)):
    """f(u) and f'(u); None for the derivative of the step, through which xpnet does not train."""
    net = xn.Sequential(getattr(xn, name)()).build(len(u), device=device)
    step, put, get = net.step(training=True, needs_dx=True), net.device.put, net.device.get
    z, cache = net.forward(put([u], "float32"), step)
    z = get(z)[0]
    return z, get(net.backward(put([[1.0] * len(u)], "float32"), cache, step))[0] if name != "Step" else None


class PerceptronRule(xn.Loss):
    """``(step(u) - t) u``: 0 where the answer is right, else |u|. Descending it is the rule W += rate (t - step(u)) x."""

    def compute(self, u, t, step, weights, count):
        delta = (u > 0) - t
        return (delta * u).sum() / count, delta / count


def perceptron(name, device):
    """What a perceptron answers to the four rows after 20 epochs of its rule, one row a step (online learning)."""
    trainer = xn.Trainer(xn.Sequential(xn.Affine(1)), loss=PerceptronRule(), optimizer=xn.SGD(1.0), device=device)
    trainer.fit(INPUTS, np.reshape(WANTED[name], (4, 1)), epochs=20, batch_size=1, progress=False)
    return (trainer.predict(INPUTS)[:, 0] > 0).astype(int)


def by_hand(device):
    """XOR by two layers of steps: the first answers OR and NAND, the second the AND of both."""
    net = xn.Sequential(xn.Affine(2), xn.Step(), xn.Affine(1), xn.Step()).build(2, device=device)
    net.parameters.restore({"0.W": [[1, -1], [1, -1]], "0.b": [-0.5, 1.5], "2.W": [[1], [1]], "2.b": [-1.5]})
    return lambda x: net.predict(x)[:, 0]


def trained(hidden, device):
    """XOR by backpropagation, all four rows in each step; the probability of yes, by a sigmoid that the loss contains."""
    trainer = xn.Trainer(
        xn.Sequential(*hidden, xn.Affine(1)), loss=xn.SigmoidCrossEntropy(), optimizer=xn.Momentum(0.3), device=device
    )
    trainer.fit(INPUTS, np.reshape(WANTED["XOR"], (4, 1)), epochs=300, batch_size=None, progress=False)
    return lambda x: 1 / (1 + np.exp(-trainer.predict(x)[:, 0]))


def picture(path, nets):
    """What each network answers in the plane of the two inputs."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(11, 3.8), layout="constrained")
    planes = figure.subplots(1, len(nets), sharey=True)
    side = np.linspace(-0.5, 1.5, 201, dtype="float32")
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    for plane, (name, net) in zip(planes, nets.items(), strict=True):
        yes = net(grid.reshape(-1, 2)).reshape(grid.shape[:2])
        shade = plane.imshow(yes, origin="lower", extent=(-0.5, 1.5, -0.5, 1.5), cmap="PuOr", vmin=0, vmax=1)
        for label, marker in ((0, "o"), (1, "s")):
            points = INPUTS[np.array(WANTED["XOR"]) == label]
            plane.plot(*points.T, marker, markersize=11, markeredgecolor="black", color="white", label=f"wanted: {label}")
        plane.set(xlabel="x1", title=name)
    planes[0].set_ylabel("x2")
    planes[0].legend(loc="center")
    figure.colorbar(shade, ax=planes, label="yes")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args()
    if options.picture:
        load("matplotlib.figure", "plot")  # where it is missing, that is said before the work
    device = xn.device(options.device)

    print("1. A layer is u = W x + b, z = f(u). z for u = -2, -1, 0, 1, 2, and the slope f'(u) that backpropagation needs\n")
    for name, use in ACTIVATIONS.items():
        z, slope = activation(name, device)
        slopes = "0, where there is one" if slope is None else "".join(f"{s:6.2f}" for s in slope)
        print(f"{name:9}" + "".join(f"{a:6.2f}" for a in z) + f"   slope {slopes:30}  {use}")
    print("Output for one of several classes: softmax, exp(u) / sum(exp(u)), part of SoftmaxCrossEntropy.")
    print("The step's slope tells nothing of the way down, so that it is not trained through; the sigmoid is its smooth form.")

    print("\n2. The perceptron, W += (t - step(u)) x for a row at a time: answers to (0,0) (0,1) (1,0) (1,1) after 20 epochs\n")
    for name, wanted in WANTED.items():
        found = perceptron(name, device)
        print(f"{name:5} wanted {wanted}  answers {tuple(found.tolist())}  {'right' if (found == wanted).all() else 'WRONG'}")
    print("No straight line has (0,1) and (1,0) on one side and (0,0) and (1,1) on the other: more epochs do not help.")

    nets = {
        "no hidden layer, trained": trained([], device),
        "2 steps in a hidden layer, by hand": by_hand(device),
        "8 tanh in a hidden layer, trained": trained([xn.Affine(8), xn.Tanh()], device),
    }
    print("\n3. XOR with and without a hidden layer: how much yes for (0,0) (0,1) (1,0) (1,1), wanted 0 1 1 0\n")
    for name, net in nets.items():
        print(f"{name:36}" + "".join(f"{p:7.3f}" for p in net(INPUTS)))
    if options.picture:
        picture(options.picture, nets)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
