"""Pages in one file from the templates of this package: bench/base.html with bench/style.css, and what each page adds."""

from __future__ import annotations

import html
import re
from typing import Any

from xpnet import __version__
from xpnet.bench.cells import ABSENT, letter
from xpnet.bench.charts import exact
from xpnet.pages import environment


def render(template: str, **values: Any) -> str:
    """The page of ``"advise/page.html"`` with these values; raises MissingExtra where jinja2 is not installed."""
    made = environment()
    made.filters.update(typeset=typeset, exact=exact, letter=lambda index: letter(index).lower())
    return made.get_template(template).render(version=__version__, **values)


def typeset(text: str) -> str:
    """The text as HTML, with the signs of print, in which ``784-30-10`` is not torn apart."""
    whole = re.sub(r"\d+(-\d+)+", r'<span class="whole">\g<0></span>', html.escape(signs(text)))
    return "\N{EN DASH}" if text == ABSENT else whole


def signs(text: str) -> str:
    """``31x (28..33)`` with the signs that print has for it."""
    text = re.sub(r"(?<=[\dkMGx])\.\.(?=\d)", "\N{EN DASH}", text)
    return re.sub(r"(?<![\w.])(\d+(?:\.\d+)?)x(?!\w)", "\\1\N{MULTIPLICATION SIGN}", text)
