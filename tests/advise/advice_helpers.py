"""Advice made up by hand: four GPUs, of which one is measured, one is too close to call and one never pays."""

from __future__ import annotations

from xpnet.advise.advice import Advice, Costs, GPUAdvice, Point
from xpnet.advise.fit import line, pays_from
from xpnet.advise.predict import Prediction
from xpnet.advise.room import Room

BATCH = 256
BATCHES = (1, 4, 16, 64, 256, 1024, 4096)
MACHINE = {
    "xpnet": "0.1.0",
    "python": {"version": "3.12.4", "platform": "Linux-6.1-x86_64-with-glibc2.36"},
    "cpu": {"model": "Example CPU 9000", "cores": 8, "usable_cores": 8},
    "memory": {"total": 32 << 30, "free": 30 << 30},
    "numpy": {"version": "2.4.6", "blas": {"name": "openblas", "version": "0.3.31", "threads": 8}},
    "cupy": [],
    "gpus": [],
    "driver": {"cuda": None, "kernel_module": None},
    "kernel": "6.1",
    "load": 0.25,
}


def curve(fixed: float, each: float, spread: float, threads: int = 1) -> list[Point]:
    """By batch, a straight line and a little more in the middle, ``spread`` times as much or as little being possible."""
    times = {n: (fixed + each * n) * (1.1 if n == 64 else 1.0) for n in BATCHES}
    return [Point(n, t, t / spread, t * spread, threads if n > 16 else 1) for n, t in times.items()]


def gpu(name: str, fixed: float, each: float, cpu: list[Point], *, measured: bool = False, spread: float = 1.4) -> GPUAdvice:
    """One whose step takes so long; what is derived from it is, as in advise."""
    points = curve(fixed, each, 1.03 if measured else spread)
    ends = [("seconds", "seconds"), ("low", "high"), ("high", "low")]
    starts = [pays_from(_curve(cpu, ours), _curve(points, theirs)) for ours, theirs in ends]
    here, there = (next(p for p in c if p.batch == BATCH) for c in (cpu, points))
    gain = here.seconds - there.seconds
    parts = {"host": fixed, "kernels": 0.4 * fixed, "memory": 0.7 * each * BATCH, "arithmetic": 0.3 * each * BATCH}
    return GPUAdvice(
        name=name,
        measured=measured,
        points=points,
        line=line([(p.batch, p.seconds) for p in points]),
        faster=(here.seconds / there.seconds, here.low / there.high, here.high / there.low),
        pays_from=tuple(starts),
        at_batch=Prediction(there.seconds, there.low, there.high, copies=0.0, waits=0.0, **parts),
        predicted=curve(1.2 * fixed, each, spread) if measured else points,
        what_if=[
            ("batch 1,024 instead of 256", 2.94),
            ("each batch copied from the host, instead of data that are there", 0.61),
            ("the loss read after every step", 0.92),
        ],
        once=Costs(
            [("context", 0.3, 3.2), ("11 kernels, compiled once a machine", 0.0, 1.1), ("data", 0.04, 0.04)],
            4.34 / gain if gain > 0 else None,
        ),
        room=Room(3.1e6, 16.0 * 2**30, 4_812_345),
        proof="cpu and sim: 3 steps, the same within 1e-05; furthest apart at step 3 in Affine 2 (W).",
    )


def _curve(points: list[Point], end: str) -> list[tuple[float, float]]:
    return [(p.batch, getattr(p, end)) for p in points]


def advice(gpus: bool = True) -> Advice:
    """On a model of 784-100-10, whose step at batch 256 takes 0.6 ms on the CPU."""
    cpu = curve(60e-6, 2.1e-6, 1.04, threads=8)
    found = Advice(
        model="mine.py:classifier",
        batch=BATCH,
        rows=60_000,
        card={"parameters": 79_510, "layers": 4, "dtype": "float32", "input": [784], "flops_per_row": 476_400},
        machine=MACHINE,
        cpu=cpu,
        cpu_line=line([(p.batch, p.seconds) for p in cpu]),
        cpu_predicted=curve(50e-6, 2.4e-6, 1.3, threads=8),
        cpu_parts={"products": 330e-6, "memory and elements": 210e-6, "calls": 60e-6, "flops": 122e6, "bytes": 8.3e6},
        ceilings={"flops": 410e9, "bytes": 21e9, "calls": 2.1e6},
        what_if=[("batch 1,024 instead of 256", 1.08), ("1 thread instead of 8", 0.41), ("float64 instead of float32", 0.55)],
        cpu_room=Room(2.4e6, 30.0 * 2**30, 8_123_456),
        seconds=41.3,
    )
    if gpus:
        found.gpus = [
            gpu("H200", 110e-6, 0.03e-6, cpu),
            gpu("NVIDIA GeForce RTX 4090", 180e-6, 0.08e-6, cpu, measured=True),
            gpu("T4", 500e-6, 0.3e-6, cpu, spread=1.5),
            gpu("K80", 900e-6, 3.4e-6, cpu),
        ]
    return found
