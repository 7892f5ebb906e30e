"""Checks of what users hand in, each with an error that names the argument, what disagrees and what mends it."""

from __future__ import annotations

import difflib
import math
import numbers
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.backends import Device, DeviceMismatch
from xpnet.backends.device import Array


def as_array(device: Device, a: Any, name: str) -> Array:
    """An array of the device as it is, anything else as a host array; arrays of other devices are refused."""
    if device.owns(a) and not isinstance(a, np.ndarray):
        return a
    if hasattr(a, "__cuda_array_interface__"):
        raise foreign(name, a, device)
    try:
        found = a if isinstance(a, np.ndarray) else np.asarray(a)
    except ValueError as error:
        raise ValueError(f"{name}: rows of different length cannot be an array of numbers ({error})") from error
    check_file(found, name)
    return found


def check_file(a: np.ndarray, name: str) -> None:
    """Refuse an array whose file has become too short: reading it would end the process (SIGBUS) with no message."""
    for one in origin(a):
        if isinstance(one, np.memmap) and one.filename is not None and os.path.exists(one.filename):
            needed, size = one.offset + one.nbytes, os.path.getsize(one.filename)
            if size < needed:
                raise ValueError(f"{name}: the file {one.filename} has {size} bytes, {needed} are needed: it was cut short")


def origin(a: Any) -> list:
    """The array and what it is a view of, and so on down to who owns the memory."""
    found = []
    while a is not None:
        found.append(a)
        a = getattr(a, "base", None)
    return found


def as_numbers(device: Device, a: Any, name: str) -> Array:
    """As :func:`as_array`, and refuses what is not real numbers."""
    found = as_array(device, a, name)
    if found.dtype.kind not in "fiub":
        raise TypeError(f"{name}: values of type {found.dtype} are not numbers")
    return found


def to_host(device: Device, a: Any) -> np.ndarray:
    """A host array of what is on the host or on the device."""
    return device.get(a) if device.owns(a) else np.asarray(a)


def row_count(a: Array, name: str) -> int:
    """Number of rows; refuses a single value."""
    if not a.shape:
        raise ValueError(f"{name} is a single value: an array with one row per sample is needed")
    return int(a.shape[0])


def check_count(name: str, n: Any) -> int:
    """A whole number from 1 on, as an int."""
    if isinstance(n, bool) or not isinstance(n, int | np.integer) or n < 1:
        raise ValueError(f"{name}={n!r}{')' if '(' in name else ''}: it is a whole number from 1 on")
    return int(n)


