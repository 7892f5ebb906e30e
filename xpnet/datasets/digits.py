"""The UCI handwritten digits, embedded."""

from __future__ import annotations

from importlib import resources

import numpy as np

from xpnet.datasets.base import Dataset

SOURCE = (
    "E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits (1998), UCI Machine Learning Repository, "
    "doi 10.24432/C50P49"
)


def digits() -> Dataset:
    """1,797 handwritten digits, 8x8 pixels as rows of 64 numbers in [0, 1] (counts 0..16 over 16), labels 0 to 9.

    Split once and for all, stratified by class: 1,437 for training, 360 for testing. The test part
    of the UCI set, as distributed with scikit-learn; Creative Commons Attribution 4.0.
    """
    with resources.files("xpnet.datasets").joinpath("digits.npz").open("rb") as file, np.load(file) as stored:
        pixels, labels, test = stored["pixels"], stored["labels"].astype(np.int64), stored["test"]
    x = pixels.astype(np.float32) / np.float32(16)
    return Dataset("digits", x[~test], labels[~test], x[test], labels[test], tuple("0123456789"), SOURCE, "CC BY 4.0")
