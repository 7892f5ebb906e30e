"""Names of devices, what ``auto`` chooses, and every reason for having no GPU, with a stand-in for CuPy."""

import contextlib
import copy
import functools
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import pickle
import sys
import warnings
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from xpnet import backends
from xpnet.backends import DeviceMismatch, DeviceUnavailable

# The package's attribute of this name is the function resolve.
names, probe = (importlib.import_module(f"xpnet.backends.{module}") for module in ("resolve", "probe"))


class CUDARuntimeError(RuntimeError):
    def __init__(self, status):
        super().__init__(f"cudaError{status}: words of the driver")
        self.status = status


class LazyNamespace(SimpleNamespace):
    """What is not there fails when it is first asked for, as a missing cuBLAS does in CuPy."""

    def __getattr__(self, name):
        raise ImportError(f"no {name}")


def refuse(error):
    raise error


def fake_cupy(gpus=2, status=None, driver=13000, built=13020, current=0, nvrtc=None, ones=np.ones, cublas=True):
    """A module with what the resolver asks of CuPy: ``status`` is the error that counting the GPUs ends with."""
    cupy = ModuleType("cupy")
    cupy.__spec__ = importlib.machinery.ModuleSpec("cupy", None)
    cupy.ones, cupy.ndarray, cupy.asarray = ones, FakeArray, lambda a, dtype=None: FakeArray(a, 0)
    cupy.ElementwiseKernel = lambda **source: None
    cupy.cuda = LazyNamespace(
        runtime=SimpleNamespace(
            CUDARuntimeError=CUDARuntimeError,
            getDeviceCount=lambda: gpus if status is None else refuse(CUDARuntimeError(status)),
            driverGetVersion=lambda: driver,
            runtimeGetVersion=lambda: built,
            getDevice=lambda: current,
            getDeviceProperties=lambda index: {"name": f"NVIDIA Fake{index}".encode()},
        ),
        nvrtc=SimpleNamespace(getVersion=lambda: (13, 0) if nvrtc is None else refuse(nvrtc)),
        Device=lambda index: contextlib.nullcontext(),
    )
    if cublas:
        cupy.cuda.cublas = object()
    return cupy


class FakeArray:
    """An array of the GPU with that index."""

    def __init__(self, host, index):
        self.host, self.device = host, SimpleNamespace(id=index)


@pytest.fixture(autouse=True)
def fresh(monkeypatch):
    """Nothing is remembered from other tests, nor by them, and no CuPy is installed."""
    for module, function in ((names, "_made"), (probe, "usable_cupy"), (probe, "_import_once")):
        monkeypatch.setattr(module, function, functools.cache(getattr(module, function).__wrapped__))
    monkeypatch.setattr(names, "usable_cupy", probe.usable_cupy)
    monkeypatch.setitem(sys.modules, "cupy", None)
    monkeypatch.setattr(importlib.metadata, "distributions", lambda name: [])


@pytest.fixture
def install(monkeypatch):
    """Make ``import cupy`` give the stand-in with these properties."""

    def put_in_place(**properties):
        cupy = fake_cupy(**properties)
        monkeypatch.setitem(sys.modules, "cupy", cupy)
        return cupy

    return put_in_place


def reason_of(name="cuda"):
    with pytest.raises(DeviceUnavailable) as caught:
        backends.device(name)
    return caught.value


# Names


def test_cpu_by_name():
    assert backends.resolve("cpu") == (backends.device("cpu"), "asked for by name")
    assert backends.device("cpu").name == "cpu"
    assert backends.device("cpu") is backends.device("cpu")


def test_a_device_gives_itself():
    cpu = backends.device("cpu")
    assert backends.device(cpu) is cpu
    assert backends.resolve(cpu).reason == "given as a device"


@pytest.mark.parametrize(("name", "full"), [("sim", "sim"), ("sim:0", "sim"), ("sim:1", "sim:1")])
def test_simulated_gpus_by_name(name, full):
    sim = backends.device(name)
    assert (sim.name, sim.kind) == (full, "sim")
    assert sim is backends.device(full)


