"""Where a training step's time goes: products, elementwise calls, copies, update, waiting and Python, which add up to the step.

    python benchmarks/step_profile.py [--cases a b c d e f] [--device cpu-fast] [--out result.json]
    python benchmarks/step_profile.py --before CHECKOUT        # and the same of another revision's, in turns

The parts are those of call_times.py. Cases as in peers.py, with two threads, each in processes of its own; but the learning
rate is 1e-12, so that numbers stay what they are. ``CHECKOUT`` is a folder with an older xpnet (``git worktree add``):
its processes and those of this one take turns.
"""

import argparse
import dataclasses
import statistics
import sys
import time

import in_xpnet
import networks
import processes
from call_times import FEWEST, LEARNING_RATE, PARTS, Profile
from cases import CASES

BLOCKS, SECONDS = 3, 4.0  # processes of each revision, and how long each takes rounds


def measured(name, device, seconds):
    """In a process of its own: rounds of one case for so long."""
    case, device = dataclasses.replace(CASES[name], learning_rate=LEARNING_RATE), processes.device(device)
    profile = Profile(lambda d: in_xpnet.made(case, d), *networks.rows(case), device)
    rounds, start = 0, time.perf_counter()
    while time.perf_counter() - start < seconds or rounds < FEWEST:
        profile.round()
        rounds += 1
    return {**profile.result(), "threads": {"xpnet's workers": device.threads}}


def joined(answers):
    """One result of those processes that count: medians of what they found, and all their rounds; or why there is none."""
    counting = [a for a in answers if "parts" in a]
    reasons = [a.get("left_out") or a["refused"] for a in answers if "parts" not in a]
    if not counting:
        return {key: reasons[0] for key in ("left_out", "refused") if key in answers[0]}
    seconds = [s for a in counting for s in a["seconds"]]
    whole = statistics.median(seconds)
    shares = {name: statistics.median(a["parts"][name]["share"] for a in counting) for name in PARTS}
    shares["python"] = 1 - sum(shares[name] for name in PARTS if name != "python")
    low, _, high = statistics.quantiles(seconds, n=4, method="inclusive")
    parts = {name: joined_part(name, share, whole, counting) for name, share in shares.items()}
    middle = sorted(counting, key=lambda a: a["median"])[len(counting) // 2]
    rest = {key: middle[key] for key in middle.keys() - {"seconds", "median", "quartiles", "parts"}}
    return {"median": whole, "quartiles": [low, high], "parts": parts, "not_counted": reasons, "seconds": seconds, **rest}


def joined_part(name, share, whole, answers):
    each = [a["parts"][name]["share"] for a in answers]
    return {"seconds": share * whole, "share": share, "processes": [min(each), max(each)]}


def profiles(name, options):
    """Results by "before" and "after"; the processes take turns. Where some are refused, as many more are asked."""
    checkouts = {"before": options.before, "after": None} if options.before else {"after": None}
    answers = {which: [] for which in checkouts}
    for _ in range(2 * options.blocks):
        for which, checkout in checkouts.items():
            if enough(answers[which], options.blocks):
                continue
            given = name, options.device if which == "after" else "cpu", options.seconds
            found = processes.run("step_profile", "measured", *given, threads=options.threads, checkout=checkout)
            answers[which].append(found)
    return {which: joined(found) for which, found in answers.items()}


def enough(answers, blocks):
    """Whether so many count, or none will."""
    return sum("parts" in a for a in answers) == blocks or any("left_out" in a for a in answers)


def table(found):
    """The profiles of all cases as Markdown: of each part its time and what part of the step it is."""
    heads = ["case", "", "step", *PARTS[:-1], "Python", "calls", "made by"]
    rows = [row(name, which, r) for name, by in found.items() for which, r in by.items()]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (heads, ["---"] * len(heads), *rows))


def row(name, which, r):
    if "parts" not in r:
        return [f"({name})", which, f"not measured: {r.get('left_out') or r['refused']}", *[""] * (len(PARTS) + 2)]
    low, high = map(duration, r["quartiles"])
    parts = [f"{duration(r['parts'][h]['seconds'])}, {r['parts'][h]['share']:.0%}" for h in PARTS]
    return [f"({name})", which, f"{duration(r['median'])} [{low}, {high}]", *parts, str(r["numpy_calls"]), r["how"]]


def duration(seconds):
    """Microseconds, however many, so that the parts of a step are seen to add up."""
    us = 1e6 * seconds
    return f"{us:,.1f} us" if abs(us) < 100 else f"{us:,.0f} us"


def longest(name, by, count=6):
    """The functions in which a step is longest, for people."""
    for which, r in by.items():
        for entry in r.get("functions", ())[:count]:
            text = f"{entry['kind']:12s} {entry['function']:16s} {entry['calls']:5d} calls"
            print(f"  ({name}) {which:6s} {text} {duration(entry['seconds']):>12s} {entry['seconds'] / r['median']:4.0%}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list("abcdef"), default=list("abcdef"))
    parser.add_argument("--device", default="cpu", help="cpu, or cpu-fast (with Numba)")
    parser.add_argument("--before", metavar="CHECKOUT", help="a folder with another xpnet, profiled on the cpu beside this one")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="processes of each")
    parser.add_argument("--seconds", type=float, default=SECONDS, help="of rounds in each process")
    parser.add_argument("--threads", type=int, default=processes.THREADS)
    parser.add_argument("--functions", action="store_true", help="also the functions in which each step is longest")
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    processes.note_load()
    found = {}
    for name in options.cases:
        print(CASES[name], flush=True)
        found[name] = profiles(name, options)
        if options.functions:
            longest(name, found[name])
    print(table(found))
    for name, which, r in [(name, which, r) for name, by in found.items() for which, r in by.items()]:
        for reason in r.get("not_counted", ()):
            print(f"({name}) {which}: a process did not count: {reason}")
    if options.out:
        processes.write(options.out, device=options.device, cases=found)
    refused = {(name, which): r["refused"] for name, by in found.items() for which, r in by.items() if "refused" in r}
    sys.exit("; ".join(f"refused: ({name}) {which}: {reason}" for (name, which), reason in refused.items()) or None)


if __name__ == "__main__":
    main()
