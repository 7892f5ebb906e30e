"""The page in Chromium, on a desktop and on a phone."""

from __future__ import annotations

import pytest
from page_helpers import chromium

import xpnet as xn

pytestmark = [pytest.mark.browser, pytest.mark.extras]
COLOURS = "cell => { const s = getComputedStyle(cell); return [s.color, s.backgroundColor] }"


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def opened(browser, tmp_path):
    """Opens the page of a model; what the browser complains of or asks for elsewhere fails the test."""
    pages, problems = [], []

    def load(model, width, sample=0, scheme="light"):
        file = tmp_path / "page.html"
        file.write_text(xn.explain(model, sample=sample).html(), encoding="utf-8")
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        page.on("console", lambda message: problems.append(message.text))
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: request.url == file.as_uri() or problems.append(request.url))
        page.goto(file.as_uri())
        pages.append(page)
        return page

    yield load
    for page in pages:
        page.close()
    assert problems == []


@pytest.mark.parametrize("width", [1280, 390, 320])
@pytest.mark.parametrize(("model", "sample"), [("worked", 0), ("book", "0:3"), ("residual", "0:2"), ("sequence", 0)])
def test_the_page_does_not_scroll_sideways(opened, model, sample, width):
    page = opened(model, width, sample)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = (
        "[...document.querySelectorAll('figure, details, p, h1, h2')].filter(e => e.getBoundingClientRect().right > innerWidth)"
    )
    assert page.evaluate(f"{outside}.length") == 0
    if width < 400 and model != "worked":  # a wide matrix moves inside its own box
        assert page.evaluate("[...document.querySelectorAll('.box')].some(e => e.scrollWidth > e.clientWidth)")


@pytest.mark.parametrize("width", [1280, 390])
def test_the_numbers_of_the_worked_example_are_to_be_seen(opened, width):
    page = opened("worked", width)
    text = page.inner_text("main")
    for number in ("0.7", "1.25", "7.5625", "-8.25", "-2.75", "-3.85", "-5.5", "0.1825", "0.4275", "0.5385", "0.955"):
        assert f"\n{number}\n" in text
    update = [cell.inner_text().strip() for cell in page.locator("figure:has-text('gradient')").locator("td").all()]
    assert update[-4:] == ["-8.25", "-2.75", "-3.85", "-5.5"]
    assert page.locator("nav a", has_text="Backward").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_numbers_are_legible_on_their_colours(opened, scheme):
    """Contrast of at least 4.5 to 1 (WCAG 2, AA) on every shaded cell."""
    page = opened("book", 1280, scheme=scheme)
    card = page.eval_on_selector(".entry", COLOURS)[1]
    cells = page.eval_on_selector_all("td.p, td.n", f"cells => cells.map({COLOURS})")
    assert len({background for _, background in cells}) > 20
    for colours in cells:
        assert contrast(rgb(colours[0]), over(rgb(colours[1]), rgb(card))) > 4.5


def test_layers_fold(opened):
    page = opened("residual", 1280)
    figure = page.locator("details figure").first
    assert figure.is_visible()
    page.locator("summary").first.click()
    assert not figure.is_visible()


def rgb(text):
    """The numbers of "rgb(1, 2, 3)" or "rgba(1, 2, 3, 0.4)"."""
    return [float(part) for part in text[text.index("(") + 1 : -1].split(",")]


def over(colour, below):
    alpha = colour[3] if len(colour) == 4 else 1.0
    return [alpha * c + (1 - alpha) * b for c, b in zip(colour[:3], below, strict=True)]


def contrast(a, b):
    first, second = sorted((luminance(a), luminance(b)))
    return (second + 0.05) / (first + 0.05)


def luminance(colour):
    linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4 for c in colour]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
