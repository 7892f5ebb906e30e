"""The ledger as a page of text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from xpnet.backends.ledger import Counts, Event, Ledger, remedy
from xpnet.backends.places import Place

WORDS = {
    "h2d": "copies to the device",
    "d2h": "copies to the host",
    "sync": "waits",
    "float64": "slow on a GPU",
    "mistake": "mistake",
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
    lines = merged(book.events.values())
    mistakes = [line for line in lines if line.kinds == ("mistake",)]
    hidden = [line for line in lines if not line.asked and line not in mistakes]
    parts = [
        mistakes_found(mistakes),
        costs(book),
        table("Hidden: nobody asked for these by name", hidden, len(book.steps)),
        table("Asked for by device.put, get and synchronize", [line for line in lines if line.asked], len(book.steps)),
        kernels(book),
    ]
    return "\n\n".join(filter(None, parts))


def merged(events: Iterable[Event]) -> list[Line]:
    """A copy to the host and the wait for it are one line; the most frequent lines come first."""
    groups: dict[tuple, list[Event]] = {}
    for event in events:
        groups.setdefault((event.place, event.cause, event.asked), []).append(event)
    lines = [
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
        return f"In all (no optimizer.update was called, so there are no steps to speak of)\n{numbers(book, book.on_cuda)}"
    title = "1 step" if len(book.steps) == 1 else f"A typical step of {len(book.steps):,} (the median of each number)"
    return f"{title}\n{numbers(step, book.on_cuda)}"


def numbers(counts: Counts, on_cuda: bool) -> str:
    """Three lines of figures."""
    work = (
        "launches, bytes and FLOP: not known, CuPy has no hook for them"
        if on_cuda
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
    """One row a line of the program, with what to do instead below it."""
    if not lines:
        return ""
    rows = [title]
    width = max(len(str(line.place)) for line in lines[:LONGEST])
    for line in lines[:LONGEST]:
        what = f"{line.cause}: {', '.join(WORDS[kind] for kind in line.kinds)}"
        rows.append(f"  {line.place!s:<{width}}  {how_often(line, steps):>16}  {in_bytes(line.nbytes):>9}  {what}")
        if line.times > 1 and not line.asked and (advice := remedy(line.cause)):
            rows.append(f"  {'':<{width}}  {'':>16}  {'':>9}  -> {advice.removeprefix(': ')}")
    if len(lines) > LONGEST:
        rows.append(f"  and {len(lines) - LONGEST} more")
    return "\n".join(rows)


def how_often(line: Line, steps: int) -> str:
    """``every step``, ``in 3 of 45 steps`` or, outside of steps, the number of times."""
    if steps > 1 and line.steps >= steps:
        return "every step"
    if steps > 1 and line.steps > 1:
        return f"{line.steps:,} of {steps:,} steps"
    return many(line.times, "time")


def kernels(book: Ledger) -> str:
    """The launches that read and write most."""
    found = sorted(book.kernels.values(), key=lambda k: -k.moved_bytes)
    if not found:
        return ""
    rows = [f"  {k.times:>9,}x  {k.name:<16} {k.size:>12,} elements  {in_bytes(k.moved_bytes):>9}" for k in found[:8]]
    more = f"\n  and {len(found) - 8} more, by name and size in .kernels" if len(found) > 8 else ""
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
