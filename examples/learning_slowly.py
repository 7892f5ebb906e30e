"""Learning slowly: why a weight hardly moves: a small input, a saturated neuron, a place far from the output.

python examples/learning_slowly.py                     the tables
python examples/learning_slowly.py --picture slow.png  and the cost curves of the book's single neuron
python examples/learning_slowly.py --device sim        the same on the simulated GPU (cuda: on a real one)

Read off the formula of a weight's gradient, input times delta: a weight learns slowly where its input is small, and where
its neuron is saturated, since delta has the factor sigma'(z), nearly 0 for z far from 0. With cross-entropy that factor
cancels. The single neuron is that of Nielsen's book, chapter 3: input 1, target 0, learning rate 0.15, 300 epochs, from two
starts. (The book draws cross-entropy with the rate 0.005; what counts is the form of the curves.) At last, depth (chapter 5).
"""

import argparse
import math

import numpy as np

import xpnet as xn
from xpnet.extras import load

STARTS = (0.6, 0.9), (2.0, 2.0)
COSTS = "quadratic", "cross-entropy"
ETA, EPOCHS, SHOWN = 0.15, 300, list(range(0, 301, 50))
SLOPE = "sigma'(z)"
INPUTS = 1.0, 0.1, 0.01, 0.0


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


def sigmoid_net(cost, sizes, init=xn.initializers.lecun_normal):
    """A net of sigmoid neurons and its cost; cross-entropy contains the last sigmoid, so that the net ends in logits."""
    layers = [layer for n in sizes for layer in (xn.Affine(n, init=init), xn.Sigmoid())]
    if cost == "quadratic":
        return xn.Sequential(*layers), xn.HalfSquaredError()
    return xn.Sequential(*layers[:-1]), xn.SigmoidCrossEntropy()


def neuron(cost, weights, bias, device):
    net, loss = sigmoid_net(cost, [1])
    net.build(len(weights), device=device, dtype="float64")
    net.parameters.restore({"0.W": np.reshape(weights, (-1, 1)), "0.b": [bias]})
    return net, loss


def descend(net, loss, inputs, epochs, eta=ETA):
    """Train towards target 0; outputs and costs after 0, 1, ..., ``epochs`` epochs."""
    device, optimizer, seen = net.device, xn.SGD(eta), []
    x, y = device.put([inputs], "float64"), device.put([[0.0]])
    for epoch in range(epochs + 1):
        step = net.step(training=True)
        out, cache = net.forward(x, step)
        value, dout = loss(out, y, step)
        net.backward(dout, cache, step)
        seen.append((out, value))  # on the device; read after the loop
        if epoch < epochs:
            optimizer.update(net.parameters)
    outputs, costs = np.array([[device.get(a).item() for a in pair] for pair in seen]).T
    return (sigmoid(outputs) if "Sigmoid" in loss.contains else outputs), costs


def first_weights_gradient(net, loss, inputs):
    descend(net, loss, inputs, 0)
    return net.device.get(net.parameters["0.W"].grad).ravel()


def small_inputs(device, steps=100):
    """One neuron, four inputs: gradients of the four weights at the start, and their changes after ``steps`` steps."""
    net, loss = neuron("quadratic", [0.6] * len(INPUTS), 0.9, device)
    gradient = first_weights_gradient(net, loss, INPUTS)
    descend(net, loss, INPUTS, steps)
    return gradient, net.parameters.snapshot()["0.W"].ravel() - 0.6


def saturated(device, zs=(0.0, 2.0, 5.0, 10.0)):
    """Rows (z, output, sigma'(z), weight gradient with the quadratic cost, with cross-entropy) for input 1, target 0."""
    slopes = [[first_weights_gradient(*neuron(cost, [z], 0.0, device), [1.0])[0] for cost in COSTS] for z in zs]
    return [(z, sigmoid(z), sigmoid(z) * (1 - sigmoid(z)), *pair) for z, pair in zip(zs, slopes, strict=True)]


def single_neuron(device):
    """(cost, start) -> outputs and costs after 0..300 epochs."""
    return {(c, s): descend(*neuron(c, s[:1], s[1], device), [1.0], EPOCHS) for s in STARTS for c in COSTS}


def in_plain_python(cost, start, eta=ETA, epochs=EPOCHS):
    """The outputs of the single neuron again, from the formulas of the book."""
    (w, b), outputs = start, []
    for _ in range(epochs + 1):
        outputs.append(a := 1 / (1 + math.exp(-(w + b))))
        delta = a * a * (1 - a) if cost == "quadratic" else a  # (a - y) sigma'(z), and a - y
        w, b = w - eta * delta, b - eta * delta
    return outputs


def digits(cost, init, device, epochs):
    """64-30-10 on the digits: share of saturated outputs (sigma' < 0.01) at the start, test accuracy after given epochs."""
    data = xn.datasets.digits()
    net, loss = sigmoid_net(cost, [30, 10], init)
    rate = 0.5 if cost == "quadratic" else 5  # the book sums over the ten outputs, SigmoidCrossEntropy takes the mean
    trainer = xn.Trainer(net, loss=loss, optimizer=xn.SGD(rate), device=device).build(64)
    outputs = net.predict(data.x_train)
    a = outputs if cost == "quadratic" else sigmoid(outputs)
    found, targets = {}, xn.datasets.one_hot(data.y_train, 10)
    for epoch in range(1, max(epochs) + 1):
        trainer.fit(data.x_train, targets, batch_size=10)
        found[epoch] = xn.accuracy(net.predict(data.x_test), data.y_test)
    return (a * (1 - a) < 0.01).mean(), [found[epoch] for epoch in epochs]


