"""What CuPy 14.2 does where NumPy does something else, as data for test_semantics.py.

A row is a call of ``g``, which holds the namespace ``g.xp`` and the arrays of ``INPUTS`` on the device, and an expectation:
what CuPy does, as its sources and, where no device is needed, the wheel itself say. Where the simulator is stricter on
purpose there is a second expectation, its own.
"""

from __future__ import annotations

import copy
import dataclasses
import operator
import types
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

HOST = np.arange(12, dtype=np.float32).reshape(3, 4)
ROWS = np.array([2, 0, 1])
COLUMN = ROWS[:, None]

INPUTS = {
    "a": HOST,
    "b": np.array([1, 2, 3, 4], np.float32),
    "positive": HOST + 1,
    "square": np.array([[2, 1], [1, 3]], np.float32),
    "cube": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "half": np.array([1, 2, 3], np.float16),
    "double": np.array([1, 2, 3], np.float64),
    "complex": np.array([1 + 2j, 3], np.complex64),
    "rows": ROWS,
    "twice": np.array([1, 1, 2]),
    "beyond": np.array([0, 3, -4]),
    "int8": np.array([1, 2, 3], np.int8),
    "int16": np.array([1, 2, 3], np.int16),
    "int32": np.array([1, 2, 3], np.int32),
    "uint8": np.array([1, 2, 255], np.uint8),
    "mask": HOST > 5,
    "bools": np.array([True, False, True]),
    "none": np.empty((0, 4), np.float32),
    "denormal": np.array([1e-40, 1], np.float32),
    "scalar": np.array(2.5, np.float32),
}


@dataclasses.dataclass
class Raises:
    error: type[BaseException] | tuple[type[BaseException], ...]
    text: str = ""

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        with pytest.raises(self.error, match=self.text or None):
            call(g)


@dataclasses.dataclass
class Gives:
    """An array of the device with these values; its shape and dtype are theirs."""

    values: Any
    dtype: str = "float32"

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        expected = np.asarray(self.values, self.dtype)
        got = call(g)
        assert isinstance(got, g.xp.ndarray)
        assert (got.dtype, got.shape) == (expected.dtype, expected.shape)
        if hasattr(g, "to_host"):
            np.testing.assert_allclose(g.to_host(got), expected, rtol=1e-3 if expected.dtype == "f2" else 1e-6)


@dataclasses.dataclass
class LikeNumPy:
    """What the same call gives with NumPy on the host, but as an array of the device."""

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        expected = np.asarray(call(types.SimpleNamespace(xp=np, **copy.deepcopy(INPUTS))))
        Gives(expected, expected.dtype.name).judge(call, g)


@dataclasses.dataclass
class HasDtype:
    dtype: str

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        got = call(g)
        assert isinstance(got, g.xp.ndarray)
        assert got.dtype == self.dtype


@dataclasses.dataclass
class Says:
    """A value of Python."""

    value: Any

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        got = call(g)
        assert not isinstance(got, g.xp.ndarray)
        assert got == self.value


@dataclasses.dataclass
class OnHost:
    """NumPy's result on the host: a real GPU did not take part."""

    def judge(self, call: Callable, g: types.SimpleNamespace) -> None:
        assert isinstance(call(g), np.ndarray | np.generic | list)


IMPLICIT = Raises(TypeError, "Implicit conversion to a NumPy array is not allowed")
UNSUPPORTED = Raises(TypeError, "Unsupported type <class 'numpy.ndarray'>")
NOT_AN_ARRAY = Raises(TypeError, "Unsupported type|incorrect type|must be a cupy.ndarray|should be a CuPy array")
REFUSED = Raises(TypeError, "Unsupported type")  # the simulator's refusal of what CuPy accepts
LIKE_NUMPY = LikeNumPy()


def after(change: Callable, array: str = "a") -> Callable:
    """A call that changes one of the arrays and gives it."""

    def call(g: types.SimpleNamespace) -> Any:
        change(g)
        return getattr(g, array)

    return call


# Name: (call, what CuPy 14.2 does) or (call, what CuPy 14.2 does, what the simulator does on purpose).

