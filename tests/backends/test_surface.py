"""The simulator's table of CuPy's names and signatures against the CuPy that is installed."""

import json
import subprocess
import sys
from importlib.metadata import distributions
from pathlib import Path

import pytest

pytestmark = pytest.mark.cupy

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "xpnet/backends/sim/surface.json"


def check(table):
    command = [sys.executable, ROOT / "tools/dump_cupy_surface.py", "--check", table]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture(autouse=True)
def version():
    """The version of the installed CuPy; skips where there is none."""
    wheels = [wheel for name in ("cupy-cuda12x", "cupy-cuda13x") for wheel in distributions(name=name)]
    if not wheels:
        pytest.skip("CuPy is not installed")
    return wheels[0].version


def test_the_table_is_that_of_its_cupy(version):
    if version != json.loads(TABLE.read_text())["cupy"]:
        pytest.skip(f"the table is of another CuPy than {version}: python tools/dump_cupy_surface.py --check")
    done = check(TABLE)
    assert done.returncode == 0, done.stdout + done.stderr


def test_other_versions_alone_are_no_drift(tmp_path, version):
    table = json.loads(TABLE.read_text())
    if version != table["cupy"]:
        pytest.skip(f"the table is of another CuPy than {version}")
    (tmp_path / "table.json").write_text(json.dumps(table | {"cupy": "14.0.0", "numpy": "2.0.0"}))
    assert check(tmp_path / "table.json").returncode == 0


def test_drift_is_told_name_by_name(tmp_path):
    table = json.loads(TABLE.read_text())
    del table["namespace"]["clip"]
    table["linalg"]["vector_norm"] = "x, axis="
    table["ndarray"]["get"] = "self"
    (tmp_path / "table.json").write_text(json.dumps(table))
    before = (tmp_path / "table.json").read_text()
    done = check(tmp_path / "table.json")
    assert done.returncode == 1
    lines = done.stdout.splitlines()
    assert "added    namespace.clip: a, a_min, a_max, out=" in lines
    assert "removed  linalg.vector_norm: x, axis=" in lines
    assert any(line.startswith("changed  ndarray.get: self -> ") for line in lines)
    assert (tmp_path / "table.json").read_text() == before
