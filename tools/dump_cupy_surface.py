"""Write the public surface of the installed CuPy to xpnet/backends/sim/surface.json.

Run it where CuPy is installed; no GPU is needed, since the wheel imports without a driver:

    python tools/dump_cupy_surface.py [path]            # write it
    python tools/dump_cupy_surface.py --check [path]    # write nothing, print what differs; the exit status is 1 then

The file maps each public name to its signature in one line: ``"a, axis=, *, dtype="`` (``=`` marks a
default, ``/`` and ``*`` bound the positional-only and the keyword-only names), ``"ufunc 2 1"`` (inputs,
outputs), ``"value"`` for what is no function and ``"any"`` where the signature cannot be read.
"""

from __future__ import annotations

import argparse
import inspect
import json
import pathlib
import re
import warnings
from collections.abc import Iterable
from typing import Any

import cupy
import numpy

TARGET = pathlib.Path(__file__).parents[1] / "xpnet/backends/sim/surface.json"


def describe(thing: Any) -> str:
    if isinstance(thing, cupy.ufunc):
        return f"ufunc {thing.nin} {thing.nout}"
    if isinstance(thing, type | numpy.dtype) or not callable(thing):
        return "value"
    try:
        return compact(inspect.signature(thing))
    except (TypeError, ValueError):
        return from_docstring(thing)


def compact(signature: inspect.Signature) -> str:
    """The signature without annotations and default values, which may not be JSON."""
    plain = [
        p.replace(annotation=inspect.Parameter.empty, default=... if p.default is not p.empty else p.empty)
        for p in signature.parameters.values()
    ]
    return str(signature.replace(parameters=plain, return_annotation=inspect.Signature.empty))[1:-1].replace("=Ellipsis", "=")


def from_docstring(thing: Any) -> str:
    """Cython writes ``_ndarray_base.swapaxes(self, Py_ssize_t axis1, ...)`` into the first line of its docstrings."""
    first = (thing.__doc__ or "").strip().split("\n")[0]
    found = re.match(r"[\w.]+\((.*)\)", first)
    if not found:
        return "any"
    names = (re.sub(r"=.*", "=", name).split() for name in found[1].split(","))
    return ", ".join(words[-1] for words in names if words)


def surface(owner: Any, names: Iterable[str]) -> dict[str, str]:
    return {n: describe(getattr(owner, n)) for n in sorted(names) if not inspect.ismodule(getattr(owner, n))}


def public(owner: Any) -> list[str]:
    return [n for n in dir(owner) if not n.startswith("_")]


def whole_surface() -> dict[str, Any]:
    """The content of the file; the two versions say what it was made with."""
    return {
        "cupy": cupy.__version__,
        "numpy": numpy.__version__,
        "namespace": surface(cupy, public(cupy)),
        "linalg": surface(cupy.linalg, public(cupy.linalg)),
        "stride_tricks": surface(cupy.lib.stride_tricks, public(cupy.lib.stride_tricks)),
        "random": surface(cupy.random, public(cupy.random)),
        "cuda": surface(cupy.cuda, public(cupy.cuda)),
        "ndarray": surface(cupy.ndarray, public(cupy.ndarray)),
        "Generator": surface(cupy.random.Generator, public(cupy.random.Generator)),
    }


def drift(committed: dict[str, Any], current: dict[str, Any]) -> list[str]:
    """A line for each name that was added, removed or changed; other versions alone are no drift."""
    lines = []
    for section in sorted((committed.keys() | current.keys()) - {"cupy", "numpy"}):
        old, new = committed.get(section, {}), current.get(section, {})
        lines += [f"added    {section}.{name}: {new[name]}" for name in sorted(new.keys() - old.keys())]
        lines += [f"removed  {section}.{name}: {old[name]}" for name in sorted(old.keys() - new.keys())]
        changed = sorted(name for name in old.keys() & new.keys() if old[name] != new[name])
        lines += [f"changed  {section}.{name}: {old[name]} -> {new[name]}" for name in changed]
    return lines


def check(target: pathlib.Path, current: dict[str, Any]) -> int:
    """Print the drift of the installed CuPy from the file; 1 where there is some."""
    committed = json.loads(target.read_text())
    lines = drift(committed, current)
    print("\n".join([*lines, f"{len(lines)} differences of CuPy {current['cupy']} from {target} (CuPy {committed['cupy']})"]))
    return int(bool(lines))


def main() -> int:
    parser = argparse.ArgumentParser(description="Write the public surface of the installed CuPy.")
    parser.add_argument("path", nargs="?", type=pathlib.Path, default=TARGET)
    parser.add_argument("--check", action="store_true", help="compare with the file instead of writing it")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    current = whole_surface()
    if arguments.check:
        return check(arguments.path, current)
    arguments.path.write_text(json.dumps(current, indent=0) + "\n")
    print(f"{arguments.path}: {len(current['namespace'])} names of CuPy {cupy.__version__}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
