"""Files of results, for the tests of what is made of them."""

from __future__ import annotations

import pytest
from report_helpers import runs

from xpnet.bench.results import write


@pytest.fixture
def files(tmp_path):
    """A file of each machine."""
    paths = [tmp_path / "cpu.json", tmp_path / "gpu.json"]
    for path, run in zip(paths, runs(), strict=True):
        write(path, [run])
    return [str(path) for path in paths]
