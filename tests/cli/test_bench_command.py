"""``xpnet bench`` and ``xpnet compare``: files, exit statuses, and mistakes in one line."""

from __future__ import annotations

import json

import pytest

from xpnet.bench import results, running
from xpnet.bench.results import Check
from xpnet.bench.timing import Work
from xpnet.cli import main


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("bench") / "r.json"
    assert (
        main(["bench", "--quick", "--suite", "harness", "feeding", "--seconds", "1.5", "--device", "cpu", "--out", str(path)])
        == 0
    )
    return path


def test_a_run_is_printed_and_written(file):
    (run,) = results.read(file)
    assert {r.case.suite for r in run.results} == {"harness", "feeding"}
    assert run.quick
    assert not run.left_out
    assert run.seconds < 60


def test_a_file_compared_with_itself(file, capsys):
    assert main(["compare", str(file), str(file)]) == 0
    out = capsys.readouterr().out
    assert out.startswith("0 slower, 0 quicker")
    assert main(["compare", str(file), str(file), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine"] == 1.0


def test_a_slower_file_is_an_alarm(file, tmp_path, capsys):
    record = json.loads(file.read_text())
    slow = next(r for r in record["runs"][0]["results"] if r["form"] == "shuffle")
    slow["seconds"] = [3 * s for s in slow["seconds"]]
    other = tmp_path / "slow.json"
    other.write_text(json.dumps(record))
    assert main(["compare", str(file), str(other)]) == 1
    assert "slower   feeding" in capsys.readouterr().out


def test_a_refused_case_is_a_failure(monkeypatch, capsys):
    monkeypatch.setattr(
        running, "prepare", lambda case: Work(lambda: None, lambda: Check("numbers", 1.0, 0.1), running_device())
    )
    assert main(["bench", "--quick", "--suite", "harness", "--device", "cpu"]) == 1
    assert "wrong results" in capsys.readouterr().out


def running_device():
    import xpnet as xn

    return xn.device("cpu")


def test_ctrl_c(monkeypatch, capsys, tmp_path):
    def stop(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr(running.Runner, "_visit", stop)
    path = tmp_path / "r.json"
    assert main(["bench", "--quick", "--suite", "harness", "--device", "cpu", "--out", str(path)]) == 130
    assert "0 finished cases" in capsys.readouterr().err
    assert path.exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["bench", "--device", "sim"], "the simulated GPU has no clock"),
        (["bench", "--suite", "form"], "did you mean 'forms'?"),
        (["bench", "--seconds", "0"], "--seconds"),
        (["bench", "--seconds", "nan"], "--seconds"),
        (["bench", "--out", "nowhere/r.json"], "make it first"),
        (["compare", "nowhere.json", "nowhere.json"], "nowhere.json"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, why, capsys):
    assert main(arguments) == 1
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1


def test_a_profile_is_written(monkeypatch, tmp_path, capsys):
    from profile_helpers import cpu_profile

    from xpnet.advise import cpu_measure

    monkeypatch.setattr(cpu_measure, "measure", lambda **_: cpu_profile())
    path = tmp_path / "p.json"
    assert main(["bench", "--profile", "--device", "cpu", "--out", str(path)]) == 0
    assert json.loads(path.read_text())["schema"] == "xpnet-profile"
    assert main(["bench", "--profile", "--device", "cpu"]) == 0
    assert '"cpu"' in capsys.readouterr().out
