"""Processes that end together with all that they began."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

GRACE = 5.0  # seconds that a killed process may take to go; one that waits for a GPU's driver may never


class Groups:
    """Runs commands, each as a group of processes of its own (on Windows, where there are none, as a process)."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._ended = False

    def run(self, command: list[str], root: Path, environment: dict[str, str], output: Path, deadline: float) -> int | None:
        """The exit status, None where it was stopped at the deadline; ``output`` gets the files "stdout" and "stderr".

        Whatever the command left behind is stopped too. Files, not pipes, because a pipe that it holds open has no end.
        """
        with open(output / "stdout", "wb") as out, open(output / "stderr", "wb") as err:
            process = self._begin(command, cwd=root, env=environment, stdout=out, stderr=err)
        try:
            return process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            return None
        finally:
            self._end(process)

    def end(self) -> None:
        """Stop all that runs, and let nothing more begin."""
        with self._lock:
            self._ended = True
            for process in self._running:
                _kill(process)

    def _begin(self, command: list[str], **options: Any) -> subprocess.Popen[bytes]:
        with self._lock:
            if self._ended:
                raise RuntimeError("the check was stopped")
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, **options)
            self._running.add(process)
            return process

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        with self._lock:
            self._running.discard(process)
        _kill(process)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)


def _kill(process: subprocess.Popen[bytes]) -> None:
    if not hasattr(os, "killpg"):
        process.kill()
        return
    with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS refuses where all of it has ended
        os.killpg(process.pid, signal.SIGKILL)
