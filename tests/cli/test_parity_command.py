"""``xpnet parity``: what it prints, its exit status, and how it fails."""

from __future__ import annotations

import json

import pytest
from core_helpers import exact

from xpnet.cli import main
from xpnet.models import MODELS

PLANTED = """
import numpy as np, xpnet as xn

class Wrong(xn.Affine):
    def backward(self, dy, x, step):
        dx = super().backward(dy, x, step)
        if step.device.kind == "sim" and step.number >= 2:
            self.W.grad *= 1.001
        return dx

def model():
    net = xn.Sequential(xn.Affine(6), xn.ReLU(), Wrong(3))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.01), device="cpu")
    return trainer, np.random.default_rng(0).standard_normal((9, 4)), np.arange(9) % 3

def nothing():
    pass
"""


@pytest.fixture
def planted(tmp_path):
    path = tmp_path / "planted.py"
    path.write_text(PLANTED)
    return path


def test_a_clean_run(capsys, device):
    assert main(["parity", "book", "--devices", "cpu", device.name]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    assert printed.startswith(f"largest differences of cpu and {device.name}: relative (ULP)\n")
    assert "\n2: Affine(n_out=10" in printed
    if exact(device):
        assert printed.endswith(f"\ncpu and {device.name}: 50 steps, byte-equal.\n")


def test_cpu_and_sim_are_the_default(capsys):
    assert main(["parity", "colors", "--steps", "2"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "cpu and sim: 2 steps, byte-equal."


def test_a_planted_error_is_named_and_gives_exit_status_1(capsys, planted):
    assert main(["parity", f"{planted}:model"]) == 1
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.startswith("cpu and sim part at step 3 in the backward of layer 2: Wrong(n_out=3): gradient W differs by ")
    assert last.endswith("; tolerance 1e-05.")


def test_the_tolerance(capsys, planted):
    assert main(["parity", f"{planted}:model", "--rtol", "0.01"]) == 0
    assert "the same within 0.01; furthest apart at step" in capsys.readouterr().out
    assert main(["parity", f"{planted}:model", "--steps", "2"]) == 0


def test_json(capsys, planted):
    assert main(["parity", f"{planted}:model", "--json", "--devices", "cpu", "sim:1"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["devices"] == ["cpu", "sim:1"]
    assert (found["first"]["path"], found["first"]["quantity"], found["first"]["step"]) == ("2", "gradient W", 3)
    assert main(["parity", "colors", "--json", "--steps", "1"]) == 0
    assert json.loads(capsys.readouterr().out)["first"] is None


def test_help_lists_the_built_in_models(capsys):
    with pytest.raises(SystemExit) as stop:
        main(["parity", "--help"])
    assert stop.value.code == 0
    text = " ".join(capsys.readouterr().out.split())
    assert ", ".join(MODELS) in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["boook"], "no model is called 'boook': say book, mlp,"),
        (["{file}:modle"], "planted.py has no function modle; it has Wrong, model, nothing"),
        (["{file}:nothing"], "a model is a tuple (trainer, x, y)"),
        (["nowhere.py:model"], "there is no file"),
        (["book", "--devices", "cpu", "gpu"], "no device is called 'gpu'"),
        (["book", "--devices", "cpu", "cuda:99"], "cuda"),
        (["book", "--steps", "0"], "steps=0"),
        (["book", "--rtol", "-1"], "rtol=-1.0"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_mistakes_are_said_in_one_line(capsys, planted, arguments, said):
    arguments = [a.replace("{file}", str(planted)) for a in arguments]
    assert main(["parity", *arguments]) == 1
    printed, error = capsys.readouterr()
    assert printed == ""
    assert error.startswith("xpnet parity: ")
    assert said in error
    assert error.count("\n") == 1


def test_traceback(planted):
    with pytest.raises(ValueError, match="no model is called"):
        main(["parity", "boook", "--traceback"])


@pytest.mark.parametrize(
    "arguments", [["parity"], ["parity", "book", "--devices", "cpu"], ["parity", "book", "--steps", "many"]]
)
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    assert "--help lists the options" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("def model():\n    raise ValueError('no data')\n", ["xpnet parity: no data", "ValueError at {file}:2"]),
        ("import json\nraise RuntimeError('early')\n", ["xpnet parity: early", "RuntimeError at {file}:2"]),
        ("def model(n):\n    pass\n", ["missing 1 required positional argument: 'n'"]),
        ("x = 1\ndef model(:\n", ["xpnet parity: {file}:2: invalid syntax"]),
    ],
)
def test_an_error_of_the_file_names_its_line(text, says, tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(text)
    assert main(["parity", f"{file}:model"]) == 1
    error = capsys.readouterr().err
    assert all(part.format(file=file) in error for part in says)
