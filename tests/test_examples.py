"""Every example runs on every device and gives the same results there; so do the README's pieces of code."""

from __future__ import annotations

import functools
import re
import subprocess
import sys
from pathlib import Path

import pytest
from core_helpers import exact
from example_helpers import load_example

import xpnet as xn
from xpnet.simulate import simulate

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted(path.name for path in (ROOT / "examples").glob("*.py"))
PICTURES = [name for name in EXAMPLES if '"--picture"' in (ROOT / "examples" / name).read_text()]
SHORT = {"train.py": ("--epochs", "2")}  # others are short by --quick, or as they are
NEEDS_MNIST = {"book_table.py", "conv_nets.py"}
NEEDS_CIFAR10 = {"cifar10.py"}
NEEDS_SPARK = {"score_on_spark.py"}
NEEDS_SKLEARN = {"grid_search.py"}
SHOWN = {  # figures of the lectures, as patterns of what is printed
    "book_table.py": [r"Q30 +784-30-10 .* 95\.42 .*\nQ100 +784-100-10 .* 96\.59 ", r"T100 .* 98\.04 ", "0 of 1 above 96 %"],
    "which_color.py": [
        r"\+ 0\.5 = 54\.1\n",
        "= 0.00493969 0.00545920 0.98960111\n",
        r"100% of the 20 others",
        r"\(255, 0, 0\) +red\n +\(0, 255, 0\) +green\n +\(0, 0, 255\) +blue\n +\(233, 63, 127\) +red\n",
    ],
    "perceptron.py": [r"XOR .*WRONG\n", r"by hand +0\.000 +1\.000 +1\.000 +0\.000\n"],
    "deltas_by_hand.py": [r"loss .* 7\.5625 ", r"new W1 .* 0\.1825 ", "\n-8.25, -2.75, -3.85, -5.5\n$"],
    "learning_slowly.py": [r"quadratic +\(2\.0, 2\.0\) +0\.9820 .* 0\.2028\n", "equal to 12 digits"],
    "numerical_differentiation.py": ["23,860 parameters, so 47,720 forward", "power 1.00; backprop", "all agree"],
    "descending.py": [r"0\.01 .* sticks", r"1\.0 .* diverges", r"online +800 "],
    "update_rules.py": [r"f end +0\.013327 +0\.047937 +0\.000722 +0\.102205\n", "below 1e-12: yes"],
    "own_pieces.py": ["equal to 12 digits", "the simulated GPU: equal", "wait 0 times and copy 0 times"],
    "slide_code.py": [r"z = +89 +1\.00 +nan\n"],
    "per_sample_and_all_at_once.py": [r"2 +292 +292 +292\n"],
    "conv_nets.py": [
        r"one +20 +Sigmoid +289,630 .* 98\.78 .*\ntwo +20\+40 +Sigmoid +85,670 .* 99\.06 .*\nrelu +20\+40 +ReLU .* 99\.23 ",
        r"today +16\+32 +ReLU +65,606 ",
        "1 of their 60 epochs",
    ],
    "vanishing_gradients.py": [
        r"\(1/4\)\^k +0\.2500 +0\.0625 +0\.0156 +0\.0039 ",
        "is under its bound: yes",
        r"ReLU, N\(0, 2/n\), He's .* \de\+12 ",
    ],
    "overfitting.py": [r"none +training .* 9\d\.\d\d\n +test .* 8\d\.\d\d +1\d\.\d\d "],
    "cifar10.py": ["200 photographs to learn", r"\n   0 +\d+\.\d\d %", "by class: airplane "],
}
DURATION = re.compile(r"\s*[\d.,]+(?:e[+-]?\d+)? ?(?:s|ms|us|x|samples/s)\b")


@functools.cache
def run(name: str, *arguments: str) -> str:
    command = [sys.executable, f"examples/{name}", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def short(name: str) -> tuple[str, ...]:
    return SHORT.get(name, ("--quick",) if '"--quick"' in (ROOT / "examples" / name).read_text() else ())


def skip_without_data(name: str, request: pytest.FixtureRequest) -> None:
    if name in NEEDS_SKLEARN:
        pytest.importorskip("sklearn")
    if name in NEEDS_MNIST:
        request.getfixturevalue("mnist")
    if name in NEEDS_SPARK:
        pytest.importorskip("pyspark")
        if not request.config.getoption("--slow"):
            pytest.skip("slow: run with --slow")
    if name in NEEDS_CIFAR10:
        try:
            load_example("cifar10").photographs()
        except FileNotFoundError as error:
            pytest.skip(str(error))


def results(printed: str, device: str) -> list[str]:
    """The lines without durations and the device's name, but for what train.py says of the device."""
    lines = [DURATION.sub("", line) for line in printed.splitlines() if "trained on" not in line]
    return [re.sub(rf"\b{re.escape(device)}\b", "", line).rstrip() for line in lines]


LONG_ON_SIM = (
    "cifar10.py",
    "book_table.py",
    "vanishing_gradients.py",
    "grid_search.py",
    "conv_nets.py",
    "slide_code.py",
    "which_color.py",
    "learning_slowly.py",
    "overfitting.py",
    "own_pieces.py",
    "numerical_differentiation.py",
    "per_sample_and_all_at_once.py",
    "descending.py",
)  # about a second or more each, in the short forms


@pytest.mark.parametrize("name", EXAMPLES)
def test_example_gives_the_same_on_every_device(name: str, device, request: pytest.FixtureRequest) -> None:
    skip_without_data(name, request)
    if device.kind == "sim" and name in LONG_ON_SIM and not request.config.getoption("--slow"):
        pytest.skip("slow on sim: run with --slow")
    printed = run(name, "--device", device.name, *short(name))
    if exact(device):  # else rounding differs, and with it the last digits
        assert results(printed, device.name) == results(run(name, "--device", "cpu", *short(name)), "cpu")
    assert len(printed.splitlines()) >= 4
    for pattern in SHOWN.get(name, ()):
        assert re.search(pattern, printed), pattern


@pytest.mark.extras
@pytest.mark.parametrize("name", PICTURES)
def test_pictures(name: str, tmp_path: Path, request: pytest.FixtureRequest) -> None:
    image = pytest.importorskip("matplotlib.image")
    skip_without_data(name, request)
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


def test_the_readme_s_code_runs(device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pieces = code_of("README.md")
    assert len(pieces) == 5
    monkeypatch.chdir(tmp_path)
    run_code(pieces, device)


def test_the_recipes_run(device) -> None:
    pieces = code_of("docs/recipes.md")
    assert len(pieces) > 8
    run_code(pieces, device)


def test_the_page_on_images_runs(device) -> None:
    run_code(code_of("docs/images.md"), device)


@pytest.mark.extras
def test_the_page_on_estimators_runs(device) -> None:
    pytest.importorskip("sklearn")
    run_code(code_of("docs/sklearn.md"), device)


def test_the_page_on_saving_runs(device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for _ in range(2):  # the second time its training goes on
        run_code(code_of("docs/saving.md"), device)
    assert len(xn.Checkpoints("digits").files) >= 3


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
