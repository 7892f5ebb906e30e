"""The CUDA sources compiled for real GPUs by NVRTC, which needs neither a GPU nor a driver."""

import numpy as np
import pytest
from pointwise_helpers import ACTIVATIONS, kernels

import xpnet as xn
from xpnet.backends.cuda import DOT_KERNEL, UNIFORM_KERNEL
from xpnet.layers.fused import Body, Loop
from xpnet.pointwise.cuda import elementwise
from xpnet.training.half import scale_kernel

pytestmark = pytest.mark.kernels

ARRAY, INDEXER, SCALAR = 1, 2, 3  # CuPy's codes of the kinds of kernel arguments


@pytest.fixture
def cupy():
    module = pytest.importorskip("cupy")
    try:
        module.cuda.nvrtc.getVersion()
    except (ImportError, RuntimeError):
        pytest.skip("NVRTC is not installed")
    return module


def generated_source(cupy, kernel, is_array):
    """The source that CuPy 14.2 would make of the kernel for contiguous one-dimensional arrays (its private functions)."""
    from cupy._core import _carray, _kernel, _scalar

    def info(parameter):
        kind, of = (ARRAY, cupy.ndarray) if is_array(parameter) else (SCALAR, _scalar.CScalar)
        return _kernel._ArgInfo(kind, of, np.dtype(parameter.dtype), int(is_array(parameter)), True, True)

    *parameters, _ = kernel.params  # the last is the index, which CuPy adds
    infos = (*map(info, parameters), _kernel._ArgInfo(INDEXER, _carray.Indexer, None, 1, True, True))
    source = (kernel.params, kernel.operation, kernel.name, kernel.preamble)
    return _kernel._get_elementwise_kernel_code(infos, _kernel._TypeMap(()), *source)


def generated_reduction(cupy, kernel, dtype):
    """The same for a reduction of two contiguous vectors to a 0-d array."""
    from cupy._core import _carray, _kernel, _reduction, _scalar

    def info(parameter):
        if parameter.name in ("_in_ind", "_out_ind"):
            return _kernel._ArgInfo(INDEXER, _carray.Indexer, None, int(parameter.name == "_in_ind"), True, True)
        if parameter.name == "_block_stride":
            return _kernel._ArgInfo(SCALAR, _scalar.CScalar, np.dtype("int32"), 0, True, True)
        return _kernel._ArgInfo(ARRAY, cupy.ndarray, np.dtype(dtype), int(parameter.name != "out"), True, True)

    types = _kernel._TypeMap((("T", np.dtype(dtype).type), ("IndexT", "int32")))
    shape = (kernel.nin, kernel.nout, kernel._params, tuple(map(info, kernel._params)), types, kernel.name, 512)
    expressions = (kernel.identity, kernel.map_expr, kernel.reduce_expr, kernel.post_map_expr, kernel.preamble)
    return _reduction._ReductionKernel_get_cached_function_code(*shape, kernel.reduce_type, *expressions, ())


@pytest.fixture
def compiled(cupy, monkeypatch):
    """A function from a kernel's source and an architecture to its machine code."""
    from cupy._core import core
    from cupy.cuda import compiler

    # The original asks the GPU which it is.
    monkeypatch.setattr(compiler, "_get_arch_for_options_for_nvrtc", lambda arch=None: (f"-arch=sm_{arch}", "cubin"))
    headers = "".join(f"#include <{header}>\n" for header in core._cupy_header_list)
    options = (*core.assemble_cupy_compiler_options(()), "-ftz=true")

    def compiled(source, arch):
        return compiler.compile_using_nvrtc(headers + source, options, arch=arch)[0]

    return compiled


@pytest.mark.parametrize("arch", ["75", "80", "90"])
def test_uniform_compiles(cupy, compiled, arch):
    kernel = cupy.ElementwiseKernel(**UNIFORM_KERNEL)
    assert compiled(generated_source(cupy, kernel, lambda p: p.raw), arch).startswith(b"\x7fELF")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("arch", ["75", "80", "90"])
def test_updates_and_activations_compile(cupy, compiled, arch, dtype):
    for kernel in map(elementwise, kernels(dtype)):
        source = generated_source(cupy, cupy.ElementwiseKernel(**kernel), lambda p: not p.name.startswith("n"))
        assert compiled(source, arch).startswith(b"\x7fELF")


def of_half_steps():
    """What training in half precision adds: activations in half, updates that may be skipped, the loss scale."""
    loops = [loop for layer in ACTIVATIONS.values() for loop in vars(Body(layer, "float16", bias=True)).values()]
    found = [loop._variant(True, True).kernel for loop in loops if isinstance(loop, Loop)]
    net, optimizer = xn.Sequential(xn.Affine(3)).build((2,)), xn.AdamW(clip_norm=1.0)
    optimizer.update(net.parameters, skip=np.zeros((), np.float32))
    assert optimizer._has_loops(len(optimizer.advance())), optimizer.not_fused
    return [*found, *(traced.kernel for traced, _ in optimizer._loops), *(scale_kernel(d).kernel for d in (True, False))]


@pytest.mark.parametrize("arch", ["75", "80", "90"])
def test_half_precision_compiles(cupy, compiled, arch):
    for kernel in of_half_steps():
        made = cupy.ElementwiseKernel(**elementwise(kernel))
        assert compiled(generated_source(cupy, made, lambda p: not p.name.startswith("n")), arch).startswith(b"\x7fELF")


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("arch", ["75", "80", "90"])
def test_dot_compiles(cupy, compiled, arch, dtype):
    kernel = cupy.ReductionKernel(**DOT_KERNEL)
    assert compiled(generated_reduction(cupy, kernel, dtype), arch).startswith(b"\x7fELF")


def test_a_wrong_kernel_does_not_compile(cupy, compiled):
    wrong = UNIFORM_KERNEL | {"operation": "out[i] = undefined_name"}
    with pytest.raises(cupy.cuda.compiler.CompileException, match="undefined_name"):
        compiled(generated_source(cupy, cupy.ElementwiseKernel(**wrong), lambda p: p.raw), "90")
