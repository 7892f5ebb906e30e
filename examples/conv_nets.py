"""Convolution nets on MNIST: those of Nielsen's book, chapter 6, with its settings, and one with today's.

python examples/conv_nets.py --data FOLDER       2 of the book's 60 epochs for each net, 4 epochs of today's: two minutes
python examples/conv_nets.py --full              the book's 60 epochs, some ten minutes for each of the three nets
python examples/conv_nets.py --nets today        one of them
python examples/conv_nets.py --quick             500 training images, 1 epoch: whether it works, no more

FOLDER (or XPNET_DATA, or the cache) holds MNIST's four IDX files; --download fetches them. 50,000 images train, 10,000 others
choose the epoch, and its accuracy on the 10,000 test images counts, as in the book. Every convolution is of 5x5 pixels, and the
maximum of 2x2 goes on: "28x28 -> 20 maps of 12x12 -> 40 of 4x4 -> 100 -> 10". The last layer's softmax is in the loss, which
the book calls log-likelihood. The book goes through the images in the same order in every epoch; today's net shuffles them.
"""

import argparse
import math
import sys
from typing import NamedTuple

import xpnet as xn


class Book(NamedTuple):
    """Settings of the book, and its figure in per cent of the test images."""

    maps: tuple[int, ...]
    activation: type[xn.Layer]
    eta: float
    lmbda: float
    figure: float


BATCH, EPOCHS = 10, 60
BOOK = {
    "one": Book((20,), xn.Sigmoid, 0.1, 0.0, 98.78),  # one convolution, 100 sigmoid neurons
    "two": Book((20, 40), xn.Sigmoid, 0.1, 0.0, 99.06),  # two convolutions, 100 sigmoid neurons
    "relu": Book((20, 40), xn.ReLU, 0.03, 0.1, 99.23),  # the same with ReLU and L2
}
NETS = [*BOOK, "today"]


def book_net(row):
    """Weights from N(0, 1 / n_out), biases from N(0, 1), the last layer 0; a convolution's n_out is maps * 5 * 5 / (2 * 2)."""
    normal, layers = xn.initializers.normal, []
    for maps in row.maps:
        convolution = xn.Conv2d(maps, 5, init=normal(math.sqrt(4 / (25 * maps))), bias_init=normal())
        layers += [convolution, xn.MaxPool2d(2), row.activation()]
    hidden = xn.Affine(100, init=normal(math.sqrt(1 / 100)), bias_init=normal())
    return xn.Sequential(*layers, xn.Flatten(), hidden, row.activation(), xn.Affine(10, init=xn.initializers.zeros))


def todays_net():
    """Batch normalisation, ReLU, and every image shifted by up to a pixel, anew in every epoch."""
    layers = []
    for maps in (16, 32):
        layers += [xn.Conv2d(maps, 5, bias=False), xn.MaxPool2d(2), xn.BatchNorm(), xn.ReLU()]
    return xn.Sequential(xn.RandomShift(1), *layers, xn.Flatten(), xn.Affine(100), xn.ReLU(), xn.Affine(10))


def settings(name, n, epochs):
    """Network, optimizer, and arguments of ``fit``, for ``n`` training images."""
    if name == "today":
        steps = epochs * math.ceil(n / 50)
        return todays_net(), xn.Momentum(xn.Cosine(0.05, steps)), {"batch_size": 50, "epochs": epochs}
    row = BOOK[name]
    rule = xn.SGD(row.eta, l2=row.lmbda * BATCH / n)  # the book's program divides lambda by the number of minibatches
    return book_net(row), rule, {"batch_size": BATCH, "epochs": epochs, "shuffle": False}


def parts_of(data, rows=50_000, others=10_000):
    """The book's three parts, (x, y) each: for training, to choose the epoch, for the test; fewer images if so wished."""
    cuts = slice(0, rows), slice(50_000, 50_000 + others)
    return [*((data.x_train[cut], data.y_train[cut]) for cut in cuts), (data.x_test[:others], data.y_test[:others])]


class Run(NamedTuple):
    """What one training gave: the chosen epoch, its accuracy in per cent of the test images, time, number of parameters."""

    epoch: int
    accuracy: float
    seconds: float
    parameters: int


def run(name, parts, epochs, device="cpu", seed=0, dtype="float32"):
    """Train one net on the first of three parts, (x, y) each; after every epoch a line on stderr."""
    training, validation, test = parts
    best, chosen = -1.0, (0, 0.0)

    def look(trainer, record):
        nonlocal best, chosen
        if record["validation_accuracy"] >= best:
            best = record["validation_accuracy"]
            chosen = int(record["epoch"]), 100 * trainer.evaluate(*test)["accuracy"]
        now = f"{name} seed {seed} epoch {record['epoch']}: loss {record['loss']:.4f}"
        print(f"{now}, chosen epoch {chosen[0]}: {chosen[1]:.2f} %", file=sys.stderr, flush=True)

    net, rule, how = settings(name, len(training[0]), epochs)
    where = {"device": device, "seed": seed, "dtype": dtype}
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=rule, callbacks=[look], **where)
    history = trainer.fit(*training, validation=validation, progress=False, **how)
    return Run(*chosen, sum(history["seconds"]), sum(p.size for p in net.parameters.values() if p.trainable))


def parsed():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", metavar="FOLDER", help="MNIST's IDX files; default: XPNET_DATA")
    parser.add_argument("--download", action="store_true", help="fetch MNIST where it is missing")
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--nets", nargs="+", choices=NETS, default=NETS, metavar="NET", help=" ".join(NETS))
    parser.add_argument("--seeds", type=int, default=1, help="trainings of each net")
    parser.add_argument("--full", action="store_true", help="60 epochs of the book's nets, as in the book")
    parser.add_argument("--quick", action="store_true", help="500 training images, 1 epoch")
    options = parser.parse_args()
    try:
        xn.device(options.device)
        return options, xn.datasets.mnist(options.data, flatten=False, download=options.download)
    except (OSError, ValueError, ImportError, xn.DeviceUnavailable) as error:
        parser.exit(1, f"conv_nets: {error}\n")


def main():
    options, data = parsed()
    parts, books, todays, dtype = parts_of(data), EPOCHS if options.full else 2, 4, "float32"
    if options.quick:  # in float64, where no rounding shows: devices convolve in ways of their own
        parts, books, todays, dtype = parts_of(data, 500, 250), 1, 1, "float64"
    print("net    maps   activation  parameters  seed  epochs  chosen  accuracy  book, 60 epochs      time")
    for name in options.nets:
        maps, activation, *_, figure = BOOK.get(name, ((16, 32), xn.ReLU, ""))
        described = f"{name:5}  {'+'.join(map(str, maps)):5}  {activation.__name__:10}"
        for seed in range(options.seeds):
            epochs = todays if name == "today" else books
            found = run(name, parts, epochs, options.device, seed, dtype)
            print(
                f"{described}  {found.parameters:10,}  {seed:4}  {epochs:6}  {found.epoch:6}  {found.accuracy:6.2f} %  "
                f"{figure:15}  {found.seconds:6.1f} s"
            )
    print("Per cent of the test images after the chosen epoch, the best on the validation images; time: of training alone.")
    if books < EPOCHS and set(options.nets) & set(BOOK):
        print(f"The book's nets have had {books} of their {EPOCHS} epochs here; --full gives them all.")


if __name__ == "__main__":
    main()
