"""Samples per second of a learner's program, of the book's and of xpnet's, on the book's net."""

from __future__ import annotations

import contextlib
import os
import statistics
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from xpnet import book, models
from xpnet.exercise.submission import Submission

SIZES = (784, 30, 10)
BATCHES = (10, 100)
BLOCKS = 5
ETA = 0.1
SECONDS = 3.0
BOOK = "the book's, per sample"

Speeds = dict[str, dict[int, float]]  # samples per second, by program and size of minibatch


def measure(submission: Submission, seconds: float) -> Speeds:
    """Median of a few blocks of updates; the programs take turns, so that other load on the machine hits all of them.

    What the learner's prints goes nowhere: there are thousands of updates.
    """
    found: Speeds = {"yours": {}, BOOK: {}, "xpnet": {}}
    each = seconds / (len(found) * len(BATCHES) * (BLOCKS + 1))
    for n in BATCHES:
        updates = dict(zip(found, (_learners(submission, n), _books(n), _xpnets(n)), strict=True))
        blocks: dict[str, list[float]] = {name: [] for name in found}
        with (
            threadpool_limits(1),  # on a busy machine a second thread makes small products many times slower
            np.errstate(all="ignore"),
            open(os.devnull, "w") as nowhere,
            contextlib.redirect_stdout(nowhere),
        ):
            for block in range(BLOCKS + 1):
                for name, update in updates.items():
                    rate = n * _per_second(update, each)
                    blocks[name] += [rate] * (block > 0)  # the first one warms up
        for name, rates in blocks.items():
            found[name][n] = statistics.median(rates)
    return found


def _per_second(update: Callable[[], Any], seconds: float) -> float:
    """Calls per second, over at least this time."""
    calls, start = 0, time.perf_counter()
    while True:
        update()
        calls += 1
        if (now := time.perf_counter()) - start >= seconds:
            return calls / (now - start)


def _samples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """Columns (784, n) and (10, n)."""
    rng = np.random.default_rng(0)
    return rng.random((SIZES[0], n)), np.eye(SIZES[-1])[:, rng.integers(0, SIZES[-1], n)]


def _learners(submission: Submission, n: int) -> Callable[[], Any]:
    net = submission.new(SIZES)
    method = getattr(net, submission.way.method)
    arguments = submission.way.samples(*_samples(n))
    if submission.way.method == "backprop":
        return lambda: method(*arguments)
    return lambda: method(*arguments, ETA)


def _books(n: int) -> Callable[[], Any]:
    net, (x, y) = book.Network(list(SIZES), seed=0), _samples(n)
    pairs = [(x[:, [i]], y[:, [i]]) for i in range(n)]
    return lambda: net.update_mini_batch(pairs, ETA)


def _xpnets(n: int) -> Callable[[], Any]:
    trainer, x, y = models.book()
    rows = np.resize(np.arange(len(x)), n)
    device = trainer.build(x.shape[1:]).device
    arrays = device.put(x[rows]), device.put(y[rows])
    return lambda: trainer.step(*arrays)
