"""What advice says of each GPU, in words: the same for every output."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from xpnet.advise.advice import Advice, GPUAdvice, Point
from xpnet.bench.cells import duration

DRAW = 1.15  # ratios below this are called a draw, even where both are measured
DOUBTFUL = 0.5  # median error on the CPU from which on something is wrong: on an idle machine it is a fraction of this
NO_GPU = "Say --gpu NAME to have a GPU predicted (--list-gpus has the names)."
UNPROVED = "GPU figures are predicted from counts and profiles; this method has not been held against a GPU of ours"

BUSY = "that is much: the machine was busy, or the method does not fit it; measure again when nothing else runs"


class Verdict(NamedTuple):
    """``answer`` is "GPU", "CPU" or "open"; ``size`` says how much, ``spread`` what is possible, ``start`` from which batch."""

    answer: str
    size: str
    spread: str
    start: str


def verdict(found: Advice, gpu: GPUAdvice) -> str:
    """One sentence for one GPU."""
    how, (answer, size, spread, start) = called(gpu), judge(found, gpu)
    if answer == "open":
        return f"Too close to call at batch {found.batch:,} ({how}): {size}, but {spread} is possible; {start}."
    if answer == "GPU":
        return f"GPU ({how}): {size} at batch {found.batch:,} ({spread}); {start}."
    return f"CPU: at batch {found.batch:,} the GPU ({how}) takes {size} ({spread}); {start}."


def judge(found: Advice, gpu: GPUAdvice) -> Verdict:
    """Which of the two to use at the batch asked about, in pieces of a sentence."""
    likely, worst, best = gpu.faster
    if worst < 1 < best or max(likely, 1 / likely) < DRAW:
        size = f"{likely:.1f} times as fast as the CPU"
        return Verdict("open", size, f"{worst:.1f} to {best:.1f}", _from(found, gpu))
    if likely > 1:
        return Verdict("GPU", f"{times(likely)} faster", f"{times(worst)} to {times(best)}", _from(found, gpu))
    return Verdict("CPU", f"{times(1 / likely)} as long", f"{times(1 / best)} to {times(1 / worst)}", _from(found, gpu))


def doubt(found: Advice) -> str:
    """What to think of the method's error on the CPU, where it is large."""
    return BUSY if found.cpu_error > DOUBTFUL else ""


def called(gpu: GPUAdvice) -> str:
    return f"{gpu.name}, {'measured' if gpu.measured else 'predicted'}"


def span(low: float, high: float) -> str:
    """``300 ms to 3.20 s``"""
    return duration(high) if low == high else f"{duration(low)} to {duration(high)}"


def short(name: str) -> str:
    """Without the maker, for the heads of columns."""
    return name.removeprefix("NVIDIA ")


def _from(found: Advice, gpu: GPUAdvice) -> str:
    likely, worst, best = gpu.pays_from
    first, last = found.cpu[0].batch, min(found.cpu[-1].batch, gpu.points[-1].batch)
    if likely is None:
        maybe = "" if best is None else f" (from {best:,} at best)"
        return f"it does not pay off up to batch {last:,}{maybe}"
    span = f" ({best:,} to {'never' if worst is None else f'{worst:,}'})" if (best, worst) != (likely, likely) else ""
    if likely <= first:
        return f"it pays off from batch {first:,} on{span}"
    return f"it pays off from batch {likely:,}{span}; below that use the CPU"


def times(factor: float) -> str:
    return f"{factor:.0f}x" if factor >= 9.95 else f"{factor:.1f}x"


def point(points: Sequence[Point], batch: int) -> Point:
    return next(p for p in points if p.batch == batch)
