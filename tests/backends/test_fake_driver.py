"""Every failure of a driver or an installation, without a GPU: the real CuPy beside a stand-in for libcuda.

One reason is left to a machine with a GPU: smoke-test, a product that fails on a GPU that is there. What is missing beside
a working driver (libraries, headers) is tested with the real CuPy too, which is only told that there is one GPU.
"""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from fake_driver_helpers import NO_CUPY, only_linux, runner, with_wheel

pytestmark = only_linux

# What a user's script does, and what it then saw.
ASK = """
import json
import warnings
import xpnet
try:
    xpnet.device("cuda")
except xpnet.DeviceUnavailable as error:
    refused = {"reason": error.reason, "problem": error.problem, "advice": error.advice}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    auto = xpnet.device("auto")
warned = [[w.category.__name__, str(w.message), w.filename] for w in caught]
print(json.dumps(refused | {"auto": auto.name, "warned": warned}))
"""

BROKEN_CUPY = "import sys; sys.modules['cuda.pathfinder'] = None\n"  # a package that CuPy needs is missing
ONE_GPU = "import cupy; cupy.cuda.runtime.getDeviceCount = lambda: 1\n"

SWITCH_WHEEL = 'pip uninstall -y cupy-cuda13x and pip install "cupy-cuda12x[ctk]"'

# CuPy finds NVRTC and cuBLAS through this function of the real finder, which here finds nothing.
NO_LIBRARIES = """
import cuda.pathfinder
def hidden(name):
    raise cuda.pathfinder.DynamicLibNotFoundError(f"no {name}")
cuda.pathfinder.load_nvidia_dynamic_lib = hidden
"""

# Without a GPU no kernel gets as far as its compilation, so the first array asks CuPy for the options of the compiler, as
# its kernels do (a private function of CuPy 14). The finder of headers and the usual folder of the toolkit are hidden.
NO_HEADERS = """
import cuda.pathfinder, cupy._environment, types
from cupy._core import core
for finder in ("find_nvidia_header_directory", "locate_nvidia_header_directory"):
    setattr(cuda.pathfinder, finder, lambda name: None)
cupy._environment._cuda_path = None
cupy.cuda.nvrtc, cupy.cuda.cublas = types.SimpleNamespace(getVersion=lambda: (13, 0)), object()
cupy.ones = lambda *_: core.assemble_cupy_compiler_options(())
"""


@pytest.fixture
def run(tmp_path_factory, tmp_path):
    return runner(tmp_path_factory, tmp_path)


@pytest.fixture
def ask(run, tmp_path: Path):
    """What "cuda" raised and "auto" chose in a script that begins with these lines; nothing else is printed."""

    def ask(driver: dict | None, before: str = "", **options) -> dict:
        done = run(before + ASK, driver, **options)
        assert done.stderr == ""
        seen = json.loads(done.stdout)
        assert seen["auto"] == "cpu"
        assert [filename for *_, filename in seen["warned"]] in ([], [str(tmp_path / "script.py")])
        return seen

    return ask


def assert_quiet(seen: dict) -> None:
    assert seen["warned"] == []


def assert_warned(seen: dict) -> None:
    ((category, text, _),) = seen["warned"]
    assert category == "RuntimeWarning"
    assert text == f"device 'auto' uses the CPU: {seen['problem']} [{seen['reason']}]. To do: {seen['advice']}."


@pytest.mark.parametrize("driver", [None, {"gpus": 1}], ids=["no driver", "one GPU"])
def test_not_installed(ask, driver):
    seen = ask(driver, NO_CUPY)
    assert (seen["reason"], seen["problem"]) == ("not-installed", "CuPy is not installed")
    assert 'pip install "cupy-cuda13x[ctk]" (driver >= 580)' in seen["advice"]
    assert_quiet(seen)


def test_the_empty_folder_of_a_removed_cupy_is_no_cupy(ask, tmp_path):
    if importlib.util.find_spec("cupy") is not None:
        pytest.skip("a real CuPy is found before an empty folder")
    (tmp_path / "left/cupy/cuda").mkdir(parents=True)
    seen = ask(None, path=tmp_path / "left")
    assert seen["reason"] == "not-installed"
    assert_quiet(seen)


