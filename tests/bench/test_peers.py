"""What the comparison with other libraries refuses, leaves out and writes; the cases in the libraries that are installed."""

from __future__ import annotations

import dataclasses
import importlib
import os
import sys
from pathlib import Path

import pytest
import threadpoolctl

import xpnet as xn
from xpnet.bench import results, timing

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
peer, peers, worker, networks = (importlib.import_module(name) for name in ("peer", "peers", "worker", "networks"))
CASES = worker.CASES
sys.path.remove(str(BENCHMARKS))


@pytest.fixture(autouse=True)
def _path(monkeypatch):
    """The modules of single libraries are imported when they are asked for."""
    monkeypatch.syspath_prepend(BENCHMARKS)


class Forgets:
    """A device for which nobody waits."""

    def __init__(self, device):
        self.idle = device.idle

    def synchronize(self):
        pass


def answer(losses=(2.0, 1.0), threads=worker.THREADS, seconds=0.1):
    return {"seconds": [seconds], "threads": {"cores": worker.THREADS, "BLAS": threads}, "losses": list(losses)}


# refused


def test_a_clock_that_is_stopped_before_the_device_has_finished(monkeypatch):
    waited = worker.peer_of("sim", CASES["a"])
    assert len(worker.speed(waited, steps=2, rounds=3)["seconds"]) == 3
    forgotten = dataclasses.replace(waited, device=Forgets(waited.device))
    with pytest.raises(timing.Refused, match="the clock was stopped before the device had finished"):
        worker.speed(forgotten, steps=2, rounds=1)
    monkeypatch.setattr(worker, "peer_of", lambda library, case: forgotten)
    told = worker.answer("sim", CASES["a"], 1)
    waited.device.synchronize()
    assert "had finished" in peers.judge(CASES["a"], {"sim": [told]})[1]["sim"]


def test_threads_that_a_library_changed(monkeypatch):
    monkeypatch.setattr(worker, "cores", lambda: worker.THREADS)
    case, device = CASES["a"], xn.device("cpu")
    monkeypatch.setattr(device, "threads", worker.THREADS)
    with threadpoolctl.threadpool_limits(worker.THREADS):
        good = worker.speed(worker.peer_of("xpnet", case), 2, 1)
        other = worker.peer_of("products", case)
        greedy = dataclasses.replace(other, threads=lambda: {"OpenMP": 8})
        made, refused = peers.judge(case, {"xpnet": [good], "greedy": [worker.speed(greedy, 2, 1)]})
    assert list(made) == ["xpnet"]
    assert refused == {"greedy": "unequal threads: OpenMP 8 at the end, where everyone was to have 2"}


def test_one_process_of_several_with_other_threads():
    made, refused = peers.judge(CASES["a"], {"xpnet": [answer(), answer(threads=1)], "other": [answer()]})
    assert list(made) == ["other"]
    assert refused["xpnet"].startswith("unequal threads: BLAS 1")


@pytest.mark.parametrize("losses", [(2.0, 1.1), (2.0, float("nan")), (2.0, 1.0004)])
def test_losses_that_differ(losses):
    made, refused = peers.judge(CASES["b"], {"xpnet": [answer()], "wrong": [answer(), answer(losses)], "right": [answer()]})
    assert list(made) == ["xpnet", "right"]
    assert refused["wrong"].startswith("it and xpnet do not compute the same: losses")


def test_a_process_that_fails():
    told = peers.run("no-such-library", "a")
    assert told == {"refused": "its process ended with 1: KeyError: 'no-such-library'"}


# left out


def test_a_library_that_is_not_installed(monkeypatch):
    monkeypatch.setattr(peer.importlib.util, "find_spec", lambda name: None)
    told = {library: worker.answer(library, CASES["b"], 1) for library in ("torch", "jax", "scikit-learn", "torch-cuda")}
    assert told == {
        "torch": {"left_out": "torch is not installed"},
        "jax": {"left_out": "jax is not installed"},
        "scikit-learn": {"left_out": "scikit-learn is not installed"},
        "torch-cuda": {"left_out": "torch is not installed"},
    }


def test_xpnet_without_a_gpu(monkeypatch):
    def unusable(name):
        raise xn.DeviceUnavailable("no-device", "there is no GPU", "buy one")

    in_xpnet = importlib.import_module("in_xpnet")
    monkeypatch.setattr(in_xpnet.xn, "Trainer", lambda *args, device, **options: unusable(device))
    assert worker.answer("xpnet-cuda", CASES["a"], 1)["left_out"].startswith("there is no GPU")


# proof


