"""Whether a submission is a matrix form: whether Python's own work and the number of array operations follow the samples.

Nothing is timed. Two things are counted during one update:

* *steps*: operators and calls that Python executes in the learner's files and in NumPy's, so also those of lambdas that
  ``map`` calls and of functions that ``np.vectorize`` and ``np.apply_along_axis`` call;
* *array operations*: NumPy's operations on the weights and on all that is computed from them, from C or from Python.

Stacking a list of N samples takes steps for each sample, but as many for a deep net as for a shallow one; and the numbers
of the samples are all that it may take one by one before the first weight is used. So in a matrix form the steps that N
samples add are the same for nets of other depth, those after the first array operation also for nets of other width, and
the array operations do not depend on N at all.

One loop is not seen: at a single place, run by C (``map`` of a NumPy function) or by the standard library, over what
``np.asarray`` has taken out of the count.
"""

from __future__ import annotations

import contextlib
import dis
import functools
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any, ClassVar

import numpy as np

from xpnet.backends.ledger.places import NUMPY, XPNET, Place, users_place, works_on_behalf
from xpnet.exercise.submission import Stopped, Submission, SubmissionError
from xpnet.exercise.trials import Check

FEW, MANY = 3, 8  # samples
CALLS = 5  # of which the last one counts
SMALL, DEEP, WIDE = (6, 5, 4), (6, 5, 5, 5, 4), (6, 9, 10)  # deep: as many inputs and outputs, which a learner may stack
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


@dataclass
class Tally:
    """Counts of one update, by the learner's line that they serve; ``late`` are the steps after the first operation."""

    steps: Counter[Place] = field(default_factory=Counter)
    late: Counter[Place] = field(default_factory=Counter)
    operations: Counter[Place] = field(default_factory=Counter)

    def __sub__(self, less: Tally) -> Tally:
        return Tally(_minus(self.steps, less.steps), _minus(self.late, less.late), _minus(self.operations, less.operations))

    def clear(self) -> None:
        for counter in (self.steps, self.late, self.operations):
            counter.clear()


def _minus(more: Counter[Place], less: Counter[Place]) -> Counter[Place]:
    difference = more.copy()
    difference.subtract(less)  # the operator would drop what is negative
    return difference


def examine(submission: Submission) -> MatrixForm | None:
    """Count on three nets and two sizes of minibatch; None where the submission stops before its end."""
    try:
        small, deep, wide = (count(submission, sizes, MANY) - count(submission, sizes, FEW) for sizes in (SMALL, DEEP, WIDE))
    except Stopped:
        return None
    deeper, wider = deep - small, wide - small
    layers, place = [deeper.steps, deeper.operations], [small.operations, wider.late]
    each_layer = any(map(_follows_samples, layers))
    one_place = not each_layer and any(map(_follows_samples, place))
    line = _busiest(layers if each_layer else place, submission.path)
    return MatrixForm(each_layer, one_place, small.steps.total() / (MANY - FEW), line)


def _follows_samples(growth: Counter[Place]) -> bool:
    """At least one for each sample: a branch taken by what the numbers are may add a few."""
    return growth.total() >= MANY - FEW


def count(submission: Submission, sizes: tuple[int, ...], n: int, plain: bool = False) -> Tally:
    """What one update takes; a few go before it.

    What is made once is not counted so, and Python 3.13 does not report all instructions of a function in its first calls.
    """
    check = Check(sizes, (n,))
    net = submission.new(sizes)
    submission.set(net, check.start())
    ((x, y),) = check.samples()
    try:
        with counted() as tally:
            for _ in range(CALLS):
                net.weights[:] = [w.view(Counted) if type(w) is np.ndarray and not plain else w for w in net.weights]
                tally.clear()
                submission.call(net, x, y, check.eta, check.describe(1))
    except SubmissionError:
        if plain:
            raise
        return count(submission, sizes, n, plain=True)  # a program that takes no arrays but NumPy's: by its steps alone
    return tally if tally.operations else Tally(tally.steps, tally.steps)


def _busiest(growths: list[Counter[Place]], path: Path) -> str | None:
    """The line of the learner's file that grows most, in the first of the counts in which one does."""
    for growth in growths:
        own = Counter({place: n for place, n in growth.items() if n > 0 and Path(place.file) == path})
        if own:
            return f"{path.name}:{own.most_common(1)[0][0].line}"
    return None


@contextlib.contextmanager
def counted() -> Iterator[Tally]:
    """Count steps, those of new threads included, and the operations on arrays of the class :class:`Counted`."""
    before, before_threads, Counted.tally = sys.gettrace(), threading.gettrace(), Tally()
    trace = functools.partial(_entered, Counted.tally)
    sys._getframe().f_trace_opcodes = True  # from Python 3.12 on, settrace looks whether any frame wants them
    threading.settrace(trace)
    sys.settrace(trace)
    try:
        yield Counted.tally
    finally:
        sys.settrace(before)
        threading.settrace(before_threads)


def _entered(tally: Tally, frame: FrameType, event: str, argument: Any) -> Callable | None:
    code = frame.f_code
    if not _counts(code.co_filename):
        return None
    served = users_place() if works_on_behalf(code.co_filename) else None
    working = _working(code)
    frame.f_trace_opcodes, frame.f_trace_lines = True, False

    def executed(frame: FrameType, event: str, argument: Any) -> Callable:
        if event == "opcode" and frame.f_lasti in working:
            place = served or Place(code.co_filename, frame.f_lineno)
            tally.steps[place] += 1
            tally.late[place] += bool(tally.operations)
        return executed

    return executed


def _counts(file: str) -> bool:
    """Not this package, nor the standard library, whose steps may be drawn (``random.shuffle``), nor NumPy's printing."""
    if file.startswith(HERE) or file.endswith("arrayprint.py"):
        return False
    return not works_on_behalf(file) or file.startswith((NUMPY, XPNET))


@functools.lru_cache(maxsize=1024)
def _working(code: CodeType) -> frozenset[int]:
    """The places of a code object's operators and calls."""
    return frozenset(i.offset for i in dis.get_instructions(code) if i.opname.startswith(WORK))


class Counted(np.ndarray):
    """An array whose operations are counted, and those of everything computed from it."""

    tally: ClassVar[Tally] = Tally()  # of the count that is running, or ran last

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, **kwargs: Any) -> Any:
        Counted.tally.operations[users_place()] += 1
        out = kwargs.pop("out", None)
        if out is not None:
            kwargs["out"] = tuple(map(_plain, out))
        kwargs = {k: _plain(v) for k, v in kwargs.items()}
        result = getattr(ufunc, method)(*map(_plain, inputs), **kwargs)
        return out[0] if out is not None and len(out) == 1 else _counted(result)

    def __array_function__(self, func: Any, types: Any, args: Any, kwargs: Any) -> Any:
        Counted.tally.operations[users_place()] += 1
        return _counted(super().__array_function__(func, types, args, kwargs))

    def dot(self, b: Any, out: Any = None) -> Any:  # NumPy's own passes both methods above by
        return np.dot(self, b, out)


def _plain(a: Any) -> Any:
    return a.view(np.ndarray) if isinstance(a, Counted) else a


def _counted(a: Any) -> Any:
    return a.view(Counted) if type(a) is np.ndarray else a
