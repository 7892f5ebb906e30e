"""Arrays and images of one's own: ``.npz`` and ``.npy`` files, and folders with one subfolder of images for each class."""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from xpnet.checks import check_count, check_finite
from xpnet.datasets.arrays import Archive, StoredArray, read_array
from xpnet.datasets.photographs import NotThis, Opened
from xpnet.datasets.tables import Table
from xpnet.extras import load

IMAGES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm")
NUMBERS = "fiub"


class Arrays(NamedTuple):
    """Rows ``x`` (N, *shape) and targets ``y`` (N,), numbers or text, as they were stored; None for what there is not."""

    path: str
    x: np.ndarray
    y: np.ndarray | None
    x_test: np.ndarray | None = None
    y_test: np.ndarray | None = None


class Images(NamedTuple):
    """Images ``x`` (N, H, W, C) of bytes with their ``files``; the class of each, the name of its folder, and other files."""

    x: np.ndarray
    files: list[str]
    labels: list[str]
    ignored: int


def read_npz(path: str | os.PathLike) -> Arrays:
    """Arrays called ``x`` and ``y``, or ``x_train, y_train`` and perhaps ``x_test, y_test``; ``x`` alone has no targets.

    Raises ValueError for a damaged file, for other names, and for rows and targets that do not fit.
    """
    with Archive(path) as stored:
        rows, targets = row_names(stored)
        x, y = _pair(stored, rows, targets)
        if "x_test" not in stored:
            return Arrays(str(path), x, y)
        x_test, y_test = _pair(stored, "x_test", "y_test")
    if x_test.shape[1:] != x.shape[1:]:
        raise ValueError(f"{path}: {rows} has rows of shape {x.shape[1:]}, x_test of shape {x_test.shape[1:]}")
    return Arrays(str(path), x, y, x_test, y_test)


def read_npy(path: str | os.PathLike) -> Table:
    """The table in a ``.npy`` file of two axes; its columns are called by their positions."""
    return as_table(read_array(path), str(path))


def as_table(array: np.ndarray, path: str, first: int = 0) -> Table:
    """Rows (N, D) of numbers as a table; NaN is a missing value. ``first`` is the number of row 0, for errors."""
    check_table(array, path)
    array = array.astype(np.uint8) if array.dtype.kind == "b" else array
    return Table(path, tuple(map(str, range(array.shape[1]))), tuple(map(as_cells, array.T)), header=False, first=first)


def check_table(array: np.ndarray | StoredArray, path: str) -> None:
    """Refuse an array that is no table of numbers."""
    if len(array.shape) != 2 or not math.prod(array.shape) or array.dtype.kind not in NUMBERS:
        raise ValueError(f"{path}: rows of numbers, (N, columns), are needed; it is {array.dtype} of shape {array.shape}")


def as_cells(values: np.ndarray) -> list[str]:
    """The values (N,) as cells of a table: numbers with the digits of their type, 0.1 in float32 as "0.1"; NaN as ""."""
    return ["" if cell == "nan" else cell.strip() for cell in values.astype(str).tolist()]


def read_images(
    folder: str | os.PathLike,
    *,
    size: tuple[int, int] | None = None,
    channels: int | None = None,
    classes: bool = True,
) -> Images:
    """Every image below a folder as bytes: a class for each subfolder, or with ``classes=False`` images without classes.

    ``size`` (height, width) resizes them; without it all must agree. Grey where all are grey (``channels=1``), else colour (3).
    Needs Pillow. Raises ValueError that names the file for one that is damaged or of another size.
    """
    load("PIL.Image", "images")
    root = Path(folder)
    found, ignored = find_images(root)
    if classes and (loose := [p for p in found if p.parent == root]):
        raise ValueError(f"{folder}: {loose[0].name} lies outside the classes: each class is a subfolder with its images")
    if not found:
        raise ValueError(
            f"{folder} has no images{' in subfolders, one for each class' if classes else ''} ({' '.join(IMAGES)})"
        )
    if size is None or channels is None:
        sizes, grey = zip(*map(_size_and_grey, found), strict=True)
        if size is None:
            _check_sizes(found, sizes)
        size, channels = size or sizes[0], channels or (1 if all(grey) else 3)
    check_count("size", min(size))
    x = np.stack([read_pixels(path, size, channels) for path in found])
    labels = [path.relative_to(root).parts[0] for path in found] if classes else []
    return Images(x, [str(p) for p in found], labels, ignored)


