"""The report's page in Chromium, on a desktop, on a phone, and on paper."""

from __future__ import annotations

import pytest
from page_helpers import CLASHES, LEAST_TEXT, OUTSIDE, TEXTS, chromium, least_contrast, opening
from report_helpers import runs

from xpnet.bench import html

pytestmark = [pytest.mark.browser, pytest.mark.extras]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def file(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(html.page(runs()), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    with opening(browser, file) as load:
        yield load


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
    assert least_contrast(opened(1280, scheme)) > 3


def test_paper_is_white_and_charts_are_not_cut(opened):
    page = opened(720, "dark", "print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.eval_on_selector("figure", "e => getComputedStyle(e).breakInside") == "avoid"
    assert not page.locator("nav").is_visible()
    assert page.locator("#missing td").first.is_visible()  # folded on a screen
