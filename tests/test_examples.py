"""Every example runs on every device and gives the same results there; so do the README's pieces of code."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xpnet.simulate import simulate

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
PICTURES = [name for name in EXAMPLES if '"--picture"' in (ROOT / "examples" / name).read_text()]
SHORT = {"train.py": ("--epochs", "2")}  # others are short by --quick, or as they are
NEEDS_MNIST = {"book_table.py"}
DURATION = re.compile(r"\s*[\d.,]+(?:e[+-]?\d+)? ?(?:s|ms|us|x|samples/s)\b")


@functools.cache
def run(name: str, *arguments: str) -> str:
    command = [sys.executable, f"examples/{name}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def short(name: str) -> tuple[str, ...]:
    return SHORT.get(name, ("--quick",) if '"--quick"' in (ROOT / "examples" / name).read_text() else ())


def results(printed: str, device: str) -> list[str]:
    """The lines without durations and the device's name, but for what train.py says of the device."""
    lines = [DURATION.sub("", line) for line in printed.splitlines() if "trained on" not in line]
    return [re.sub(rf"\b{re.escape(device)}\b", "", line).rstrip() for line in lines]


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_gives_the_same_on_every_device(name: str, device, request: pytest.FixtureRequest) -> None:
    if name in NEEDS_MNIST:
        request.getfixturevalue("mnist")
    printed = run(name, "--device", device.name, *short(name))
    assert results(printed, device.name) == results(run(name, "--device", "cpu", *short(name)), "cpu")
    assert len(printed.splitlines()) >= 4


@pytest.mark.extras
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    image = pytest.importorskip("matplotlib.image")
    if name in NEEDS_MNIST:
        request.getfixturevalue("mnist")
    run(name, *short(name), "--picture", str(tmp_path / "picture.png"))
    pixels = image.imread(tmp_path / "picture.png")
    assert pixels.shape[1] >= 600
    assert pixels[..., :3].std() > 0.05  # something is drawn


def test_the_loop_by_hand_is_the_trainer_s(device) -> None:
    """Same seed, same batches, same numbers: both ways end with the same accuracy."""
    ends = [run("train.py", "--device", device.name, "--epochs", "3", *extra).splitlines()[-1] for extra in ([], ["--by-hand"])]
    assert ends[0] == ends[1]


def code_of(path: str) -> list[str]:
    return re.findall(r"```python\n(.*?)```", (ROOT / path).read_text(), re.DOTALL)


def run_code(pieces: list[str], device) -> None:
    code = "\n".join(pieces).replace("epochs=20", "epochs=2")
    code = re.sub(r'device="(auto|cpu)"', f'device="{device.name}"', code).replace(
        'xn.device("cpu")', f'xn.device("{device.name}")'
    )
    exec(compile(code, "documentation", "exec"), {"__name__": "documentation"})


def test_the_readme_s_code_runs(device) -> None:
    pieces = code_of("README.md")
    assert len(pieces) == 3
    run_code(pieces, device)


def test_the_recipes_run(device) -> None:
    pieces = code_of("docs/recipes.md")
    assert len(pieces) > 8
    run_code(pieces, device)


def test_the_simulator_s_code_runs(capsys: pytest.CaptureFixture) -> None:
    _, *pieces = code_of("docs/simulated_gpu.md")
    assert len(pieces) == 2
    for piece in pieces:
        exec(compile(piece, "docs/simulated_gpu.md", "exec"), {})
    assert "launches" in capsys.readouterr().out


def test_the_simulator_s_report_is_the_one_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    page = (ROOT / "docs/simulated_gpu.md").read_text()
    script = code_of("docs/simulated_gpu.md")[0]
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(script)
    report, kernels = str(simulate("train.py")).split("\n\nThe kernels")
    assert f"```\n--- xpnet sim ---\n{report}\n\nThe kernels{kernels.splitlines()[0]}\n" in page
    for number, line in enumerate(script.splitlines(), 1):
        if "x[rows] - mean" in line or "float(value)" in line or "y[rows]" in line:
            assert f"  train.py:{number}  " in page


@pytest.mark.parametrize("page", sorted(ROOT.glob("*.md")) + sorted(ROOT.glob("docs/*.md")), ids=lambda path: path.name)
def test_no_page_holds_a_placeholder(page: Path) -> None:
    assert not re.findall(r"\b(?:[A-Z]+_TABLE|LAUNCHES_[AB]|TODO|TBD)\b", page.read_text())
