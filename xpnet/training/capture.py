"""Whether a training step can be captured as a CUDA graph, which repeats launches as they were: found out on the simulated GPU.

A graph's kernels read and write the addresses of the step that was captured, and are given the numbers of that step; nothing
may be allocated, copied or waited for inside. So two steps are compared launch by launch. As in a graph, the batch, the
optimizer's numbers and the number of the step are put into fixed memory of the device before it begins.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import NamedTuple

from xpnet.backends import ledger
from xpnet.backends.device import Array
from xpnet.checks import foreign
from xpnet.training.recorded import Batch, StepPass, StepPlan
from xpnet.training.trainer import Trainer

WARM_UP = 2  # steps until nothing is allocated any more


class Launch(NamedTuple):
    """One kernel's name, the memory that it reads and writes (address, shape, strides), and the numbers it is given."""

    name: str
    memory: list[tuple]
    numbers: list[float]


class Capture(NamedTuple):
    """What was found: ``objections`` say why a graph would not repeat the step, none where it would."""

    launches: int
    objections: list[str]

    def __str__(self) -> str:
        if not self.objections:
            return f"the step can be captured: {self.launches} launches on fixed memory"
        return "\n".join(["the step cannot be captured:", *(f"- {reason}" for reason in self.objections)])


def capture(trainer: Trainer, x: Array, y: Array, weights: Array | None = None) -> Capture:
    """Train four steps on one batch of device arrays, and tell whether their launches are the same: ``print(capture(...))``.

    The trainer's device is a simulated GPU ("sim"); ValueError otherwise. On a real GPU no graph is built yet.
    """
    if trainer.device.kind != "sim":
        raise ValueError(f"capture looks at launches on a simulated GPU: Trainer(..., device='sim'), not {trainer.device}")
    if trainer.precision is not None:
        raise ValueError(f"capture looks at float32 steps: precision={trainer.precision!r} has steps of its own")
    for name, a in (("x", x), ("y", y), ("weights", weights)):
        if a is not None and not trainer.device.owns(a):
            raise foreign(f"capture: {name}", a, trainer.device)
    trainer.build(x.shape[1:])
    with trainer.device.use():
        step = FixedStep(trainer)
        batch = (x, y, weights)
        for _ in range(WARM_UP):
            step.make(batch)
        heard, objections = [], []
        for _ in range(2):
            launches, reasons = _hear(step, batch, trainer.loss.evaluate)
            heard.append(launches)
            objections += reasons
    objections += differences(*heard)
    return Capture(len(heard[0]), list(dict.fromkeys(objections)))


class FixedStep(StepPlan):
    """A step on fixed memory by the layers' code, with all that differs from step to step in the device's memory."""

    def make(self, batch: Batch) -> Array:
        self.fill(batch)
        self.run(self._loss)
        return self._value

    def fill(self, batch: Batch) -> None:
        """What a captured step needs beforehand."""
        if not self._batch:
            self._batch = [None if a is None else self._device.empty(a.shape, a.dtype) for a in batch]
            self._optimizer.prepare(self._net.parameters)
            self._number = self._device.empty((), "uint64")
        for own, a in zip(self._batch, batch, strict=True):
            if own is not None:
                own[...] = a
        numbers = self._optimizer.advance()
        self._numbers = self._device.empty((len(numbers),), self._dtype) if self._numbers is None else self._numbers
        for i, number in enumerate(numbers):
            self._numbers[i, ...].fill(number)
        self._number.fill(self._net.count_step())

    def run(self, loss: Callable) -> None:
        """What would be captured."""
        self._pass(StepPass(self._net, self._arena, self._value, self._number), self._batch, loss)
        self._optimizer.apply([self._numbers[i, ...] for i in range(len(self._numbers))])


def _hear(step: FixedStep, batch: Batch, loss: Callable) -> tuple[list[Launch], list[str]]:
    """The launches of one step, and what else happened that may not."""
    step.fill(batch)
    launches: list[Launch] = []

    def each(name: str, arrays: list, flops: int, numbers: list[float]) -> None:
        launches.append(Launch(name, [(a.__array_interface__["data"][0], a.shape, a.strides) for a in arrays], numbers))

    with ledger.ledger(each=each) as seen:
        step.run(loss)
    reasons = [f"{event.place}: {event.cause} ({event.kind})" for event in seen.events.values() if event.kind != "float64"]
    if seen.allocations:
        reasons.append(f"{seen.allocations} allocations: arrays made anew in each step; step.keep and out= have them made once")
    return launches, reasons


def differences(first: Sequence[Launch], second: Sequence[Launch]) -> list[str]:
    """Where two steps do not launch the same."""
    found: list[str] = []
    for i, (a, b) in enumerate(itertools.zip_longest(first, second)):
        if a is None or b is None or a.name != b.name:
            names = [one.name if one else "nothing" for one in (a, b)]
            return [*found, f"launch {i} is {names[0]} in one step, {names[1]} in the next"]
        if a.memory != b.memory:
            found.append(f"launch {i}, {a.name}: it is on other memory in each step")
        if a.numbers != b.numbers:
            old, new = next((p, q) for p, q in zip(a.numbers, b.numbers, strict=True) if p != q)
            found.append(
                f"launch {i}, {a.name}: it is given {old!r} in one step, {new!r} in the next; a graph would go on with the "
                f"first: an optimizer's numbers belong into numbers(rate), a layer draws random ones by step.uniform"
            )
    return found