def test_xpnet_is_right_as_far_as_another_library_says_so():
    near = {"xpnet": [answer()], "other": [answer((2.0, 1.0001))]}
    assert peers.judge(CASES["b"], near)[0]["xpnet"].check.difference == pytest.approx(1e-4)
    alone = {"xpnet": [answer()], "wrong": [answer((2.0, 3.0))]}
    assert not peers.judge(CASES["b"], alone)[0]["xpnet"].check.ok


def test_the_bare_products_are_checked_too():
    what, difference, tolerance = worker.speed(worker.peer_of("products", CASES["b"]), 1, 1)["check"]
    assert (what, difference < tolerance) == ("products, against float64", True)


# the file, the processes


def test_the_file(monkeypatch, tmp_path, capsys):
    told = {
        "xpnet": answer(seconds=0.25),
        "jax": answer(seconds=0.5),
        "torch": answer((9, 9)),
        "xpnet-cuda": answer(),
        "products": {**answer(), "check": ["products", 0.0, 1e-5]},
    }
    monkeypatch.setattr(peers, "run", lambda library, case: told.get(library, {"left_out": "not here"}))
    with pytest.raises(SystemExit, match=r"^refused: \(b\) 784-256-128-10 relu adam: torch$"):
        peers.speed(["b"], None, 2, tmp_path / "r.json")
    (run,) = results.read(tmp_path / "r.json")
    found = {(r.peer, r.case.device): r for r in run.results}
    assert list(found) == [("xpnet", "cpu"), ("products", "cpu"), ("jax", "cpu"), ("xpnet", "cuda")]
    jax, xpnet = found["jax", "cpu"], found["xpnet", "cpu"]
    assert jax.case == results.Case("peers", "(b) 784-256-128-10 relu adam", "step", "cpu", 64, "float32", 2)
    assert (jax.seconds, jax.calls, jax.threads_seen) == ([0.5, 0.5], 100, 2)
    assert results.ratio(jax, xpnet) == 2
    assert (run.left_out["scikit-learn"], run.quick) == ("not here", True)
    assert "2.00 x xpnet" in capsys.readouterr().out


def test_who_is_left_out_or_refused_is_not_asked_again(monkeypatch):
    told = {"xpnet": answer(), "torch": {"left_out": "no"}, "jax": {"refused": "why"}}
    asked = []
    monkeypatch.setattr(peers, "run", lambda library, case: asked.append(library) or told[library])
    answers, left_out = peers.ask("a", list(told), 3)
    assert asked == ["xpnet", "torch", "jax", "xpnet", "xpnet"]
    assert (len(answers["xpnet"]), left_out) == (3, {"torch": "no"})


def test_a_process():
    told = peers.run("xpnet", "b", rounds=1)
    cores = min(worker.THREADS, peer.cores()) if hasattr(os, "sched_setaffinity") else peer.cores()
    assert {"BLAS": 2, **told["threads"]} == {"cores": cores, "BLAS": 2, "xpnet's workers": 2}  # Apple's BLAS does not tell
    assert (len(told["losses"]), len(told["seconds"])) == (worker.WARM_UP, 1)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system cannot keep a process to some cores")
def test_cores_that_are_not_of_one_before_those_that_are(monkeypatch):
    chosen = []
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0, 1, 2, 3})
    monkeypatch.setattr(os, "sched_setaffinity", lambda process, cores: chosen.append(cores))
    monkeypatch.setattr(worker.Path, "exists", lambda path: True)
    monkeypatch.setattr(worker.Path, "read_text", lambda path: "0-1" if path.parts[-3] in ("cpu0", "cpu1") else "2-3")
    worker.pin(2)
    worker.pin(3)
    assert chosen == [[0, 2], [0, 2, 1]]


# the cases


@pytest.mark.parametrize("name", list("abdef"))
def test_the_layers_are_xpnets(name):
    case = CASES[name]
    parameters = importlib.import_module("in_xpnet").network(case).build(case.shape).parameters
    shapes = [parameters[name].shape for name in parameters if name.endswith(".W")]
    assert list(networks.weight_shapes(networks.layers(case), case.shape)) == shapes


@pytest.mark.parametrize("name", list("abdef"))
@pytest.mark.parametrize(
    ("library", "module"), [("torch", "torch"), ("torch-channels-last", "torch"), ("jax", "jax"), ("scikit-learn", "sklearn")]
)
def test_losses_are_xpnets(library, module, name):
    if library not in CASES[name].libraries:
        pytest.skip(f"({name}) is not for {library}")
    pytest.importorskip(module)
    case = dataclasses.replace(CASES[name], batch=4)
    xpnet, other = (worker.peer_of(each, case) for each in ("xpnet", library))
    right = [float(xpnet.call()) for _ in range(worker.WARM_UP)]
    found = [float(other.call()) for _ in range(worker.WARM_UP)]
    assert peers.difference([found], right) < peers.TOLERANCE
