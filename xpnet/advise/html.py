"""Advice as a page in one file: no script, nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from xpnet.advise.advice import Advice, GPUAdvice, Point
from xpnet.advise.sections import PARTS, seconds, sections, spread
from xpnet.advise.verdicts import NO_GPU, UNPROVED, called, doubt, judge, point, short
from xpnet.bench.cells import Cell, duration, short_duration, thousands
from xpnet.bench.charts import DESK, PHONE, Series, Stop, bars, lines
from xpnet.bench.pages import render

Chart = tuple[str, str]  # title, SVG
SHARES = {"products": "products", "memory and elements": "passes over memory", "calls": "making calls"}  # of the CPU's step
NAMES = ("the host launches", "device: kernel starts", "device: memory", "device: arithmetic", "copies", "waiting")
HOST, DEVICE, BESIDES = 0, 1, 5  # styles of their bars


def page(found: Advice) -> str:
    """The page; raises MissingExtra where jinja2 is not installed."""
    told = sections(found)
    charts = {"bound": [_cpu_parts(found), *_gpu_parts(found)]}
    answers = [(called(gpu), judge(found, gpu), _faster(found, gpu, i)) for i, gpu in enumerate(found.gpus)]
    return render(
        "advise/page.html",
        found=found,
        sections=told,
        answers=answers,
        charts=charts,
        drawings=crossover(found),
        rate=thousands(found.batch / point(found.cpu, found.batch).seconds),
        no_gpu=NO_GPU,
        doubt=doubt(found),
        unproved="" if all(gpu.measured for gpu in found.gpus) else UNPROVED,
    )


def _faster(found: Advice, gpu: GPUAdvice, i: int) -> Cell:
    """How many times as fast as the CPU: the figure of a verdict."""
    likely, worst, best = gpu.faster
    return Cell(f"{likely:.1f}x", likely, worst, best, of=(f"gpus[{i}].faster[0]",))


def crossover(found: Advice) -> tuple[str, str]:
    """Time of a step by batch on every device, with the batch from which on each GPU pays: for a phone, and for a desk."""
    series = [
        Series("CPU, measured", 0, _points(found.cpu, "cpu")),
        Series("CPU, by the method", 5, _points(found.cpu_predicted, "cpu_predicted"), dashed=True),
    ]
    stops: list[Stop] = []
    for i, gpu in enumerate(found.gpus):
        style = (1, 2, 3, 4, 6)[i % 5]
        points = _points(gpu.points, f"gpus[{i}].points")
        series.append(Series(short(called(gpu)), style, points, dashed=not gpu.measured, band=not gpu.measured))
        stops += _stop(found, gpu, style)
    name = f"Time of a step of {found.model} by batch"
    phone, desk = (
        lines(name, series, x="batch", y="seconds of a step", show=short_duration, stops=stops, frame=frame)
        for frame in (PHONE, DESK)
    )
    return phone, desk


def _points(points: list[Point], of: str) -> list[tuple[float, Cell]]:
    return [(p.batch, spread(p, f"{of}[{k}]")) for k, p in enumerate(points)]


def _stop(found: Advice, gpu: GPUAdvice, style: int) -> Iterator[Stop]:
    """From which batch on it pays, with what is possible; nothing where it does not even at best."""
    likely, worst, best = gpu.pays_from
    if best is not None:
        between = f"{best:,} to {'never' if worst is None else f'{worst:,}'}"
        text = f"from {best:,} at best, perhaps never" if likely is None else f"from batch {likely:,} on ({between})"
        yield Stop(f"{short(gpu.name)}: {text}", style, likely, best, worst)


def _cpu_parts(found: Advice) -> Chart:
    """What the CPU's step consists of, by the method."""
    whole = sum(found.cpu_parts[name] for name in SHARES)
    rows = []
    for name, label in SHARES.items():
        cell = seconds(found.cpu_parts[name], f"cpu_parts.{name}")
        rows.append((label, cell, f"{cell.text}, {100 * found.cpu_parts[name] / whole:.0f}%"))
    return "CPU, by the method", bars("Parts of a step on the CPU", rows)


def _gpu_parts(found: Advice) -> Iterator[Chart]:
    """Of each GPU the host's work beside the device's, and what comes on top of both."""
    styles = [HOST, DEVICE, DEVICE, DEVICE, BESIDES, BESIDES]
    for i, gpu in enumerate(found.gpus):
        if a := gpu.at_batch:
            cells = [seconds(getattr(a, part), f"gpus[{i}].at_batch.{part}") for part in PARTS]
            kept = [k for k, cell in enumerate(cells) if cell.value or k < 4]
            rows = [(NAMES[k], cells[k], cells[k].text) for k in kept]
            title = f"{short(gpu.name)}, predicted: bound by {a.bound}"
            beside = f"host {duration(a.host)} beside device {duration(a.device)}"
            drawing = bars(f"Parts of a step on {gpu.name}", rows, styles=[styles[k] for k in kept])
            yield f"{title}, {beside}", drawing
