"""The CUDA kernels of losses and normalisations: compiled by g++ and run against their NumPy twins, and compiled by NVRTC."""

import contextlib
import math
import shutil
from types import SimpleNamespace

import numpy as np
import pytest
from cuda_on_cpu import Compiled

from xpnet.backends.cuda import CUDA
from xpnet.backends.rows import losses as loss_launches
from xpnet.backends.rows import norms
from xpnet.backends.rows.kernel import column_blocks, row_blocks, source
from xpnet.backends.sim.device import HostPass
from xpnet.layers import statistics as s
from xpnet.layers.normalization import GroupNorm, LayerNorm
from xpnet.losses.cross_entropy import label_weight, softmax_cross_entropy
from xpnet.losses.squared_error import squares

DTYPES = ("float32", "float64")
TARGETS = ("uint8", "int64")
SOURCES = [
    *(source(norms.COLUMNS, dtype) for dtype in DTYPES),
    *(source(norms.SAMPLES, dtype) for dtype in DTYPES),
    *(source(loss_launches.SQUARES, dtype) for dtype in DTYPES),
    *(source(loss_launches.SOFTMAX, d, Target=loss_launches.C_TYPES[t]) for d in DTYPES for t in (*TARGETS, d)),
    *(source(loss_launches.WEIGHT, d, Target=loss_launches.C_TYPES["int64"]) for d in DTYPES),
]


@pytest.fixture(scope="module")
def gpu(tmp_path_factory):
    """A device of class CUDA whose kernels g++ compiled, with its arrays on the host."""
    if shutil.which("g++") is None:
        pytest.skip("g++ is not installed")
    cuda = SimpleNamespace(Device=lambda index: contextlib.nullcontext())
    raw_kernel = Compiled(SOURCES, tmp_path_factory.mktemp("kernels"))
    return CUDA(0, SimpleNamespace(RawKernel=raw_kernel, ElementwiseKernel=lambda **options: None, cuda=cuda))


class Check:
    """Runs a kernel and its twin on the same arrays; ``outputs`` are compared, and made for both with NaN in them."""

    def __init__(self, gpu, dtype="float64", tolerance=1e-12):
        self.dtype, self.tolerance = dtype, tolerance if dtype == "float64" else 2e-5
        self.gpu = HostPass(dtype)
        self.gpu.device = gpu

    def __call__(self, kernel, *args, over=()):
        """``over`` are pairs of indices: the first argument is to be the very array that the second one is."""
        given = [tuple(map(self._made, a)) if type(a) is tuple else self._made(a) for a in args]
        results = []
        for step in (HostPass(self.dtype), self.gpu, self.gpu):  # the second launch finds the counters as the first one did
            own = [tuple(map(_copy, a)) if type(a) is tuple else _copy(a) for a in given]
            for i, j in over:
                own[i] = own[j]
            with np.errstate(all="ignore"):
                (kernel.twin if step is not self.gpu else kernel)(step, *own)
            results.append([a for a in _flat(own) if isinstance(a, np.ndarray)])
        for expected, *found in zip(*results, strict=True):
            scale = np.nanmax(np.abs(expected, where=np.isfinite(expected), out=np.zeros(expected.shape)), initial=1e-30)
            for a in found:
                np.testing.assert_allclose(a, expected, self.tolerance, self.tolerance * scale)

    def _made(self, a):
        if isinstance(a, Out):
            return np.full(a.shape, np.nan, self.dtype)
        return a.astype(self.dtype) if isinstance(a, np.ndarray) and a.dtype.kind == "f" else a


class Out:
    """Stands for an array of this shape that is written to."""

    def __init__(self, *shape):
        self.shape = shape


def _copy(a):
    return a.copy() if isinstance(a, np.ndarray) else a


def _flat(args):
    return [x for a in args for x in (a if type(a) is tuple else (a,))]


# --- losses ---------------------------------------------------------------------------------------------------------

