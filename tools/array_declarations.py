"""What a source file declares: the kind that each annotation, function, method and attribute of it gives.

A kind is one of the names below, None for anything else, a tuple of kinds, or as a frozenset the kinds of the items
of a sequence of any length.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from typing import Any

Kind = Any
ARRAY, XP, MEMBER, NAME = "array", "xp", "member of xp", "name of a device"
SEQUENCES, WRAPPERS = {"list", "tuple", "Sequence", "Iterable", "Iterator"}, {"Callable", "ClassVar", "Final", "Optional"}


def name_of(node: ast.AST | None) -> str:
    """The last part of a name: "value" of ``self.W.value``."""
    return str(getattr(node, "attr", getattr(node, "id", "")))


def either(a: Kind, b: Kind) -> Kind:
    """The kind of what may be one or the other: an array where one of them is."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(map(either, a, b))
    return ARRAY if ARRAY in (a, b) else a if b in (None, a) else b if a is None else None


def agreed(a: Kind, b: Kind) -> Kind:
    """What two declarations of one name have in common."""
    if isinstance(a, tuple) and isinstance(b, tuple) and len(a) == len(b):
        return tuple(map(agreed, a, b))
    return a if a == b else None


def annotated(node: ast.AST | None) -> Kind:
    """The kind that an annotation declares."""
    if isinstance(node, ast.BinOp):
        return either(annotated(node.left), annotated(node.right))
    if not isinstance(node, ast.Subscript):
        return ARRAY if name_of(node) == "Array" else None
    name, parts = name_of(node.value), node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
    if name == "tuple" and not isinstance(parts[-1], ast.Constant):
        return tuple(map(annotated, parts))
    if name in SEQUENCES:
        return frozenset([annotated(parts[0])])
    return annotated(parts[-1]) if name in WRAPPERS else None


def declarations(trees: Iterable[ast.AST]) -> dict[str, Kind]:
    """What functions "f()", methods ".f()" and attributes ".a" are declared to give."""
    found: dict[str, Kind] = {}
    for node in [node for tree in trees for node in ast.walk(tree)]:
        prefix = "." if isinstance(node, ast.ClassDef) else ""
        for part in node.body if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) else ():
            if isinstance(part, ast.FunctionDef):
                is_property = any(name_of(d).endswith("property") for d in part.decorator_list)
                name, kind = prefix + part.name + ("" if is_property else "()"), annotated(part.returns)
            elif isinstance(part, ast.AnnAssign):
                called = isinstance(part.annotation, ast.Subscript) and name_of(part.annotation.value) == "Callable"
                name, kind = prefix + name_of(part.target) + ("()" if called else ""), annotated(part.annotation)
            else:
                continue
            found[name] = agreed(found[name], kind) if name in found else kind
    return found
