"""Results of two machines, made up: a box of two cores, and one with a GPU."""

from __future__ import annotations

import itertools
import math
import random

from xpnet.bench.results import Case, Check, Result, Run

CPU_BOX = {
    "xpnet": "0.1.0",
    "python": {"version": "3.11.7", "platform": "Linux-6.1-x86_64-with-glibc2.36"},
    "cpu": {"model": "Intel(R) Xeon(R) Processor", "cores": 4, "usable_cores": 2},
    "memory": {"total": 25325268992, "free": 24879747072},
    "numpy": {"version": "2.4.6", "blas": {"name": "openblas", "version": "0.3.31", "threads": 2}},
    "cupy": [],
    "gpus": [],
    "driver": {"cuda": None, "kernel_module": None, "problem": "libcuda.so.1 was not found", "visible": None},
    "kernel": "6.1",
    "load": 0.0,
}
CLOCKS = {"clocks.sm": "1980", "clocks.mem": "3201", "clocks.max.sm": "1980", "power.limit": "700.00"}
GPU = {"index": 0, "name": "NVIDIA H200", "capability": "9.0", "memory": {"total": 150754820096, "free": 150023176192}}
GPU_BOX = CPU_BOX | {
    "cpu": {"model": "AMD EPYC 9534 64-Core Processor", "cores": 16, "usable_cores": 16},
    "cupy": [{"wheel": "cupy-cuda13x", "version": "14.2.0"}],
    "gpus": [GPU | {"clocks": CLOCKS}],
    "driver": {"cuda": "13.0", "kernel_module": "580.95.05", "problem": None, "visible": None},
    "load": 1.25,
}
MODELS = {"784-30-10": 1.0, "784-100-10": 2.8, "784-256-128-10": 9.0}


def result(case: Case, seconds: float, peer: str = "xpnet", difference: float = 2e-7, **options) -> Result:
    """Nine rounds around so many seconds, always the same ones."""
    noise = random.Random(f"{case.name} {peer}")
    rounds = [seconds * math.exp(noise.gauss(0, 0.03)) for _ in range(9)]
    check = Check("gradient, against float64 by another way", difference, 1e-3)
    kept = {"threads_seen": case.threads, "synchronised": True} | options
    return Result(case, rounds, 100, check, peer=peer, **kept)


def forms(device: str = "cpu", threads: tuple[int, ...] = (1, 2), speed: float = 1.0) -> list[Result]:
    """Steps of a few models: calls cost so much, and rows so much more."""
    found = []
    for model, dtype, batch, n in itertools.product(MODELS, ("float32", "float64"), (1, 10, 100, 1000), threads):
        rows = batch * MODELS[model] * (1 if dtype == "float32" else 1.7) / speed / n**0.7
        overhead = 30e-6 if device == "cpu" else 45e-6
        case = Case("forms", model, "matrix", device, batch, dtype, n)
        found.append(result(case, overhead + rows * (0.5e-6 if device == "cpu" else 0.01e-6)))
        found.append(result(Case("forms", model, "per sample", device, batch, dtype, n), batch * overhead * 1.3))
        if device == "cpu" and dtype == "float64" and "256" not in model:
            found.append(result(Case("forms", model, "book", device, batch, dtype, n), batch * 75e-6 * MODELS[model] ** 0.4))
    return found


def others(device: str = "cpu", threads: int = 2) -> list[Result]:
    """The suites that have a table each, and one that nobody knows."""
    found = []
    for model, batch, size in (("784-30-10", 10, 1.0), ("lenet", 64, 80.0)):
        for form, seconds in (("input", 6e-6), ("forward", 21e-6), ("loss", 4e-6), ("backward", 30e-6), ("update", 8e-6)):
            found.append(result(Case("parts", model, form, device, batch, threads=threads), size * seconds))
    for i, form in enumerate(("SGD", "Momentum", "Adam")):
        found.append(result(Case("optimizers", "1,000,000 parameters", form, device), (i + 1) * 0.4e-3))
    for i, form in enumerate(("direct", "patches", "winograd")):
        found.append(result(Case("convolution", "32x32x64, 3x3 to 64", form, device, 32, threads=threads), 8e-3 / (i + 1)))
    feeding = [Case("feeding", "4,096 rows of 784", "rows gathered on the device", device, batch) for batch in (10, 1024)]
    found += [result(case, case.batch * 1e-7) for case in feeding]
    found.append(result(Case("startup", "784-256-128-10", "import", device, 64, threads=threads), 0.21))
    found.append(result(Case("harness", "not xpnet's", "nothing", device), 61e-9))
    found.append(result(Case("sorting", "1,000 numbers", "quick", device), 12e-6))
    for peer, factor in (("xpnet", 1.0), ("torch", 2.3), ("products", 0.8), ("jax", 1.4)):
        for model, batch in (("784-30-10", 10), ("lenet", 64)):
            case = Case("peers", model, "step", device, batch, threads=threads)
            found.append(result(case, 50e-6 * batch**0.5 * factor, peer))
    return found


def runs() -> list[Run]:
    """One of each machine."""
    unreached = {Case("forms", "vgg", "matrix", batch=b, threads=2).name: "not reached before the run ended" for b in (8, 32)}
    resnet = Case("forms", "resnet", "matrix", batch=8).name
    refused = {resnet: "unequal threads: BLAS had 2 at the end, 1 were asked for"}
    first = Run(CPU_BOX, ["xpnet", "bench", "--out", "cpu.json"], "97da853c0ffe", 0, "2026-11-29T01:30:00+00:00", False, 812.4)
    first.results, first.left_out, first.refused = forms() + others(), unreached, refused
    second = Run(GPU_BOX, ["xpnet", "bench", "--device", "cuda"], "97da853c0ffe+", 0, "2026-11-29T02:10:00+00:00", True, 140.0)
    second.results = forms(threads=(1, 4, 16), speed=1.5) + forms("cuda", (1,)) + others("cuda", 1)
    return [first, second]


def one_run(*results, **machine) -> Run:
    """These results and no others, of the box of two cores with ``machine`` in place of what it tells."""
    return Run(CPU_BOX | machine, ["xpnet", "bench"], None, 0, "2026-11-29T01:30:00+00:00", False, results=list(results))
