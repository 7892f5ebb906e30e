"""Symbols in the place of arrays: what a body does with them goes on a tape."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, ClassVar, NamedTuple

import numpy as np

from xpnet.pointwise.kernel import FLOATS, MASK, Kernel, Operand, Step, kernel
from xpnet.pointwise.operations import OPERATIONS, SYNONYMS

SHAPE = object()  # of every array of a body


class NotPointwise(TypeError):
    """A body that is no loop over elements: it reads a value or sums, or uses what has no form in a kernel."""


class Tape:
    """The steps of one body in one precision, and the namespace ``xp`` that writes them down."""

    def __init__(self, dtype: Any):
        self.dtype = np.dtype(dtype)
        self.steps: list[Step] = []
        self.inputs: list[str] = []
        self.numbers = 0
        self.xp = Namespace(self)

    def array(self, kind: str = FLOATS, writable: bool = False) -> Symbol:
        """The next array that the body is given."""
        self.inputs.append(kind)
        return Symbol(self, ("array", len(self.inputs) - 1), MASK if kind == MASK else FLOATS, writable)

    def number(self) -> Symbol:
        """The next number, which differs from call to call."""
        self.numbers += 1
        return Symbol(self, ("number", self.numbers - 1), "number")

    def empty(self, shape: Any = SHAPE, dtype: Any = None) -> Symbol:
        """Memory for intermediate results."""
        if shape is not SHAPE:
            raise NotPointwise("memory of another shape than the arrays'")
        return Symbol(self, None, self.kind(dtype), writable=True)

    def kind(self, dtype: Any) -> str:
        if dtype is None or np.dtype(dtype) == self.dtype:
            return FLOATS
        if np.dtype(dtype) == bool:
            return MASK
        raise NotPointwise(f"arrays of {np.dtype(dtype)} beside those of {self.dtype}")

    def record(self, name: str, values: Iterable[Any], dtype: Any = None) -> Symbol:
        """The result of an operation."""
        operation = OPERATIONS[name]
        operands = self._operands(name, list(values), dtype)
        self.steps.append((name, tuple(operand for _, operand in operands)))
        kind = MASK if operation.gives == "mask" else FLOATS
        if kind == FLOATS and all(k == "number" for k, _ in operands):
            kind = "number"
        return Symbol(self, ("step", len(self.steps) - 1), kind, writable=True)

    def _operands(self, name: str, values: list, dtype: Any) -> list[tuple[str, Operand]]:
        found = [self._operand(value) for value in values]
        if len(found) != OPERATIONS[name].arity:
            raise NotPointwise(f"xp.{name} with {len(found)} operands")
        condition = found[:1] if name == "where" else []
        found = found[len(condition) :]
        masks = [kind == MASK for kind, _ in found]
        if condition and condition[0][0] != MASK:
            raise NotPointwise("xp.where of numbers that are neither true nor false")
        if OPERATIONS[name].takes == "mask":
            if not all(masks):
                raise NotPointwise(f"xp.{name} of numbers")
        elif self.kind(dtype) != FLOATS:
            raise NotPointwise(f"xp.{name} of numbers, as {np.dtype(dtype)}")
        elif any(masks):
            if dtype is None and not any(kind == FLOATS for kind, _ in found):
                raise NotPointwise(f"xp.{name} of true and false alone")
            found = [
                (FLOATS, self._as_float(operand)) if mask else (kind, operand)
                for mask, (kind, operand) in zip(masks, found, strict=True)
            ]
        return condition + found

    def _operand(self, value: Any) -> tuple[str, Operand]:
        if isinstance(value, Symbol):
            if value.tape is not self or value.operand is None:
                raise NotPointwise("memory is read before anything was written to it")
            return value.kind, value.operand
        if type(value) in (int, float, bool) and np.isfinite(value):
            return "number", ("constant", repr(float(value)))
        raise NotPointwise(f"{type(value).__name__} among the operands")

    def _as_float(self, operand: Operand) -> Operand:
        self.steps.append(("as_float", (operand,)))
        return "step", len(self.steps) - 1

    def stored(self, value: Any, kind: str) -> Operand:
        """A value as memory of this kind takes it."""
        found, operand = self._operand(value)
        if kind == MASK and found != MASK:
            raise NotPointwise("numbers in an array of true and false")
        return self._as_float(operand) if found == MASK != kind else operand

    def kernel(self, name: str, outputs: list[tuple[int | None, Symbol]]) -> Traced:
        """What ends with these values: each in the array of that index, or where that is None in one more.

        Arrays and numbers that are not needed are left out (new arrays are counted on from those that the body was given).
        """
        kinds, ends = list(self.inputs), []
        for place, value in outputs:
            if place is None:
                place = len(kinds)
                kinds.append(MASK if value.kind == MASK else FLOATS)
            ends.append((place, self._operand(value)[1]))
        return _compact(re.sub("[^A-Za-z0-9_]", "_", name), self, kinds, ends)


class Traced(NamedTuple):
    """A kernel, and which of the body's arrays and numbers it takes."""

    kernel: Kernel
    arrays: list[int]
    numbers: list[int]