MIXING = {
    "array + host": (lambda g: g.a + HOST, UNSUPPORTED),
    "host + array": (lambda g: HOST + g.a, UNSUPPORTED),
    "array - host": (lambda g: g.a - HOST, UNSUPPORTED),
    "host * array": (lambda g: HOST * g.a, UNSUPPORTED),
    "array / host": (lambda g: g.a / HOST, UNSUPPORTED),
    "array ** host": (lambda g: g.a**HOST, UNSUPPORTED),
    "array < host": (lambda g: g.a < HOST, UNSUPPORTED),
    "host == array": (lambda g: HOST == g.a, UNSUPPORTED),  # noqa: SIM300
    "bools & host": (lambda g: g.bools & np.array([True, False, True]), UNSUPPORTED),
    "array += host": (lambda g: g.a.__iadd__(HOST), UNSUPPORTED),
    "host += array": (lambda g: HOST.copy().__iadd__(g.a), Raises(TypeError)),
    "array @ host": (lambda g: g.a @ HOST.T, NOT_AN_ARRAY),
    "host @ array": (lambda g: HOST @ g.square, NOT_AN_ARRAY),
    "host mask * array": (lambda g: (HOST > 5) * g.a, UNSUPPORTED),
    "array * host of shape ()": (lambda g: g.a * np.array(2.0), UNSUPPORTED),
    "host of shape () * array": (lambda g: np.array(2.0) * g.a, UNSUPPORTED),
    "array > host of shape ()": (lambda g: g.a > np.array(2.0), LIKE_NUMPY, UNSUPPORTED),
    "array * np.float32": (lambda g: g.a * np.float32(2), LIKE_NUMPY),
    "np.float32 * array": (lambda g: np.float32(2) * g.a, LIKE_NUMPY),
    "array + np.int64": (lambda g: g.int32 + np.int64(2), LIKE_NUMPY),
    "array + np.bool": (lambda g: g.a + np.True_, LIKE_NUMPY),
    "list + array": (
        lambda g: operator.add([1, 2, 3, 4], g.b),
        Raises(TypeError, "Unsupported type|unsupported operand|not supported"),
    ),
    "array + None": (lambda g: g.a + None, Raises(TypeError)),
    "array + str": (lambda g: g.a + "x", Raises(TypeError)),
    "array == None": (lambda g: g.bools == None, Gives([False] * 3, "bool"), REFUSED),  # noqa: E711
    "np.exp(array)": (lambda g: np.exp(g.a), LIKE_NUMPY),
    "np.maximum(array, 2)": (lambda g: np.maximum(g.a, 2), LIKE_NUMPY),
    "np.add(array, array)": (lambda g: np.add(g.a, g.b), LIKE_NUMPY),
    "np.add(array, host)": (lambda g: np.add(g.a, HOST), UNSUPPORTED),
    "np.add(host, array)": (lambda g: np.add(HOST, g.a), UNSUPPORTED),
    "np.matmul(array, host)": (lambda g: np.matmul(g.a, HOST.T), NOT_AN_ARRAY),
    "np.add(out=host)": (lambda g: np.add(g.a, 1, out=HOST.copy()), Raises(TypeError)),
    "xp.add(out=host)": (lambda g: g.xp.add(g.a, 1, out=HOST.copy()), Raises(TypeError)),
    "xp.add(host, host)": (lambda g: g.xp.add(HOST, HOST), UNSUPPORTED),
    "xp.exp(host)": (lambda g: g.xp.exp(HOST), UNSUPPORTED),
    "xp.exp(list)": (lambda g: g.xp.exp([1.0]), Raises(TypeError, "Unsupported type <class 'list'>")),
    "xp.exp(1.0)": (lambda g: g.xp.exp(1.0), HasDtype("float64")),
    "np.sum(array)": (lambda g: np.sum(g.a, axis=0), LIKE_NUMPY),
    "np.mean(array)": (lambda g: np.mean(g.a), LIKE_NUMPY),
    "np.concatenate(arrays)": (lambda g: np.concatenate([g.a, g.a]), LIKE_NUMPY),
    "np.linalg.norm(array)": (lambda g: np.linalg.norm(g.a), LIKE_NUMPY),
    "np.dot(array, host)": (lambda g: np.dot(g.a, HOST.T), NOT_AN_ARRAY),
    "np.block": (lambda g: np.block([g.a]), Raises(TypeError, "no implementation found")),
    "np.unstack": (lambda g: np.unstack(g.a), Raises(TypeError, "no implementation found")),
    "np.asarray(array)": (lambda g: np.asarray(g.a), IMPLICIT),
    "np.array([array, array])": (lambda g: np.array([g.a, g.a]), IMPLICIT),
    "host[...] = array": (lambda g: HOST.copy().__setitem__(..., g.a), IMPLICIT),
    "host[array]": (lambda g: HOST[g.rows], IMPLICIT),
    "np.random.permutation(array)": (lambda g: np.random.default_rng(0).permutation(g.a), IMPLICIT),
    "np.testing": (lambda g: np.testing.assert_allclose(g.a, g.a), IMPLICIT),
    "array[:] = host": (lambda g: g.a.__setitem__(slice(None), HOST), Raises((ValueError, TypeError), "numpy.ndarray")),
    "array[0] = host of shape (1,)": (
        lambda g: g.a.__setitem__(0, np.ones(1)),
        Raises((ValueError, TypeError), "numpy.ndarray"),
    ),
    "array[0] = list": (lambda g: g.a.__setitem__(0, [1, 2, 3, 4]), Raises((ValueError, TypeError))),
    "array[0] = host of shape ()": (after(lambda g: g.a.__setitem__(0, np.array(1.0))), LIKE_NUMPY, REFUSED),
    "array[0] = np.float64": (after(lambda g: g.a.__setitem__(0, np.float64(1))), LIKE_NUMPY),
    "array[rows] = host": (after(lambda g: g.a.__setitem__(g.rows, HOST)), LIKE_NUMPY, REFUSED),
    "array.fill(host)": (lambda g: g.a.fill(HOST), Raises((ValueError, TypeError), "numpy.ndarray")),
    "copyto(array, host)": (lambda g: g.xp.copyto(g.a, HOST), Raises((ValueError, TypeError), "numpy.ndarray")),
    "copyto(host, array)": (lambda g: g.xp.copyto(HOST.copy(), g.a), Raises((AttributeError, TypeError))),
    "where(mask, array, host)": (lambda g: g.xp.where(g.mask, g.a, HOST), UNSUPPORTED),
    "concatenate([array, host])": (lambda g: g.xp.concatenate([g.a, HOST]), Raises(TypeError)),
    "stack([array, host])": (lambda g: g.xp.stack([g.a, HOST]), NOT_AN_ARRAY),
    "set of another dtype": (lambda g: g.a.set(HOST.astype("f8")), Raises(TypeError, "float64 array cannot be set to float32")),
    "set of another shape": (lambda g: g.a.set(HOST[:2]), Raises(ValueError, "Shape mismatch")),
    "set of a list": (lambda g: g.a.set([1]), Raises(TypeError, "Only numpy.ndarray can be set")),
    "asnumpy of a host array": (lambda g: g.xp.asnumpy(HOST) is HOST, Says(True)),
    "get_array_module": (lambda g: (g.xp.get_array_module(g.a) is g.xp, g.xp.get_array_module(HOST) is np), Says((True, True))),
    "isinstance of np.ndarray": (lambda g: isinstance(g.a, np.ndarray), Says(False)),
    "hash": (lambda g: hash(g.a), Raises(TypeError, "unhashable")),
    "attribute of one's own": (lambda g: setattr(g.a, "note", 1), Raises(AttributeError)),
    "range(array)": (lambda g: range(g.rows[0]), Raises(TypeError, "integer")),
    "list[array]": (lambda g: [1, 2, 3][g.rows[0]], Raises(TypeError, "integers")),
    "shape of an array": (lambda g: g.xp.zeros((g.rows[0], 2)), Raises(TypeError, "integer")),
    "axis of an array": (lambda g: g.xp.sum(g.a, axis=g.rows), Raises(TypeError, "integer")),
    "reshape by an array": (lambda g: g.a.reshape(g.rows), Raises(TypeError, "integer")),
}

