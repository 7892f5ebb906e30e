"""Which expressions of a source file are arrays of a device, and where their values come to the host.

Each function is read in order. Annotations tell what parameters, attributes and calls give, functions of ``xp`` give
arrays, and so does what is computed from one. Not followed: what is declared ``Any``, what goes through a dict or a list
that grows, and ``isinstance`` (``Array | float`` stays an array behind it).
"""

from __future__ import annotations

import ast
import functools
from typing import Any

from array_declarations import ARRAY, MEMBER, NAME, XP, Kind, annotated, either, name_of

METADATA = {"shape", "ndim", "size", "dtype", "itemsize", "nbytes", "strides", "flags", "device", "base"}
READING_METHODS = {"item", "tolist", "get", "tobytes", "__float__", "__int__", "__bool__", "__index__"}
VALUE_CALLS = {"float", "int", "bool", "complex", "range", "hash", "round"}  # these read an array that they are given,
VALUE_CALLS |= {"list", "tuple", "set", "iter", "enumerate", "zip", "map", "filter", "reversed", "sum"}
PARTS_CALLS = {"str", "repr", "format", "print", "min", "max", "any", "all", "sorted"}  # these also one in a sequence
XP_ANSWERS = {"finfo", "iinfo", "result_type", "promote_types", "can_cast", "issubdtype", "dtype", "shape", "ndim", "size"}
XP_LISTS = {"split", "array_split", "hsplit", "vsplit", "meshgrid", "broadcast_arrays", "divmod", "modf", "frexp"}
TYPE_CALLS = {"hasattr", "isinstance", "issubclass", "type"}
ASKS = "asks which device this is; what differs by device is a method of the backend"


def holds(kind: Kind) -> bool:
    """Whether it is an array or a sequence with one in it."""
    return kind == ARRAY or (isinstance(kind, tuple | frozenset) and any(map(holds, kind)))


def items(kind: Kind = None) -> Kind:
    """What a loop over it gives."""
    return functools.reduce(either, kind, None) if isinstance(kind, tuple | frozenset) else ARRAY if kind == ARRAY else None


