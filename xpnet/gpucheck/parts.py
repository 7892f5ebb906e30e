"""The parts of the check, each in a process of its own: what one breaks does not break the others."""

from __future__ import annotations

import concurrent.futures
import json
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpnet.models import MODELS

PACKAGE = Path(__file__).parents[1]
TAIL = 4000  # characters of output that are kept of a part that failed
SEMANTICS = "tests/backends/test_semantics.py"
Reader = Callable[[str, Path], dict[str, Any]]


@dataclass
class Part:
    """A command, and how its result is read: ``read(stdout, xml)`` gives a dict."""

    group: str
    name: str
    command: list[str]
    read: Reader


@dataclass
class Outcome:
    """``status`` is "passed", "failed", "timed out" or "not run"."""

    group: str
    name: str
    status: str
    seconds: float = 0.0
    found: dict[str, Any] = field(default_factory=dict)
    output: str = ""


def parts(device: str, root: Path) -> list[Part]:
    """Everything that is checked: what is quick and tells most comes first, the suite file by file at the end."""
    xpnet = [sys.executable, "-m", "xpnet"]
    first = [Part("doctor", "doctor", [*xpnet, "doctor", "--json"], _read_json)]
    first += [Part("budgets", "budgets", [*xpnet[:2], "xpnet.gpucheck.budgets", "--device", device], _read_json)]
    first += [
        Part("parity", name, [*xpnet, "parity", name, "--devices", "cpu", device, "--steps", "20", "--json"], _read_json)
        for name in MODELS
    ]
    first += [_tests("semantics", SEMANTICS, device)] if (root / SEMANTICS).exists() else []
    files = sorted(str(path.relative_to(root)) for path in root.glob("tests/**/test_*.py"))
    return first + [_tests("suite", file, device) for file in files if file != SEMANTICS]


def run_all(chosen: list[Part], root: Path, seconds: float, jobs: int) -> Iterator[Outcome]:
    """Run ``jobs`` parts at a time, in order, and give each outcome as it comes; what does not fit is not run."""
    deadline = time.monotonic() + seconds
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for done in concurrent.futures.as_completed([pool.submit(run, part, root, deadline) for part in chosen]):
            yield done.result()


def run(part: Part, root: Path, deadline: float) -> Outcome:
    """One part; it is stopped at the deadline."""
    began = time.monotonic()
    if deadline - began < 1:
        return Outcome(part.group, part.name, "not run", output="no time was left")
    with tempfile.TemporaryDirectory() as folder:
        xml = Path(folder) / "junit.xml"
        command = [word.replace("{xml}", str(xml)) for word in part.command]
        try:
            done = subprocess.run(
                command, cwd=root, env=_environment(), capture_output=True, text=True, timeout=deadline - began, check=False
            )
        except subprocess.TimeoutExpired as late:
            return Outcome(part.group, part.name, "timed out", time.monotonic() - began, output=_text(late.stdout)[-TAIL:])
        return _outcome(part, done, xml, time.monotonic() - began)


def _outcome(part: Part, done: subprocess.CompletedProcess[str], xml: Path, seconds: float) -> Outcome:
    try:
        found = part.read(done.stdout, xml)
    except (ValueError, OSError, ET.ParseError) as error:
        found = {"unreadable": f"{type(error).__name__}: {error}"}
    ok = done.returncode == 0 and "unreadable" not in found
    if part.group == "budgets" and ok:
        ok = all(model["ok"] for model in found.values())
    output = "" if ok else (done.stdout + done.stderr)[-TAIL:]
    return Outcome(part.group, part.name, "passed" if ok else "failed", seconds, found, output)


def _tests(group: str, file: str, device: str) -> Part:
    pytest = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", f"--device={device}", "--junitxml={xml}", file]
    return Part(group, file, pytest, _read_tests)


def _read_json(stdout: str, xml: Path) -> dict[str, Any]:
    return json.loads(stdout[stdout.index("{") :])


def _read_tests(stdout: str, xml: Path) -> dict[str, Any]:
    """Numbers of tests, and the first line of each failure."""
    suite = ET.parse(xml).getroot().find("testsuite")
    if suite is None:
        raise ValueError("pytest wrote no results")
    numbers = {name: int(suite.get(name, 0)) for name in ("tests", "failures", "errors", "skipped")}
    failed = {
        f"{case.get('classname')}::{case.get('name')}": (problem.get("message") or "").partition("\n")[0][:200]
        for case in suite.iter("testcase")
        for problem in (*case.findall("failure"), *case.findall("error"))
    }
    return {**numbers, "failed": failed}


def _environment() -> dict[str, str]:
    """The same xpnet in every process, installed or not."""
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1"}


def _text(output: str | bytes | None) -> str:
    return output.decode(errors="replace") if isinstance(output, bytes) else output or ""
