"""A learner's program: how it wants to be called, and what a call of it does to known weights."""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xpnet import book
from xpnet.exercise.program import Layer
from xpnet.scripts import as_module, users_frames

LIST = "mini_batch, the list"
METHODS = "update_mini_batch", "backprop"
SHAPES = re.compile("shape|dimension|broadcast|aligned|size|sequence")  # what NumPy's errors of this kind speak of


class SubmissionError(ValueError):
    """A submission that cannot be judged; the text says where and why."""


class Stopped(SubmissionError):
    """Shapes in the submission do not fit each other."""

    def __init__(self, place: str, text: str):
        super().__init__(f"{place}: {text}")
        self.place = place


@contextlib.contextmanager
def theirs(doing: str, path: Path) -> Iterator[None]:
    """What the learner's lines raise, with the line: Stopped where shapes do not fit, else :class:`SubmissionError`."""
    try:
        yield
    except SubmissionError:
        raise
    except SyntaxError as error:
        place = Path(error.filename or path).name + (f":{error.lineno}" if error.lineno else "")
        raise SubmissionError(f"{place}: {error.msg} (Python cannot read the file)") from error
    except (Exception, SystemExit) as error:
        frames = users_frames(error)
        place = f"{Path(frames[-1].filename).name}:{frames[-1].lineno}" if frames else path.name
        said = " ".join(f"{type(error).__name__}: {error}".rstrip(": ").split())
        if isinstance(error, ValueError) and SHAPES.search(str(error)):
            raise Stopped(place, said) from error
        raise SubmissionError(f"{place}: {said} ({doing})") from error


@dataclass(frozen=True)
class Way:
    """How samples are handed over: ``layout`` is "pairs" (a list of columns), "columns" (n, N) or "rows" (N, n)."""

    method: str
    layout: str

    def __str__(self) -> str:
        if self.method == "backprop":
            return f"backprop(X, Y), samples as {self.layout}"
        if self.layout == "pairs":
            return "update_mini_batch(mini_batch, eta), a list of pairs of columns"
        return f"update_mini_batch(X, Y, eta), samples as {self.layout}"

    def samples(self, x: np.ndarray, y: np.ndarray) -> tuple[Any, ...]:
        """The arguments for the columns x and y, fresh copies."""
        if self.layout == "pairs":
            return ([(x[:, [i]], y[:, [i]]) for i in range(x.shape[1])],)
        return (x.copy(), y.copy()) if self.layout == "columns" else (x.T.copy(), y.T.copy())


