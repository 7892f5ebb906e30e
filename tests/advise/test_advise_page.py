"""``xpnet advise --html``: every figure is that of the data, and the page is whole in one file."""

from __future__ import annotations

import json
import re
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from advice_helpers import advice, curve, gpu

from xpnet.advise.html import crossover
from xpnet.advise.verdicts import BUSY, UNPROVED, judge
from xpnet.bench.charts import DESK, PHONE
from xpnet.cli import main

pytestmark = pytest.mark.extras


@pytest.fixture(autouse=True)
def jinja2():
    pytest.importorskip("jinja2")


@pytest.fixture
def page():
    return advice().html()


class Figures(HTMLParser):
    """Attributes of every element that says where in the data its figure stands."""

    def __init__(self):
        super().__init__()
        self.found, self.words, self.tag = [], [], ""

    def handle_starttag(self, tag, attributes):
        self.tag = tag
        if "data-of" in dict(attributes):
            self.found.append(dict(attributes))

    def handle_endtag(self, tag):
        self.words.append(" " if tag in ("td", "th", "p") else "")

    def handle_data(self, data):
        if self.tag not in ("style", "title", "desc"):
            self.words.append(data)


def told(page: str) -> str:
    """All of its text, with single blanks, and x for the sign of multiplication."""
    parser = Figures()
    parser.feed(page)
    return " ".join("".join(parser.words).split()).replace("\N{MULTIPLICATION SIGN}", "x")


def stored(data, path: str):
    """What stands at ``gpus[0].line.fixed``."""
    for name, index in re.findall(r"([^.\[\]]+)(?![^\[]*\])|\[(\d+)\]", path):
        data = data[name] if name else data[int(index)]
    return data


def expected(data, paths: list[str]):
    """The figure: as it stands there, rows a second of a point, a quotient, or where two lines meet."""
    found = [stored(data, path) for path in paths]
    if isinstance(found[0], dict) and "batch" in found[0]:
        return found[0]["batch"] / found[0]["seconds"]
    if isinstance(found[0], dict):
        a, b = found
        return (b["fixed"] - a["fixed"]) / (a["each"] - b["each"])
    return found[0] if len(found) == 1 else found[0] / found[1]


def test_every_figure_is_that_of_the_data(page):
    data = json.loads(json.dumps(advice().as_dict()))
    parser = Figures()
    parser.feed(page)
    assert len(parser.found) > 250
    for attributes in parser.found:
        assert float(attributes["data-value"]) == expected(data, attributes["data-of"].split(" | "))
        if "data-low" in attributes:
            assert float(attributes["data-low"]) <= float(attributes["data-value"]) <= float(attributes["data-high"])


def test_what_follows_comes_first():
    words = told(advice().html())
    begin = words.index("Does a GPU pay off for mine.py:classifier?")
    before = words[begin : words.index("Time of a step by batch", begin)]
    assert [judge(advice(), g).answer for g in advice().gpus] == ["GPU", "GPU", "open", "CPU"]
    for said in (
        "H200, predicted Use the GPU 5.1x faster 3.5x to 7.4x is possible It pays off from batch 23 (7 to 46); below",
        "NVIDIA GeForce RTX 4090, measured Use the GPU",
        "T4, predicted Too close to call",
        "K80, predicted Use the CPU The GPU takes",
        "It does not pay off up to batch 4,096.",
    ):
        assert said in before
    assert f"The method's median error on this CPU is 13%. {UNPROVED}." in before


def test_all_that_a_pay_off_report_must_contain(page):
    words = told(page)
    for said in (
        "79,510 parameters in 4 layers, float32",
        "about 476k FLOP a row and step",
        "Example CPU 9000, 8 cores",
        "openblas 0.3.31, 8 threads by default",
        "each batch copied from the host, instead of data that are there 0.61x 0.61x 0.61x 0.61x",
        "an epoch of 60,000 rows at batch 256 time CPU, measured 140 ms",
        "load before 0.25",
        "context 300 ms to 3.20 s",
        "earned after steps, at most 9.04k 10.9k 209k never",
        "largest batch",
        "4,812,345",
        "cpu and sim: 3 steps, the same within 1e-05",
    ):
        assert said in words


