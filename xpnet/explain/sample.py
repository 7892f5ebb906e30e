"""Which rows of the data a step is shown for."""

from __future__ import annotations

import re

import numpy as np

Sample = int | str | slice


def rows_of(sample: Sample, n: int) -> range:
    """The rows of ``n`` that 0, "0", "3:7" or slice(3, 7) name; raises ValueError where they are not all there."""
    first, stop = _ends(sample)
    stop = n if stop is None else stop
    if stop <= first < n:
        raise ValueError(f"sample {_said(sample)}: that is no row; 3:7 means rows 3, 4, 5 and 6")
    if first >= n or stop > n:
        here = "no rows" if n == 0 else "only row 0" if n == 1 else f"rows 0 to {n - 1}"
        raise ValueError(f"sample {_said(sample)}: there is no row {max(first, stop - 1)}, the model's data have {here}")
    return range(first, stop)


def _ends(sample: Sample) -> tuple[int, int | None]:
    """First row, and the one after the last (None for the end of the data)."""
    if isinstance(sample, int | np.integer) and not isinstance(sample, bool) and sample >= 0:
        return int(sample), int(sample) + 1
    if isinstance(sample, slice) and sample.step in (None, 1):
        sample = f"{'' if sample.start is None else sample.start}:{'' if sample.stop is None else sample.stop}"
    found = re.fullmatch(r"\s*([0-9]*)\s*(:?)\s*([0-9]*)\s*", sample) if isinstance(sample, str) else None
    if found is None or not (found[1] or found[2]):
        raise ValueError(f"sample {_said(sample)}: a row counted from 0, as in 0, or several, as in 3:7 (rows 3, 4, 5 and 6)")
    first = int(found[1] or 0)
    if not found[2]:
        return first, first + 1
    return first, int(found[3]) if found[3] else None


def _said(sample: object) -> str:
    return sample if isinstance(sample, str) and sample.strip() else repr(sample)
