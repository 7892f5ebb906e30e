"""What a GPU would have been asked to do: launches, allocations, copies and synchronisations."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
from collections.abc import Iterator

import numpy as np


@dataclasses.dataclass
class Counts:
    """Numbers of one stretch of work; ``causes`` names each copy and synchronisation ("sync: float()")."""

    launches: int = 0
    allocations: int = 0
    allocated_bytes: int = 0
    h2d: int = 0
    h2d_bytes: int = 0
    d2h: int = 0
    d2h_bytes: int = 0
    syncs: int = 0
    float64: int = 0  # arrays of float64 or complex128 that came into being
    causes: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def copies(self) -> int:
        return self.h2d + self.d2h

    def __sub__(self, earlier: Counts) -> Counts:
        fields = [f.name for f in dataclasses.fields(self)]
        return Counts(*(getattr(self, name) - getattr(earlier, name) for name in fields))


class Counters(Counts):
    """The running totals of this process, over all simulated devices."""

    def allocated(self, a: np.ndarray) -> None:
        self.allocations += 1
        self.allocated_bytes += a.nbytes
        if a.dtype.char in "dD":
            self.float64 += 1

    def copied_in(self, nbytes: int, cause: str) -> None:
        self.h2d += 1
        self.h2d_bytes += nbytes
        self.causes["h2d: " + cause] += 1

    def copied_out(self, nbytes: int, cause: str) -> None:
        self.d2h += 1
        self.d2h_bytes += nbytes
        self.causes["d2h: " + cause] += 1
        self.synchronised(cause)

    def synchronised(self, cause: str) -> None:
        self.syncs += 1
        self.causes["sync: " + cause] += 1

    def reset(self) -> None:
        vars(self).update(vars(Counts()))

    def snapshot(self) -> Counts:
        values = {f.name: getattr(self, f.name) for f in dataclasses.fields(self)}
        return Counts(**values | {"causes": self.causes.copy()})

    @contextlib.contextmanager
    def record(self) -> Iterator[Counts]:
        """``with counters.record() as seen:`` leaves in ``seen`` what happened inside the block."""
        seen, before = Counts(), self.snapshot()
        try:
            yield seen
        finally:
            vars(seen).update(vars(self.snapshot() - before))


counters = Counters()
