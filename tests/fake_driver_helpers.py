"""Scripts in a new interpreter beside a stand-in for the NVIDIA driver, for tests of the resolver and of the doctor."""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import xpnet

NO_CUPY = "import sys; sys.modules['cupy'] = None\n"

only_linux = pytest.mark.skipif(sys.platform != "linux", reason="the stand-in for libcuda is a Linux library")


def with_wheel(test):
    """Mark a test that needs the CuPy wheel."""
    absent = pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="CuPy is not installed")
    return pytest.mark.cupy(absent(test))


@functools.cache
def compiled(session_folder: Path) -> Path:
    """The folder of the compiled stand-in."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("there is no C compiler (cc)")
    folder = session_folder / "libcuda"
    folder.mkdir()
    source = Path(__file__).with_name("backends") / "fake_libcuda.c"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", folder / "libcuda.so.1", source], check=True)
    return folder


def runner(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path):
    """What runs a script beside a driver: the stand-in with these settings, or None, a library that cannot be loaded."""
    libcuda = compiled(tmp_path_factory.getbasetemp())

    def run(script: str, driver: dict | None, path: Path | None = None, **environment: str) -> subprocess.CompletedProcess:
        folder = libcuda if driver is not None else tmp_path
        (tmp_path / "libcuda.so.1").touch()
        (tmp_path / "script.py").write_text(script)
        sources = [str(Path(xpnet.__file__).parents[1]), *([str(path)] if path else [])]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(("CUDA_", "PYTHON"))}
        settings = {f"FAKE_CUDA_{name.upper()}": str(value) for name, value in (driver or {}).items()}
        paths = {"PYTHONPATH": os.pathsep.join(sources), "LD_LIBRARY_PATH": str(folder)}
        command = [sys.executable, tmp_path / "script.py"]
        return subprocess.run(command, env=inherited | paths | settings | environment, capture_output=True, text=True)

    return run
