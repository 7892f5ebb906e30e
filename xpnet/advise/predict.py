"""How long a step would take on a GPU that is not here: from its launches, bytes and products, and the GPU's profile.

Host and device work side by side: ``step = max(host, device) + waits + copies``, where the host takes ``host_call`` for each
launch and the device, for each kernel, a constant and what is more of moving its bytes and of its arithmetic. Products go in
tiles to the multiprocessors, so that a small one does not use all of them. docs/advise.md has the method and its errors.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xpnet.advise.profiles import GPUProfile
from xpnet.advise.tasks import Task, Work

TILES = ((128, 128, 1.0), (64, 64, 0.75), (32, 32, 0.45))  # rows, columns, and the share of a large product's rate: ours
SPLITS = (1, 2, 4, 8, 16, 32)  # of the summed axis, where there are few tiles
DEVICE_ERROR = 1.4  # the device's time may be so many times more or less: facts of other predictors, see docs/advise.md
IN_L2 = 0.5  # of the level-2 cache: what is touched between a write and the next read must fit beside the rest


@dataclass(frozen=True)
class Prediction:
    """Seconds of a step, with its parts: ``host`` for launching, and of the device ``kernels`` (constants), ``memory``,
    ``arithmetic``, ``copies`` and ``waits``.

    ``low`` and ``high`` are what the uncertainty of the host's cost of a call and of the device's rates allow.
    """

    seconds: float
    low: float
    high: float
    host: float
    kernels: float
    memory: float
    arithmetic: float
    copies: float
    waits: float

    @property
    def device(self) -> float:
        return self.kernels + self.memory + self.arithmetic

    @property
    def bound(self) -> str:
        """What takes most: "launches", "memory", "arithmetic", "copies" or "waiting"."""
        parts = {"memory": self.memory, "arithmetic": self.arithmetic, "kernel starts": self.kernels}
        inside = "launches" if self.host >= self.device else max(parts, key=lambda name: parts[name])
        whole = {inside: max(self.host, self.device), "copies": self.copies, "waiting": self.waits}
        return max(whole, key=lambda name: whole[name])


def predict(work: Work, gpu: GPUProfile) -> Prediction:
    """The time of a step of this work on this GPU."""
    memory = arithmetic = kernels = 0.0
    resident = _in_cache(work, gpu)
    for task in work.tasks:
        moving, computing = _moving(task, gpu, resident), _computing(task, gpu)
        kernels += max(gpu.launch, gpu.gemm_floor - max(moving, computing) if task.product else 0.0)
        if moving >= computing:
            memory += moving
        else:
            arithmetic += computing
    launches, device = len(work.tasks), memory + arithmetic + kernels
    copies = sum(gpu.copy + nbytes / gpu.link_pageable_bandwidth for nbytes in work.copies)
    waits = work.syncs * gpu.sync

    def step(call: float, error: float) -> float:
        return max(launches * call, device * error) + copies * error + waits

    return Prediction(
        seconds=step(gpu.host_call, 1.0),
        low=step(gpu.host_call_low, 1 / DEVICE_ERROR),
        high=step(gpu.host_call_high, DEVICE_ERROR),
        host=launches * gpu.host_call,
        kernels=kernels,
        memory=memory,
        arithmetic=arithmetic,
        copies=copies,
        waits=waits,
    )


def _in_cache(work: Work, gpu: GPUProfile) -> bool:
    """Whether all that a step touches stays in the level-2 cache; a step touches each of its bytes some four times."""
    return work.total("nbytes") / 4 < IN_L2 * gpu.l2_bytes


def _moving(task: Task, gpu: GPUProfile, resident: bool) -> float:
    """Seconds to read and write a task's bytes; what the task before has just written may still be in the cache."""
    fits = resident or task.nbytes < IN_L2 * gpu.l2_bytes
    return task.nbytes / (gpu.l2_bandwidth if fits else gpu.memory_bandwidth * gpu.memory_efficiency)


def _computing(task: Task, gpu: GPUProfile) -> float:
    """Seconds of a product's arithmetic: whole waves of tiles over the multiprocessors, by the tile that suits it best."""
    if task.product is None:
        return 0.0
    stack, m, k, n = task.product
    nominal = gpu.fp64_flops if task.itemsize == 8 else gpu.fp32_flops
    rate = nominal * gpu.gemm_efficiency
    return min(
        math.ceil(stack * math.ceil(m / tm) * math.ceil(n / tn) * split / gpu.sm_count)
        * (2 * tm * tn * math.ceil(k / split))
        / (rate * share / gpu.sm_count)
        for tm, tn, share in TILES
        for split in SPLITS
        if split == 1 or k / split >= 256
    )
