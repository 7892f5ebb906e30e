"""Training steps of xpnet beside those of other libraries and beside the bare matrix products: ratios of one run.

    python benchmarks/peers.py [--cases a b c d e f] [--libraries xpnet torch jax] [--blocks 5] [--out result.json]
    python benchmarks/peers.py --memory [--cases d e f vgg16]

Each library runs in processes of its own (two thread pools in one process spin against each other), on the same two cores
with two threads each; the processes of the libraries take turns, so that other load on the machine hits all of them. All
start from the same weights. Compiling is outside the clock, waiting for the device inside. Refused, with the reason, are
times after which the device still had work, unequal threads, and losses that differ; libraries that are not installed or
find no GPU are left out, with the reason. The result file is one of ``xpnet.bench.results``.
With --memory it is the largest resident set of a few steps, less that after the import, and beside it xpnet's forecast.
"""

import argparse
import datetime
import importlib.metadata
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import networks
from cases import CASES, ON_A_GPU
from worker import THREADS, WARM_UP

from xpnet.bench import machine, results

HERE = Path(__file__).parent
BLOCKS = 5  # processes of each library
ROUNDS = 5  # in one process
TOLERANCE = 2e-4  # of the losses of the first steps, relative
DISTRIBUTIONS = ("torch", "jax", "jaxlib", "scikit-learn")
BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def run(library, case, rounds=ROUNDS):
    """One process; its answer. One that fails is refused with the last line of what it said."""
    path = os.pathsep.join([str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    threads = dict.fromkeys((*BLAS, "XPNET_THREADS"), str(THREADS))
    done = subprocess.run(
        [sys.executable, str(HERE / "worker.py"), library, case, str(rounds)],
        check=False,
        text=True,
        capture_output=True,
        env={**os.environ, **threads, "PYTHONPATH": path},
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {"refused": f"its process ended with {done.returncode}: {last}"}
    return json.loads(done.stdout.splitlines()[-1])


def ask(name, libraries, blocks):
    """Answers of the processes by library, which take turns ``blocks`` times over, and who was left out for which reason."""
    answers, left_out = {}, {}
    for _ in range(blocks):
        for library in libraries:
            known = answers.setdefault(library, [])
            if library in left_out or any("refused" in answer for answer in known):
                continue
            answer = run(library, name)
            if "left_out" in answer:
                left_out[library] = answer["left_out"]
            else:
                known.append(answer)
    return {library: known for library, known in answers.items() if known}, left_out


def judge(case, answers):
    """Results of those whose answers may be compared, and of the others the reasons."""
    refused = {library: reason for library, known in answers.items() if (reason := objection(known))}
    kept = {library: known for library, known in answers.items() if library not in refused}
    losses = {library: [a["losses"] for a in known] for library, known in kept.items() if "losses" in known[0]}
    first = next(iter(losses), None)
    differences = {library: difference(found, losses[first][0]) for library, found in losses.items()}
    for library, d in differences.items():
        if not d <= TOLERANCE:
            refused[library] = f"it and {first} do not compute the same: losses {losses[library][0]} and {losses[first][0]}"
    others = [d for library, d in differences.items() if library not in (first, *refused)]
    if first is not None:
        differences[first] = max(others, default=float("nan"))  # it is right as far as another one says the same
    made = {library: result(case, library, known, differences) for library, known in kept.items() if library not in refused}
    return made, refused


def objection(answers):
    """Why the answers of one library's processes do not count; None where they do."""
    for answer in answers:
        if "refused" in answer:
            return answer["refused"]
        unequal = [f"{who} {count}" for who, count in answer["threads"].items() if count != THREADS]
        if unequal:
            return f"unequal threads: {', '.join(unequal)} at the end, where everyone was to have {THREADS}"
    return None


def difference(found, right):
    """The largest one of these lists of losses from the right ones, relative; NaN where one is NaN."""
    each = [abs(v - w) / max(abs(w), 1e-3) for losses in found for v, w in zip(losses, right, strict=True)]
    return float("nan") if any(d != d for d in each) else max(each)


def result(case, library, answers, differences):
    losses = (f"losses of the first {WARM_UP} steps, against another library's", differences.get(library), TOLERANCE)
    device = "cuda" if library in ON_A_GPU else "cpu"
    return results.Result(
        results.Case("peers", case.text, "step", device, case.batch, "float32", THREADS),
        [s for answer in answers for s in answer["seconds"]],
        case.steps,
        results.Check(*answers[0].get("check", losses)),
        THREADS,  # all answers said so
        synchronised=True,
        peer="xpnet" if library == "xpnet-cuda" else library,  # what is timed on a GPU is compared with xpnet there
    )


def speed(names, libraries, blocks, out):
    """Print and, where ``out`` names a file, write; ends with an error where something was refused."""
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    about = {**machine.describe(), "libraries": versions()}
    made = results.Run(about, sys.argv, machine.revision(), networks.SEED, now, quick=blocks < BLOCKS)
    start = time.perf_counter()
    for name in names:
        case = CASES[name]
        print(case, flush=True)
        answers, left_out = ask(name, [lib for lib in chosen(case, libraries) if lib not in made.left_out], blocks)
        found, refused = judge(case, answers)
        made.results += found.values()
        made.left_out |= left_out
        made.refused |= {f"{case.text}: {library}": reason for library, reason in refused.items()}
        tell(case, found, {**left_out, **refused})
        made.seconds = time.perf_counter() - start
        if out:
            results.write(Path(out), [made])
    if made.refused:
        raise SystemExit(f"refused: {'; '.join(made.refused)}")


def tell(case, found, without):
    """The times of one case, for people; ratios to the first library's."""
    first = next(iter(found.values()), None)
    for library, r in found.items():
        low, high = (1e6 * q for q in r.quartiles)
        print(
            f"  {library:19s} {r.per_second:10,.0f} samples/s   step {r.median * 1e6:9.1f} us   "
            f"quartiles {low:.1f} .. {high:.1f}   {r.median / first.median:5.2f} x {first.peer}"
        )
    for library, reason in without.items():
        print(f"  {library:19s} {reason}")
    sys.stdout.flush()


def memory(names, libraries, out):
    found = {}
    for name in names:
        print(CASES[name], flush=True)
        found[name] = {library: run(library, name, rounds=0) for library in libraries}
        tell_memory(found[name])
    if out:
        record = {"machine": machine.describe(), "command": sys.argv, "unit": "bytes", "cases": found}
        Path(out).write_text(json.dumps(record, indent=1) + "\n")


def tell_memory(answers):
    """Bytes as MiB; ratios to the first library's."""
    first = next((r["bytes"] for r in answers.values() if "bytes" in r), None)
    for library, r in answers.items():
        text = r.get("left_out") or r.get("refused")
        text = text or f"{r['bytes'] / 2**20:8.0f} MiB   {r['bytes'] / first:5.2f} x the first's"
        if "forecast" in r:
            text += f"   forecast {r['forecast'] / 2**20:.0f} MiB, {r['forecast'] / r['bytes']:.2f} of it"
        print(f"  {library:19s} {text}", flush=True)


def chosen(case, libraries):
    """The case's libraries, or those of them that were asked for."""
    return [library for library in case.libraries if not libraries or library in libraries]


def versions():
    """Of the libraries that are installed."""
    installed = {d.metadata["Name"] for d in importlib.metadata.distributions()}
    return {name: importlib.metadata.version(name) for name in DISTRIBUTIONS if name in installed}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=list(CASES))
    known = dict.fromkeys(library for case in CASES.values() for library in case.libraries)
    parser.add_argument("--libraries", nargs="+", choices=list(known), help="these only, where the case has them")
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="processes of each library")
    parser.add_argument("--memory", action="store_true", help="memory of image cases, in xpnet and PyTorch, instead of speed")
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    if options.memory:
        return memory(options.cases or [*"def", "vgg16"], options.libraries or ["xpnet", "torch"], options.out)
    if "vgg16" in (options.cases or ()):
        parser.error("vgg16 is there for --memory: its dropout draws other numbers in every library")
    return speed(options.cases or list("abcdef"), options.libraries, options.blocks, options.out)


if __name__ == "__main__":
    main()
