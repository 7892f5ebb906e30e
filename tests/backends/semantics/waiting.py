"""What waits for the device, and what copies."""

from __future__ import annotations

import copy

from semantics.judging import (
    HOST,
    ROWS,
)

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
