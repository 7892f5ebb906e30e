"""The model that advice is asked for: copies of it on any device, its rows repeated to any number, its step timed."""

from __future__ import annotations

import copy
import math
import statistics
from dataclasses import dataclass

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.bench.networks import LEARNING_RATE, NETWORKS, Network
from xpnet.bench.results import Check
from xpnet.bench.timing import Work, calls_for, threads, timed
from xpnet.checks import as_array, row_count, to_host
from xpnet.models import MODELS, Source, load
from xpnet.training import Trainer
from xpnet.training.data import prepare

ROUNDS, FEWEST, LONG = 5, 2, 1.0  # of each timing; so few where their calls take so many seconds together
USUAL_ROWS, MANY = 64, 1 << 22  # of a network that is known by name only; numbers in them, at most


@dataclass(frozen=True)
class Timing:
    """Seconds of a step on ``batch`` rows: median, quartiles, and with how many threads."""

    batch: int
    seconds: float
    low: float
    high: float
    threads: int


def usual_rows(network: Network) -> int:
    """Fewer of large images."""
    return max(2, min(USUAL_ROWS, MANY // (8 * math.prod(network.shape))))


class Subject:
    """``model`` as in :func:`xpnet.parity`, or a network of the benchmarks by its name. Nothing of it is changed.

    ``x`` and ``y`` are its rows and targets on the host.
    """

    def __init__(self, model: Source):
        if isinstance(model, str) and model in NETWORKS and model not in MODELS:
            self.trainer, (x, y) = NETWORKS[model].unbuilt(), NETWORKS[model].data(usual_rows(NETWORKS[model]))
        else:
            self.trainer, x, y = load(model)
        self.name = model if isinstance(model, str) else getattr(model, "__name__", "the model")
        host = [to_host(self.trainer.device, as_array(self.trainer.device, a, name)) for a, name in ((x, "x"), (y, "y"))]
        self.shape, self.batch = host[0].shape[1:], row_count(host[0], "x")
        self.dtype = self.trainer.net.parameters.dtype.name if self.trainer.net.built else self.trainer.dtype
        data = prepare(self.make("cpu").net, self.trainer.loss, host[0], host[1])
        self.x, self.y = data.x, data.y

    def check_batch(self, n: int) -> None:
        """Raises ValueError where a layer refuses so few rows, as batch normalisation does."""
        for layer in self.make("cpu").net.walk():
            layer.check_batch(n)

    def make(self, device: str | Device, dtype: str | None = None) -> Trainer:
        """A copy, built on the device, whose steps change next to nothing; a network that is built keeps its dtype."""
        shared = {id(self.trainer.callbacks): ()}
        trainer = copy.deepcopy(self.trainer, shared)
        trainer.optimizer.learning_rate = LEARNING_RATE
        trainer.device = resolve(device).device
        if dtype is not None:
            trainer.dtype = dtype
        return trainer.build(trainer.net.input_shape if trainer.net.built else self.shape)

    def rows(self, n: int, dtype: str | None = None) -> tuple[np.ndarray, np.ndarray]:
        """``n`` rows and targets, those there are again and again, in the model's precision unless given."""
        picked = np.arange(n) % len(self.x)
        x, y = self.x[picked], self.y[picked]
        floats = [a.astype(dtype or self.dtype) if a.dtype.kind == "f" else a for a in (x, y)]
        return floats[0], floats[1]

    def time(
        self,
        device: Device,
        batch: int,
        count: int,
        dtype: str | None = None,
        *,
        copies: bool = False,
        reads: bool = False,
    ) -> Timing:
        """Time steps on ``batch`` rows with ``count`` threads.

        The rows are on the device already, unless each step ``copies`` them there; ``reads`` has it read its loss.
        """
        with threads(count, device):
            trainer, rows = self.make(device, dtype), self.rows(batch, dtype)
            there = [device.put(a) for a in rows]

            def step() -> None:
                loss = trainer.step(*(device.put(a) for a in rows) if copies else there)
                if reads:
                    float(loss)

            work = Work(step, lambda: Check("", 0.0, 0.0), device)
            with device.use():
                calls = calls_for(work)
                found: list[float] = []
                while len(found) < ROUNDS and not (len(found) >= FEWEST and sum(found) > LONG):
                    found.append(timed(work, calls) / calls)
        low, _, high = statistics.quantiles(found, n=4, method="inclusive")
        return Timing(batch, statistics.median(found), low, high, count)
