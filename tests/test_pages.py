"""The code in docs/callbacks.md and docs/pictures.md runs, and the pictures that a page shows are those that its code draws."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import xpnet as xn

DOCS = Path(__file__).parents[1] / "docs"


def run(page: str, **shorter: str) -> str:
    """Run a page's code from top to bottom; return its text."""
    text = (DOCS / page).read_text("utf-8")
    pieces = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert len(pieces) >= 3
    code = "\n".join(pieces)
    for long, short in shorter.items():
        assert long.replace("_", "=") in code
        code = code.replace(long.replace("_", "="), short)
    exec(compile(code, page, "exec"), {"__name__": "documentation"})
    return text


def test_callbacks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run("callbacks.md")
    epochs = (tmp_path / "digits" / "log.jsonl").read_text().splitlines()
    assert 3 < len(epochs) < 20  # the five lines have ended the second training
    assert xn.load(tmp_path / "digits" / "best.safetensors").output_shape == (10,)


@pytest.mark.extras
@pytest.mark.slow
def test_pictures(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    monkeypatch.chdir(tmp_path)
    text = run("pictures.md", epochs_20="epochs=2", epochs_100="epochs=2")
    drawn = {path.name for path in (tmp_path / "pictures").iterdir()}
    shown = set(re.findall(r"\(pictures/(\S+)\)", text))
    assert {path.name for path in (DOCS / "pictures").iterdir()} == drawn
    assert shown == drawn
    assert sum(path.stat().st_size for path in (DOCS / "pictures").iterdir()) < 250_000
