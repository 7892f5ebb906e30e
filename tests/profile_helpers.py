"""A profile of a CPU that nobody measured, so that advice takes seconds."""

from __future__ import annotations

from xpnet.advise.cpu_profile import ALONE, EACH, GRID, SETS, SHARED, CPUProfile


def cpu_profile(threads: int = 2) -> CPUProfile:
    """100 GFLOP/s a thread, 10 GB/s, 1 us a call."""
    products = [2 * m * k * n / 1e11 + 1e-7 for m in GRID for k in GRID for n in GRID]
    modes = (ALONE, EACH, SHARED) if threads > 1 else (ALONE,)
    return CPUProfile(
        threads=threads,
        call=dict.fromkeys(modes[:2], 1e-6),
        python=2e-6,
        run=1e-8,
        piece=1e-8,
        cast=1e-10,
        elements={"add": 1e-10, "exp": 1e-9},
        bandwidth={mode: [1e10] * len(SETS) for mode in modes[:2]},
        products={mode: list(products) for mode in modes},
        transposed={mode: [1.0] * len(products) for mode in modes},
        handing_over=1e-5,
    )
