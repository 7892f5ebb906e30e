"""Whether a GPU pays off for a model: measured where the device is here, predicted where it is not."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from xpnet.advise import cpu_measure, cpu_side
from xpnet.advise.advice import Advice
from xpnet.advise.counting import Counted
from xpnet.advise.cpu_profile import CPUProfile
from xpnet.advise.fit import line
from xpnet.advise.gpu_side import measured_advice, predicted_advice
from xpnet.advise.profiles import GPUProfile
from xpnet.advise.room import rooms
from xpnet.advise.subject import Subject
from xpnet.backends import Device, resolve
from xpnet.bench import machine
from xpnet.models import Source
from xpnet.parity import parity

PARITY_STEPS = 3


def advise(
    model: Source,
    *,
    gpus: Sequence[GPUProfile] = (),
    device: str | Device | None = None,
    batch: int | None = None,
    rows: int = 60_000,
    profile: CPUProfile | None = None,
    note: Callable[[str], Any] = lambda text: None,
) -> Advice:
    """Time the model's training step on this CPU by batch, and on a GPU, or predict it for GPUs that are not here.

    ``model`` is a name, ``"file.py:function"``, a function or a tuple ``(trainer, x, y)``, as in :func:`xpnet.parity`; ``gpus``
    are profiles to predict for, ``device`` a GPU of this machine. ``batch`` is the one that the verdict is about (the
    model's own unless given), ``rows`` are those of an epoch. ``profile`` of this CPU is measured unless given.
    Raises ValueError, TypeError or DeviceUnavailable before anything is run.
    """
    began = time.perf_counter()
    real = None if device is None else resolve(device).device
    subject = Subject(model)
    asked = batch or subject.batch
    subject.check_batch(asked)
    counted = None
    if gpus or real is not None:
        note("a step's work on the simulated GPU")
        counted = Counted(subject.make, subject.rows)
    if profile is None:
        note("what this CPU can do")
        profile = cpu_measure.measure()
    note("the CPU, by batch")
    cpu = cpu_side.timed(subject, resolve("cpu").device, asked)
    best, here = {p.batch: p for p in cpu}, machine.describe()
    note("what the method says of the CPU")
    predicted, parts = cpu_side.predicted(subject, profile, cpu, asked)
    found = Advice(
        model=subject.name,
        batch=asked,
        rows=rows,
        card=_card(subject, asked),
        machine=here,
        cpu=cpu,
        cpu_line=line([(p.batch, p.seconds) for p in cpu]),
        cpu_predicted=predicted,
        cpu_parts=parts,
        ceilings=cpu_side.ceilings(profile),
        what_if=cpu_side.what_if(subject, best, asked),
        cpu_room=rooms(subject, "cpu", here["memory"]["free"], asked),
    )
    if counted is not None:
        note("the same gradients on both devices")
        proof = _proof(subject, real)
        for gpu in gpus:
            found.gpus.append(predicted_advice(subject, counted, gpu, found, proof))
        if real is not None:
            note(f"{real.name}, by batch")
            found.gpus.append(measured_advice(subject, counted, real, found, proof))
    found.seconds = time.perf_counter() - began
    return found


def _card(subject: Subject, batch: int) -> dict[str, Any]:
    net = subject.make("cpu").net
    sizes = {
        "parameters": sum(p.size for p in net.parameters.trainable),
        "layers": len(net.layers),
        "dtype": net.parameters.dtype.name,
    }
    return {**sizes, "input": list(net.input_shape), "flops_per_row": 3 * net.flops(net.input_shape, net.output_shape)}


def _proof(subject: Subject, real: Device | None) -> str:
    """Whether the GPU, or the simulated one in its place, trains to the same numbers."""
    other = "sim" if real is None else real.name
    trainer = subject.make("cpu")
    rows = subject.rows(min(subject.batch, 32))
    return parity((trainer, *rows), devices=("cpu", other), steps=PARITY_STEPS).verdict()
