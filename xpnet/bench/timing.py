"""The harness: what a time must fulfil before it counts."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import threadpoolctl

from xpnet.backends import Device
from xpnet.bench.results import Check

ROUND_SECONDS = 0.02  # a round has as many calls as fit, so that the clock's own cost does not count
MOST_CALLS = 100_000
BEFORE = 5  # times as long a round may take with what comes before each call


class Refused(RuntimeError):
    """A time that does not count, and why."""


@dataclass
class Work:
    """Something to time: ``call`` does it once, ``verify`` proves that it is right, ``device`` is where it is done.

    What ``before()`` returns is handed to ``call``, and the clock runs for the latter alone. ``timer`` does it once and gives
    the seconds itself, where the clock is in another process.
    """

    call: Callable[..., Any]
    verify: Callable[[], Check]
    device: Device
    before: Callable[[], Any] | None = None
    timer: Callable[[], float] | None = None


def calls_for(work: Work, seconds: float = ROUND_SECONDS) -> int:
    """Warm up (buffers, kernels, the record of a step), then say how many calls make a round."""
    if work.timer:
        return 1
    timed(work, 3)
    calls = 1
    while True:
        start = time.perf_counter()
        spent = timed(work, calls)
        spent = max(spent, (time.perf_counter() - start) / BEFORE)
        if spent >= seconds / 2 and spent < 10 * seconds:  # it may have been interrupted
            spent = min(spent, timed(work, calls))
        if spent >= seconds / 2 or calls >= MOST_CALLS:
            return max(1, min(MOST_CALLS, round(calls * seconds / max(spent, 1e-9))))
        calls *= 4


def timed(work: Work, calls: int) -> float:
    """Seconds of so many calls and of waiting for the device; raises Refused where it still has work after that."""
    if work.timer:
        return sum(work.timer() for _ in range(calls))
    if work.before:
        return sum(_clocked(work.device, functools.partial(work.call, work.before())) for _ in range(calls))
    return _clocked(work.device, work.call, calls)


def _clocked(device: Device, call: Callable[[], Any], calls: int = 1) -> float:
    device.synchronize()
    start = time.perf_counter()
    for _ in range(calls):
        call()
    device.synchronize()
    seconds = time.perf_counter() - start
    if not device.idle():
        raise Refused("the clock was stopped before the device had finished: a time without synchronisation")
    return seconds


def verified(work: Work) -> Check:
    """Proof that the work is right; raises Refused where it is not."""
    check = work.verify()
    if not check.ok:
        raise Refused(
            f"wrong results: {check.what} differs by {check.difference:.2g}, at most {check.tolerance:.0e} is allowed"
        )
    return check


@contextlib.contextmanager
def threads(count: int, device: Device) -> Iterator[None]:
    """``count`` threads for BLAS and for xpnet's workers inside; raises Refused where what ran inside changed that."""
    before = getattr(device, "threads", None)
    with _blas().limit(limits=count):
        if before is not None:
            device.threads = count  # type: ignore[attr-defined]
        try:
            yield
            seen = blas_threads()
            if seen not in (None, count):
                raise Refused(f"unequal threads: BLAS had {seen} at the end, {count} were asked for")
        finally:
            if before is not None:
                device.threads = before  # type: ignore[attr-defined]


def blas_threads() -> int | None:
    """Threads of NumPy's BLAS now; None where it does not tell, as Apple's."""
    pools = _blas().info()
    if not pools:
        return None
    return min(pools, key=lambda pool: "numpy" not in pool["filepath"])["num_threads"]


@functools.cache
def _blas() -> threadpoolctl.ThreadpoolController:
    """The BLAS libraries that are loaded; looking for them takes milliseconds."""
    return threadpoolctl.ThreadpoolController().select(user_api="blas")
