"""Folders as ``xpnet train --save RUN`` writes them."""

from __future__ import annotations

import json
from pathlib import Path

from xpnet.cli import main

HISTORY = [
    {"epoch": 1, "loss": 0.9, "learning_rate": 0.001, "seconds": 0.1, "validation_loss": 0.8, "validation_accuracy": 0.7},
    {"epoch": 2, "loss": 0.5, "learning_rate": 0.001, "seconds": 0.1, "validation_loss": 0.6, "validation_accuracy": 0.9},
    {"epoch": 3, "loss": 0.4, "learning_rate": 0.001, "seconds": 0.1, "validation_loss": None, "validation_accuracy": 0.8},
]


def write_log(folder: Path, records: list[dict]) -> None:
    (folder / "log.jsonl").write_text("".join(json.dumps(record) + "\n" for record in records))


def trained(folder: Path, *arguments: object) -> Path:
    """The folder after ``xpnet train ARGUMENTS --save folder``, with a log."""
    assert main(["train", *map(str, arguments), "--save", str(folder), "--device", "cpu"]) == 0
    write_log(folder, HISTORY)
    return folder
