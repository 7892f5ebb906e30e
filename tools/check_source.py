"""Rules on the source that no run can prove; exit 1 with one ``path:line: rule: text`` per finding.

    python tools/check_source.py

cupy      only xpnet/backends/ imports CuPy;
and in layers, losses and optimizers:
numpy     no import of NumPy;
host      no value of a device array reaches the host, by ``float()``, ``if``, ``print``: the step would wait for it;
one-body  no question which device this is.
"""

from __future__ import annotations

import ast
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from array_declarations import Kind, declarations, name_of
from array_reader import Reader

ROOT = Path(__file__).resolve().parents[1]
CONTRACTS = ("xpnet/backends/device.py", "xpnet/parameters.py", "xpnet/step.py")


class Finding(NamedTuple):
    path: str
    line: int
    rule: str
    text: str


def check(path: str, text: str) -> list[Finding]:
    """The findings in the text of the file at this path, relative to the project."""
    tree = ast.parse(text)
    found = set(import_rules(path, tree))
    if computes(path):
        reader = Reader(project() | declarations([tree]), moves=path.startswith("xpnet/optimizers/"))
        found |= {Finding(path, *finding) for finding in reader.read(tree)}
    return sorted(found)


def import_rules(path: str, tree: ast.AST) -> Iterator[Finding]:
    for node, module in imports(tree):
        code = ast.unparse(node)
        if module in ("cupy", "cupyx") and not path.startswith("xpnet/backends/"):
            yield Finding(path, node.lineno, "cupy", f"only xpnet/backends/ imports CuPy: {code}")
        if module in ("numpy", "np") and computes(path):
            yield Finding(path, node.lineno, "numpy", f"layers, losses and optimizers compute with step.xp: {code}")


def imports(tree: ast.AST) -> Iterator[tuple[ast.stmt | ast.expr, str]]:
    """Every import, also one by a literal name, with the first part of each name in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [alias.name for alias in node.names] + [getattr(node, "module", None) or ""]
        elif isinstance(node, ast.Call) and name_of(node.func) in ("import_module", "__import__") and node.args:
            names = [str(getattr(node.args[0], "value", ""))]
        else:
            continue
        yield from ((node, name.split(".")[0]) for name in names)


def computes(path: str) -> bool:
    """Whether this is a layer, a loss or the optimizers."""
    return path.startswith(("xpnet/layers/", "xpnet/losses/", "xpnet/optimizers/"))


@functools.cache
def project() -> dict[str, Kind]:
    """What a step, a device and parameters are declared to give, and every function of layers, losses and optimizers."""

    def declared(paths: list[str]) -> dict[str, Kind]:
        return declarations([ast.parse((ROOT / path).read_text("utf-8")) for path in paths])

    functions = declared([path for path in sources() if computes(path)])
    return {name: kind for name, kind in functions.items() if name.endswith("()")} | declared([*CONTRACTS])


def sources() -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob("xpnet/**/*.py"))


def main() -> int:
    found = [finding for path in sources() for finding in check(path, (ROOT / path).read_text("utf-8"))]
    for path, line, rule, text in found:
        print(f"{path}:{line}: {rule}: {text}")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
