"""A GPU's part of advice: predicted from the counted work and a profile, or timed where the GPU is here."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

from xpnet.advise import gpu_measure
from xpnet.advise.advice import Advice, Costs, GPUAdvice, Point
from xpnet.advise.counting import Counted
from xpnet.advise.cpu_side import timed
from xpnet.advise.fit import at, line, pays_from
from xpnet.advise.predict import predict
from xpnet.advise.profiles import GPUProfile, measured_profile
from xpnet.advise.room import Room, rooms
from xpnet.advise.subject import Subject
from xpnet.advise.tasks import in_float64
from xpnet.backends import Device

CONTEXT = (0.3, 3.2)  # seconds: what is usual, and cupy/cupy issue 6139
SHARE = 0.9  # of a GPU's memory: the context and what is free in pieces take the rest
COMPILING = 0.1  # seconds a kernel, NVRTC on a processor like this one; later starts read them from a folder


def predicted_advice(subject: Subject, counted: Counted, gpu: GPUProfile, found: Advice, proof: str) -> GPUAdvice:
    points = _predicted(counted, gpu, found)
    prediction = predict(counted(found.batch), gpu)
    what_if = _gpu_what_if(subject, counted, gpu, found)
    return GPUAdvice(
        name=gpu.name,
        measured=False,
        points=points,
        at_batch=prediction,
        predicted=points,
        what_if=what_if,
        proof=proof,
        room=rooms(subject, "sim", gpu.memory_bytes, found.batch),
        **_against_cpu(points, found),
        once=_once(subject, counted, gpu, found, prediction.seconds),
    )


def _predicted(counted: Counted, gpu: GPUProfile, found: Advice) -> list[Point]:
    made = [(p.batch, predict(counted(p.batch), gpu)) for p in found.cpu]
    return [Point(n, p.seconds, p.low, p.high) for n, p in made]


def measured_advice(subject: Subject, counted: Counted, real: Device, found: Advice, proof: str) -> GPUAdvice:
    """Timed on the GPU that is here, with what its measured profile predicts beside it."""
    profile = measured_profile(gpu_measure.measure(real))
    room = rooms(subject, real.name, SHARE * profile.memory_bytes, found.batch)
    if room.largest is not None and room.largest < found.batch:
        raise ValueError(
            f"batch {found.batch:,} needs {room.bytes:.3g} bytes, more than {real.name} has; --batch {room.largest:,}"
        )
    points = timed(subject, real, found.batch, math.inf if room.largest is None else room.largest)
    seconds = next(p.seconds for p in points if p.batch == found.batch)
    return GPUAdvice(
        name=profile.name,
        measured=True,
        points=points,
        at_batch=predict(counted(found.batch), profile),
        predicted=_predicted(counted, profile, found),
        what_if=_measured_what_if(subject, real, found.batch, seconds, room),
        proof=proof,
        room=room,
        **_against_cpu(points, found),
        once=_once(subject, counted, profile, found, seconds),
    )


def _against_cpu(points: list[Point], found: Advice) -> dict[str, Any]:
    """The line, how many times as fast at the batch asked about, and from which batch on it pays; with what is possible."""
    cpu = next(p for p in found.cpu if p.batch == found.batch)
    gpu = {name: [(p.batch, getattr(p, name)) for p in points] for name in ("seconds", "low", "high")}
    here = {name: float(at(curve, found.batch)) for name, curve in gpu.items()}
    curves = [("seconds", "seconds"), ("low", "high"), ("high", "low")]  # likely, at worst, at best
    starts = [pays_from([(p.batch, getattr(p, c)) for p in found.cpu], gpu[g]) for c, g in curves]
    return {
        "line": line(gpu["seconds"]),
        "faster": (cpu.seconds / here["seconds"], cpu.low / here["high"], cpu.high / here["low"]),
        "pays_from": tuple(starts),
    }


COPIED, READ = "each batch copied from the host, instead of data that are there", "the loss read after every step"


def _gpu_what_if(subject: Subject, counted: Counted, gpu: GPUProfile, found: Advice) -> list[tuple[str, float]]:
    """Predicted: how many times as many rows a second as at the batch asked about, on data that are there."""
    work = counted(found.batch)
    base = predict(work, gpu).seconds
    larger = predict(counted(4 * found.batch), gpu).seconds
    x, y = subject.rows(1)
    copying = dataclasses.replace(work, copies=[*work.copies, *(float(a.nbytes * found.batch) for a in (x, y))])
    reading = dataclasses.replace(work, copies=[*work.copies, 4.0], syncs=work.syncs + 1)
    changed = [(COPIED, copying), (READ, reading)]
    if subject.dtype == "float32":
        changed.append(("float64 instead of float32", in_float64(work)))
    return [
        (f"batch {4 * found.batch:,} instead of {found.batch:,}", 4 * base / larger),
        *((name, base / predict(other, gpu).seconds) for name, other in changed),
    ]


def _measured_what_if(subject: Subject, real: Device, batch: int, base: float, room: Room) -> list[tuple[str, float]]:
    """The same, timed on the GPU that is here."""
    found = []
    if room.largest is None or 4 * batch <= room.largest:
        found.append((f"batch {4 * batch:,} instead of {batch:,}", 4 * base / subject.time(real, 4 * batch, 1).seconds))
    changed = [
        (COPIED, subject.time(real, batch, 1, copies=True).seconds),
        (READ, subject.time(real, batch, 1, reads=True).seconds),
    ]
    if not subject.trainer.net.built and subject.dtype == "float32":
        changed.append(("float64 instead of float32", subject.time(real, batch, 1, "float64").seconds))
    return found + [(name, base / t) for name, t in changed]


def _once(subject: Subject, counted: Counted, gpu: GPUProfile, found: Advice, seconds: float) -> Costs:
    """Start of the GPU's context, kernels compiled the first time, the set copied there; and the steps that earn it."""
    kernels = len({task.name for task in counted(found.batch).tasks if not task.product})
    x, y = subject.rows(1)
    copy = (x.nbytes + y.nbytes) * found.rows / gpu.link_pageable_bandwidth
    costs = Costs(
        [("context", *CONTEXT), (f"{kernels} kernels, compiled once a machine", 0.0, COMPILING * kernels), ("data", copy, copy)]
    )
    gain = next(p.seconds for p in found.cpu if p.batch == found.batch) - seconds
    if gain > 0:
        costs.steps = costs.seconds[1] / gain
    return costs
