"""``xpnet train DATA``: train on a data set or on data of one's own, say how good the result is, and save it."""

from __future__ import annotations

import argparse
import functools
import math
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xpnet.architectures import ACTIVATIONS
from xpnet.checks import closest
from xpnet.cli import runs
from xpnet.optimizers import OPTIMIZERS

if TYPE_CHECKING:
    from xpnet import Callback, Checkpoints, Optimizer, Trainer
    from xpnet.preprocessing import Prepared

RATES = {"sgd": 0.1, "momentum": 0.02, "nesterov": 0.02, "adagrad": 0.02, "rmsprop": 1e-3, "adam": 1e-3, "adamw": 1e-3}
PICTURES = {"digits": 60, "mnist": 10, "fashion-mnist": 10, "cifar10": 10}  # epochs: a second, then about half a minute
NAMES = (*PICTURES, "colors", "xor", "spirals", "blobs", "auto-mpg")
UPDATES = 30_000  # about as many where --epochs is not given, half a minute at most ...
MOST_EPOCHS = 200  # ... but no more passes than these
LINES = 60  # epochs that are printed
DESCRIPTION = """
Train on one of the data sets by name, or on data of your own: a table (CSV, or .npy of two axes) with --target,
arrays (.npz with x and y, or x_train, y_train, x_test, y_test), a folder with one subfolder of images for each class.
What was assumed is said in the first line; scales and categories are those of the training part.
"""


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser("train", help="train on a data set or on data of your own", description=DESCRIPTION)
    fill(parser)
    parser.set_defaults(run=functools.partial(run, parser=parser))


def fill(parser: argparse.ArgumentParser) -> None:
    """The options."""
    parser.add_argument(
        "dataset", nargs="?", type=name_or_path, metavar="DATA", help=f"{', '.join(NAMES)}; or a file or folder"
    )
    parser.add_argument("--save", metavar="DIR", help="a new folder: the network, its checkpoints, the log of the training")
    parser.add_argument(
        "--resume",
        metavar="DIR",
        help="go on with the training in that folder; --epochs, --device, --data may be changed, for good",
    )
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")
    _add_training(parser.add_argument_group("training"))
    _add_own(parser.add_argument_group("data of your own"))
    named = parser.add_argument_group("data sets by name")
    named.add_argument(
        "--data", metavar="DIR", help="folder with the files of mnist, fashion-mnist, cifar10; or set XPNET_DATA"
    )
    named.add_argument("--download", action="store_true", default=None, help="fetch what is not there")


def _add_training(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--device",
        default="auto",
        help="auto (the default), cpu, cpu-fast (with Numba), cuda (the current GPU), cuda:1, sim (a simulated GPU)",
    )
    group.add_argument("--epochs", type=int, help="passes over the training part (digits: 60; otherwise by its size)")
    group.add_argument("--batch-size", type=int, default=32, help="samples per update, 32; 0 is the whole set")
    group.add_argument(
        "--hidden",
        type=int,
        nargs="*",
        metavar="N",
        help="widths of the hidden layers, 256 (pictures) or 64 64; none is a linear model",
    )
    group.add_argument("--activation", choices=tuple(ACTIVATIONS), default="relu", help="of the hidden layers, relu")
    group.add_argument("--optimizer", choices=tuple(OPTIMIZERS), default="adam", help="update rule, adam")
    group.add_argument("--learning-rate", "--lr", type=float, metavar="RATE", help="a default for each optimizer (adam: 0.001)")
    group.add_argument(
        "--early-stopping",
        type=int,
        metavar="N",
        help="stop after N epochs without a better loss on the held-out rows; keep the best",
    )
    group.add_argument("--seed", type=int, default=0, help="rules initial values, the split and the order of samples, 0")
    group.add_argument("--dtype", choices=("float32", "float64"), default="float32", help="precision of everything, float32")


def _add_own(group: argparse._ArgumentGroup) -> None:
    group.add_argument(
        "--target", metavar="COLUMN", help="what to predict: a column's name or position (0 the first, -1 the last)"
    )
    group.add_argument(
        "--task",
        choices=("classification", "regression"),
        help="otherwise text, and whole numbers with at most 10 different values, are classes",
    )
    group.add_argument("--validation", type=float, metavar="SHARE", help="share of the rows to hold out, 0.2")
    group.add_argument("--missing", choices=("drop", "fill"), help="rows with gaps: leave them out, or fill in the median")
    group.add_argument("--drop", nargs="+", metavar="COLUMN", help="columns to leave out")
    add_csv(group)
    group.add_argument("--size", type=int, metavar="PIXELS", help="resize images to PIXELS x PIXELS")