@with_wheel
def test_two_wheels(ask, tmp_path):
    for name in ("cupy-cuda12x", "cupy-cuda13x"):  # one of them is there
        folder = tmp_path / f"path/{name.replace('-', '_')}-14.0.1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 14.0.1\n")
    seen = ask({}, path=tmp_path / "path")
    assert seen["reason"] == "duplicate-wheels"
    assert seen["problem"] == "cupy-cuda12x and cupy-cuda13x are both installed and overwrite each other's files"
    assert seen["advice"].startswith('pip uninstall -y cupy-cuda12x cupy-cuda13x, then pip install "cupy-cuda13x[ctk]"')
    assert_warned(seen)


@with_wheel
def test_a_cupy_that_cannot_be_imported(ask):
    seen = ask({}, BROKEN_CUPY)
    assert seen["reason"] == "import-error"
    assert seen["problem"].startswith("`import cupy` failed with ModuleNotFoundError: import of cuda.pathfinder halted")
    assert seen["advice"].startswith("pip install --force-reinstall cupy-cuda")
    assert '"numpy>=2.0,<2.6"' in seen["advice"]
    assert_warned(seen)


@with_wheel
def test_no_driver(ask):
    seen = ask(None)
    assert (seen["reason"], seen["problem"]) == ("no-driver", "there is no NVIDIA driver (libcuda was not found)")
    assert "install a driver, or start the container with --gpus all" in seen["advice"]
    assert_quiet(seen)


@with_wheel
@pytest.mark.parametrize(("visible", "said"), [({}, ""), ({"CUDA_VISIBLE_DEVICES": "-1"}, " (CUDA_VISIBLE_DEVICES='-1')")])
def test_no_visible_gpu(ask, visible, said):
    seen = ask({"init": 100}, **visible)
    assert seen["reason"] == "no-device"
    assert seen["problem"] == f"there is a driver (CUDA 13.0) but no GPU is visible{said}"
    assert "nvidia-smi -L" in seen["advice"]
    assert_quiet(seen)


@with_wheel
@pytest.mark.parametrize(
    ("version", "name", "advice"),
    [
        (11080, "11.8", "update the driver to {oldest} or newer"),
        (10020, "10.2", "update the driver to {oldest} or newer"),
        (
            12080,
            "12.8",
            'update the driver to 580 or newer, or pip uninstall -y cupy-cuda13x and pip install "cupy-cuda12x[ctk]"',
        ),
    ],
)
def test_a_driver_too_old_for_the_wheel(ask, version, name, advice):
    import cupy

    built = cupy.cuda.runtime.runtimeGetVersion() // 1000
    if version // 1000 >= built:
        pytest.skip(f"this CuPy was built for CUDA {built}")
    seen = ask({"version": version, "gpus": 1})
    assert seen["reason"] == "driver-too-old"
    assert seen["problem"] == f"the driver supports CUDA {name} and CuPy was built for CUDA {built}"
    assert seen["advice"] == advice.format(oldest={12: 525, 13: 580}[built])
    assert_warned(seen)


@with_wheel
@pytest.mark.parametrize(
    ("status", "says"),
    [(3, "cudaErrorInitializationError"), (803, "cudaErrorSystemDriverMismatch"), (999, "cudaErrorUnknown")],
)
def test_other_errors_of_cuda(ask, status, says):
    seen = ask({"init": status, "gpus": 1})
    assert seen["reason"] == "cuda-error"
    assert seen["problem"].startswith(f"CUDA cannot start: {says}: ")
    assert seen["advice"].startswith("make `nvidia-smi` run without an error first; a reboot cures")
    assert_warned(seen)


@with_wheel
@pytest.mark.parametrize(
    ("missing", "names"), [(NO_LIBRARIES, "NVRTC, cuBLAS"), (NO_HEADERS, "CUDA headers")], ids=["libraries", "headers"]
)
def test_missing_libraries_and_headers(ask, missing, names):
    seen = ask({"gpus": 1}, ONE_GPU + missing)
    assert (seen["reason"], seen["problem"]) == ("missing-libraries", f"not found: {names}")
    assert seen["advice"].startswith('pip install "cupy-cuda1')
    assert seen["advice"].endswith('x[ctk]", or the CUDA toolkit')
    assert_warned(seen)
