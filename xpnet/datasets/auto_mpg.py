"""A small table of real numbers, embedded: how far a car of 1970 to 1982 goes on a gallon."""

from __future__ import annotations

import csv
from importlib import resources

import numpy as np

from xpnet.datasets.base import Dataset

SOURCE = "R. Quinlan: Auto MPG (1993), UCI Machine Learning Repository, doi 10.24432/C5859H"
ORIGINS = ("Europe", "Japan", "USA")
TEST_ROWS = 78


def auto_mpg() -> Dataset:
    """392 cars, 9 numbers each, and the miles per US gallon that each goes: a regression; 314 for training, 78 for testing.

    Cylinders, displacement (cubic inches), horsepower, weight (pounds), acceleration (seconds to 60 mph), model year (70 to
    82), and a 1 in one of three columns for the origin. Raw numbers: scale them before training.
    UCI's 398 rows without the six that have no horsepower; Creative Commons Attribution 4.0. Split once and for all, at random.
    """
    table = resources.files("xpnet.datasets").joinpath("auto_mpg.csv").read_text(encoding="utf-8")
    rows = list(csv.DictReader(table.splitlines()))
    numbers = [name for name in rows[0] if name not in ("origin", "mpg")]
    x = np.array([[float(row[n]) for n in numbers] + [float(row["origin"] == o) for o in ORIGINS] for row in rows], np.float32)
    y = np.array([float(row["mpg"]) for row in rows], np.float32)
    order = np.random.PCG64(0).random_raw(len(rows)).argsort()  # raw bits: the same in every version of NumPy
    test, train = np.sort(order[:TEST_ROWS]), np.sort(order[TEST_ROWS:])
    names = (*numbers, *(f"origin={o}" for o in ORIGINS))
    return Dataset("auto-mpg", x[train], y[train], x[test], y[test], (), SOURCE, "CC BY 4.0", names=names, target="mpg")
