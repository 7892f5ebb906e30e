"""Learning curves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from xpnet.extras import load
from xpnet.plots.style import GREY, Axes, Figure, colour, drawn_name, finished, panels, wants_log

NO_CURVES = ("epoch", "seconds")
NAMES = {"rmse": "RMSE", "r2": "R²"}
LARGEST = 1e300  # matplotlib takes differences and margins of values, which are to be finite
DECADES = 100  # of a scale, at most, whose ticks matplotlib finds without an overflow
MARGIN = 0.12  # of the values' range
FEW = 40  # epochs that are marked one by one


def learning_curves(history: Mapping[str, Sequence[Any]]) -> Figure:
    """Loss by epoch in training and validation, and each metric in a panel of its own, from a trainer's ``history``.

    The best epoch (of the lowest validation loss, or without one of the lowest training loss) is marked in all panels. A
    scale is logarithmic where the largest value is 30 times the smallest or more. Values that are NaN, None or infinite
    (beyond 1e300, in effect) leave a gap, and a cross at the top. The learning rate has a panel if it changes.

    Raises ValueError where ``history`` has no epochs, or columns that do not fit together.
    """
    columns = _columns(history)
    epochs, best = columns["epoch"], _best(columns)
    found = _by_panel(columns)
    figure, axes = panels(len(found), 4.6 if len(found) > 1 else 6.4, 4.2)
    for panel, (name, lines) in zip(axes, found.items(), strict=True):
        _draw(panel, name, epochs, lines, best)
    return finished(figure)


def _columns(history: Mapping[str, Sequence[Any]]) -> dict[str, np.ndarray]:
    """The history as float64 arrays of equal length, NaN for None and for what is too large to be drawn."""
    if missing := [name for name in ("epoch", "loss") if name not in history]:
        raise ValueError(f"learning_curves: the history has no {missing[0]!r}: give it trainer.history after fit")
    lengths = {name: len(values) for name, values in history.items()}
    if len(set(lengths.values())) > 1 or not lengths["epoch"]:
        raise ValueError(f"learning_curves: the history's columns need one value an epoch, they have {lengths}")
    try:
        found = {name: np.array([math.nan if v is None else v for v in values], float) for name, values in history.items()}
    except (TypeError, ValueError, OverflowError) as error:
        raise ValueError(f"learning_curves: the history holds what is no number: {error}") from error
    if several := [name for name, values in found.items() if values.ndim > 1]:
        raise ValueError(f"learning_curves: {several[0]!r} has more than one number an epoch: a curve has one")
    if not np.isfinite(found["epoch"]).all():
        raise ValueError("learning_curves: 'epoch' holds NaN or None: each row has the number of its epoch")
    return {name: np.where(abs(values) <= LARGEST, values, math.nan) for name, values in found.items()}


def _best(columns: Mapping[str, np.ndarray]) -> int | None:
    """The index of the best epoch."""
    for name in ("validation_loss", "loss"):
        values = columns.get(name, np.array([]))
        if np.isfinite(values).any():
            return int(np.where(np.isfinite(values), values, np.inf).argmin())
    return None


def _by_panel(columns: Mapping[str, np.ndarray]) -> dict[str, dict[str, np.ndarray]]:
    """For each panel its lines: "training", "validation", or "" for what is of neither."""
    found: dict[str, dict[str, np.ndarray]] = {"loss": {"training": columns["loss"]}}
    for name, values in columns.items():
        if name.startswith("validation_"):
            found.setdefault(name.removeprefix("validation_"), {})["validation"] = values
        elif name not in (*NO_CURVES, "loss") and not (name == "learning_rate" and np.ptp(values) == 0):
            found.setdefault(name, {})[""] = values
    return found


def _draw(axes: Axes, name: str, epochs: np.ndarray, lines: Mapping[str, np.ndarray], best: int | None) -> None:
    for k, (part, values) in enumerate(lines.items()):
        i = 1 if part == "validation" else 0
        style = {"color": colour(i), "linestyle": "-" if i == 0 else "--"}
        axes.plot(epochs, values, marker=".", markevery=_alone(values), label=part or None, **style)
        _mark_gaps(axes, epochs, values, colour(i), part, 0.97 - 0.06 * k)
        last = best is not None and not any(np.isfinite(later[best]) for later in list(lines.values())[k + 1 :])
        if best is not None and last and math.isfinite(values[best]):
            axes.plot(epochs[best], values[best], "o", color=style["color"], markerfacecolor="white", markersize=7)
    _mark_best(axes, epochs, lines, best)
    axes.set(xlabel="epoch", ylabel=NAMES.get(name, drawn_name(name.replace("_", " "), "value")))
    _scale(axes, name, np.concatenate(list(lines.values())))
    axes.set_xlim(epochs[0] - 0.5, epochs[-1] + 0.5)
    axes.xaxis.set_major_locator(load("matplotlib.ticker", "plot").MaxNLocator(integer=True, min_n_ticks=1))
    axes.grid(alpha=0.3)
    if axes.get_legend_handles_labels()[1]:
        axes.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.18))  # never over a line


def _scale(axes: Axes, name: str, values: np.ndarray) -> None:
    """The y axis, with room above and below the values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        axes.set_yticks([])
    elif wants_log(name, values):
        low, high = np.log10([finite.min(), finite.max()])
        room = MARGIN * (high - low)
        axes.set_ylim(10.0 ** max(low - room, -300), 10.0 ** min(high + room, 300))
        axes.set_yscale("log")
        if high - low > DECADES:
            axes.minorticks_off()
            axes.set_yticks(10.0 ** np.linspace(low, high, 6).round())
    else:
        axes.margins(y=MARGIN)


def _alone(values: np.ndarray) -> list[int]:
    """Which values get a mark: all where they are few, else those that a line does not show, as they stand between gaps."""
    if len(values) <= FEW:
        return list(range(len(values)))
    there = np.isfinite(np.concatenate([[np.nan], values, [np.nan]]))
    return np.flatnonzero(there[1:-1] & ~there[:-2] & ~there[2:]).tolist()


def _mark_gaps(axes: Axes, epochs: np.ndarray, values: np.ndarray, ink: str, part: str, height: float) -> None:
    gaps = epochs[~np.isfinite(values)]
    if gaps.size:
        words = f"{part + ': ' if part else ''}no finite value in {gaps.size} epoch{'s' * (gaps.size > 1)}"
        place = axes.get_xaxis_transform()
        axes.plot(gaps, np.full(gaps.size, height), "x", color=ink, markersize=5, transform=place, label=words)


def _mark_best(axes: Axes, epochs: np.ndarray, lines: Mapping[str, np.ndarray], best: int | None) -> None:
    if best is not None:
        shown = next((values[best] for values in reversed(list(lines.values())) if math.isfinite(values[best])), math.nan)
        words = f"best epoch {epochs[best]:g}" + ("" if math.isnan(shown) else f": {shown:.4g}")
        axes.axvline(epochs[best], color=GREY, linestyle=":", linewidth=1, label=words)
