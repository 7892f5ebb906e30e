"""Damaged forms of a file's bytes, the same for the same seed."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator

EXTREME = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 2**62, 2**63 - 1, 2**64 - 1)
WRITTEN = (b"-1", b"0", b"1e999", b"nan", b"99999999999999999999", b"2147483648", b"4294967295", b"1000000000000", b"\xb2", b"")


def mutations(data: bytes, n: int, seed: int) -> Iterator[bytes]:
    """``n`` damaged forms of ``data``: cut short, bits flipped, pieces moved, doubled or lost, numbers changed, or several."""
    rng = random.Random(seed)
    for _ in range(n):
        found = data
        for _ in range(rng.choice((1, 1, 1, 2, 4))):
            found = rng.choice(KINDS)(found, rng)
        yield found


def cut(data: bytes, rng: random.Random) -> bytes:
    """The beginning; near an end as often as anywhere."""
    near = rng.choice((len(data), min(len(data), 64)))
    return data[: rng.randrange(near + 1)] if rng.random() < 0.7 else data[: max(0, len(data) - rng.randrange(1, 64))]


def flip(data: bytes, rng: random.Random) -> bytes:
    """One to eight bits changed."""
    found = bytearray(data)
    for _ in range(rng.randint(1, 8)):
        if found:
            found[_place(found, rng)] ^= 1 << rng.randrange(8)
    return bytes(found)


def overwrite(data: bytes, rng: random.Random) -> bytes:
    """A run of zeros, of ones, or of noise."""
    at, length = _place(data, rng), rng.choice((1, 4, 16, 256))
    run = rng.choice((bytes(length), b"\xff" * length, rng.randbytes(length)))
    return data[:at] + run + data[at + length :]


def splice(data: bytes, rng: random.Random) -> bytes:
    """A piece left out, doubled, or put elsewhere."""
    at, length = _place(data, rng), rng.choice((1, 8, 64, 1024))
    piece, rest = data[at : at + length], data[:at] + data[at + length :]
    to = _place(rest, rng)
    return rng.choice((rest, data[:at] + piece + data[at:], rest[:to] + piece + rest[to:]))


def number(data: bytes, rng: random.Random) -> bytes:
    """An extreme number of 1, 2, 4 or 8 bytes, of either order."""
    size = rng.choice((1, 2, 4, 8))
    value = rng.choice(EXTREME) % 256**size
    at = _place(data, rng)
    return data[:at] + value.to_bytes(size, rng.choice(("little", "big"))) + data[at + size :]


def digits(data: bytes, rng: random.Random) -> bytes:
    """A number in text changed to another, negative, huge, or no number."""
    found = list(re.finditer(rb"\d+", data[:100_000]))
    if not found:
        return flip(data, rng)
    chosen = rng.choice(found)
    return data[: chosen.start()] + rng.choice(WRITTEN) + data[chosen.end() :]


def junk(data: bytes, rng: random.Random) -> bytes:
    """Noise before or after."""
    noise = rng.randbytes(rng.choice((1, 16, 500)))
    return rng.choice((data + noise, noise + data))


KINDS: tuple[Callable[[bytes, random.Random], bytes], ...] = (cut, flip, flip, overwrite, splice, number, number, digits, junk)


def _place(data: bytes | bytearray, rng: random.Random) -> int:
    """Somewhere, in every third case among the first 200 bytes or the last: there headers and directories are."""
    near = rng.choice((0, 1, 2))
    if not data:
        return 0
    if near == 0:
        return rng.randrange(min(len(data), 200))
    return rng.randrange(max(0, len(data) - 200), len(data)) if near == 1 else rng.randrange(len(data))
