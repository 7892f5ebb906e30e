"""Memory of a training step by batch, and the largest batch that fits."""

from __future__ import annotations

from dataclasses import dataclass

from xpnet.advise.subject import Subject
from xpnet.forecast import forecast

PAIR = (4, 8)


@dataclass
class Room:
    """Bytes of a step at the batch asked about, of ``available``; ``largest`` is the batch that fills those.

    None is what is not known.
    """

    bytes: float
    available: float | None
    largest: int | None


def rooms(subject: Subject, device: str, available: float | None, batch: int) -> Room:
    """Forecast on a device's plan for two batches; memory is a constant and a multiple of the rows."""
    trainer = subject.make(device)
    vectors = len(trainer.optimizer.slots)
    first, second = (forecast(trainer.net, n) for n in PAIR)
    fixed = [f.total + vectors * f.vector for f in (first, second)]
    each = (fixed[1] - fixed[0]) / (PAIR[1] - PAIR[0])
    constant = fixed[0] - each * PAIR[0]
    largest = None if available is None else int(max(0, (available - constant) // max(each, 1)))
    return Room(constant + each * batch, available, largest)