# CuPy computes these with NumPy, on the host, and says nothing; the simulator refuses all of them.
SILENT_HOST_COMPUTE = {
    f"xp.{name}(host)": (call, OnHost(), REFUSED)
    for name, call in {
        "sum": lambda g: g.xp.sum(HOST),
        "mean": lambda g: g.xp.mean(HOST),
        "max": lambda g: g.xp.max(HOST),
        "min": lambda g: g.xp.min(HOST),
        "amax": lambda g: g.xp.amax(HOST),
        "var": lambda g: g.xp.var(HOST),
        "std": lambda g: g.xp.std(HOST),
        "prod": lambda g: g.xp.prod(HOST),
        "dot": lambda g: g.xp.dot(HOST, HOST.T),
        "reshape": lambda g: g.xp.reshape(HOST, (4, 3)),
        "transpose": lambda g: g.xp.transpose(HOST),
        "ravel": lambda g: g.xp.ravel(HOST),
        "squeeze": lambda g: g.xp.squeeze(HOST),
        "swapaxes": lambda g: g.xp.swapaxes(HOST, 0, 1),
        "take": lambda g: g.xp.take(HOST, ROWS),
        "clip": lambda g: g.xp.clip(HOST, 0, 1),
        "copy": lambda g: g.xp.copy(HOST),
        "sort": lambda g: g.xp.sort(HOST),
        "argsort": lambda g: g.xp.argsort(HOST),
        "argpartition": lambda g: g.xp.argpartition(HOST, 1),
        "array_equal": lambda g: g.xp.array_equal(HOST, HOST),
        "repeat": lambda g: g.xp.repeat(HOST, 2),
        "flip": lambda g: g.xp.flip(HOST),
        "fliplr": lambda g: g.xp.fliplr(HOST),
        "rot90": lambda g: g.xp.rot90(HOST),
        "matrix_transpose": lambda g: g.xp.matrix_transpose(HOST),
        "permute_dims": lambda g: g.xp.permute_dims(HOST, (1, 0)),
        "trace": lambda g: g.xp.trace(HOST),
        "diagonal": lambda g: g.xp.diagonal(HOST),
        "add.reduce": lambda g: g.xp.add.reduce(HOST),
        "add.accumulate": lambda g: g.xp.add.accumulate(HOST),
        "multiply.reduce": lambda g: g.xp.multiply.reduce(HOST),
    }.items()
}

# CuPy copies the host array to the device and says nothing; the simulator refuses.
SILENT_COPIES = {
    f"xp.{name}(host)": (call, LIKE_NUMPY, REFUSED)
    for name, call in {
        "einsum": lambda g: g.xp.einsum("ij->i", HOST),
        "isclose": lambda g: g.xp.isclose(HOST, HOST),
        "unique": lambda g: g.xp.unique(HOST),
        "tile": lambda g: g.xp.tile(HOST, 2),
        "diff": lambda g: g.xp.diff(HOST),
        "append": lambda g: g.xp.append(HOST, HOST),
        "take of host indices": lambda g: g.xp.take(g.a, ROWS, axis=0),
    }.items()
}

REFUSED_ON_HOST = {
    f"xp.{name}(host)": (call, Raises((TypeError, ValueError, NotImplementedError)))
    for name, call in {
        "matmul": lambda g: g.xp.matmul(HOST, HOST.T),
        "tensordot": lambda g: g.xp.tensordot(HOST, HOST.T, 1),
        "argmax": lambda g: g.xp.argmax(HOST),
        "argmin": lambda g: g.xp.argmin(HOST),
        "stack": lambda g: g.xp.stack([HOST, HOST]),
        "split": lambda g: g.xp.split(HOST, 2, axis=1),
        "moveaxis": lambda g: g.xp.moveaxis(HOST, 0, 1),
        "expand_dims": lambda g: g.xp.expand_dims(HOST, 0),
        "broadcast_to": lambda g: g.xp.broadcast_to(HOST, (2, 3, 4)),
        "astype": lambda g: g.xp.astype(HOST, "float64"),
        "any": lambda g: g.xp.any(HOST),
        "all": lambda g: g.xp.all(HOST),
        "nonzero": lambda g: g.xp.nonzero(HOST),
        "count_nonzero": lambda g: g.xp.count_nonzero(HOST),
        "cumsum": lambda g: g.xp.cumsum(HOST),
        "nansum": lambda g: g.xp.nansum(HOST),
        "where": lambda g: g.xp.where(HOST),
        "copyto": lambda g: g.xp.copyto(HOST.copy(), HOST),
        "median": lambda g: g.xp.median(HOST),
        "inner": lambda g: g.xp.inner(HOST, HOST),
        "kron": lambda g: g.xp.kron(HOST, HOST),
        "ascontiguousarray": lambda g: g.xp.ascontiguousarray(HOST),
        "asfortranarray": lambda g: g.xp.asfortranarray(HOST),
        "searchsorted": lambda g: g.xp.searchsorted(HOST[0], HOST[0]),
    }.items()
} | {
    "xp.sum([1.0, 2.0])": (lambda g: g.xp.sum([1.0, 2.0]), Raises((AttributeError, TypeError))),
    "xp.max([1.0])": (lambda g: g.xp.max([1.0]), Raises((AttributeError, TypeError))),
}

