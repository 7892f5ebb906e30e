"""Pictures from files as arrays: turned as the camera says, transparency laid on paper, any depth as [0, 1]. Needs Pillow."""

from __future__ import annotations

import os
import warnings
from typing import Any

import numpy as np

from xpnet.datasets.tables import reason
from xpnet.extras import load

FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")  # not those that call programs: EPS runs Ghostscript
DEEP = 65535  # the largest value of a grey level with 16 bits


def read_grey(path: str | os.PathLike) -> np.ndarray:
    """A picture's grey levels (H, W), float32 from 0, black, to 1. ValueError that names a damaged or too large file."""
    with Opened(path) as image:
        if image.mode[0] in "IF":
            return _deep(image, path)
        return np.asarray(_opaque(image).convert("L"), np.float32) / np.float32(255)


def read_colour(path: str | os.PathLike) -> np.ndarray:
    """A picture's red, green and blue (H, W, 3), float32 from 0 to 1; as :func:`read_grey`."""
    with Opened(path) as image:
        if image.mode[0] in "IF":
            return np.repeat(_deep(image, path)[..., None], 3, axis=2)
        return np.asarray(_opaque(image).convert("RGB"), np.float32) / np.float32(255)


class Opened:
    """A context with the picture in a file, ``turned`` as its camera says; what goes wrong is a ValueError with its name."""

    def __init__(self, path: str | os.PathLike, turned: bool = True):
        self.path, self.turned = path, turned
        self.pillow = load("PIL.Image", "images")

    def __enter__(self) -> Any:
        self._quiet = warnings.catch_warnings()
        self._quiet.__enter__()
        warnings.simplefilter("ignore")  # of damaged fields that do not matter ...
        warnings.simplefilter("error", self.pillow.DecompressionBombWarning)  # ... but what would fill the memory is refused
        try:
            self.image = self.pillow.open(self.path, formats=FORMATS)
            return load("PIL.ImageOps", "images").exif_transpose(self.image) if self.turned else self.image
        except BaseException as error:
            self.__exit__(type(error), error, None)
            raise

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._quiet.__exit__(None, None, None)
        if hasattr(self, "image"):
            self.image.close()
        if isinstance(error, self.pillow.DecompressionBombWarning | self.pillow.DecompressionBombError):
            most = f"{self.pillow.MAX_IMAGE_PIXELS:,}"
            raise ValueError(f"{self.path} has more than {most} pixels: make it smaller") from error
        if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError | NotThis):
            return
        if isinstance(error, MemoryError):
            raise ValueError(f"{self.path}: there is not enough memory for a picture of its size: make it smaller") from error
        if isinstance(error, Exception):  # decoders raise what they like for damaged files
            if not hasattr(self, "image"):
                raise ValueError(f"{self.path} cannot be read as an image ({type(error).__name__})") from error
            raise ValueError(f"{self.path} is damaged ({reason(error)})") from error


class NotThis(ValueError):
    """A picture that is whole, of a kind that is not read."""


def _deep(image: Any, path: str | os.PathLike) -> np.ndarray:
    """Grey levels of 16 bits; those of 32 bits or of floats have no known range, unless they fit 16."""
    values = np.asarray(image)
    if values.dtype.kind == "f" or values.size == 0 or values.min() < 0 or values.max() > DEEP:
        raise NotThis(f"{path} has grey levels of {image.mode}, whose range is not known: save it with 8 or 16 bits")
    return values.astype(np.float32) / np.float32(DEEP)


def _opaque(image: Any) -> Any:
    """Transparency laid on white, or on black where what is drawn is light."""
    if not image.has_transparency_data:
        return image
    drawn = image.convert("RGBA")
    alpha = np.asarray(drawn.getchannel("A"), np.float32)
    grey = np.asarray(drawn.convert("RGB").convert("L"), np.float32)
    light = float((grey * alpha).sum()) > 127.5 * float(alpha.sum())
    page = load("PIL.Image", "images").new("RGBA", drawn.size, "black" if light else "white")
    page.alpha_composite(drawn)
    return page.convert("RGB")
