"""What a comparison calls a change: never what chance does, always what was planted."""

from __future__ import annotations

import numpy as np
import pytest

from xpnet.bench.compare import compare
from xpnet.bench.results import Case, Check, Result, Run

MACHINE = {"cpu": {"model": "a CPU", "usable_cores": 2}, "gpus": []}
CASES = [Case("forms", f"net {i}", "matrix", batch=10 * i) for i in range(1, 41)]
CASES += [Case("harness", "not xpnet's", form) for form in ("product", "exp", "copy", "Python")]


def run(rng, slow=None, factor=1.25, ours=1.0, drift=1.0):
    """A run with noise that only lengthens, between and within runs, and a machine that is slower by ``drift``."""
    results = []
    for i, case in enumerate(CASES):
        base = 1e-4 * (1 + i) * drift * (ours if case.suite == "forms" else 1) * (factor if i == slow else 1)
        seconds = base * np.exp(rng.normal(0, 0.01)) * (1 + rng.gamma(1.0, 0.04, 9))
        results.append(Result(case, seconds.tolist(), 10, Check("x", 0.0, 0.0), 1, True))
    return [Run(MACHINE, [], None, 0, "", True, results=results)]


def test_ten_runs_of_the_same_code_are_the_same():
    alarms = sum(compare(run(np.random.default_rng([1, i])), run(np.random.default_rng([2, i]))).worse for i in range(10))
    assert alarms <= 1


def test_a_slowdown_of_one_case_is_found_whatever_the_machine_does():
    found = 0
    for i in range(10):
        rng = np.random.default_rng([3, i])
        seen = compare(run(rng), run(rng, slow=3 * i, drift=rng.uniform(0.8, 1.3)))
        found += [c.case for c in seen.slower] == [CASES[3 * i]]
    assert found >= 9


def test_a_slowdown_of_all_cases_is_told_from_a_slower_machine():
    rng = np.random.default_rng(0)
    same = compare(run(rng), run(rng, drift=1.4))
    assert not same.worse
    assert same.machine == pytest.approx(1.4, rel=0.1)
    worse = compare(run(rng), run(rng, ours=1.3))
    assert worse.worse
    assert not worse.slower
    assert worse.whole.factor == pytest.approx(1.3, rel=0.1)


def test_what_became_quicker_is_no_alarm():
    rng = np.random.default_rng(0)
    seen = compare(run(rng), run(rng, slow=5, factor=0.5))
    assert [c.case for c in seen.quicker] == [CASES[5]]
    assert not seen.worse
    assert "2.0" in str(seen).partition("quicker  ")[2]


def test_other_machines_and_missing_cases_are_noted():
    rng = np.random.default_rng(0)
    old, new = run(rng), run(rng)
    new[0].machine = {"cpu": {"model": "another", "usable_cores": 2}, "gpus": []}
    del new[0].results[0]
    new[0].refused["x"] = "wrong results"
    seen = compare(old, new)
    assert any("not the same machine" in note for note in seen.notes)
    assert any("only in the old file: 1 cases" in note for note in seen.notes)
    assert any("refused" in note for note in seen.notes)


def test_nothing_in_common_is_an_error():
    rng = np.random.default_rng(0)
    old, new = run(rng), run(rng)
    new[0].results = []
    with pytest.raises(ValueError, match="no case in common"):
        compare(old, new)
