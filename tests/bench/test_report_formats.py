"""How ``xpnet report`` writes numbers, and its page and tables for GitHub: every figure is that of the files."""

from __future__ import annotations

import json
import re
import statistics
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest
from report_helpers import MODELS, one_run, result, runs

from xpnet.bench import charts, html, markdown
from xpnet.bench.cells import Measured, Table, rate, share, thousands, time, times
from xpnet.bench.results import Case
from xpnet.cli import main

UNITS = {
    "s": 1,
    "ms": 1e-3,
    "µs": 1e-6,
    "ns": 1e-9,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "%": 0.01,
    "\N{MULTIPLICATION SIGN}": 1,
    "": 1,
}


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(1.234e-5, "12.3 µs"), (9.996e-4, "1.00 ms"), (2.5, "2.50 s"), (61e-9, "61.0 ns"), (5e-10, "0.500 ns"), (321.4, "321 s")],
)
def test_times(seconds, shown):
    found = result(Case("harness", "nothing", "no-op"), seconds)
    found.seconds = [seconds] * 3
    assert time(Measured("", found)).text == shown


@pytest.mark.parametrize(
    ("value", "shown"), [(94.7, "94.7"), (1234, "1.23k"), (999_700, "1.00M"), (18.5e6, "18.5M"), (3e9, "3.00G")]
)
def test_rates(value, shown):
    assert thousands(value) == shown


@pytest.mark.parametrize(
    ("slow", "shown"), [(31.4, "31x"), (2.25, "2.2x"), (12.34, "12.3x"), (1.234, "1.23x"), (0.5, "0.50x"), (0.0123, "0.012x")]
)
def test_ratios(slow, shown):
    first, second = (result(Case("forms", "m", form, batch=1), 1.0) for form in ("per sample", "matrix"))
    first.seconds, second.seconds = [slow] * 4, [1.0] * 4
    assert times(Measured("", first), Measured("", second), Table([], [])).text == shown


def test_small_numbers():
    assert [share(x).text for x in (0.431, 0.057, 0.00028, 0.0)] == ["43%", "5.7%", "0.028%", "0%"]
    assert rate(None).text == "-"


@pytest.mark.parametrize(
    ("low", "high", "found"),
    [(13e3, 2e6, [1e4, 1e5, 1e6, 1e7]), (25, 220, [20, 50, 100, 200, 500]), (1, 1, [1, 2]), (0.6, 1.4, [0.5, 1, 2])],
)
def test_ticks(low, high, found):
    assert charts.ticks(low, high) == pytest.approx(found)


# The page, and tables for GitHub


class Numbers(HTMLParser):
    """Every element that says which results it is of: (section, tag, attributes, text)."""

    def __init__(self):
        super().__init__()
        self.found, self.section, self.inside = [], "", False

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        self.section = attributes["id"] if tag == "section" else self.section
        if "data-of" in attributes:
            self.found.append((self.section, tag, attributes, ""))
            self.inside = True
        elif tag in ("small", "sup", "title"):
            self.inside = False

    def handle_endtag(self, tag):
        self.inside = self.inside and tag not in ("td", "b", "g")

    def handle_data(self, data):
        if self.inside:
            *rest, before = self.found[-1]
            self.found[-1] = (*rest, before + data)


@pytest.mark.extras
def test_every_number_of_the_page_is_the_files(files, tmp_path, capsys):
    pytest.importorskip("jinja2")
    target = tmp_path / "report.html"
    assert main(["report", *files, "--html", str(target)]) == 0
    assert capsys.readouterr().out == f"wrote {target}\n"
    parser = Numbers()
    parser.feed(target.read_text(encoding="utf-8"))
    known = {}
    for label, path in zip("AB", files, strict=True):
        with open(path, encoding="utf-8") as file:
            for r in json.load(file)["runs"][0]["results"]:
                threads = f"{r['threads']} thread{'s' if r['threads'] > 1 else ''}"
                batch = [f"batch {r['batch']}"] if r["batch"] else []
                peer = [] if r["peer"] == "xpnet" else [r["peer"]]
                name = " / ".join([r["suite"], r["model"], r["form"], r["device"], r["dtype"], *batch, threads, *peer])
                known[f"{label}: {name}"] = r
    assert len(parser.found) > 500
    for section, tag, attributes, shown in parser.found:
        of, value = [known[name] for name in attributes["data-of"].split(" | ")], float(attributes["data-value"])
        medians = [statistics.median(r["seconds"]) for r in of]
        assert medians == [r["median"] for r in of]
        if len(of) == 2:
            assert value == medians[0] / medians[1]
        elif section == "checks":
            check = of[0]["check"]
            assert value in (check["difference"], check["difference"] / check["tolerance"])
        elif not shown.endswith("%"):
            assert value in (medians[0], max(of[0]["batch"], 1) / medians[0])
        if tag != "g":
            assert read(shown) == pytest.approx(value, rel=0.051, abs=0)  # two digits at least
        if "data-low" in attributes:
            assert float(attributes["data-low"]) <= value <= float(attributes["data-high"])


def read(shown: str) -> float:
    """The number that is shown as ``12.3 µs``, ``285k`` or with a sign of multiplication."""
    number, unit = re.fullmatch(r"([\d.e-]+) ?(.*)", shown.strip()).groups()
    return float(number) * UNITS[unit]


@pytest.mark.extras
def test_the_page_is_one_file_and_its_drawings_are_whole():
    pytest.importorskip("jinja2")
    page = html.page(runs())
    assert not re.search(r"<script|<link|\bsrc=|@import|url\(|https?:", page)
    drawings = [ElementTree.fromstring(found) for found in re.findall(r"<svg.*?</svg>", page, re.DOTALL)]
    assert len(drawings) > 15
    for drawing in drawings:
        assert drawing.get("role") == "img"
        assert drawing.find("title").text
        assert drawing.find("desc").text
    assert "whole minibatch, CPU: 33.1k at batch 1, 285k at batch 10" in page
    assert "cupy-cuda13x 14.2.0" in page  # no sign of multiplication


@pytest.mark.extras
def test_names_are_no_markup():
    pytest.importorskip("jinja2")
    odd = one_run(result(Case("forms", "<b>|net|", "matrix", batch=10), 1e-4), cpu={"model": "<i>&", "usable_cores": 2})
    page = html.page([odd])
    assert "<b>|net|" not in page
    assert "&lt;b&gt;|net|" in page
    assert "&lt;i&gt;&amp;" in page
    assert r"\<b>\|net\|" in markdown.page([odd])


def test_markdown(files, tmp_path, capsys):
    target = tmp_path / "report.md"
    assert main(["report", *files, "--markdown", str(target)]) == 0
    assert capsys.readouterr().out == f"wrote {target}\n"
    found = target.read_text(encoding="utf-8")
    assert found.startswith("# xpnet benchmarks\n\n- A Intel")
    assert (
        "- **50x (48..51)** Whole minibatch against the per-sample loop: 784-30-10, CPU of A, 1 thread, float32, batch 100."
        in found
    )
    tables = re.findall(r"(?:^\|.*\n)+", found, re.MULTILINE)
    assert len(tables) > 3 * len(MODELS)
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", line)) for line in table.splitlines()}) == 1
