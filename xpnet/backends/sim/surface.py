"""CuPy's own names and signatures, from surface.json (written by tools/dump_cupy_surface.py)."""

from __future__ import annotations

import inspect
import json
import pathlib
from collections.abc import Callable
from typing import Any

SURFACE: dict[str, Any] = json.loads(pathlib.Path(__file__).with_name("surface.json").read_text())

# What CuPy declares as **kwargs and checks by hand (cupy/linalg/_einsum.py, cupy/_creation/ranges.py).
CHECKED_BY_HAND = {"einsum": "*operands, dtype=, optimize=", "meshgrid": "*xi, copy=, sparse=, indexing="}

_Parameter = inspect.Parameter
POSITIONAL = (_Parameter.POSITIONAL_ONLY, _Parameter.POSITIONAL_OR_KEYWORD)


def signature(spec: str) -> inspect.Signature:
    """``"a, axis=, *, dtype="`` as a signature object."""
    parameters: list[inspect.Parameter] = []
    kind: Any = _Parameter.POSITIONAL_OR_KEYWORD
    for part in filter(None, spec.split(", ")):
        if part == "/":
            parameters = [p.replace(kind=_Parameter.POSITIONAL_ONLY) for p in parameters]
        elif part.startswith("**"):
            parameters.append(_Parameter(part[2:], _Parameter.VAR_KEYWORD))
        elif part.startswith("*"):
            kind = _Parameter.KEYWORD_ONLY
            parameters += [_Parameter(part[1:], _Parameter.VAR_POSITIONAL)] if part != "*" else []
        else:
            name, default, _ = part.partition("=")
            parameters.append(_Parameter(name, kind, default=None if default else _Parameter.empty))
    return inspect.Signature(parameters)


class CallCheck:
    """Whether CuPy takes a call, and how NumPy spells it.

    NumPy's functions have more parameters, some with other names and in another order
    (``argmax(a, axis, dtype, out)`` against ``argmax(a, axis, out)``). What differs is worked out
    once here, so that a call costs two comparisons.
    """

    def __init__(self, name: str, spec: str, numpy_function: Callable):
        self.name = name
        self.signature = signature(CHECKED_BY_HAND.get(name, spec))
        parameters = self.signature.parameters.values()
        self.collects = next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), "")
        self.names = [p.name for p in parameters if p.kind in POSITIONAL]
        self.allowed = {p.name for p in parameters if p.kind not in (p.POSITIONAL_ONLY, p.VAR_POSITIONAL)}
        self.required = [p.name for p in parameters if p.kind in POSITIONAL and p.default is p.empty]
        self.any_keyword = any(p.kind == p.VAR_KEYWORD for p in parameters)
        self.most = 1 << 30 if self.collects else len(self.names)
        self._compare_with(numpy_function)

    def _compare_with(self, numpy_function: Callable) -> None:
        self.shared = self.most
        self.renamed: dict[str, str] = {}
        self.by_position: set[str] = set()  # NumPy has another keyword, or none
        try:
            theirs = inspect.signature(numpy_function).parameters.values()
        except ValueError:  # a C function of a NumPy before 2.4: taken to agree
            self.casts = False
            return
        all_theirs = {p.name for p in theirs}
        if not any(p.kind == p.VAR_POSITIONAL for p in theirs):
            self._align([p.name for p in theirs if p.kind in POSITIONAL], all_theirs)
            without_keyword = sum(p.kind == p.POSITIONAL_ONLY for p in theirs)
            self.by_position = {*self.renamed, *self.names[: min(self.shared, without_keyword)]}
        takes_any = any(p.kind == p.VAR_KEYWORD for p in theirs)
        # Where CuPy alone has dtype= (argmax, Generator.uniform) the result is converted afterwards.
        self.casts = "dtype" in self.allowed and "dtype" not in all_theirs and not takes_any

    def _align(self, theirs: list[str], all_theirs: set[str]) -> None:
        """Count the leading parameters that mean the same in both, whatever their names."""
        self.shared = 0
        for ours, other in zip(self.names, theirs, strict=False):
            if ours != other and (ours in all_theirs or other in self.allowed):
                return
            if ours != other:
                self.renamed[ours] = other
            self.shared += 1

    def numpy_call(self, args: tuple, kwargs: dict) -> tuple[tuple, dict]:
        """The same call with NumPy's positions and names; TypeError where CuPy would raise it."""
        if (
            len(args) > self.most
            or not (self.any_keyword or kwargs.keys() <= self.allowed)
            or (len(args) < len(self.required) and not kwargs.keys() >= set(self.required[len(args) :]))
        ):
            self._refuse(args, kwargs)
        if len(args) > self.shared or not self.by_position.isdisjoint(kwargs):
            return self._translated(list(args), kwargs)
        return args, kwargs

    def _translated(self, args: list, kwargs: dict) -> tuple[tuple, dict]:
        while len(args) < self.shared and self.names[len(args)] in kwargs:  # NumPy may allow them by position only
            args.append(kwargs.pop(self.names[len(args)]))
        kwargs |= zip(self.names[self.shared :], args[self.shared :], strict=False)
        return tuple(args[: self.shared]), {self.renamed.get(name, name): x for name, x in kwargs.items()}

    def _refuse(self, args: tuple, kwargs: dict) -> None:
        try:
            self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"cupy.{self.name}({self.signature}): {error} (CuPy {SURFACE['cupy']})") from None
        raise TypeError(f"cupy.{self.name}: wrong arguments {sorted(kwargs)}")
