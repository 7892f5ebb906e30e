"""What the harness accepts as a time, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
import threadpoolctl

import xpnet as xn
from xpnet.bench import running, suites
from xpnet.bench.forms import FORMS, compared, gradient
from xpnet.bench.results import Case, Check, Incomparable, ratio
from xpnet.bench.running import Prepared
from xpnet.bench.timing import Refused, Work, calls_for, threads, timed, verified

RIGHT = Check("nothing", 0.0, 0.0)


class Hasty(type(xn.device("sim"))):
    """A simulated GPU for which nobody waits: what happens where synchronisation is forgotten."""

    def synchronize(self) -> None:
        pass


def work(call, device=None, check=RIGHT) -> Work:
    return Work(call, lambda: check, device or xn.device("cpu"))


def test_a_time_is_that_of_the_calls(monkeypatch):
    clock = iter(range(100))
    monkeypatch.setattr("time.perf_counter", lambda: float(next(clock)))
    made = []
    assert timed(work(lambda: made.append(1)), 5) == 1.0  # the clock was read before and after, not between
    assert len(made) == 5


def test_warm_up_is_outside_and_rounds_are_long_enough():
    made = []
    calls = calls_for(work(lambda: made.append(1)))
    assert calls > 1000
    assert len(made) > 3


def test_a_device_that_is_not_waited_for_is_refused():
    sim, hasty = xn.device("sim"), Hasty(0)
    a = sim.put(np.ones(4, np.float32))
    assert timed(work(lambda: a + a, sim), 3) > 0
    with pytest.raises(Refused, match="before the device had finished"):
        timed(work(lambda: a + a, hasty), 3)


def test_wrong_results_are_refused():
    with pytest.raises(Refused, match="wrong results: gradient differs by"):
        verified(work(lambda: None, check=Check("gradient", 0.5, 1e-3)))
    with pytest.raises(Refused):
        verified(work(lambda: None, check=Check("gradient", float("nan"), 1e-3)))


def test_work_that_changes_the_threads_is_refused():
    device = xn.device("cpu")
    before = device.threads
    held = []
    with pytest.raises(Refused, match="unequal threads: BLAS had 1 at the end, 2"), threads(2, device):
        held.append(threadpoolctl.threadpool_limits(1, user_api="blas"))
    assert device.threads == before


def test_threads_reach_blas_and_workers():
    device = xn.device("cpu")
    with threads(1, device):
        assert device.threads == 1
        assert {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"} == {1}


def test_a_planted_mistake_is_kept_out_of_the_file(monkeypatch, tmp_path):
    """A per-sample form that forgets to divide by the batch: refused by name, and the run goes on."""
    original = xn.Trainer.step

    def wrong(self, x, y, weights=None, *, per_sample=False):
        value = original(self, x, y, weights, per_sample=per_sample)
        if per_sample:
            self.net.parameters.grad[...] *= 10
        return value

    monkeypatch.setattr(xn.Trainer, "step", wrong)
    cases = [Case("forms", "784-30-10", form, "cpu", 10) for form in ("per sample", "matrix")]
    runner = running.Runner(cases, seconds=30, out=tmp_path / "r.json")
    run = runner(progress=False, passes=1)
    assert [r.case.form for r in run.results] == ["matrix"]
    assert list(run.refused) == [cases[0].name]
    assert "wrong results" in run.refused[cases[0].name]


@pytest.mark.parametrize("form", FORMS)
def test_every_form_computes_the_same_gradient(form):
    case = Case("forms", "784-30-10", form, "cpu", 3, "float64")
    assert suites.prepare(case).verify().difference < 1e-12


@pytest.mark.parametrize("suite", [name for name in suites.SUITES if name not in ("startup",)])
def test_every_suite_is_right_on_every_device(suite, device):
    """One case of each form, of the cheapest model, prepared, done once and checked."""
    seen = set()
    for case in suites.cases(device.name, (suite,), quick=True):
        if case.form in seen or case.form == "book" or case.batch > 100 or case.model in ("resnet", "lenet"):
            continue
        seen.add(case.form)
        prepared = suites.prepare(case)
        prepared.call(*([prepared.before()] if prepared.before else []))
        assert verified(prepared).ok
    assert seen


def test_start_up_is_timed_in_a_process_of_its_own():
    found = Prepared(Case("startup", "784-30-10", "import", "cpu", 4)).round()
    assert 0.01 < found.seconds[0] < 60


def test_the_book_is_a_program_of_the_cpu_in_float64():
    with pytest.raises(ValueError, match="the book's program"):
        suites.prepare(Case("forms", "784-30-10", "book", "cpu", 3, "float32"))


def result(**changes):
    found = Prepared(Case("harness", "not xpnet's", "no-op")).round()
    case = {name: changes.pop(name) for name in list(changes) if name in ("threads", "batch", "device")}
    found.case = Case(**{**vars(found.case), **case})
    for name, value in changes.items():
        setattr(found, name, value)
    return found


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"threads": 2}, "unequal threads"),
        ({"threads_seen": 2}, "unequal threads"),
        ({"batch": 7}, "rows"),
        ({"synchronised": False}, "before the device had finished"),
        ({"check": Check("gradient", 1.0, 0.1)}, "not right"),
    ],
)
def test_what_may_not_be_divided(changes, why):
    assert ratio(result(), result()) > 0
    with pytest.raises(Incomparable, match=why):
        ratio(result(**changes), result())


def test_a_gradient_of_nan_is_not_right():
    case = Case("forms", "784-30-10", "matrix", "cpu", 3)
    right = gradient(case.model, case.batch)
    assert compared(right, case).ok
    assert not compared(right * np.float64("nan"), case).ok
    assert not compared(right * 1.001, case).ok
