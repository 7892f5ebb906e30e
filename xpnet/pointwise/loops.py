"""A kernel as the source of a Python function that Numba compiles: one loop, which LLVM turns into vector instructions."""

from __future__ import annotations

import textwrap

from xpnet.pointwise.kernel import ROW, Kernel, Operand
from xpnet.pointwise.operations import OPERATIONS

HEAD = '''"""Made by xpnet: {name}, {dtype}."""

import numba
import numpy

from xpnet.pointwise.functions import {dtype} as functions

{functions}real = numpy.{dtype}
zero, one = real(0), real(1)
{constants}

@numba.njit(nogil=True, error_model="numpy", cache={cache})
def run({parameters}):
{numbers}{loop}
'''
LETTERS = {"array": "x", "number": "m", "step": "v"}
FUNCTIONS = ("sqrt", "exp", "expm1", "log", "log1p", "tanh", "sin", "cos", "copysign")


def source(kernel: Kernel, cache: bool) -> str:
    """A module with the function ``run``: vectors of one length (or rows), then each number as a vector of one element."""
    arrays = [f"a{i}" for i in range(len(kernel.arrays))]
    numbers = [f"n{i}" for i in range(kernel.numbers)]
    constants = _constants(kernel)
    used = {name for name, _ in kernel.steps if name in FUNCTIONS}
    return HEAD.format(
        name=kernel.name,
        dtype=kernel.dtype,
        functions="".join(f"{name} = functions.{name}\n" for name in sorted(used)),
        constants="".join(f"{name} = real({text})\n" for text, name in constants.items()),
        parameters=", ".join(arrays + numbers),
        numbers="".join(f"    m{i} = n{i}[0]\n" for i in range(kernel.numbers)),
        loop=textwrap.indent(_loop(kernel, constants), "    "),
        cache=cache,
    )


def _constants(kernel: Kernel) -> dict[str, str]:
    operands = [operand for _, operands in kernel.steps for operand in operands] + [operand for _, operand in kernel.outputs]
    texts = dict.fromkeys(which for kind, which in operands if kind == "constant")
    return {text: f"c{i}" for i, text in enumerate(texts)}


#: Parts of arrays, since indices that count from 0 are those of which LLVM makes vector instructions.
ROWS = """width = {row}.size
strip = {strip}
for first in range(0, {length}, strip):
{parts}
{adding}    for i in range({count}):
{body}"""
#: Rows may be short, and what is left over of one after whole vectors costs as much as a vector an element: so the row is
#: added to a strip of rows first, which stays in the cache, and all else is one long loop over the strip.
ADDING = """    for start in range(0, {array}.size, width):
        part = {array}[start : start + width]
        for j in range(width):
            part[j] += {row}[j]
"""


def _loop(kernel: Kernel, constants: dict[str, str]) -> str:
    names = ["a" if kind == ROW else "p" for kind in kernel.arrays]
    length = f"a{names.index('p')}.size"
    if "a" not in names:
        return f"for i in range({length}):\n{_indented(_body(kernel, constants, ['a'] * len(names)))}"
    parts = [f"p{i} = a{i}[first : first + strip]" for i, name in enumerate(names) if name == "p"]
    added = _added_row(kernel)
    if added is None:
        row, strip, count, adding, body = f"a{names.index('a')}", "width", "width", "", _body(kernel, constants, names)
    else:
        step, array, row = added[0], f"p{added[1]}", f"a{added[2]}"
        strip, count, adding = "max(1, 2048 // width) * width", f"{array}.size", ADDING.format(array=array, row=row)
        body = [f"v{step} = {array}[i]", *_body(kernel, constants, names, done=step)]
    text = {"parts": _indented(parts), "body": _indented(body, 2)}
    return ROWS.format(row=row, strip=strip, length=length, adding=adding, count=count, **text)


def _added_row(kernel: Kernel) -> tuple[int, int, int] | None:
    """The step that adds a row to an array which is written to, and both; None where they are used in another way too."""
    rows = {("array", i) for i, kind in enumerate(kernel.arrays) if kind == ROW}
    users = [i for i, (_, operands) in enumerate(kernel.steps) if rows & set(operands)]
    name, operands = kernel.steps[users[0]] if len(users) == 1 else ("", ())
    if name != "add" or operands[1] not in rows or operands[0][0] != "array" or operands[0][1] not in kernel.writes:
        return None
    others = [operand for i, (_, used) in enumerate(kernel.steps) if i != users[0] for operand in used]
    if operands[0] in [*others, *(operand for _, operand in kernel.outputs)]:
        return None
    return users[0], operands[0][1], operands[1][1]


def _body(kernel: Kernel, constants: dict[str, str], names: list[str], done: int | None = None) -> list[str]:
    """The lines that compute one element, but for a step that is done already, and its operands."""

    def text(operand: Operand) -> str:
        kind, which = operand
        return constants[which] if kind == "constant" else f"{LETTERS[kind]}{which}"

    skipped = kernel.steps[done][1] if done is not None else ()
    lines = [f"x{i} = {names[i]}{i}[i]" for i in kernel.reads if ("array", i) not in skipped]
    for i, (name, operands) in enumerate(kernel.steps):
        if i != done:
            lines.append(f"v{i} = {OPERATIONS[name].loop.format(*map(text, operands))}")
    return lines + [f"{names[index]}{index}[i] = {text(operand)}" for index, operand in kernel.outputs]


def _indented(lines: list[str], depth: int = 1) -> str:
    return textwrap.indent("\n".join(lines), "    " * depth)
