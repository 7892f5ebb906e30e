"""Measurements in processes of their own: one function of one benchmark, with so many threads, on so many cores.

    python benchmarks/processes.py MODULE FUNCTION '["its", "arguments"]' THREADS

is such a process; it prints one JSON line: what the function returns, a dict, with the ``threads`` that there were in the
end; or ``left_out`` or ``refused``, with the reason. :func:`run` starts one. ``checkout`` is where it finds xpnet: an older
revision can be measured by the benchmarks of this one.
"""

import datetime
import importlib
import json
import os
import subprocess
import sys
from pathlib import Path

from peer import Absent, blas_threads, cores
from worker import THREADS, pin

# No NumPy here, as in worker.py.

HERE = Path(__file__).parent
BLAS = ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS")


def run(module, function, *arguments, threads=THREADS, checkout=None):
    """One process; its answer. One that fails, or ends with other threads, is refused with the reason."""
    found = [checkout, os.environ.get("PYTHONPATH"), str(HERE.parent)]
    done = subprocess.run(
        [sys.executable, str(HERE / "processes.py"), module, function, json.dumps(arguments), str(threads)],
        check=False,
        text=True,
        capture_output=True,
        env={
            **os.environ,
            **dict.fromkeys((*BLAS, "XPNET_THREADS"), str(threads)),
            "PYTHONPATH": os.pathsep.join(str(path) for path in found if path),
        },
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
        return {"refused": f"its process ended with {done.returncode}: {last}"}
    return judged(json.loads(done.stdout.splitlines()[-1]), threads)


def judged(answer, threads):
    """The answer, or why it does not count."""
    unequal = [f"{who} {count}" for who, count in answer.get("threads", {}).items() if count != threads]
    if unequal:
        return {"refused": f"unequal threads: {', '.join(unequal)} at the end, {threads} were asked for"}
    return answer


def device(name):
    """xpnet's device of that name; raises Absent where this xpnet, or this machine, has none."""
    import xpnet as xn

    try:
        return xn.device(name)
    except (xn.DeviceUnavailable, ValueError) as error:
        raise Absent(f"no device {name!r}: {error}") from error


def note_load():
    """Say where others want the cores: threads that wait for one another then wait for those too, many times as long."""
    if (load := os.getloadavg()[0]) > 1:
        print(
            f"other processes keep {load:.1f} cores busy: times, those of two threads above all, are too long", file=sys.stderr
        )


def write(path, **record):
    """A file of what was measured, with what it was measured on."""
    from xpnet.bench import machine

    now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    about = {"machine": machine.describe(), "revision": machine.revision(), "command": sys.argv, "written": now}
    Path(path).write_text(json.dumps(about | record, indent=1) + "\n")


def answer(module, function, arguments):
    """What the function returns, and where that was."""
    from xpnet.bench import machine
    from xpnet.bench.timing import Refused

    try:
        found = getattr(importlib.import_module(module), function)(*arguments)
    except Absent as error:
        return {"left_out": str(error)}
    except Refused as error:
        return {"refused": str(error)}
    threads = {"cores": cores(), **blas_threads(), **found.get("threads", {})}
    return {"revision": machine.revision(), **found, "threads": threads}


if __name__ == "__main__":
    pin(int(sys.argv[4]))
    print(json.dumps(answer(sys.argv[1], sys.argv[2], json.loads(sys.argv[3]))))
