"""The kernels of all rules and activations in their three forms: NumPy's steps, CUDA's C++ compiled by g++, Numba's loop."""

import ctypes
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from pointwise_helpers import arguments, close, kernels

import xpnet as xn
from xpnet.backends.fast import FastCPU, compiled
from xpnet.pointwise import MASK, ROW, Tape, loops
from xpnet.pointwise.cuda import C_TYPES, elementwise

FUNCTION = """
extern "C" void {name}(ptrdiff_t size, ptrdiff_t width, {parameters}) {{
    for (ptrdiff_t i = 0; i < size; ++i) {{
        {loads}
        {operation}
    }}
}}
"""


def as_function(kernel, name):
    """The kernel's C++ in a loop over contiguous arrays, as CuPy puts it in one over threads: names refer to elements."""
    source, real = elementwise(kernel), C_TYPES[kernel.dtype]
    types = {"bool": "bool", kernel.dtype: real}
    parameters, loads = [], []
    for declared in source["in_params"].split(", "):
        kind, argument = declared.split(" ")
        if argument[0] == "n":
            parameters.append(f"{real} {argument}")
        else:
            parameters.append(f"const {types[kind]}* {argument}_")
            place = "i % width" if kernel.arrays[int(argument[1:])] == ROW else "i"
            loads.append(f"const {types[kind]}& {argument} = {argument}_[{place}];")
    for declared in source["out_params"].split(", "):
        kind, argument = declared.split(" ")
        parameters.append(f"{types[kind]}* {argument}_")
        loads.append(f"{types[kind]}& {argument} = {argument}_[i];")
    text = {"loads": "\n".join(loads), "operation": source["operation"]}
    return FUNCTION.format(name=name, parameters=", ".join(parameters), **text)


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    """All kernels as functions, in one library: k0, k1, ... of float32, then those of float64."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    folder = tmp_path_factory.mktemp("pointwise")
    functions = [as_function(k, f"k{i}") for i, k in enumerate(kernels("float32") + kernels("float64"))]
    (folder / "k.cpp").write_text("#include <cmath>\n#include <cstddef>\nusing namespace std;\n" + "".join(functions))
    command = ["g++", "-O0", "-Wall", "-Wno-unused-variable", "-Werror", "-shared", "-fPIC", "k.cpp", "-o", "k.so"]
    subprocess.run(command, check=True, cwd=folder)
    return ctypes.CDLL(str(folder / "k.so"))


def run_in_c(function, kernel, arrays, numbers):
    real = ctypes.c_float if kernel.dtype == "float32" else ctypes.c_double
    width = next((a.size for a, kind in zip(arrays, kernel.arrays, strict=True) if kind == ROW), 1)
    pointers = [ctypes.c_void_p(arrays[i].ctypes.data) for i in kernel.reads]
    outputs = [ctypes.c_void_p(arrays[i].ctypes.data) for i in kernel.writes]
    size = ctypes.c_ssize_t(arrays[kernel.writes[0]].size)
    function(size, ctypes.c_ssize_t(width), *pointers, *map(real, numbers), *outputs)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_c_plus_plus(library, dtype):
    start = 0 if dtype == "float32" else len(kernels("float32"))
    for i, kernel in enumerate(kernels(dtype), start):
        arrays, numbers = arguments(kernel)
        found = [a.copy() for a in arrays]
        run_in_c(getattr(library, f"k{i}"), kernel, found, numbers)
        with np.errstate(all="ignore"):
            kernel.evaluate(arrays, numbers)
        close(found, arrays, dtype)


def test_a_kernel_in_words():
    tape = Tape("float32")
    w, g, rate = tape.array(writable=True), tape.array(), tape.number()
    w -= rate * g
    kernel = tape.kernel("descent", [(0, w)]).kernel
    assert elementwise(kernel) == {
        "in_params": "float32 a0, float32 a1, float32 n0",
        "out_params": "float32 o0",
        "operation": "const float x0 = a0;\nconst float x1 = a1;\n"
        "const float v0 = (n0 * x1);\nconst float v1 = (x0 - v0);\no0 = v1;",
        "name": "xpnet_descent",
    }
    assert "a0[i] = v1" in loops.source(kernel, cache=False)


@pytest.fixture(scope="module")
def fast():
    pytest.importorskip("numba", reason="Numba is not installed")
    device = FastCPU()
    device.threads = 2
    return device


class TestNumba:
    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_every_kernel(self, fast, dtype):
        for kernel in kernels(dtype):
            arrays, numbers = arguments(kernel)
            found = [a.copy() for a in arrays]
            fast.pointwise(kernel, found, numbers)
            with np.errstate(all="ignore"):
                kernel.evaluate(arrays, numbers)
            close(found, arrays, dtype)

    def test_workers_share_a_large_array(self, fast, monkeypatch):
        monkeypatch.setattr("xpnet.backends.fast.SHARED", 16)
        for kernel in (k for k in kernels("float32") if k.name in ("Adam", "Affine_GELU")):
            for rows, width in ((7, 5), (1, 1), (100, 3)):
                arrays, numbers = arguments(kernel, rows, width)
                found = [a.copy() for a in arrays]
                fast.pointwise(kernel, found, numbers)
                with np.errstate(all="ignore"):
                    kernel.evaluate(arrays, numbers)
                close(found, arrays, "float32")

    def test_arrays_of_any_kind(self, fast):
        kernel = next(k for k in kernels("float64") if k.name == "Affine_Sigmoid" and k.writes == [2])
        x, b = np.random.default_rng(0).standard_normal((4, 6)), np.arange(6.0)
        expected = 1 / (1 + np.exp(-(x + b)))
        frozen = x.copy()
        frozen.flags.writeable = False
        for given in (x, frozen, np.asfortranarray(x), np.repeat(x, 2, axis=1)[:, ::2]):
            for out in (np.empty((4, 6)), np.empty((6, 4)).T):
                fast.pointwise(kernel, [given, b, out])
                np.testing.assert_allclose(out, expected, rtol=1e-14)
        fast.pointwise(kernel, [x[:0], b, np.empty((0, 6))])

    def test_numbers_are_read_when_it_runs(self, fast):
        tape = Tape("float32")
        w, rate = tape.array(writable=True), tape.number()
        w *= rate
        kernel, w, rate = tape.kernel("scale", [(0, w)]).kernel, np.ones(3, "f"), np.array(2, "f")
        for value in (2, 3):
            rate[...] = value
            fast.pointwise(kernel, [w], [rate])
        fast.pointwise(kernel, [w], [0.5])
        assert w.tolist() == [3, 3, 3]

    def test_the_loss_of_many_rows(self, fast):
        net = xn.Sequential(xn.Identity()).build((10,), device=fast)
        step = net.step(training=True)
        net.forward(fast.put(np.zeros((1_000_000, 10), "f")), step)
        value, _ = xn.SoftmaxCrossEntropy()(fast.put(np.zeros((1_000_000, 10), "f")), np.zeros(1_000_000, int), step)
        assert abs(float(value) - np.log(10)) < 1e-5

    def test_loops_over_rows_are_found_in_numba_s_cache(self, fast, tmp_path):
        text = (
            "import numpy as np; import xpnet as xn; from xpnet.backends import fast_rows as rows;"
            "net = xn.Sequential(xn.Affine(2)).build((2,), device='cpu-fast'); step = net.step(training=True);"
            "y, _ = net.forward(np.ones((3, 2), 'f'), step); xn.SoftmaxCrossEntropy()(y, np.zeros(3, int), step);"
            "print(sum(rows.compiled(rows.softmax_of_labels, 'float32').stats.cache_hits.values()))"
        )
        for hits in ("0", "1"):
            environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
            found = subprocess.run([sys.executable, "-c", text], env=environment, capture_output=True, text=True, check=True)
            assert found.stdout.strip() == hits

    def test_it_is_compiled_without_a_folder_too(self, fast, monkeypatch, tmp_path):
        (tmp_path / "file").touch()
        monkeypatch.setenv("XPNET_CACHE", str(tmp_path / "file"))
        tape = Tape("float32")
        w = tape.array(writable=True)
        w += 0.123
        w, kernel = np.zeros(3, "f"), tape.kernel("nowhere", [(0, w)]).kernel
        compiled(kernel)(w)
        assert w.tolist() == [np.float32(0.123)] * 3


def test_without_numba_there_is_no_such_device(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "numba", None)
    with pytest.raises(xn.DeviceUnavailable, match=r'Numba.* not installed.*pip install "xpnet\[fast\]"'):
        FastCPU()


def test_a_mask_is_an_array_of_its_own_type():
    tape = Tape("float32")
    x, mask = tape.array(), tape.array(MASK)
    kernel = tape.kernel("choose", [(None, tape.xp.where(mask, x, -x)), (None, ~mask)]).kernel
    assert kernel.arrays == ("floats", "mask", "floats", "mask")
    x, mask, y, other = np.arange(3.0, dtype="f"), np.array([True, False, True]), np.empty(3, "f"), np.empty(3, bool)
    kernel.evaluate([x, mask, y, other])
    assert (y.tolist(), other.tolist()) == ([0, -1, 2], [False, True, False])
    assert elementwise(kernel)["in_params"] == "float32 a0, bool a1"
