"""The counter-based random numbers: NumPy's on the host, and the GPU's kernel, compiled here by g++, bit for bit the same."""

import contextlib
import ctypes
import shutil
import subprocess
from types import SimpleNamespace

import numpy as np
import pytest

from xpnet.backends.cuda import CUDA
from xpnet.backends.philox import fill_uniform

STREAMS = [(0, 0, 0), (1, 2, 3), (12345, 0, 7), (2**63, 2**40, 2**33), (2**64 - 1, 2**63 - 1, 1)]  # key, stream, step
OFFSETS = [0, 1, 7, 8, 9, 1003, 2**33 + 5]
SIZES = [0, 1, 7, 8, 9, 64, 1001]

C_TYPES = {"uint64": ctypes.c_uint64, "int64": ctypes.c_int64, "raw float32": ctypes.POINTER(ctypes.c_float)}
C_NAMES = {"uint64": "unsigned long long", "int64": "long long", "raw float32": "float*"}
SHIM = """
#include <cstddef>
#define __device__
static unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {{
    return (unsigned __int128) a * b >> 64;
}}
{preamble}
extern "C" void run(ptrdiff_t size, {arguments}) {{
    for (ptrdiff_t i = 0; i < size; ++i) {{ {operation} }}
}}
"""


def uniform(key=1, stream=2, step=3, offset=0, size=100):
    return fill_uniform(key, stream, step, offset, np.empty(size, np.float32))


class CompiledKernel:
    """Stands in for ``cupy.ElementwiseKernel``: the same source and call, compiled by g++ and run over NumPy arrays."""

    folder = None

    def __init__(self, in_params, out_params, operation, name, preamble, no_return):
        parameters = [p.rsplit(" ", 1) for p in f"{in_params}, {out_params}".split(", ")]
        arguments = ", ".join(f"{C_NAMES[kind]} {argument}" for kind, argument in parameters)
        source, library = self.folder / f"{name}.cpp", self.folder / f"{name}.so"
        source.write_text(SHIM.format(preamble=preamble, arguments=arguments, operation=operation))
        subprocess.run(["g++", "-O2", "-Wall", "-shared", "-fPIC", source, "-o", library], check=True)
        self.run = ctypes.CDLL(str(library)).run
        self.run.argtypes = [ctypes.c_ssize_t, *(C_TYPES[kind] for kind, _ in parameters)]
        self.run.restype = None

    def __call__(self, *args, size):
        *scalars, out = args
        self.run(size, *scalars, out.ctypes.data_as(C_TYPES["raw float32"]))


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    """A device of class CUDA whose kernels g++ compiled, with its arrays on the host."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    CompiledKernel.folder = tmp_path_factory.mktemp("kernels")
    cuda = SimpleNamespace(Device=lambda index: contextlib.nullcontext())
    return CUDA(0, SimpleNamespace(ElementwiseKernel=CompiledKernel, cuda=cuda))


@pytest.mark.parametrize("offset", [0, 1, 7, 8, 9, 64, 99])
def test_an_offset_is_a_place_in_the_same_sequence(offset):
    np.testing.assert_array_equal(uniform(offset=offset, size=100), uniform(size=200)[offset : offset + 100])


def test_the_sequence_is_numpys_own():
    generator = np.random.Generator(np.random.Philox(key=1, counter=[0, 2, 3, 0]))
    np.testing.assert_array_equal(uniform(), generator.random(100, dtype=np.float32))


def test_it_fills_the_array_that_it_got():
    out = np.empty((3, 4), np.float32)
    fill_uniform(1, 2, 3, 0, out)
    np.testing.assert_array_equal(out.reshape(-1), uniform(size=12))


def test_keys_streams_and_steps_give_different_numbers():
    rows = [uniform(), uniform(key=2), uniform(stream=3), uniform(step=4), uniform(stream=3, step=2)]
    assert len(np.unique(np.concatenate(rows))) == sum(map(len, rows))


def test_numbers_are_uniform_in_the_half_open_unit_interval():
    values = uniform(size=1 << 16)
    assert values.min() >= 0
    assert values.max() < 1
    counts = np.histogram(values, 16, (0, 1))[0]
    assert np.abs(counts - 4096).max() < 5 * 64  # five standard deviations


@pytest.mark.parametrize(("key", "stream", "step"), STREAMS)
@pytest.mark.parametrize("offset", OFFSETS)
def test_the_kernel_gives_the_same_bits(gpu, key, stream, step, offset):
    expected = uniform(key, stream, step, offset, max(SIZES))
    for size in SIZES:
        out = gpu.uniform(key, stream, step, offset, np.full(size, np.nan, np.float32))
        np.testing.assert_array_equal(out.view(np.uint32), expected[:size].view(np.uint32))


def test_the_kernel_writes_nothing_beside_its_array(gpu):
    memory = np.full(64, np.nan, np.float32)
    gpu.uniform(1, 2, 3, 5, memory[16:35])
    assert np.isnan(memory[:16]).all()
    assert np.isnan(memory[35:]).all()
    np.testing.assert_array_equal(memory[16:35], uniform(offset=5, size=19))
