"""Files of every kind that is read, damaged in forty ways (two thousand with ``--slow``), none of which does harm.

Each file is read, or refused by one line that names it: no crash, no hang, no more than 2 GB, nothing unpickled, and
predictions that were there before stay. They are read in a process of their own, whose memory and time are limited.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from mutations import mutations

pytest.importorskip("resource")  # limits of a process: not on Windows
HERE = Path(__file__).parent
KINDS = ["npy", "npz", "csv", "idx", "idx.gz", "safetensors", "checkpoint", pytest.param("png", marks=pytest.mark.extras)]


def read_damaged(kind: str, n: int, folder: Path) -> dict:
    """What the child says of n damaged files."""
    if kind == "png":
        pytest.importorskip("PIL.Image")
    command = [sys.executable, str(HERE / "child.py"), kind, str(n), "0", str(folder)]
    paths = os.pathsep.join([str(HERE.parents[1]), str(HERE)])
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, timeout=900, env=os.environ | {"PYTHONPATH": paths}
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", KINDS)
def test_a_few_damaged_files(kind, tmp_path):
    found = read_damaged(kind, 40, tmp_path)
    assert found["wrong_ones"] == []
    assert found["read"] >= 1  # the whole one
    assert found["refused"] >= 20


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_two_thousand_damaged_files(kind, tmp_path):
    found = read_damaged(kind, 2000, tmp_path)
    assert found["wrong_ones"] == []
    assert found["refused"] >= 1000


def test_mutations_are_the_same_for_a_seed_and_damage():
    data = bytes(range(256)) * 4
    first = list(mutations(data, 50, 1))
    assert first == list(mutations(data, 50, 1))
    assert first != list(mutations(data, 50, 2))
    assert sum(found != data for found in first) >= 45
    assert len({len(found) for found in first}) > 5
    assert len(list(mutations(b"", 20, 0))) == 20
