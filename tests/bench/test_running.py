"""Runs: bounded, interruptible, in files that are whole and that can be read again."""

from __future__ import annotations

import json
import time

import pytest

import xpnet as xn
from xpnet.bench import running
from xpnet.bench.results import BadFile, Case, Check, read, write
from xpnet.bench.running import Runner
from xpnet.bench.timing import Work

CASES = [Case("harness", "not xpnet's", form) for form in ("no-op", "Python", "copy")]
RIGHT = Check("nothing", 0.0, 0.0)


def test_a_run_is_written_and_read_again(tmp_path):
    path = tmp_path / "r.json"
    run = Runner(CASES, seconds=30, out=path, quick=True)(progress=False, passes=2)
    (again,) = read(path)
    assert [r.case for r in again.results] == CASES
    assert all(len(r.seconds) == 2 for r in again.results)
    assert again.as_dict() == json.loads(json.dumps(run.as_dict()))
    assert {"cpu", "numpy", "memory", "gpus"} <= again.machine.keys()
    assert not list(tmp_path.glob("*.part"))


def test_runs_of_several_files_are_one_list(tmp_path):
    paths = [tmp_path / name for name in ("a.json", "b.json")]
    for path in paths:
        Runner(CASES[:1], seconds=30, out=path)(progress=False, passes=1)
    assert len(read(*paths)) == 2


def test_ctrl_c_keeps_what_is_finished(tmp_path, monkeypatch):
    path, original = tmp_path / "r.json", running.prepare

    def interrupted(case):
        if case.form == "copy":
            raise KeyboardInterrupt
        return original(case)

    monkeypatch.setattr(running, "prepare", interrupted)
    runner = Runner(CASES, seconds=30, out=path)
    with pytest.raises(KeyboardInterrupt):
        runner(progress=False)
    (run,) = read(path)
    assert [r.case.form for r in run.results] == ["no-op", "Python"]
    assert list(run.left_out) == [CASES[2].name]


def test_time_is_bounded(monkeypatch):
    monkeypatch.setattr(running, "prepare", lambda case: Work(lambda: time.sleep(0.1), lambda: RIGHT, xn.device("cpu")))
    start = time.perf_counter()
    run = Runner(CASES, seconds=0.3)(progress=False)
    assert time.perf_counter() - start < 10
    assert 1 <= len(run.results) < 3
    assert set(run.left_out.values()) == {"not reached before the run ended"}


def test_a_later_round_that_is_wrong_takes_the_case_out(monkeypatch):
    checks = iter([RIGHT, Check("numbers", 1.0, 0.1)])
    monkeypatch.setattr(running, "prepare", lambda case: Work(lambda: None, lambda: next(checks), xn.device("cpu")))
    run = Runner(CASES[:1], seconds=30)(progress=False, passes=running.PROVED)
    assert not run.results
    assert "wrong results" in run.refused[CASES[0].name]


def test_a_device_that_is_not_there_is_left_out(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    run = Runner([Case("harness", "not xpnet's", "no-op", "cuda:5"), CASES[0]], seconds=30)(progress=False, passes=1)
    assert [r.case for r in run.results] == CASES[:1]
    assert len(run.left_out) == 1


def damaged(path, change):
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda r: r.update(schema="other"), "not a file of benchmark results"),
        (lambda r: r.update(version=99), "version 99"),
        (lambda r: r.pop("runs"), "damaged"),
        (lambda r: r["runs"][0].pop("machine"), "damaged"),
        (lambda r: r["runs"][0]["machine"].pop("cpu"), "damaged"),
        (lambda r: r["runs"][0]["results"][0].update(seconds=[]), "has no times"),
        (lambda r: r["runs"][0]["results"][0].update(seconds=[-1.0]), "has no times"),
        (lambda r: r["runs"][0]["results"][0].update(seconds="soon"), "damaged"),
        (lambda r: r["runs"][0]["results"][0].pop("check"), "damaged"),
    ],
)
def test_files_that_are_none(tmp_path, change, why):
    path = tmp_path / "r.json"
    Runner(CASES[:1], seconds=30, out=path)(progress=False, passes=1)
    damaged(path, change)
    with pytest.raises(BadFile, match=why) as error:
        read(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


def test_text_is_no_file_of_results(tmp_path):
    path = tmp_path / "r.json"
    path.write_text("hello")
    with pytest.raises(BadFile, match="not JSON"):
        read(path)


def test_an_unwritable_place_leaves_nothing(tmp_path):
    with pytest.raises(FileNotFoundError):
        write(tmp_path / "nowhere" / "r.json", [])