SHAPES = [(1, 2), (3, 2), (1, 1000), (130, 3), (33, 10), (5, 33), (3, 1100)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "k"), SHAPES)
def test_softmax_of_labels(rows, k, dtype, gpu, rng):
    for kind in TARGETS:
        labels, logits = rng.integers(0, min(k, 200), rows).astype(kind), 3 * rng.standard_normal((rows, k))
        given = logits, labels, None, None
        Check(gpu, dtype)(softmax_cross_entropy, *given, rows, Out(rows, k), Out(), 0.0, None)
        Check(gpu, dtype)(softmax_cross_entropy, *given, np.array(2.5), Out(rows, k), Out(), 0.0, None, over=[(5, 0)])


@pytest.mark.parametrize("dtype", DTYPES)
def test_softmax_of_odd_logits(dtype, gpu):
    inf, nan = np.inf, np.nan
    rows = [[1e4, 0, -1e4], [-1e4, 1e4, 0], [-inf, 2, 1], [2, -inf, 1], [-inf] * 3, [inf, 0, 1], [nan, 1, 2], [1, 2, nan]]
    rows += [[-inf, -inf, 0], [0, 0, 0], [nan] * 3]
    for label in range(3):
        for row in rows:
            labels = np.full(1, label)
            for classes in (None, np.array([1.0, 0.0, 2.0])):
                given = np.array([row], float), labels, classes, None, 1, Out(1, 3), Out(), 0.0, None
                Check(gpu, dtype)(softmax_cross_entropy, *given)
    labels = np.zeros(len(rows), int)
    Check(gpu, dtype)(softmax_cross_entropy, np.array(rows, float), labels, None, None, 11, Out(11, 3), Out(), 0.0, None)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("ignore", [None, -1])
@pytest.mark.parametrize("dense", [False, True])
def test_softmax_with_all_that_weighs(smoothing, ignore, dense, gpu, rng):
    logits, weights, classes = rng.standard_normal((12, 5)), rng.random(4), rng.random(5)
    targets = rng.dirichlet(np.ones(5), 12) if dense else rng.integers(-1 if ignore else 0, 5, 12)
    for given in ((classes, weights), (None, weights), (classes, None), (None, None)):
        check = Check(gpu, "float64")
        check(softmax_cross_entropy, logits, targets, *given, np.array(3.0), Out(12, 5), Out(), smoothing, ignore)
        if not dense and (ignore or any(a is not None for a in given)):
            check(label_weight, targets, *given, ignore, Out())


def test_labels_out_of_range_are_nobodys(gpu):
    """No GPU can refuse them without waiting."""
    with np.errstate(all="ignore"):
        step = Check(gpu).gpu
        dz, value = np.empty((2, 3)), np.empty(())
        softmax_cross_entropy(step, np.zeros((2, 3)), np.array([3, -1]), None, None, 2, dz, value, 0.0, None)
    assert value == 0
    np.testing.assert_allclose(dz, 1 / 6)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(1,), (3, 1), (7, 5), (40, 3, 30)])
def test_squared_error(shape, dtype, gpu, rng):
    y, targets = rng.standard_normal(shape), rng.standard_normal(shape)
    for weights in (None, rng.random(len(y))):
        for count in (len(y), np.array(2.0)):
            Check(gpu, dtype)(squares, y, targets, weights, count, Out(*shape), Out(), 0.5)


# --- normalisations -------------------------------------------------------------------------------------------------

MATRICES = [(1, 1), (2, 3), (300, 5), (5, 70), (150, 33)]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize(("rows", "columns"), MATRICES)
def test_columns(rows, columns, dtype, gpu, rng):
    x, dy = 2 * rng.standard_normal((rows, columns)) + 1, rng.standard_normal((rows, columns))
    check, v = Check(gpu, dtype), list(rng.random((4, columns)))
    check(s.moments, x, Out(columns), Out(columns), 1)
    check(s.column_sums, dy, x, v[0], Out(columns), Out(columns))
    check(s.column_sums, dy, x, None, Out(columns), Out(columns))
    check(s.scale_and_shift, x, v[0], v[1], Out(rows, columns))
    check(s.input_gradient, dy, x, v[0], v[1], v[2], Out(rows, columns))
    check(s.input_gradient, dy, x, v[0], v[1], v[2], Out(rows, columns), over=[(5, 0)])


