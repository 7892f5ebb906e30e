"""Micro-benchmarks of single NumPy calls, from which a CPU's profile is made."""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import threadpoolctl

import xpnet as xn
from xpnet.advise.cpu_profile import ALONE, EACH, GRID, SETS, SHARED, CPUProfile
from xpnet.advise.noting import cpu_work
from xpnet.backends.cpu import aligned_empty
from xpnet.backends.recording import Call
from xpnet.backends.workers import Workers, cores

STACK = 1 << 20  # multiplications in the smallest stack of products
HOT = 4096  # elements that are in the innermost caches
UFUNCS = (
    *("add", "subtract", "multiply", "divide", "maximum", "minimum", "sqrt", "exp", "log", "tanh"),
    *("negative", "absolute", "greater", "equal", "reciprocal", "square"),
)
LEAST_SECONDS = 4e-4  # of one timing
PASSES = 3


def measure(threads: int | None = None, note: Callable[[str], Any] = lambda text: None) -> CPUProfile:
    """Micro-benchmarks of this CPU with so many threads, its cores unless given: some fifteen seconds.

    Every figure is the middle one of three passes, so that neither a slow moment of the machine nor a quick one counts.
    ``note`` hears what is next.
    """
    found = []
    for i in range(PASSES):
        note(f"micro-benchmarks, pass {i + 1} of {PASSES}")
        found.append(one_pass(threads))
    return middle(found)


def middle(found: list[CPUProfile]) -> CPUProfile:
    """The profile whose every figure is the median of those of several passes."""
    figures = _middle([dataclasses.asdict(profile) for profile in found])
    return CPUProfile(**{**figures, "threads": found[0].threads})


def _middle(found: list[Any]) -> Any:
    """The median of each figure, at any depth of dicts and lists."""
    if isinstance(found[0], dict):
        return {key: _middle([one[key] for one in found]) for key in found[0]}
    if isinstance(found[0], list):
        return [_middle(list(figures)) for figures in zip(*found, strict=True)]
    return statistics.median(found)


def one_pass(threads: int | None = None) -> CPUProfile:
    """All figures, each measured once, with so many threads."""
    threads = threads or cores()
    workers = Workers(threads)
    modes = (ALONE,) if threads == 1 else (ALONE, EACH)
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        call, over = {ALONE: _seconds([_smallest()])}, 0.0
        if threads > 1:
            call[EACH] = call[ALONE] + _contention(workers)
            over = max(_seconds([_smallest()], workers, EACH, 1) - call[ALONE], 0.0)
        elements = {name: _ufunc(name) for name in UFUNCS}
        elements |= {"sum": _sum(call[ALONE]), "copyto": _copy(call[ALONE])}
        strided = _strided(), _piece(), _cast()
        bandwidth = {mode: [_memory(size, workers, mode, call[mode]) for size in SETS] for mode in modes}
        products = {mode: _products(workers, mode) for mode in modes}
        transposed = {mode: _transposed(workers, mode, products[mode]) for mode in modes}
    if threads > 1:
        with threadpoolctl.threadpool_limits(threads, user_api="blas"):
            products[SHARED] = _products(workers, SHARED)
            transposed[SHARED] = _transposed(workers, SHARED, products[SHARED])
    profile = CPUProfile(*(threads, call, 0.0, *strided), elements, bandwidth, products, transposed, over)
    profile.python = _layers(profile)
    return profile


def _seconds(calls: list[Call], workers: Workers | None = None, mode: str = ALONE, repeats: int = 0) -> float:
    """Seconds of one of the calls, the median of three timings; in the mode EACH every worker makes them, on its own arrays.

    A timing has as many ``repeats`` of the calls as take long enough, unless given.
    """
    shares = [calls] + [
        [(f, _copies(args)) for f, args in calls] for _ in range(workers.count - 1 if workers and mode == EACH else 0)
    ]

    def timing(repeats: int) -> float:
        repeated = [share * repeats for share in shares]
        start = time.perf_counter()
        if workers and len(repeated) > 1:
            workers.replay(repeated)
        else:
            for f, args in repeated[0]:
                f(*args)
        return time.perf_counter() - start

    n = repeats or 1
    while not repeats and (spent := timing(n)) < LEAST_SECONDS:
        n = max(2 * n, math.ceil(n * LEAST_SECONDS / max(spent, 1e-7)))
    return statistics.median(timing(n) for _ in range(3)) / (n * len(calls))


def _copies(args: tuple) -> tuple:
    """The same layout in other memory (what is repeated may be shared)."""
    return tuple(a if 0 in a.strides else _copy_of(a) for a in args)


def _copy_of(a: np.ndarray) -> np.ndarray:
    new = aligned_empty(a.shape, a.dtype)
    np.copyto(new, a)
    return new


def _filled(shape: tuple[int, ...]) -> np.ndarray:
    a = aligned_empty(shape, "float32")
    a.fill(0.5)
    return a


