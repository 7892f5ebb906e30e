"""The parts of the check, each in a process of its own: what one breaks does not break the others."""

from __future__ import annotations

import concurrent.futures
import json
import os
import sys
import tempfile
import time
import xml.etree.ElementTree as ET
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from xpnet.gpucheck.groups import Groups
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
    """``status`` is "passed", "skipped" (every test of it was), "failed", "timed out" or "not run"."""

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
    if not has_tests(root):
        return first
    files = sorted(str(path.relative_to(root)) for path in root.glob("tests/**/test_*.py"))
    first += [_tests("semantics", SEMANTICS, device)]
    return first + [_tests("suite", file, device) for file in files if Path(file) != Path(SEMANTICS)]


def has_tests(root: Path) -> bool:
    """Whether this is a checkout of xpnet: a folder "tests" may be anybody's, even beside an installed package."""
    return (root / SEMANTICS).exists()


def not_run(part: Part, why: str) -> Outcome:
    return Outcome(part.group, part.name, "not run", output=why)


def run_all(chosen: list[Part], root: Path, deadline: float, jobs: int) -> Generator[Outcome, None, None]:
    """Run ``jobs`` parts at a time, in order, and give each outcome as it comes; what does not fit is not run.

    Closing the generator stops what runs and begins nothing more.
    """
    groups = Groups()
    pool = concurrent.futures.ThreadPoolExecutor(jobs)
    try:
        for done in concurrent.futures.as_completed([pool.submit(run, part, root, deadline, groups) for part in chosen]):
            yield done.result()
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        groups.end()


def run(part: Part, root: Path, deadline: float, groups: Groups) -> Outcome:
    """One part; it is stopped at the deadline, with all that it began."""
    began = time.monotonic()
    if deadline - began < 1:
        return not_run(part, "no time was left")
    try:
        with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
            command = [word.replace("{xml}", str(Path(folder, "junit.xml"))) for word in part.command]
            status = groups.run(command, root, _environment(), Path(folder), deadline)
            return _outcome(part, status, Path(folder), time.monotonic() - began)
    except Exception as error:  # what one part breaks does not break the others
        output = f"{type(error).__name__}: {error}"
        return Outcome(part.group, part.name, "failed", time.monotonic() - began, output=output)


def _outcome(part: Part, status: int | None, folder: Path, seconds: float) -> Outcome:
    stdout, stderr = ((folder / name).read_text(encoding="utf-8", errors="replace") for name in ("stdout", "stderr"))
    if status is None:
        return Outcome(part.group, part.name, "timed out", seconds, output=(stdout + stderr)[-TAIL:])
    try:
        found = part.read(stdout, folder / "junit.xml")
    except (ValueError, OSError, ET.ParseError) as error:
        found = {"unreadable": f"{type(error).__name__}: {error}"}
    ok = status == 0 and "unreadable" not in found
    if part.group == "budgets" and ok:
        ok = all(model["ok"] for model in found.values())
    if not ok:
        return Outcome(part.group, part.name, "failed", seconds, found, (stdout + stderr)[-TAIL:])
    skipped = 0 < found.get("tests", 0) == found.get("skipped")
    return Outcome(part.group, part.name, "skipped" if skipped else "passed", seconds, found)


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
    """The same xpnet in every process, installed or not, and one encoding of what it prints."""
    path = os.pathsep.join(filter(None, [str(PACKAGE.parent), os.environ.get("PYTHONPATH", "")]))
    return {**os.environ, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "PYTHONIOENCODING": "utf-8"}
