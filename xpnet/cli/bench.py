"""``xpnet bench``: how quick training is on this machine, in a file that ``xpnet report`` and ``xpnet compare`` read."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path


def add_to(verbs: argparse._SubParsersAction) -> None:
    """Add the verb and its options."""
    parser = verbs.add_parser(
        "bench",
        help="time training steps on this machine",
        description="Time the book's program, xpnet's per-sample loop and its matrix form, parts of a step, update\n"
        "rules, convolution methods, feeding and start-up, each checked for right results. Ctrl-C keeps what\n"
        "is finished. The exit status is 1 where a case was refused, and otherwise 0.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.set_defaults(run=run)
    parser.add_argument("--quick", action="store_true", help="fewer cases, less than three minutes")
    parser.add_argument(
        "--device", nargs="+", metavar="DEVICE", help="cpu, cuda, ...; where not given the CPU, and a GPU that works"
    )
    parser.add_argument("--suite", nargs="+", metavar="SUITE", help="some of: harness forms parts optimizers convolution ...")
    parser.add_argument("--seconds", type=float, help="the most it may take: 150 with --quick, otherwise 1800")
    parser.add_argument("--out", type=Path, metavar="FILE", help="write everything there as JSON")
    parser.add_argument("--profile", action="store_true", help="measure what advise predicts from instead: a machine's profile")
    parser.add_argument("--traceback", action="store_true", help="show where an error came from")


def run(arguments: argparse.Namespace) -> int:
    """Run the suites and print the tables; 1 where a case was refused."""
    from xpnet.bench.running import SECONDS, Runner
    from xpnet.bench.suites import SUITES, cases
    from xpnet.bench.text import page
    from xpnet.checks import check_number, closest
    from xpnet.pages import check_target

    if arguments.out:
        check_target(arguments.out)
    for name in arguments.suite or ():
        if name not in SUITES:
            raise ValueError(f"no suite is called {name!r}{closest(name, list(SUITES))}: there are {', '.join(SUITES)}")
    if arguments.profile:
        return _profile(arguments)
    seconds = SECONDS[arguments.quick]
    if arguments.seconds is not None:
        seconds = check_number("--seconds", arguments.seconds, above=0.0)
    chosen = [c for d in _devices(arguments.device) for c in cases(d, arguments.suite, quick=arguments.quick)]
    runner = Runner(chosen, seconds=seconds, out=arguments.out, quick=arguments.quick)
    try:
        runner()
    except KeyboardInterrupt:
        kept = f"; {len(runner.run.results)} finished cases are in {arguments.out}" if arguments.out else ""
        print(f"stopped{kept}", file=sys.stderr)
        return 130
    print(page([runner.run]))
    if arguments.out:
        print(f"\nwrote {arguments.out}")
    return int(bool(runner.run.refused))


def _devices(names: list[str] | None) -> list[str]:
    """Those asked for, else the CPU and a GPU that works; the simulated one computes on the CPU, so its times say nothing."""
    from xpnet.backends import resolve

    if names is None:
        auto = resolve("auto").device
        return ["cpu"] + ([auto.name] if auto.kind == "cuda" else [])
    for name in names:
        if resolve(name).device.kind == "sim":
            raise ValueError(f"{name}: the simulated GPU has no clock; xpnet advise --gpu NAME predicts from what it counts")
    return names


def _profile(arguments: argparse.Namespace) -> int:
    """Measure the CPU and a GPU, if there is one, and write or print the file that advise takes."""
    from xpnet.advise import profiling
    from xpnet.backends import resolve
    from xpnet.pages import save

    gpus = [resolve(name).device for name in _devices(arguments.device) if resolve(name).device.kind == "cuda"]
    found = profiling.measure(gpus[0] if gpus else None, note=lambda text: print(f"measuring {text}", file=sys.stderr))
    text = json.dumps(found, indent=1)
    if arguments.out:
        save(text + "\n", arguments.out)
        print(f"wrote {arguments.out}")
    else:
        print(text)
    return 0
