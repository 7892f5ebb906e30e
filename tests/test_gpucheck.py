"""The one command for a machine with a GPU, tried on the simulated one: every part isolated, every outcome written down."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xpnet.gpucheck import __main__ as gpucheck
from xpnet.gpucheck import parts
from xpnet.gpucheck.budgets import budget
from xpnet.gpucheck.groups import Groups
from xpnet.gpucheck.page import page, verdict
from xpnet.models import MODELS

ROOT = Path(__file__).parents[1]


def python(code, group="suite", read=parts._read_json):
    return parts.Part(group, code, [sys.executable, "-c", code], read)


def run(part, tmp_path, seconds=60.0):
    return parts.run(part, tmp_path, time.monotonic() + seconds, Groups())


# A part that begins a process, which holds the output open and goes on writing for a minute.
GRANDCHILD = """
import os, subprocess, sys, time
code = "import time; [(open('beat', 'a').write('.'), time.sleep(0.01)) for _ in range(6000)]"
subprocess.Popen([sys.executable, "-c", code])
while not os.path.exists("beat"): time.sleep(0.01)
print("{}", flush=True)
"""
only_posix = pytest.mark.skipif(os.name != "posix", reason="Windows has no groups of processes")


def is_gone(beat):
    """Whether the process that writes this file has ended."""
    size = beat.stat().st_size
    time.sleep(0.3)
    return beat.stat().st_size == size


class TestParts:
    def test_the_whole_is_there(self):
        found = parts.parts("cuda", ROOT)
        names = {(p.group, p.name) for p in found}
        assert names >= {("doctor", "doctor"), ("budgets", "budgets"), *(("parity", m) for m in MODELS)}
        files = {p.name for p in found if p.group in ("semantics", "suite")}
        assert files == {str(f.relative_to(ROOT)) for f in ROOT.glob("tests/**/test_*.py")}
        assert all("--device=cuda" in p.command for p in found if p.group == "suite")
        assert [p.group for p in found].index("suite") > [p.group for p in found].index("parity")

    def test_without_a_checkout_there_are_no_tests(self, tmp_path):
        (tmp_path / "tests").mkdir()
        (tmp_path / "tests" / "test_somebody_elses.py").touch()
        assert {p.group for p in parts.parts("cuda", tmp_path)} == {"doctor", "budgets", "parity"}

    def test_a_result_is_read(self, tmp_path):
        outcome = run(python("print('noise'); print('{\"a\": 1}')"), tmp_path)
        assert (outcome.status, outcome.found, outcome.output) == ("passed", {"a": 1}, "")

    @pytest.mark.parametrize(
        ("code", "says"),
        [
            ("import os; os.abort()", ""),
            ("raise SystemExit('broken')", "broken"),
            ("print('no json')", "no json"),
            ("print('{\"a\": 1}'); raise ValueError('late')", "late"),
            (r"import os; os.write(2, b'\xff\xfe broken'); os.abort()", "\ufffd\ufffd broken"),
        ],
    )
    def test_what_breaks_fails_alone(self, tmp_path, code, says):
        outcomes = list(parts.run_all([python(code), python("print('{}')")], tmp_path, time.monotonic() + 60, 2))
        assert sorted(o.status for o in outcomes) == ["failed", "passed"]
        assert says in next(o for o in outcomes if o.status == "failed").output

    def test_what_hangs_is_stopped_and_what_it_said_is_kept(self, tmp_path):
        code = "import time; print('begun', flush=True); time.sleep(60)"
        outcome = run(python(code), tmp_path, seconds=1.2)
        assert outcome.status == "timed out"
        assert "begun" in outcome.output
        assert outcome.seconds < 5

    @only_posix
    def test_a_part_that_ended_has_passed_whatever_it_left_running(self, tmp_path):
        outcome = run(python(GRANDCHILD), tmp_path, seconds=10)
        assert (outcome.status, outcome.found) == ("passed", {})
        assert outcome.seconds < 5
        assert is_gone(tmp_path / "beat")

    @only_posix
    def test_what_hangs_is_stopped_with_what_it_began(self, tmp_path):
        outcome = run(python(GRANDCHILD + "time.sleep(60)"), tmp_path, seconds=2)
        assert outcome.status == "timed out"
        assert is_gone(tmp_path / "beat")

    @only_posix
    def test_who_closes_the_outcomes_stops_what_runs_and_begins_nothing_more(self, tmp_path):
        last = python("open('begun', 'w')")
        chosen = [python("print('{}')"), python(GRANDCHILD + "time.sleep(60)"), python("import time; time.sleep(60)"), last]
        results = parts.run_all(chosen, tmp_path, time.monotonic() + 60, 2)
        assert next(results).status == "passed"
        while not (tmp_path / "beat").exists():
            time.sleep(0.01)
        results.close()
        assert is_gone(tmp_path / "beat")
        assert not (tmp_path / "begun").exists()

    def test_after_the_end_nothing_begins(self, tmp_path):
        groups = Groups()
        groups.end()
        outcome = parts.run(python("open('begun', 'w')"), tmp_path, time.monotonic() + 60, groups)
        assert (outcome.status, outcome.output) == ("failed", "RuntimeError: the check was stopped")
        assert not (tmp_path / "begun").exists()

    def test_output_is_read_whatever_its_bytes(self, tmp_path):
        outcome = run(python(r"import os; os.write(1, b'\xff {}')"), tmp_path)
        assert (outcome.status, outcome.found) == ("passed", {})

    def test_a_part_prints_any_character(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        assert run(python("print('{\"\u0394\": 1}')"), tmp_path).found == {"\u0394": 1}

    @pytest.mark.parametrize("error", [KeyError("what the reader needs"), MemoryError("too much")])
    def test_an_error_while_reading_fails_the_part_alone(self, tmp_path, error):
        def read(stdout, xml):
            raise error

        outcome = run(python("pass", read=read), tmp_path)
        assert (outcome.status, outcome.output) == ("failed", f"{type(error).__name__}: {error}")
        assert run(parts.Part("suite", "x", ["no such command"], parts._read_json), tmp_path).output.startswith("FileNotFound")

    def test_without_time_nothing_is_begun(self, tmp_path):
        assert run(python("print('{}')"), tmp_path, seconds=0.5).status == "not run"

    def test_tests_are_counted_and_failures_named(self, tmp_path):
        file = tmp_path / "test_it.py"
        file.write_text(
            "import pytest\ndef test_a(): pass\ndef test_b(): assert 1 == 2\n@pytest.mark.skip\ndef test_c(): pass\n"
        )
        (tmp_path / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--device')\n")
        outcome = run(parts._tests("suite", "test_it.py", "sim"), tmp_path)
        assert outcome.status == "failed"
        assert {k: outcome.found[k] for k in ("tests", "failures", "errors", "skipped")} == {
            "tests": 3,
            "failures": 1,
            "errors": 0,
            "skipped": 1,
        }
        assert outcome.found["failed"] == {"test_it::test_b": "assert 1 == 2"}
        text = page("sim", [outcome], 1.0)
        assert "| test_it.py | FAILED | 3 | 1 | 1 |" in text
        assert "- `test_it::test_b`: assert 1 == 2" in text


class TestBudgets:
    @pytest.mark.parametrize("name", [name for name in MODELS if name != "wide"])
    def test_every_model_trains_without_waiting_copying_or_allocating(self, name, request):
        import xpnet as xn

        device = xn.device(request.config.getoption("--device") or "sim")
        if device.kind == "cpu":
            pytest.skip("nothing is counted on the CPU")
        found = budget(name, device)
        assert found["ok"], found
        assert found["syncs"] == found["h2d"] == found["d2h"] == 0
        if device.kind == "sim":
            assert found["launches"] > 5
            assert found["allocations"] == found["float64"] == 0

    def test_a_hidden_wait_fails_it_with_the_line(self, monkeypatch):
        import xpnet as xn

        class Nosy(xn.ReLU):
            def forward(self, x, step):
                bool((x > 0).any())
                return super().forward(x, step)

        trainer, x, y = MODELS["colors"]()
        trainer.net.layers = (*trainer.net.layers[:1], Nosy(), *trainer.net.layers[2:])
        monkeypatch.setitem(MODELS, "colors", lambda: (trainer, x, y))
        found = budget("colors", xn.device("sim"))
        assert not found["ok"]
        assert f"{Path(__file__).name}:" in found["error"]
        outcome = parts.Outcome("budgets", "budgets", "failed", found={"colors": found})
        assert "bool() waits for the device" in page("sim", [outcome], 1.0)


def test_the_verdict_names_what_did_not_pass():
    good, bad = parts.Outcome("parity", "mlp", "passed"), parts.Outcome("suite", "tests/test_x.py", "timed out")
    assert verdict([]) == "Nothing was run."
    assert verdict([good]) == "The only part passed."
    assert verdict([good, good]) == "All 2 parts passed."
    assert verdict([bad]) == "**The only part did not pass**: 0 failed, 1 timed out (tests/test_x.py), 0 not run."
    assert verdict([good, bad]) == "**1 of 2 parts did not pass**: 0 failed, 1 timed out (tests/test_x.py), 0 not run."


def test_a_file_whose_tests_were_all_skipped_has_proved_nothing(tmp_path):
    (tmp_path / "test_it.py").write_text("import pytest\npytestmark = pytest.mark.skip\ndef test_a(): pass\n")
    (tmp_path / "conftest.py").write_text("def pytest_addoption(parser): parser.addoption('--device')\n")
    outcome = run(parts._tests("suite", "test_it.py", "sim"), tmp_path)
    assert (outcome.status, outcome.found["skipped"]) == ("skipped", 1)
    good = parts.Outcome("parity", "mlp", "passed")
    assert verdict([good, outcome]) == "The only part passed. 1 more skipped all their tests (test_it.py)."
    assert "| test_it.py | skipped | 1 | 0 | 1 |" in page("sim", [outcome], 1.0)


def test_what_failed_comes_before_what_was_not_run():
    idle = [parts.Outcome("suite", f"t{i}", "not run", output="no time was left") for i in range(9)]
    late = parts.Outcome("suite", "late", "timed out", output="hung here")
    outcomes = [*idle, late, parts.Outcome("suite", "bad", "failed", output="broken")]
    assert verdict(outcomes) == (
        "**11 of 11 parts did not pass**: 1 failed (bad), 1 timed out (late), 9 not run (t0, t1, t2, t3, t4, t5, ...)."
    )
    text = page("sim", outcomes, 1.0).partition("## What did not pass")[2]
    assert text.index("### bad: failed") < text.index("### late: timed out") < text.index("### Not run")
    assert "\n- t8: no time was left\n" in text


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Away from the checkout, beside the tests of somebody else, where each part would pass."""
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_somebody_elses.py").touch()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(gpucheck, "PACKAGE", tmp_path / "xpnet")
    monkeypatch.setattr(sys, "argv", ["gpucheck", "--out", "found", "--device", "sim"])

    def run_all(chosen, *rest):
        yield from (parts.Outcome(part.group, part.name, "passed") for part in chosen)

    monkeypatch.setattr(gpucheck, "run_all", run_all)
    return tmp_path


