"""What advice consists of, as data."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from xpnet.advise.fit import Line
from xpnet.advise.predict import Prediction
from xpnet.advise.room import Room


@dataclass
class Point:
    """Seconds of a step on ``batch`` rows, between ``low`` and ``high``; ``threads`` where it was timed on a CPU."""

    batch: int
    seconds: float
    low: float
    high: float
    threads: int = 1


@dataclass
class Costs:
    """What is paid once, in seconds: (name, least, most), and after how many steps the GPU has earned it."""

    items: list[tuple[str, float, float]]
    steps: float | None = None

    @property
    def seconds(self) -> tuple[float, float]:
        return sum(low for _, low, _ in self.items), sum(high for _, _, high in self.items)


@dataclass
class GPUAdvice:
    """One GPU: ``points`` by batch, ``measured`` or predicted.

    ``faster`` is how many times as fast as the CPU it is at the batch asked about, ``pays_from`` the batch from which on it is
    quicker (None: not up to the largest); of both the likely figure, and what it is at worst and at best.
    """

    name: str
    measured: bool
    points: list[Point]
    line: Line
    faster: tuple[float, float, float]
    pays_from: tuple[int | None, int | None, int | None]
    at_batch: Prediction | None
    predicted: list[Point]
    what_if: list[tuple[str, float]]
    once: Costs
    room: Room
    proof: str


@dataclass
class Advice:
    """Outcome of :func:`advise`. ``print`` it for the text, ``html()`` is a page; ``as_dict()`` is fit for JSON.

    ``cpu`` are the timings by batch with the best number of threads, ``cpu_predicted`` what the method says for the same
    batches from micro-benchmarks: its error is the evidence for what it says of GPUs.
    """

    model: str
    batch: int
    rows: int
    card: dict[str, Any]
    machine: dict[str, Any]
    cpu: list[Point]
    cpu_line: Line
    cpu_predicted: list[Point]
    cpu_parts: dict[str, float]
    ceilings: dict[str, float]
    what_if: list[tuple[str, float]]
    cpu_room: Room
    gpus: list[GPUAdvice] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def cpu_error(self) -> float:
        """How far the method is off on this CPU: the median of the relative misses."""
        misses = [abs(p.seconds / m.seconds - 1) for p, m in zip(self.cpu_predicted, self.cpu, strict=False)]
        return float(np.median(misses))

    def as_dict(self) -> dict[str, Any]:
        """Everything as numbers, strings, lists and dicts."""
        from xpnet.advise.verdicts import verdict

        gpus = [{**dataclasses.asdict(g), "verdict": verdict(self, g)} for g in self.gpus]
        return {**dataclasses.asdict(self), "gpus": gpus, "cpu_error": self.cpu_error}

    def html(self) -> str:
        """A page in one file, with charts; raises MissingExtra where jinja2 is not installed."""
        from xpnet.advise.html import page

        return page(self)

    def __str__(self) -> str:
        from xpnet.advise.text import page

        return page(self)
