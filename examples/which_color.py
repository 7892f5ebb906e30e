"""Which colour is it? A network that says whether an RGB triple is red, green or blue, and what its settings do to it.

python examples/which_color.py                       the figures, the network, the sweep, XOR
python examples/which_color.py --device sim          the same on the simulated GPU (cuda: on a real one)
python examples/which_color.py --picture color.png   learning curves, and what XOR's two networks have learnt

Two pieces by hand first: an affine map and softmax. Then 3-50-100-50-3, learning rate 0.01, with raw and with normalised
inputs; how many layers, how many nodes, which learning rate; and XOR, which no network without a hidden layer learns.
"""

import argparse
import warnings

import numpy as np

import xpnet as xn
from xpnet.extras import load

SHOWN = {(255, 0, 0): "red", (0, 255, 0): "green", (0, 0, 255): "blue", (233, 63, 127): "red"}
WIDTHS = (50, 100, 50)
EPOCHS = 30


def affine_by_hand(device):
    """``x W + b`` of one row: 122 * 0.1 + 66 * 0.2 + 94 * 0.3 + 0.5."""
    net = xn.Sequential(xn.Affine(1))
    net.build((3,), device=device, dtype="float64")
    net.parameters.restore({"0.W": np.array([[0.1], [0.2], [0.3]]), "0.b": np.array([0.5])})
    return float(net.predict([[122, 66, 94]])[0, 0])


def softmax_by_hand(device):
    """``exp(x) / sum(exp(x))``: three numbers as probabilities."""
    net = xn.Sequential(xn.Softmax())
    net.build((3,), device=device, dtype="float64")
    return net.predict([[0, 0.1, 5.3]])[0]


def fully_connected(widths, outputs):
    """Affine and ReLU for each width, then an affine map to the outputs; softmax is part of the loss."""
    hidden = [layer for n in widths for layer in (xn.Affine(n), xn.ReLU())]
    return xn.Sequential(*hidden, xn.Affine(outputs))


def scaled(data, normalise):
    """Training and test rows, each column with mean 0 and standard deviation 1 over the training part, or as they are."""
    mean, std = data.x_train.mean(axis=0), data.x_train.std(axis=0)
    return [(x - mean) / std if normalise else x for x in (data.x_train, data.x_test)]


def train(data, device, widths=WIDTHS, rate=0.01, normalise=True, epochs=EPOCHS, seed=0):
    """Train on the 240 colours; return the trainer, and its accuracy on the 20 others."""
    x_train, x_test = scaled(data, normalise)
    net = fully_connected(widths, 3)
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(rate), device=device, seed=seed)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # some of these settings are meant to diverge
        trainer.fit(x_train, data.y_train, epochs=epochs, batch_size=10)
        return trainer, trainer.evaluate(x_test, data.y_test)["accuracy"]


def names_of_shown(trainer, data):
    """What a trained network calls the four colours of the talk, which are the first of the test part."""
    outputs = trainer.predict(scaled(data, True)[1][: len(SHOWN)])
    return [data.classes[i] for i in outputs.argmax(axis=1)]


def compare_inputs(data, device, epochs):
    """Raw numbers 0..255 against normalised ones, three seeds each: (loss at the end, test accuracy)."""
    return {
        kind: [
            (trainer.history["loss"][-1], accuracy)
            for seed in range(3)
            for trainer, accuracy in [train(data, device, normalise=kind == "normalised", epochs=epochs, seed=seed)]
        ]
        for kind in ("raw", "normalised")
    }


def sweep(data, device, epochs):
    """Loss after training, for layers x nodes x learning rate."""
    return {
        (layers, nodes, rate): train(data, device, (nodes,) * layers, rate, epochs=epochs)[0].history["loss"][-1]
        for layers in (0, 1, 2, 3)
        for nodes in ((0,) if layers == 0 else (5, 50))
        for rate in (0.001, 0.01, 0.1, 1.0)
    }


def learn_xor(widths, device, epochs=500):
    """Train on the four rows of XOR, all at once; return the trainer."""
    data = xn.datasets.xor()
    loss, optimizer = xn.SoftmaxCrossEntropy(), xn.Momentum(0.1)
    trainer = xn.Trainer(fully_connected(widths, 2), loss=loss, optimizer=optimizer, device=device, seed=2)
    trainer.fit(data.x_train, data.y_train, epochs=epochs, batch_size=None)
    return trainer


