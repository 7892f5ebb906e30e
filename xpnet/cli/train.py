"""``xpnet train digits|mnist``: train on handwritten digits and say how good the result is."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xpnet import Optimizer, Sequential, Trainer
    from xpnet.datasets import Dataset

ACTIVATIONS = ("relu", "sigmoid", "tanh", "leaky-relu", "elu", "gelu", "silu", "softplus")
OPTIMIZERS = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adagrad": 0.02, "rmsprop": 1e-3, "adam": 1e-3, "adamw": 1e-3}
EPOCHS = {"digits": 60, "mnist": 10}  # a second, and half a minute, on two cores


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser("train", help="train on a data set", description="Train on handwritten digits.")
    parser.set_defaults(run=run)
    parser.add_argument(
        "dataset", choices=("digits", "mnist"), help="digits: embedded, 8x8 pixels; mnist: from a folder, 28x28"
    )
    parser.add_argument("--data", metavar="DIR", help="folder with the IDX files of mnist; or set XPNET_DATA")
    parser.add_argument(
        "--device", default="auto", help="auto (the default), cpu, cuda (the current GPU), cuda:1, sim (a simulated GPU)"
    )
    parser.add_argument("--epochs", type=int, help="passes over the training set (digits: 60, mnist: 10)")
    parser.add_argument("--batch-size", type=int, default=32, help="samples per update, 32; 0 is the whole set")
    parser.add_argument(
        "--hidden",
        type=int,
        nargs="*",
        default=[256],
        metavar="N",
        help="widths of the hidden layers, 256; none is a linear model",
    )
    parser.add_argument("--activation", choices=ACTIVATIONS, default="relu", help="of the hidden layers, relu")
    parser.add_argument("--optimizer", choices=tuple(OPTIMIZERS), default="adam", help="update rule, adam")
    parser.add_argument("--learning-rate", type=float, metavar="RATE", help="a default for each optimizer (adam: 0.001)")
    parser.add_argument("--seed", type=int, default=0, help="rules initial values and the order of samples, 0")
    parser.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="precision of everything, float32")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> None:
    """Train, a line an epoch, then the test accuracy, the device and the speed."""
    import xpnet as xn

    if arguments.data and arguments.dataset == "digits":
        raise ValueError("digits are embedded: --data is for mnist")
    data = xn.datasets.digits() if arguments.dataset == "digits" else xn.datasets.mnist(arguments.data)
    net = network(arguments, len(data.classes))
    trainer = xn.Trainer(
        net,
        loss=xn.SoftmaxCrossEntropy(),
        optimizer=optimizer(arguments),
        device=arguments.device,
        seed=arguments.seed,
        dtype=arguments.dtype,
        callbacks=[xn.print_epoch],
    )
    print(f"{data}; device {trainer.device.name} ({trainer.device_reason})", flush=True)
    epochs = arguments.epochs if arguments.epochs is not None else EPOCHS[arguments.dataset]
    trainer.fit(
        data.x_train,
        data.y_train,
        epochs=epochs,
        batch_size=arguments.batch_size or None,
        validation=(data.x_test, data.y_test),
    )
    print(report(trainer, data))


def report(trainer: Trainer, data: Dataset) -> str:
    """The closing lines: accuracy on the test set, device and why it was chosen, training speed."""
    seconds = sum(trainer.history["seconds"])
    rate = len(data.x_train) * len(trainer.history["seconds"]) / seconds
    return (
        f"device {trainer.device.name} ({trainer.device_reason}), {rate:,.0f} samples/s, {seconds:.1f} s of training\n"
        f"test accuracy {trainer.evaluate(data.x_test, data.y_test)['accuracy']:.4f}"
    )


def network(arguments: argparse.Namespace, classes: int) -> Sequential:
    """Affine layers of the given widths with the activation between them."""
    import xpnet as xn

    kinds = dict(
        zip(ACTIVATIONS, (xn.ReLU, xn.Sigmoid, xn.Tanh, xn.LeakyReLU, xn.ELU, xn.GELU, xn.SiLU, xn.Softplus), strict=True)
    )
    init = xn.initializers.glorot_normal if arguments.activation in ("sigmoid", "tanh") else xn.initializers.he_normal
    hidden = [layer for n in arguments.hidden for layer in (xn.Affine(n, init=init), kinds[arguments.activation]())]
    return xn.Sequential(*hidden, xn.Affine(classes, init=init))


def optimizer(arguments: argparse.Namespace) -> Optimizer:
    """The named rule with the given learning rate, or its default."""
    import xpnet as xn

    kinds = dict(zip(OPTIMIZERS, (xn.SGD, xn.Momentum, xn.Nesterov, xn.AdaGrad, xn.RMSProp, xn.Adam, xn.AdamW), strict=True))
    rate = OPTIMIZERS[arguments.optimizer] if arguments.learning_rate is None else arguments.learning_rate
    return kinds[arguments.optimizer](rate)
