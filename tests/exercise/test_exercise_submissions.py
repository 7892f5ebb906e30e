"""Prepared submissions, each a file as a learner would hand it in, and how they are judged."""

from __future__ import annotations

import functools
import sys
from typing import NamedTuple

import pytest
from submission_helpers import SUBMISSIONS as FOLDER

from xpnet import exercise


class Judged(NamedTuple):
    """``first``: array and layer, counted from 0, of the first check in which something is wrong."""

    called: str
    cost: str = "quadratic"
    first: tuple[str, int] | None = None
    mistakes: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    form: str | None = "matrix form"  # or "each layer", "one place", and None where it cannot be examined


PAIRS = "update_mini_batch(mini_batch, eta), a list of pairs of columns"
COLUMNS, ROWS = (f"update_mini_batch(X, Y, eta), samples as {layout}" for layout in ("columns", "rows"))

SUBMISSIONS = {
    "right_columns": Judged(PAIRS),
    "right_rows": Judged(ROWS, "cross-entropy"),
    "right_backprop": Judged("backprop(X, Y), samples as columns"),
    "right_inherits": Judged(PAIRS),
    "no_sigmoid_prime_at_output": Judged(PAIRS, "cross-entropy"),
    "sum_for_mean": Judged(PAIRS, first=("biases", 1), mistakes=("sum-for-mean",)),
    "fixed_divisor": Judged(PAIRS, first=("biases", 1), mistakes=("fixed-divisor",)),
    "wrong_sign": Judged(PAIRS, first=("biases", 1), mistakes=("sign",)),
    "first_sample": Judged(PAIRS, first=("biases", 1), mistakes=("one-sample",)),
    "accumulates": Judged(PAIRS, first=("biases", 1), mistakes=("accumulates",)),
    "weights_only": Judged(PAIRS, first=("biases", 1), mistakes=("biases-not-updated",)),
    "nothing_updated": Judged(PAIRS, first=("biases", 1), mistakes=("nothing-updated",)),
    "no_sigmoid_prime": Judged(PAIRS, first=("biases", 0), mistakes=("sigmoid-prime-missing",)),
    "sigmoid_prime_of_activation": Judged(PAIRS, first=("biases", 1), mistakes=("sigmoid-prime-of-activation",)),
    "two_mistakes": Judged(PAIRS, first=("biases", 1), mistakes=("sum-for-mean", "sigmoid-prime-missing")),
    "updated_before_used": Judged(ROWS, first=("biases", 0), mistakes=("updated-before-used",)),
    "missing_transpose": Judged(PAIRS, first=("biases", 0), mistakes=("missing-transpose",), form=None),
    "gradient_product": Judged(PAIRS, first=("weights", 2), mistakes=("missing-transpose",), form=None),
    "rows_transposed": Judged(ROWS, first=("weights", 1), mistakes=("gradient-transposed",), form=None),
    "bias_not_summed": Judged(PAIRS, first=("biases", 1), mistakes=("bias-not-summed",)),
    "bias_broadcast": Judged(PAIRS, first=("biases", 1), mistakes=("bias-broadcast",), form=None),
    "mutated_y": Judged(COLUMNS, changed=("Y",)),
    "shuffled_list": Judged(PAIRS, changed=("mini_batch, the list",)),
    "unchanged": Judged(PAIRS, form="each layer"),
    "loop_by_map": Judged(PAIRS, form="each layer"),
    "loop_by_vectorize": Judged(PAIRS, form="each layer"),
    "loop_by_apply": Judged(PAIRS, form="each layer"),
    "loop_in_c": Judged(PAIRS, form="each layer"),
    "loop_at_output": Judged(PAIRS, form="one place"),
    "loop_by_numbers": Judged(PAIRS, form="one place"),
}
STOPPED = {"missing_transpose", "gradient_product", "rows_transposed", "bias_not_summed", "bias_broadcast"}
LOOPS = [name for name, judged in SUBMISSIONS.items() if judged.form in ("each layer", "one place")]


@functools.cache
def examined(name, cost=None):
    return exercise.examine(FOLDER / f"{name}.py", cost, seconds=0)


def line_of(name, part):
    """The number of the first line with this text."""
    lines = (FOLDER / f"{name}.py").read_text().splitlines()
    return next(i for i, line in enumerate(lines, 1) if part in line)


def test_every_file_is_judged():
    assert {path.stem for path in FOLDER.glob("*.py")} == {*SUBMISSIONS, "wrong_name"}


