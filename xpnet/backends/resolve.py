"""The one place where the name of a device becomes a device."""

from __future__ import annotations

import contextlib
import functools
import re
import warnings
from collections.abc import Iterator
from typing import NamedTuple

from xpnet.backends.cpu import CPU
from xpnet.backends.cuda import CUDA
from xpnet.backends.device import Device
from xpnet.backends.probe import DeviceUnavailable, gpu_index, gpu_model, usable_cupy

__all__ = ["DeviceUnavailable", "Resolution", "device", "device_or_cpu", "resolve"]

VALID_NAMES = "'cpu', 'cpu-fast', 'cuda' (the current GPU), 'cuda:1', 'sim', 'sim:1' or 'auto'"
NAME = re.compile(r"(cpu|cpu-fast|auto)|(cuda|sim)(?::([0-9]+))?")
OTHER_NAMES = {"gpu": "cuda", "cupy": "cuda", "numpy": "cpu"}
NOTHING_BROKEN = {"not-installed", "no-driver", "no-device"}  # as on most laptops: no reason for "auto" to warn


_simulating = False


class Resolution(NamedTuple):
    """A device and the sentence that says why it was chosen."""

    device: Device
    reason: str


def device(name: str | Device) -> Device:
    """The device of that name: "cpu", "cpu-fast", "cuda" (CuPy's current one), "cuda:1", "sim", "sim:1", or "auto".

    "auto" is the GPU where CuPy can use one, and the CPU otherwise; "cpu-fast" is the CPU with Numba, which the extra
    ``xpnet[fast]`` brings. A name gives the same object each time, and a device gives itself. Raises
    :class:`DeviceUnavailable`, with the reason and what helps, where one is asked for by name and cannot be used.
    """
    return resolve(name).device


def resolve(name: str | Device) -> Resolution:
    """As :func:`device`, together with why it was chosen."""
    if isinstance(name, Device):
        return Resolution(name, "given as a device")
    kind, index = _parse(name)
    if _simulating and kind in ("auto", "cuda"):
        return Resolution(_made("sim", index or 0), f"the simulated GPU stands in for {name!r}")
    if kind == "auto":
        return _choose()
    return Resolution(_named(kind, index), "asked for by name")


@contextlib.contextmanager
def simulated() -> Iterator[None]:
    """Inside, the names "cuda", "cuda:1" and "auto" are answered by the simulated GPU, in all threads."""
    global _simulating
    before, _simulating = _simulating, True
    try:
        yield
    finally:
        _simulating = before


def device_or_cpu(name: str) -> Device:
    """The named device or, with a warning, the CPU: what is pickled on a GPU must load where there is none."""
    try:
        return device(name)
    except DeviceUnavailable as error:
        warnings.warn(f"saved on {name!r}, loaded on the CPU: {error}", RuntimeWarning, stacklevel=2)
        return device("cpu")


def _parse(name: str) -> tuple[str, int | None]:
    """Kind and index of a name; the index is None where the name has none."""
    if not isinstance(name, str):
        raise TypeError(f"a device is given by name ({VALID_NAMES}), not as {type(name).__name__}")
    match = NAME.fullmatch(name)
    if match is None:
        raise ValueError(f"no device is called {name!r}: say {VALID_NAMES}{_hint(name)}")
    alone, kind, index = match.groups()
    return alone or kind, None if index is None else int(index)


def _hint(name: str) -> str:
    kind, colon, index = name.strip().lower().partition(":")
    guess = OTHER_NAMES.get(kind, kind) + colon + index
    return f" (did you mean {guess!r}?)" if NAME.fullmatch(guess) else ""


def _choose() -> Resolution:
    try:
        cupy = usable_cupy()
    except DeviceUnavailable as error:
        if error.reason not in NOTHING_BROKEN:
            # 4: the caller of device(), or of a function of xpnet's that called resolve()
            warnings.warn(f"device 'auto' uses the CPU: {error}", RuntimeWarning, stacklevel=4)
        return Resolution(_named("cpu", None), f"auto: no GPU: {error.problem}")
    index = gpu_index(cupy, None)
    return Resolution(_made("cuda", index), f"auto: the GPU {gpu_model(cupy, index)} was found")


def _named(kind: str, index: int | None) -> Device:
    if kind == "cuda":
        return _made(kind, gpu_index(usable_cupy(), index))
    return _made(kind, index or 0)


@functools.cache
def _made(kind: str, index: int) -> Device:
    """The one device object of that kind and index."""
    if kind == "cpu":
        return CPU("cpu")
    if kind == "cuda":
        return CUDA(index, usable_cupy())
    if kind == "cpu-fast":
        from xpnet.backends.fast import FastCPU

        return FastCPU()
    from xpnet.backends.sim import Sim  # it loads CuPy's whole surface: only who asks for it pays

    return Sim(index)
