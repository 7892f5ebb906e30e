"""Every example runs on every device and does what it says; so do the README's pieces of code."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(*arguments: str) -> str:
    done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_example_runs(example: Path, device) -> None:
    assert "test accuracy" in run(str(example), "--device", device.name, "--epochs", "2")


def test_the_loop_by_hand_is_the_trainer_s(device) -> None:
    """Same seed, same batches, same numbers: both ways end with the same accuracy."""
    ends = [
        run("examples/train.py", "--device", device.name, "--epochs", "3", *extra).splitlines()[-1]
        for extra in ([], ["--by-hand"])
    ]
    assert ends[0] == ends[1]


def test_the_readme_s_code_runs(device) -> None:
    pieces = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    assert len(pieces) == 3
    code = "\n".join(pieces).replace("epochs=20", "epochs=2")
    code = code.replace('device="auto"', f'device="{device.name}"').replace('xn.device("cpu")', f'xn.device("{device.name}")')
    exec(compile(code, "README.md", "exec"), {})
