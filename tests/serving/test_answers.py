"""Where predictions go: whole files or none, arrays and CSV, devices as they are."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import numpy as np
import pytest

import xpnet.serving.answers as answers
from xpnet.preprocessing import Classes, Quantity
from xpnet.serving.answers import Score, writing

KINDS, PRICE = Classes("kind", ("a", "b", "c")), Quantity("price", 100.0, 10.0)
LOGITS = np.array([[2, 0, 0], [0, 3, 0], [0, 0, 1], [1, 1, 1]], np.float32)


def test_probabilities_as_an_array_in_batches(tmp_path):
    with writing(tmp_path / "out.npy", KINDS) as writer:
        for row in LOGITS:
            writer.write(row[None], ())
    found = np.load(tmp_path / "out.npy")
    assert (found.dtype, found.shape) == (np.float32, (4, 3))
    np.testing.assert_allclose(found, np.exp(LOGITS) / np.exp(LOGITS).sum(axis=1, keepdims=True), rtol=1e-6)


def test_numbers_in_their_unit_as_an_array(tmp_path):
    with writing(tmp_path / "out.npy", PRICE) as writer:
        writer.write(np.array([[0.0], [1.5]], np.float32), ())
    found = np.load(tmp_path / "out.npy")
    assert (found.dtype, found.tolist()) == (np.float64, [100.0, 115.0])


def test_lines_with_and_without_files(tmp_path):
    with writing(tmp_path / "out.csv", KINDS) as writer:
        writer.write(LOGITS[:2], ["x,1.png", "2.png"])
        writer.write(LOGITS[2:], ["3.png", "4.png"])
    lines = (tmp_path / "out.csv").read_text().splitlines()
    assert lines[:2] == ["file,prediction,probability", '"x,1.png",a,0.7870']
    assert len(lines) == 5


def broken_off(out, error: type[BaseException]) -> None:
    with writing(out, KINDS) as writer:
        writer.write(LOGITS, ())
        raise error


@pytest.mark.parametrize("name", ["out.csv", "out.npy"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, MemoryError])
def test_a_broken_run_leaves_what_was_there(tmp_path, name, error):
    out = tmp_path / name
    for before in (None, b"before"):
        if before:
            out.write_bytes(before)
        with pytest.raises(error):
            broken_off(out, error)
        assert os.listdir(tmp_path) == ([name] if before else [])
        assert not before or out.read_bytes() == before


def test_a_full_disk_leaves_what_was_there(tmp_path, monkeypatch):
    out = tmp_path / "out.csv"
    out.write_text("before")

    def full(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(answers.os, "fsync", full)
    with (
        pytest.raises(OSError, match=r"No space left on device, nothing was changed: '.*out\.csv'"),
        writing(out, KINDS) as writer,
    ):
        writer.write(LOGITS, ())
    assert out.read_text() == "before"
    assert os.listdir(tmp_path) == ["out.csv"]


@pytest.mark.skipif(os.name != "posix", reason="modes, links, devices")
def test_modes_links_and_devices(tmp_path):
    out = tmp_path / "out.csv"
    out.write_text("before")
    out.chmod(0o640)
    (tmp_path / "link.csv").symlink_to(out)
    with writing(tmp_path / "link.csv", KINDS) as writer:
        writer.write(LOGITS, ())
    assert (tmp_path / "link.csv").is_symlink()
    assert out.read_text().startswith("prediction,probability\n")
    assert stat.S_IMODE(out.stat().st_mode) == 0o640
    with writing("/dev/null", KINDS) as writer:
        writer.write(LOGITS, ())
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)
    with pytest.raises(OSError, match=r"nothing was changed: '.*none/out\.csv'"), writing(tmp_path / "none" / "out.csv", KINDS):
        pass
    with pytest.raises(IsADirectoryError, match="is a folder"), writing(tmp_path, KINDS):
        pass
    os.mkfifo(tmp_path / "pipe.npy")
    with pytest.raises(ValueError, match="is no ordinary file, which an array needs"), writing(tmp_path / "pipe.npy", KINDS):
        pass


@pytest.mark.parametrize("name", ["a.npz", "a.json", "model.safetensors", "digit.png", "a", "-"])
def test_other_names_are_refused(tmp_path, name):
    (tmp_path / "model.safetensors").write_text("a network")
    refused = pytest.raises(ValueError, match=r"predictions are written as \.csv or \.npy")
    with refused, writing(tmp_path / name, KINDS):
        pass
    assert (tmp_path / "model.safetensors").read_text() == "a network"


def test_standard_output_that_the_shell_has_opened_is_written_on(tmp_path):
    code = (
        "import numpy as np; from xpnet.preprocessing import Quantity; from xpnet.serving.answers import writing\n"
        "print('begin', flush=True)\n"
        "with writing('/dev/stdout', Quantity('y', 0.0, 1.0)) as w: w.write(np.ones((1, 1), 'f4'), ())\n"
        "print('end', flush=True)"
    )
    with open(tmp_path / "all.txt", "w") as file:
        subprocess.run([sys.executable, "-c", code], stdout=file, check=True)
    assert (tmp_path / "all.txt").read_text().split() == ["begin", "prediction", "1", "end"]


def test_a_score_of_batches_is_that_of_all(rng):
    outputs, cells = rng.standard_normal((50, 1)).astype(np.float32), [f"{v:.3f}" for v in rng.normal(100, 10, 50)]
    cells[7] = ""
    parts, whole = Score(PRICE), Score(PRICE)
    for i in range(0, 50, 8):
        parts.add(outputs[i : i + 8], cells[i : i + 8], str)
    whole.add(outputs, cells, str)
    (text,) = parts.said("{:.6g}".format)
    assert text == whole.said("{:.6g}".format)[0]
    assert "on 49 rows with a target, of 50 (flattering" in text
    assert Score(KINDS).said(str) == []