ZERO_DIMENSIONAL = {
    "sum": (lambda g: g.a.sum(), Gives(66.0)),
    "mean": (lambda g: g.xp.mean(g.a), Gives(5.5)),
    "max": (lambda g: g.a.max(), Gives(11.0)),
    "element": (lambda g: g.a[1, 2], Gives(6.0)),
    "element of the last axis": (lambda g: g.b[-1], Gives(4.0)),
    "argmax": (lambda g: g.xp.argmax(g.a), Gives(11, "int64")),
    "count_nonzero": (lambda g: g.xp.count_nonzero(g.a), Gives(11, "int64")),
    "any": (lambda g: g.mask.any(), Gives(True, "bool")),
    "array_equal": (lambda g: g.xp.array_equal(g.a, g.a), Gives(True, "bool")),
    "allclose": (lambda g: g.xp.allclose(g.a, g.a), Gives(True, "bool")),
    "comparison": (lambda g: g.a[0, 0] < 1, Gives(True, "bool")),
    "dot of vectors": (lambda g: g.xp.dot(g.b, g.b), Gives(30.0)),
    "norm": (lambda g: g.xp.linalg.norm(g.b), Gives(np.sqrt(30.0))),
    "asarray of a number": (lambda g: g.xp.asarray(2.5), Gives(2.5, "float64")),
    "iteration": (lambda g: next(iter(g.b)), Gives(1.0)),
    "sum()": (lambda g: sum([g.b[0], g.b[1]]), Gives(3.0)),
    "len": (lambda g: len(g.a.sum()), Raises(TypeError, "unsized")),
    "iteration over none": (lambda g: iter(g.scalar), Raises(TypeError, "0-d")),
    "item of several": (lambda g: g.a.item(), Raises(ValueError, "size 1")),
    "item with an argument": (lambda g: g.a.item(0), Raises(TypeError, "argument")),
    "truth of several": (lambda g: bool(g.a), Raises(ValueError, "ambiguous")),
}

INDICES = {
    "rows": (lambda g: g.a[g.rows], LIKE_NUMPY),
    "pairs": (lambda g: g.a[g.rows, g.rows], LIKE_NUMPY),
    "column of rows": (lambda g: g.a[:, g.rows], LIKE_NUMPY),
    "list": (lambda g: g.a[[0, 2]], LIKE_NUMPY),
    "host rows": (lambda g: g.a[ROWS], LIKE_NUMPY),
    "host mask": (lambda g: g.a[HOST > 5], LIKE_NUMPY),
    "empty list": (lambda g: g.a[[]], Gives(np.empty((0, 4)))),
    "mask": (lambda g: g.a[g.mask], LIKE_NUMPY),
    "mask of rows": (lambda g: g.a[g.bools], LIKE_NUMPY),
    "negative": (lambda g: g.a[-1], LIKE_NUMPY),
    "0-d array": (lambda g: g.a[g.rows[0]], LIKE_NUMPY),
    "np.int64": (lambda g: g.a[np.int64(1)], LIKE_NUMPY),
    "slice beyond the end": (lambda g: g.a[1:99], LIKE_NUMPY),
    "slice backwards": (lambda g: g.a[::-1, ::2], LIKE_NUMPY),
    "newaxis and ellipsis": (lambda g: g.a[None, ..., 0], LIKE_NUMPY),
    "beyond the end": (lambda g: g.a[3], Raises(IndexError, "out of bounds")),
    "before the beginning": (lambda g: g.a[-4], Raises(IndexError, "out of bounds")),
    "too many": (lambda g: g.a[0, 0, 0], Raises(IndexError, "too many indices")),
    "two ellipses": (lambda g: g.a[..., ...], Raises(IndexError, "single ellipsis")),
    "mask of another shape": (lambda g: g.a[g.mask[:2]], Raises(IndexError, "boolean index did not match")),
    "array of floats": (lambda g: g.a[g.b], Raises(IndexError, "integer")),
    "1.0": (lambda g: g.a[1.0], Gives(HOST[1]), Raises(IndexError, "integer")),
    "array beyond the end wraps": (lambda g: g.a[g.beyond], Gives(HOST[[0, 0, 2]]), Raises(IndexError, "out of bounds")),
    "take beyond the end wraps": (
        lambda g: g.xp.take(g.a, g.beyond, axis=0),
        Gives(HOST[[0, 0, 2]]),
        Raises(IndexError, "out of bounds"),
    ),
    "store beyond the end wraps": (
        after(lambda g: g.b.__setitem__(g.rows + 4, 0), "b"),
        Gives([0, 0, 0, 4]),
        Raises(IndexError, "out of bounds"),
    ),
    "add.at beyond the end wraps": (
        after(lambda g: g.xp.add.at(g.b, g.rows + 4, 1), "b"),
        Gives([2, 3, 4, 4]),
        Raises(IndexError, "out of bounds"),
    ),
    "store rows": (after(lambda g: g.a.__setitem__(g.rows, g.a * 2)), LIKE_NUMPY),
    "store pairs": (after(lambda g: g.a.__setitem__((g.rows, g.rows), 7)), LIKE_NUMPY),
    "store a slice": (after(lambda g: g.a.__setitem__((slice(None), 1), g.rows)), LIKE_NUMPY),
    "store by a mask": (after(lambda g: g.a.__setitem__(g.a > 5, -1)), LIKE_NUMPY),
    "store by a mask of rows": (after(lambda g: g.a.__setitem__(g.bools, 0)), LIKE_NUMPY),
    "store another shape": (lambda g: g.a.__setitem__(slice(None), g.a[:, :2]), Raises(ValueError)),
    "subtract from elements": (after(lambda g: g.a.__setitem__((g.rows, g.rows), g.a[g.rows, g.rows] - 1)), LIKE_NUMPY),
    "take": (lambda g: g.xp.take(g.a, g.rows, axis=0), LIKE_NUMPY),
    "take of the flat array": (lambda g: g.a.take(g.rows), LIKE_NUMPY),
    "take of a list": (lambda g: g.xp.take(g.a, [0, 2], axis=1), LIKE_NUMPY),
    "take_along_axis": (lambda g: g.xp.take_along_axis(g.a, g.rows[:, None], 1), LIKE_NUMPY),
    "where of three": (lambda g: g.xp.where(g.mask, g.a, -g.a), LIKE_NUMPY),
    "where of two": (lambda g: g.xp.where(g.mask, g.a), Raises(ValueError)),
    "where of one": (lambda g: g.xp.where(g.mask)[1], LIKE_NUMPY),
    "where broadcasts": (lambda g: g.xp.where(g.bools[:, None], g.a, g.b), LIKE_NUMPY),
}

