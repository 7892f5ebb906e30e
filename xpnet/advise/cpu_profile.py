"""How long NumPy's calls take on a CPU, by figures that micro-benchmarks of single calls have given."""

from __future__ import annotations

import bisect
import dataclasses
import itertools
import math

from xpnet.advise.tasks import Section, Task, Work

ALONE, EACH, SHARED = "alone", "each", "shared"  # one thread; one each, all busy; BLAS shares one product among all
GRID = (1, 4, 16, 64, 256, 1024)  # of m, k and n
SETS = tuple(1 << p for p in range(16, 29, 2))  # bytes that a pass over memory touches: 64 KiB to 256 MiB
REUSE = 4  # how many times a call's own bytes are touched until the same memory is: the chain of a few layers around it


@dataclasses.dataclass
class CPUProfile:
    """Seconds, and bytes a second, of single calls; by mode where several threads work.

    ``call``: NumPy's own cost of a call, by mode; ``python``: what a layer's code adds to each; ``run``: of an inner loop,
    ``piece``: of a stretch of bytes that is copied, ``cast``: of a number of another type;
    ``elements``: of one number, by ufunc; ``bandwidth``: by bytes touched, see SETS; ``products``: of (m, k) @ (k, n) by GRID,
    ``transposed`` how many times as long those with the first factor transposed take; ``handing_over``: work to threads.
    """

    threads: int
    call: dict[str, float]
    python: float
    run: float
    piece: float
    cast: float
    elements: dict[str, float]
    bandwidth: dict[str, list[float]]
    products: dict[str, list[float]]
    transposed: dict[str, list[float]]
    handing_over: float

    def step(self, work: Work) -> float:
        """Seconds of a step's calls."""
        return sum(self.section(section, work) for section in work.sections)

    def section(self, section: Section, work: Work) -> float:
        """Seconds until the slowest worker has done its share."""
        busy = [share for share in section.shares if share]
        mode, over = self.mode(section, work), self.handing_over if len(busy) > 1 else 0.0
        extra = self.python if section.in_layers else 0.0
        return over + max((sum(self.task(t, mode) + extra for t in share) for share in busy), default=0.0)

    def parts(self, work: Work) -> dict[str, float]:
        """Seconds of a step's products, of its passes over memory, and of making calls: with the sections' waiting left out."""
        found = {"products": 0.0, "memory and elements": 0.0, "calls": 0.0}
        for section in work.sections:
            busy = [share for share in section.shares if share]
            mode = self.mode(section, work)
            for task in (task for share in busy for task in share):
                call = self.call[EACH if mode == EACH else ALONE]
                found["calls"] += (call + (self.python if section.in_layers else 0.0)) / len(busy)
                found["products" if task.product else "memory and elements"] += (self.task(task, mode) - call) / len(busy)
        return found

    def mode(self, section: Section, work: Work) -> str:
        """How many threads a section's calls have, and what they do meanwhile."""
        if sum(map(bool, section.shares)) > 1:
            return EACH
        return ALONE if work.blas_threads == 1 or self.threads == 1 else SHARED

    def task(self, task: Task, mode: str) -> float:
        """Seconds of one call."""
        at_work = EACH if mode == EACH else ALONE
        if task.product:  # blocked, so that it reads memory while it computes, though not all of the time
            return self.call[at_work] + math.hypot(self.product(task, mode), task.nbytes / self.rate(task.nbytes, at_work))
        memory = task.nbytes / self.rate(REUSE * task.nbytes, at_work)
        kernel = task.name.partition(".")[0]
        element = self.elements.get(kernel, self.elements["add"]) * task.itemsize / 4
        more = task.elements * (self.piece * task.pieces + self.cast * task.casts) + (task.runs - 1) * self.run
        return self.call[at_work] + more + max(task.elements * element, memory)

    def rate(self, touched: float, mode: str) -> float:
        """Bytes a second of a pass over memory, by what is touched until the same bytes come again."""
        rates = self.bandwidth[mode]
        i = bisect.bisect(SETS, touched)
        if i in (0, len(SETS)):
            return rates[min(i, len(SETS) - 1)]
        share = math.log(touched / SETS[i - 1]) / math.log(SETS[i] / SETS[i - 1])
        return math.exp((1 - share) * math.log(rates[i - 1]) + share * math.log(rates[i]))

    def product(self, task: Task, mode: str) -> float:
        """Seconds of a product: between the measured sizes by their logarithms, beyond them by the work."""
        assert task.product
        stack, *sizes = task.product
        table = self.products[mode]
        if task.transposed:
            table = [a * b for a, b in zip(table, self.transposed[mode], strict=True)]
        inside = [min(max(size, GRID[0]), GRID[-1]) for size in sizes]
        beyond = math.prod(a / b for a, b in zip(sizes, inside, strict=True))
        return stack * beyond * _between(table, inside) * task.itemsize / 4


def _between(table: list[float], sizes: list[float]) -> float:
    """Trilinear in logarithms."""
    places = []
    for size in sizes:
        i = min(max(bisect.bisect_right(GRID, size) - 1, 0), len(GRID) - 2)
        places.append((i, math.log(size / GRID[i]) / math.log(GRID[i + 1] / GRID[i])))
    total = 0.0
    for corner in itertools.product((0, 1), repeat=3):
        index, weight = 0, 1.0
        for (i, share), up in zip(places, corner, strict=True):
            index, weight = index * len(GRID) + i + up, weight * (share if up else 1 - share)
        total += weight * math.log(table[index])
    return math.exp(total)
