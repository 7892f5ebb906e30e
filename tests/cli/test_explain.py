"""``xpnet explain``: what it prints and writes, and how it fails."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

import xpnet as xn
from xpnet.cli import main
from xpnet.models import MODELS

MINE = """
import numpy as np, xpnet as xn

def model():
    net = xn.Sequential(xn.Affine(2), xn.ReLU(), xn.Affine(3))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.01), device="cpu")
    return trainer, np.random.default_rng(0).standard_normal((9, 4)), np.arange(9) % 3

def nothing():
    pass
"""


@pytest.fixture
def mine(tmp_path):
    path = tmp_path / "mine.py"
    path.write_text(MINE)
    return path


def test_text(capsys, device):
    assert main(["explain", "worked", "--device", device.name]) == 0
    printed, errors = capsys.readouterr()
    assert printed == f"{xn.explain('worked', device=device)}\n"
    assert errors == ""
    assert "    gradient (1, 1)                   -8.25\n    after (1, 1)                      0.1825\n" in printed


def test_rows_and_digits(capsys, mine):
    assert main(["explain", f"{mine}:model", "--sample", "3:7", "--digits", "2"]) == 0
    printed = capsys.readouterr().out
    assert printed.startswith(f"One training step of {mine}:model: rows 3 to 6 of 9, on cpu in float32\n")
    assert printed == xn.explain(f"{mine}:model", sample="3:7").text(2) + "\n"
    assert "targets (4,) int64                0  1  2  0\n" in printed


def test_json(capsys):
    assert main(["explain", "book", "--sample", "0:2", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found == xn.explain("book", sample="0:2").as_dict()
    assert found["x"]["shape"] == [2, 784]


@pytest.mark.extras
def test_page(capsys, tmp_path, mine):
    pytest.importorskip("jinja2")
    target = tmp_path / "made of mine.html"
    target.write_text("old")
    assert main(["explain", f"{mine}:model", "--html", str(target), "--digits", "3"]) == 0
    assert capsys.readouterr().out == f"wrote {target}\n"
    assert target.read_text(encoding="utf-8") == xn.explain(f"{mine}:model").html(3)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["made of mine.html", "mine.py"]


@pytest.mark.extras
def test_a_page_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    pytest.importorskip("jinja2")
    from xpnet.pages import save

    target = tmp_path / "page.html"
    target.write_text("old")
    with pytest.raises(UnicodeEncodeError):
        save("half of it \ud800", target)
    assert [p.name for p in tmp_path.iterdir()] == ["page.html"]
    assert target.read_text() == "old"


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes")
def test_a_pipe_or_a_device_is_written_to_and_not_replaced(tmp_path):
    from xpnet.pages import save

    os.mkfifo(pipe := tmp_path / "pipe")
    reader = subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True)
    save("the page", pipe)
    assert reader.communicate(timeout=20)[0] == "the page"
    assert pipe.is_fifo()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["boook"], "no model is called 'boook': say book, mlp,"),
        (["{file}:modle"], "mine.py has no function modle; it has model, nothing"),
        (["{file}:nothing"], "a model is a tuple (trainer, x, y)"),
        (["nowhere.py:model"], "there is no file"),
        (["book", "--device", "gpu"], "no device is called 'gpu'"),
        (["book", "--device", "cuda:99"], "cuda"),
        (["book", "--sample", "10"], "sample 10: there is no row 10, the model's data have rows 0 to 9"),
        (["worked", "--sample", "1"], "the model's data have only row 0"),
        (["book", "--sample", "-1"], "sample -1: a row counted from 0"),
        (["book", "--sample", "three"], "sample three: a row counted from 0, as in 0, or several, as in 3:7"),
        (["book", "--digits", "0"], "digits=0"),
        (["book", "--digits", "99"], "digits=99: float64 has no more than 17"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_are_said_in_one_line(capsys, mine, arguments, said):
    assert main(["explain", *(a.replace("{file}", str(mine)) for a in arguments)]) == 1
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith("xpnet explain: ")
    assert said in error
    assert error.count("\n") == 1


@pytest.mark.extras
@pytest.mark.parametrize(("target", "said"), [("nowhere/page.html", "there is no folder"), (".", "is a folder: name the file")])
def test_a_page_that_cannot_be_written_is_said_before_the_step(capsys, tmp_path, monkeypatch, target, said):
    pytest.importorskip("jinja2")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("xpnet.explain", lambda *a, **k: pytest.fail("the step was made"))
    assert main(["explain", "worked", "--html", target]) == 1
    assert said in capsys.readouterr().err


def test_without_jinja2(capsys, monkeypatch, tmp_path):
    monkeypatch.setitem(sys.modules, "jinja2", None)
    assert main(["explain", "worked", "--html", str(tmp_path / "page.html")]) == 1
    assert 'pip install "xpnet[html]"' in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["explain", "worked"]) == 0


def test_help_lists_the_built_in_models(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["explain", "--help"])
    assert stop.value.code == 0
    assert ", ".join(MODELS) in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(
    "arguments", [["explain"], ["explain", "book", "--json", "--html", "x"], ["explain", "book", "--digits", "x"]]
)
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "--help lists the options" in capsys.readouterr().err


def test_text_is_ascii_for_terminals_of_every_encoding():
    command = [sys.executable, "-m", "xpnet", "explain", "residual", "--sample", "0:2"]
    done = subprocess.run(command, capture_output=True, check=True)
    assert done.stdout.decode("ascii").startswith("One training step of residual: rows 0 to 1 of 32")
