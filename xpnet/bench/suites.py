"""The suites: which cases there are, and how each is prepared."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator

import xpnet as xn
from xpnet.backends import Device
from xpnet.backends.workers import cores
from xpnet.bench import forms, pieces
from xpnet.bench.results import Case
from xpnet.bench.timing import Work

BATCHES = (1, 10, 100, 1000)
DTYPES = ("float32", "float64")
MOST_THREADS = 64  # as many as the OpenBLAS in NumPy's wheels is built for
MOST_PER_SAMPLE = 64  # rows of an image batch that is taken one by one


def prepare(case: Case) -> Work:
    """What to time for this case; raises DeviceUnavailable where its device is not there."""
    return SUITES[case.suite][1](case, xn.device(case.device))


def cases(device: str, names: tuple[str, ...] | None = None, *, quick: bool = False) -> list[Case]:
    """The cases of these suites (all unless given) on one device; ``quick`` leaves out what costs most."""
    return [case for name in names or SUITES for case in SUITES[name][0](xn.device(device), quick)]


def thread_counts(device: Device) -> tuple[int, ...]:
    """Threads that are tried: on a CPU one, twice as many and so on up to its cores; a GPU's host needs one."""
    if device.kind != "cpu":
        return (1,)
    most = min(cores(), MOST_THREADS)
    return tuple(sorted({2**i for i in range(most.bit_length()) if 2**i <= most} | {most}))


def _forms(device: Device, quick: bool) -> Iterator[Case]:
    for threads in thread_counts(device):
        for case in (*_headline(device), *_deeper(device, quick)):
            if threads == 1 or case.form == "matrix":  # products of one sample are too small to share
                yield dataclasses.replace(case, threads=threads)


def _headline(device: Device) -> Iterator[Case]:
    """The book's nets in every form."""
    for model in ("784-30-10", "784-100-10"):
        for dtype in DTYPES:
            for batch in BATCHES:
                for form in forms.FORMS:
                    if form != "book" or (device.kind == "cpu" and dtype == "float64"):
                        yield Case("forms", model, form, device.name, batch, dtype)


def _deeper(device: Device, quick: bool) -> Iterator[Case]:
    """More layers, more units, images."""
    for form in ("per sample", "matrix"):
        for batch in (100,) if quick else BATCHES:
            yield Case("forms", "784-30-30-30-10", form, device.name, batch)
        for batch in (64,) if quick else (16, 64, 256, 1024):
            yield Case("forms", "784-256-128-10", form, device.name, batch)
    for batch in (16,) if quick else (1, 16, 64, 256):
        yield Case("forms", "lenet", "matrix", device.name, batch)
        if batch <= MOST_PER_SAMPLE:
            yield Case("forms", "lenet", "per sample", device.name, batch)
    for batch in (8,) if quick else (2, 8, 32):  # batch normalisation: no per-sample form
        yield Case("forms", "resnet", "matrix", device.name, batch)
    if not quick:
        for batch in (8, 32, 128):
            yield Case("forms", "vgg", "matrix", device.name, batch)


def _parts(device: Device, quick: bool) -> Iterator[Case]:
    for model, batch in (("784-30-10", 10), ("784-256-128-10", 64), ("lenet", 64), ("resnet", 8)):
        for form in pieces.PARTS:
            yield Case("parts", model, form, device.name, batch, threads=thread_counts(device)[-1])


def _optimizers(device: Device, quick: bool) -> Iterator[Case]:
    for size in ("1,000,000 parameters",) if quick else ("100,000 parameters", "1,000,000 parameters"):
        for form in pieces.RULES:
            yield Case("optimizers", size, form, device.name)


def _convolution(device: Device, quick: bool) -> Iterator[Case]:
    for layer in list(pieces.LAYERS)[1:7:2] if quick else pieces.LAYERS:
        for form in pieces.methods(layer):
            yield Case("convolution", layer, form, device.name, 32, threads=thread_counts(device)[-1])


def _feeding(device: Device, quick: bool) -> Iterator[Case]:
    yield Case("feeding", f"{pieces.ROWS:,} rows", "shuffle", device.name)
    for batch in (64,) if quick else (10, 64, 1024):
        for form in pieces.FEEDS[1:]:
            yield Case("feeding", f"{pieces.ROWS:,} rows of 784", form, device.name, batch)


def _startup(device: Device, quick: bool) -> Iterator[Case]:
    for model, batch in (("784-256-128-10", 64),) if quick else (("784-256-128-10", 64), ("lenet", 64)):
        for form in pieces.STARTS + (pieces.ON_GPU if device.kind == "cuda" else ()):
            yield Case("startup", model, form, device.name, batch, threads=thread_counts(device)[-1])


def _harness(device: Device, quick: bool) -> Iterator[Case]:
    for form in pieces.YARDSTICKS:
        yield Case("harness", "not xpnet's", form, device.name)


SUITES: dict[str, tuple[Callable[[Device, bool], Iterator[Case]], Callable[[Case, Device], Work]]] = {
    "harness": (_harness, pieces.yardstick),
    "forms": (_forms, forms.step),
    "parts": (_parts, pieces.part),
    "optimizers": (_optimizers, pieces.rule),
    "convolution": (_convolution, pieces.convolution),
    "feeding": (_feeding, pieces.feeding),
    "startup": (_startup, pieces.start),
}
