"""Damaged files: each is refused by name or makes a network that works, in little time and memory."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.extras
HERE = Path(__file__).parent


@pytest.mark.parametrize(("first", "count"), [(0, 150), pytest.param(1000, 2000, marks=pytest.mark.slow)], ids=["150", "2000"])
def test_damaged_files(first, count, tmp_path):
    pytest.importorskip("onnx")
    pytest.importorskip("resource")  # not on Windows
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE.parents[1]), str(HERE)]), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-X", "faulthandler", str(HERE / "onnx_damage_reader.py"), str(tmp_path), str(first), str(count)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=60 + count)
    assert done.returncode == 0, done.stderr[-3000:]
    found = json.loads(done.stdout.splitlines()[-1])
    assert found["refused"] + found["read"] == count
    assert min(found["refused"], found["read"]) > count / 30  # neither is all that happens