@pytest.mark.parametrize("name", SUBMISSIONS)
def test_judged(name):
    found, meant = examined(name), SUBMISSIONS[name]
    first = found.gradients.first
    form = found.form and ("each layer" if found.form.each_layer else "one place" if found.form.one_place else "matrix form")
    assert str(found.submission.way) == meant.called
    assert (first and (first.name, first.layer)) == meant.first
    assert tuple(m.key for m in found.gradients.mistakes) == meant.mistakes
    assert tuple(found.gradients.changed) == meant.changed
    assert form == meant.form
    assert (found.gradients.stop is not None) == (name in STOPPED)
    assert found.gradients.ok == (meant.first is None)
    if found.gradients.ok:
        assert found.gradients.cost == meant.cost
        assert found.gradients.error < (1e-5 if name == "right_backprop" else 1e-13)
    assert found.ok == (meant.first is None and not meant.changed and form == "matrix form")


def test_what_is_said_of_a_right_one():
    text = str(examined("right_columns"))
    assert "right_columns.py: Network.update_mini_batch(mini_batch, eta), a list of pairs of columns;" in text
    assert "gradients    right: those of the quadratic cost, in 9 checks; largest difference " in text
    assert "inputs       left as they were" in text
    assert "matrix form  yes: the number of array operations is the same for any number of samples" in text
    assert text.endswith("verdict      right, and a matrix form")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sum_for_mean", "first in biases[1], the output layer of the net 5-4-3 (7 samples): it changes 7 times as much as"),
        ("fixed_divisor", "divided by 10 whatever the size of the minibatch"),
        ("wrong_sign", "changes -1 times as much"),
        ("weights_only", "it does not change mistake (biases-not-updated)"),
        ("accumulates", "of the net 5-4-3 (10 samples, call 2 of 3)"),
        (
            "no_sigmoid_prime",
            "first in biases[0], hidden layer 1 of the net 5-4-3 (7 samples): it changes by wrong amounts, off by",
        ),
        ("updated_before_used", "compute all gradients first, then update"),
        (
            "missing_transpose",
            "where all shapes happen to fit, first in biases[0], hidden layer 1 of the net 4-4-4 (7 samples)",
        ),
        (
            "bias_not_summed",
            "it has the shape (3, 7) afterwards, not (3, 1) then shapes do not fit, on the net 5-4-3 (7 samples,",
        ),
        (
            "mutated_y",
            "inputs CHANGED: Y mistake (mutated-input): who calls may use the samples again, as the next epoch does: make new",
        ),
        ("shuffled_list", "reorder or empty a copy of it"),
        ("no_sigmoid_prime_at_output", "if the quadratic cost is meant, say --cost quadratic"),
        ("unchanged", "verdict right, but not a matrix form"),
    ],
)
def test_what_is_said(name, said):
    assert said in " ".join(str(examined(name)).split())


@pytest.mark.parametrize(
    ("name", "part"),
    [("missing_transpose", "-layer + 1] @ delta"), ("bias_broadcast", "zs.append(w @"), ("rows_transposed", "eta * delta.T")],
)
def test_the_line_at_which_shapes_do_not_fit(name, part):
    assert f"{name}.py:{line_of(name, part)}: ValueError: " in str(examined(name))


@pytest.mark.parametrize(
    ("name", "part"),
    [
        ("loop_by_map", "return 1.0 / (1.0 + np.exp(-z))"),
        ("loop_by_vectorize", "math.exp"),
        ("loop_by_apply", "np.apply_along_axis("),
        ("loop_in_c", "list(map(w.dot"),
        ("loop_by_numbers", "(a - y) * a * (1 - a)"),
    ],
)
def test_the_line_of_a_loop(name, part):
    assert examined(name).form.line == f"{name}.py:{line_of(name, part)}"


def test_the_cost_that_is_meant():
    """Without sigmoid' at the output the gradients are those of the cross-entropy cost: only the learner knows."""
    name = "no_sigmoid_prime_at_output"
    found = examined(name, "quadratic")
    assert [m.key for m in found.gradients.mistakes] == ["sigmoid-prime-missing"]
    assert "at the output" in found.gradients.mistakes[0].text
    assert (found.gradients.first.name, found.gradients.first.layer) == ("biases", 1)
    assert examined(name, "cross-entropy").ok
    assert not examined("right_columns", "cross-entropy").ok
    assert examined("right_columns", "quadratic").ok


