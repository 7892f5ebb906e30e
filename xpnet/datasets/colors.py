"""The colours of the talk *Deep learning in Python with NumPy* (2016): is an RGB triple red, green or blue?"""

from __future__ import annotations

import numpy as np

from xpnet.datasets.base import Dataset

SHOWN = {(255, 0, 0): "red", (0, 255, 0): "green", (0, 0, 255): "blue", (233, 63, 127): "red"}
CLASSES = ("red", "green", "blue")
LEAD, SEED = 40, 0
SOURCE = "rebuilt for xpnet after the talk 'Deep learning in Python with NumPy' (2016), whose own 260 colours are not published"


def colors() -> Dataset:
    """240 + 20 RGB triples, 0 to 255 as in the talk, labels 0 red, 1 green, 2 blue; rebuilt, not the talk's own.

    Rule: bytes of PCG64 with seed 0, three a colour; a colour is kept where its largest channel leads the second by 40
    or more, and that channel is its class. The first 240 are for training; the four that the talk shows
    and the next 16 are the test part. Scale the inputs before training: with raw ones the talk's network diverges.
    """
    stream = np.random.PCG64(SEED).random_raw(3 * 1000) & 255  # raw bits: the same in every version of NumPy
    rgb = stream.reshape(-1, 3).astype(np.float32)
    rgb = rgb[np.diff(np.sort(rgb, axis=1)[:, 1:])[:, 0] >= LEAD]
    train, test = rgb[:240], np.concatenate([np.array(list(SHOWN), np.float32), rgb[240:256]])
    return Dataset(
        "colors (rebuilt)",
        train.copy(),
        train.argmax(axis=1),
        test,
        test.argmax(axis=1),
        CLASSES,
        SOURCE,
        "MIT, as xpnet",
        names=CLASSES,
        target="colour",
    )