def add_csv(group: argparse._ArgumentGroup | argparse.ArgumentParser) -> None:
    """The options that say how a CSV file is written."""
    group.add_argument(
        "--header", choices=("yes", "no"), help="whether the first row names the columns; in predict as in training"
    )
    group.add_argument("--delimiter", metavar="CHARACTER", help="between cells; found by itself among , ; | and tab")
    group.add_argument("--encoding", metavar="NAME", help="of the text, utf-8")


def name_or_path(text: str) -> str:
    """A data set's name, or what looks like a path."""
    if text in NAMES or os.path.exists(text) or Path(text).suffix or os.path.basename(text) != text:
        return text
    said = f"{text!r} is no file or folder, and no data set: choose from {', '.join(NAMES)}{closest(text, NAMES)}"
    raise argparse.ArgumentTypeError(said)


def run(arguments: argparse.Namespace, parser: argparse.ArgumentParser) -> int:
    """Train, a line an epoch, then how good it is on the rows held out, the device and the speed."""
    import xpnet as xn
    from xpnet.cli.train_own import metrics, named, own
    from xpnet.training.callbacks import has_diverged

    if arguments.resume is not None:
        arguments = runs.resumed(arguments)
    elif arguments.dataset is None:
        parser.error(f"DATA is missing: one of {', '.join(NAMES)}, or a file or folder of your own")
    elif arguments.save is not None:
        runs.check_new(arguments.save)
    if arguments.batch_size < 0:
        raise ValueError(f"--batch-size {arguments.batch_size}: a whole number from 1 on, or 0 for the whole set")
    try:
        job = named(arguments) if arguments.dataset in NAMES else own(arguments)
    except FileNotFoundError as error:
        raise error if arguments.resume is None else runs.moved(error, arguments) from error
    hidden = arguments.hidden if arguments.hidden is not None else [256] if arguments.dataset in PICTURES else [64, 64]
    epochs, keeper = chosen_epochs(arguments, len(job.x_train)), kept(arguments, job)
    trainer = xn.Trainer(
        xn.architectures.mlp(hidden, arguments.activation, job.target.outputs),
        loss=xn.SoftmaxCrossEntropy() if job.target.task == "classification" else xn.MeanSquaredError(),
        optimizer=optimizer(arguments),
        device=arguments.device,
        seed=arguments.seed,
        dtype=arguments.dtype,
        metrics=metrics(job),
        callbacks=[beginning(arguments, keeper, epochs), printer(epochs), has_diverged],
    )
    print(f"{job.said}; device {trainer.device.name} ({trainer.device_reason})", flush=True)
    if arguments.dataset not in PICTURES:
        print(
            f"layers {job.x_train.shape[1]} {' '.join(map(str, [*hidden, job.target.outputs]))}; epochs: {epochs}",
            flush=True,
        )
    with runs.warned():
        return trained(trainer, job, arguments, epochs, keeper)


def trained(trainer: Trainer, job: Prepared, arguments: argparse.Namespace, epochs: int, keeper: Checkpoints | None) -> int:
    """Fit, report and save; the exit status."""
    import xpnet as xn

    stopping = None if arguments.early_stopping is None else xn.EarlyStopping(arguments.early_stopping)
    try:
        trainer.fit(
            job.x_train,
            job.y_train,
            epochs=epochs,
            batch_size=arguments.batch_size or None,
            validation=(job.x_held, job.y_held),
            early_stopping=stopping,
            checkpoints=keeper,
            resume=arguments.resume is not None,
        )
    except xn.Interrupted as stop:
        again = f"xpnet train --resume {shlex.quote(arguments.save)}"
        print(f"stopped {stop.where}; saved in {arguments.save}: {again} goes on", file=sys.stderr)
        return 130
    if stopping:
        print(f"best epoch {stopping.best_epoch} of {len(trainer.history['epoch'])} by the {job.held} rows, kept")
    elif best := past_best(trainer.history["validation_loss"]):
        print(
            f"the loss of the {job.held} rows was lowest in epoch {best} and has risen since: --early-stopping N keeps the best"
        )
    try:
        print(report(trainer, job))
    except ValueError as error:
        raise ValueError(f"{error}, and another name than {arguments.save}") if keeper else error from None
    if keeper:
        save(arguments.save, trainer, job, keeper)
    return 0


