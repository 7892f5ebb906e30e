"""Time training steps of one case with one library, in this process alone; prints one JSON line.

python benchmarks/worker.py LIBRARY CASE ROUNDS

LIBRARY: a name in PEERS. The line has ``seconds`` (of a step, one figure a round), ``losses`` of the first steps and
``threads``; or ``left_out`` or ``refused``, with the reason. With ROUNDS 0 it measures memory: the largest resident set of the
process in a few steps, less what it was when the library was imported, in bytes.
"""

import importlib
import json
import os
import re
import sys
from pathlib import Path

from cases import CASES
from peer import Absent, cores, needed

# No NumPy here: BLAS starts its threads when NumPy is imported, and only those that start after ``pin`` keep to its cores.

WARM_UP = 4  # steps whose losses are compared: xpnet replays the third, and what that did to the weights shows in the fourth
THREADS = 2
PEERS = {
    "xpnet": ("in_xpnet", {}),
    "xpnet-fast": ("in_xpnet", {"device": "cpu-fast"}),
    "xpnet-cuda": ("in_xpnet", {"device": "cuda"}),
    "sim": ("in_xpnet", {"device": "sim"}),
    "ledger": ("in_xpnet", {"device": "sim", "ledger": True}),
    "products": ("in_numpy", {}),
    "torch": ("in_torch", {"threads": THREADS}),
    "torch-channels-last": ("in_torch", {"threads": THREADS, "channels_last": True}),
    "torch-compile": ("in_torch", {"threads": THREADS, "compiled": True}),
    "torch-cuda": ("in_torch", {"threads": THREADS, "device": "cuda"}),
    "torch-cuda-compile": ("in_torch", {"threads": THREADS, "device": "cuda", "compiled": True}),
    "torch-cuda-graphs": ("in_torch", {"threads": THREADS, "device": "cuda", "graphs": True}),
    "jax": ("in_jax", {}),
    "scikit-learn": ("in_sklearn", {}),
}


def pin(count):
    """Keep this process to so many of its cores, to different ones before second threads of one, where the system can."""
    if not hasattr(os, "sched_setaffinity"):
        return
    usable, seen, ranked = sorted(os.sched_getaffinity(0)), [], []
    for core in usable:
        siblings = Path(f"/sys/devices/system/cpu/cpu{core}/topology/thread_siblings_list")
        physical = siblings.read_text() if siblings.exists() else core
        ranked.append((seen.count(physical), core))
        seen.append(physical)
    os.sched_setaffinity(0, [core for _, core in sorted(ranked)[:count]])


def peer_of(library, case):
    module, options = PEERS[library]
    return importlib.import_module(module).peer(case, **options)


def speed(peer, steps, rounds):
    """What the peer's steps take, and what must be known before that counts; raises timing.Refused where it cannot count."""
    from xpnet.bench import timing

    losses = [float(peer.call()) for _ in range(WARM_UP)]
    work = timing.Work(peer.call, peer.verify, peer.device)
    seconds = [timing.timed(work, steps) / steps for _ in range(rounds)]
    proof = {"check": peer.verify()} if peer.verify else {"losses": losses}
    return {"seconds": seconds, "threads": {"cores": cores(), **peer.threads()}, **proof}


def memory(library, case):
    """Bytes at most in memory during the first steps, less those after the import."""
    needed(library, library)
    before = resident("VmRSS")
    call = peer_of(library, case).call
    for _ in range(max(case.steps, 4)):
        call()
    found = {"library": library, "case": case.name, "bytes": resident("VmHWM") - before}
    if library == "xpnet":
        from in_xpnet import network

        from xpnet.forecast import forecast

        told = forecast(network(case).build(case.shape), case.batch)
        found["forecast"] = told.total + told.vector  # momentum has one
    return found


def resident(what):
    """Bytes in memory, VmRSS now or VmHWM at most until now; ``ru_maxrss`` would count what the parent process had."""
    return int(re.search(rf"{what}:\s+(\d+) kB", Path("/proc/self/status").read_text())[1]) * 1024


def answer(library, case, rounds):
    from xpnet.bench.timing import Refused

    try:
        return speed(peer_of(library, case), case.steps, rounds) if rounds else memory(library, case)
    except Absent as error:
        return {"left_out": str(error)}
    except Refused as error:
        return {"refused": str(error)}


if __name__ == "__main__":
    pin(THREADS)
    print(json.dumps(answer(sys.argv[1], CASES[sys.argv[2]], int(sys.argv[3]))))
