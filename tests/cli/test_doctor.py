"""``xpnet doctor``: what it finds and says, and its exit status, with stand-ins for what a machine may have.

Real questions to a driver, and the real CuPy, are in test_doctor_driver.py.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import platform
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest
import threadpoolctl

import xpnet as xn
from xpnet import doctor
from xpnet.backends import DeviceUnavailable, driver, probe
from xpnet.backends.driver import Driver
from xpnet.cli import main

names = importlib.import_module("xpnet.backends.resolve")  # the package's attribute of this name is the function

H200 = ("NVIDIA H200", "9.0")
ABSENT = Driver(problem="libcuda.so.1 was not found")
BROKEN = Driver(13000, "580.95.05", problem="its library and its kernel module differ", broken=True)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch):
    """A machine with this driver, where CuPy is usable (a stand-in for it) or refused with this reason; first, with neither."""

    def machine(
        here: Driver = ABSENT, cupy: object = None, reason: str = "not-installed", wheels: tuple[str, ...] = ()
    ) -> None:
        def usable_cupy() -> object:
            if cupy is None:
                raise DeviceUnavailable(reason, f"there is a {reason}", f"mend the {reason}")
            return cupy

        monkeypatch.setattr(probe, "usable_cupy", usable_cupy)
        monkeypatch.setattr(names, "usable_cupy", usable_cupy)
        monkeypatch.setattr(probe, "installed_wheels", list)
        monkeypatch.setattr(driver, "ask", lambda: here)

    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    machine()
    return machine


def two_gpus(info=lambda: (3 * 2**30, 16 * 2**30)) -> SimpleNamespace:
    """What the doctor asks of a CuPy that works."""
    properties = {"major": 7, "minor": 5, "totalGlobalMem": 16 * 2**30}
    runtime = SimpleNamespace(
        getDevice=lambda: 1,
        getDeviceCount=lambda: 2,
        getDeviceProperties=lambda index: {"name": f"NVIDIA Fake {index}".encode(), **properties},
        memGetInfo=info,
    )
    cuda = SimpleNamespace(runtime=runtime, Device=lambda index: contextlib.nullcontext())
    return SimpleNamespace(cuda=cuda, ElementwiseKernel=lambda **source: None)


def printed(capsys: pytest.CaptureFixture, *options: str, status: int = 0) -> str:
    assert main(["doctor", *options]) == status
    out, err = capsys.readouterr()
    assert err == ""
    return out


# What there is


def test_a_newcomer_with_neither_gpu_nor_cupy_has_nothing_to_mend(capsys) -> None:
    *rows, empty, last = printed(capsys).splitlines()
    names = ["xpnet", "Python", "CPU", "memory", "NumPy", "Numba", "CuPy", "driver", "GPU", "auto"]
    assert [row.split()[0] for row in rows] == names
    assert all(row[7] == " " != row[8] for row in rows)
    assert rows[-4:-1] == ["CuPy    not installed", "driver  none: libcuda.so.1 was not found", "GPU     none"]
    assert rows[-1] == "auto    cpu (no GPU: there is a not-installed)"
    assert empty == ""
    assert last.startswith("Nothing to mend: there is no NVIDIA driver, so xpnet computes on the CPU")
    assert 'device="sim"' in last


def test_the_findings_are_those_of_this_process() -> None:
    found = doctor.examine()
    assert found["xpnet"] == xn.__version__
    assert found["python"]["version"] == platform.python_version()
    assert found["numpy"]["version"] == np.__version__
    assert 1 <= found["cpu"]["usable_cores"] <= found["cpu"]["cores"]
    assert found["cpu"]["model"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the cores of a process can be set on Linux only")
def test_the_cores_are_those_that_the_process_may_use() -> None:
    before = os.sched_getaffinity(0)
    try:
        os.sched_setaffinity(0, {min(before)})
        found = doctor.examine()
    finally:
        os.sched_setaffinity(0, before)
    assert found["cpu"]["usable_cores"] == 1
    if found["cpu"]["cores"] > 1:
        assert f"{found['cpu']['cores']} cores, 1 for this process" in doctor.page(found)


def test_the_threads_are_those_that_are_set_now() -> None:
    if doctor.examine()["numpy"]["blas"]["threads"] is None:
        pytest.skip("the threads of this BLAS cannot be read")
    with threadpoolctl.threadpool_limits(1, "blas"):
        found = doctor.examine()
    assert found["numpy"]["blas"]["threads"] == 1
    assert "on 1 thread\n" in doctor.page(found)


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_memory_is_in_bytes() -> None:
    memory = doctor.examine()["memory"]
    assert memory["total"] == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert 0 < memory["free"] <= memory["total"]


@pytest.mark.parametrize(
    ("text", "memory"),
    [
        ("MemTotal:       2048 kB\nMemFree: 7 kB\nMemAvailable:   1024 kB\nHugePages_Total:   0\n", (2048, 1024)),
        ("        total:    used:\nMem:  4 2\n\nMemTotal: 2048 kB\nMemFree:\nMemAvailable: 1024 kB", (2048, 1024)),
        ("MemTotal: 2048 kB\n", (2048, None)),
    ],
    ids=["Linux", "with a header", "before 3.14"],
)
def test_memory_is_read_whatever_the_kernel_writes(monkeypatch, tmp_path, text, memory) -> None:
    (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(doctor, "MEMINFO", tmp_path / "meminfo")
    assert doctor.examine()["memory"] == {
        name: size and size * 1024 for name, size in zip(("total", "free"), memory, strict=True)
    }


@pytest.mark.parametrize("text", [None, "", "MemTotal: unknown\n"])
def test_memory_without_the_list_of_the_kernel(monkeypatch, tmp_path, text) -> None:
    if text is not None:
        (tmp_path / "meminfo").write_text(text)
    monkeypatch.setattr(doctor, "MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(os, "sysconf_names", {"SC_PHYS_PAGES": 85}, raising=False)
    monkeypatch.setattr(os, "sysconf", {"SC_PHYS_PAGES": 1000, "SC_PAGE_SIZE": 4096}.get, raising=False)
    assert doctor.examine()["memory"] == {"total": 4096000, "free": None}
    monkeypatch.setattr(os, "sysconf_names", {})
    assert doctor.examine()["memory"]["total"] is None


def test_what_cannot_be_found_out_is_called_unknown() -> None:
    found = doctor.examine()
    found["memory"] = {"total": None, "free": None}
    found["cpu"]["cores"] = found["cpu"]["usable_cores"] = None
    found["numpy"]["blas"] = {"name": "accelerate", "version": "unknown", "threads": None}
    page = doctor.page(found)
    assert "memory  unknown\n" in page
    assert ", unknown cores\n" in page
    assert "with accelerate unknown on unknown threads\n" in page


@pytest.mark.parametrize(
    ("text", "version"),
    [
        ("NVRM version: NVIDIA UNIX x86_64 Kernel Module  535.104.05  Sat Aug 19\nGCC version: 12.3.0", "535.104.05"),
        ("NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build  (d)  Tue Sep 23", "580.95.05"),
        ("words of a later kernel module", "unknown"),
    ],
)
def test_the_version_of_the_kernel_module(monkeypatch, tmp_path, text, version) -> None:
    (tmp_path / "version").write_text(text)
    monkeypatch.setattr(driver, "KERNEL_MODULE", tmp_path / "version")
    assert driver.kernel_module() == version
    monkeypatch.setattr(driver, "KERNEL_MODULE", tmp_path / "absent")
    assert driver.kernel_module() is None


def test_a_driver_that_is_not_there_is_no_fault(monkeypatch) -> None:
    monkeypatch.undo()  # the real question
    monkeypatch.setattr(driver, "LIBRARY", "no-such-library.so.1")
    here = driver.ask()
    assert (here.cuda, here.gpus, here.broken) == (None, (), False)
    assert here.problem == "no-such-library.so.1 was not found"


# What follows


def test_working_gpus(capsys, machine) -> None:
    machine(Driver(13000, "580.95.05", (H200,)), two_gpus())
    out = printed(capsys)
    assert "driver  supports CUDA 13.0, kernel module 580.95.05\n" in out
    assert "GPU 0   NVIDIA Fake 0, compute capability 7.5, 16.0 GiB, 3.0 GiB free\nGPU 1   NVIDIA Fake 1" in out
    assert "auto    cuda:1 (the GPU NVIDIA Fake 1 was found)\n" in out
    assert out.endswith('\n\nNothing to mend: device="auto" computes on the GPU.\n')


def test_a_gpu_reserved_by_others_is_still_listed(capsys, machine) -> None:
    def refuse() -> None:
        raise RuntimeError("cudaErrorDevicesUnavailable")

    machine(Driver(13000, None, (H200,)), two_gpus(refuse))
    assert "GPU 1   NVIDIA Fake 1, compute capability 7.5, 16.0 GiB\n" in printed(capsys)


def test_a_gpu_without_cupy_gets_the_command_that_installs_it(capsys, machine) -> None:
    machine(Driver(13000, None, (H200,)))
    out = printed(capsys)
    assert "GPU 0   NVIDIA H200, compute capability 9.0\n" in out
    assert out.endswith('\nTo do: pip install "cupy-cuda13x[ctk]"\n')


@pytest.mark.parametrize("capabilities", [["unknown"], ["unknown", "9.0"]], ids=" ".join)
def test_a_gpu_of_unknown_capability_is_taken_for_a_new_one(capabilities) -> None:
    here = Driver(13000, None, tuple(("some GPU", capability) for capability in capabilities))
    assert probe.install_for(here) == 'pip install "cupy-cuda13x[ctk]"'


def test_the_oldest_gpu_decides() -> None:
    assert "cupy-cuda12x" in probe.install_for(Driver(13000, None, (H200, ("NVIDIA GeForce GTX 1080", "6.1"))))


def test_a_gpu_that_no_cupy_serves_is_not_sent_for_a_driver() -> None:
    k80, k20 = ("Tesla K80", "3.7"), ("Tesla K20", "3.5")
    for here in (Driver(11040, None, (k80,)), Driver(11040, None, (k20, k80)), Driver(13000, None, (k80,))):
        assert probe.install_for(here) == (
            "use device='cpu': a GPU of compute capability 3.7 is too old for CuPy 14, "
            "which needs CUDA 12, and that 5.0 or newer"
        )


def test_a_gpu_that_no_cupy_serves_does_not_hinder_another() -> None:
    assert "cupy-cuda13x" in probe.install_for(Driver(13000, None, (("Tesla K80", "3.7"), H200)))
    assert "cupy-cuda12x" in probe.install_for(Driver(12040, None, (("Tesla K80", "3.7"), ("some GPU", "unknown"))))
    assert "update the driver" in probe.install_for(Driver(11040, None, (("Tesla K80", "3.7"), ("Tesla M40", "5.2"))))


@pytest.mark.parametrize(
    "reason", ["duplicate-wheels", "import-error", "driver-too-old", "cuda-error", "missing-libraries", "smoke-test"]
)
def test_a_broken_gpu_gets_the_advice_of_the_resolver(capsys, machine, reason) -> None:
    machine(Driver(13000, "580.95.05", (H200,)), reason=reason)
    out = printed(capsys, status=1)  # and no warning beside it: pytest makes errors of them
    assert f"auto    cpu (no GPU: there is a {reason})\n" in out
    assert out.endswith(f"\nTo do: mend the {reason}\n")


@pytest.mark.parametrize("reason", ["not-installed", "no-driver", "no-device"])
def test_a_broken_driver_is_mended_first(capsys, machine, reason) -> None:
    machine(BROKEN, reason=reason)
    out = printed(capsys, status=1)
    assert "driver  supports CUDA 13.0, kernel module 580.95.05, its library and its kernel module differ\n" in out
    assert "\nTo do: make `nvidia-smi` run without an error first" in out


@pytest.mark.parametrize(
    ("here", "reason", "says"),
    [
        (ABSENT, "no-driver", "there is no NVIDIA driver"),
        (ABSENT._replace(kernel="580.95.05"), "no-driver", "--gpus all"),
        (ABSENT._replace(kernel="580.95.05"), "not-installed", "--gpus all"),
        (Driver(13000, problem="it sees no GPU"), "no-device", "`nvidia-smi -L`"),
        (Driver(13000, problem="it sees no GPU"), "not-installed", "`nvidia-smi -L`"),
    ],
)
def test_no_gpu_is_no_fault(capsys, machine, here, reason, says) -> None:
    machine(here, reason=reason)
    last = printed(capsys).splitlines()[-1]
    assert last.startswith("Nothing to mend: ")
    assert says in last
    assert 'device="sim"' in last


def test_a_hidden_gpu_shows_what_hides_it(capsys, machine, monkeypatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    machine(Driver(13000, problem="it sees no GPU"))
    assert "driver  supports CUDA 13.0, it sees no GPU, CUDA_VISIBLE_DEVICES=''\n" in printed(capsys)


# JSON


@pytest.mark.parametrize("gpu", [False, True], ids=["no GPU", "two GPUs"])
def test_json_is_all_that_is_printed_and_gives_the_page(capsys, machine, gpu) -> None:
    if gpu:
        machine(Driver(13000, "580.95.05", (H200,)), two_gpus())
    found = json.loads(printed(capsys, "--json"))
    assert found["auto"]["device"] == ("cuda:1" if gpu else "cpu")
    assert len(found["gpus"]) == 2 * gpu
    again = doctor.examine()
    found["memory"] = again["memory"]  # it moves
    assert found == again
    assert doctor.page(found) == doctor.page(again)


def test_json_has_the_exit_status_of_the_page(capsys, machine) -> None:
    machine(BROKEN, reason="cuda-error")
    found = json.loads(printed(capsys, "--json", status=1))
    assert (found["broken"], found["to_do"], found["note"]) == (True, "mend the cuda-error", None)


def test_the_command_itself() -> None:
    done = subprocess.run([sys.executable, "-m", "xpnet", "doctor", "--json"], capture_output=True, text=True)
    assert done.stderr == ""
    assert json.loads(done.stdout)["broken"] == bool(done.returncode)


def test_an_unexpected_error_is_said_in_one_line(capsys, monkeypatch) -> None:
    def fail() -> None:
        raise OSError("no answer")

    monkeypatch.setattr(driver, "ask", fail)
    assert main(["doctor"]) == 1
    assert capsys.readouterr().err == "xpnet doctor: no answer\n"
    with pytest.raises(OSError, match="no answer"):
        main(["doctor", "--traceback"])