def test_without_a_checkout_the_check_does_not_pass(elsewhere, capsys):
    assert gpucheck.main() == 1
    assert "did not pass**: 0 failed, 0 timed out, 1 not run (tests). See" in capsys.readouterr().out
    found = json.loads((elsewhere / "found" / "gpucheck.json").read_text(encoding="utf-8"))["parts"]
    assert [(p["group"], p["name"], p["status"]) for p in found if p["status"] != "passed"] == [("suite", "tests", "not run")]
    text = (elsewhere / "found" / "gpucheck.md").read_text(encoding="utf-8")
    assert "- tests: no checkout of xpnet was found: run it in one" in text


def test_both_files_hold_any_character(elsewhere, monkeypatch):
    odd = parts.Outcome("parity", "mlp", "failed", output="\u0394 \ud800")  # JSON may hold half a character
    monkeypatch.setattr(gpucheck, "run_all", lambda *rest: (o for o in [odd]))
    assert gpucheck.main() == 1
    assert json.loads((elsewhere / "found" / "gpucheck.json").read_text(encoding="utf-8"))["parts"][1]["output"] == odd.output
    assert "\n\u0394 ?\n" in (elsewhere / "found" / "gpucheck.md").read_text(encoding="utf-8")


def test_the_time_of_all_of_it_runs_from_the_beginning(elsewhere, monkeypatch):
    deadlines = []
    monkeypatch.setattr(gpucheck, "device", lambda name: time.sleep(0.5))
    monkeypatch.setattr(gpucheck, "run_all", lambda chosen, root, deadline, jobs: (o for o in deadlines.append(deadline) or ()))
    began = time.monotonic()
    gpucheck.main()
    assert deadlines[0] < began + gpucheck.SECONDS + 0.4


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "xpnet.gpucheck", *arguments],
        cwd=cwd,
        env=parts._environment(),
        capture_output=True,
        text=True,
        check=False,
    )


