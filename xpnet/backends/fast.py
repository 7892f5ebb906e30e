"""The CPU with Numba: elementwise bodies and the usual losses as compiled loops. All else is NumPy's."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import itertools
import os
import sys
import tempfile
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from xpnet.backends.cpu import CPU, SIMD
from xpnet.backends.device import Array
from xpnet.backends.probe import DeviceUnavailable
from xpnet.backends.recording import call
from xpnet.backends.rows import RowKernel
from xpnet.extras import MissingExtra, load
from xpnet.pointwise import Kernel, loops
from xpnet.pointwise.kernel import ROW

SHARED = 1 << 18  # elements from which on workers share a loop


class FastCPU(CPU):
    """NumPy on the host, and Numba for what it has loops for; asked for by the name "cpu-fast" only."""

    fuses = True

    def __init__(self) -> None:
        try:
            load("numba", "fast")
        except MissingExtra:
            advice = 'pip install "xpnet[fast]"'
            raise DeviceUnavailable("not-installed", "Numba, which cpu-fast needs, is not installed", advice) from None
        except ImportError as error:
            advice = "install a NumPy that this Numba takes, or a newer Numba"
            raise DeviceUnavailable("import-error", f"`import numba` failed with {error}", advice) from error
        super().__init__("cpu-fast")

    def pointwise(self, kernel: Kernel, arrays: Sequence[Array], numbers: Sequence[Any] = ()) -> None:
        if kernel.dtype == "float16" or not all(arrays[i].flags.c_contiguous for i in kernel.writes):  # Numba has no half
            kernel.evaluate(arrays, numbers)
            return
        run, size = compiled(kernel), arrays[kernel.writes[0]].size
        vectors = [a if a.ndim == 1 else a.reshape(-1) for a in arrays]
        if numbers:
            vectors += [as_vector(number, kernel.dtype) for number in numbers]
        if size < SHARED or self.workers.count == 1:
            call(run, *vectors)
        else:
            call(self.workers.replay, [[(run, tuple(part))] for part in self._parts(kernel, vectors, size)])

    def over_rows(self, kernel: RowKernel, step: Any, *args: Any) -> None:
        from xpnet.backends.fast_rows import LOOPS

        found = LOOPS[kernel.name](*args) if kernel.name in LOOPS else None
        if found is None:
            kernel.twin(step, *args)
        else:
            run, arrays = found
            call(run, *arrays)

    def _parts(self, kernel: Kernel, vectors: list[Array], size: int) -> list[list[Array]]:
        """What each worker gets: neighbouring elements of the vectors, and all of rows and numbers."""
        kinds = [*kernel.arrays, *[ROW] * kernel.numbers]
        unit = next((v.size for v, kind in zip(vectors, kernel.arrays, strict=False) if kind == ROW), SIMD)
        count, whole = self.workers.count, -(-size // unit)
        stops = [min(size, whole * k // count * unit) for k in range(count + 1)]
        spans = [slice(*pair) for pair in itertools.pairwise(stops)]
        return [[v if kind == ROW else v[span] for v, kind in zip(vectors, kinds, strict=True)] for span in spans]


def as_vector(number: Any, dtype: str) -> Array:
    """One element that is read when the loop is called: the memory itself of a 0-d array."""
    return number.reshape(1) if isinstance(number, np.ndarray) else np.array((number,), dtype)


@functools.cache
def compiled(kernel: Kernel) -> Callable:
    """The loop, which Numba compiles when it is first called; or finds, in xpnet's cache, where that can be written to."""
    source = loops.source(kernel, cache=True)
    file = _kept(source, kernel.name)
    if file is None:
        module = types.ModuleType(f"xpnet_{kernel.name}")
        exec(loops.source(kernel, cache=False), vars(module))
        return module.run
    spec: Any = importlib.util.spec_from_file_location(f"xpnet_{file.stem}", file)
    module = sys.modules[spec.name] = importlib.util.module_from_spec(spec)  # Numba imports it by this name
    spec.loader.exec_module(module)
    return module.run


def _kept(source: str, name: str) -> Path | None:
    """The source as a file, by whose name Numba finds what it compiled of it; None where there is no room for it."""
    from xpnet.datasets.download import cache_folder
    from xpnet.pointwise import functions

    key = hashlib.sha256(source.encode() + Path(functions.__file__).read_bytes()).hexdigest()[:16]
    file = cache_folder() / "kernels" / f"{name}_{key}.py"
    if not file.exists():
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            descriptor, path = tempfile.mkstemp(dir=file.parent)
            with os.fdopen(descriptor, "w", encoding="utf-8") as out:
                out.write(source)
            os.replace(path, file)
        except OSError:
            return None
    return file
