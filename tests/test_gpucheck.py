"""The one command for a machine with a GPU, tried on the simulated one: every part isolated, every outcome written down."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xpnet.gpucheck import parts
from xpnet.gpucheck.budgets import budget
from xpnet.gpucheck.page import page, verdict
from xpnet.models import MODELS

ROOT = Path(__file__).parents[1]


def python(code, group="suite", read=parts._read_json):
    return parts.Part(group, code, [sys.executable, "-c", code], read)


def run(part, tmp_path, seconds=60.0):
    return parts.run(part, tmp_path, time.monotonic() + seconds)


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
        ],
    )
    def test_what_breaks_fails_alone(self, tmp_path, code, says):
        outcomes = list(parts.run_all([python(code), python("print('{}')")], tmp_path, 60, 2))
        assert sorted(o.status for o in outcomes) == ["failed", "passed"]
        assert says in next(o for o in outcomes if o.status == "failed").output

    def test_what_hangs_is_stopped_and_what_it_said_is_kept(self, tmp_path):
        code = "import time; print('begun', flush=True); time.sleep(60)"
        outcome = run(python(code), tmp_path, seconds=2)
        assert outcome.status == "timed out"
        assert "begun" in outcome.output
        assert outcome.seconds < 20

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
    def test_every_model_trains_without_waiting_copying_or_allocating(self, name, device):
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
    assert verdict([good]) == "All 1 parts passed."
    assert verdict([good, bad]) == "**1 of 2 parts did not pass**: tests/test_x.py (timed out)."


def command(*arguments, cwd):
    return subprocess.run(
        [sys.executable, "-m", "xpnet.gpucheck", *arguments],
        cwd=cwd,
        env=parts._environment(),
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_command_on_the_simulated_gpu(tmp_path):
    """Four seconds of it: what does not fit is said to be not run, and both files are there."""
    done = command("--out", str(tmp_path / "found"), "--device", "sim", "--seconds", "4", cwd=ROOT)
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
