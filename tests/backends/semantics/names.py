"""What there is in CuPy, and which arguments it takes."""

from __future__ import annotations

import types
from collections.abc import Callable

import numpy as np

from semantics.judging import (
    LIKE_NUMPY,
    Raises,
    Says,
    after,
)

MISSING = """errstate seterr vecdot matvec vecmat unstack block nditer ndenumerate einsum_path insert geomspace spacing emath
strings ma memmap matrix longdouble float128 str_ object_ datetime64 __array_namespace_info__ linalg.vector_norm
linalg.matrix_norm linalg.multi_dot linalg.svdvals linalg.vecdot linalg.outer linalg.tensordot linalg.trace
random.SeedSequence random.PCG64 random.Philox random.MT19937"""
PRESENT = """matmul einsum tensordot dot take take_along_axis put_along_axis clip copyto pad argpartition partition concat
matrix_transpose permute_dims astype isdtype cumulative_sum bitwise_count broadcast_shapes where maximum argmax exp log1p expm1
logaddexp tanh sign isnan bincount unique linalg.norm linalg.solve lib.stride_tricks.sliding_window_view
lib.stride_tricks.as_strided random.default_rng random.Generator float32 int64 newaxis inf pi finfo ndarray asnumpy
get_array_module cuda.Device cuda.Stream cuda.runtime"""
NO_METHOD = "resize setflags ctypes itemset newbyteorder to_device __array_namespace__ __index__ __contains__ __imatmul__"
METHODS = """sum mean max argmax reshape ravel transpose astype copy fill clip dot take item tolist get set device view T mT
flags"""
NO_GENERATOR_METHOD = "normal permutation permuted shuffle choice bytes spawn lognormal laplace multinomial"
GENERATOR_METHODS = "random standard_normal integers uniform exponential standard_exponential binomial beta gamma poisson"


def has(of: Callable, name: str) -> Callable:
    def call(g: types.SimpleNamespace) -> bool:
        owner = of(g)
        for part in name.split("."):
            if not hasattr(owner, part):
                return False
            owner = getattr(owner, part)
        return True

    return call


NAMES = {
    f"{label}{name}": (has(of, name), Says(there))
    for label, of, names, there in (
        ("no xp.", lambda g: g.xp, MISSING.split(), False),
        ("xp.", lambda g: g.xp, PRESENT.split(), True),
        ("no array.", lambda g: g.a, NO_METHOD.split(), False),
        ("array.", lambda g: g.a, METHODS.split(), True),
        ("no rng.", lambda g: g.xp.random.default_rng(0), NO_GENERATOR_METHOD.split(), False),
        ("rng.", lambda g: g.xp.random.default_rng(0), GENERATOR_METHODS.split(), True),
    )
    for name in names
}

