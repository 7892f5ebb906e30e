"""Pages in Chromium: loading them, and what is measured of their charts."""

from __future__ import annotations

import contextlib
import shutil

import pytest

LEAST_TEXT = 11  # pixels on a phone
OUTSIDE = (
    "[...document.querySelectorAll('figure, p, h1, h2, li, .scroll')].filter(e => e.getBoundingClientRect().right > innerWidth)"
)
TEXTS = """svgs => svgs.filter(svg => svg.checkVisibility()).flatMap(svg => [...svg.querySelectorAll('text')].map(text => {
  const [a, b] = [svg.closest('figure'), text].map(e => e.getBoundingClientRect());
  return [a.left <= b.left && b.right <= a.right && a.top <= b.top && b.bottom <= a.bottom,
          parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width]; }))"""
COLOURS = """svgs => svgs.flatMap(svg => [...svg.querySelectorAll('.dot, rect')].map(e =>
  [getComputedStyle(e).getPropertyValue('--c'), getComputedStyle(svg.closest('figure')).backgroundColor]))"""
CLASHES = """svgs => svgs.flatMap(svg => { const all = [...svg.querySelectorAll('text')].map(e => e.getBoundingClientRect());
  return all.filter((a, i) => all.some((b, j) => i < j && a.left < b.right && b.left < a.right
    && a.top + 3 < b.bottom - 3 && b.top + 3 < a.bottom - 3)) }).length"""


@contextlib.contextmanager
def chromium():
    """The Chromium that is installed; none is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("jinja2")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        browser = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextlib.contextmanager
def opening(browser, file):
    """A function that opens the page; what the browser complains of or asks for elsewhere fails the test."""
    pages, problems = [], []

    def load(width, scheme="light", media="screen"):
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.emulate_media(media=media)
        page.on("console", lambda message: problems.append(message.text))
        page.on("request", lambda request: request.url == file.as_uri() or problems.append(request.url))
        page.goto(file.as_uri())
        pages.append(page)
        return page

    yield load
    for page in pages:
        page.close()
    assert problems == []


def least_contrast(page):
    """Of the lines and bars of charts with what is behind them."""
    colours = {tuple(pair) for pair in page.eval_on_selector_all("svg", COLOURS)}
    assert len(colours) >= 3
    return min(contrast(_channels(colour), [float(part) for part in behind[4:-1].split(",")]) for colour, behind in colours)


def _channels(colour):
    digits = colour.strip().lstrip("#")
    return [int(digits[i : i + 2], 16) for i in (0, 2, 4)]


def contrast(a, b):
    first, second = sorted((luminance(a), luminance(b)))
    return (second + 0.05) / (first + 0.05)


def luminance(colour):
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
