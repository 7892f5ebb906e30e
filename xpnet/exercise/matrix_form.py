"""Whether a submission is a matrix form: whether Python's own work and the number of array operations follow the samples.

Nothing is timed. Two things are counted during one update:

* *steps*: operators and calls that Python executes, in every frame, so also those of lambdas that ``map`` calls and of
  functions that ``np.vectorize`` and ``np.apply_along_axis`` call;
* *array operations*: NumPy's operations on the weights and on all that is computed from them, from C or from Python.

Stacking a list of N samples takes steps for each sample, but as many for a large net as for a small one; and it is over
before the first weight is used. So in a matrix form the steps that N samples add are the same for nets of other depth or
width, and the array operations do not depend on N at all. Both are equalities of whole numbers.

One loop is not seen: at a single place, run by C (``map`` of a NumPy function), over what ``np.asarray`` has taken out of
the count.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, ClassVar

import numpy as np

from xpnet.backends.ledger.places import Place, users_place, works_on_behalf
from xpnet.exercise.submission import Stopped, Submission, SubmissionError
from xpnet.exercise.trials import Check

FEW, MANY = 3, 8  # samples
CALLS = 5  # of which the last one counts
SMALL, DEEP, WIDE = (6, 5, 4), (6, 5, 5, 5, 4), (6, 9, 10)  # the same inputs: a learner may stack them number by number
HERE = str(Path(__file__).parent)
WORK = "CALL", "BINARY_", "UNARY_", "COMPARE_"  # beginnings of the names of instructions, in all versions of Python


@dataclass(frozen=True)
class MatrixForm:
    """``each_layer``, ``one_place``: whether samples are taken one by one there; ``line`` is where most of that happens."""

    each_layer: bool
    one_place: bool
    stacking: float  # Python's steps for each sample
    line: str | None = None

    @property
    def ok(self) -> bool:
        return not (self.each_layer or self.one_place)

    def as_dict(self) -> dict[str, Any]:
        return {
            "matrix_form": self.ok,
            "loop_in_each_layer": self.each_layer,
            "loop_at_one_place": self.one_place,
            "line": self.line,
            "steps_per_sample": self.stacking,
        }


def examine(submission: Submission) -> MatrixForm | None:
    """Count on three nets and two sizes of minibatch; None where the submission stops before its end."""
    try:
        growth = {sizes: _growth(submission, sizes) for sizes in (SMALL, DEEP, WIDE)}
    except Stopped:
        return None
    steps, operations = ({sizes: found[k] for sizes, found in growth.items()} for k in (0, 1))
    deeper = [_minus(of[DEEP], of[SMALL]) for of in (steps, operations)]
    wider = _minus(steps[WIDE], steps[SMALL])
    each_layer = any(map(Counter.total, deeper))
    one_place = not each_layer and any(map(Counter.total, (operations[SMALL], wider)))
    suspects = deeper if each_layer else [operations[SMALL], wider]
    stacking = steps[SMALL].total() / (MANY - FEW)
    return MatrixForm(each_layer, one_place, stacking, _busiest(suspects, submission.path))


def _growth(submission: Submission, sizes: tuple[int, ...]) -> list[Counter[Place]]:
    """What more samples add to Python's steps and to the array operations."""
    return [_minus(*pair) for pair in zip(count(submission, sizes, MANY), count(submission, sizes, FEW), strict=True)]


def _minus(more: Counter[Place], less: Counter[Place]) -> Counter[Place]:
    difference = more.copy()
    difference.subtract(less)
    return difference


def count(
    submission: Submission, sizes: tuple[int, ...], n: int, kind: type[np.ndarray] | None = None
) -> tuple[Counter[Place], Counter[Place]]:
    """Python's steps and array operations of one update, by the learner's line that they serve.

    A few updates go before it: what is made once is not counted, and Python 3.13 does not report all instructions of a
    function in its first calls.
    """
    check = Check(sizes, (n,))
    net = submission.new(sizes)
    submission.set(net, check.start())
    ((x, y),) = check.samples()
    try:
        with steps_counted() as steps, operations_counted() as operations:
            for _ in range(CALLS):
                net.weights[:] = [np.asarray(w).view(kind or Counted) for w in net.weights]
                steps.clear()
                operations.clear()
                submission.call(net, x, y, check.eta)
    except SubmissionError:
        if kind is not None:
            raise
        return count(submission, sizes, n, np.ndarray)  # a program that takes no arrays but NumPy's: by its steps alone
    return steps, operations


def _busiest(growths: list[Counter[Place]], path: Path) -> str | None:
    """The line of the learner's file that grows most, in the first of the counts in which one does."""
    for growth in growths:
        own = Counter({place: n for place, n in growth.items() if n > 0 and Path(place.file) == path})
        if own:
            return f"{path.name}:{own.most_common(1)[0][0].line}"
    return None


@contextlib.contextmanager
def steps_counted() -> Iterator[Counter[Place]]:
    """Count operators and calls in all frames, those of new threads included."""
    counts: Counter[Place] = Counter()
    before, before_threads = sys.gettrace(), threading.gettrace()
    trace = functools.partial(_entered, counts)
    sys._getframe().f_trace_opcodes = True  # from Python 3.12 on, settrace looks whether any frame wants them
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield counts
    finally:
        sys.settrace(before)
        threading.settrace(before_threads)


def _entered(counts: Counter[Place], frame: FrameType, event: str, argument: Any) -> Callable | None:
    code = frame.f_code
    if code.co_filename.startswith(HERE):
        return None
    served = users_place() if works_on_behalf(code.co_filename) else None
    working = _working(code)
    frame.f_trace_opcodes, frame.f_trace_lines = True, False

    def executed(frame: FrameType, event: str, argument: Any) -> Callable:
        if event == "opcode" and frame.f_lasti in working:
            counts[served or Place(code.co_filename, frame.f_lineno)] += 1
        return executed

    return executed


@functools.lru_cache(maxsize=1024)
def _working(code: CodeType) -> frozenset[int]:
    """The places of a code object's operators and calls."""
    return frozenset(i.offset for i in dis.get_instructions(code) if i.opname.startswith(WORK))


class Counted(np.ndarray):
    """An array whose operations are counted, and those of everything computed from it."""

    tally: ClassVar[Counter[Place]] = Counter()

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        Counted.tally[users_place()] += 1
        out = kwargs.pop("out", None)
        if out is not None:
            kwargs["out"] = tuple(map(_plain, out))
        kwargs = {k: _plain(v) for k, v in kwargs.items()}
        result = getattr(ufunc, method)(*map(_plain, inputs), **kwargs)
        return out[0] if out is not None and len(out) == 1 else _counted(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        Counted.tally[users_place()] += 1
        return _counted(super().__array_function__(func, types, args, kwargs))

    def dot(self, b: Any, out: Any = None) -> Any:  # NumPy's own passes both methods above by
        return np.dot(self, b, out)


def _plain(a: Any) -> Any:
    return a.view(np.ndarray) if isinstance(a, Counted) else a


def _counted(a: Any) -> Any:
    return a.view(Counted) if type(a) is np.ndarray else a


@contextlib.contextmanager
def operations_counted() -> Iterator[Counter[Place]]:
    """Count the operations on arrays of the class :class:`Counted`."""
    before, Counted.tally = Counted.tally, Counter()
    try:
        yield Counted.tally
    finally:
        Counted.tally = before
