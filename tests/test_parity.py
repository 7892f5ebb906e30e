"""Parity: a clean run is byte-equal, a planted error is named by layer, quantity and step, and blames nobody else."""

from __future__ import annotations

import copy
import json
import math

import numpy as np
import pytest
from contract_layers import BatchNorm, Branches, custom
from core_helpers import classes_data, exact
from parity_helpers import EXACT, Wrong, assert_clean, blamed, compared, trainer_of

import xpnet as xn
from xpnet.models import MODELS

SMALL = [name for name in MODELS if name != "wide"]


class TestClean:
    @pytest.mark.parametrize("name", SMALL)
    def test_fifty_steps_of_a_built_in_model(self, device, name):
        result = xn.parity(name, devices=("cpu", device.name))
        assert result.ok, result
        if exact(device) and not (name == "lenet" and device.kind == "sim"):  # which convolves in another way than the CPU
            assert_clean(result)
        assert result.steps == 50
        assert result.devices == ("cpu", device.name)

    def test_a_wide_one(self):
        assert_clean(xn.parity("wide", steps=1))

    @pytest.mark.parametrize("devices", [("sim", "cpu"), ("sim", "sim"), ("cpu", "cpu"), ("sim:1", xn.device("sim"))], ids=str)
    def test_any_two_devices(self, devices):
        assert_clean(xn.parity("residual", devices=devices, steps=3))

    def test_float64(self):
        result = compared(xn.Affine(6), xn.GELU(), xn.Dropout(0.3), xn.Affine(3), dtype="float64")
        assert_clean(result)
        assert result.rtol == 1e-12
        assert compared(xn.Affine(3)).rtol == 1e-5

    @custom
    def test_layers_of_a_user(self, make, shape):
        x, y = classes_data(20, int(np.prod(shape)))
        data = x.reshape(-1, *shape), y
        assert_clean(compared(make(), xn.Flatten(), xn.Affine(3), data=data, optimizer=xn.Adam(0.01)))

    def test_layers_without_parameters(self):
        x = np.ones((5, 3), np.float32)
        result = compared(xn.Tanh(), xn.Identity(), loss=xn.MeanSquaredError(), data=(x, x))
        assert_clean(result)
        assert [row.parameters for row in result.layers] == [None] * 3

    def test_samples_without_features(self):
        class Column(xn.Layer):
            def build(self, shape, make):
                return (1,)

            def forward(self, x, step):
                return x.reshape(-1, 1), None

            def backward(self, dy, cache, step):
                return dy.reshape(-1)

        x = np.linspace(-1, 1, 7, dtype=np.float32)
        assert_clean(compared(Column(), xn.Affine(1), loss=xn.MeanSquaredError(), data=(x, 2 * x)))

    def test_the_rows_tell_what_was_compared(self):
        result = compared(xn.Affine(6), xn.ReLU(), xn.Residual(xn.Affine(6), shortcut=BatchNorm()), xn.Affine(3))
        kinds = {row.path: [c for c in ("output", "dx", "gradients", "parameters") if getattr(row, c)] for row in result.layers}
        assert kinds == {
            "0": ["output", "gradients", "parameters"],  # nobody asks for the gradient of the input
            "1": ["output", "dx"],
            "2": ["output", "dx", "gradients", "parameters"],  # those inside it; the running statistics
            "2.0": ["output", "dx", "gradients", "parameters"],
            "2.shortcut": ["output", "dx", "gradients", "parameters"],
            "3": ["output", "dx", "gradients", "parameters"],
            "loss": ["output", "gradients"],
        }
        assert list(kinds) == ["0", "1", "2", "2.0", "2.shortcut", "3", "loss"]
        assert all(row.identical for row in result.layers)

    def test_layer_10_is_not_inside_layer_1(self):
        result = compared(xn.Affine(4), *(xn.Identity() for _ in range(9)), xn.Affine(3))
        assert [row.path for row in result.layers if row.gradients] == ["0", "10", "loss"]

    @pytest.mark.parametrize("batch_size", [None, 8], ids=str)
    def test_the_steps_are_those_of_fit(self, batch_size):
        class Recorder(xn.Layer):
            def forward(self, x, step):
                if step.training:
                    seen.append(step.device.get(x).tobytes())
                return x, None

            def backward(self, dy, cache, step):
                return dy

        seen = []
        x, y = classes_data(20)
        trainer = trainer_of(Recorder(), xn.Affine(3), xn.Dropout(0.5), seed=7)
        trainer.fit(x, y, epochs=1, batch_size=batch_size)
        fresh = copy.deepcopy(trainer)
        seen.clear()
        steps = 2 * (1 if batch_size is None else 3)
        assert_clean(xn.parity((fresh, x, y), steps=steps, batch_size=batch_size))
        both = seen.copy()
        seen.clear()
        trainer.fit(x, y, epochs=2, batch_size=batch_size)
        assert both == [rows for rows in seen for _ in range(2)]


