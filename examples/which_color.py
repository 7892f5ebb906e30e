"""Which colour is it? A network that says whether an RGB triple is red, green or blue, and what its settings do to it.

python examples/which_color.py                       two figures by hand, the network, raw inputs, the sweep
python examples/which_color.py --device sim          the same on the simulated GPU (cuda: on a real one)
python examples/which_color.py --picture color.png   the loss with raw and with normalised inputs

Two pieces by hand first: an affine map and softmax. Then 3-50-100-50-3, learning rate 0.01, with normalised inputs and with
raw ones; and how many layers, how many nodes, which learning rate.
"""

import argparse
import warnings

import numpy as np

import xpnet as xn
from xpnet.extras import load

SHOWN = (255, 0, 0), (0, 255, 0), (0, 0, 255), (233, 63, 127)
WIDTHS = 50, 100, 50
RATES = 0.001, 0.01, 0.1, 1.0


def affine_by_hand(device):
    """``x W + b`` of one row: 122 * 0.1 + 66 * 0.2 + 94 * 0.3 + 0.5."""
    net = xn.Sequential(xn.Affine(1)).build(3, device=device, dtype="float64")
    net.parameters.restore({"0.W": [[0.1], [0.2], [0.3]], "0.b": [0.5]})
    return float(net.predict([[122, 66, 94]])[0, 0])


def softmax_by_hand(device):
    """``exp(x) / sum(exp(x))``: three numbers as probabilities."""
    net = xn.Sequential(xn.Softmax()).build(3, device=device, dtype="float64")
    return net.predict([[0, 0.1, 5.3]])[0]


def scaler(data, normalise=True):
    """A function that gives each column mean 0 and standard deviation 1, by the training rows; or leaves all as it is."""
    mean, std = data.x_train.mean(axis=0), data.x_train.std(axis=0)
    return lambda x: (x - mean) / std if normalise else x


def train(data, device, widths=WIDTHS, rate=0.01, normalise=True, epochs=30, seed=0):
    """Train on the 240 colours; return the trainer, and its accuracy on the 20 others."""
    scale = scaler(data, normalise)
    hidden = [layer for n in widths for layer in (xn.Affine(n), xn.ReLU())]
    net = xn.Sequential(*hidden, xn.Affine(3))  # softmax is part of the loss
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(rate), device=device, seed=seed)
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", RuntimeWarning)  # raw inputs are meant to overflow
        trainer.fit(scale(data.x_train), data.y_train, epochs=epochs, batch_size=10)
        return trainer, trainer.evaluate(scale(data.x_test), data.y_test)["accuracy"]


def names(trainer, data, colours):
    """What a network trained on normalised inputs calls these colours."""
    outputs = trainer.predict(scaler(data)(np.array(colours)))
    return [data.classes[i] for i in outputs.argmax(axis=1)]


def compare_inputs(data, device, epochs):
    """Raw numbers 0..255 against normalised ones, three seeds each: (history of the loss, test accuracy)."""
    found = {}
    for kind in ("raw", "normalised"):
        runs = [train(data, device, normalise=kind == "normalised", epochs=epochs, seed=seed) for seed in range(3)]
        found[kind] = [(trainer.history["loss"], accuracy) for trainer, accuracy in runs]
    return found


def sweep(data, device, epochs):
    """(hidden layers, nodes in each) -> the loss after training with each learning rate."""
    shapes = [(0, 0), *((layers, nodes) for layers in (1, 2, 3) for nodes in (5, 50))]
    return {
        (layers, nodes): [train(data, device, (nodes,) * layers, r, epochs=epochs)[0].history["loss"][-1] for r in RATES]
        for layers, nodes in shapes
    }


def picture(path, inputs):
    """Loss by epoch, a line a seed; what has overflowed is nan, which leaves no line."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    for (kind, runs), style in zip(inputs.items(), ("C0--", "C1-"), strict=True):
        for seed, (loss, _) in enumerate(runs):
            axes.plot(range(1, len(loss) + 1), loss, style, label=f"{kind} inputs" if seed == 0 else None)
    axes.set(xlabel="epoch", ylabel="loss", yscale="log", title="240 colours, learning rate 0.01, three seeds")
    axes.legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--quick", action="store_true", help="fewer epochs")
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args()
    if options.picture:
        load("matplotlib.figure", "plot")  # where it is missing, that is said before the work
    device, epochs, data = xn.device(options.device), 5 if options.quick else 30, xn.datasets.colors()

    print("[122, 66, 94] . [0.1, 0.2, 0.3] + 0.5 =", round(affine_by_hand(device), 6))
    print("softmax([0, 0.1, 5.3]) =", " ".join(f"{p:.8f}" for p in softmax_by_hand(device)))

    trainer, accuracy = train(data, device, epochs=epochs)
    print(f"\n{data}\n3-50-100-50-3, learning rate 0.01, normalised, {epochs} epochs: {accuracy:.0%} of the 20 others right")
    for rgb, name in zip(SHOWN, names(trainer, data, SHOWN), strict=True):
        print(f"  {rgb!s:15s} {name}")

    inputs = compare_inputs(data, device, epochs)
    print("\nRaw or normalised inputs (loss at the end of training, accuracy on the 20 others; three seeds each):")
    for kind, runs in inputs.items():
        print(f"  {kind:11s}", "   ".join(f"loss {loss[-1]:6.4f}, accuracy {accuracy:.2f}" for loss, accuracy in runs))
    print(
        "  Gradients of the first weights are proportional to the inputs, raw up to 255: the first steps overflow (nan), or\n"
        "  kill every ReLU of a layer, and what is left gives all colours the same answer, of a loss near ln 3 = 1.0986."
    )

    print("\nHow many layers, how many nodes, which learning rate (normalised; loss at the end of training):")
    print("  hidden layers x nodes", *(f"{f'rate {rate:g}':>11s}" for rate in RATES))
    for (layers, nodes), losses in sweep(data, device, epochs).items():
        print(f"  {f'{layers} x {nodes}' if layers else 'none':21s}", *(f"{loss:11.4f}" for loss in losses))
    if options.picture:
        picture(options.picture, inputs)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