class Reader(ast.NodeVisitor):
    """Reads one file in order; visiting an expression gives its kind. ``moves``: the file may call ``device.get``."""

    def __init__(self, declared: dict[str, Kind], moves: bool = False):
        self.declared, self.moves = declared, moves
        self.names: dict[str, Kind] = {}
        self.findings: set[tuple[int, str, str]] = set()

    def read(self, tree: ast.AST) -> set[tuple[int, str, str]]:
        """(line, rule, text) of every finding; the second time it knows what each method assigns to ``self``."""
        for _ in range(2):
            self.visit(tree)
        return self.findings

    def report(self, node: Any, rule: str, text: str) -> None:
        self.findings.add((node.lineno, rule, f"{text}: {ast.unparse(node)[:80]}"))

    def host(self, node: ast.AST, kind: Kind, how: str) -> Kind:
        """Where Python needs a value: an array is a finding."""
        if kind == ARRAY:
            self.report(node, "host", f"{how} of a device array")
        return kind

    # --- statements

    def bind(self, target: ast.AST, kind: Kind) -> None:
        """Assign to a name, an attribute or the parts of a tuple."""
        if isinstance(target, ast.Name):
            self.names[target.id] = kind
        elif isinstance(target, ast.Tuple | ast.List):
            self.host(target, kind, "unpacking")
            parts = kind if isinstance(kind, tuple) and len(kind) == len(target.elts) else [items(kind)] * len(target.elts)
            for part, its in zip(target.elts, parts, strict=True):
                self.bind(part, its)
        elif isinstance(target, ast.Starred):
            self.bind(target.value, frozenset([kind]))
        else:
            self.visit(target)
            if isinstance(target, ast.Attribute) and holds(kind):
                self.declared[f".{target.attr}"] = kind

    def branches(self, *blocks: list[Any]) -> None:
        """Each block from the same start; afterwards a name may be what any of them made it."""
        start, ends = self.names, []
        for block in blocks:
            self.names = dict(start)
            for statement in block:
                self.visit(statement)
            ends.append(self.names)
        self.names = {name: functools.reduce(either, (e.get(name) for e in ends)) for name in set().union(*ends)}

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        outer = self.names
        self.branches(node.body)
        self.names = outer

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.Lambda) -> None:
        outer, given = self.names, node.args
        self.names = outer | {a.arg: annotated(a.annotation) for a in (*given.posonlyargs, *given.args, *given.kwonlyargs)}
        if given.vararg:
            self.names[given.vararg.arg] = frozenset([annotated(given.vararg.annotation)])
        if given.kwarg:
            self.names[given.kwarg.arg] = None
        self.branches(node.body if isinstance(node.body, list) else [node.body])
        self.names = outer

    visit_Lambda = visit_FunctionDef  # noqa: N815

    def visit_Assign(self, node: ast.Assign) -> None:
        kind = self.visit(node.value)
        for target in node.targets:
            self.bind(target, kind)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.bind(node.target, either(annotated(node.annotation), self.visit(node.value) if node.value else None))

    def visit_AugAssign(self, node: ast.AugAssign) -> None:
        self.bind(node.target, either(self.visit(node.target), self.visit(node.value)))

    def visit_NamedExpr(self, node: ast.NamedExpr) -> Kind:
        self.bind(node.target, kind := self.visit(node.value))
        return kind

    def visit_If(self, node: ast.If) -> None:
        self.truth(node.test)
        self.branches(node.body, node.orelse)

    def visit_While(self, node: ast.While) -> None:
        for _ in range(2):  # the second time with what the first has assigned
            self.truth(node.test)
            self.branches(node.body, node.orelse)

    def visit_For(self, node: ast.For | ast.comprehension) -> None:
        self.bind(node.target, items(self.host(node.iter, self.visit(node.iter), "a loop over the rows")))
        if isinstance(node, ast.For):
            for _ in range(2):
                self.branches(node.body, node.orelse)

    def visit_Match(self, node: ast.Match) -> None:
        kind = self.host(node.subject, self.visit(node.subject), "a match with the value")
        if kind == NAME:
            self.report(node.subject, "one-body", ASKS)
        for part in ast.walk(node):
            if isinstance(part, ast.MatchAs | ast.MatchStar) and part.name:
                self.names[part.name] = items(kind)
        self.branches([], *([case] for case in node.cases))

    def visit_match_case(self, node: ast.match_case) -> None:
        if node.guard:
            self.truth(node.guard)
        self.branches(node.body)

    def visit_Assert(self, node: ast.Assert) -> None:
        self.truth(node.test)
        if node.msg:
            self.visit(node.msg)

    # --- conditions

    def truth(self, node: ast.AST) -> Kind:
        """Visit what Python asks whether it is true."""
        if isinstance(node, ast.BoolOp):
            return functools.reduce(either, map(self.truth, node.values))
        return self.host(node, self.visit(node), "the truth")

    def visit_BoolOp(self, node: ast.BoolOp) -> Kind:
        return functools.reduce(either, [*map(self.truth, node.values[:-1]), self.visit(node.values[-1])])

    def visit_UnaryOp(self, node: ast.UnaryOp) -> Kind:
        kind = (self.truth if isinstance(node.op, ast.Not) else self.visit)(node.operand)
        return None if isinstance(node.op, ast.Not) else kind

    def visit_IfExp(self, node: ast.IfExp) -> Kind:
        self.truth(node.test)
        return either(self.visit(node.body), self.visit(node.orelse))

    def visit_Compare(self, node: ast.Compare) -> Kind:
        sides = (node.left, *node.comparators)
        kinds = [self.visit(side) for side in sides]
        if {XP, NAME} & {*kinds}:
            self.report(node, "one-body", ASKS)
        if all(isinstance(op, ast.Is | ast.IsNot) for op in node.ops) or not holds(tuple(kinds)):
            return None
        if len(node.ops) == 1 and ARRAY in kinds and not isinstance(node.ops[0], ast.In | ast.NotIn):
            return ARRAY
        self.report(node, "host", "the truth of a comparison of a device array")
        return None

    # --- expressions

    def visit_Name(self, node: ast.Name) -> Kind:
        return XP if node.id == "xp" else self.names.get(node.id)

    def visit_Attribute(self, node: ast.Attribute) -> Kind:
        owner = self.visit(node.value)
        if (node.attr == "kind" and is_device(node.value)) or (owner == XP and node.attr == "__name__"):
            self.report(node, "one-body", ASKS)
        if owner == ARRAY:
            if node.attr in READING_METHODS:  # the method by another name
                self.report(node, "host", "the value of a device array")
            return None if node.attr in METADATA else ARRAY
        if node.attr == "name" and is_device(node.value):
            return NAME
        return MEMBER if owner in (XP, MEMBER) else XP if node.attr == "xp" else self.declared.get(f".{node.attr}")

    def visit_Subscript(self, node: ast.Subscript) -> Kind:
        base, index = self.visit(node.value), self.visit(node.slice)
        if base == ARRAY:
            return ARRAY
        self.host(node, index if isinstance(base, tuple | frozenset) else None, "a sequence's index out")
        if isinstance(node.slice, ast.Slice):
            return frozenset([items(base)])
        at = getattr(node.slice, "value", None)
        return base[at] if isinstance(base, tuple) and isinstance(at, int) and at < len(base) else items(base)

    def visit_Slice(self, node: ast.Slice) -> None:
        for part in filter(None, (node.lower, node.upper, node.step)):
            self.host(part, self.visit(part), "a slice's bound out")

    def visit_BinOp(self, node: ast.BinOp) -> Kind:
        return ARRAY if ARRAY in [self.visit(node.left), self.visit(node.right)] else None

    def visit_FormattedValue(self, node: ast.FormattedValue) -> None:
        self.host(node.value, ARRAY if holds(self.visit(node.value)) else None, "formatting")

    def visit_Tuple(self, node: ast.Tuple | ast.List) -> Kind:
        kinds = tuple(self.visit(part) for part in node.elts)
        return frozenset(kinds) if any(isinstance(part, ast.Starred) for part in node.elts) else kinds

    def visit_Starred(self, node: ast.Starred) -> Kind:
        return items(self.host(node, self.visit(node.value), "unpacking"))

    def comprehension(self, node: Any) -> Kind:
        outer, self.names = self.names, dict(self.names)
        for part in node.generators:
            self.visit_For(part)
            for condition in part.ifs:
                self.truth(condition)
        kinds = [self.visit(getattr(node, field)) for field in ("elt", "key", "value") if hasattr(node, field)]
        self.names = outer
        return frozenset(kinds[:1])

    visit_List = visit_Tuple  # noqa: N815
    visit_ListComp = visit_SetComp = visit_GeneratorExp = visit_DictComp = comprehension  # noqa: N815

    def visit_Call(self, node: ast.Call) -> Kind:
        name, owner = name_of(node.func), node.func.value if isinstance(node.func, ast.Attribute) else None
        kind = self.visit(owner or node.func)
        given = [self.visit(a) for a in node.args]
        every = (*given, *(self.visit(k.value) for k in node.keywords))
        if reads(name, owner, kind, every) and not (self.moves and kind != ARRAY and name == "get"):
            self.report(node, "host", "the value of a device array")
        asked = name in TYPE_CALLS and any(map(is_device, node.args[:1]))
        if asked or kind == NAME or (name == "hasattr" and {ARRAY, XP} & {*given[:1]}):
            self.report(node, "one-body", ASKS)
        if kind == ARRAY:
            return None if name in READING_METHODS else ARRAY
        if kind in (XP, MEMBER):
            return None if name in XP_ANSWERS else frozenset([ARRAY]) if name in XP_LISTS else ARRAY
        return self.declared.get(f".{name}()" if owner else f"{name}()", None if owner else built_in(name, given))


def is_device(node: ast.AST) -> bool:
    return name_of(node).endswith("device")


def reads(name: str, owner: ast.AST | None, kind: Kind, given: tuple) -> bool:
    """Whether a call brings the value of an array to the host; ``kind`` is that of the method's ``owner``."""
    if owner is None:
        return (name in PARTS_CALLS and holds(given)) or (name in VALUE_CALLS and ARRAY in given)
    if kind == ARRAY:
        return name in READING_METHODS
    if is_device(owner):
        return name in ("get", "synchronize")
    return name == "asnumpy" or (name == "format" and holds(given)) or (name_of(owner) == "math" and holds(given))


def built_in(name: str, given: list[Kind]) -> Kind:
    """The kind that one of Python's own functions gives."""
    if name == "zip":
        return frozenset([tuple(map(items, given))])
    if name == "enumerate":
        return frozenset([(None, items(*given[:1]))])
    if name == "divmod" and ARRAY in given:
        return (ARRAY, ARRAY)
    if name in ("list", "tuple", "sorted", "reversed", "iter"):
        return given[0] if given else None
    return ARRAY if name in ("sum", "abs", "pow", "next") and holds(tuple(given)) else None
