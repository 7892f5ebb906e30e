"""What an update alone takes: Adam on the parameters of the cases (b) and (c), in xpnet and in PyTorch.

    python benchmarks/optimizer_speed.py [--cases b c] [--who "xpnet" "torch fused"] [--blocks 5] [--out result.json]

xpnet with one thread and with two, on the devices "cpu" and "cpu-fast" (with Numba); PyTorch's Adam as a loop over the
parameters, with ``foreach`` and with ``fused``, with two threads. Each in processes of its own, which take turns. Gradients are
the same for all and stay what they are; the first three updates are checked against Adam in float64. The result file is one of
``xpnet.bench.results``.
"""

import argparse
import datetime
import itertools
import math
import sys
import time
from pathlib import Path

import in_xpnet
import numpy as np
import processes
from cases import CASES
from peer import needed

import xpnet as xn
from xpnet.bench import machine, results

STEPS, TOLERANCE = 3, 1e-3  # updates that are checked; difference from the right change, as a part of the largest change
BLOCKS, ROUNDS, ROUND_SECONDS = 5, 10, 0.02
RATE, BETA1, BETA2, EPSILON = 1e-3, 0.9, 0.999, 1e-8
WHO = {  # threads, function, arguments
    "xpnet": (2, "xpnets_update", ["cpu"]),
    "xpnet, 1 thread": (1, "xpnets_update", ["cpu"]),
    "xpnet cpu-fast": (2, "xpnets_update", ["cpu-fast"]),
    "xpnet cpu-fast, 1 thread": (1, "xpnets_update", ["cpu-fast"]),
    "torch loop": (2, "torchs_update", ["foreach", False]),
    "torch foreach": (2, "torchs_update", ["foreach", True]),
    "torch fused": (2, "torchs_update", ["fused", True]),
}


def shapes(case):
    return [shape for n, m in itertools.pairwise(case.sizes) for shape in ((n, m), (m,))]


def count(case):
    return sum(map(math.prod, shapes(case)))


def numbers(case):
    """Parameters in one vector, and their gradients: some of either sign, none so small that its square is denormal."""
    rng = np.random.default_rng(0)
    w, g = (rng.standard_normal(count(case)).astype(np.float32) for _ in range(2))
    return 0.1 * w, np.where(abs(g) < 1e-3, np.float32(1e-3), g)


def xpnets_update(name, device):
    """In a process of its own: xpnet's update, in the layers' order of the case."""

    case, device = CASES[name], processes.device(device)
    parameters = in_xpnet.network(case).build(case.shape, device=device).parameters
    optimizer = xn.Adam(RATE, BETA1, BETA2, EPSILON)
    w, g = numbers(case)
    parameters.value[:], parameters.grad[:] = w, g
    found = timed(case, lambda: optimizer.update(parameters), lambda: np.array(parameters.value))
    return {**found, "threads": {"xpnet's workers": device.threads}}


def torchs_update(name, option, value):
    """In a process of its own: PyTorch's update of the same parameters."""
    torch, case = needed("torch", "torch"), CASES[name]
    torch.set_num_threads(processes.THREADS)
    w, g = (split(case, torch.from_numpy(a)) for a in numbers(case))
    parameters = [torch.nn.Parameter(each.clone()) for each in w]
    for parameter, gradient in zip(parameters, g, strict=True):
        parameter.grad = gradient.clone()
    optimizer = torch.optim.Adam(parameters, RATE, (BETA1, BETA2), EPSILON, **{option: value})

    def read():
        return torch.cat([p.detach().reshape(-1) for p in parameters]).numpy()

    return {**timed(case, optimizer.step, read), "threads": {"torch": torch.get_num_threads()}}


def split(case, vector):
    """The vector's parts in the parameters' shapes."""
    found, start = [], 0
    for shape in shapes(case):
        found.append(vector[start : start + math.prod(shape)].reshape(shape))
        start += math.prod(shape)
    return found


