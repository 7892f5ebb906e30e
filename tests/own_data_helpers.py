"""Tables of one's own as files, and ``xpnet train`` on them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from xpnet.cli import main

TARGET = ("--target", "y")
CODE = "a,b,y\n"
GOOD = CODE + "".join(f"{i},{i * i % 7},{i * 1.5}\n" for i in range(20))
FLOWERS = "size,colour,kind\n" + "".join(f"{i % 10},{'red' if i % 3 else 'blue'},{'ab'[i % 10 > 4]}\n" for i in range(60))


def train(path: Path | str, *options: str) -> int:
    return main(["train", str(path), "--device", "cpu", "--epochs", "2", *options])


def written(folder: Path, text: str | bytes, name: str = "my.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def table(name: str) -> Path:
    path = Path(os.environ.get("XPNET_DATA", ""), "tables", name)
    if not os.environ.get("XPNET_DATA") or not path.is_file():
        pytest.skip(f"XPNET_DATA names no folder with tables/{name}")
    return path


def error_of(capsys: pytest.CaptureFixture) -> str:
    """The one line on standard error."""
    printed, error = capsys.readouterr()
    assert error.startswith("xpnet train: ")
    assert error.count("\n") == 1
    assert len(error) < 420
    assert "epoch" not in printed
    return error
