"""The step as a page in one file: no script, nothing from elsewhere."""

from __future__ import annotations

import functools

from xpnet import __version__
from xpnet.explain.numbers import check_digits, view
from xpnet.explain.story import Entry, story
from xpnet.explain.trace import Explanation
from xpnet.pages import environment

FAINTEST, STRONGEST = 0.05, 0.55  # opacities of the colour behind numbers: text stays legible on it, in light and dark


def page(found: Explanation, digits: int = 4) -> str:
    """The page; raises MissingExtra where jinja2 is not installed."""
    made = environment()
    check_digits(digits)
    made.filters.update(view=functools.partial(view, digits=digits), pieces=pieces, opacity=opacity)
    made.tests["entry"] = lambda item: isinstance(item, Entry)
    return made.get_template("explain/page.html").render(story=story(found), dtype=found.dtype, version=__version__)


def opacity(shade: float) -> str:
    """For a cell of this shade."""
    return f"{FAINTEST + (STRONGEST - FAINTEST) * abs(shade):.2f}".lstrip("0")


def pieces(note: str) -> list[tuple[bool, str]]:
    """A note cut at its double backticks: whether each part is code, and its text."""
    return [(bool(i % 2), part) for i, part in enumerate(note.split("``")) if part]
