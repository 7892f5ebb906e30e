"""What a training step's time is divided into, and how it grows: the calls that are noted, sums that add up, refusals."""

from __future__ import annotations

import dataclasses
import importlib
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import xpnet as xn
from xpnet.backends.workers import Workers
from xpnet.bench.networks import perceptron
from xpnet.bench.timing import Refused

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
calls, call_times, growth, growth_of_memory, optimizer_speed, peer, processes, step_profile = (
    importlib.import_module(name)
    for name in (
        *("calls", "call_times", "growth", "growth_of_memory"),
        *("optimizer_speed", "peer", "processes", "step_profile"),
    )
)
sys.path.remove(str(BENCHMARKS))

NETWORK = perceptron((6, 5, 4), xn.Adam)


@pytest.fixture
def cpu():
    """Its workers are as they were when a test ends."""
    found = xn.device("cpu")
    yield found
    assert "replay" not in vars(found.workers)


def counted(found):
    kinds = [leaf.kind for leaf in found.leaves]
    return {kind: kinds.count(kind) for kind in calls.KINDS}


# which calls


def test_calls_of_a_recorded_step(cpu):
    trainer, found = calls.noted(NETWORK.trainer, *NETWORK.data(3), cpu)
    assert found.how == "record"
    assert counted(found)["products"] == 5  # of two layers, the first of which needs no gradient by its input
    phases = [leaf.phase for leaf in found.leaves]
    assert list(dict.fromkeys(phases)) == list(calls.PHASES)
    assert {leaf.kind for leaf in found.leaves if leaf.phase == "update"} == {"update"}
    before = np.array(trainer.net.parameters.value)
    call_times.Replay(found, cpu.workers).plain()
    assert (before != trainer.net.parameters.value).any()  # they are the step's, on its memory


def test_calls_of_a_step_by_layers(cpu, monkeypatch):
    recorded = counted(calls.noted(NETWORK.trainer, *NETWORK.data(3), cpu)[1])
    monkeypatch.setattr(type(cpu), "records", False)
    found = calls.noted(NETWORK.trainer, *NETWORK.data(3), cpu)[1]
    assert (found.how, counted(found)["products"], counted(found)["update"]) == ("layers", 5, recorded["update"])


def test_calls_of_another_step_are_refused(cpu):
    with pytest.raises(Refused, match="another one: its loss is"):
        calls.noted_by_layers(NETWORK.trainer, *NETWORK.data(3), calls.telling(cpu), right=9.0)


def test_memory_that_is_held_is_not_handed_out_again(cpu):
    """NumPy would give views of a view the array below as their base, and nobody would hold the one handed out."""
    a = calls.telling(cpu).empty((4, 3), "float32")
    held = sys.getrefcount(a)
    views = a[1:], a.reshape(-1), a.T
    assert sys.getrefcount(a) >= held + len(views)
    assert a.ctypes.data % 64 == 0


def test_what_workers_are_given_is_side_by_side():
    a, workers = np.zeros((2, 2)), Workers(2)
    tap = calls.Tap(workers, SimpleNamespace(now="input", of=lambda call: None))
    add, product = (np.add, (a, 1, a)), (np.matmul, (a, a, a.copy()))

    def step():
        nested = (workers.replay, ([[product], [add]],))
        workers.replay([[add, add, nested, (lambda: None, ())]])

    found = tap.step(step, "record")
    assert [[[leaf.name for leaf in share] for share in stage.shares] for stage in found.stages] == [
        [["add", "add"]],
        [["matmul"], ["add"]],
        [["<lambda>"]],
    ]
    assert list(call_times.Replay(found, workers).side_by_side) == [1, 1, 2, 2, 1]


@pytest.mark.parametrize(
    ("name", "shapes", "phase", "kind"),
    [
        ("matmul", [(2, 3), (3, 4)], "forward", "products"),
        ("matmul", [(3,), (3, 4)], "backward", "elementwise"),
        ("dot", [(3, 3), (3, 3)], "update", "update"),
        ("copyto", [(3,), (3,)], "input", "copies"),
        ("Affine_ReLU", [(3,), (3,)], "forward", "elementwise"),
    ],
)
def test_kinds(name, shapes, phase, kind):
    assert calls.kind_of(name, tuple(map(np.zeros, shapes)), phase) == kind


# what they take


def profile(step=1.0, products=0.5, update=0.2, plain=0.7, rounds=call_times.FEWEST):
    """One that has been timed, of two calls."""
    leaves = [calls.Leaf(np.matmul, (), kind, kind, kind) for kind in ("products", "update")]
    found = call_times.Profile.__new__(call_times.Profile)
    found.how, found.count = "record", 1
    found.replay = SimpleNamespace(leaves=leaves, side_by_side=np.ones(2))
    found.rounds = [call_times.Round(step, np.array([products, update]), 0.0, plain, plain)] * rounds
    return found