UNEXPECTED = Raises(TypeError, "argument")
KEYWORDS = {
    "log(where=)": (lambda g: g.xp.log(g.positive, where=True), Raises(TypeError, "Wrong arguments")),
    "np.log(where=)": (lambda g: np.log(g.positive, where=True), Raises(TypeError, "Wrong arguments")),
    "maximum(where=)": (lambda g: g.xp.maximum(g.a, 0, where=g.mask), Raises(TypeError, "Wrong arguments")),
    "add(subok=)": (lambda g: g.xp.add(g.a, g.a, subok=True), Raises(TypeError, "Wrong arguments")),
    "add(order=)": (lambda g: g.xp.add(g.a, g.a, order="C"), Raises(TypeError, "Wrong arguments")),
    "add of one": (lambda g: g.xp.add(g.a), Raises(TypeError, "Wrong number of arguments")),
    "sum(where=)": (lambda g: g.xp.sum(g.a, where=g.mask), UNEXPECTED),
    "np.sum(where=)": (lambda g: np.sum(g.a, where=g.mask), UNEXPECTED),
    "sum(initial=)": (lambda g: g.a.sum(initial=1), UNEXPECTED),
    "max(initial=)": (lambda g: g.xp.max(g.a, initial=0), UNEXPECTED),
    "mean(where=)": (lambda g: g.xp.mean(g.a, where=g.mask), UNEXPECTED),
    "any(where=)": (lambda g: g.xp.any(g.mask, where=g.mask), UNEXPECTED),
    "var(correction=)": (lambda g: g.xp.var(g.a, correction=1), UNEXPECTED),
    "var(mean=)": (lambda g: g.xp.var(g.a, mean=g.a), UNEXPECTED),
    "count_nonzero(keepdims=)": (lambda g: g.xp.count_nonzero(g.a, keepdims=True), UNEXPECTED),
    "clip(min=)": (lambda g: g.xp.clip(g.a, min=0), UNEXPECTED),
    "clip of one": (lambda g: g.xp.clip(g.a), UNEXPECTED),
    "einsum(out=)": (lambda g: g.xp.einsum("ij->i", g.a, out=None), Raises(TypeError)),
    "take(mode=)": (lambda g: g.xp.take(g.a, g.rows, mode="clip"), UNEXPECTED),
    "take_along_axis without axis": (lambda g: g.xp.take_along_axis(g.a, g.rows), UNEXPECTED),
    "where(out=)": (lambda g: g.xp.where(g.mask, g.a, g.a, out=g.a), UNEXPECTED),
    "reshape(shape=)": (lambda g: g.xp.reshape(g.a, shape=(4, 3)), UNEXPECTED),
    "sort(order=)": (lambda g: g.xp.sort(g.a, order="x"), UNEXPECTED),
    "unique(sorted=)": (lambda g: g.xp.unique(g.a, sorted=False), UNEXPECTED),
    "zeros(device=)": (lambda g: g.xp.zeros(3, device="cpu"), UNEXPECTED),
    "asarray(device=)": (lambda g: g.xp.asarray(g.a, device="cpu"), UNEXPECTED),
    "arange(like=)": (lambda g: g.xp.arange(3, like=g.a), UNEXPECTED),
    "matmul(subok=)": (lambda g: g.xp.matmul(g.a, g.a.T, subok=True), UNEXPECTED),
    "integers(out=)": (lambda g: g.xp.random.default_rng(0).integers(0, 5, out=g.rows), UNEXPECTED),
    "maximum.reduce": (lambda g: g.xp.maximum.reduce(g.a), Raises(NotImplementedError, "maximum.reduce")),
    "minimum.accumulate": (lambda g: g.xp.minimum.accumulate(g.a), Raises(NotImplementedError, "minimum.accumulate")),
    "logical_and.reduce": (lambda g: g.xp.logical_and.reduce(g.mask), Raises(NotImplementedError, "logical_and.reduce")),
    "add.reduce(initial=)": (lambda g: g.xp.add.reduce(g.a, initial=1), UNEXPECTED),
    "add.reduce": (lambda g: g.xp.add.reduce(g.a, axis=1), LIKE_NUMPY),
    "maximum(out=)": (lambda g: g.xp.maximum(g.a, 5, out=g.a) is g.a, Says(True)),
    "larger out": (after(lambda g: g.xp.add(g.b, 1, out=g.a)), LIKE_NUMPY, Raises(ValueError, "Out shape is mismatched")),
    "smaller out": (lambda g: g.xp.add(g.a, 1, out=g.b), Raises(ValueError)),
    "matmul(out=)": (after(lambda g: g.xp.matmul(g.square, g.square, out=g.square.copy()), "square"), LIKE_NUMPY),
    "clip by position": (lambda g: g.xp.clip(g.a, None, 5), LIKE_NUMPY),
    "argmax(keepdims=)": (lambda g: g.xp.argmax(g.a, axis=1, keepdims=True), LIKE_NUMPY),
    "reshape(newshape=)": (lambda g: g.xp.reshape(g.a, newshape=(4, 3)).shape, Says((4, 3))),
    "copyto(where=)": (after(lambda g: g.xp.copyto(g.a, 0, where=g.mask)), LIKE_NUMPY),
    "random(out=)": (lambda g: g.xp.random.default_rng(0).random(dtype="float32", out=g.b) is g.b, Says(True)),
}
