"""What ``xpnet doctor`` asks the driver itself, so without CuPy, of a stand-in for libcuda; and that the real CuPy agrees."""

from __future__ import annotations

import json

import pytest
from fake_driver_helpers import NO_CUPY, only_linux, runner, with_wheel

pytestmark = only_linux

DOCTOR = "import sys; from xpnet.cli import main; sys.exit(main(['doctor']))"
DOCTOR_JSON = DOCTOR.replace("'doctor'", "'doctor', '--json'")


@pytest.fixture
def run(tmp_path_factory, tmp_path):
    return runner(tmp_path_factory, tmp_path)


@pytest.fixture
def doctor(run):
    """The doctor's findings and exit status beside a driver, where CuPy is not installed."""

    def doctor(driver: dict | None, **environment: str) -> tuple[dict, int]:
        done = run(NO_CUPY + DOCTOR_JSON, driver, **environment)
        assert done.stderr == ""
        return json.loads(done.stdout), done.returncode

    return doctor


@pytest.mark.parametrize(
    ("driver", "wheel"),
    [
        ({"version": 13000, "capability": 90}, "cupy-cuda13x"),
        ({"version": 14010, "capability": 120}, "cupy-cuda13x"),
        ({"version": 13000, "capability": 75}, "cupy-cuda13x"),
        ({"version": 13000, "capability": 61}, "cupy-cuda12x"),
        ({"version": 12080, "capability": 90}, "cupy-cuda12x"),
    ],
    ids=str,
)
def test_the_doctor_chooses_the_wheel_for_driver_and_gpu(doctor, driver, wheel):
    found, status = doctor({"gpus": 2, **driver})
    assert status == 0
    assert found["to_do"] == f'pip install "{wheel}[ctk]"'
    assert [gpu["name"] for gpu in found["gpus"]] == ["NVIDIA Fake 0", "NVIDIA Fake 1"]
    assert found["gpus"][1]["capability"] == f"{driver['capability'] // 10}.{driver['capability'] % 10}"
    assert found["driver"]["cuda"] == f"{driver['version'] // 1000}.{driver['version'] % 1000 // 10}"
    assert found["driver"]["problem"] is None


def test_the_doctor_has_an_old_driver_updated_first(doctor):
    found, status = doctor({"version": 11040, "gpus": 1})
    assert status == 0
    assert found["to_do"].startswith('update the driver to 525 or newer, then pip install "cupy-cuda13x[ctk]" (driver >= 580)')


def test_the_doctor_says_that_a_gpu_is_too_old(doctor):
    found, status = doctor({"version": 11040, "capability": 37, "gpus": 1})
    assert status == 0
    assert found["to_do"].startswith("use device='cpu': a GPU of compute capability 3.7 is too old for CuPy 14")


@pytest.mark.parametrize("driver", [{"init": 100}, {"gpus": 0}], ids=["refused", "counted"])
def test_the_doctor_finds_a_driver_without_gpus(doctor, driver):
    found, status = doctor(driver, CUDA_VISIBLE_DEVICES="")
    assert (status, found["gpus"], found["to_do"]) == (0, [], None)
    assert found["driver"]["problem"] == "it sees no GPU (CUDA error 100)"
    assert found["driver"]["visible"] == ""
    assert "nvidia-smi -L" in found["note"]


@pytest.mark.parametrize(
    ("status", "says"),
    [
        (3, "cannot be initialised (CUDA error 3)"),
        (803, "library and its kernel module are of different versions"),
        (999, "unknown error"),
        (12345, "it cannot be used (CUDA error 12345)"),
    ],
)
def test_the_doctor_reports_a_broken_driver(doctor, status, says):
    found, exit_status = doctor({"init": status, "gpus": 1})
    assert exit_status == 1
    assert found["broken"]
    assert says in found["driver"]["problem"]
    assert found["to_do"].startswith("make `nvidia-smi` run without an error")


def test_the_doctor_reports_a_driver_that_cannot_be_loaded(doctor):
    found, status = doctor(None)
    assert status == 1
    assert found["driver"]["problem"].startswith("libcuda.so.1 cannot be loaded (")


def test_the_page_of_the_doctor_beside_a_gpu(run):
    done = run(NO_CUPY + DOCTOR, {"gpus": 1})
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert "driver  supports CUDA 13.0" in done.stdout
    assert "GPU 0   NVIDIA Fake 0, compute capability 9.0" in lines
    assert lines[-1] == 'To do: pip install "cupy-cuda13x[ctk]"'


@with_wheel
@pytest.mark.parametrize(
    ("driver", "reason", "status"),
    [({"init": 100}, "no-device", 0), ({"init": 803}, "cuda-error", 1), ({"version": 11080}, "driver-too-old", 1)],
)
def test_the_doctor_and_the_real_cupy_agree(run, driver, reason, status):
    done = run(DOCTOR_JSON, {"gpus": 1, **driver})
    assert (done.returncode, done.stderr) == (status, "")
    found = json.loads(done.stdout)
    assert found["auto"]["reason"] == reason
    assert found["cupy"][0]["wheel"].startswith("cupy-cuda")
