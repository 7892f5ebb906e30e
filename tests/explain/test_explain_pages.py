"""The text and the page: the numbers of the step, in its order; a page that stands alone."""

from __future__ import annotations

import re
import time
from html.parser import HTMLParser

import numpy as np
import pytest
from contract_layers import BatchNorm, Branches

import xpnet as xn
from xpnet.explain.story import Entry, story
from xpnet.models import MODELS

WORKED = """
x (1, 1)                          3
targets (1, 1)                    4
W (1, 1)                          0.1
b (1,)                            0.4
output (1, 1)                     0.7
output (1, 1)                     0.7
W (1, 1)                          0.5
b (1,)                            0.9
output (1, 1)                     1.25
outputs (1, 1)                    1.25
targets (1, 1)                    4
loss                              7.5625
gradient by the outputs (1, 1)    -5.5
delta received (1, 1)             -5.5
gradient of W (1, 1)              -3.85
gradient of b (1,)                -5.5
delta passed on (1, 1)            -2.75
delta received (1, 1)             -2.75
delta passed on (1, 1)            -2.75
delta received (1, 1)             -2.75
gradient of W (1, 1)              -8.25
gradient of b (1,)                -2.75
delta passed on                   not needed: nothing before this layer has parameters
before (1, 1)                     0.1
gradient (1, 1)                   -8.25
after (1, 1)                      0.1825
before (1,)                       0.4
gradient (1,)                     -2.75
after (1,)                        0.4275
before (1, 1)                     0.5
gradient (1, 1)                   -3.85
after (1, 1)                      0.5385
before (1,)                       0.9
gradient (1,)                     -5.5
after (1,)                        0.955
"""

FILE = '''
import numpy as np, xpnet as xn

class Square(xn.Layer):
    """``y = x**2``, my own."""
    def forward(self, x, step):
        return x * x, x
    def backward(self, dy, x, step):
        return 2 * x * dy

class Pair(xn.Layer):
    def __init__(self, first, second):
        self.first, self.second = first, second
    def build(self, shape, make):
        shape = self.first.build(shape, make.child("first", self.first))
        return self.second.build(shape, make.child("second", self.second))
    def forward(self, x, step):
        y, first = self.first.forward(x, step)
        y, second = self.second.forward(y, step)
        return y, (first, second)
    def backward(self, dy, cache, step):
        dy = self.second.backward(dy, cache[1], step)
        return self.first.backward(dy, cache[0], step)

def model():
    half, one = xn.initializers.constant(0.5), xn.initializers.ones
    net = xn.Sequential(Pair(xn.Affine(2, init=half), Square()), xn.Affine(1, init=one))
    trainer = xn.Trainer(net, loss=xn.HalfSquaredError(), optimizer=xn.SGD(0.125), device="cpu", dtype="float64")
    return trainer, np.array([[1.0, 2.0], [3.0, 5.0]]), np.array([[0.0], [1.0]])
'''


