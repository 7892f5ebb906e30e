"""One fixture puts every test on every device: ``device`` is the CPU, then the simulated GPU, or what ``--device`` names."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import xpnet as xn
from xpnet.backends import resolve


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--device", help="run on this device only (cpu, cpu-fast, sim, cuda, ...); fails where it cannot be used")
    parser.addoption("--slow", action="store_true", help="run the tests marked slow too")


def pytest_configure(config: pytest.Config) -> None:
    if name := config.getoption("--device"):
        try:
            xn.device(name)
        except (xn.DeviceUnavailable, ValueError) as error:
            raise pytest.UsageError(f"--device={name}: {error}") from error


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "device" in metafunc.fixturenames:
        chosen = metafunc.config.getoption("--device")
        metafunc.parametrize("device", [chosen] if chosen else ["cpu", "sim"], indirect=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption("--slow"):
        for item in items:
            if "slow" in item.keywords:
                item.add_marker(pytest.mark.skip(reason="slow: run with --slow"))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if not config.getoption("--device"):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # a broken GPU is told below
            gpu = resolve("auto")
        state = "a GPU is here: run again with --device=cuda" if gpu.device.kind == "cuda" else f"not run: {gpu.reason}"
        terminalreporter.write_line(f"devices: cpu and sim (the simulated GPU). A real GPU was {state}")


@pytest.fixture
def device(request: pytest.FixtureRequest) -> xn.Device:
    """The device under test; put host arrays there with ``device.put`` and read results with ``device.get``."""
    chosen = xn.device(request.param)
    with chosen.use():
        yield chosen


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(12345)


@pytest.fixture(scope="session")
def mnist() -> xn.datasets.Dataset:
    """Real MNIST from the folder that XPNET_DATA names; skips where it is absent."""
    try:
        return xn.datasets.mnist()
    except FileNotFoundError as error:
        pytest.skip(str(error))