def _smallest() -> Call:
    return np.add, tuple(_filled((1,)) for _ in range(3))


def _ufunc(name: str) -> float:
    """Of one number, in the innermost caches."""
    f: Any = getattr(np, name)
    out = aligned_empty((HOT,), "bool" if name in ("greater", "equal") else "float32")

    def seconds(n: int) -> float:
        into = functools.partial(f, out=out[:n])  # NumPy warns of a positional one where it is that of a maximum
        return _seconds([(into, tuple(_filled((n,)) for _ in range(f.nin)))])

    return max((seconds(HOT) - seconds(1)) / HOT, 1e-12)


def _sum(call: float) -> float:
    a, out = _filled((HOT,)), _filled(())
    return max((_seconds([(_reduced, (a, out))]) - call) / HOT, 1e-12)


def _reduced(a: np.ndarray, out: np.ndarray) -> None:
    np.add.reduce(a, out=out)


def _copy(call: float) -> float:
    a, out = _filled((HOT,)), _filled((HOT,))
    return max((_seconds([(np.copyto, (out, a))]) - call) / HOT, 1e-12)


def _strided() -> float:
    """Of one inner loop: rows of 8 numbers out of 16."""
    parts = tuple(_filled((HOT // 8, 16))[:, :8] for _ in range(3))
    whole = tuple(_filled((HOT,)) for _ in range(3))
    return max((_seconds([(np.add, parts)]) - _seconds([(np.add, whole)])) / (HOT // 8), 1e-10)


def _piece() -> float:
    """Of a stretch of 96 bytes among others, beyond its bytes."""
    element = np.dtype((np.void, 96))
    target, source = (_filled((HOT // 24, 48)).view(np.dtype((np.void, 192))).view(element)[:, :1] for _ in range(2))
    whole = tuple(_filled((HOT,)) for _ in range(2))
    return max((_seconds([(np.copyto, (target, source))]) - _seconds([(np.copyto, whole)])) / (HOT // 24), 1e-10)


def _cast() -> float:
    """Of a number that is multiplied by a truth value."""
    a, out, mask = _filled((HOT,)), _filled((HOT,)), np.ones(HOT, bool)
    return max((_seconds([(np.multiply, (a, mask, out))]) - _seconds([(np.multiply, (a, a, out))])) / HOT, 1e-12)


def _contention(workers: Workers) -> float:
    """What a call takes longer where all threads make calls: they take turns at Python's lock."""
    a, out = _filled((4 * HOT,)), _filled((4 * HOT,))
    alone, each = (_seconds([(np.exp, (a, out))] * 8, workers, mode, 8) for mode in (ALONE, EACH))
    return max(each - alone, 0.0)


def _memory(size: int, workers: Workers, mode: str, call: float) -> float:
    """Bytes a second of an addition that touches so many."""
    arrays = tuple(_filled((size // 12,)) for _ in range(3))
    return size / max(_seconds([(np.add, arrays)], workers, mode) - call, 1e-9)


def _products(workers: Workers, mode: str) -> list[float]:
    return [_product(workers, mode, sizes) for sizes in itertools.product(GRID, repeat=3)]


def _product(workers: Workers, mode: str, sizes: tuple[int, ...], transposed: bool = False) -> float:
    """Of one of a stack of products, so that neither NumPy's call nor the lock counts."""
    m, k, n = sizes
    a = _filled((k, m)).T if transposed else _filled((m, k))
    stack = max(1, min(256, STACK // (m * k * n)))
    left, right = (np.broadcast_to(f, (stack, *f.shape)) for f in (a, _filled((k, n))))
    return _seconds([(np.matmul, (left, right, aligned_empty((stack, m, n), "float32")))], workers, mode) / stack


def _transposed(workers: Workers, mode: str, plain: list[float]) -> list[float]:
    """How many times as long as the plain product, at every other size, and between those by the nearest."""
    some = GRID[1::2]
    found = {sizes: _product(workers, mode, sizes, transposed=True) for sizes in itertools.product(some, repeat=3)}
    index = {sizes: i for i, sizes in enumerate(itertools.product(GRID, repeat=3))}
    near = {size: min(some, key=lambda s: abs(math.log(s / size))) for size in GRID}
    return [found[key] / plain[index[key]] for key in (tuple(near[s] for s in sizes) for sizes in index)]


def _layers(profile: CPUProfile) -> float:
    """What Python adds to a call: of a step of a net so small that its numbers cost nothing."""
    x, y = _filled((1, 4)), np.zeros(1, int)

    def make(device: Any) -> xn.Trainer:
        net = xn.Sequential(xn.Affine(4), xn.Sigmoid(), xn.Affine(4), xn.ReLU(), xn.Affine(4))
        return xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(1e-6), device=device).build(4)

    trainer, work = make("cpu"), cpu_work(make, x, y, 1)
    trainer.step(x, y)
    seconds = _seconds([(trainer.step, (x, y))])
    return max((seconds - profile.step(work)) / len(work.tasks), 0.0)
