"""A small VGG on 5,000 colour photographs of CIFAR-10: planes of bytes to images, normalisation, five epochs.

python examples/cifar10.py --data FOLDER        half a minute on two cores
python examples/cifar10.py --seeds 3            three trainings, their mean and standard deviation
python examples/cifar10.py --device sim         the same on the simulated GPU (cuda: on a real one)
python examples/cifar10.py --quick              200 photographs, 1 epoch: whether it works, no more

FOLDER (or XPNET_DATA) holds cifar10_small.npz with x_train (N, 3, 32, 32), y_train, x_test and y_test in bytes,
or CIFAR-10 in its binary version, of which the first 5,000 + 2,000 photographs are taken; --download fetches that (170 MB).

The net: convolutions of 3x3 to 32, 32 channels, pooling, 64, 64, pooling, each with batch normalisation and ReLU; 128; 10.
"""

import argparse
import os
from pathlib import Path

import numpy as np

import xpnet as xn
from xpnet.datasets.cifar10 import CLASSES

TRAINING, TEST = 5_000, 2_000
EPOCHS, BATCH = 5, 32


def as_images(planes):
    """Bytes (N, 3, 32, 32), three planes one after another, as most files and libraries have them -> float32 (N, 32, 32, 3)."""
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1), np.float32) / 255


def photographs(folder=None, download=False):
    """Training and test part, (x, y) each, x (N, 32, 32, 3) in [0, 1]; FileNotFoundError where there are none."""
    place = Path(folder or os.environ.get("XPNET_DATA") or ".")
    for path in (place / "cifar10_small.npz", place / "cifar10_small" / "cifar10_small.npz"):
        if path.is_file():
            with np.load(path) as stored:
                return [(as_images(stored[f"x_{part}"]), stored[f"y_{part}"].astype(np.int64)) for part in ("train", "test")]
    d = xn.datasets.cifar10(folder, flatten=False, download=download)
    return [(d.x_train[:TRAINING], d.y_train[:TRAINING]), (d.x_test[:TEST], d.y_test[:TEST])]


def normalised(training, test):
    """Each channel with mean 0 and standard deviation 1: those of the training part, for both."""
    mean, std = (f(training[0], axis=(0, 1, 2)) for f in (np.mean, np.std))
    return [((x - mean) / std, y) for x, y in (training, test)]


def learn(training, test, epochs, device="cpu", seed=0, dtype="float32"):
    """Mean loss of each epoch, seconds, and which of the test photographs are recognised."""
    x, y = training
    rate = xn.Cosine(1e-3, steps=epochs * -(-len(x) // BATCH))
    loss, optimizer = xn.SoftmaxCrossEntropy(), xn.Adam(rate)
    trainer = xn.Trainer(xn.architectures.vgg(), loss=loss, optimizer=optimizer, device=device, seed=seed, dtype=dtype)
    history = trainer.fit(x, y, epochs=epochs, batch_size=BATCH)
    return history["loss"], sum(history["seconds"]), trainer.predict(test[0]).argmax(axis=1) == test[1]


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="where the photographs are; default: XPNET_DATA")
    parser.add_argument("--download", action="store_true", help="fetch CIFAR-10 where it is missing")
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--seeds", type=int, default=1, help="number of trainings")
    parser.add_argument("--quick", action="store_true", help="200 photographs, 1 epoch")
    options = parser.parse_args()
    try:
        xn.device(options.device)
        return options, photographs(options.data, options.download)
    except (OSError, ValueError, ImportError, xn.DeviceUnavailable) as error:
        parser.exit(1, f"cifar10: {error}\n")


def main():
    options, (training, test) = parsed()
    epochs, dtype = EPOCHS, "float32"
    if options.quick:  # in float64, where no rounding shows: devices convolve in ways of their own
        (training, test), epochs, dtype = [(x[:200], y[:200]) for x, y in (training, test)], 1, "float64"
    training, test = normalised(training, test)
    print(
        f"{len(training[0]):,} photographs to learn, {len(test[0]):,} for the test; epochs: {epochs}, in minibatches of {BATCH}"
    )
    print("seed   accuracy      time  loss, epoch by epoch")
    accuracies, right = [], np.zeros(len(test[1]))
    for seed in range(options.seeds):
        losses, seconds, found = learn(training, test, epochs, options.device, seed, dtype)
        accuracies.append(100 * found.mean())
        right += found / options.seeds
        print(f"{seed:4}  {accuracies[-1]:7.2f} %  {seconds:6.1f} s  " + "  ".join(f"{loss:.3f}" for loss in losses))
    if options.seeds > 1:
        print(f"mean {np.mean(accuracies):7.2f} %, standard deviation {np.std(accuracies, ddof=1):.2f}")
    print("by class: " + ", ".join(f"{name} {100 * right[test[1] == k].mean():.0f} %" for k, name in enumerate(CLASSES)))


if __name__ == "__main__":
    main()
