"""A kernel: what happens to each element, as a list of steps without names or arrays."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import astuple, dataclass
from typing import Any

import numpy as np

from xpnet.pointwise.operations import OPERATIONS

#: ("array", index), ("number", index), ("step", index), or ("constant", its text).
Operand = tuple[str, Any]
Step = tuple[str, tuple[Operand, ...]]

FLOATS, MASK, ROW = "floats", "mask", "row"


@dataclass(frozen=True, eq=False)
class Kernel:
    """One loop over elements.

    ``arrays`` says for each array what it is: "floats" of the kernel's ``dtype``, a "mask" (bool), or a "row" that all rows
    of the others share; ``numbers`` is how many numbers there are, floats or 0-d arrays; ``outputs`` which array ends with
    which operand. An array that is written to may be read as well. :func:`kernel` makes them, of equal ones only one.
    """

    name: str
    dtype: str
    arrays: tuple[str, ...]
    numbers: int
    steps: tuple[Step, ...]
    outputs: tuple[tuple[int, Operand], ...]

    @functools.cached_property
    def reads(self) -> list[int]:
        """Indices of the arrays that are read."""
        used = [operand for _, operands in self.steps for operand in operands] + [operand for _, operand in self.outputs]
        return sorted({index for kind, index in used if kind == "array"})

    @functools.cached_property
    def writes(self) -> list[int]:
        return [index for index, _ in self.outputs]

    def __reduce__(self) -> tuple:
        return kernel, astuple(self)

    def evaluate(self, arrays: Sequence[np.ndarray], numbers: Sequence[Any] = ()) -> None:
        """The steps one by one in NumPy: bit for bit what the body computes; of half precision in float32, rounded once."""
        done: list[Any] = []
        real = np.dtype("float32" if self.dtype == "float16" else self.dtype)
        given = [a.astype(real) if a.dtype == "float16" else a for a in arrays] if self.dtype == "float16" else arrays
        of = {"array": given, "number": numbers, "step": done}

        def value(operand: Operand) -> Any:
            kind, which = operand
            return float(which) if kind == "constant" else of[kind][which]

        for name, operands in self.steps:
            done.append(_computed(name, list(map(value, operands)), real))
        results = [value(operand) for _, operand in self.outputs]
        if len(results) > 1:  # what one output holds may be what another one is to hold
            results = [r.copy() if any(r is a for a in given) else r for r in results]
        for index, result in zip(self.writes, results, strict=True):
            np.copyto(arrays[index], result)


@functools.cache
def kernel(*parts: Any) -> Kernel:
    """The kernel of these parts: always the same object, so that a device finds what it has compiled by identity."""
    return Kernel(*parts)


def _computed(name: str, values: list, dtype: np.dtype) -> Any:
    """The operation's result; that of Python numbers stays one, so that it does not decide the type of what follows."""
    if name == "as_float":
        return np.asarray(values[0], dtype)
    result = OPERATIONS[name].numpy(*values)
    return result.item() if all(type(v) in (int, float, bool) for v in values) else result
