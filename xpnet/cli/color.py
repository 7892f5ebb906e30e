"""``xpnet color 233 63 127``: train the talk's network and let it say whether a colour is red, green or blue."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

Colour = tuple[int, int, int]


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "color",
        help="say whether a colour is red, green or blue, by a network",
        description="Train 3-50-100-50-3 on 240 colours, which takes a second, and let it name others as red, green or blue.",
        epilog="example: xpnet color 233 63 127 '#E93F7F'",
    )
    parser.set_defaults(run=run)
    parser.add_argument(
        "colors", nargs="*", metavar="RGB", help="red, green and blue, 0 to 255 each, or '#RRGGBB'; any number of colours"
    )
    parser.add_argument("--device", default="auto", help="auto (the default), cpu, cuda, cuda:1, sim")
    parser.add_argument("--seed", type=int, default=0, help="rules initial values and the order of samples, 0")
    parser.add_argument("--epochs", type=int, default=60, help="passes over the 240 colours, 60")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> None:
    """Print a line a colour: its class, and how sure the network is of each."""
    import numpy as np

    from xpnet.datasets import colors

    asked, data = parse(arguments.colors), colors()
    logits = network_outputs(arguments, np.array(asked))
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    for colour, row in zip(asked, odds / odds.sum(axis=1, keepdims=True), strict=True):
        shares = ", ".join(f"{name} {p:.2f}" for name, p in zip(data.classes, row, strict=True))
        name = f"{' '.join(map(str, colour))}: " if len(asked) > 1 else ""
        print(f"{name}{data.classes[row.argmax()]}  ({shares})")


def network_outputs(arguments: argparse.Namespace, rgb: np.ndarray) -> np.ndarray:
    """Logits (N, 3) of the colours ``rgb`` (N, 3), 0 to 255, by the network trained on inputs of mean 0 and deviation 1."""
    import xpnet as xn

    data = xn.datasets.colors()
    mean, std = data.x_train.mean(axis=0), data.x_train.std(axis=0)
    hidden = [layer for n in (50, 100, 50) for layer in (xn.Affine(n), xn.ReLU())]
    trainer = xn.Trainer(
        xn.Sequential(*hidden, xn.Affine(3)),
        loss=xn.SoftmaxCrossEntropy(),
        optimizer=xn.SGD(0.01),
        device=arguments.device,
        seed=arguments.seed,
    )
    trainer.fit((data.x_train - mean) / std, data.y_train, epochs=arguments.epochs, batch_size=10, progress=False)
    return trainer.predict((rgb - mean) / std)


def parse(words: Sequence[str]) -> list[Colour]:
    """The colours in ``["233", "63", "127", "#E93F7F"]``; ValueError says which word is none."""
    numbers: list[int] = []
    for word in " ".join(words).replace(",", " ").split():
        if re.fullmatch("#[0-9a-fA-F]{6}", word) and len(numbers) % 3 == 0:
            numbers += bytes.fromhex(word[1:])
        elif re.fullmatch("[0-9]{1,3}", word) and int(word) <= 255:
            numbers.append(int(word))
        else:
            raise ValueError(f"{word} is no part of a colour: say three whole numbers from 0 to 255, or '#RRGGBB'")
    if not numbers or len(numbers) % 3:
        raise ValueError(
            f"{len(numbers)} numbers: a colour has three, red, green and blue from 0 to 255; or say '#RRGGBB' (in quotes)"
        )
    return [(numbers[k], numbers[k + 1], numbers[k + 2]) for k in range(0, len(numbers), 3)]
