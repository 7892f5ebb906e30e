"""What all pictures share: figures without pyplot, colours that the colour-blind tell apart, names that can be drawn."""

from __future__ import annotations

import functools
import math
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np

from xpnet.extras import load
from xpnet.training.callbacks import LARGER_IS_BETTER

Figure = Any  # matplotlib.figure.Figure, which is imported only where one is made
Axes = Any

#: Okabe and Ito, Color Universal Design (2008), the yellow left out: it cannot be seen as a line on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = "os^DvPX*"  # one more than colours: a pair comes again after 56
GREY = "#707070"
LOG_FROM = 30.0  # largest over smallest value
LONGEST = 18  # letters of a name


def new_figure(width: float, height: float, layout: str = "constrained") -> Figure:
    """A figure of this size in inches, of no backend; nothing global is touched. ("compressed" is for axes of fixed aspect.)"""
    return load("matplotlib.figure", "plot").Figure(figsize=(width, height), layout=layout)


def panels(n: int, width: float, height: float, *, least: int = 1, most: int = 3) -> tuple[Figure, list[Axes]]:
    """A figure of ``n`` axes of this size in inches, at most so many in a row; as wide as ``least`` of them."""
    columns = max(min(n, most), least)
    rows = math.ceil(n / columns)
    figure = new_figure(columns * width, rows * height)
    axes = list(figure.subplots(rows, columns, squeeze=False).flat)
    for unused in axes[n:]:
        unused.remove()
    return figure, axes[:n]


def colour(i: int) -> str:
    """The colour of class or line number ``i``."""
    return COLOURS[i % len(COLOURS)]


def marker(i: int) -> str:
    """The marker of class or line number ``i``."""
    return MARKERS[i % len(MARKERS)]


def wants_log(name: str, values: np.ndarray) -> bool:
    """Whether numbers of this name are drawn on a logarithmic scale: all above 0 and far apart. (Accuracies and R2 never.)"""
    finite = values[np.isfinite(values)]
    if name.endswith(LARGER_IS_BETTER) or not finite.size or finite.min() <= 0:
        return False
    return bool(finite.max() / LOG_FROM >= finite.min())


def drawn_names(names: Sequence[Any], longest: int = LONGEST) -> list[str]:
    """Names as they can be drawn: in one line, shortened in the middle, each another; "#3" where no font has the letters."""
    tidy = [" ".join(str(name).split()) for name in names]
    found = [_short(name, longest) if name and drawable(name) else f"#{i}" for i, name in enumerate(tidy)]
    count = Counter(found)
    distinct = [name if count[name] == 1 else f"{i}: {name}" for i, name in enumerate(found)]
    return [name.replace("$", r"\$") for name in distinct]  # no formulas


def drawn_name(name: str, otherwise: str) -> str:
    """A single name as it can be drawn, at greater length; ``otherwise`` where no font has its letters."""
    (found,) = drawn_names([name], 40)
    return otherwise if found == "#0" else found


def drawable(text: str) -> bool:
    """Whether there are glyphs for all letters, in matplotlib's font or in others that are installed."""
    return all(_font_with(frozenset(letter)) for letter in _missing(text))


def finished(figure: Figure) -> Figure:
    """The figure, its texts in more fonts where the first lacks letters of theirs: a missing glyph would be a warning."""
    for text in figure.findobj(load("matplotlib.text", "plot").Text):
        if missing := _missing(text.get_text()):
            one = _font_with(missing)
            others = {one} if one else {_font_with(frozenset(letter)) for letter in missing}
            text.set_fontfamily([*text.get_fontfamily(), *sorted(filter(None, others))])
    return figure


def _short(name: str, longest: int) -> str:
    tail = (longest - 1) // 3
    return name if len(name) <= longest else f"{name[: longest - 1 - tail]}…{name[-tail:]}"


def _missing(text: str) -> frozenset[str]:
    """The letters that matplotlib's font does not have."""
    fonts = load("matplotlib.font_manager", "plot")
    usual = fonts.get_font(fonts.findfont(fonts.FontProperties()))
    return frozenset(letter for letter in text if letter != "\n" and not usual.get_char_index(ord(letter)))


@functools.cache
def _font_with(letters: frozenset[str]) -> str | None:
    """The family of an installed font that has all these letters; matplotlib's "Last Resort" has boxes for all there are."""
    fonts = load("matplotlib.font_manager", "plot")
    entries = [entry for entry in fonts.fontManager.ttflist if not entry.name.startswith("Last Resort")]
    for entry in sorted(entries, key=lambda entry: (entry.style != "normal", entry.weight not in (400, "normal"), entry.name)):
        try:
            font = fonts.get_font(entry.fname)
        except (OSError, RuntimeError):  # removed since the list was made, or of bitmaps
            continue
        if font.scalable and all(font.get_char_index(ord(letter)) for letter in letters):
            return entry.name
    return None
