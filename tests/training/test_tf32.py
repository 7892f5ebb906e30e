"""Products in TF32: how the simulated GPU rounds them, and where CuPy is told to use them."""

from __future__ import annotations

import contextlib
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from core_helpers import classes_data
from trainer_helpers import make

import xpnet as xn
from xpnet.backends.cuda import CUDA
from xpnet.backends.sim.tf32 import rounded
from xpnet.training.precision import check_precision


def on(device, *arrays):
    return [device.put(a) for a in arrays]


class TestTF32:
    def test_rounding(self):
        a = np.array([1, 1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-10, -1 - 2**-12, np.inf, -np.inf, 0, 3e38, 1e-40], "float32")
        found = rounded(a)
        np.testing.assert_array_equal(found[:8], np.array([1, 1, 1 + 2**-9, 1 + 2**-10, -1, np.inf, -np.inf, 0], "float32"))
        assert np.isnan(rounded(np.array([np.nan], "float32")))
        b = np.random.default_rng(0).standard_normal(1000).astype("float32")
        errors = np.abs(rounded(b) / b - 1)
        assert 2**-12 < errors.max() <= 2**-11

    def test_products_only_inside(self):
        sim = xn.device("sim")
        rng = np.random.default_rng(0)
        host = [rng.standard_normal(shape).astype("float32") for shape in [(40, 50), (50, 30)]]
        with sim.use():
            a, b = on(sim, *host)
            exact = sim.get(a @ b)
            with sim.tf32():
                near = sim.get(sim.xp.matmul(a, b))
                np.testing.assert_array_equal(near, sim.get(sim.xp.dot(a, b)))
                stacked = sim.get(sim.xp.matmul(a[None], b[None])[0])  # CuPy has no TF32 there
                doubled = sim.get(sim.xp.matmul(a.astype("float64"), b))
            np.testing.assert_array_equal(sim.get(a @ b), exact)
        error = np.linalg.norm(near - exact) / np.linalg.norm(exact)
        assert 1e-4 < error < 2e-3
        np.testing.assert_allclose(stacked, exact, rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(doubled, exact, rtol=1e-4, atol=1e-5)

    def test_training(self):
        sim = xn.device("sim")
        x, y = classes_data(60)
        losses = []
        for precision in (None, "tf32"):
            trainer = make("sim", precision=precision)
            losses.append(trainer.fit(x, y, epochs=2)["loss"])
            with sim.use():
                one = sim.put(np.full((2, 2), 1 + 2**-12, "float32"))
                assert float(sim.get((one @ one)[0, 0])) != 2.0
        assert losses[0] != losses[1]
        np.testing.assert_allclose(*losses, rtol=5e-3)

    def test_restored_after_an_error(self):
        sim = xn.device("sim")
        x, y = on(sim, *classes_data(10))
        trainer = make("sim", precision="tf32").build(4)
        with pytest.raises(ValueError, match="labels"):
            trainer.step(x, y + 7)
        with sim.use():
            one = sim.put(np.full((2, 2), 1 + 2**-12, "float32"))
            assert float(sim.get((one @ one)[0, 0])) != 2.0


class TestTF32OfCuPy:
    """CuPy's private setting, by a stand-in: no GPU is here."""

    def gpu(self, monkeypatch, capability):
        made = SimpleNamespace(settings=["full"])
        private = SimpleNamespace(
            COMPUTE_TYPE_TF32="tf32",
            get_compute_type=lambda dtype: made.settings[-1],
            set_compute_type=lambda dtype, kind: made.settings.append(kind),
        )
        for name in ("cupy", "cupy._core"):
            monkeypatch.setitem(sys.modules, name, SimpleNamespace(__path__=[]))
        monkeypatch.setitem(sys.modules, "cupy._core._routines_linalg", private)
        current = type("Current", (contextlib.nullcontext,), {"compute_capability": capability})
        made.device = object.__new__(CUDA)
        vars(made.device).update(index=0, name="cuda:0", xp=SimpleNamespace(cuda=SimpleNamespace(Device=current)))
        return made

    def test_set_and_restored(self, monkeypatch):
        gpu = self.gpu(monkeypatch, "90")
        assert gpu.device.no_tf32 == ""
        with gpu.device.tf32():
            assert gpu.settings == ["full", "tf32"]
        with contextlib.suppress(KeyError), gpu.device.tf32():
            raise KeyError
        assert gpu.settings == [*["full", "tf32"] * 2, "full"]

    def test_older_gpus_are_refused(self, monkeypatch):
        gpu = self.gpu(monkeypatch, "75")
        with pytest.raises(ValueError, match="its compute capability is 75, below 80: leave precision out"):
            check_precision("tf32", "dynamic", gpu.device)
