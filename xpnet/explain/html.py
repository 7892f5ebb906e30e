"""The step as a page in one file: no script, nothing from elsewhere."""

from __future__ import annotations

import contextlib
import functools
import importlib.resources
import os
from pathlib import Path

from xpnet import __version__, extras
from xpnet.explain.numbers import check_digits, view
from xpnet.explain.story import Entry, story
from xpnet.explain.trace import Explanation

FAINTEST, STRONGEST = 0.05, 0.55  # opacities of the colour behind numbers: text stays legible on it, in light and dark


def page(found: Explanation, digits: int = 4) -> str:
    """The page; raises MissingExtra where jinja2 is not installed."""
    jinja2 = extras.load("jinja2", "html")
    check_digits(digits)
    text = importlib.resources.files("xpnet.explain").joinpath("page.html").read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined, keep_trailing_newline=True
    )
    environment.filters.update(view=functools.partial(view, digits=digits), pieces=pieces, opacity=opacity)
    environment.tests["entry"] = lambda item: isinstance(item, Entry)
    return environment.from_string(text).render(story=story(found), dtype=found.dtype, version=__version__)


def opacity(shade: float) -> str:
    """For a cell of this shade."""
    return f"{FAINTEST + (STRONGEST - FAINTEST) * abs(shade):.2f}".lstrip("0")


def pieces(note: str) -> list[tuple[bool, str]]:
    """A note cut at its double backticks: whether each part is code, and its text."""
    return [(bool(i % 2), part) for i, part in enumerate(note.split("``")) if part]


def check_target(path: Path) -> None:
    """Refuse a place where no file can be written, before there is anything to write."""
    if path.is_dir():
        raise IsADirectoryError(f"{path} is a folder: name the file, for instance {path / 'page.html'}")
    if not path.absolute().parent.is_dir():
        raise FileNotFoundError(f"{path}: there is no folder {path.absolute().parent}; make it first")


def save(text: str, path: Path) -> None:
    """Write the page, whole or not at all; to what is no file, such as /dev/stdout, as it comes."""
    check_target(path)
    if path.exists() and not path.is_file():  # a device or pipe is not replaced by a file
        path.write_text(text, encoding="utf-8")
        return
    target = path.resolve()
    part = target.with_name(f"{target.name}.{os.getpid()}.part")
    try:
        part.write_text(text, encoding="utf-8")
        os.replace(part, target)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise
