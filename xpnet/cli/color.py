"""``xpnet color 233 63 127``: train the talk's network and let it say whether a colour is red, green or blue."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence

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

    import xpnet as xn
    from xpnet.preprocessing import Classes, Rows

    asked, data = parse(arguments.colors), xn.datasets.colors()
    inputs, target = Rows.fit(data.x_train), Classes(data.target, data.classes)
    trainer = xn.Trainer(
        xn.architectures.mlp((50, 100, 50), "relu", target.outputs),
        loss=xn.SoftmaxCrossEntropy(),
        optimizer=xn.SGD(0.01),
        device=arguments.device,
        seed=arguments.seed,
    )
    trainer.fit(inputs.encode(data.x_train), data.y_train, epochs=arguments.epochs, batch_size=10, progress=False)
    decoded = zip(*target.decode(trainer.predict(inputs.encode(np.array(asked)))), strict=True)
    for colour, (label, odds) in zip(asked, decoded, strict=True):
        shares = ", ".join(f"{name} {p:.2f}" for name, p in zip(data.classes, odds, strict=True))
        name = f"{' '.join(map(str, colour))}: " if len(asked) > 1 else ""
        print(f"{name}{data.classes[label]}  ({shares})")


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