def by_depth(device, activation, init):
    """Norm of the gradient by each layer's biases, 64-30-30-30-30-10 before training: the book's speed of learning."""
    data = xn.datasets.digits()
    hidden = [layer for _ in range(4) for layer in (xn.Affine(30, init=init), activation())]
    net = xn.Sequential(*hidden, xn.Affine(10, init=init)).build(64, device=device)
    step = net.step(training=True)
    outputs, cache = net.forward(net.device.put(data.x_train), step)
    net.backward(xn.SoftmaxCrossEntropy()(outputs, net.device.put(data.y_train), step)[1], cache, step)
    return [np.linalg.norm(net.device.get(p.grad)) for name, p in net.parameters.items() if name.endswith("b")]


def picture(runs, path):
    """The cost while the single neuron learns, as in the book."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(8, 5.6), dpi=100, layout="constrained")
    for axes, ((cost, start), (outputs, costs)) in zip(figure.subplots(2, 2, sharex=True).flat, runs.items(), strict=True):
        axes.plot(costs, color="tab:red" if cost == "quadratic" else "tab:blue", linewidth=2)
        axes.set_title(f"{cost} cost from w = {start[0]}, b = {start[1]}", fontsize=11)
        axes.text(0.97, 0.93, f"output {outputs[0]:.2f} → {outputs[-1]:.2f}", ha="right", va="top", transform=axes.transAxes)
        axes.set(ylim=(0, None), xlim=(0, EPOCHS), ylabel="cost", xlabel="epoch" if start == STARTS[-1] else None)
        axes.grid(alpha=0.3)
    figure.savefig(path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--picture", metavar="FILE.png", help="draw the cost curves (needs matplotlib)")
    parser.add_argument("--quick", action="store_true", help="fewer epochs on the digits")
    options = parser.parse_args()
    if options.picture:
        load("matplotlib.figure", "plot")  # where it is missing, that is said before the work

    print("A weight whose input is small learns slowly: one neuron, gradients and changes are proportional to its inputs.\n")
    print(f"{'input':>8s}{'gradient of its weight':>26s}{'change after 100 steps':>26s}")
    for x, g, change in zip(INPUTS, *small_inputs(options.device), strict=True):
        print(f"{x:8g}{g:26.8f}{change:26.8f}")

    print("\nA saturated neuron learns slowly, the more so the more wrong it is (target 0); with cross-entropy it does not.\n")
    print(f"{'z':>8s}{'output':>12s}{SLOPE:>14s}{'quadratic':>16s}{'cross-entropy':>16s}")
    for row in saturated(options.device):
        print("{:8g}{:12.6f}{:14.6f}{:16.6f}{:16.6f}".format(*row))

    runs = single_neuron(options.device)
    print("\nThe book's single neuron: its output, which should become 0, after so many epochs.\n")
    print(f"{'cost':16s}{'start (w, b)':14s}" + "".join(f"{epoch:8d}" for epoch in SHOWN))
    for (cost, start), (outputs, _) in runs.items():
        print(f"{cost:16s}{start!s:14s}" + "".join(f"{a:8.4f}" for a in outputs[SHOWN]))
    apart = max(np.abs(outputs - in_plain_python(*run)).max() for run, (outputs, _) in runs.items())
    print(f"The same by five lines of plain Python: {'equal to 12 digits' if apart < 1e-12 else f'APART by {apart}'}.")

    epochs = (1, 2, 5) if options.quick else (1, 2, 5, 10, 20)
    print("\nA net, 64-30-10, that begins saturated, and one that does not: test accuracy on the digits.\n")
    print(f"{'weights':14s}{'cost':16s}{'saturated outputs':>18s}" + "".join(f"{f'epoch {e}':>10s}" for e in epochs))
    for name, init in (("N(0, 1) x 5", xn.initializers.normal(5.0)), ("N(0, 1/n_in)", xn.initializers.lecun_normal)):
        for cost in COSTS:
            share, found = digits(cost, init, options.device, epochs)
            print(f"{name:14s}{cost:16s}{share:18.2f}" + "".join(f"{a:10.3f}" for a in found))

    print("\nThe first layer of a deep sigmoid net learns slowest: norm of the gradient by each layer's biases at the start.\n")
    print(f"{'64-30-30-30-30-10':20s}" + "".join(f"{f'layer {k}':>10s}" for k in range(1, 6)))
    for f, init in ((xn.Sigmoid, xn.initializers.lecun_normal), (xn.ReLU, xn.initializers.he_normal)):
        print(f"{f.__name__:20s}" + "".join(f"{norm:10.1e}" for norm in by_depth(options.device, f, init)))
    print("Each layer on the way back multiplies by sigma'(z), 0.25 at most; by ReLU's slope, 0 or 1.")
    if options.picture:
        picture(runs, options.picture)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
