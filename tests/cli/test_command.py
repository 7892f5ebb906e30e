"""What all verbs of the command line share."""

from __future__ import annotations

import subprocess
import sys


def test_a_reader_that_has_seen_enough_is_no_error() -> None:
    command = f"{sys.executable} -m xpnet explain book | head -1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False)
    assert done.stdout.startswith("One training step of book")
    assert done.stderr == ""