def check_flag(where: str, value: Any) -> bool:
    """True or False, as a bool; ``where`` is the text of the call up to the value: "Affine(bias"."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{where}={value!r}): it is True or False")
    return bool(value)


def check_seed(seed: Any) -> int:
    """A whole number from 0 on, as an int."""
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise ValueError(f"seed={seed!r}: it is a whole number from 0 on")
    return int(seed)


def check_number(where: str, value: Any, *, above: float | None = None, low: float = 0.0, below: float = math.inf) -> float:
    """A finite number from ``low`` on (or greater than ``above``) and less than ``below``, as a float.

    ``where`` is the text of the call up to the value: "Dropout(rate".
    """
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    if number and (low <= value if above is None else above < value) and value < below:
        return float(value)
    if (low, below) == (0, 1) and above is None:
        raise ValueError(f"{where}={value!r}{')' if '(' in where else ''}: it lies in [0, 1)")
    start = f"from {low:g} on" if above is None else f"greater than {above:g}"
    end = "" if below == math.inf else f" and less than {below:g}"
    raise ValueError(f"{where}={value!r}{')' if '(' in where else ''}: it is a finite number {start}{end}")


def check_finite(a: np.ndarray, name: str, first: int = 0) -> None:
    """Refuse NaN and infinity in a host array, naming the first place; the array may be a part that begins at row ``first``."""
    if a.dtype.kind == "f" and a.size and not (np.isfinite(a.min()) and np.isfinite(a.max())):
        found = tuple(int(i) for i in np.argwhere(~np.isfinite(a))[0])
        place = (found[0] + first, *found[1:])
        raise ValueError(f"{name}: {a[found]} at index {place} (row {place[0]}): remove such rows or fill the gaps first")


def check_weights(weights: np.ndarray, name: str) -> None:
    """Refuse weights that are negative, not finite, or all 0."""
    check_finite(weights, name)
    if weights.size and (weights.min() < 0 or weights.max() == 0):
        raise ValueError(f"{name}: weights are not negative and not all zero; these lie in [{weights.min()}, {weights.max()}]")


def check_unit_interval(a: np.ndarray, name: str) -> None:
    """Refuse numbers of a host array that are not in [0, 1]."""
    if a.size and not (a.min() >= 0 and a.max() <= 1):
        raise ValueError(f"{name} lie in [0, 1], these reach from {a.min()} to {a.max()}")


def check_probabilities(a: np.ndarray, name: str) -> None:
    """Refuse rows of a host array that are no distribution over the last axis."""
    sums = a.sum(axis=-1)
    if a.size and (a.min() < 0 or abs(sums - 1).max() > 1e-3):
        raise ValueError(
            f"{name} are probabilities: none below 0, each row adding up to 1; "
            f"here the smallest is {a.min()}, the sums lie in [{sums.min()}, {sums.max()}]"
        )


def closest(word: str, known: Iterable[str]) -> str:
    """``; did you mean 'digits'?`` where one of the known words is near, else nothing: the end of an error."""
    folded = {name.casefold().replace("_", "-"): name for name in known}
    near = difflib.get_close_matches(word.casefold().replace("_", "-"), folded, n=1)
    return f"; did you mean {folded[near[0]]!r}?" if near else ""


def foreign(name: str, a: Any, device: Device) -> DeviceMismatch:
    """The error for an array that is not where the network is."""
    argument = name.split()[-1]
    if device.kind == "cpu" and hasattr(a, "__cuda_array_interface__"):
        return DeviceMismatch(
            f"{name} is a {type(a).__module__}.{type(a).__name__}, the network is on {device.name}: bring the array to the "
            f"host by get() of its own device, or the network to that device by net.to(...)"
        )
    return DeviceMismatch(
        f"{name} is a {type(a).__module__}.{type(a).__name__}, the network is on {device.name}: pass device.put({argument}), "
        f"with device = xn.device({device.name!r}); an array of another GPU comes to the host first, by get() of its own device"
    )


def check_file_place(path: str | os.PathLike, owner: str) -> None:
    """Refuse a path where no file can be written; nothing is made."""
    place = Path(path)
    if place.is_dir():
        raise IsADirectoryError(f"{owner}: {place} is a folder: give the path of a file")
    if place.exists() and not os.access(place, os.W_OK):
        raise PermissionError(f"{owner}: {place} may not be written to")
    check_folder_place(place.parent, owner)


def check_folder_place(folder: Path, owner: str) -> None:
    """Refuse a folder that is not there and cannot be made, or that may not be written to; nothing is made."""
    if folder.is_symlink() and not folder.exists():
        raise NotADirectoryError(f"{owner}: {folder} is a link to {os.readlink(folder)}, which is not there")
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise NotADirectoryError(f"{owner}: {folder} cannot be a folder: {there} is a file")
    if not os.access(there, os.W_OK | os.X_OK):
        raise PermissionError(f"{owner}: {there} may not be written to")


def check_shape(shape: int | Sequence[int]) -> tuple[int, ...]:
    """A per-sample shape as a tuple of whole numbers from 1 on; a single number n means (n,)."""
    found = (shape,) if isinstance(shape, int | np.integer) else tuple(shape)
    if not all(isinstance(n, int | np.integer) and n >= 1 for n in found):
        raise ValueError(
            f"input_shape={shape!r}: a tuple of whole numbers from 1 on, the shape of one sample without the "
            f"batch axis, for instance (64,)"
        )
    return tuple(int(n) for n in found)


def wrong_input(name: str, shape: Sequence[int], expected: Sequence[int]) -> str:
    """The text for inputs of the wrong shape."""
    wanted = f"(N, {', '.join(map(str, expected))})" if expected else "(N,)"
    hint = f"; one sample is a batch of one: {name}[None]" if tuple(shape) == tuple(expected) else ""
    return f"{name} has shape {tuple(shape)}, the network was built for {wanted}{hint}"


def short(text: str, width: int = 40) -> str:
    """A text in quotes on one line, cut where it is long."""
    return repr(text if len(text) <= width else text[:width] + "...")


def listed(texts: Sequence[str], shown: int = 10) -> str:
    """The first of some names, on one line whatever they hold."""
    words = [text if len(text) <= 40 and text.isprintable() else short(text) for text in texts[:shown]]
    return ", ".join(words) + (", ..." if len(texts) > shown else "")
