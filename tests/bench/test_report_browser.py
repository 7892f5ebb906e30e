"""The report's page in Chromium, on a desktop, on a phone, and on paper."""

from __future__ import annotations

import shutil

import pytest
from report_helpers import runs

from xpnet.bench import html

pytestmark = [pytest.mark.browser, pytest.mark.extras]
LEAST_TEXT = 11  # pixels on a phone
OUTSIDE = (
    "[...document.querySelectorAll('figure, p, h1, h2, li, .scroll')].filter(e => e.getBoundingClientRect().right > innerWidth)"
)
TEXTS = """svgs => svgs.flatMap(svg => [...svg.querySelectorAll('text')].map(text => {
  const [a, b] = [svg.parentElement, text].map(e => e.getBoundingClientRect());
  return [a.left <= b.left && b.right <= a.right && a.top <= b.top && b.bottom <= a.bottom,
          parseFloat(getComputedStyle(text).fontSize) * svg.getBoundingClientRect().width / svg.viewBox.baseVal.width]; }))"""
COLOURS = """svgs => svgs.flatMap(svg => [...svg.querySelectorAll('.dot, rect')].map(e =>
  [getComputedStyle(e).getPropertyValue('--c'), getComputedStyle(svg.parentElement).backgroundColor]))"""
CLASHES = """svgs => svgs.flatMap(svg => { const all = [...svg.querySelectorAll('text')].map(e => e.getBoundingClientRect());
  return all.filter((a, i) => all.some((b, j) => i < j && a.left < b.right && b.left < a.right
    && a.top + 3 < b.bottom - 3 && b.top + 3 < a.bottom - 3)) }).length"""


@pytest.fixture(scope="module")
def browser():
    """The Chromium that is installed; none is downloaded."""
    playwright = pytest.importorskip("playwright.sync_api")
    pytest.importorskip("jinja2")
    path = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if path is None:
        pytest.skip("no Chromium is installed")
    with playwright.sync_playwright() as running:
        chromium = running.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def file(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.page(runs()), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    """Opens the page; what the browser complains of or asks for elsewhere fails the test."""
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


@pytest.mark.parametrize("width", [1280, 768, 390, 360])
def test_the_page_does_not_scroll_sideways(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(f"{OUTSIDE}.length") == 0
    assert page.evaluate("[...document.querySelectorAll('.scroll')].some(e => e.scrollWidth > e.clientWidth)") == (width < 800)


@pytest.mark.parametrize("width", [1280, 375, 360])
def test_the_texts_of_charts_are_whole_and_legible(opened, width):
    page = opened(width)
    texts = page.eval_on_selector_all("svg", TEXTS)
    assert len(texts) > 200
    assert all(inside for inside, _ in texts)
    assert min(size for _, size in texts) >= LEAST_TEXT
    assert page.eval_on_selector_all("svg", CLASHES) == 0


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_and_bars_stand_out(opened, scheme):
    """Contrast of at least 3 to 1 with what is behind them (WCAG 2, graphics)."""
    colours = {tuple(pair) for pair in opened(1280, scheme).eval_on_selector_all("svg", COLOURS)}
    assert len(colours) >= 3
    for colour, behind in colours:
        digits = colour.strip().lstrip("#")
        drawn = [int(digits[i : i + 2], 16) for i in (0, 2, 4)]
        assert contrast(drawn, [float(part) for part in behind[4:-1].split(",")]) > 3


def test_paper_is_white_and_charts_are_not_cut(opened):
    page = opened(720, "dark", "print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.eval_on_selector("figure", "e => getComputedStyle(e).breakInside") == "avoid"
    assert not page.locator("nav").is_visible()
    assert page.locator("#missing td").first.is_visible()  # folded on a screen


def contrast(a, b):
    first, second = sorted((luminance(a), luminance(b)))
    return (second + 0.05) / (first + 0.05)


def luminance(colour):
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