def kept(arguments: argparse.Namespace, job: Prepared) -> Checkpoints | None:
    """The checkpoints of the run, if it is kept at all."""
    import xpnet as xn
    from xpnet.saving.models import about

    if arguments.save is None:
        return None
    return xn.Checkpoints(arguments.save, about=about(job.inputs, job.target, Path(arguments.dataset).name))


def beginning(arguments: argparse.Namespace, keeper: Checkpoints | None, epochs: int) -> Callback:
    """A callback that, now that all has been checked, puts the options into the run's folder, or says where it goes on."""
    import xpnet as xn

    class Beginning(xn.Callback):
        def begin(self, trainer: Trainer) -> None:
            if keeper and not math.isfinite((trainer.history.get("loss") or [0])[-1]):
                raise ValueError(f"the training in {arguments.save} has diverged: train with other options, in another folder")
            if keeper:
                runs.begin(arguments)
            if keeper and arguments.resume is not None:
                print(going_on(keeper, trainer.epoch, epochs), flush=True)

    return Beginning()


def going_on(keeper: Checkpoints, done: int, epochs: int) -> str:
    """What to say where a run goes on."""
    if keeper.resumed_from is None:
        return "no checkpoint was written yet: the training begins anew"
    why = ""
    if keeper.ended:
        why = f"; early stopping had ended it after {done} epochs, for good"
    elif done >= epochs:
        why = f"; its {done} epochs are done: --epochs with a larger number goes on"
    return f"going on from {keeper.resumed_from}{why}"


def save(folder: str, trainer: Trainer, job: Prepared, keeper: Checkpoints) -> None:
    """Write the model into the folder of the run, and say what it is good for."""
    from xpnet.saving.models import MODEL, Model, save_model

    save_model(Path(folder).expanduser() / MODEL, Model(trainer.net, job.inputs, job.target, keeper.about["data"]))
    print(f"saved in {folder}: xpnet predict {shlex.quote(folder)} FILE")


def chosen_epochs(arguments: argparse.Namespace, rows: int) -> int:
    """What was asked for; otherwise the data set's own, or enough for some 30,000 updates."""
    if arguments.epochs is not None:
        return arguments.epochs
    steps = math.ceil(rows / arguments.batch_size) if arguments.batch_size > 0 else 1
    return PICTURES.get(arguments.dataset) or max(1, min(MOST_EPOCHS, UPDATES // steps))


def printer(epochs: int) -> Callable[[Trainer, dict[str, Any]], None]:
    """A callback that prints a line for each epoch, or for every second, third, ... so that no more than 60 are printed."""
    import xpnet as xn

    every = -(-epochs // LINES)

    def print_some(trainer: Trainer, record: dict[str, Any]) -> None:
        if record["epoch"] % every == 0 or record["epoch"] == epochs:
            xn.print_epoch(trainer, record)

    return print_some


def report(trainer: Trainer, job: Prepared) -> str:
    """The closing lines: device and why it was chosen, training speed, and the score of the rows held out."""
    from xpnet.cli.train_own import score

    seconds, done = sum(trainer.history["seconds"]), len(trainer.history["seconds"])
    rate = len(job.x_train) * done / seconds
    return (
        f"device {trainer.device.name} ({trainer.device_reason}), {rate:,.0f} samples/s, {seconds:.1f} s of training\n"
        f"{score(job, trainer.evaluate(job.x_held, job.y_held))}"
    )


def past_best(losses: Sequence[float]) -> int:
    """The epoch (from 1 on) of the lowest loss, if the last one is higher by a tenth or more; else 0."""
    lowest = min(losses)
    return losses.index(lowest) + 1 if losses[-1] > 1.1 * lowest else 0


def optimizer(arguments: argparse.Namespace) -> Optimizer:
    """The named rule with the given learning rate, or its default."""
    rate = RATES[arguments.optimizer] if arguments.learning_rate is None else arguments.learning_rate
    return OPTIMIZERS[arguments.optimizer](rate)