@pytest.mark.parametrize(("name", "full"), [("cuda", "cuda:1"), ("cuda:0", "cuda:0"), ("cuda:1", "cuda:1")])
def test_gpus_by_name(install, name, full):
    cupy = install(current=1)
    gpu = backends.device(name)
    assert (gpu.name, gpu.kind, gpu.xp) == (full, "cuda", cupy)
    assert gpu is backends.device(full)
    assert gpu == backends.device(full)
    assert gpu != backends.device("cpu")


@pytest.mark.parametrize("name", ["", "tpu", "cuda:", "cuda:-1", "cuda:x", "cuda:0 ", "auto:1", "cpu:1", "sim:1.0"])
def test_other_names_are_refused_with_the_valid_ones(name):
    with pytest.raises(ValueError, match=r"'cpu', 'cpu-fast', 'cuda' .*, 'cuda:1', 'sim', 'sim:1' or 'auto'"):
        backends.device(name)


@pytest.mark.parametrize(
    ("name", "meant"), [("gpu", "cuda"), ("gpu:1", "cuda:1"), ("CPU", "cpu"), ("numpy", "cpu"), ("cuda:1 ", "cuda:1")]
)
def test_near_misses_get_a_hint(name, meant):
    with pytest.raises(ValueError, match=f"did you mean '{meant}'"):
        backends.device(name)


@pytest.mark.parametrize("name", [None, 0, np, b"cpu"])
def test_what_is_no_name_is_refused(name):
    with pytest.raises(TypeError, match=f"given by name .* not as {type(name).__name__}"):
        backends.device(name)


@pytest.mark.parametrize(("gpus", "visible"), [(1, "1 GPU visible"), (2, "2 GPUs visible")])
def test_an_index_beyond_the_last_gpu_is_refused(install, gpus, visible):
    install(gpus=gpus)
    error = reason_of("cuda:7")
    assert error.reason == "no-device"
    assert f"there is no cuda:7: {visible}" in str(error)


# The reasons for having no GPU


def test_not_installed():
    error = reason_of()
    assert error.reason == "not-installed"
    assert 'pip install "cupy-cuda13x[ctk]" (driver >= 580)' in error.advice
    assert error.advice in str(error)
    assert error.problem in str(error)


def test_two_wheels(install, monkeypatch):
    install()
    both = {"cupy-cuda12x", "cupy-cuda13x"}
    monkeypatch.setattr(importlib.metadata, "distributions", lambda name: [name] if name in both else [])
    error = reason_of()
    assert error.reason == "duplicate-wheels"
    assert "pip uninstall -y cupy-cuda12x cupy-cuda13x" in error.advice


def test_a_failed_import_names_its_first_cause_and_is_not_repeated(install, monkeypatch):
    install()
    tries = []

    def fail(name):
        tries.append(name)
        try:
            raise ImportError("numpy.core.multiarray failed to import\nmore lines")
        except ImportError as error:
            raise ImportError("=====\na banner") from error

    monkeypatch.setattr(importlib, "import_module", fail)
    for error in (reason_of(), reason_of()):
        assert error.reason == "import-error"
        assert error.problem == "`import cupy` failed with ImportError: numpy.core.multiarray failed to import"
        assert "numpy>=2.0" in error.advice
    assert tries == ["cupy"]


@pytest.mark.parametrize(
    ("properties", "reason", "says"),
    [
        ({"status": 35, "driver": 0}, "no-driver", "no NVIDIA driver"),
        ({"status": 100}, "no-device", "CUDA_VISIBLE_DEVICES='-1'"),
        ({"gpus": 0}, "no-device", "driver (CUDA 13.0) but no GPU"),
        ({"status": 35, "driver": 12080}, "driver-too-old", "supports CUDA 12.8 and CuPy was built for CUDA 13"),
        (
            {"status": 35, "driver": 12080},
            "driver-too-old",
            'uninstall -y cupy-cuda13x and pip install "cupy-cuda12x[ctk]"',
        ),
        ({"status": 35, "driver": 11040, "built": 12090}, "driver-too-old", "update the driver to 525 or newer."),
        ({"status": 803}, "cuda-error", "cudaError803"),
        ({"nvrtc": RuntimeError("not there")}, "missing-libraries", "not found: NVRTC ["),
        ({"nvrtc": ImportError(), "built": 12090}, "missing-libraries", 'pip install "cupy-cuda12x[ctk]"'),
        ({"ones": lambda *_: refuse(RuntimeError("Failed to find CUDA headers"))}, "missing-libraries", "CUDA headers"),
        (
            {"ones": lambda *_: refuse(MemoryError("out of memory\n"))},
            "smoke-test",
            "gave MemoryError: out of memory [",
        ),
        ({"ones": np.zeros}, "smoke-test", "a sum of 4.0 instead of 12"),
    ],
)
def test_reasons(install, monkeypatch, properties, reason, says):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    install(**properties)
    error = reason_of()
    assert error.reason == reason
    assert says in str(error)


