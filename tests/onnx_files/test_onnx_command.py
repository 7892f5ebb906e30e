"""``xpnet export``, the file that it writes, and the page on ONNX."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn
from xpnet import extras
from xpnet.cli import main
from xpnet.onnx import export, load
from xpnet.saving.models import load_model

PAGE = Path(__file__).parents[2] / "docs" / "onnx.md"


def code():
    pieces = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(pieces) == 3
    return pieces


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("saved") / "model"
    assert main(["train", "digits", "--epochs", "1", "--hidden", "12", "--device", "cpu", "--save", str(folder)]) == 0
    return folder


@pytest.mark.extras
def test_export(model, tmp_path, capsys):
    pytest.importorskip("onnx")
    out = tmp_path / "net.onnx"
    assert main(["export", str(model), str(out)]) == 0
    assert capsys.readouterr().out == f"wrote {out}: (N, 64) -> (N, 10), float32, rows prepared as in training\n"
    x = np.random.default_rng(0).random((5, 64)).astype("float32")
    np.testing.assert_allclose(load(out).predict(x), load_model(model).net.predict(x), atol=1e-6)
    assert main(["export", str(model), str(out), "--channels-first"]) == 0  # in its place


@pytest.mark.extras
def test_export_of_a_network_alone(tmp_path, capsys):
    pytest.importorskip("onnx")
    net = xn.Sequential(xn.Conv2d(2, 3), xn.Flatten(), xn.Affine(3)).build((6, 5, 1))
    net.save(tmp_path / "net.safetensors")
    assert main(["export", str(tmp_path / "net.safetensors"), str(tmp_path / "net.onnx"), "--channels-first"]) == 0
    assert "(N, 1, 6, 5) -> (N, 3), float32" in capsys.readouterr().out
    x = np.random.default_rng(0).random((5, 6, 5, 1)).astype("float32")
    np.testing.assert_allclose(load(tmp_path / "net.onnx").predict(x), net.predict(x), atol=1e-6)


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ("net.txt", "net.txt: the name of an ONNX file ends in .onnx"),
        ("no/net.onnx", "there is no folder"),
        (".onnx/", "a.onnx is a folder: give the path of a file"),
    ],
)
def test_places_that_are_none(model, tmp_path, capsys, monkeypatch, out, said):
    monkeypatch.chdir(tmp_path)
    Path("a.onnx").mkdir()
    assert main(["export", str(model), "a.onnx" if out == ".onnx/" else out]) == 1
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["a.onnx"]


def test_without_the_library(model, tmp_path, capsys, monkeypatch):
    def absent(module, extra):
        raise extras.MissingExtra(f"this needs {module}: {extra}")

    monkeypatch.setattr(extras, "load", absent)
    assert main(["export", str(model), str(tmp_path / "net.onnx")]) == 1
    assert "this needs onnx: onnx" in capsys.readouterr().err
    (tmp_path / "net.onnx").write_bytes(b"")
    with pytest.raises(extras.MissingExtra):
        load(tmp_path / "net.onnx")


def run_page(pieces):
    scope: dict = {"__name__": "documentation"}
    for piece in pieces:
        exec(compile(piece, str(PAGE), "exec"), scope)


@pytest.mark.extras
def test_the_page_s_code_runs(tmp_path, monkeypatch):
    pytest.importorskip("onnxruntime")
    pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    run_page(code()[:2])


@pytest.mark.torch
@pytest.mark.filterwarnings("ignore")  # PyTorch's exporter has some
def test_the_page_s_code_with_pytorch_runs(tmp_path, monkeypatch):
    for library in ("torch", "onnxscript", "onnx", "onnxruntime"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    run_page(code())


@pytest.mark.extras
def test_the_page_names_every_operator_that_is_read():
    from xpnet.onnx.read import TABLE

    page = PAGE.read_text()
    assert [op for op in TABLE if f"`{op}`" not in page] == []
    assert [name for name in xn.layers.__all__ if name != "Layer" and f"`{name}`" not in page] == []


@pytest.mark.extras
def test_export_needs_no_other_library(tmp_path, monkeypatch):
    """Writing and reading import onnx alone."""
    pytest.importorskip("onnx")
    asked = []
    monkeypatch.setattr(extras, "load", lambda module, extra, load=extras.load: asked.append(module) or load(module, extra))
    export(xn.Sequential(xn.Affine(2)).build(3), tmp_path / "net.onnx")
    load(tmp_path / "net.onnx")
    assert {module.partition(".")[0] for module in asked} == {"onnx", "google"}
