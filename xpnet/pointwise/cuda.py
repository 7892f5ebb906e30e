"""The arguments of ``cupy.ElementwiseKernel`` for a kernel: C++ plain enough for g++, which tests it without a GPU."""

from __future__ import annotations

from xpnet.pointwise.kernel import MASK, Kernel, Operand
from xpnet.pointwise.operations import OPERATIONS

C_TYPES = {"float16": "float", "float32": "float", "float64": "double"}  # in which is computed: half is too coarse for that
LETTERS = {"array": "x", "number": "n", "step": "v"}


def elementwise(kernel: Kernel) -> dict[str, str]:
    """``in_params``: the arrays that are read, then the numbers; ``out_params``: those that are written to."""
    kinds = ["bool" if kind == MASK else kernel.dtype for kind in kernel.arrays]
    numbers = [f"{kernel.dtype} n{i}" for i in range(kernel.numbers)]
    real = C_TYPES[kernel.dtype]  # CuPy's names are references to the arrays' elements: all are read before any is written to
    lines = [f"const {'bool' if kernel.arrays[i] == MASK else real} x{i} = a{i};" for i in kernel.reads]
    lines += [f"const {c_type} v{i} = {expression};" for i, (c_type, expression) in enumerate(_steps(kernel))]
    lines += [f"o{index} = {_stored(kernel, index, operand)};" for index, operand in kernel.outputs]
    return {
        "in_params": ", ".join([*(f"{kinds[i]} a{i}" for i in kernel.reads), *numbers]),
        "out_params": ", ".join(f"{kinds[i]} o{i}" for i in kernel.writes),
        "operation": "\n".join(lines),
        "name": f"xpnet_{kernel.name}",
    }


def _steps(kernel: Kernel) -> list[tuple[str, str]]:
    """The type and the expression of each step."""
    real, found = C_TYPES[kernel.dtype], []
    for name, operands in kernel.steps:
        operation = OPERATIONS[name]
        text = operation.cuda.format(*(_text(kernel, operand) for operand in operands), T=real)
        found.append(("bool" if operation.gives == "mask" else real, text))
    return found


def _text(kernel: Kernel, operand: Operand) -> str:
    kind, which = operand
    real = C_TYPES[kernel.dtype]
    if kind == "constant":
        return f"({real})({which})"
    cast = f"({real})" if kernel.dtype == "float16" and kind == "number" else ""
    return f"{cast}{LETTERS[kind]}{which}"


def _stored(kernel: Kernel, index: int, operand: Operand) -> str:
    text = _text(kernel, operand)
    return f"float16({text})" if kernel.dtype == "float16" and kernel.arrays[index] != MASK else text