# A float sum by add.at is right but not reproducible on a GPU; these sums are exact in any order.
SCATTERS = {
    "add.at": (after(lambda g: g.xp.add.at(g.a, g.twice, 1)), LIKE_NUMPY),
    "add.at of rows": (after(lambda g: g.xp.add.at(g.a, g.twice, g.a * 2)), LIKE_NUMPY),
    "add.at of pairs": (after(lambda g: g.xp.add.at(g.a, (g.twice, g.twice), 1)), LIKE_NUMPY),
    "add.at of int32": (after(lambda g: g.xp.add.at(g.int32, g.twice, 1), "int32"), LIKE_NUMPY),
    "add.at of float64": (after(lambda g: g.xp.add.at(g.double, g.twice, 1), "double"), LIKE_NUMPY),
    "maximum.at": (after(lambda g: g.xp.maximum.at(g.a, g.twice, 5)), LIKE_NUMPY),
    "multiply.at": (lambda g: g.xp.multiply.at(g.a, g.rows, 2), Raises(NotImplementedError, "multiply.at")),
    "subtract.at of floats": (lambda g: g.xp.subtract.at(g.a, g.rows, 2), Raises(TypeError, "subtract.at")),
    "add.at of complex": (lambda g: g.xp.add.at(g.complex, g.rows[1:2], 1), Raises(TypeError, "add.at")),
}

