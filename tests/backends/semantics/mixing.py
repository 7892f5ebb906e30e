"""Host arrays among device arrays."""

from __future__ import annotations

import operator

import numpy as np

from semantics.judging import (
    HOST,
    IMPLICIT,
    LIKE_NUMPY,
    NOT_AN_ARRAY,
    REFUSED,
    ROWS,
    UNSUPPORTED,
    Gives,
    HasDtype,
    OnHost,
    Raises,
    Says,
    after,
)

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