@only_posix
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_ends_the_command_at_once_and_leaves_what_is_known(tmp_path, number):
    if signal.getsignal(number) == signal.SIG_IGN:
        pytest.skip("this signal is ignored here, and by what is begun here")
    words = [sys.executable, "-m", "xpnet.gpucheck", "--out", str(tmp_path), "--device", "sim", "--jobs", "1"]
    with subprocess.Popen(words, cwd=ROOT, env=parts._environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline().startswith(b"passed")
        process.send_signal(number)
        _, said = process.communicate(timeout=20)
    assert process.returncode == 130, said
    assert said.decode() == f"xpnet.gpucheck: stopped. What is known is in {tmp_path}\n"
    found = json.loads((tmp_path / "gpucheck.json").read_text())["parts"]
    assert {part["name"] for part in found} == {part.name for part in parts.parts("sim", ROOT)}
    assert [part["name"] for part in found if part["status"] == "passed"] == ["doctor"]
    assert f"**{len(found) - 1} of {len(found)} parts did not pass**: 0 failed" in (tmp_path / "gpucheck.md").read_text()


def test_the_command_on_the_simulated_gpu(tmp_path):
    """Three seconds of it: what does not fit is said to be not run, and both files are there."""
    began = time.monotonic()
    done = command("--out", str(tmp_path / "found"), "--device", "sim", "--seconds", "3", cwd=ROOT)
    assert time.monotonic() - began < 12
    assert done.returncode == 1, done.stderr
    found = json.loads((tmp_path / "found" / "gpucheck.json").read_text())
    status = {part["name"]: part["status"] for part in found["parts"]}
    assert len(status) == len(parts.parts("sim", ROOT))
    assert status["doctor"] == "passed"
    assert "not run" in status.values()
    text = (tmp_path / "found" / "gpucheck.md").read_text()
    assert text.startswith("# xpnet on `sim`")
    assert "did not pass" in text


def test_where_there_is_no_gpu_it_says_why(tmp_path, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    done = command("--out", str(tmp_path / "found"), cwd=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("xpnet.gpucheck: ")
    assert "To do:" in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert not (tmp_path / "found").exists()


@pytest.mark.parametrize(("option", "says"), [(("--jobs", "0"), "--jobs is at least 1"), (("--out", "{file}"), "is a file")])
def test_wrong_usage(option, says, tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    done = command("--device", "sim", "--out", str(tmp_path), *(word.format(file=file) for word in option), cwd=tmp_path)
    assert done.returncode == 2
    assert says in done.stderr
    assert "Traceback" not in done.stderr