def test_a_backprop_may_return_sums_or_means(tmp_path):
    text = (FOLDER / "right_backprop.py").read_text()
    assert examined("right_backprop").gradients.form == "sum"
    mean = tmp_path / "mean.py"
    mean.write_text(text.replace("Y.astype(np.float32)\n", "Y.astype(np.float32)\n        error /= X.shape[1]\n"))
    found = exercise.examine(mean, seconds=0)
    assert found.ok
    assert found.gradients.form == "mean"
    assert "the mean over the samples" in str(found)
    both = tmp_path / "both.py"
    both.write_text(text.replace("delta.sum(axis=1)", "delta.mean(axis=1)"))
    found = exercise.examine(both, seconds=0)
    assert len(found.gradients.mistakes) == 1
    assert "in the weights" in found.gradients.mistakes[0].text


def test_speeds_are_of_all_three_programs_at_both_sizes():
    found = examined("right_rows").speeds
    assert list(found) == ["yours", "the book's, per sample", "xpnet"]
    assert all(list(rates) == [10, 100] and min(rates.values()) > 0 for rates in found.values())
    assert "speed        not measured: the program stops" in str(examined("missing_transpose"))


def test_a_program_that_empties_its_list_is_judged_to_the_end(tmp_path):
    file = tmp_path / "emptied.py"
    file.write_text(
        (FOLDER / "right_columns.py")
        .read_text()
        .replace("        nabla_b, nabla_w = self", "        mini_batch.clear()\n        nabla_b, nabla_w = self")
    )
    found = exercise.examine(file, seconds=0)
    assert found.gradients.ok
    assert found.gradients.changed == ["mini_batch, the list"]
    assert "speed        not measured: emptied.py:" in str(found)


def test_the_same_counts_every_time():
    """Also where something else is tracing, as a debugger does; its function is back afterwards."""

    def trace(*_):
        return None

    path = FOLDER / "right_columns.py"
    first = examined("right_columns").form
    before = sys.gettrace()
    sys.settrace(trace)
    try:
        assert exercise.examine(path, seconds=0).form == first
        assert sys.gettrace() is trace
    finally:
        sys.settrace(before)


@pytest.mark.parametrize("name", LOOPS)
def test_loops_are_right(name):
    """What is wrong with them is only the loop."""
    assert examined(name).gradients.ok


LAYOUT = """
import itertools
import numpy as np

class Network:
    def __init__(self, sizes):
        self.biases = [np.zeros(n) for n in sizes[1:]]
        self.weights = [np.zeros({shape}) for n_in, n_out in itertools.pairwise(sizes)]

    def update_mini_batch(self, X, Y, step):
        a = [X]
        for w, b in zip(self.weights, self.biases):
            a.append(1 / (1 + np.exp(-({product} + {bias}))))
        delta = (a[-1] - Y) * a[-1] * (1 - a[-1]) * step / X.shape[{samples}]
        for i in reversed(range(len(self.weights))):
            below = {back} * a[i] * (1 - a[i])
            self.weights[i] -= {gradient}
            self.biases[i] -= delta.sum(axis={samples})
            delta = below
"""
ROW_SAMPLES = {
    "shape": "(n_out, n_in)",
    "product": "a[-1] @ w.T",
    "bias": "b",
    "samples": 0,
    "back": "delta @ self.weights[i]",
    "gradient": "delta.T @ a[i]",
}
COLUMN_SAMPLES = {
    "shape": "(n_in, n_out)",
    "product": "w.T @ a[-1]",
    "bias": "b[:, None]",
    "samples": 1,
    "back": "self.weights[i] @ delta",
    "gradient": "a[i] @ delta.T",
}


@pytest.mark.parametrize(("layout", "called"), [(ROW_SAMPLES, ROWS), (COLUMN_SAMPLES, COLUMNS)], ids=["rows", "columns"])
@pytest.mark.parametrize(
    ("lines", "mistake"),
    [
        ({}, None),
        ({"back": ("self.weights[i]", "self.weights[i].T")}, "missing-transpose"),
        ({"gradient": (".T @ a[i]", " @ a[i]", "@ delta.T", "@ delta")}, "missing-transpose"),
    ],
    ids=["right", "back", "gradient"],
)
def test_samples_as_rows_or_columns_are_told_apart_by_trying(tmp_path, layout, called, lines, mistake):
    """Also where the program stops in both: the way in which it gets further is meant."""
    layout = dict(layout)
    for line, edits in lines.items():
        for old, new in zip(edits[::2], edits[1::2], strict=True):
            layout[line] = layout[line].replace(old, new)
    file = tmp_path / "layout.py"
    file.write_text(LAYOUT.format(**layout))
    found = exercise.examine(file, seconds=0)
    assert str(found.submission.way) == called
    assert [m.key for m in found.gradients.mistakes] == ([mistake] if mistake else [])
    assert found.ok == (mistake is None)
