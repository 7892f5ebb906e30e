"""Pages in one file, with no script and nothing from elsewhere: their templates, and how they reach the disk."""

from __future__ import annotations

import contextlib
import importlib.resources
import os
from pathlib import Path
from typing import Any

from xpnet import extras


def environment() -> Any:
    """Jinja's, for templates named by their place in this package: "advise/page.html"; raises MissingExtra without jinja2."""
    jinja2 = extras.load("jinja2", "html")
    folder = importlib.resources.files("xpnet")
    return jinja2.Environment(
        loader=jinja2.FunctionLoader(lambda name: folder.joinpath(name).read_text(encoding="utf-8")),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )


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