@dataclass
class Submission:
    """A class of the learner's and one way of calling it.

    ``flipped``: its weights are (n_in, n_out). ``row_biases``: its biases are (n,) or (1, n).
    """

    path: Path
    cls: type
    way: Way = Way("update_mini_batch", "pairs")
    flipped: bool = False
    row_biases: bool = False

    def new(self, sizes: Sequence[int]) -> Any:
        """A net of the learner's; raises SubmissionError where it has no weights and biases of these sizes."""
        call = f"{self.cls.__name__}({list(sizes)})"
        with theirs(call, self.path):
            net = self.cls(list(sizes))
        pairs = list(itertools.pairwise(sizes))
        weights = self._arrays(net, "weights", call, len(pairs))
        biases = self._arrays(net, "biases", call, len(pairs))
        for i, (n_in, n_out) in enumerate(pairs):
            if weights[i].shape != ((n_in, n_out) if self.flipped else (n_out, n_in)):
                raise SubmissionError(
                    f"{self.path.name}: weights[{i}] of {call} has the shape {weights[i].shape}; all weights are "
                    f"(n_out, n_in), as in the book, here {(n_out, n_in)}, or all are (n_in, n_out)"
                )
            if biases[i].shape not in ((n_out, 1), (n_out,), (1, n_out)):
                shapes = f"{(n_out, 1)}, {(n_out,)} or {(1, n_out)}"
                raise SubmissionError(f"{self.path.name}: biases[{i}] of {call} has the shape {biases[i].shape}, not {shapes}")
        return net

    def set(self, net: Any, layers: Sequence[Layer]) -> list[Layer]:
        """Write these layers into the net's own arrays; returns what they hold now, which is rounded in float32."""
        with theirs("when weights and biases are written to", self.path):
            for i, (w, b) in enumerate(layers):
                net.weights[i][...] = w.T if self.flipped else w
                net.biases[i][...] = b.reshape(net.biases[i].shape)
        found = self.layers(net, len(layers))
        pairs = zip(itertools.chain(*found), itertools.chain(*layers), strict=True)
        if not all(np.allclose(got, put, rtol=1e-2) for got, put in pairs):
            raise SubmissionError(
                f"{self.path.name}: what is written into weights and biases does not stay: each item is to be an array of its "
                "own, and the one that the program computes with"
            )
        return found

    def layers(self, net: Any, count: int) -> list[Layer]:
        """Copies in float64 as (n_out, n_in) and (n_out, 1); biases that are of a wrong shape keep it, samples in columns."""
        weights, biases = (self._arrays(net, name, "the net after the call", count) for name in ("weights", "biases"))
        return [self._canonical(w, b) for w, b in zip(weights, biases, strict=True)]

    def call(self, net: Any, x: np.ndarray, y: np.ndarray, eta: float, where: str) -> list[str]:
        """One update of the net; returns which of the samples it has changed. ``where`` is for errors.

        For a submission that has only ``backprop`` it is made with its gradients, ``eta`` taken as it is.
        """
        arguments = self.way.samples(x, y)
        before = _bytes(arguments)
        with (
            theirs(f"in {self.way}; net {where}", self.path),
            np.errstate(all="ignore"),
        ):  # what is not finite is judged, not warned of
            if self.way.method == "backprop":
                _subtract(net, net.backprop(*arguments), eta, self.path)
            else:
                net.update_mini_batch(*arguments, eta)
            after = _bytes(arguments)
        changed = [name for name, was in before.items() if after[name] != was]
        return changed[:1] if LIST in changed else changed

    def shown(self, name: str, shape: tuple[int, ...]) -> tuple[int, ...]:
        """A shape as the learner has it."""
        return shape[::-1] if (self.flipped if name == "weights" else self.row_biases) else shape

    def _canonical(self, w: np.ndarray, b: np.ndarray) -> Layer:
        w, b = np.array(w, np.float64), np.array(b, np.float64)  # no longer np.matrix, whose * is a product
        w = w.T if self.flipped else w
        if b.size == len(w):
            return w, b.reshape(-1, 1)
        return w, b.T if self.row_biases else b

    def _arrays(self, net: Any, name: str, call: str, count: int) -> list[np.ndarray]:
        with theirs(f"`{name}` of {call}", self.path):  # which may be a property
            found = getattr(net, name, None)
        if not isinstance(found, list) or len(found) != count or not all(isinstance(a, np.ndarray) for a in found):
            raise SubmissionError(
                f"{self.path.name}: {call} needs an attribute `{name}`, a list of {count} arrays, one for each "
                f"layer but the first; found: {_kind(found)}"
            )
        for i, a in enumerate(found):
            if a.dtype not in (np.float32, np.float64):
                raise SubmissionError(f"{self.path.name}: {name}[{i}] of {call} holds {a.dtype}: float64 or float32 is needed")
        return found


def load(path: Path) -> list[Submission]:
    """The learner's class in each way in which it may want to be called; raises SubmissionError that says what is missing."""
    if path.suffix != ".py":
        raise SubmissionError(f"{path.name} is not a Python file, NAME.py (a notebook can be exported as one)")
    with theirs("when the file is run", path):
        cls = _class(as_module(path), path)
        ways = _ways(cls, path)
    probe = _probe(path, cls)
    if probe.flipped:
        ways.reverse()  # the likelier one first
    return [dataclasses.replace(probe, way=way) for way in ways]


def _class(module: ModuleType, path: Path) -> type:
    """The class called Network, or else the only one with a method to judge; the file's own before imported ones."""
    found = {k: v for k, v in vars(module).items() if isinstance(v, type) and any(hasattr(v, m) for m in METHODS)}
    own = {k: v for k, v in found.items() if v.__module__ == module.__name__} or found
    if "Network" in own:
        return own["Network"]
    if len(own) == 1:
        return next(iter(own.values()))
    if own:
        raise SubmissionError(f"{path.name} has several classes to judge, {', '.join(own)}: call the one that is meant Network")
    raise SubmissionError(f"{path.name} has no class with a method update_mini_batch or backprop: a class Network is needed")


def _ways(cls: type, path: Path) -> list[Way]:
    """By the parameters of update_mini_batch; backprop counts where the update is not the learner's own."""
    update = getattr(cls, "update_mini_batch", None)
    backprop = getattr(cls, "backprop", None)
    inherited = update is book.Network.update_mini_batch and backprop is not book.Network.backprop
    if update is None or inherited:
        _counts(backprop, path, "backprop", {2: "(self, X, Y)"})
        return [Way("backprop", layout) for layout in ("columns", "rows")]
    counts = _counts(update, path, "update_mini_batch", {2: "(self, mini_batch, eta)", 3: "(self, X, Y, eta)"})
    layouts = {2: ["pairs"], 3: ["columns", "rows"]}
    return [Way("update_mini_batch", layout) for count in counts for layout in layouts[count]]


def _counts(method: Any, path: Path, name: str, forms: dict[int, str]) -> list[int]:
    """How many arguments a method may be given, ``self`` not counted; where ``eta`` is one of them, it is the last."""
    signature = inspect.signature(method)
    parameters = [p for p in signature.parameters.values() if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)][1:]
    names = [p.name for p in parameters]
    required = sum(p.default is p.empty for p in parameters)
    ends = [names.index("eta") + 1] if "eta" in names else range(required, len(names) + 1)
    counts = [count for count in forms if count in ends and count >= required]
    if not counts:
        form = " or ".join(forms.values())
        raise SubmissionError(
            f"{path.name}: {name}{signature}: the form {form} is needed; give what else there is a default value"
        )
    return counts


def _probe(path: Path, cls: type) -> Submission:
    """In which layout the class keeps weights and biases; an error is that of the book's layout."""
    found, error = Submission(path, cls), None
    for found.flipped in (False, True):
        try:
            net = found.new((5, 4, 3))
        except SubmissionError as new:
            error = error or new
        else:
            return dataclasses.replace(found, row_biases=net.biases[0].shape != (4, 1))
    assert error is not None
    raise error


def _kind(found: Any) -> str:
    if isinstance(found, list):
        return f"a list of {len(found)}: {', '.join(type(item).__name__ for item in found)}"
    return "none" if found is None else f"a {type(found).__name__}"


def _subtract(net: Any, found: Any, eta: float, path: Path) -> None:
    """The update by what ``backprop`` returned: two lists, like biases and weights."""
    try:
        nabla_b, nabla_w = ([np.asarray(a) for a in nabla] for nabla in found)
    except (TypeError, ValueError):
        nabla_b = nabla_w = []
    if not len(nabla_b) == len(nabla_w) == len(net.weights) or any(a.dtype.kind != "f" for a in nabla_b + nabla_w):
        raise SubmissionError(f"{path.name}: backprop is to return (nabla_b, nabla_w), two lists with one array a layer")
    if all(b.shape == w.shape != p.shape for b, w, p in zip(nabla_b, net.weights, net.biases, strict=True)):
        raise SubmissionError(f"{path.name}: backprop returns (nabla_w, nabla_b); the book's order is (nabla_b, nabla_w)")
    for i in range(len(net.weights)):
        net.weights[i] = net.weights[i] - eta * nabla_w[i]
        net.biases[i] = net.biases[i] - eta * nabla_b[i]


def _bytes(arguments: tuple[Any, ...]) -> dict[str, Any]:
    """By name, what must not change in the arguments."""
    if len(arguments) == 2:
        return {name: (a.shape, a.tobytes()) for name, a in zip("XY", arguments, strict=True)}
    (pairs,) = arguments
    columns = {name: [np.asarray(pair[k]).tobytes() for pair in pairs] for k, name in enumerate("xy")}
    return {LIST: [id(a) for pair in pairs for a in pair], **columns}
