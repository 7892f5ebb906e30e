"""``xpnet predict`` in batches: any size gives the same, and what breaks off leaves the old predictions."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from predict_helpers import run

import xpnet as xn

LINES = [(i % 10, ("red", "blue", "green")[i % 3], 1000 * (i % 10) + 500 * (i % 3)) for i in range(90)]


def table(path: Path, lines: list[tuple] = LINES) -> Path:
    path.write_text("size,colour,price\n" + "".join(f"{size},{colour},{price}\n" for size, colour, price in lines))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Two nets: ``price`` (a number), ``colour`` (classes)."""
    folder = tmp_path_factory.mktemp("nets")
    path = table(folder / "train.csv")
    for target in ("price", "colour"):
        assert run("train", path, "--target", target, "--save", folder / target, "--device", "cpu", "--epochs", "3") == 0
    return folder


def test_batches_of_any_size_give_the_same(capsys, folder, tmp_path):
    path, found, said = table(tmp_path / "a.csv"), [], set()
    for size in ("1", "7", "90", "1000"):
        capsys.readouterr()
        assert run("predict", folder / "price", path, "--batch-size", size, "--device", "cpu") == 0
        out, error = capsys.readouterr()
        found.append([float(line) for line in out.splitlines()[1:]])
        said.add(error)
    assert len(found[0]) == 90
    for other in found[1:]:
        np.testing.assert_allclose(other, found[0], rtol=1e-5)
    assert len(said) == 1
    assert run("predict", folder / "price", path, "--batch-size", "0", "--device", "cpu") == 1
    assert "--batch-size=0: it is a whole number from 1 on" in capsys.readouterr().err


def test_an_array_of_probabilities_or_of_numbers(capsys, folder, tmp_path):
    path = table(tmp_path / "a.csv", LINES[:9])
    for net, shape in (("colour", (9, 3)), ("price", (9,))):
        assert run("predict", folder / net, path, "--out", tmp_path / "out.npy", "--batch-size", "4", "--device", "cpu") == 0
        assert np.load(tmp_path / "out.npy").shape == shape
    capsys.readouterr()


def test_an_error_in_a_later_batch_leaves_the_old_file(capsys, folder, tmp_path):
    path, out = table(tmp_path / "a.csv", [*LINES[:20], (1, "pink", 3)]), tmp_path / "out.csv"
    out.write_text("before")
    assert run("predict", folder / "price", path, "--out", out, "--batch-size", "5", "--device", "cpu") == 1
    assert "a.csv:22, column 'colour': 'pink' is none of the 3" in capsys.readouterr().err
    assert out.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "out.csv"]


def test_ctrl_c_leaves_the_old_file_and_says_so(capsys, folder, tmp_path, monkeypatch):
    path, out = table(tmp_path / "a.csv"), tmp_path / "out.csv"
    out.write_text("before")
    predict, calls = xn.Sequential.predict, []

    def interrupted(self, x, *rest):
        calls.append(len(x))
        if len(calls) == 3:
            raise KeyboardInterrupt
        return predict(self, x, *rest)

    monkeypatch.setattr(xn.Sequential, "predict", interrupted)
    capsys.readouterr()
    assert run("predict", folder / "price", path, "--out", out, "--batch-size", "10", "--device", "cpu") == 130
    assert capsys.readouterr().err == f"stopped after 20 rows, {out} was left as it was\n"
    assert out.read_text() == "before"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.csv", "out.csv"]
