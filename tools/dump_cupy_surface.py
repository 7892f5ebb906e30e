"""Write the public surface of the installed CuPy to xpnet/backends/sim/surface.json.

Run it where CuPy is installed; no GPU is needed, since the wheel imports without a driver:

    python tools/dump_cupy_surface.py [path]

The file maps each public name to its signature in one line: ``"a, axis=, *, dtype="`` (``=`` marks a
default, ``/`` and ``*`` bound the positional-only and the keyword-only names), ``"ufunc 2 1"`` (inputs,
outputs), ``"value"`` for what is no function and ``"any"`` where the signature cannot be read.
"""

from __future__ import annotations

import inspect
import json
import pathlib
import re
import sys
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


def main() -> None:
    warnings.simplefilter("ignore")
    target = pathlib.Path(sys.argv[1]) if len(sys.argv) > 1 else TARGET
    content = {
        "cupy": cupy.__version__,
        "numpy": numpy.__version__,
        "namespace": surface(cupy, public(cupy)),
        "linalg": surface(cupy.linalg, public(cupy.linalg)),
        "stride_tricks": surface(cupy.lib.stride_tricks, public(cupy.lib.stride_tricks)),
        "random": surface(cupy.random, public(cupy.random)),
        "ndarray": surface(cupy.ndarray, public(cupy.ndarray)),
        "Generator": surface(cupy.random.Generator, public(cupy.random.Generator)),
    }
    target.write_text(json.dumps(content, indent=0) + "\n")
    print(f"{target}: {len(content['namespace'])} names of CuPy {cupy.__version__}")


if __name__ == "__main__":
    main()
