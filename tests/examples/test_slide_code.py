"""Slide code: the right forms are xpnet's, and every slip does what the example says."""

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pytest

PATH = Path(__file__).parents[2] / "examples" / "slide_code.py"


@pytest.fixture(scope="module")
def example():
    """The example as a module."""
    spec = importlib.util.spec_from_file_location("example_slide_code", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def output(example, monkeypatch, capsys, *arguments):
    """What the example prints when it is called with these arguments."""
    monkeypatch.setattr(sys, "argv", [str(PATH), *arguments])
    example.main()
    return capsys.readouterr().out


def test_the_right_forms_are_xpnet_s(example, device):
    assert example.against_xpnet(device) < 1e-14


@pytest.mark.parametrize("shape", [(4, 3), (3, 3), (2, 5)])
def test_affine_slip(example, device, shape):
    """With dx for x the shapes always fit; with the incoming gradient they fit a square W only. Both are wrong."""
    right, slip, incoming = example.affine_by_numbers(device, shape)
    assert right < 1e-10
    assert slip > 0.5
    assert incoming is None if shape[0] != shape[1] else incoming > 0.5


def test_softmax_slips(example, device):
    (right, slip), large = example.softmax_by_numbers(device)
    assert np.allclose(right[0], 1, atol=1e-15)
    assert slip[0].sum() == pytest.approx(1)
    assert slip[0].max() < 0.6
    assert right[1] == pytest.approx([1])
    assert slip[1] == pytest.approx([1])  # a batch of one hides it
    for dtype, logit, good, bad in large:
        assert good == pytest.approx(1)
        assert np.isnan(bad) == (logit > (88.7 if dtype == "float32" else 709.7))
    assert [row[:2] for row in large if np.isnan(row[3])] == [("float32", 89), ("float64", 710), ("float64", 1000)]


def test_relu_slip_changes_the_caller_s_array(example, device):
    dy, onward = example.relu_by_numbers(device, example.relu_backward)
    assert dy.tolist() == [0.5, -0.3, 0.2, 0.7]
    assert onward.tolist() == [1.0, -0.3, 0.4, 0.7]
    dy, onward = example.relu_by_numbers(device, example.slide_relu_backward)
    assert dy.tolist() == [0.5, 0, 0.2, 0]
    assert onward.tolist() == [1.0, 0, 0.4, 0]


def test_what_gradcheck_finds(example, device):
    assert list(example.gradchecks(device).values()) == [False, False, True, True, True, False]


def test_the_consequence_in_training(example, device):
    rows = {name.strip(): row for name, row in example.trainings(device).items()}
    right = rows["64-32-10, right"]
    assert right[1] > 0.92
    assert rows["dx.T for x.T"][1] < 0.4
    assert rows["softmax over the whole batch"][1] < 0.2
    assert rows["softmax over the whole batch"][2] > 1e30
    assert rows["softmax without the maximum"][:2] == pytest.approx(right[:2], abs=0.006)
    assert rows["ReLU in place"] == right  # harmless in a chain
    assert rows["64-32-10, pixels 0..255, right"][1] > 0.75
    assert np.isnan(rows["without the maximum, pixels 0..255"][2])
    assert rows["ReLU in place, 4 residual blocks"][0] < rows["4 residual blocks in it, right"][0] - 0.1


def test_it_prints_the_same_on_cpu_and_sim(example, monkeypatch, capsys):
    cpu, sim = (output(example, monkeypatch, capsys, "--device", name) for name in ("cpu", "sim"))
    assert cpu == sim
    assert "float32   z =    89    1.00     nan\n" in cpu
    assert "equal to 12 digits" in cpu