def test_the_page_is_one_file_and_its_drawings_are_whole(page):
    assert not re.search(r"<script|<link|\bsrc=|@import|url\(|https?:", page)
    drawings = [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert len(drawings) == 2 + 1 + 4
    assert all(d.get("role") == "img" and d.find("title").text and d.find("desc").text for d in drawings)


@pytest.mark.parametrize("frame", [PHONE, DESK])
def test_the_break_even_is_marked_where_the_lines_cross(frame):
    drawing = ElementTree.fromstring(crossover(advice())[(PHONE, DESK).index(frame)])
    marks = [float(re.match(r"M([\d.]+)", path.get("d"))[1]) for path in drawing.iter("path") if path.get("class") == "mark"]
    assert len(marks) == 3  # K80 never pays
    assert marks == sorted(marks)
    assert frame.width / 8 < marks[0] < frame.width / 2
    texts = [text.text for text in drawing.iter("text") if text.get("class") == "halo"]
    assert [text.partition(":")[0] for text in texts] == ["H200", "GeForce RTX 4090", "T4"]


def test_what_is_only_possible_is_said_too():
    found = advice()
    found.gpus = [gpu("maybe", 900e-6, 2.2e-6, found.cpu, spread=2.0)]
    assert found.gpus[0].pays_from[:2] == (None, None)
    assert "perhaps never" in crossover(found)[0]
    found.gpus = [gpu("always", 10e-6, 1e-8, found.cpu)]
    assert "It pays off from batch 1 on." in told(found.html())
    found.gpus = [gpu("nearly always", 50e-6, 1e-8, found.cpu)]
    assert "It pays off from batch 1 on (1 to 6)." in told(found.html())


def test_measured_only_does_not_speak_of_predictions():
    found = advice()
    found.gpus = found.gpus[1:2]
    assert UNPROVED not in found.html()


def test_without_a_gpu_it_is_about_the_cpu():
    found = advice(gpus=False)
    words = told(found.html())
    assert "428k rows a second at batch 256 on the CPU Say --gpu NAME to have a GPU predicted" in words
    assert "Paid once" not in words
    found.what_if = []
    assert "What if" not in told(found.html())


def test_a_batch_that_one_device_refuses_and_memory_that_is_unknown():
    found = advice()
    del found.gpus[0].points[0], found.cpu_predicted[:]
    found.cpu_predicted = curve(50e-6, 2.4e-6, 1.3)
    found.cpu_room.available = found.cpu_room.largest = None
    assert "not known" in told(found.html())
    assert "hold batch" not in str(found).partition("  CPU: ")[2].splitlines()[0]


def test_a_large_error_is_called_one():
    found = advice()
    assert BUSY not in found.html() + str(found)
    found.cpu_predicted = curve(2e-3, 2.4e-6, 1.3)
    assert BUSY in found.html()
    assert BUSY in str(found)


def test_names_are_no_markup():
    found = advice()
    found.model, found.gpus[0].name = "<b>model</b>", "<i>&"
    page = found.html()
    assert "<b>model" not in page
    assert "&lt;b&gt;model" in page
    assert "&lt;i&gt;&amp;" in page


def test_the_command_writes_it(monkeypatch, tmp_path, capsys):
    asked = {}
    monkeypatch.setattr("xpnet.advise.advise", lambda model, **options: asked.update(options) or advice())
    target = tmp_path / "advice.html"
    assert main(["advise", "book", "--gpu", "h200", "--html", str(target)]) == 0
    assert capsys.readouterr().out == f"wrote {target}\n"
    assert target.read_text(encoding="utf-8") == advice().html()
    assert [g.name for g in asked["gpus"]] == ["H200"]


@pytest.mark.parametrize(("target", "said"), [("nowhere/page.html", "there is no folder"), (".", "is a folder: name the file")])
def test_a_place_that_cannot_be_written_is_said_before_anything_is_measured(monkeypatch, tmp_path, capsys, target, said):
    monkeypatch.setattr("xpnet.advise.advise", lambda *arguments, **options: pytest.fail("measured"))
    assert main(["advise", "book", "--gpu", "h200", "--html", str(tmp_path / target)]) == 1
    assert said in capsys.readouterr().err


def test_without_jinja2_the_command_says_so_first(monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    monkeypatch.setattr("xpnet.advise.advise", lambda *arguments, **options: pytest.fail("measured"))
    assert main(["advise", "book", "--html", str(tmp_path / "page.html")]) == 1
    assert 'pip install "xpnet[html]"' in capsys.readouterr().err


def test_html_and_json_exclude_each_other(capsys):
    with pytest.raises(SystemExit):
        main(["advise", "book", "--json", "--html", "page.html"])
    assert "not allowed with" in capsys.readouterr().err
