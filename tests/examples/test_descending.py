"""Descending: xpnet's rules follow the formulas, the settings of the textbook end where they should, equal on every device."""

from __future__ import annotations

import functools
import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import xpnet as xn

ROOT = Path(__file__).parents[2]
PATH = ROOT / "examples/descending.py"
SPEC = importlib.util.spec_from_file_location("descending", PATH)
example = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(example)


@functools.cache
def call(*arguments: str) -> str:
    done = subprocess.run([sys.executable, str(PATH), *arguments], capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


class TestBowl:
    def test_the_layer_and_the_loss_are_right(self) -> None:
        xn.gradcheck(example.Shift(), (2,))
        xn.gradcheck(example.Bowl(), (2,))
        assert example.bowl(-7, 2) == pytest.approx(6.45)

    @pytest.mark.parametrize("name", example.RULES)
    def test_the_path_is_the_formula_s(self, name: str, device) -> None:
        rule, rate = example.RULES[name]
        path = example.descend(rule, rate, device.name)
        assert path.shape == (31, 2)
        assert path[0].tolist() == [-7, 2]
        np.testing.assert_allclose(path, example.by_formula(name, rate), rtol=0, atol=1e-12)

    def test_sgd_in_closed_form(self) -> None:
        """Each step multiplies x by 1 - rate / 10 and y by 1 - 2 rate."""
        path, k = example.descend(xn.SGD, 0.95, "cpu"), np.arange(31)
        np.testing.assert_allclose(path, np.transpose([-7 * 0.905**k, 2 * (-0.9) ** k]), rtol=1e-12)

    def test_first_steps_by_hand(self) -> None:
        """AdaGrad's and Adam's first step is the rate along each axis, whatever the slope; momentum's is plain."""
        first = {name: example.descend(*setting, "cpu", steps=1)[1] for name, setting in example.RULES.items()}
        np.testing.assert_allclose(first["SGD"], [-7 + 0.95 * 0.7, 2 - 0.95 * 4], rtol=1e-12)
        np.testing.assert_allclose(first["Momentum"], [-6.93, 1.6], rtol=1e-12)
        np.testing.assert_allclose(first["AdaGrad"], [-5.5, 0.5], rtol=1e-8)
        np.testing.assert_allclose(first["Adam"], [-6.7, 1.7], rtol=1e-7)

    def test_where_they_end(self) -> None:
        ends = {name: example.bowl(*example.descend(*setting, "cpu")[-1]) for name, setting in example.RULES.items()}
        assert ends == pytest.approx({"SGD": 0.013327, "Momentum": 0.047937, "AdaGrad": 0.000722, "Adam": 0.102205}, abs=1e-6)


class TestLearningRates:
    def test_verdicts(self) -> None:
        found = example.learning_rates(example.digits(quick=True), "cpu", epochs=5)
        assert [(what, rate, example.verdict(losses).partition(":")[0]) for (what, rate), losses in found.items()] == [
            ("bowl", 0.01, "too small"),
            ("bowl", 0.1, "descends"),
            ("bowl", 0.95, "descends"),
            ("bowl", 1.05, "diverges"),
            ("digits", 0.001, "too small"),
            ("digits", 0.1, "descends"),
            ("digits", 100.0, "diverges"),
        ]
        assert found["bowl", 1.05][-1] == pytest.approx(1.1**60 * 4 + 0.895**60 * 2.45)  # y grows by 1.1 a step

    def test_the_verdict_of_what_is_not_a_number(self) -> None:
        assert example.verdict([1, float("nan")]) == "diverges"
        assert example.verdict([1, float("inf")]) == "diverges"


class TestRegimes:
    def test_updates_and_order(self) -> None:
        found = example.regimes(example.digits(quick=True), "cpu", epochs=2)
        assert {name: updates for name, (updates, *_) in found.items()} == {
            "full batch": 2,
            "minibatch of 32": 26,
            "online": 800,
        }
        full, mini, online = (losses[-1] for _, losses, *_ in found.values())
        assert full > mini > online
        assert all(len(losses) == 3 for _, losses, *_ in found.values())

    def test_the_updates_are_those_counted(self, device, monkeypatch: pytest.MonkeyPatch) -> None:
        steps = []
        monkeypatch.setattr(xn.SGD, "update", lambda self, parameters: steps.append(1))
        for size, count in ((None, 1), (32, 13), ("online", 400)):
            steps.clear()
            example.fit_digits(xn.SGD(0.05), example.digits(quick=True), device.name, 1, size)
            assert len(steps) == count

    def test_online_is_a_fit_of_single_rows(self) -> None:
        data = example.digits(quick=True)
        online = example.fit_digits(xn.SGD(0.05), data, "cpu", 2, "online")
        assert online == example.fit_digits(xn.SGD(0.05), data, "cpu", 2, 1)


def test_the_four_rules_on_digits() -> None:
    """The whole training set, 5 epochs, 2 of the 5 seeds: at the usual rates momentum leads and plain SGD is last."""
    found = example.rules_on_digits(example.digits(quick=False), "cpu", 5, 2)
    means = {name: np.mean([accuracy for _, accuracy in runs]) for name, runs in found.items()}
    assert sorted(means, key=means.get) == ["SGD", "Adam", "AdaGrad", "Momentum"]
    assert means["SGD"] < 0.6
    assert means["Momentum"] > 0.91
    assert found["Adam"][0] != found["Adam"][1]


def test_the_same_text_on_every_device(device) -> None:
    def timeless(text: str) -> str:
        return re.sub(r" +\d+\.\d+ s\b", " - s", text)

    text = timeless(call("--quick", "--device", device.name))
    assert text == timeless(call("--quick", "--device", "cpu"))
    assert "from the formulas in plain Python below 1e-12: yes" in text
    assert re.search(r"f end +0\.013327 +0\.047937 +0\.000722 +0\.102205\n", text)
    assert re.search(r"bowl +1\.05 +6\.4500 +1218 +diverges\n", text)


@pytest.mark.extras
def test_picture(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    path = tmp_path / "descending.png"
    call("--quick", "--picture", str(path))
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    assert len(path.read_bytes()) > 20_000