class TestPlanted:
    @pytest.mark.parametrize("since", [1, 3])
    @pytest.mark.parametrize("where", ["output", "gradient W", "gradient b", "dx"])
    @pytest.mark.parametrize("path", ["1", "3.0", "3.1.0", "3.shortcut", "4"])
    def test_is_named_exactly(self, path, where, since):
        def affine(here, n):
            return Wrong(n, *((where, since) if here == path else ()))

        inner = xn.Sequential(affine("3.1.0", 6), xn.Tanh())
        block = xn.Residual(affine("3.0", 5), inner, shortcut=affine("3.shortcut", 6))
        result = compared(xn.Affine(5), affine("1", 6), xn.ReLU(), block, affine("4", 3), optimizer=xn.SGD(1e-3))
        first = result.first
        assert (first.path, first.quantity, first.step) == (path, where, since)
        assert first.layer == repr(affine(path, {"1": 6, "3.0": 5, "3.1.0": 6, "3.shortcut": 6, "4": 3}[path]))
        assert 0.5e-3 < first.relative < 1.01e-3
        assert 8000 < first.ulp < 17000
        assert blamed(result) == [(path, {"output": "output", "dx": "dx"}.get(where, "gradients"))]
        if EXACT:
            assert [row.path for row in result.layers if not row.identical] == [path]
        assert not result
        assert result.verdict().startswith(
            f"cpu and sim part at step {since} in the {'forward' if where == 'output' else 'backward'} of layer {path}: "
            f"Wrong(n_out={first.layer[12]}, where='{where}'{', since=3' if since == 3 else ''}): {where} differs by "
        )

    def test_the_sentence(self):
        result = compared(xn.Affine(6), xn.ReLU(), Wrong(3, "gradient W", since=3))
        assert result.verdict() == (
            f"cpu and sim part at step 3 in the backward of layer 2: Wrong(n_out=3, where='gradient W', since=3): gradient W "
            f"differs by {result.first.relative:.1e} (relative, {result.first.ulp:,} ULP); tolerance 1e-05."
        )
        assert str(result).splitlines()[-1] == result.verdict()

    @pytest.mark.parametrize(("error", "ok"), [(3e-6, True), (3e-5, False)])
    def test_the_tolerance_that_is_taken_by_itself(self, error, ok):
        result = compared(xn.Affine(6), Wrong(6, "dx", factor=1 + error), xn.Affine(3))
        assert result.ok is ok
        assert result.largest.relative == pytest.approx(error, rel=0.1)

    def test_two_are_both_in_the_table_and_the_first_comes_first(self):
        result = compared(Wrong(6, "gradient W"), xn.Tanh(), Wrong(6, "dx"), xn.Affine(3))
        assert (result.first.path, result.first.quantity) == ("2", "dx")
        assert blamed(result) == [("0", "gradients"), ("2", "dx")]

    def test_within_the_tolerance(self):
        result = compared(Wrong(6, "output"), xn.ReLU(), xn.Affine(3), rtol=1e-2)
        assert result.ok
        assert not result.identical
        assert result.first is None
        assert (result.largest.path, result.largest.quantity) == ("0", "output")
        assert result.verdict().startswith(
            "cpu and sim: 4 steps, the same within 0.01; furthest apart at step 1 in the forward of layer 0: Wrong("
        )
        assert compared(Wrong(6, "output"), xn.Affine(3), rtol=0).first.step == 1

    @pytest.mark.parametrize(("where", "quantity", "column"), [(0, "loss", "output"), (1, "gradient", "gradients")])
    def test_in_a_loss(self, where, quantity, column):
        class WrongLoss(xn.SoftmaxCrossEntropy):
            def compute(self, y, targets, step, weights, count):
                found = super().compute(y, targets, step, weights, count)
                if step.device.kind == "sim" and step.number == 1:
                    found[where][...] *= 1.001
                return found

        result = compared(xn.Affine(6), xn.ReLU(), xn.Affine(3), loss=WrongLoss())
        assert (result.first.path, result.first.quantity, result.first.step) == ("loss", quantity, 2)
        assert blamed(result) == [("loss", column)]
        assert f"part at step 2 in the loss, WrongLoss(): {quantity} differs by" in result.verdict()

    @pytest.mark.parametrize("rate", [0.1, 1e-3])
    def test_in_an_optimizer(self, rate):
        class WrongRule(xn.Adam):
            def rule(self, xp, rate, epsilon, w, *others):
                super().rule(xp, rate * (1.001 if self.steps > 1 and not isinstance(w, np.ndarray) else 1), epsilon, w, *others)

        result = compared(xn.Affine(6), xn.ReLU(), xn.Affine(3), optimizer=WrongRule(rate))
        assert (result.first.path, result.first.quantity, result.first.step) == ("0", "parameter W", 2)
        assert "in the update of layer 0: Affine(n_out=6): parameter W differs by" in result.verdict()
        assert "of the step's change" in result.verdict()
        assert result.first.relative == pytest.approx(1e-3, rel=0.5)
        assert blamed(result) == [("0", "parameters"), ("2", "parameters")]

    def test_the_rounding_of_a_parameter_is_no_error_of_the_optimizer(self):
        class Rounded(xn.SGD):
            def rule(self, xp, rate, w, g, tmp):
                super().rule(xp, rate, w, g, tmp)
                w *= 1 if isinstance(w, np.ndarray) else 1 + 1e-7

        result = compared(xn.Affine(6), xn.ReLU(), xn.Affine(3), optimizer=Rounded(1e-5))
        assert result.ok
        assert not result.identical
        assert {extent.ulp for row in result.layers if (extent := row.parameters)} <= {1, 2}

    def test_in_a_vector_of_an_optimizer(self):
        class WrongMomentum(xn.Momentum):
            def rule(self, xp, rate, w, g, tmp, velocity):
                super().rule(xp, rate, w, g, tmp, velocity)
                if not isinstance(w, np.ndarray):
                    velocity[-1:] *= 1.01  # the last parameter's

        result = compared(xn.Affine(6), xn.ReLU(), xn.Affine(3), optimizer=WrongMomentum(0.1), devices=("cpu", "sim:1"))
        assert (result.first.path, result.first.quantity, result.first.step) == ("2", "optimizer velocity b", 1)
        assert blamed(result) == [("2", "parameters")]

    def test_in_a_running_statistic(self):
        class WrongNorm(BatchNorm):
            def forward(self, x, step):
                found = super().forward(x, step)
                if step.device.kind == "sim":
                    self.var.value *= 1.001
                return found

        result = compared(xn.Affine(6), xn.Residual(xn.Tanh(), WrongNorm()), xn.Affine(3))
        assert (result.first.path, result.first.quantity, result.first.step) == ("1.1", "state var", 1)
        assert blamed(result) == [("1.1", "parameters")]
        assert "in the forward of layer 1.1: WrongNorm(): state var" in result.verdict()

    def test_in_a_container_itself(self):
        class WrongBranches(Branches):
            def backward(self, dy, cache, step):
                dx = super().backward(dy, cache, step)
                if step.device.kind == "sim":
                    self.right.W.grad *= 1.001  # after the child's own backward has been found right
                return dx

        result = compared(xn.Affine(6), WrongBranches(xn.Affine(4), xn.Affine(2)), xn.Affine(3))
        assert (result.first.path, result.first.quantity) == ("1", "gradient right.W")
        assert blamed(result) == [("1", "gradients")]

    def test_in_a_network_of_a_class_of_its_own(self):
        class Doubled(xn.Sequential):
            def forward(self, x, step):
                y, cache = super().forward(x, step)
                if step.device.kind == "sim":
                    y = y * 2
                return y, cache

        net = Doubled(xn.Affine(3))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu")
        result = xn.parity((trainer, *classes_data(20)), steps=2)
        assert (result.first.path, result.first.quantity, result.first.relative) == ("", "output", 1)
        assert "in the forward of the network: output differs" in result.verdict()
        assert blamed(result) == [("", "output")]


