"""The host half of the counter-based random numbers: NumPy's own Philox4x64-10, set to a counter."""

from __future__ import annotations

import numpy as np

VALUES_PER_BLOCK = 8  # one Philox4x64 block is four 64-bit words, each two 32-bit halves, low half first


def fill_uniform(key: int, stream: int, step: int, offset: int, out: np.ndarray) -> np.ndarray:
    """Fill contiguous float32 ``out`` with elements ``offset, offset + 1, ...`` of the sequence (key, stream, step).

    Element i is half ``i % 8`` of the block with counter ``(i // 8 + 1, stream, step, 0)``,
    shifted right by 8 and divided by 2**24, as ``Generator.random(dtype=float32)`` does.
    """
    block, skip = divmod(offset, VALUES_PER_BLOCK)
    bits = np.random.Philox(key=key, counter=np.array([block, stream, step, 0], np.uint64))
    generator = np.random.Generator(bits)
    if skip:
        generator.random(skip, dtype=np.float32)
    return generator.random(out=out.reshape(-1), dtype=np.float32).reshape(out.shape)
