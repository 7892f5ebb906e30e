"""Overfitting: a net learns 1,000 images by heart, and what helps it to recognise others.

python examples/overfitting.py --data FOLDER              1,000 images of MNIST; without it, 300 of the digits that are here
python examples/overfitting.py --picture overfitting.png  and as a picture
python examples/overfitting.py --device sim               the same on the simulated GPU (cuda: on a real one)
python examples/overfitting.py --quick                    digits, 10 epochs, 1 seed

FOLDER (or XPNET_DATA, or the cache) holds MNIST's four IDX files. The net is always 128-128-10 with ReLU, trained by Adam.
Accuracy on the training images far above that on test images, the gap, is what overfitting means; at both the net looks
without the noise of training. The cures:

weight decay  every step takes 1/1000 off all weights: no input may count for much
dropout       half of the hidden neurons are silent in each step, others every time: none relies on a certain other one
noise         pixels are blurred by N(0, 0.3^2), anew in every step: a small change must not change the answer
shift         each image is moved by up to 2 pixels (1 of 8), anew in every step: more images than there are
flip          each image is mirrored or not, and this is no cure: a mirrored 2 is none. A move has to keep the label
"""

import argparse
import itertools

import numpy as np

import xpnet as xn
from xpnet.extras import load

CURES = "none", "weight decay", "dropout", "noise", "shift", "flip", "noise and shift"
SHOWN = 1, 2, 5, 10, 20, 40, 60  # epochs


def net_of(cure, pixels):
    """The net behind what moves and blurs its images, which happens in training only."""
    moves = {"shift": [xn.RandomShift(pixels)], "noise and shift": [xn.RandomShift(pixels)], "flip": [xn.RandomFlip()]}.get(
        cure, []
    )
    noise = [xn.GaussianNoise(0.3)] if cure in ("noise", "noise and shift") else []
    hidden = []
    for _ in range(2):
        hidden += [xn.Affine(128), xn.ReLU(), *([xn.Dropout(0.5)] if cure == "dropout" else [])]
    return xn.Sequential(*moves, xn.Flatten(), *noise, *hidden, xn.Affine(10))


def learn(cure, training, test, epochs, device, seed):
    """Per cent right of the training and of the test images, (epochs shown, 2)."""
    net = net_of(cure, pixels=2 if training[0].shape[1] == 28 else 1)
    rule = xn.AdamW(weight_decay=1.0 if cure == "weight decay" else 0.0)
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=rule, device=device, seed=seed)
    found = []
    for before, epoch in itertools.pairwise((0, *epochs)):
        trainer.fit(*training, epochs=epoch - before, progress=False)
        found.append([100 * trainer.evaluate(*part)["accuracy"] for part in (training, test)])
    return np.array(found)


def images(folder, quick):
    """Name, training and test part, (x, y) each, with x of shape (N, H, W, 1)."""
    try:
        d, n = xn.datasets.mnist(folder, flatten=False), 1_000
        if not quick:
            return "MNIST", (d.x_train[:n], d.y_train[:n]), (d.x_test, d.y_test)
    except FileNotFoundError:
        if folder:
            raise
    d, n = xn.datasets.digits(), 300
    return "the digits", (d.x_train[:n].reshape(-1, 8, 8, 1), d.y_train[:n]), (d.x_test.reshape(-1, 8, 8, 1), d.y_test)


def picture(path, name, epochs, found):
    """Training and test accuracy by epoch, without a cure and with the best, and the test accuracy with each."""
    best = max(found, key=lambda cure: found[cure][:, -1, 1].mean())
    figure = load("matplotlib.figure", "plot").Figure(figsize=(12, 4.6), layout="constrained")
    gap, tests = figure.subplots(1, 2)
    for cure, color in (("none", "k"), (best, f"C{CURES.index(best)}")):
        training, test = found[cure].mean(axis=0).T
        gap.plot(epochs, training, "--", color=color, label=f"{cure}: training images")
        gap.plot(epochs, test, color=color, label=f"{cure}: test images")
        gap.fill_between(epochs, test, training, color=color, alpha=0.12)
    for k, (cure, runs) in enumerate(found.items()):
        tests.plot(epochs, runs.mean(axis=0)[:, 1], marker="o", markersize=4, color="k" if k == 0 else f"C{k}", label=cure)
    top = found[best][:, -1, 1].mean()
    gap.set(title=f"The gap, without a cure and with {best}", ylabel="accuracy, %", ylim=(top - 25, 101))
    tests.set(title=f"Test images of {name}", ylabel="accuracy, %", ylim=(top - 15, top + 1))
    for axes in (gap, tests):
        axes.set(xlabel="epoch", xscale="log", xticks=epochs, xticklabels=epochs)
        axes.minorticks_off()
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8, loc="lower right")
    figure.savefig(path, dpi=110)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's IDX files; default: XPNET_DATA")
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--picture", metavar="FILE.png")
    parser.add_argument("--quick", action="store_true", help="digits, 10 epochs, 1 seed")
    options = parser.parse_args()
    try:
        xn.device(options.device)
        if options.picture:
            load("matplotlib.figure", "plot")  # where it is missing, that is said before the work
        name, training, test = images(options.data, options.quick)
    except (OSError, ValueError, ImportError, xn.DeviceUnavailable) as error:
        parser.exit(1, f"overfitting: {error}\n")
    epochs, seeds = ([e for e in SHOWN if e <= 10], 1) if options.quick else (SHOWN, 3)

    print(f"{len(training[0]):,} images of {name} to learn, {len(test[0]):,} for the test; per cent right; seeds: {seeds}\n")
    print(f"{'after epoch':26s}" + "".join(f"{epoch:8d}" for epoch in epochs) + "     gap  test (lowest to highest)")
    found = {}
    for cure in CURES:
        runs = found[cure] = np.stack([learn(cure, training, test, epochs, options.device, seed) for seed in range(seeds)])
        for part, percents in zip(("training", "test"), runs.mean(axis=0).T, strict=True):
            print(f"{cure if part == 'training' else '':17s}{part:9s}" + "".join(f"{p:8.2f}" for p in percents), end="")
            print("" if part == "training" else f"{np.subtract(*runs.mean(axis=0)[-1]):8.2f}  {spread(runs[:, -1, 1])}")
    if training[0].shape[1] == 8:
        print("Digits of 8x8 fill their frames, so that a shift takes strokes away: here it is no more a cure than flip.")
    if options.picture:
        picture(options.picture, name, epochs, found)
        print(f"\nwrote {options.picture}")


def spread(values):
    return f"{values.mean():.2f} ({values.min():.2f} to {values.max():.2f})"


if __name__ == "__main__":
    main()
