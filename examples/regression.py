"""Regression on a real table: the fuel economy of 392 cars, with RMSE and R2.

python examples/regression.py                        guessing, a straight line, a network
python examples/regression.py --device sim           the same on the simulated GPU (cuda: on a real one)
python examples/regression.py --picture cars.png     predicted against true, and how the error falls

A net for regression ends in an affine layer (the identity as output activation) and learns by the mean squared error.
Inputs and target are scaled to mean 0 and standard deviation 1, by figures of the training rows only: the test rows are to
be as new to the network as those that it will meet. The errors are given in miles per gallon all the same.
For a table of your own: xpnet train my.csv --target COLUMN
"""

import argparse

import numpy as np

import xpnet as xn
from xpnet.extras import load
from xpnet.plots import predicted_against_true


class Scaler:
    """``(a - mean) / std`` by the columns of the rows it was made from."""

    def __init__(self, a):
        self.mean, self.std = a.mean(axis=0), a.std(axis=0)

    def scale(self, a):
        return (a - self.mean) / self.std

    def undo(self, a):
        return a * self.std + self.mean


def train(data, widths, device, epochs, seed=0):
    """A net with tanh layers of these widths (none: linear regression); return the trainer and its test predictions in mpg."""
    inputs, target = Scaler(data.x_train), Scaler(data.y_train)
    init = xn.initializers.glorot_normal
    hidden = [layer for n in widths for layer in (xn.Affine(n, init=init), xn.Tanh())]
    trainer = xn.Trainer(
        xn.Sequential(*hidden, xn.Affine(1, init=init)),
        loss=xn.MeanSquaredError(),
        optimizer=xn.AdamW(0.003, weight_decay=0.1),
        device=device,
        seed=seed,
    )
    x_test, y_test = inputs.scale(data.x_test), target.scale(data.y_test)
    trainer.fit(
        inputs.scale(data.x_train), target.scale(data.y_train), epochs=epochs, batch_size=16, validation=(x_test, y_test)
    )
    return trainer, target.undo(trainer.predict(x_test)[:, 0])


def scores(predicted, true):
    """RMSE in the target's unit, and R2: the share of its variance that is explained."""
    return xn.rmse(predicted, true), xn.r2(predicted, true)


def picture(path, data, predicted, history):
    """Predicted against true, and the error of both parts by epoch."""
    figure = load("matplotlib.figure", "plot").Figure(figsize=(9, 4), layout="constrained")
    points, curves = figure.subplots(1, 2)
    predicted_against_true(data.y_test, predicted, "miles per gallon", axes=points)
    std = data.y_train.std()
    curves.plot(history["epoch"], np.sqrt(history["loss"]) * std, label="training cars")
    curves.plot(history["epoch"], np.array(history["validation_rmse"]) * std, label="test cars")
    curves.set(xlabel="epoch", ylabel="RMSE, miles per gallon", title="Error by epoch", ylim=(0, None))
    curves.legend()
    figure.savefig(path, dpi=120)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    parser.add_argument("--quick", action="store_true", help="fewer epochs")
    parser.add_argument("--picture", metavar="FILE.png")
    options = parser.parse_args()
    if options.picture:
        load("matplotlib.figure", "plot")  # where it is missing, that is said before the work
    epochs = 10 if options.quick else 100

    data = xn.datasets.auto_mpg()
    print(f"{data}\nfrom {', '.join(data.names)}\n")
    print(f"{'':32s}  RMSE, mpg     R2")
    guess = np.full_like(data.y_test, data.y_train.mean())
    print("{:32s}  {:9.2f}  {:5.2f}".format("the mean of the training cars", *scores(guess, data.y_test)))
    for name, widths in (("linear: no hidden layer", ()), ("network: 32-32, tanh", (32, 32))):
        trainer, predicted = train(data, widths, options.device, epochs)
        print("{:32s}  {:9.2f}  {:5.2f}".format(name, *scores(predicted, data.y_test)))
    print("\nfive of the test cars, miles per gallon:")
    for true, found in zip(data.y_test[:5], predicted[:5], strict=True):
        print(f"  true {true:5.1f}  predicted {found:5.1f}")
    if options.picture:
        picture(options.picture, data, predicted, trainer.history)
        print(f"\nwrote {options.picture}")


if __name__ == "__main__":
    main()
