"""Pictures as a model's inputs: in the form of the data set that it was trained on, or as in the folder of images."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from xpnet.datasets.own import IMAGES, find_images, read_pixels
from xpnet.datasets.photographs import Opened, read_colour, read_grey
from xpnet.preprocessing import Columns, Rows
from xpnet.preprocessing.pictures import FORMS, Form
from xpnet.serving.questions import Batch

PICTURES = 16  # at a time: photographs take seconds


def are_pictures(paths: Sequence[Path]) -> bool:
    """Whether all are folders or have the names of pictures."""
    return all(path.is_dir() or path.suffix.lower() in IMAGES for path in paths)


def form_of(inputs: Columns | Rows, data: str) -> Form | None:
    """How a model's pictures are made: by the name of the data set that it was trained on, its inputs being that set's.

    None for a net that was trained on a folder of images. ValueError for one that does not take pictures.
    """
    if isinstance(inputs, Rows) and inputs.images:
        return None
    form = FORMS.get(data)
    if form is None or not isinstance(inputs, Rows) or not inputs.unscaled or inputs.width != int(np.prod(form.shape)):
        raise ValueError(f"the model was not trained on images: pictures are for those of {', '.join(FORMS)} and of folders")
    return form


def of_pictures(paths: Sequence[Path], inputs: Rows, form: Form | None, size: int, as_is: bool = False) -> Iterator[Batch]:
    """The pictures in files and folders; ``as_is`` takes those of the form's size as they are, and refuses others."""
    files, notes = _listed(paths)
    size = min(size, PICTURES)
    for first in range(0, len(files), size):
        part: list[str] = []
        x: list[np.ndarray] = []
        refused: list[str] = []
        for path in files[first : first + size]:
            try:
                pixels, words = (_of_folder(path, inputs), "") if form is None else _formed(path, form, as_is)
            except ValueError as error:
                if len(files) == 1:
                    raise
                refused.append(str(error))
                continue
            part, x = [*part, str(path)], [*x, pixels]
            if form is not None and words:
                notes.append(f"{path}: read as {form.name}: {words}")
        rows = np.stack(x).reshape(len(x), -1) if x else np.empty((0, inputs.width))
        share = (first + len(part) + len(refused)) / len(files)
        yield Batch(inputs.encode(rows, str(paths[0]), first), files=part, notes=notes, share=share, refused=refused)
        notes = []


def _listed(paths: Sequence[Path]) -> tuple[list[Path], list[str]]:
    """The pictures, and what to say of other files in folders."""
    files: list[Path] = []
    ignored = 0
    for path in paths:
        if not path.exists():
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(path))
        found, others = find_images(path) if path.is_dir() else ([path], 0)
        if not found:
            raise ValueError(f"{path} has no images ({' '.join(IMAGES)})")
        files, ignored = files + found, ignored + others
    return files, [f"other files ignored: {ignored}"] if ignored else []


def _of_folder(path: Path, inputs: Rows) -> np.ndarray:
    """A picture as bytes, as in training."""
    height, width, channels = inputs.shape
    if not inputs.resize:
        with Opened(path, turned=False) as image:
            found = image.height, image.width
        if found != (height, width):
            raise ValueError(f"{path} has {found[1]}x{found[0]} pixels, the model was trained on {width}x{height}")
    return read_pixels(path, (height, width), channels)


def _formed(path: Path, form: Form, as_is: bool) -> tuple[np.ndarray, str]:
    """A picture in a data set's form, and what was done."""
    picture = read_grey(path) if form.channels == 1 else read_colour(path)
    if not as_is:
        try:
            return form.read(picture)
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error
    if picture.shape != form.shape:
        (height, width), (h, w) = picture.shape[:2], form.shape[:2]
        raise ValueError(f"{path} has {width}x{height} pixels, {form.name} has {w}x{h}: leave out --as-is")
    return picture, "taken as it is"
