"""What a training step asks of a device, call by call: the common form of a simulated GPU's launches and of NumPy's calls."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

REDUCTIONS = frozenset({"reduce", "sum", "max", "min", "mean", "amax", "amin", "argmax", "prod"})
PRODUCTS = frozenset({"matmul", "dot"})


@dataclass(frozen=True)
class Task:
    """One call. ``elements`` are those of the largest array, ``nbytes`` what is read and written, ``itemsize`` is a number's.

    Of a product ``product`` is (matrices, m, k, n): so many of (m, k) @ (k, n). ``runs`` are the inner loops that
    NumPy makes, one for what lies evenly in memory in all arrays; ``casts`` says that inputs are of another type than the
    output's numbers, ``pieces`` that elements are stretches of bytes, which are copied one by one.
    """

    name: str
    elements: float
    nbytes: float
    itemsize: int = 4
    product: tuple[float, float, float, float] | None = None
    runs: float = 1.0
    transposed: bool = False
    casts: bool = False
    pieces: bool = False

    @property
    def flops(self) -> float:
        """Of the product: two for each multiplication and its addition."""
        return 2 * math.prod(self.product) if self.product else 0.0


@dataclass
class Section:
    """Tasks that workers do side by side, a list each; one list is what one thread does alone.

    ``in_layers``: the calls are made by the layers' own Python code, and not by a record of it.
    """

    shares: list[list[Task]]
    in_layers: bool = True


@dataclass
class Work:
    """A step: its sections in order, ``blas_threads`` for products outside of the workers' (0: as many as BLAS is given).

    ``copies`` are bytes of each copy between host and device, ``syncs`` how often the host waits.
    """

    sections: list[Section]
    blas_threads: int = 0
    copies: list[float] = field(default_factory=list)
    syncs: int = 0

    @property
    def tasks(self) -> list[Task]:
        return [task for section in self.sections for share in section.shares for task in share]

    def total(self, name: str) -> float:
        """Sum of one figure over all tasks: "nbytes", "flops"."""
        return sum(getattr(task, name) for task in self.tasks)


def task(name: str, arrays: Sequence[np.ndarray], flops: int = 0) -> Task:
    """A call of this name that reads and writes these arrays, outputs last; ``flops`` of products, where they are known."""
    largest = max(arrays, key=lambda a: a.size, default=None)
    if largest is None:
        return Task(name, 0, 0)
    nbytes = sum(_touched(a) for a in arrays)
    floats = [a.itemsize for a in arrays if a.dtype.kind == "f"]
    size = max(floats, default=min(largest.itemsize, 8))
    kernel = name.rpartition(".")[2]
    if kernel in PRODUCTS and len(arrays) > 1 and max(a.ndim for a in arrays[:2]):
        return Task(name, largest.size, nbytes, size, _product(arrays), transposed=_transposed(arrays[0]))
    if flops:  # another kind of product, as one matrix of the result's size
        out = arrays[-1]
        n = out.shape[-1] if out.ndim else 1
        return Task(name, largest.size, nbytes, size, (1.0, out.size / n, flops / (2 * out.size), float(n)))
    kinds = {a.dtype for a in arrays[:-1]} if name.partition(".")[0] != "take" else set()
    return Task(
        *(name, largest.size, nbytes, size),
        runs=max(_runs(name, arrays, largest), 1.0),
        casts=len(kinds) > 1,
        pieces=largest.dtype.kind == "V",
    )


def _touched(a: np.ndarray) -> int:
    """Bytes of memory: what is broadcast counts once."""
    return a.itemsize * math.prod(n for n, stride in zip(a.shape, a.strides, strict=True) if stride)


def _product(arrays: Sequence[np.ndarray]) -> tuple[float, float, float, float]:
    """Of arrays a, b and, where there is one, out."""
    a, b = arrays[:2]
    k = a.shape[-1] if a.ndim else 1
    m = a.shape[-2] if a.ndim > 1 else 1
    n = b.shape[-1] if b.ndim > 1 else 1
    stack = math.prod(np.broadcast_shapes(a.shape[:-2], b.shape[:-2]))
    return float(stack), float(m), float(k), float(n)


def _transposed(a: np.ndarray) -> bool:
    return a.ndim > 1 and a.strides[-1] > a.strides[-2]


def _runs(name: str, arrays: Sequence[np.ndarray], largest: np.ndarray) -> float:
    """How many inner loops NumPy makes: axes over which every array advances evenly are taken as one."""
    if name.rpartition(".")[2] in REDUCTIONS:
        result = arrays[-1]
        along_last = result.ndim and result.shape[0] == largest.shape[0]
        return result.size if along_last else largest.size / max(result.size, 1)
    same = [np.broadcast_to(a, largest.shape) for a in arrays if _fits(a, largest)]
    axes = [axis for axis, n in enumerate(largest.shape) if n > 1]
    run = 1
    for outer, axis in zip([None, *axes][::-1][1:], axes[::-1], strict=True):
        run *= largest.shape[axis]
        if outer is None or any(a.strides[outer] != a.strides[axis] * largest.shape[axis] for a in same):
            break
    return largest.size / max(run, 1)


def _fits(a: np.ndarray, largest: np.ndarray) -> bool:
    return a.ndim <= largest.ndim and all(m in (1, n) for m, n in zip(a.shape[::-1], largest.shape[::-1], strict=False))


def between(first: Work, second: Work, rows: tuple[int, int], n: int) -> Work:
    """The work for ``n`` rows from that for two other numbers: every figure is a constant and a multiple of the rows.

    Raises ValueError where the two steps do not make the same calls.
    """
    share = (n - rows[0]) / (rows[1] - rows[0])
    one, two = first.tasks, second.tasks
    if [t.name for t in one] != [t.name for t in two] or len(first.copies) != len(second.copies):
        raise ValueError(f"steps on {rows[0]} and {rows[1]} rows make different calls")
    tasks = [_line(a, b, share) for a, b in zip(one, two, strict=True)]
    copies = [a + share * (b - a) for a, b in zip(first.copies, second.copies, strict=True)]
    return Work([Section([tasks])], first.blas_threads, copies, first.syncs)


def in_float64(work: Work) -> Work:
    """The same step with numbers of twice the size."""
    sections = [
        Section([[replace(t, itemsize=8, nbytes=2 * t.nbytes) for t in share] for share in s.shares], s.in_layers)
        for s in work.sections
    ]
    return replace(work, sections=sections)


def _line(a: Task, b: Task, share: float) -> Task:
    def at(x: Any, y: Any) -> Any:
        return x + share * (y - x)

    product = a.product and b.product and tuple(map(at, a.product, b.product))
    return replace(
        a,
        elements=at(a.elements, b.elements),
        nbytes=at(a.nbytes, b.nbytes),
        runs=max(at(a.runs, b.runs), 1.0),
        product=product,
    )
