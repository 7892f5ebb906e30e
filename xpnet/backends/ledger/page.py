"""The ledger as a page of text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from xpnet.backends.ledger.book import Counts, Event, Ledger
from xpnet.backends.ledger.places import Place
from xpnet.backends.ledger.record import remedy

WORDS = {
    "h2d": "copies to the device",
    "d2h": "copies to the host",
    "sync": "waits",
}
LONGEST = 30  # lines of a table


class Line(NamedTuple):
    """All that one operation in one line of the program caused."""

    place: Place
    cause: str
    asked: bool
    kinds: tuple[str, ...]
    times: int
    steps: int
    nbytes: int


def page(book: Ledger) -> str:
    """What a step costs, where the program waited or copied, and the kernels: for reading."""
    lines, steps = merged(book.events.values()), len(book.steps)
    kinds = {kind: [line for line in lines if line.kinds == (kind,) and not line.asked] for kind in ("mistake", "float64")}
    hidden = [line for line in lines if not line.asked and line not in kinds["mistake"] + kinds["float64"]]
    parts = [
        mistakes_found(kinds["mistake"]),
        costs(book),
        table("Hidden: not by device.put, get or synchronize", most_frequent(hidden), steps),
        table("Asked for by device.put, get and synchronize", most_frequent([line for line in lines if line.asked]), steps),
        table("float64, slow on most GPUs: the first line is likely to be the cause of the others", kinds["float64"], steps),
        kernels(book),
    ]
    return "\n\n".join(filter(None, parts))


def merged(events: Iterable[Event]) -> list[Line]:
    """In the order in which they first happened; a copy to the host and the wait for it are one line."""
    groups: dict[tuple, list[Event]] = {}
    for event in events:
        groups.setdefault((event.place, event.cause, event.asked), []).append(event)
    return [
        Line(
            place,
            cause,
            asked,
            kinds=tuple(event.kind for event in group),
            times=max(event.times for event in group),
            steps=max(event.steps for event in group),
            nbytes=sum(event.nbytes for event in group),
        )
        for (place, cause, asked), group in groups.items()
    ]


def most_frequent(lines: list[Line]) -> list[Line]:
    """Those of the most steps first."""
    return sorted(lines, key=lambda line: (-line.steps, -line.times, line.place))


def mistakes_found(lines: list[Line]) -> str:
    """What would have ended the program on a real GPU, in the order of the lines."""
    if not lines:
        return ""
    rows = [f"  {line.place}  {line.cause} ({line.times}x)" for line in sorted(lines, key=lambda line: line.place)]
    return "\n".join(["Mistakes: a real GPU would have stopped here, or gone wrong without a word", *rows])


def costs(book: Ledger) -> str:
    """The median step, or the totals where there was no step."""
    step = book.typical_step
    if step is None:
        return (
            f"In all (no optimizer.update was called, so there are no steps to speak of)\n{numbers(book, book.launches_known)}"
        )
    title = "1 step" if len(book.steps) == 1 else f"A typical step of {len(book.steps):,} (the median of each number)"
    return f"{title}\n{numbers(step, book.launches_known)}"


def numbers(counts: Counts, launches_known: bool) -> str:
    """Three lines of figures."""
    work = (
        "launches, bytes and FLOP: not known, CuPy has no hook for them"
        if not launches_known
        else f"{many(counts.launches, 'launch', 'launches')}, {in_bytes(counts.moved_bytes)} read and written by them, "
        f"{counts.flops:,} FLOP in products"
    )
    return (
        f"  {work}\n"
        f"  {many(counts.syncs, 'synchronisation')}, {many(counts.copies, 'copy', 'copies')} between host and device "
        f"({in_bytes(counts.h2d_bytes)} there, {in_bytes(counts.d2h_bytes)} back)\n"
        f"  {many(counts.allocations, 'allocation')} ({in_bytes(counts.allocated_bytes)}), "
        f"{many(counts.float64, 'float64 array')}"
    )


def table(title: str, lines: list[Line], steps: int) -> str:
    """One row a line of the program; what to do instead stands below the first row of each cause that repeats itself."""
    if not lines:
        return ""
    cells = [(str(line.place), how_often(line, steps), in_bytes(line.nbytes), what(line)) for line in lines[:LONGEST]]
    wide, times, size = (max(len(row[i]) for row in cells) for i in range(3))
    rows, told = [title], set()
    for line, (place, often, nbytes, text) in zip(lines, cells, strict=False):
        rows.append(f"  {place:<{wide}}  {often:<{times}}  {nbytes:>{size}}  {text}")
        advice = "" if line.asked or line.times == 1 or line.cause in told else remedy(line.cause)
        if advice:
            rows.append(f"  {'':<{wide}}  {'':<{times}}  {'':<{size}}  -> {advice}")
            told.add(line.cause)
    if len(lines) > LONGEST:
        rows.append(f"  and {len(lines) - LONGEST} more")
    return "\n".join(rows)


def what(line: Line) -> str:
    """``float(): waits, copies to the host``."""
    return f"{line.cause}: {', '.join(WORDS[kind] for kind in line.kinds)}" if line.kinds != ("float64",) else line.cause


def how_often(line: Line, steps: int) -> str:
    """``every step``, ``5 times in 3 of 45 steps`` or, outside of steps, the number of times."""
    if steps > 1 and line.steps >= steps:
        return "every step" if line.times == line.steps else f"every step, {line.times:,} times"
    within = f" in {line.steps:,} of {steps:,} steps" if steps > 1 and line.steps else ""
    return many(line.times, "time") + within


def kernels(book: Ledger) -> str:
    """The launches that read and write most."""
    found = sorted(book.kernels.values(), key=lambda k: -k.moved_bytes)
    if not found:
        return ""
    rows = [f"  {k.times:>9,}x  {k.name:<16} {k.size:>12,} elements  {in_bytes(k.moved_bytes):>9}" for k in found[:8]]
    more = f"\n  and {len(found) - 8} more" if len(found) > 8 else ""
    return "The kernels that read and write most\n" + "\n".join(rows) + more


def many(n: int, one: str, several: str | None = None) -> str:
    """``1 copy``, ``2 copies``."""
    return f"{n:,} {one if n == 1 else several or one + 's'}"


def in_bytes(n: int) -> str:
    """Bytes in the largest unit that gives a number of at least 1."""
    for unit, size in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if n >= size:
            return f"{n / size:.1f} {unit}"
    return f"{n} B"