def timed(case, update, read):
    """Seconds of an update, one figure a round, and how far the first ones are from Adam in float64."""
    difference = checked(case, update, read)
    update()
    start = time.perf_counter()
    update()
    calls = max(1, round(ROUND_SECONDS / (time.perf_counter() - start)))
    seconds = []
    for _ in range(ROUNDS):
        start = time.perf_counter()
        for _ in range(calls):
            update()
        seconds.append((time.perf_counter() - start) / calls)
    return {"seconds": seconds, "calls": calls, "difference": difference}


def checked(case, update, read):
    """The largest difference of a parameter's change in the first updates, as a part of the largest change."""
    start, g = (a.astype("float64") for a in numbers(case))
    w, m, v = start, np.zeros_like(start), np.zeros_like(start)
    for step in range(1, STEPS + 1):
        update()
        m, v = BETA1 * m + (1 - BETA1) * g, BETA2 * v + (1 - BETA2) * g * g
        w = w - RATE * m / (1 - BETA1**step) / (np.sqrt(v / (1 - BETA2**step)) + EPSILON)
    return float(abs(read() - w).max() / abs(w - start).max())


def ask(name, who, blocks):
    """Answers of the processes by who was asked, in turns, and the reasons of those left out or refused."""
    answers, left_out, refused = {}, {}, {}
    for _ in range(blocks):
        for one in who:
            if one in left_out or one in refused:
                continue
            threads, function, arguments = WHO[one]
            answer = processes.run("optimizer_speed", function, name, *arguments, threads=threads)
            if "left_out" in answer:
                left_out[one] = answer["left_out"]
            elif reason := objection(answer):
                refused[one] = reason
            else:
                answers.setdefault(one, []).append(answer)
    return {one: found for one, found in answers.items() if one not in refused}, left_out, refused


def objection(answer):
    """Why a process's answer does not count; None where it does."""
    if "refused" in answer:
        return answer["refused"]
    if not answer["difference"] <= TOLERANCE:
        return f"not Adam: {STEPS} updates are {answer['difference']:.2g} of the largest change away from those in float64"
    return None


def result(name, one, answers):
    threads, device = WHO[one][0], "cpu-fast" if "cpu-fast" in one else "cpu"
    check = results.Check(f"{STEPS} updates, against float64", max(a["difference"] for a in answers), TOLERANCE)
    return results.Result(
        results.Case("update alone", f"Adam, {count(CASES[name]):,} parameters", "update", device, 0, "float32", threads),
        [s for a in answers for s in a["seconds"]],
        answers[0]["calls"],
        check,
        threads,  # otherwise processes.run had refused it
        synchronised=True,
        peer="xpnet" if one.startswith("xpnet") else one,
    )


def tell(found, without):
    """The times of one case, for people; how many times as long as the first's."""
    first = next(iter(found.values()), None)
    for one, r in found.items():
        low, high = (1e3 * q for q in r.quartiles)
        ratio = f"{r.median / first.median:5.2f} x {next(iter(found))}"
        print(f"  {one:25s} {1e3 * r.median:8.3f} ms   quartiles {low:.3f} .. {high:.3f}   {ratio}")
    for one, reason in without.items():
        print(f"  {one:25s} {reason}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cases", nargs="+", choices=["a", "b", "c"], default=["b", "c"])
    parser.add_argument("--who", nargs="+", choices=list(WHO), default=list(WHO))
    parser.add_argument("--blocks", type=int, default=BLOCKS, help="processes of each")
    parser.add_argument("--out", help="write everything as JSON")
    options = parser.parse_args()
    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    run = results.Run(machine.describe(), sys.argv, machine.revision(), 0, now, quick=options.blocks < BLOCKS)
    processes.note_load()
    start = time.perf_counter()
    for name in options.cases:
        print(f"({name}) Adam, {count(CASES[name]):,} parameters", flush=True)
        answers, left_out, refused = ask(name, options.who, options.blocks)
        found = {one: result(name, one, known) for one, known in answers.items()}
        tell(found, left_out | refused)
        run.results += found.values()
        run.left_out |= left_out
        run.refused |= {f"({name}) {one}": reason for one, reason in refused.items()}
    run.seconds = time.perf_counter() - start
    if options.out:
        results.write(Path(options.out), [run])
    sys.exit(f"refused: {run.refused}" if run.refused else None)


if __name__ == "__main__":
    main()
