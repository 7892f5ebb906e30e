"""The CPU's part of advice: timings, what the method says of them, and measured what-ifs."""

from __future__ import annotations

import dataclasses
import math

from xpnet.advise.advice import Point
from xpnet.advise.cpu_profile import ALONE, SHARED, CPUProfile
from xpnet.advise.noting import cpu_work
from xpnet.advise.subject import Subject, Timing
from xpnet.backends import Device, resolve
from xpnet.bench.suites import thread_counts

BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
SLOWEST = 1.5  # seconds of a step beyond which larger batches are not timed
ERROR = 1.3  # a predicted time may be so many times more or less: see docs/advise.md


def timed(subject: Subject, device: Device, asked: int, most: float = math.inf) -> list[Point]:
    """By batch, with the number of threads that is best for each; no larger ones where a step takes too long.

    ``most`` rows are those for which there is memory.
    """
    points: list[Point] = []
    for batch in sorted({*BATCHES, asked}):
        if len(points) > 1 and points[-1].seconds * batch / points[-1].batch > SLOWEST and batch > asked:
            break
        if batch > most:
            break
        tried = _accepted(subject, device, batch)
        if tried:
            t = min(tried, key=lambda t: t.seconds)
            points.append(Point(batch, t.seconds, t.low, t.high, t.threads))
    return points


def _accepted(subject: Subject, device: Device, batch: int) -> list[Timing]:
    """With each number of threads; none where a layer refuses so few rows."""
    try:
        subject.check_batch(batch)
    except ValueError:
        return []
    return [subject.time(device, batch, count) for count in thread_counts(device)]


def predicted(subject: Subject, profile: CPUProfile, cpu: list[Point], asked: int) -> tuple[list[Point], dict[str, float]]:
    """For the batches that were timed; and what the step at the batch asked about consists of."""
    points, parts = [], {}
    for p in cpu:
        work = cpu_work(subject.make, *subject.rows(p.batch), 1 if p.threads == 1 else profile.threads)
        threads = 1 if p.threads == 1 else profile.threads
        seconds = dataclasses.replace(profile, threads=threads).step(work)
        points.append(Point(p.batch, seconds, seconds / ERROR, seconds * ERROR, threads))
        if p.batch == asked:
            parts = profile.parts(work) | {"flops": work.total("flops"), "bytes": work.total("nbytes")}
    return points, parts


def ceilings(profile: CPUProfile) -> dict[str, float]:
    """The most that this CPU did in the micro-benchmarks: FLOP/s of a product, bytes/s from memory, calls/s."""
    mode = SHARED if SHARED in profile.products else ALONE
    return {
        "flops": 2 * 1024**3 / profile.products[mode][-1],
        "bytes": profile.bandwidth[ALONE][-1],
        "calls": 1 / profile.call[ALONE],
    }


def what_if(subject: Subject, best: dict[int, Point], asked: int) -> list[tuple[str, float]]:
    """Measured: how many times as many rows a second as at the batch asked about."""
    device, base = resolve("cpu").device, best[asked]
    rate = asked / base.seconds
    found = []
    for factor in (4, 0.25):
        n = int(asked * factor)
        if n >= 1 and n * base.seconds / asked < SLOWEST and (tried := _accepted(subject, device, n)):
            found.append((f"batch {n:,} instead of {asked:,}", n / min(t.seconds for t in tried) / rate))
    for count in thread_counts(device):
        if count != base.threads:
            name = f"{count} thread{'s' if count > 1 else ''} instead of {base.threads}"
            found.append((name, asked / subject.time(device, asked, count).seconds / rate))
    if not subject.trainer.net.built:
        other = "float64" if subject.dtype == "float32" else "float32"
        seconds = subject.time(device, asked, base.threads, other).seconds
        found.append((f"{other} instead of {subject.dtype}", asked / seconds / rate))
    return found
