"""What CuPy 14.2 does where NumPy does something else: one table that the simulated GPU and a real one must both satisfy.

``pytest tests/backends/test_semantics.py`` runs the table (the folder semantics) on ``sim``, with ``--device=cuda`` on a real
GPU, which then proves the table, and with it the simulator. ``test_without_a_gpu`` runs every row on the real wheel alone, over
host memory: that proves the rows that CuPy decides before it asks for a device.
"""

from __future__ import annotations

import importlib.util
import re
import types
from collections.abc import Callable

import numpy as np
import pytest
from host_memory import NoDevice, cupy_without_a_gpu, over_host_memory
from semantics import COPIES, DOES_NOT_WAIT, INPUTS, TABLE, WAITS

import xpnet as xn


def put_all(device: xn.Device) -> types.SimpleNamespace:
    """The inputs, their namespace and a generator on this device."""
    inputs = {name: device.put(a) for name, a in INPUTS.items()}
    return types.SimpleNamespace(xp=device.xp, to_host=device.get, rng=device.xp.random.default_rng(0), **inputs)


def line_of(call: Callable) -> tuple[str, int]:
    """File and line of a call that is written in one line."""
    return call.__code__.co_filename, call.__code__.co_firstlineno


NEW_IN_NUMPY_2_1 = ("unstack", "cumulative_sum")


@pytest.fixture
def gpu(request: pytest.FixtureRequest) -> xn.Device:
    """The GPU under test: the simulated one, or what ``--device`` names; skips on the CPU."""
    device = xn.device(request.config.getoption("--device") or "sim")
    if device.kind == "cpu":
        pytest.skip("these are the rules of GPUs")
    with device.use():
        yield device


@pytest.fixture
def g(gpu: xn.Device) -> types.SimpleNamespace:
    return put_all(gpu)


@pytest.mark.parametrize("name", TABLE)
def test_as_cupy(name: str, gpu: xn.Device, g: types.SimpleNamespace) -> None:
    if (function := name.rpartition(".")[2]) in NEW_IN_NUMPY_2_1 and not hasattr(np, function):
        pytest.skip(f"NumPy {np.__version__} has no {function}")
    call, *expected = TABLE[name]
    expected[-1 if gpu.kind == "sim" else 0].judge(call, g)


@pytest.mark.parametrize("name", WAITS)
def test_waits(name: str, g: types.SimpleNamespace) -> None:
    with pytest.raises(xn.HiddenCrossing) as caught, xn.forbid_sync():
        WAITS[name](g)
    assert caught.value.kind == "sync"
    assert caught.value.place == line_of(WAITS[name])


@pytest.mark.parametrize("name", DOES_NOT_WAIT)
def test_does_not_wait(name: str, g: types.SimpleNamespace) -> None:
    with xn.ledger() as seen, xn.forbid_sync():
        DOES_NOT_WAIT[name](g)
    assert seen.syncs == 0
    assert seen.d2h == 0


@pytest.mark.parametrize("name", COPIES)
def test_copies(name: str, g: types.SimpleNamespace) -> None:
    kind, cause, call = COPIES[name]
    with xn.ledger() as seen:
        call(g)
    assert {kind: 1}.items() <= {"h2d": seen.h2d, "d2h": seen.d2h}.items()
    assert seen.causes[f"{kind}: {cause}"] == 1
    with pytest.raises(xn.HiddenCrossing, match=re.escape(cause)) as caught, xn.forbid_transfer():
        call(g)
    assert caught.value.kind == kind
    assert caught.value.place == line_of(call)


def test_an_undefined_store_is_refused_by_the_simulator_only(gpu: xn.Device, g: types.SimpleNamespace) -> None:
    """Two values for one element: CuPy stores either."""
    if gpu.kind == "sim":
        with pytest.raises(IndexError, match="duplicate"):
            g.b[g.twice] = g.b[1:]
        return
    g.b[g.twice] = g.b[1:].copy()
    assert gpu.get(g.b).tolist() in ([1, 2, 4, 4], [1, 3, 4, 4])


def test_seeds_repeat_and_streams_are_not_numpys(gpu: xn.Device) -> None:
    first, again = (gpu.get(gpu.xp.random.default_rng(7).random(4)) for _ in range(2))
    assert first.tolist() == again.tolist()
    assert first.tolist() != np.random.default_rng(7).random(4).tolist()


WITH_THE_WHEEL = TABLE if importlib.util.find_spec("cupy") else ["none: CuPy is not installed"]


@pytest.mark.cupy
@pytest.mark.parametrize("name", WITH_THE_WHEEL)
def test_without_a_gpu(name: str) -> None:
    """The real wheel alone agrees with the table, as far as it gets before it asks for a device."""
    cupy = cupy_without_a_gpu()
    call, expected = TABLE[name][:2]
    g = types.SimpleNamespace(xp=cupy, **{name: over_host_memory(cupy, a.copy()) for name, a in INPUTS.items()})
    try:
        expected.judge(call, g)
    except (NoDevice, ImportError) as error:
        pytest.skip(f"needs a GPU: {type(error).__name__}")
