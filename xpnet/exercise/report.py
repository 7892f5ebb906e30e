"""All that is found about a submission, as text and as a dict."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from xpnet import book
from xpnet.exercise import gradients, matrix_form, speed
from xpnet.exercise.gradients import Gradients
from xpnet.exercise.matrix_form import MatrixForm
from xpnet.exercise.speed import BATCHES, BOOK, SIZES, Speeds
from xpnet.exercise.submission import LIST, Stopped, Submission, SubmissionError, load, theirs
from xpnet.exercise.trials import CHECKS
from xpnet.scripts import searching

WIDTH, PAGE = 13, 110  # characters: of the left column, of the page


@dataclass
class Report:
    """What was found; ``print`` it for the page."""

    submission: Submission
    gradients: Gradients
    form: MatrixForm | None  # None where the program stops
    speeds: Speeds | SubmissionError  # the error that stopped the measurement

    @property
    def ok(self) -> bool:
        """Right gradients, inputs left alone, and a matrix form."""
        return self.gradients.ok and not self.gradients.changed and self.form is not None and self.form.ok

    def as_dict(self) -> dict[str, Any]:
        """The same, fit for JSON."""
        return {
            "file": str(self.submission.path),
            "class": self.submission.cls.__name__,
            "called_as": str(self.submission.way),
            "ok": self.ok,
            "gradients": self.gradients.as_dict(),
            "matrix_form": self.form and self.form.as_dict(),
            "samples_per_second": None if isinstance(self.speeds, SubmissionError) else self.speeds,
        }

    def __str__(self) -> str:
        parts = {
            "program": self._program(),
            "gradients": self._gradients(),
            "inputs": self._inputs(),
            "matrix form": self._form(),
            "speed": self._speed(),
            "verdict": self._verdict(),
        }
        return "\n".join(_wrapped(name, text) for name, text in parts.items())

    def _program(self) -> str:
        s = self.submission
        w = "(n_in, n_out)" if s.flipped else "(n_out, n_in)"
        b = "(n,) or (1, n)" if s.row_biases else "(n, 1)"
        return f"{s.path.name}: {s.cls.__name__}.{s.way}; weights {w}, biases {b}"

    def _gradients(self) -> str:
        g = self.gradients
        if g.ok:
            form = f", the {g.form} over the samples" if self.submission.way.method == "backprop" else ""
            right = f"right: those of the {g.cost} cost{form}, in {len(CHECKS)} checks; largest difference {g.error:.1e}"
            return f"{right}\n{CROSS_ENTROPY}" if g.cost == "cross-entropy" else right
        lines = ["WRONG: " + "\n".join(self._where())]
        lines += [f"mistake ({m.key}): {m.text}" for m in g.mistakes]
        unknown = f"which mistake it is, is not known: none of those looked for, and no two, does this ({g.cost} cost)"
        return "\n".join(lines if g.mistakes else [*lines, unknown])

    def _where(self) -> list[str]:
        """The first array that is wrong and the first net that stops the program, in the order in which they were met."""
        stop, first = self.gradients.stop, self.gradients.first
        stops = f"shapes do not fit, on the net {stop.check.describe(len(stop.states) + 1)}:\n{stop.stopped}" if stop else ""
        if not first or not stop:
            return [f"first in {first}" if first else stops]
        if CHECKS.index(first.check) < CHECKS.index(stop.check):
            return [f"first in {first}", f"then {stops}"]
        return [stops, f"where all shapes happen to fit, first in {first}"]

    def _inputs(self) -> str:
        if not self.gradients.changed:
            return "left as they were"
        names = " and ".join(self.gradients.changed)
        remedy = "reorder or empty a copy of it" if LIST in self.gradients.changed else "make new arrays, not in place"
        return (
            f"CHANGED: {names}\nmistake (mutated-input): who calls may use the samples again, as the next epoch does: {remedy}"
        )

    def _form(self) -> str:
        form = self.form
        if form is None:
            return "not examined: the program stops"
        if form.ok:
            stacking = f"; in Python {form.stacking:.3g} steps a sample, to stack them" if form.stacking else ""
            return f"yes: the number of array operations is the same for any number of samples{stacking}"
        where = "in each layer" if form.each_layer else "at one place"
        line = f", most of it at {form.line}" if form.line else ""
        return f"NO: samples, or their numbers, are taken one by one {where}{line}"

    def _speed(self) -> str:
        if isinstance(self.speeds, SubmissionError):
            return f"not measured: {'the program stops' if isinstance(self.speeds, Stopped) else self.speeds}"
        head = f"{'-'.join(map(str, SIZES))}, samples/s, 1 thread".ljust(30) + "".join(f"{f'batch {n}':>20s}" for n in BATCHES)
        base = self.speeds[BOOK]
        rows = [
            f"{name:30s}" + "".join(f"{rates[n]:,.0f} ({rates[n] / base[n]:.1f} x)".rjust(20) for n in BATCHES)
            for name, rates in self.speeds.items()
        ]
        return "\n".join([head, *rows])

    def _verdict(self) -> str:
        if self.ok:
            return "right, and a matrix form"
        wrong = not self.gradients.ok or bool(self.gradients.changed)
        return "not right yet" if wrong else "right, but not a matrix form"


def _wrapped(name: str, text: str) -> str:
    """A name in the left column, the lines of the text beside it."""
    lines = [part for line in text.split("\n") for part in textwrap.wrap(line, PAGE - WIDTH)]
    return f"{name:{WIDTH}s}" + ("\n" + " " * WIDTH).join(lines)


CROSS_ENTROPY = (
    "(delta = a - y at the output; if the quadratic cost is meant, say --cost quadratic: then sigmoid' is missing there)"
)


def examine(file: str | Path, cost: str | None = None, seconds: float | None = None) -> Report:
    """Judge the program in a file; ``cost`` is one of COSTS, or None for the one that fits; ``seconds`` go to speed.

    Raises FileNotFoundError, and SubmissionError for a program that cannot be judged.
    """
    path = Path(file).expanduser()
    if not path.is_file():
        reason = "is a folder" if path.is_dir() else "is not there"
        raise FileNotFoundError(f"{file} {reason}: xpnet exercise --starter my_network.py writes a program to begin with")
    path = path.resolve()
    with searching(path.parent):
        submission = gradients.choose(load(path))
        found = gradients.judge(submission, cost)
        form = matrix_form.examine(submission)
        return Report(submission, found, form, _speeds(submission, speed.SECONDS if seconds is None else seconds))


def starter(file: str | Path) -> Path:
    """Write a copy of the book's program, to be rewritten, into a new .py file.

    Raises FileExistsError rather than write over anything, ValueError for another kind of name.
    """
    path = Path(file)
    if path.suffix != ".py":
        raise ValueError(f"{file}: the name of a Python file ends in .py")
    try:
        with path.open("x", encoding="utf-8") as target:
            target.write(Path(book.__file__).read_text(encoding="utf-8"))
    except FileExistsError as error:
        raise FileExistsError(f"{file} is there already, and is left as it is: choose another name") from error
    return path


def _speeds(submission: Submission, seconds: float) -> Speeds | SubmissionError:
    try:
        with theirs(f"updates of the net {'-'.join(map(str, SIZES))}", submission.path):
            return speed.measure(submission, seconds)
    except SubmissionError as error:
        return error