class TestMistakes:
    @pytest.mark.parametrize(
        ("options", "error", "said"),
        [
            ({"steps": 0}, ValueError, "steps=0"),
            ({"rtol": -1.0}, ValueError, "rtol=-1.0"),
            ({"devices": "cpu"}, ValueError, "devices='cpu': two are compared"),
            ({"devices": ("cpu",)}, ValueError, "two are compared"),
            ({"devices": ("cpu", "sim", "sim")}, ValueError, "two are compared"),
            ({"devices": ("cpu", "gpu")}, ValueError, "no device is called 'gpu'"),
            ({"devices": ("cpu", "cuda:99")}, xn.DeviceUnavailable, ""),
        ],
        ids=str,
    )
    def test_are_found_before_the_model_is_made(self, options, error, said):
        def model():
            raise AssertionError

        with pytest.raises(error) as raised:
            xn.parity(model, **options)
        assert said in str(raised.value)

    @pytest.mark.parametrize(
        ("data", "options", "said"),
        [
            ((np.ones((3, 4)), np.zeros(4, int)), {}, "x has 3 rows, y has 4"),
            ((np.ones((3, 4)), np.full(3, 9)), {}, "labels reach from 9 to 9"),
            ((np.full((3, 4), np.nan), np.zeros(3, int)), {}, "x: nan at index"),
            ((np.ones((0, 4)), np.zeros(0, int)), {}, "zero samples"),
            ((np.ones(()), np.zeros(0, int)), {}, "x is a single value"),
            ((np.ones((3, 4)), np.zeros(3, int)), {"batch_size": 0}, "batch_size=0"),
            ((np.ones((3, 5)), np.zeros(3, int)), {}, r"x has shape \(3, 5\), the network was built for \(N, 4\)"),
        ],
    )
    def test_of_the_data_are_found_before_anything_runs(self, data, options, said):
        class Unused(xn.Affine):
            def forward(self, x, step):
                raise AssertionError

        with pytest.raises(ValueError, match=said):
            xn.parity((trainer_of(Unused(3)).build(4), *data), **options)