def probabilities(logits):
    """Softmax of each row of a host array."""
    e = np.exp(logits - logits.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def print_inputs(found):
    print("\nRaw or normalised inputs (loss at the end of training, accuracy on 20 other colours; three seeds each):")
    for kind, runs in found.items():
        print(f"  {kind:11s}", "   ".join(f"loss {loss:6.4f}, accuracy {accuracy:.2f}" for loss, accuracy in runs))
    print(
        "  Raw, the first layer's gradients are as large as its inputs, up to 255: the first steps overflow or kill every ReLU,"
    )
    print("  and what is left gives all colours the same answer, of loss ln 3 = 1.0986. (nan: it overflowed.)")


def print_sweep(found):
    rates = sorted({rate for *_, rate in found})
    print("\nHow many layers, how many nodes, which learning rate (normalised; loss at the end of training):")
    print("  hidden layers x nodes", *(f"{f'rate {rate:g}':>11s}" for rate in rates))
    for layers, nodes in dict.fromkeys(key[:2] for key in found):
        shape = f"{layers} x {nodes}" if layers else "none"
        print(f"  {shape:21s}", *(f"{found[layers, nodes, rate]:11.4f}" for rate in rates))


def print_xor(trainers):
    data = xn.datasets.xor()
    print("\nXOR: is exactly one of the two inputs 1? Probability of 'yes' for (0,0) (0,1) (1,0) (1,1), wanted 0 1 1 0:")
    for name, trainer in trainers.items():
        yes = probabilities(trainer.predict(data.x_train))[:, 1]
        right = trainer.evaluate(data.x_train, data.y_train)["accuracy"]
        print(f"  {name:22s}", " ".join(f"{p:5.3f}" for p in yes), f"   {right:.0%} right")
    print("  Without a hidden layer the net draws one straight line, and no line separates the two kinds.")


def picture(path, curves, trainers):
    """Loss by epoch with raw and normalised inputs; the plane as XOR's two networks see it."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(11, 3.6), layout="constrained")
    left, *planes = figure.subplots(1, 3)
    for (kind, history), style in zip(curves.items(), ("--", "-"), strict=True):
        left.plot(history["epoch"], history["loss"], style, label=f"{kind} inputs")
    left.set(xlabel="epoch", ylabel="loss", yscale="log", title="240 colours, learning rate 0.01")
    left.legend()
    side = np.linspace(-0.5, 1.5, 101)
    grid = np.stack(np.meshgrid(side, side), axis=-1)
    data = xn.datasets.xor()
    for plane, (name, trainer) in zip(planes, trainers.items(), strict=True):
        yes = probabilities(trainer.predict(grid.reshape(-1, 2)))[:, 1].reshape(grid.shape[:2])
        shade = plane.imshow(yes, origin="lower", extent=(-0.5, 1.5, -0.5, 1.5), cmap="PuOr", vmin=0, vmax=1)
        for label, marker in ((0, "o"), (1, "s")):
            points = data.x_train[data.y_train == label]
            plane.plot(*points.T, marker, markersize=11, markeredgecolor="black", color="white", label=f"wanted: {label}")
        plane.set(xlabel="x1", ylabel="x2", title=f"XOR, {name}")
    planes[0].legend(loc="center")
    figure.colorbar(shade, ax=planes, label="probability of 'yes'")
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="fewer epochs")
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args()
    device, epochs = xn.device(options.device), 8 if options.quick else EPOCHS

    print("[122, 66, 94] . [0.1, 0.2, 0.3] + 0.5 =", round(affine_by_hand(device), 6))
    print("softmax([0, 0.1, 5.3]) =", " ".join(f"{p:.8f}" for p in softmax_by_hand(device)))

    data = xn.datasets.colors()
    trainer, accuracy = train(data, device, epochs=epochs)
    print(f"\n{data}\n3-50-100-50-3, learning rate 0.01, normalised, {epochs} epochs: {accuracy:.0%} of the 20 others right")
    for rgb, name in zip(SHOWN, names_of_shown(trainer, data), strict=True):
        print(f"  {rgb!s:15s} {name}")
    print_inputs(compare_inputs(data, device, epochs))
    print_sweep(sweep(data, device, epochs))
    trainers = {"no hidden layer": learn_xor((), device), "8 hidden nodes": learn_xor((8,), device)}
    print_xor(trainers)
    if options.picture:
        raw, _ = train(data, device, normalise=False, epochs=epochs, seed=1)
        picture(options.picture, {"raw": raw.history, "normalised": trainer.history}, trainers)
        print(f"\npicture: {options.picture}")


if __name__ == "__main__":
    main()
