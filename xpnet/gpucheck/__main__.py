"""``python -m xpnet.gpucheck --out DIR``: all checks on a GPU; see the package."""

from __future__ import annotations

import argparse
import dataclasses
import importlib.util
import json
import os
import sys
import time
from pathlib import Path

from xpnet import DeviceUnavailable, __version__, device
from xpnet.gpucheck.page import page, verdict
from xpnet.gpucheck.parts import PACKAGE, Outcome, parts, run_all

SECONDS = 450.0  # ends within eight minutes, writing included


def main() -> int:
    """The exit status is 0 where every part passed, 1 where one did not, 2 where nothing could be run."""
    parser = argparse.ArgumentParser(prog="python -m xpnet.gpucheck", description="Check the GPU path on this machine.")
    parser.add_argument("--out", required=True, metavar="DIR", help="folder for gpucheck.json and gpucheck.md")
    parser.add_argument("--device", default="cuda", help="cuda, cuda:1, ...; sim tries the check itself")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="time for all of it, 450")
    parser.add_argument("--jobs", type=int, default=min(4, os.cpu_count() or 1), help="processes at a time, up to 4")
    options = parser.parse_args()
    try:
        device(options.device)
    except (DeviceUnavailable, ValueError) as error:
        print(f"xpnet.gpucheck: {error}", file=sys.stderr)
        return 2
    if importlib.util.find_spec("pytest") is None:
        print("xpnet.gpucheck: pytest is not installed: pip install pytest", file=sys.stderr)
        return 2
    out = Path(options.out)
    out.mkdir(parents=True, exist_ok=True)
    began = time.monotonic()
    outcomes: list[Outcome] = []
    for outcome in run_all(parts(options.device, _root()), _root(), options.seconds, options.jobs):
        outcomes.append(outcome)
        print(f"{outcome.status:10s} {outcome.seconds:6.1f} s  {outcome.group} {outcome.name}", flush=True)
        _write(out, options.device, outcomes, time.monotonic() - began)  # after each: a killed run leaves what it knows
    print(verdict(outcomes), f"See {out / 'gpucheck.md'}")
    return int(any(o.status != "passed" for o in outcomes))


def _root() -> Path:
    """The checkout: where the tests are, beside the package or in the current folder."""
    return next((root for root in (PACKAGE.parent, Path.cwd()) if (root / "tests").is_dir()), Path.cwd())


def _write(out: Path, name: str, outcomes: list[Outcome], seconds: float) -> None:
    content = {"xpnet": __version__, "device": name, "seconds": seconds, "parts": [dataclasses.asdict(o) for o in outcomes]}
    (out / "gpucheck.json").write_text(json.dumps(content, indent=1) + "\n")
    (out / "gpucheck.md").write_text(page(name, outcomes, seconds))


if __name__ == "__main__":
    sys.exit(main())
