"""The page on serving says what happens."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from xpnet.cli import main

PAGE = (Path(__file__).parents[2] / "docs/serving.md").read_text()


def test_the_code_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["train", "digits", "--epochs", "3", "--device", "cpu", "--save", "run"]) == 0
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    names: dict = {}
    capsys.readouterr()
    exec(compile(code, "docs/serving.md", "exec"), names)
    assert names["probabilities"].shape == (360, 10)
    np.testing.assert_allclose(names["probabilities"].sum(axis=1), 1)
    assert capsys.readouterr().out.startswith("['")


@pytest.mark.parametrize("option", sorted(set(re.findall(r"`(--[a-z-]+)", PAGE)) - {"--size"}))
def test_the_options_are_there(option, capsys):
    with pytest.raises(SystemExit):
        main(["predict", "--help"])
    assert option in capsys.readouterr().out