def _compact(name: str, tape: Tape, kinds: list[str], ends: list[tuple[int, Operand]]) -> Traced:
    """A kernel of the steps, arrays and numbers that matter for the ends, renumbered."""
    needed: set[Operand] = set()
    waiting = [operand for _, operand in ends]
    while waiting:
        operand = waiting.pop()
        if operand not in needed:
            needed.add(operand)
            waiting += tape.steps[operand[1]][1] if operand[0] == "step" else ()
    used = {sort: sorted(index for kind, index in needed if kind == sort) for sort in ("array", "number", "step")}
    used["array"] = sorted({*used["array"], *(place for place, _ in ends)})
    new = {(sort, old): (sort, i) for sort, indices in used.items() for i, old in enumerate(indices)}
    steps = tuple((tape.steps[i][0], tuple(new.get(operand, operand) for operand in tape.steps[i][1])) for i in used["step"])
    outputs = tuple((new["array", place][1], new.get(operand, operand)) for place, operand in ends)
    arrays, numbers = tuple(kinds[i] for i in used["array"]), len(used["number"])
    return Traced(kernel(name, tape.dtype.name, arrays, numbers, steps, outputs), used["array"], used["number"])


class Symbol:
    """Stands for an array, or for a number, of which no value is known."""

    __hash__ = None  # type: ignore[assignment]
    shape: ClassVar[Any] = SHAPE

    def __init__(self, tape: Tape, operand: Operand | None, kind: str, writable: bool = False):
        self.tape, self.operand, self.kind, self._writable = tape, operand, kind, writable

    @property
    def dtype(self) -> np.dtype:
        return np.dtype(bool) if self.kind == MASK else self.tape.dtype

    def assign(self, value: Any) -> Symbol:
        """Let this memory hold a value from now on."""
        if not self._writable or self.kind == "number":
            raise NotPointwise("something is changed that the body may only read")
        self.operand = self.tape.stored(value, self.kind)
        return self

    def holds(self, other: Symbol) -> bool:
        """Whether it is what the other one is."""
        return self.operand == other.operand

    def fill(self, value: Any) -> None:
        self.assign(value)

    def copy(self) -> Symbol:
        return self.tape.empty(dtype=self.dtype).assign(self)

    def __getitem__(self, key: Any) -> Symbol:
        return self._whole(key)

    def __setitem__(self, key: Any, value: Any) -> None:
        self._whole(key)
        if value is not self:  # the end of `a[...] += b`
            self.assign(value)

    def _whole(self, key: Any) -> Symbol:
        if key is Ellipsis or (isinstance(key, slice) and key == slice(None)):
            return self
        raise NotPointwise("parts of arrays")

    def __pow__(self, exponent: Any) -> Symbol:
        simple = {2: "square", 0.5: "sqrt", -1: "reciprocal"}.get(exponent) if type(exponent) in (int, float) else None
        return self.tape.record(simple, (self,)) if simple else self.tape.record("power", (self, exponent))

    def __ipow__(self, exponent: Any) -> Symbol:
        return self.assign(self**exponent)

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple = (), **options: Any) -> Any:
        if method != "__call__":
            raise NotPointwise(f"numpy.{ufunc.__name__}.{method}")
        return getattr(self.tape.xp, ufunc.__name__)(*inputs, out=out or None, **options)

    def __array_function__(self, f: Callable, types: Any, args: tuple, kwargs: dict) -> Any:
        return getattr(self.tape.xp, f.__name__)(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        raise NotPointwise(f"array.{name}")


def _unary(name: str) -> Callable:
    return lambda self: self.tape.record(name, (self,))


def _plain(name: str) -> Callable:
    return lambda self, other: self.tape.record(name, (self, other))


def _reflected(name: str) -> Callable:
    return lambda self, other: self.tape.record(name, (other, self))


def _in_place(name: str) -> Callable:
    return lambda self, other: self.assign(self.tape.record(name, (self, other)))


def _refused(method: str) -> Callable:
    def refuse(self: Symbol, *args: Any) -> Any:
        raise NotPointwise(f"{method.strip('_')} of a value: the result decides what is computed")

    return refuse


_UNARY = {"neg": "negative", "abs": "absolute", "invert": "logical_not"}
_ORDER = {"lt": "less", "le": "less_equal", "eq": "equal", "ne": "not_equal", "gt": "greater", "ge": "greater_equal"}
_BINARY = {"add": "add", "sub": "subtract", "mul": "multiply", "truediv": "divide"}
_BINARY |= {"and": "logical_and", "or": "logical_or", "xor": "logical_xor"}
for _operator, _name in _UNARY.items():
    setattr(Symbol, f"__{_operator}__", _unary(_name))
for _operator, _name in (_ORDER | _BINARY).items():
    setattr(Symbol, f"__{_operator}__", _plain(_name))
for _operator, _name in _BINARY.items():
    setattr(Symbol, f"__r{_operator}__", _reflected(_name))
    setattr(Symbol, f"__i{_operator}__", _in_place(_name))
for _operator in ("bool", "float", "int", "complex", "index", "len", "iter", "contains", "array", "repr", "str", "format"):
    setattr(Symbol, f"__{_operator}__", _refused(f"__{_operator}__"))


class Namespace:
    """``xp`` of a body that is traced: the operations, and the few functions that move whole arrays."""

    def __init__(self, tape: Tape):
        self._tape = tape

    def __getattr__(self, name: str) -> Any:
        operation = SYNONYMS.get(name, name)
        if operation in OPERATIONS and operation != "as_float":
            return lambda *args, **options: self._call(operation, *args, **options)
        if isinstance(constant := getattr(np, name, None), float | type):
            return constant  # xp.pi, xp.float32
        raise NotPointwise(f"xp.{name} is not computed element by element")

    def _call(self, name: str, *args: Any, out: Any = None, dtype: Any = None, casting: Any = None) -> Any:
        arity = OPERATIONS[name].arity
        if len(args) > arity and out is None:
            args, out = args[:arity], args[arity:]
        if type(out) is tuple:
            (out,) = out
        result = self._tape.record(name, args, dtype)
        return result if out is None else out.assign(result)

    def copyto(self, target: Symbol, source: Any, casting: str = "same_kind", where: Any = True) -> None:
        if where is True:
            target.assign(source)
        else:
            target.assign(self._tape.record("where", (where, source, target)))

    def clip(self, a: Any, low: Any, high: Any, out: Any = None) -> Any:
        return self.minimum(self.maximum(a, low), high, out=out)

    def empty_like(self, a: Symbol, dtype: Any = None) -> Symbol:
        return self._tape.empty(a.shape, dtype or a.dtype)

    def zeros_like(self, a: Symbol, dtype: Any = None) -> Symbol:
        return self.full_like(a, 0, dtype)

    def ones_like(self, a: Symbol, dtype: Any = None) -> Symbol:
        return self.full_like(a, 1, dtype)

    def full_like(self, a: Symbol, value: Any, dtype: Any = None) -> Symbol:
        return self.empty_like(a, dtype).assign(value)