class TestReport:
    def test_the_table(self):
        result = compared(xn.Affine(12), xn.Residual(xn.Affine(12), xn.Tanh(), xn.Affine(12)), Wrong(3, "dx"))
        lines = str(result).splitlines()
        assert lines[0] == "largest differences of cpu and sim: relative (ULP)"
        assert lines[1].split() == ["layer", "output", "dx", "gradients", "parameters"]
        assert len(lines) == 3 + len(result.layers) + 2
        row = next(line for line in lines if line.startswith("2: Wrong"))
        dx = result.layers[-2].dx
        assert dx.relative >= result.first.relative
        assert dx.ulp >= result.first.ulp
        assert f"  {dx.relative:.1e} ({dx.ulp:,})  " in row
        starts = [lines[1].index(title) for title in lines[1].split()]
        for line in lines[3:-2]:
            assert all(line[i - 1] == " " and line[i] != " " for i in starts[1:])
            assert len(line) < 128
        assert any(line.startswith("1: Residual(Affine(n_out=12), Tanh(), Affine(...") for line in lines)

    def test_json(self):
        class Missing(xn.Identity):
            def forward(self, x, step):
                return (x * math.nan if step.device.kind == "sim" else x), None

        result = compared(Missing(), Wrong(3, "gradient W"), steps=1)
        found = json.loads(json.dumps(result.as_dict(), allow_nan=False))
        assert found["devices"] == ["cpu", "sim"]
        assert (found["steps"], found["rtol"], found["ok"], found["identical"]) == (1, 1e-5, False, False)
        assert found["verdict"] == result.verdict()
        assert found["first"]["path"] == "0"
        assert found["first"]["relative"] is None
        assert found["first"]["text"].startswith("is NaN on the second")
        assert [row["path"] for row in found["layers"]] == ["0", "1", "loss"]
        assert found["layers"][1]["gradients"]["relative"] == pytest.approx(1e-3, rel=0.01)
        assert found["layers"][0]["gradients"] is None

    def test_one_step_is_singular(self):
        assert compared(xn.Affine(3), steps=1, devices=("cpu", "cpu")).verdict() == "cpu and cpu: 1 step, byte-equal."