def test_moments_of_large_means(gpu, rng):
    """In float32 they cost few digits, and a first row unlike the others costs no more."""
    x = (1e4 + rng.standard_normal((3000, 40))).astype("float32")
    x[0] = 0
    mean, variance = np.empty((2, 40), "float32")
    s.moments(Check(gpu, "float32").gpu, x, mean, variance, 1)
    np.testing.assert_allclose(mean, x.mean(0, dtype="float64"), 1e-6)
    np.testing.assert_allclose(variance, x.var(0, dtype="float64"), 1e-3)


@pytest.mark.parametrize("affine", [False, True])
def test_vectors_of_statistics(affine, gpu, rng):
    for c in (1, 300):
        v = rng.random((8, c))
        pair = (v[0], v[1]) if affine else (None, None)
        outs = Out(c), Out(c), Out(c)
        Check(gpu)(
            s.statistics,
            v[2],
            v[3],
            pair,
            (v[4], v[5]),
            *outs,
            1e-5,
            0.1,
            1.5,
            over=() if affine else [(5, 4)],
        )
        Check(gpu)(s.statistics, v[2], v[3], pair, (None, None), *outs, 1e-5, 0.1, 1.0, over=() if affine else [(5, 4)])
        grads = (Out(c), Out(c)) if affine else (None, None)
        Check(gpu)(s.statistics_gradients, (v[0], v[1]), v[2], v[3], v[4], grads, Out(c), Out(c), 7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("affine", [False, True])
@pytest.mark.parametrize("shape", [(1, 2), (70, 3), (3, 40), (2, 1100), (5, 7, 6), (2, 1, 4)])
def test_samples(shape, affine, dtype, gpu, rng):
    layer = LayerNorm() if len(shape) == 2 else GroupNorm(2)
    layer.size = shape[-1]
    x, dy = rng.standard_normal(shape) + 1, rng.standard_normal(shape)
    gamma, beta = rng.random((2, shape[-1])) if affine else (None, None)
    inverse = Out(*layer.means_shape(x))
    check = Check(gpu, dtype)
    normal, y = Out(*shape), Out(*shape)
    check(
        s.normalise_samples,
        x,
        (gamma, beta),
        normal,
        inverse,
        y,
        layer.means,
        layer.groups,
        1e-5,
        over=() if affine else [(4, 2)],
    )
    given = rng.standard_normal(shape), rng.random(layer.means_shape(x))
    if len(shape) == 3:
        given[1][...] = np.repeat(given[1][..., :: 3 if shape[-1] == 6 else 2], shape[-1] // 2, axis=-1)  # one of a group
    check(s.samples_gradient, dy, *given, gamma, Out(*shape), layer.means, layer.groups)


@pytest.mark.parametrize("n", [0, 1, 2, 33, 1000, 1025, 10**5, 10**7])
@pytest.mark.parametrize("length", [1, 2, 3, 31, 33, 1024, 1025, 10**5, 10**7])
def test_blocks_are_what_the_kernels_take(n, length):
    """Threads that are a power of two, at most 1024, of which the warps of a row are whole or a part of one."""
    for (grid, block), rows in ((row_blocks(n, length), True), (column_blocks(n, length), False)):
        threads = math.prod(block)
        assert threads.bit_count() == 1
        assert 32 <= threads <= 1024
        assert block[0] <= 32 or (rows and block[1] == 1 and block[0] % 32 == 0)
        assert all(1 <= blocks <= most for blocks, most in zip(grid, (2**31 - 1, 65535), strict=False))


@pytest.mark.kernels
@pytest.mark.parametrize("arch", ["75", "80", "90"])
def test_they_compile_for_gpus(arch, monkeypatch):
    compiler = pytest.importorskip("cupy.cuda.compiler")
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch=None: (f"-arch=sm_{arch}", "cubin"))
    for text in SOURCES:
        assert compiler.compile_using_nvrtc(text, ("-ftz=true", "-std=c++17"), arch=arch)[0].startswith(b"\x7fELF")
    with pytest.raises(compiler.CompileException, match="undefined_name"):
        compiler.compile_using_nvrtc(text + "__global__ void f() { undefined_name; }", (), arch=arch)