def find_images(folder: Path) -> tuple[list[Path], int]:
    """The images below a folder in alphabetic order, and how many other files there are; hidden ones do not count."""
    hidden = len(folder.parts)
    files = sorted(p for p in folder.rglob("*") if p.is_file() and not any(s.startswith(".") for s in p.parts[hidden:]))
    found = [p for p in files if p.suffix.lower() in IMAGES]
    return found, len(files) - len(found)


def check_form(x: np.ndarray | StoredArray, name: str) -> None:
    """Refuse what is not rows (N, D, ...) of numbers."""
    if x.dtype.kind not in NUMBERS or len(x.shape) < 2 or not math.prod(x.shape):
        raise ValueError(f"{name}: rows of numbers, (N, columns, ...), are needed; it is {x.dtype} of shape {x.shape}")


def check_rows(x: np.ndarray, name: str, first: int = 0) -> np.ndarray:
    """Rows (N, D, ...) of finite numbers as they are; ValueError for anything else. ``first`` is the number of row 0."""
    check_form(x, name)
    check_finite(x, name, first)
    return x


def check_values(y: np.ndarray, name: str, first: int = 0) -> np.ndarray:
    """Targets (N,) or (N, 1) as (N,); ValueError where one is not finite."""
    y = y.reshape(len(y))
    check_finite(y, name, first)
    return y


def row_names(stored: Archive) -> tuple[str, str]:
    """What rows and targets are called in an archive; ValueError where they are not there."""
    names = ("x_train", "y_train") if "x_train" in stored else ("x", "y")
    if names[0] not in stored:
        raise ValueError(f"{stored.path}: arrays x and y, or x_train, y_train, are needed; it has {stored.listing()}")
    return names


def check_targets(y: StoredArray, x: StoredArray) -> None:
    """Refuse targets that are not one number or text for each row of ``x``."""
    shape = y.shape[:1] if len(y.shape) == 2 and y.shape[1] == 1 else y.shape
    if len(shape) != 1 or y.dtype.kind not in NUMBERS + "U":
        raise ValueError(f"{y.name} holds one number or text a row, (N,); it is {y.dtype} of shape {y.shape}")
    if shape[0] != x.shape[0]:
        raise ValueError(f"{x.name} has {x.shape[0]} rows, {y.key} has {shape[0]}")


def _pair(stored: Archive, rows: str, targets: str) -> tuple[np.ndarray, np.ndarray | None]:
    """Rows and targets, checked; targets as (N,)."""
    x = stored.open(rows)
    check_form(x, x.name)
    y = stored.open(targets) if targets in stored else None
    if y is not None:
        check_targets(y, x)
    return check_rows(x.read(), x.name), None if y is None else check_values(y.read(), y.name)


def _check_sizes(found: Sequence[Path], sizes: Sequence[tuple[int, int]]) -> None:
    """Refuse the first image that is not of the commonest size."""
    (height, width), count = Counter(sizes).most_common(1)[0]
    for path, (h, w) in zip(found, sizes, strict=True):
        if (h, w) != (height, width):
            raise ValueError(
                f"{path} has {w}x{h} pixels, {count} of the {len(found)} images have {width}x{height}: --size 32 resizes all"
            )


def _size_and_grey(path: Path) -> tuple[tuple[int, int], bool]:
    with Opened(path, turned=False) as image:
        return (image.height, image.width), image.mode in ("1", "L", "LA")


def read_pixels(path: Path, size: tuple[int, int], channels: int) -> np.ndarray:
    """An image as bytes (H, W, C), resized where it has another size."""
    with Opened(path, turned=False) as image:
        if image.mode[0] in "IF":
            raise NotThis(f"{path} has more than 8 bits a colour (mode {image.mode}): save it with 8")
        image = image.convert("L" if channels == 1 else "RGB")
        if (image.height, image.width) != size:
            image = image.resize(size[::-1])
        return np.asarray(image, np.uint8).reshape(*size, channels)