def test_parts_add_up():
    found = profile().result()
    shares = {name: p["share"] for name, p in found["parts"].items()}
    assert sum(shares.values()) == pytest.approx(1)
    assert shares == pytest.approx({**dict.fromkeys(shares, 0), "products": 0.5, "update": 0.2, "python": 0.3}, abs=1e-4)
    assert found["phases"]["update"] == pytest.approx(0.2, abs=1e-4)
    assert [f["function"] for f in found["functions"]] == ["products", "update"]


def test_of_the_rounds_the_quicker_half_counts():
    found = profile()
    found.rounds = [*found.rounds, *[r._replace(plain=0.1, step=9.0) for r in found.rounds]]
    assert found.result()["parts"]["python"]["share"] == pytest.approx(0.3, abs=1e-4)


@pytest.mark.parametrize(
    ("of", "reason"),
    [
        ({"rounds": call_times.FEWEST - 1}, "too few"),
        ({"plain": 1.1, "products": 0.9}, "the calls alone took 110% of the step"),
        ({"products": 0.2}, "one by one are 57%"),
    ],
)
def test_parts_that_say_nothing_are_refused(of, reason):
    with pytest.raises(Refused, match=reason):
        profile(**of).result()


def test_a_step_is_profiled(cpu, monkeypatch):
    monkeypatch.setattr(call_times, "ROUND_SECONDS", 1e-3)
    found = call_times.Profile(NETWORK.trainer, *NETWORK.data(3), cpu)
    for _ in range(2):
        found.round()
    assert all(min(r.step, r.clocked, r.plain, *r.calls) > 0 for r in found.rounds)
    assert found.rounds[0].calls.sum() <= found.rounds[0].clocked


def test_processes_that_do_not_count_are_left_out():
    good = profile().result() | {"revision": "abc", "threads": {}}
    found = step_profile.joined([good, {"refused": "why"}, good])
    assert sum(p["share"] for p in found["parts"].values()) == pytest.approx(1)
    assert (found["not_counted"], found["revision"]) == (["why"], "abc")
    assert step_profile.joined([{"refused": "why"}]) == {"refused": "why"}
    text = step_profile.table({"a": {"before": {"left_out": "no"}, "after": found}})
    assert "not measured: no" in text
    assert "300,0" in text.splitlines()[-1]  # microseconds of Python


# growth


def test_exponents_and_where_python_is_small():
    def point(n, python):
        return {"size": n, "median": 3e-6 * n**2, "parts": {"python": {"share": python}}}

    points = [point(1, 0.5), point(2, 0.05), point(4, 0.2), point(8, 0.08), {"size": 16, "refused": "why"}, point(32, 0.01)]
    found = growth.summary(points)
    assert list(found["exponents"].values()) == pytest.approx([2] * 4)
    assert found["fit"]["exponent"] == pytest.approx(2)
    assert (found["fit"]["sizes"], found["python_small_from"]) == ([8, 32], 8)
    assert growth.small_from([point(1, 0.5)]) is None


def test_bytes_a_parameter():
    points = [{"parameters": n, "peak": 16 * n + 100} for n in (10, 20, 40)]
    found = growth_of_memory.line(points, "parameters", "peak")
    assert found == pytest.approx({"slope": 16, "intercept": 100, "explained": 1})


# the update alone


@pytest.mark.parametrize(("rate", "right"), [(optimizer_speed.RATE, True), (2e-3, False)])
def test_an_update_is_checked(rate, right):
    case = dataclasses.replace(optimizer_speed.CASES["b"], sizes=(6, 5, 4))
    parameters = NETWORK.make().build(6).parameters
    optimizer, (w, g) = xn.Adam(rate), optimizer_speed.numbers(case)
    parameters.value[:], parameters.grad[:] = w, g
    difference = optimizer_speed.checked(case, lambda: optimizer.update(parameters), lambda: np.array(parameters.value))
    reason = optimizer_speed.objection({"difference": difference})
    assert (reason is None) == right


# processes


def test_unequal_threads_are_refused():
    assert "BLAS 8" in processes.judged({"threads": {"cores": 2, "BLAS": 8}}, 2)["refused"]
    assert processes.judged({"threads": {"cores": 2}}, 2) == {"threads": {"cores": 2}}


def test_a_device_that_is_not_there():
    with pytest.raises(peer.Absent, match="no device 'cpu-slow'"):
        processes.device("cpu-slow")


def test_a_process_that_fails():
    assert processes.run("no_such_module", "f")["refused"].endswith("No module named 'no_such_module'")
