"""``python -m xpnet.gpucheck --out DIR``: all checks on a GPU; see the package."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import signal
import sys
import time
from pathlib import Path

from xpnet import DeviceUnavailable, __version__, device
from xpnet.gpucheck.page import page, verdict
from xpnet.gpucheck.parts import PACKAGE, Outcome, Part, has_tests, not_run, parts, run_all

SECONDS = 450.0  # ends within eight minutes: half a minute for a GPU that is slow to answer and for what does not die at once
STOPPED = 130  # what shells call the exit status of Ctrl-C


def main() -> int:
    """The exit status: 0 where every part passed, 1 where one did not, 2 where nothing could be run, 130 after Ctrl-C."""
    began = time.monotonic()
    options = _options()
    try:
        device(options.device)
    except (DeviceUnavailable, ValueError) as error:
        print(f"xpnet.gpucheck: {error}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("pytest") is None:
        print("xpnet.gpucheck: pytest is not installed: pip install pytest", file=sys.stderr)
        return 2
    Path(options.out).mkdir(parents=True, exist_ok=True)
    try:
        outcomes = _check(options, began)
    except KeyboardInterrupt:
        print(f"xpnet.gpucheck: stopped. What is known is in {options.out}", file=sys.stderr)
        return STOPPED
    print(verdict(outcomes), f"See {Path(options.out) / 'gpucheck.md'}")
    return int(any(o.status not in ("passed", "skipped") for o in outcomes))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m xpnet.gpucheck", description="Check the GPU path on this machine.")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for gpucheck.json and gpucheck.md")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; sim tries the check itself")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for all of it, 450")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="processes at a time, up to 4")
    options = parser.parse_args()
    if options.jobs < 1:
        parser.error(f"--jobs is at least 1, not {options.jobs}")
    if Path(options.out).is_file():
        parser.error(f"--out is a folder, and {options.out} is a file")
    return options


def _check(options: argparse.Namespace, began: float) -> list[Outcome]:
    """Run all parts and write both files after each of them, so that a run that is killed leaves what it knew."""
    root = _root()
    chosen = parts(options.device, root)
    outcomes = [] if has_tests(root) else [_no_checkout()]
    with contextlib.closing(run_all(chosen, root, began + options.seconds, options.jobs)) as results:
        try:
            for outcome in results:
                outcomes.append(outcome)
                print(f"{outcome.status:10s} {outcome.seconds:6.1f} s  {outcome.group} {outcome.name}", flush=True)
                _write(options, outcomes + _missing(chosen, outcomes), time.monotonic() - began)
        except KeyboardInterrupt:
            _write(options, outcomes + _missing(chosen, outcomes), time.monotonic() - began)
            raise
    return outcomes


def _end_as_ctrl_c_does() -> None:
    """What ends this process ends its parts: being groups of their own, they do not hear of it themselves."""
    for name in ("SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None and signal.getsignal(number) == signal.SIG_DFL:  # nohup ignores SIGHUP, and so it stays
            signal.signal(number, signal.default_int_handler)


def _root() -> Path:
    """The checkout: where the tests are, beside the package or in the current folder."""
    return next((root for root in (PACKAGE.parent, Path.cwd()) if has_tests(root)), Path.cwd())


def _no_checkout() -> Outcome:
    return Outcome("suite", "tests", "not run", output="no checkout of xpnet was found: run it in one")


def _missing(chosen: list[Part], outcomes: list[Outcome]) -> list[Outcome]:
    """The parts without an outcome: neither begun nor at their end when the files were written."""
    known = {(o.group, o.name) for o in outcomes}
    return [not_run(part, "the check did not get to its end") for part in chosen if (part.group, part.name) not in known]


def _write(options: argparse.Namespace, outcomes: list[Outcome], seconds: float) -> None:
    described = [dataclasses.asdict(o) for o in outcomes]
    content = {"xpnet": __version__, "device": options.device, "seconds": seconds, "parts": described}
    out = Path(options.out)
    (out / "gpucheck.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    (out / "gpucheck.md").write_text(page(options.device, outcomes, seconds), encoding="utf-8", errors="replace")


if __name__ == "__main__":
    _end_as_ctrl_c_does()
    sys.exit(main())
