"""``benchmarks/estimators.py``: the table that docs/sklearn.md shows."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "estimators.py"


@pytest.mark.extras
@pytest.mark.parametrize("data", ["iris", "diabetes"])
def test_both_are_fitted(data, tmp_path):
    pytest.importorskip("sklearn")
    out = tmp_path / "found.json"
    command = [sys.executable, str(SCRIPT), "--data", data, "--seeds", "2", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[2].count("±") == 4
    found = json.loads(out.read_text())["results"]
    assert [(one["who"], one["early_stopping"]) for one in found] == [
        *(("xpnet", False), ("scikit-learn", False), ("xpnet", True), ("scikit-learn", True))
    ]
    assert min(one["scores"][0] for one in found if not one["early_stopping"]) > {"iris": 0.8, "diabetes": 0.2}[data]
    assert all(len(one["seconds"]) == len(one["scores"]) == 2 and one["threads"]["BLAS"] == 1 for one in found)
