"""Estimators that are pickled, dumped by joblib, copied, and loaded where the device is not."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from estimator_helpers import classes, numbers, small_build, values

pytest.importorskip("sklearn")
pytestmark = pytest.mark.extras

import joblib  # noqa: E402
from sklearn.base import clone  # noqa: E402
from sklearn.exceptions import NotFittedError  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import StandardScaler  # noqa: E402

import xpnet as xn  # noqa: E402
from xpnet.backends.resolve import device_or_cpu  # noqa: E402
from xpnet.sklearn import XPClassifier, XPRegressor  # noqa: E402

X, Y = classes()


def by_joblib(estimator, folder: Path):
    joblib.dump(estimator, folder / "estimator.joblib", compress=3)
    return joblib.load(folder / "estimator.joblib")


WAYS: dict[str, Callable] = {
    "pickle": lambda estimator, folder: pickle.loads(pickle.dumps(estimator)),
    "joblib": by_joblib,
    "deepcopy": lambda estimator, folder: copy.deepcopy(estimator),
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
@pytest.mark.parametrize("layers", [(8,), [xn.Affine(8), xn.BatchNorm(), xn.ReLU(), xn.Affine(3)], small_build], ids=str)
def test_a_copy_predicts_the_same_and_goes_on_alike(way, layers, device, tmp_path) -> None:
    found = XPClassifier(
        layers, optimizer=xn.Adam(0.01), epochs=3, device=device, random_state=0, warm_start=True, callbacks=[xn.print_epoch]
    ).fit(X, Y)
    twin = way(found, tmp_path)
    assert twin.predict_proba(X).tobytes() == found.predict_proba(X).tobytes()
    assert (twin.classes_.tolist(), twin.history_, twin.n_iter_) == (found.classes_.tolist(), found.history_, found.n_iter_)
    before = values(found)
    twin.fit(X, Y)
    assert values(found) == before != values(twin)  # the copy is independent,
    assert values(found.fit(X, Y)) == values(twin)  # and has all that going on needs


def test_a_clone_is_not_fitted() -> None:
    found = XPRegressor([xn.Affine(4), xn.Tanh(), xn.Affine(1)], optimizer=xn.Momentum(0.01), epochs=2, device="cpu").fit(
        *numbers()
    )
    other = clone(found)
    assert repr(other) == repr(found)
    assert other.layers[0] is not found.layers[0]
    with pytest.raises(NotFittedError):
        other.predict(X[:, :3])


def test_trained_on_a_gpu_and_loaded_where_there_is_none(monkeypatch) -> None:
    """``sim`` takes the GPU's place: what is pickled of a device is its name."""
    try:
        xn.device("cuda")
    except xn.DeviceUnavailable:
        pass
    else:
        pytest.skip("there is a GPU here")
    with monkeypatch.context() as patch:
        patch.setattr(xn.Device, "__reduce__", lambda self: (device_or_cpu, ("cuda:0",)))
        found = XPClassifier((8,), epochs=3, device="sim", random_state=0, warm_start=True).fit(X, Y)
        stored = pickle.dumps(make_pipeline(StandardScaler(), found).set_params(standardscaler__copy=True))
        expected = found.predict_proba(X)
    with pytest.warns(RuntimeWarning, match="saved on 'cuda:0', loaded on the CPU"):
        loaded = pickle.loads(stored)[-1]
    np.testing.assert_allclose(loaded.predict_proba(X), expected, rtol=1e-5, atol=1e-6)
    assert loaded.net_.device.name == "cpu"
    loaded.set_params(device="cuda")
    with pytest.raises(xn.DeviceUnavailable):
        loaded.fit(X, Y)
    assert loaded.set_params(device="cpu").fit(X, Y).n_iter_ == 6


def test_trained_on_sim_and_loaded_in_another_process(tmp_path) -> None:
    found = XPClassifier((8,), epochs=3, device="sim", random_state=0).fit(X, Y)
    joblib.dump((found, X), tmp_path / "both.joblib")
    code = (
        "import sys, joblib; sys.modules['cupy'] = None; source, target = sys.argv[1:]\n"
        "found, x = joblib.load(source); joblib.dump(found.predict_proba(x), target)"
    )
    paths = [str(tmp_path / name) for name in ("both.joblib", "p")]
    subprocess.run([sys.executable, "-c", code, *paths], check=True, cwd=Path(__file__).parents[2])
    assert joblib.load(tmp_path / "p").tobytes() == found.predict_proba(X).tobytes()


def test_without_scikit_learn_the_error_names_the_extra() -> None:
    code = "import sys; sys.modules['sklearn'] = None\ntry: import xpnet.sklearn\nexcept ImportError as e: print(e)"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, cwd=Path(__file__).parents[2]
    )
    assert 'pip install "xpnet[sklearn]"' in done.stdout
    assert len(done.stdout.splitlines()) == 1
