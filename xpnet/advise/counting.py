"""What a training step asks of a GPU, counted on the simulated one."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from xpnet.advise.tasks import Section, Task, Work, between, task
from xpnet.backends import ledger
from xpnet.backends.resolve import resolve
from xpnet.training import Trainer

PAIR, FEWER = (2, 4), (1, 2)  # rows of the two steps that are counted
WARM_UP = 1  # steps after which an optimizer has its vectors


def gpu_work(make: Callable[[str], Trainer], x: np.ndarray, y: np.ndarray) -> Work:
    """Launches, copies and synchronisations of one step on these rows, which are on the device already.

    ``make(device)`` gives a trainer that is built there and may be trained.
    """
    trainer = make("sim")
    device = resolve("sim").device
    rows, targets = device.put(x), device.put(y)
    for _ in range(WARM_UP):
        trainer.step(rows, targets)
    tasks: list[Task] = []
    with ledger.ledger(each=lambda name, arrays, flops, _: tasks.append(task(name, arrays, flops))) as seen:
        trainer.step(rows, targets)
    copies = [e.nbytes / e.times for e in seen.events.values() if e.kind in ("h2d", "d2h") for _ in range(e.times)]
    return Work([Section([tasks])], copies=copies, syncs=seen.syncs)


class Counted:
    """A model's work for any number of rows, counted for two and a straight line between and beyond.

    Launches, bytes and products of a step are constants and multiples of its rows. (A convolution that gathers more than
    ``workspace_bytes`` takes its rows in parts, with a few more launches: left out.)
    """

    def __init__(self, make: Callable[[str], Trainer], rows: Callable[[int], tuple[np.ndarray, np.ndarray]]):
        self._pair = PAIR
        self._works = [gpu_work(make, *rows(n)) for n in PAIR]
        if len(self._works[0].tasks) != len(self._works[1].tasks):  # images so large that rows are taken in parts
            self._pair, self._works = FEWER, [gpu_work(make, *rows(n)) for n in FEWER]

    def __call__(self, n: int) -> Work:
        first, second = self._works
        return between(first, second, self._pair, n)