def test_a_driver_too_old_of_a_gpu_that_newer_ones_have_dropped(install, monkeypatch):
    monkeypatch.setattr(probe, "ask", lambda: probe.Driver(11040, None, (("Tesla K80", "3.7"),)))
    install(status=35, driver=11040, built=12090)
    error = reason_of()
    assert error.reason == "driver-too-old"
    assert error.advice.startswith("use device='cpu': ")


def test_all_missing_libraries_are_named_at_once(install):
    install(nvrtc=RuntimeError(), cublas=False)
    assert reason_of().problem == "not found: NVRTC, cuBLAS"


def test_the_error_survives_pickling():
    error = pickle.loads(pickle.dumps(reason_of()))
    assert (error.reason, str(error)) == ("not-installed", str(reason_of()))


def test_a_failure_is_probed_again_and_a_success_is_not(install):
    assert reason_of().reason == "not-installed"
    counted = []
    install(ones=lambda *args: counted.append(1) or np.ones(*args))
    for name in ("cuda", "cuda:1", "auto"):
        backends.device(name)
    assert counted == [1]


# auto


def test_auto_takes_the_current_gpu(install):
    install(current=1)
    assert backends.resolve("auto") == (backends.device("cuda:1"), "auto: the GPU NVIDIA Fake1 was found")


@pytest.mark.parametrize(
    ("properties", "says"),
    [(None, "CuPy is not installed"), ({"status": 35, "driver": 0}, "no NVIDIA driver"), ({"gpus": 0}, "no GPU is")],
)
def test_auto_is_quiet_where_nothing_is_broken(install, properties, says):
    if properties is not None:
        install(**properties)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        device, reason = backends.resolve("auto")
    assert device is backends.device("cpu")
    assert reason.startswith("auto: no GPU: ")
    assert says in reason


@pytest.mark.parametrize("properties", [{"status": 803}, {"status": 35}, {"ones": np.zeros}, {"nvrtc": ImportError()}])
def test_auto_warns_where_a_gpu_is_broken(install, properties):
    install(**properties)
    with pytest.warns(RuntimeWarning, match="device 'auto' uses the CPU: ") as caught:
        assert backends.device("auto") is backends.device("cpu")
    assert caught[0].filename == __file__


# Copies and pickles


def test_a_deep_copy_is_the_device():
    cpu = backends.device("cpu")
    assert copy.deepcopy(cpu) is cpu


@pytest.mark.parametrize("name", ["cpu", "sim", "sim:1"])
def test_pickling(name):
    assert pickle.loads(pickle.dumps(backends.device(name))) is backends.device(name)


def test_pickling_a_gpu(install, monkeypatch):
    install()
    saved = pickle.dumps(backends.device("cuda:1"))
    assert pickle.loads(saved) is backends.device("cuda:1")
    monkeypatch.setitem(sys.modules, "cupy", None)
    names.usable_cupy.cache_clear()
    with pytest.warns(RuntimeWarning, match="saved on 'cuda:1', loaded on the CPU: CuPy is not installed") as caught:
        assert pickle.loads(saved) is backends.device("cpu")
    assert caught[0].filename == __file__


# The arrays of a GPU


def test_put_knows_its_own_arrays_from_those_of_other_gpus(install):
    install()
    gpu, here, elsewhere = backends.device("cuda:0"), FakeArray(None, 0), FakeArray(None, 1)
    assert [gpu.owns(a) for a in (here, elsewhere, np.zeros(1))] == [True, False, False]
    with pytest.raises(DeviceMismatch, match=r"device\('cuda:0'\).put got an array of cuda:1: .*device\('cuda:1'\).get"):
        gpu.put(elsewhere)


def test_put_casts_on_the_host(install):
    install()
    copied = backends.device("cuda").put([1, 2], "float32")
    assert copied.host.dtype == np.float32
    assert copied.device.id == 0
