"""The page of advice in Chromium, on a desktop, on a phone, and on paper."""

from __future__ import annotations

import pytest
from advice_helpers import advice
from page_helpers import CLASHES, LEAST_TEXT, OUTSIDE, TEXTS, chromium, least_contrast, opening

pytestmark = [pytest.mark.browser, pytest.mark.extras]


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture(scope="module")
def file(browser, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "advice.html"
    path.write_text(advice().html(), encoding="utf-8")
    return path


@pytest.fixture
def opened(browser, file):
    with opening(browser, file) as load:
        yield load


@pytest.mark.parametrize("width", [1280, 768, 375, 360])
def test_the_page_does_not_scroll_sideways(opened, width):
    page = opened(width)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate(f"{OUTSIDE}.length") == 0


@pytest.mark.parametrize("width", [1280, 768, 375, 360])
def test_the_texts_of_charts_are_whole_and_legible(opened, width):
    page = opened(width)
    texts = page.eval_on_selector_all("svg", TEXTS)
    assert len(texts) > 60
    assert all(inside for inside, _ in texts)
    assert min(size for _, size in texts) >= LEAST_TEXT
    assert page.eval_on_selector_all("svg", CLASHES) == 0


@pytest.mark.parametrize(("width", "shown"), [(1280, ".desk"), (375, ".phone")])
def test_one_of_the_two_drawings_is_shown(opened, width, shown):
    page = opened(width)
    assert [name for name in (".phone", ".desk") if page.locator(name).is_visible()] == [shown]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_lines_and_bars_stand_out(opened, scheme):
    """Contrast of at least 3 to 1 with what is behind them (WCAG 2, graphics)."""
    assert least_contrast(opened(1280, scheme)) > 3


def test_paper_is_white(opened):
    page = opened(720, "dark", "print")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.locator(".desk").is_visible()
