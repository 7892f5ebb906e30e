"""Views, layouts, empty arrays, errors."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np

from semantics.judging import (
    LIKE_NUMPY,
    Gives,
    Raises,
    Says,
    after,
)

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