DTYPES = {
    "float32 + int": (lambda g: g.a + 1, "float32"),
    "float32 * float": (lambda g: g.a * 0.5, "float32"),
    "float16 * float": (lambda g: g.half * 0.5, "float16"),
    "int8 + int": (lambda g: g.int8 + 1, "int8"),
    "uint8 + int": (lambda g: g.uint8 + 1, "uint8"),
    "int32 + float": (lambda g: g.int32 + 0.5, "float64"),
    "int8 + float": (lambda g: g.int8 + 0.5, "float64"),
    "bool + int": (lambda g: g.bools + 1, "int64"),
    "bool * float": (lambda g: g.bools * 0.5, "float64"),
    "float32 * complex": (lambda g: g.a * 1j, "complex64"),
    "float32 * np.float64": (lambda g: g.a * np.float64(2), "float64"),
    "np.float64 * float32": (lambda g: np.float64(2) * g.a, "float64"),
    "float16 * np.float32": (lambda g: g.half * np.float32(2), "float32"),
    "float32 * np.int64": (lambda g: g.a * np.int64(2), "float64"),
    "float32 * np.int8": (lambda g: g.a * np.int8(2), "float32"),
    "float32 * float16": (lambda g: g.half * g.a[:, 0], "float32"),
    "float32 * float64": (lambda g: g.double * g.a[:, 0], "float64"),
    "float32 * int64": (lambda g: g.a[:, 0] * g.rows, "float64"),
    "float32 * int32": (lambda g: g.a[:, 0] * g.int32, "float64"),
    "float32 * int16": (lambda g: g.a[:, 0] * g.int16, "float32"),
    "float32 * bool": (lambda g: g.a * g.mask, "float32"),
    "float32 * 0-d float32": (lambda g: g.a * g.scalar, "float32"),
    "float32 * 0-d float64": (lambda g: g.a * g.double[0], "float64"),
    "float16 * 0-d float32": (lambda g: g.half * g.scalar, "float32"),
    "int / int": (lambda g: g.int32 / g.int32, "float64"),
    "int8 / int8": (lambda g: g.int8 / g.int8, "float64"),
    "int // int": (lambda g: g.int32 // 2, "int32"),
    "float32 // int": (lambda g: g.a // 2, "float32"),
    "float32 ** 2": (lambda g: g.a**2, "float32"),
    "float32 ** 0.5": (lambda g: g.a**0.5, "float32"),
    "int ** 2": (lambda g: g.int32**2, "int32"),
    "comparison": (lambda g: g.a > 1, "bool"),
    "-uint8": (lambda g: -g.uint8, "uint8"),
    "~bool": (lambda g: ~g.bools, "bool"),
    "exp(int64)": (lambda g: g.xp.exp(g.rows), "float64"),
    "exp(float16)": (lambda g: g.xp.exp(g.half), "float16"),
    "sqrt(int8)": (lambda g: g.xp.sqrt(g.int8), "float16"),
    "sqrt(int16)": (lambda g: g.xp.sqrt(g.int16), "float32"),
    "maximum(float32, int)": (lambda g: g.xp.maximum(g.a, 0), "float32"),
    "clip(float32)": (lambda g: g.xp.clip(g.a, 0.5, 2), "float32"),
    "where(float32, float)": (lambda g: g.xp.where(g.mask, g.a, 0.5), "float32"),
    "where(int32, int)": (lambda g: g.xp.where(g.bools, g.int32, 0), "int32"),
    "where(float, float)": (lambda g: g.xp.where(g.bools, 1.0, 0.0), "float64"),
    "sum(bool)": (lambda g: g.xp.sum(g.bools), "int64"),
    "sum(int8)": (lambda g: g.xp.sum(g.int8), "int64"),
    "sum(uint8)": (lambda g: g.xp.sum(g.uint8), "uint64"),
    "sum(float16)": (lambda g: g.xp.sum(g.half), "float16"),
    "sum(float32)": (lambda g: g.xp.sum(g.a), "float32"),
    "sum(dtype=)": (lambda g: g.a.sum(dtype="float64"), "float64"),
    "prod(int32)": (lambda g: g.xp.prod(g.int32), "int64"),
    "cumsum(bool)": (lambda g: g.xp.cumsum(g.bools), "int64"),
    "mean(int)": (lambda g: g.xp.mean(g.int32), "float64"),
    "mean(bool)": (lambda g: g.xp.mean(g.bools), "float64"),
    "mean(float16)": (lambda g: g.xp.mean(g.half), "float16"),
    "mean(float32)": (lambda g: g.xp.mean(g.a), "float32"),
    "var(float32)": (lambda g: g.xp.var(g.a), "float32"),
    "std(int)": (lambda g: g.xp.std(g.int32), "float64"),
    "max(float16)": (lambda g: g.xp.max(g.half), "float16"),
    "argmax": (lambda g: g.xp.argmax(g.a, axis=1), "int64"),
    "argmax(dtype=)": (lambda g: g.xp.argmax(g.a, axis=1, dtype="int32"), "int32"),
    "argsort": (lambda g: g.xp.argsort(g.a), "int64"),
    "bincount": (lambda g: g.xp.bincount(g.rows), "int64"),
    "matmul(float16)": (lambda g: g.half[:, None] @ g.half[None], "float16"),
    "matmul(float32, float64)": (lambda g: g.a[:, :3] @ g.double, "float64"),
    "matmul(int32)": (lambda g: g.int32[:, None] @ g.int32[None], "int32"),
    "einsum(float32)": (lambda g: g.xp.einsum("ij,j->i", g.a, g.b), "float32"),
    "concatenate(float16, float32)": (lambda g: g.xp.concatenate([g.half, g.b]), "float32"),
    "abs(complex64)": (lambda g: abs(g.complex), "float32"),
    "zeros": (lambda g: g.xp.zeros(3), "float64"),
    "full of an int": (lambda g: g.xp.full(3, 1), "int64"),
    "arange": (lambda g: g.xp.arange(3), "int64"),
    "arange of a float": (lambda g: g.xp.arange(3.0), "float64"),
    "linspace": (lambda g: g.xp.linspace(0, 1, 3), "float64"),
    "eye": (lambda g: g.xp.eye(2), "float64"),
    "zeros_like": (lambda g: g.xp.zeros_like(g.half), "float16"),
    "asarray of floats": (lambda g: g.xp.asarray([1.0]), "float64"),
    "asarray of ints": (lambda g: g.xp.asarray([1]), "int64"),
    "random": (lambda g: g.xp.random.default_rng(0).random(3), "float64"),
    "random(dtype=)": (lambda g: g.xp.random.default_rng(0).random(3, dtype="float32"), "float32"),
    "integers": (lambda g: g.xp.random.default_rng(0).integers(0, 5, 3), "int64"),
}
PROMOTION = {name: (call, HasDtype(dtype)) for name, (call, dtype) in DTYPES.items()} | {
    "bool - bool": (lambda g: g.bools - g.bools, Raises(TypeError)),
    "-bool": (lambda g: -g.bools, Raises(TypeError)),
    "int += float": (lambda g: g.int32.__iadd__(0.5), Raises(TypeError, "same_kind")),
    "float16 += float64": (after(lambda g: g.half.__iadd__(g.double), "half"), LIKE_NUMPY),
    "out of another kind": (lambda g: g.xp.add(g.a, 1, out=g.xp.empty((3, 4), "int32")), Raises(TypeError, "same_kind")),
    "result_type(float32, 2.0)": (lambda g: g.xp.result_type(g.a, 2.0) == "float32", Says(True)),
    "result_type(float32, np.float64)": (lambda g: g.xp.result_type(g.a, np.float64(2)) == "float64", Says(True)),
    "float to int cuts off": (lambda g: g.xp.asarray([2.7, -2.7]).astype("int32"), LIKE_NUMPY),
    "uint8 wraps": (lambda g: g.uint8 + g.uint8, LIKE_NUMPY),
    "dtypes are NumPy's": (lambda g: (g.xp.float32 is np.float32, g.xp.int64 is np.int64), Says((True, True))),
    "denormals flush to zero": (lambda g: g.denormal * g.denormal[1], Gives([0, 1]), LIKE_NUMPY),  # documented difference
}

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

VIEWS = {
    f"{name} {'shares memory' if shares else 'copies'}": (call, Says(shares))
    for shares, calls in {
        True: {
            "reshape": lambda g: g.a.reshape(4, 3).base is g.a,
            "reshape(-1)": lambda g: g.xp.reshape(g.a, -1).base is g.a,
            "ravel": lambda g: g.a.ravel().base is g.a,
            "T": lambda g: g.a.T.base is g.a,
            "mT": lambda g: g.a.mT.base is g.a,
            "slice": lambda g: g.a[1:, ::2].base is g.a,
            "element": lambda g: g.a[0, 0].base is g.a,
            "newaxis": lambda g: g.a[None].base is g.a,
            "view of a view": lambda g: g.a[1:].T.base is g.a,
            "squeeze": lambda g: g.a[None].squeeze().base is g.a,
            "expand_dims": lambda g: g.xp.expand_dims(g.a, 0).base is g.a,
            "broadcast_to": lambda g: g.xp.broadcast_to(g.a, (2, 3, 4)).base is g.a,
            "swapaxes": lambda g: g.a.swapaxes(0, 1).base is g.a,
            "moveaxis": lambda g: g.xp.moveaxis(g.a, 0, 1).base is g.a,
            "flip": lambda g: g.xp.flip(g.a, 0).base is g.a,
            "split": lambda g: g.xp.split(g.a, 2, axis=1)[1].base is g.a,
            "diagonal": lambda g: g.a.diagonal().base is g.a,
            "view": lambda g: g.a.view("int32").base is g.a,
            "iteration": lambda g: next(iter(g.a)).base is g.a,
            "astype(copy=False)": lambda g: g.a.astype("float32", copy=False) is g.a,
            "asarray": lambda g: g.xp.asarray(g.a) is g.a,
            "ascontiguousarray": lambda g: g.xp.ascontiguousarray(g.a) is g.a,
        },
        False: {
            "flatten": lambda g: g.a.flatten().base is g.a,
            "ravel of T": lambda g: g.a.T.ravel().base is g.a,
            "reshape of T": lambda g: g.a.T.reshape(-1).base is g.a,
            "rows": lambda g: g.a[g.rows].base is g.a,
            "take": lambda g: g.a.take(g.rows).base is g.a,
            "astype": lambda g: g.a.astype("float32") is g.a,
            "array": lambda g: g.xp.array(g.a) is g.a,
            "copy": lambda g: g.a.copy().base is g.a,
            "concatenate": lambda g: g.xp.concatenate([g.a]).base is g.a,
        },
    }.items()
    for name, call in calls.items()
} | {
    "store in a view": (after(lambda g: g.a[1].__setitem__(..., 9)), LIKE_NUMPY),
    "store in an element": (after(lambda g: g.b[1].__setitem__(..., 9), "b"), Gives([1, 9, 3, 4])),
    "+= on a view": (after(lambda g: g.a.T[1].__iadd__(1)), LIKE_NUMPY),
    "+= keeps the object": (lambda g: g.a.__iadd__(1) is g.a, Says(True)),
    "deepcopy": (lambda g: copy.deepcopy(g.a).base is None, Says(True)),
    "@= makes a new array": (lambda g: rebound(g.square), Says(True)),
}


def rebound(a: Any) -> bool:
    before = a
    a @= before
    return a is not before


LAYOUTS = {
    "flags of C": (lambda g: (g.a.flags.c_contiguous, g.a.flags.f_contiguous), Says((True, False))),
    "flags of T": (lambda g: (g.a.T.flags.c_contiguous, g.a.T.flags.f_contiguous), Says((False, True))),
    "strides": (lambda g: (g.a.strides, g.a.T.strides, g.a[::-1].strides), Says(((16, 4), (4, 16), (-16, 4)))),
    "matmul of T": (lambda g: (g.a.T @ g.a).flags.c_contiguous, Says(True)),
    "operators on T": (lambda g: (g.a.T + 1).flags.c_contiguous, Says(True)),
    "ufunc of T": (lambda g: g.xp.exp(g.a.T).flags.c_contiguous, Says(True)),
    "ascontiguousarray of T": (lambda g: g.xp.ascontiguousarray(g.a.T).flags.c_contiguous, Says(True)),
    "asfortranarray": (lambda g: g.xp.asfortranarray(g.a).flags.f_contiguous, Says(True)),
    "zeros(order=F)": (lambda g: g.xp.zeros((2, 3), order="F").flags.f_contiguous, Says(True)),
    "T.copy()": (lambda g: g.a.T.copy().flags.c_contiguous, Says(True)),
    "concatenate": (lambda g: g.xp.concatenate([g.a, g.a]).flags.c_contiguous, Says(True)),
    "take": (lambda g: g.xp.take(g.a, g.rows, axis=0).flags.c_contiguous, Says(True)),
    "get of T": (lambda g: g.a.T.get().flags.c_contiguous, Says(True)),
    "incompatible shape": (lambda g: g.a.reshape(5, 5), Raises(ValueError, "cannot reshape")),
    "nbytes": (lambda g: (g.a.nbytes, g.a.itemsize, g.a.size, g.a.ndim), Says((48, 4, 12, 2))),
}

EMPTY = {
    "sum": (lambda g: g.none.sum(), Gives(0.0)),
    "sum of rows": (lambda g: g.none.sum(axis=0), Gives([0.0] * 4)),
    "max": (lambda g: g.none.max(), Raises(ValueError)),
    "argmax": (lambda g: g.none.argmax(), Raises(ValueError)),
    "product": (lambda g: g.none.T @ g.none, Gives(np.zeros((4, 4)))),
    "product of none": (lambda g: g.none @ g.a.T, Gives(np.empty((0, 3)))),
    "operator": (lambda g: g.none + g.b, Gives(np.empty((0, 4)))),
    "exp": (lambda g: g.xp.exp(g.none), Gives(np.empty((0, 4)))),
    "concatenate": (lambda g: g.xp.concatenate([g.none, g.a]), LIKE_NUMPY),
    "any": (lambda g: g.none.any(), Gives(False, "bool")),
    "all": (lambda g: g.none.all(), Gives(True, "bool")),
    "len": (lambda g: len(g.none), Says(0)),
    "stack of nothing": (lambda g: g.xp.stack([]), Raises(ValueError)),
}

ERRORS = {
    "shapes": (lambda g: g.a + g.a[:2], Raises(ValueError, "broadcast")),
    "matmul": (lambda g: g.a @ g.a, Raises(ValueError)),
    "dot": (lambda g: g.a.dot(g.a), Raises(ValueError)),
    "axis": (lambda g: g.a.sum(axis=5), Raises(np.exceptions.AxisError, "out of bounds")),
    "axis twice": (lambda g: g.a.sum(axis=(0, 0)), Raises(ValueError, "duplicate")),
    "squeeze": (lambda g: g.xp.squeeze(g.a, 0), Raises(ValueError, "cannot select an axis to squeeze")),
    "broadcast_to": (lambda g: g.xp.broadcast_to(g.a, (2, 2)), Raises(ValueError, "could not be broadcast")),
    "split": (lambda g: g.xp.split(g.a, 3, axis=1), Raises(ValueError)),
    "concatenate": (lambda g: g.xp.concatenate([g.a, g.b]), Raises(ValueError)),
    "strings": (lambda g: g.xp.asarray(["a"]), Raises(ValueError, "Unsupported dtype")),
    "transpose": (lambda g: g.xp.transpose(g.a, (0, 0)), Raises(ValueError, "repeated axis")),
}

GROUPS = {
    "mixing": MIXING,
    "silent host compute": SILENT_HOST_COMPUTE,
    "silent copies": SILENT_COPIES,
    "refused on the host": REFUSED_ON_HOST,
    "0-d": ZERO_DIMENSIONAL,
    "indices": INDICES,
    "scatters": SCATTERS,
    "promotion": PROMOTION,
    "names": NAMES,
    "keywords": KEYWORDS,
    "views": VIEWS,
    "layouts": LAYOUTS,
    "empty": EMPTY,
    "errors": ERRORS,
}
TABLE = {f"{group}: {name}": row for group, rows in GROUPS.items() for name, row in rows.items()}


# --- what waits for the device, and what copies -------------------------------------------------------------------

WAITS = {
    "float()": lambda g: float(g.scalar),
    "int()": lambda g: int(g.rows[0]),
    "bool()": lambda g: bool(g.scalar > 0),
    "complex()": lambda g: complex(g.scalar),
    "if": lambda g: 1 if g.a.sum() > 0 else 0,
    "max()": lambda g: max(g.b),
    "item": lambda g: g.scalar.item(),
    "tolist": lambda g: g.a.tolist(),
    "get": lambda g: g.a.get(),
    "asnumpy": lambda g: g.xp.asnumpy(g.a),
    "print": lambda g: str(g.a),
    "repr": lambda g: repr(g.a),
    "format": lambda g: f"{g.scalar:.3f}",
    "mask": lambda g: g.a[g.mask],
    "store by a mask": lambda g: g.a.__setitem__(g.mask, 0),  # _prepare_mask_indexing_single counts what is True
    "nonzero": lambda g: g.xp.nonzero(g.mask),
    "array.nonzero": lambda g: g.mask.nonzero(),
    "flatnonzero": lambda g: g.xp.flatnonzero(g.mask),
    "argwhere": lambda g: g.xp.argwhere(g.mask),
    "where of one": lambda g: g.xp.where(g.mask),
    "unique": lambda g: g.xp.unique(g.rows),
    "bincount": lambda g: g.xp.bincount(g.rows, minlength=5),
    "extract": lambda g: g.xp.extract(g.mask, g.a),
    "choose": lambda g: g.xp.choose(g.rows, g.a[:, :3]),
    "unravel_index": lambda g: g.xp.unravel_index(g.rows, (3, 4)),
    "assert allclose": lambda g: bool(g.xp.allclose(g.a, g.a)),
    "average(weights=)": lambda g: g.xp.average(g.a, weights=g.a),
    "Device.synchronize": lambda g: g.xp.cuda.Device().synchronize(),
    "Stream.synchronize": lambda g: g.xp.cuda.get_current_stream().synchronize(),
}

DOES_NOT_WAIT = {
    "operators": lambda g: -(g.a + 1) * g.a / 2 > g.b,
    "matmul": lambda g: g.a @ g.a.T,
    "einsum": lambda g: g.xp.einsum("ij,kj->ik", g.a, g.a),
    "exp": lambda g: g.xp.exp(g.a),
    "sum": lambda g: g.a.sum(axis=0),
    "mean": lambda g: g.a.mean(),
    "var": lambda g: g.a.var(axis=0),
    "max": lambda g: g.a.max(axis=1, keepdims=True),
    "argmax": lambda g: g.a.argmax(axis=1),
    "sort": lambda g: g.xp.sort(g.a),
    "argsort": lambda g: g.xp.argsort(g.a),
    "cumsum": lambda g: g.xp.cumsum(g.a),
    "any": lambda g: (g.a > 3).any(),
    "count_nonzero": lambda g: g.xp.count_nonzero(g.a),
    "array_equal": lambda g: g.xp.array_equal(g.a, g.a),
    "allclose": lambda g: g.xp.allclose(g.a, g.a),
    "norm": lambda g: g.xp.linalg.norm(g.a),
    "where of three": lambda g: g.xp.where(g.mask, g.a, 0),
    "copyto by a mask": lambda g: g.xp.copyto(g.a, 0, where=g.mask),
    "rows": lambda g: g.a[g.rows],
    "pairs": lambda g: g.a[g.rows, g.rows],
    "take": lambda g: g.xp.take(g.a, g.rows, axis=0),
    "take_along_axis": lambda g: g.xp.take_along_axis(g.a, g.rows[:, None], 1),
    "store rows": lambda g: g.a.__setitem__(g.rows, g.a),
    "store a slice": lambda g: g.a.__setitem__(slice(1, 2), 0),
    "add.at": lambda g: g.xp.add.at(g.a, g.twice, g.a),
    "clip": lambda g: g.xp.clip(g.a, 0, 1),
    "concatenate": lambda g: g.xp.concatenate([g.a, g.a]),
    "astype": lambda g: g.a.astype("float16"),
    "views": lambda g: g.a[1:].T.reshape(-1)[None],
    "iteration": lambda g: [row + 1 for row in g.a],
    "metadata": lambda g: (g.a.shape, g.a.dtype, len(g.a), g.a.nbytes, g.a.device),
    "new arrays": lambda g: (g.xp.zeros(3), g.xp.ones_like(g.a), g.xp.arange(4), g.xp.full(2, 3.0)),
    "random numbers": lambda g: g.rng.random(8, dtype="float32"),
    "deepcopy": lambda g: copy.deepcopy(g.a),
}

# Each of them is one copy, hidden in an expression; CuPy's hooks know it by the same name as the simulator.
COPIES = {
    "asarray": ("h2d", "xp.asarray", lambda g: g.xp.asarray(HOST)),
    "asarray of a list": ("h2d", "xp.asarray", lambda g: g.xp.asarray([1.0, 2.0])),
    "array": ("h2d", "xp.array", lambda g: g.xp.array(HOST)),
    "host rows": ("h2d", "host index array", lambda g: g.a[ROWS]),
    "list of rows": ("h2d", "host index array", lambda g: g.a[[0, 2]]),
    "host rows in a tuple": ("h2d", "host index array", lambda g: g.a[:, ROWS]),
    "store host rows": ("h2d", "host index array", lambda g: g.a.__setitem__(ROWS, g.a)),
    "set": ("h2d", ".set()", lambda g: g.a.set(HOST)),
    "get": ("d2h", ".get()", lambda g: g.a.get()),
    "float()": ("d2h", "float()", lambda g: float(g.scalar)),
    "bool()": ("d2h", "bool()", lambda g: bool(g.scalar)),
    "item": ("d2h", ".item()", lambda g: g.scalar.item()),
    "print": ("d2h", "print", lambda g: str(g.scalar)),
}
