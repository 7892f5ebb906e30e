"""The rules of tools/check_source.py: the source keeps them, breaches are found at their lines, look-alikes are not."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

TOOLS = Path(__file__).parents[1] / "tools"
ROOT = TOOLS.parent
LAYER, LOSS, OPTIMIZERS = "xpnet/layers/new.py", "xpnet/losses/new.py", "xpnet/optimizers/new.py"


@pytest.fixture(scope="module")
def tool():
    """tools/check_source.py as a module."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(TOOLS)
        return importlib.import_module("check_source")


@pytest.mark.parametrize("path", sorted(p.relative_to(ROOT).as_posix() for p in ROOT.glob("xpnet/**/*.py")))
def test_the_source_keeps_the_rules(path, tool):
    assert tool.check(path, (ROOT / path).read_text("utf-8")) == []


def test_as_a_command():
    done = subprocess.run([sys.executable, str(TOOLS / "check_source.py")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_command_names_place_and_rule(tool, monkeypatch, capsys, tmp_path):
    (tmp_path / "xpnet/layers").mkdir(parents=True)
    (tmp_path / "xpnet/layers/mine.py").write_text("import math\nimport numpy as np\n")
    project = tool.project()
    monkeypatch.setattr(tool, "project", lambda: project)
    monkeypatch.setattr(tool, "ROOT", tmp_path)
    assert tool.main() == 1
    assert capsys.readouterr().out.startswith("xpnet/layers/mine.py:2: numpy: ")


def found(tool, path: str, body: str) -> tuple[list, list]:
    """(line, rule) of what is found in a method with this body, and of what comments ``# <- rule`` say is there."""
    method = (
        "    def forward(self, x: Array, pair: tuple[Array, Array], w: Array | None, n: int, step: Pass) -> tuple[Array, Any]:"
    )
    text = f"class New(Layer):\n{method}\n{textwrap.indent(textwrap.dedent(body), ' ' * 8)}"
    meant = [(i, rule) for i, line in enumerate(text.splitlines(), 1) for rule in re.findall(r"# <- (.*)", line)]
    return sorted({(finding.line, finding.rule) for finding in tool.check(path, text)}), meant


BREACHES = {
    # a conversion of an array
    "float": "return float(x)  # <- host",
    "int of a reduction": "return int(x.sum())  # <- host",
    "bool of a comparison": "return bool(x > 0)  # <- host",
    "complex": "return complex(x[0, 0])  # <- host",
    "item": "return x.max().item()  # <- host",
    "item by another name": "f = x.item  # <- host\nreturn f()",
    "round": "return round(x.sum())  # <- host",
    "divmod": "a, b = divmod(x, n)\nreturn int(b)  # <- host",
    "tolist": "return (x + 1).tolist()  # <- host",
    "get": "return x.get()  # <- host",
    "device.get": "return step.device.get(x)  # <- host",
    "synchronize": "step.device.synchronize()  # <- host",
    "asnumpy": "return step.xp.asnumpy(x)  # <- host",
    "math": "return math.sqrt(x.sum())  # <- host",
    # its text
    "f-string": 'raise ValueError(f"{n} rows, the largest {x.max()}")  # <- host',
    "print": "print(n, pair)  # <- host",
    "str and repr": "return str(x) + repr(n)  # <- host",
    "format": 'return "{}".format(x)  # <- host',
    # its truth
    "if": "if x.any():  # <- host\n    return n",
    "if, compared": "if x.sum() > 0:  # <- host\n    return n",
    "elif": "if n:\n    return n\nelif x.all():  # <- host\n    return x",
    "while": "while x.max() > n:  # <- host\n    x -= 1",
    "assert": "assert step.xp.isfinite(x).all()  # <- host",
    "the text of an assert": 'assert n, f"{x}"  # <- host',
    "and": "return x and n  # <- host",
    "or, in a condition": "if w is None or w.sum() == 0:  # <- host\n    return n",
    "not": "return not x  # <- host",
    "ternary": "return 1 if x[0] else 2  # <- host",
    "condition in a comprehension": "return [a for a in pair if a.sum()]  # <- host",
    "chained comparison": "y = 0 < x < 1  # <- host",
    "in": "return n in x  # <- host",
    "array in a list": "return x in [1, 2]  # <- host",
    "match": "match x.max():  # <- host\n    case 0:\n        return n",
    "in a case": "match n:\n    case 1:\n        x += float(x)  # <- host\n    case k if x.any():  # <- host\n        n = k",
    "what a case gives": "match pair:\n    case (a, b):\n        return int(b)  # <- host",
    # its elements, one by one
    "loop": "for row in x:  # <- host\n    n += 1",
    "comprehension": "return [row * 2 for row in x]  # <- host",
    "unpacking": "a, b = x  # <- host",
    "starred": "return max(n, *x)  # <- host",
    "range": "for i in range(x[0]):  # <- host\n    n += i",
    "min": "return min(x)  # <- host",
    "max of two": "return max(x[0], n)  # <- host",
    "any over arrays": "return any(a > 0 for a in pair)  # <- host",
    "sorted, sum": "return sorted(x) + sum(x)  # <- host",
    "list": "return list(x)  # <- host",
    "slice": "return n * x[: x.sum()]  # <- host",
    "index": "return (1, 2)[x[0]]  # <- host",
    # where it came from
    "xp by another name": "ns = step.xp\nmost = ns.max\ny = most(x)\nreturn float(y)  # <- host",
    "a submodule of xp": "return float(step.xp.linalg.norm(n))  # <- host",
    "a step's buffer": "y = step.keep((n, n))\nif y[0]:  # <- host\n    return n",
    "a step's product": "y = step.affine(n, n, None)\nreturn float(step.rows(y)[0, 0])  # <- host",
    "a device's vector": "return int(step.device.arange(n)[-1])  # <- host",
    "a parameter": "return float(self.W.value[0])  # <- host",
    "a gradient": "self.W.grad /= n\nif self.W.grad.any():  # <- host\n    return n",
    "a function of another file": "return float(sigmoid(n, n, step.xp))  # <- host",
    "a child layer's output": "y, cache = self.child.forward(n, step)\nif cache:\n    return float(y)  # <- host",
    "part of a tuple": "a, count = x * 2, n\nif count:\n    return float(a)  # <- host",
    "a loop over two tuples": "for a, k in zip(pair, (1, 2)):\n    if k:\n        n += int(a)  # <- host",
    "the second round of a loop": "total = 0\nfor a in pair:\n    if total:  # <- host\n        n += 1\n    total = total + a",
    "one of two branches": "y = n\nif n:\n    y = x\nreturn float(y)  # <- host",
    "grown by an array": "y = 0\ny += x\nreturn float(y)  # <- host",
    "an attribute": "self.kept = x\nreturn float(self.kept)  # <- host",
    "walrus": "return n if (y := x.sum()) else y  # <- host",
    "an annotated variable": "y: Array = n\nreturn float(y)  # <- host",
    "an inner function": "def twice(a: Array) -> Array:\n    return 2 * a if n else a\nreturn float(twice(n))  # <- host",
    # other devices, other code
    "xp is np": "if step.xp is np:  # <- one-body\n    return n",
    "the namespace's name": 'return step.xp.__name__ == "cupy"  # <- one-body',
    "device.kind": 'if step.device.kind == "cpu":  # <- one-body\n    return n',
    "kind kept for later": "kind = step.device.kind  # <- one-body",
    "device.name": 'return step.device.name in ("cpu", "sim")  # <- one-body',
    "device.name kept for later": 'name = step.device.name\nif name == "cpu":  # <- one-body\n    return n',
    "the beginning of a name": 'return step.device.name.startswith("cuda")  # <- one-body',
    "match with a device": 'match step.device.name:  # <- one-body\n    case "sim":\n        return n',
    "the class of a device": "return n if isinstance(step.device, CUDA) else 0  # <- one-body",
    "the type of a device": "return type(step.device) is CUDA  # <- one-body",
    "hasattr": 'return hasattr(x, "get")  # <- one-body',
    # imports
    "numpy": "import numpy  # <- numpy",
    "numpy's part": "import math, numpy.linalg as la  # <- numpy",
    "from numpy": "from numpy import sqrt  # <- numpy",
    "somebody else's np": "from xpnet.checks import np  # <- numpy",
    "numpy for types": "if TYPE_CHECKING:\n    import numpy as np  # <- numpy",
    "cupy": "import cupy as cp  # <- cupy",
    "from cupyx": "from cupyx.scipy import special  # <- cupy",
    "cupy by name": 'cp = importlib.import_module("cupy.cuda")  # <- cupy',
    "numpy by name": 'np = __import__("numpy")  # <- numpy',
}

INNOCENT = {
    "None": "if w is None or x is not w:\n    return 1 if w is not None else 2",
    "metadata": "if x.ndim == 2 and len(x) > 1 and x.shape[1:] == w.shape and x.size:\n    return int(x.nbytes / max(x.shape))",
    "a dtype's kind": 'kind = x.dtype.kind\nif kind in "iub" or x.dtype.kind != "f":\n    return kind',
    "a text with metadata": 'raise ValueError(f"{x.shape} {x.dtype.name} {type(x).__name__} {len(x)} {n}")',
    "names that are no device's": 'return self.mode == "sim" or n in ("cpu", "cuda") or self.name == "cpu" or name == "gpu"',
    "a text with a device's name": 'raise ValueError(f"{n} rows on {step.device.name}")',
    "match with metadata": "match x.shape, n:\n    case (k, *_), 2 if k > n:\n        n = k\n    case _:\n        n = len(x)",
    "divmod of shapes": "a, b = divmod(x.shape[0], n)\nreturn a if b else round(a / b)",
    "isinstance": "if isinstance(x, Special) and not isinstance(n, (int, float)):\n    return id(x)",
    "math of shapes": "return math.prod(x.shape) * math.sqrt(x.shape[0]) / float(n)",
    "loop over a shape": "return [k for k in x.shape if k > 1] + [*range(x.ndim)] + sorted(x.shape)",
    "loop over arrays": "for a, b in zip(pair, reversed(pair)):\n    a += b\nfor i, a in enumerate(pair):\n    a *= i or 2",
    "a name used again": "y = x.sum()\ny = y.shape\nif y:\n    return float(len(y))",
    "only types": "if step.xp.finfo(x.dtype).eps > 1e-6 and step.xp.result_type(x, n) == x.dtype:\n    return n",
    "a constant of xp": "return float(step.xp.pi)",
    "range check": "lowest = step.device.check_range(x, n)\nif lowest:\n    raise ValueError(f'{lowest[0]}')",
    "mask": "mask = (x > 0) & (x != 1)\ny = step.xp.where(mask, x, 0)\ny[mask] = 1\nreturn x[n:, : x.shape[1]]",
    "last of an and": "return n and x",
    "a dict's get": "return {'a': 1}.get('a') or n",
    "truth of a parameter": "return self.W.value if self.W else None",
    "a tuple's truth": "if pair and not self.layers:\n    return bool(pair), (*pair, x)",
    "a lambda's own x": "return sorted(self.sizes, key=lambda x: -x if x else 0)",
    "another xp": "expand = step.expand\nif expand == 1:\n    return hasattr(self, 'value') and step.training",
    "another numpy": "from numbers import Integral\nname = 'numpy'\nimport_module('math')",
    "the count": "count = step.count if step.count else n\nif count is None or count > 1:\n    return x / count",
}


@pytest.mark.parametrize("path", [LAYER, LOSS, OPTIMIZERS], ids=["layers", "losses", "optimizers"])
@pytest.mark.parametrize("name", BREACHES)
def test_a_breach_is_found(name, path, tool):
    if path == OPTIMIZERS and name == "device.get":
        pytest.skip("optimizers move and pickle their vectors")
    seen, meant = found(tool, path, BREACHES[name])
    assert seen == meant
    assert meant


@pytest.mark.parametrize("name", INNOCENT)
def test_a_look_alike_is_not(name, tool):
    assert found(tool, LAYER, INNOCENT[name]) == ([], [])


def test_elsewhere_only_cupy_is_refused(tool):
    text = "import numpy as np\nimport cupy\nvalue = float(np.ones(1))\n"
    assert [(f.path, f.line, f.rule) for f in tool.check("xpnet/metrics.py", text)] == [("xpnet/metrics.py", 2, "cupy")]
    assert tool.check("xpnet/backends/cuda.py", text) == []
