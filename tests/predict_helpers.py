"""``xpnet predict`` as the tests run it."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import pytest

from xpnet.cli import main


def run(*arguments: str | Path) -> int:
    """The command's exit status."""
    return main([str(a) for a in arguments])


def predicted(capsys: pytest.CaptureFixture) -> tuple[list[dict[str, str]], str]:
    """The rows on standard output, and standard error."""
    out, error = capsys.readouterr()
    return list(csv.DictReader(io.StringIO(out))), error


def error_of(capsys: pytest.CaptureFixture) -> str:
    """The one line on standard error."""
    out, error = capsys.readouterr()
    assert out == ""
    assert error.startswith("xpnet predict: ")
    assert error.count("\n") == 1
    return error