class Page(HTMLParser):
    """Checks that every element is closed in its order; keeps attributes, visible text, and each figure's numbers."""

    VOID = ("meta",)

    def __init__(self, text):
        super().__init__()
        self.open, self.attributes, self.figures, self.text = [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.attributes += [(tag, *pair) for pair in attributes]
        if tag not in self.VOID:
            self.open.append(tag)
        if tag == "figure":
            self.figures.append(["", []])
        if tag == "tr" and "figure" in self.open:
            self.figures[-1][1].append([])

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if "style" not in self.open and "title" not in self.open:
            self.text.append(data)
        if self.open[-2:] == ["figcaption", "b"]:
            self.figures[-1][0] = data
        if self.open[-1:] == ["td"] and "figure" in self.open:
            self.figures[-1][1][-1].append(data)


@pytest.fixture
def html():
    pytest.importorskip("jinja2")
    return lambda found, digits=4: Page(found.html(digits))


def test_the_worked_example_as_text(device):
    lines = str(xn.explain("worked", device=device)).splitlines()
    found = [
        line.strip()
        for line in lines
        if re.match(r" *(x|targets|W|b|loss|outputs?|gradient.*|delta.*|before|after)( \(1,|  )", line)
    ]
    assert found == WORKED.strip().splitlines()
    assert [line for line in lines if line in ("Input", "Forward", "Loss", "Backward", "Update")] == [
        "Input",
        "Forward",
        "Loss",
        "Backward",
        "Update",
    ]
    assert f"One training step of worked: row 0 of 1, on {device.name} in float64" == lines[0]
    assert "    Affine map of each row, y = x @ W + b.  (Linear in PyTorch, Dense in Keras.)" in lines
    assert "    dW = x.T @ dy, db = sum of dy's rows, dx = dy @ W.T, leading axes as rows." in lines
    assert "Update 1, learning rate 0.01." in lines
    assert "4 parameters; shapes are those of this step." in lines


MINE = """
0  Pair
    delta received (2, 2)
         2.25   2.25
        15.50  15.50
    0.second  Square()
        y = x**2, my own.
        delta received (2, 2)
             2.25   2.25
            15.50  15.50
        delta passed on (2, 2)
              6.75    6.75
            124.00  124.00
    0.first  Affine(n_out=2, init=constant(value=0.5))
        dW = x.T @ dy, db = sum of dy's rows, dx = dy @ W.T, leading axes as rows.
        delta received (2, 2)
              6.75    6.75
            124.00  124.00
        gradient of W (2, 2)
            378.75  378.75
            633.50  633.50
        gradient of b (2,)                130.75  130.75
        delta passed on                   not needed: nothing before this layer has parameters
"""


def test_a_file_of_the_users_with_a_container_and_a_layer_of_its_own(tmp_path, device):
    """x W = (1.5, 1.5), (4, 4); squared 2.25, 16; outputs 4.5, 32; targets 0, 1; deltas 2.25, 15.5."""
    file = tmp_path / "mine.py"
    file.write_text(FILE)
    text = xn.explain(f"{file}:model", sample="0:2", device=device).text()
    assert MINE in text
    assert "loss                              245.3125\n" in text
    after = "    after (2, 2)\n        -46.8438  -46.8438\n        -78.6875  -78.6875\n"
    assert f"633.50  633.50\n{after}" in text
    assert "One differentiable map" not in text  # what the base class says is not the layer's formula


def shown(items):
    for item in items:
        if isinstance(item, Entry):
            yield from shown(item.items)
        elif item.a is not None:
            yield item


@pytest.mark.extras
@pytest.mark.parametrize("name", [name for name in MODELS if name != "wide"])
def test_the_pages_numbers_are_those_of_the_arrays(name, html):
    found = xn.explain(name, sample="0:1" if name == "worked" else "0:2")
    page = html(found, 6)
    quantities = [q for section in story(found).sections for q in shown(section.items)]
    assert [figure[0] for figure in page.figures] == [q.name for q in quantities]
    compared = 0
    for (_, rows), q in zip(page.figures, quantities, strict=True):
        if q.a.ndim <= 2 and not any("\u22ef" in row or "\u22ee" in row for row in rows):
            numbers = np.array([[float(t) for t in row] for row in rows])
            np.testing.assert_allclose(numbers, np.atleast_2d(q.a), rtol=1e-5, atol=1e-6)
            compared += 1
    assert compared > 3


@pytest.mark.extras
@pytest.mark.parametrize("name", ["worked", "residual", "sequence"])
def test_the_page_stands_alone(name, html):
    page = html(xn.explain(name))
    text = xn.explain(name).html()
    assert not re.search(r"https?:|<script|<link|<img|@import|url\(|\bsrc=", text)
    ids = [value for _, attribute, value in page.attributes if attribute == "id"]
    links = [value for _, attribute, value in page.attributes if attribute == "href"]
    assert len(ids) == len(set(ids))
    assert links
    assert {link[1:] for link in links} <= set(ids)
    assert all(link.startswith("#") for link in links)


@pytest.mark.extras
def test_the_worked_example_as_a_page(html):
    page = html(xn.explain("worked"))
    gradients = [rows[0][0] for name, rows in page.figures if name == "gradient"]
    assert gradients == ["-8.25", "-2.75", "-3.85", "-5.5"]
    assert ["loss", [["7.5625"]]] in page.figures
    words = " ".join("".join(page.text).split())
    assert "One training step of worked: row 0 of 1, on cpu in float64" in words
    assert "so it has the shape of the weights" in words


@pytest.mark.extras
def test_what_a_user_wrote_is_escaped(html):
    evil = type("<script>alert(1)</script>", (xn.Affine,), {"__doc__": '<b>bold</b> ``<i>y</i>`` & "more".'})
    net = xn.Sequential(evil(2), Branches(evil(1), xn.Sequential(evil(1), BatchNorm())))
    trainer = xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device="cpu")

    def model():
        return trainer, np.ones((2, 3)), np.ones((2, 2))

    model.__name__ = "<img>"
    found = xn.explain(model, sample=":")
    text = found.html()
    assert not re.search("<script|<i>|<img|<b>bold", text)
    words = "".join(html(found).text)
    assert "<script>alert(1)</script>(n_out=2)" in words
    assert '<b>bold</b> <i>y</i> & "more".' in words
    assert "One training step of <img>: rows 0 to 1 of 2" in words


def test_without_jinja2_the_error_says_what_to_install(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "jinja2", None)
    with pytest.raises(ImportError, match=r'pip install "xpnet\[html\]"'):
        xn.explain("worked").html()


def test_the_story_of_a_deep_network_is_told_at_once():
    """Of 301 layers: 0.2 s; it took 5 s where every layer looked through all others for each of them."""
    net = xn.Sequential(*[xn.Residual(xn.Affine(2), xn.Tanh()) for _ in range(100)], xn.Affine(1))
    trainer = xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device="cpu")
    found = xn.explain((trainer, np.ones((1, 2)), np.ones(1)))
    start = time.perf_counter()
    assert len(story(found).sections) == 5
    assert time.perf_counter() - start < 1


def test_repr():
    assert "print it" in repr(xn.explain("worked"))
