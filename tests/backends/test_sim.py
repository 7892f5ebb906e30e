"""The simulated GPU computes NumPy's numbers and refuses what CuPy refuses."""

import copy
import pickle

import numpy as np
import pytest

from xpnet.backends.ledger import ledger
from xpnet.backends.sim import Sim
from xpnet.backends.sim.surface import SURFACE, signature

xp = Sim().xp
HOST = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
ROWS = np.array([2, 0, 3, 1])


@pytest.fixture
def a():
    return xp.asarray(HOST)


@pytest.fixture
def rows():
    return xp.asarray(ROWS)


# --- numbers: byte for byte NumPy's ---------------------------------------------------------------------------

CALLS = {
    "operators": lambda m, a, i: (a + 1) * a - a / 3 + 2**a - (a // 0.5) % 2 + abs(-a) - (1 - a) + 1 / (a + 9),
    "bits": lambda m, a, i: ((i << 2) | 3) ^ (~i & 5) >> 1,
    "comparisons": lambda m, a, i: ((a > 0) & (a <= 1)) | (a == a) ^ (0 != a),  # noqa: SIM300
    "divmod": lambda m, a, i: divmod(i, 3)[1],
    "matmul": lambda m, a, i: a @ a.T,
    "sum": lambda m, a, i: a.sum(axis=1, keepdims=True),
    "scalar": lambda m, a, i: m.mean(a),
    "moments": lambda m, a, i: m.var(a, axis=0) + a.std(axis=0, ddof=1) + m.max(a, axis=0) - a.min(0),
    "softmax": lambda m, a, i: m.exp(a - a.max(axis=1, keepdims=True)),
    "argmax": lambda m, a, i: a.argmax(axis=1) + m.argmax(a, axis=1) + a.argmin(1),
    "take": lambda m, a, i: m.take(a, i, axis=0) + a.take(i, axis=0) + a[i],
    "along axis": lambda m, a, i: m.take_along_axis(a, i[:, None], 1),
    "pairs": lambda m, a, i: a[i, i],
    "mask": lambda m, a, i: a[a > 0],
    "where": lambda m, a, i: m.where(a > 0, a, 0.5),
    "clip": lambda m, a, i: m.clip(a, -1, 1) + a.clip(None, 0.5),
    "concatenate": lambda m, a, i: m.concatenate([a, a[:1]], axis=0),
    "stack": lambda m, a, i: m.stack((a, a), axis=1),
    "split": lambda m, a, i: m.split(a, 2, axis=1)[1],
    "einsum": lambda m, a, i: m.einsum("ij,kj->ik", a, a),
    "tensordot": lambda m, a, i: m.tensordot(a, a, axes=([1], [1])),
    "pad": lambda m, a, i: m.pad(a, ((1, 1), (0, 2)), mode="reflect"),
    "windows": lambda m, a, i: m.lib.stride_tricks.sliding_window_view(a, (2, 2))[:, ::2].reshape(3, -1),
    "norm": lambda m, a, i: m.linalg.norm(a, axis=1),
    "solve": lambda m, a, i: m.linalg.solve(a @ a.T, a[:, :1]),
    "svd": lambda m, a, i: m.linalg.svd(a, full_matrices=False)[1],
    "cumsum": lambda m, a, i: m.cumsum(a, axis=1),
    "sort": lambda m, a, i: m.sort(a, axis=1),
    "astype": lambda m, a, i: a.astype(m.float16).astype("float64"),
    "transpose": lambda m, a, i: a.transpose(1, 0).reshape(-1) + a.T.ravel(),
    "count": lambda m, a, i: m.count_nonzero(a > 0),
    "sinc": lambda m, a, i: m.sinc(a),
    "unique": lambda m, a, i: m.unique(i % 2, return_counts=True)[1],
    "zeros_like": lambda m, a, i: m.zeros_like(a) + m.full((6,), 2, dtype="float32") + m.arange(6),
    "constants": lambda m, a, i: (a * m.pi)[m.newaxis, ..., 0] + m.float32(2),
    "add.at": lambda m, a, i: in_place(m.zeros((4, 6), dtype="float32"), lambda z: m.add.at(z, i % 2, a)),
    "setitem": lambda m, a, i: in_place(m.zeros((4, 6), dtype="float32"), lambda z: z.__setitem__((i, i), 3)),
    "set mask": lambda m, a, i: in_place(a.copy(), lambda z: z.__setitem__(z < 0, 0)),
    "copyto": lambda m, a, i: in_place(a.copy(), lambda z: m.copyto(z, 0, where=z > 0)),
    "reduce": lambda m, a, i: m.add.reduce(a, axis=0) + m.multiply.accumulate(a, axis=0),
    "nonzero": lambda m, a, i: m.nonzero(a > 0)[1],
    "fill diagonal": lambda m, a, i: in_place(a.copy(), lambda z: m.fill_diagonal(z, 0)),
}


def in_place(z, change):
    change(z)
    return z


@pytest.mark.parametrize("name", CALLS)
def test_numbers_are_numpys(name, a, rows):
    expected, got = CALLS[name](np, HOST.copy(), ROWS), CALLS[name](xp, a, rows)
    assert isinstance(got, xp.ndarray)
    assert got.dtype == np.asarray(expected).dtype
    assert got.shape == np.shape(expected)
    assert got.get().tobytes() == np.asarray(expected).tobytes()


def test_inputs_keep_their_values_and_in_place_operators_write(a):
    before, b = a, a.copy()
    for change in ("+=", "-=", "*=", "/=", "//=", "%="):
        exec(f"a {change} 3", {"a": a})
    assert a is before
    assert not np.array_equal(a.get(), b.get())
    product = square = xp.ones((2, 2))
    product @= square  # no in-place product: a new array
    assert product is not square
    assert square.get().tolist() == [[1, 1], [1, 1]]


def test_reductions_and_elements_stay_0d_arrays(a):
    for value in (a.sum(), a[0, 0], xp.argmax(a), xp.array_equal(a, a), xp.asarray(2.5)):
        assert isinstance(value, xp.ndarray)
        assert value.shape == ()
    a[0][...] = 7
    assert float(a[0, 0]) == 7


# --- what CuPy refuses ----------------------------------------------------------------------------------------

REFUSED = {
    "operator": (TypeError, "Unsupported type", lambda a: a + HOST),
    "reflected": (TypeError, "Unsupported type", lambda a: HOST + a),
    "0-d host": (TypeError, "device.put", lambda a: a * np.array(2.0)),
    "in place": (TypeError, "Unsupported type", lambda a: a.__iadd__(HOST)),
    "host in place": (TypeError, None, lambda a: HOST.copy().__iadd__(a)),
    "list operand": (TypeError, "Unsupported type", lambda a: a[0] + [1, 2, 3, 4, 5, 6]),
    "None": (TypeError, "Unsupported type", lambda a: a == None),  # noqa: E711
    "matmul": (TypeError, "Unsupported type", lambda a: xp.matmul(a, HOST.T)),
    "leak": (TypeError, "the real CuPy computes on the host", lambda a: xp.sum(HOST)),
    "silent copy": (TypeError, "the real CuPy copies it", lambda a: xp.einsum("ij->i", HOST)),
    "in a list": (TypeError, "Unsupported type", lambda a: xp.concatenate([a, HOST])),
    "list": (TypeError, "must be an array", lambda a: xp.sum([1.0, 2.0])),
    "keyword": (TypeError, "Unsupported type", lambda a: xp.where(a > 0, a, y=HOST)),
    "stored": (TypeError, "Unsupported type", lambda a: a.__setitem__(slice(None), HOST)),
    "fill": (TypeError, "Unsupported type", lambda a: a.fill(np.ones(1))),
    "asarray": (TypeError, "Implicit conversion", lambda a: np.asarray(a)),
    "host store": (TypeError, "Implicit conversion", lambda a: HOST.copy().__setitem__(0, a[0])),
    "index": (TypeError, "integer", lambda a: range(a.sum())),
    "ufunc where": (TypeError, "Wrong arguments {'where'}", lambda a: xp.log(a, where=a > 0)),
    "np ufunc where": (TypeError, "Wrong arguments", lambda a: np.log(a, where=True)),
    "sum where": (TypeError, "unexpected keyword", lambda a: xp.sum(a, where=a > 0)),
    "sum initial": (TypeError, "unexpected keyword", lambda a: a.sum(initial=1)),
    "var correction": (TypeError, "unexpected keyword", lambda a: xp.var(a, correction=1)),
    "clip min": (TypeError, "missing a required argument", lambda a: xp.clip(a, min=0)),
    "take mode": (TypeError, "unexpected keyword", lambda a: xp.take(a, a, mode="clip")),
    "axis required": (TypeError, "missing a required argument", lambda a: xp.take_along_axis(a, a)),
    "einsum out": (TypeError, "unexpected keyword", lambda a: xp.einsum("ij->i", a, out=a)),
    "device": (TypeError, "unexpected keyword", lambda a: xp.zeros(3, device="cpu")),
    "too many": (TypeError, "too many positional", lambda a: xp.dot(a, a, a, a)),
    "ufunc arity": (TypeError, "Wrong number of arguments", lambda a: xp.add(a)),
    "out shape": (ValueError, "Out shape is mismatched", lambda a: xp.add(a[0], 1, out=a)),
    "out casting": (TypeError, "same_kind", lambda a: xp.add(a, 1, out=xp.empty((4, 6), dtype="int32"))),
    "host out": (TypeError, "cannot write", lambda a: xp.add(a, 1, out=HOST.copy())),
    "maximum.reduce": (NotImplementedError, "maximum.reduce", lambda a: xp.maximum.reduce(a)),
    "multiply.at": (NotImplementedError, "multiply.at", lambda a: xp.multiply.at(a, 0, 2)),
    "subtract.at": (TypeError, "does not support float32", lambda a: xp.subtract.at(a, 0, 2)),
    "maximum.at": (TypeError, "does not support float16", lambda a: xp.maximum.at(a.astype("float16"), 0, 2)),
    "errstate": (AttributeError, "module 'cupy' has no attribute 'errstate'", lambda a: xp.errstate),
    "vecdot": (AttributeError, "no attribute", lambda a: xp.linalg.vecdot),
    "np.vecdot": (TypeError, None, lambda a: np.vecdot(a, a)),
    "permutation": (AttributeError, "no attribute 'permutation'", lambda a: xp.random.default_rng(0).permutation),
    "method": (AttributeError, "no attribute 'resize'", lambda a: a.resize),
    "attribute": (AttributeError, None, lambda a: setattr(a, "note", 1)),
    "kernel": (AttributeError, "no counterpart", lambda a: xp.RawKernel),
    "legacy random": (AttributeError, "exists, but", lambda a: xp.random.XORWOW),
    "module": (AttributeError, "exists, but", lambda a: xp.fft),
    "part of cuda": (AttributeError, "exists, but", lambda a: xp.cuda.Event),
    "part of the runtime": (AttributeError, "not simulated", lambda a: xp.cuda.runtime.memcpy),
    "axis on the device": (TypeError, "interpreted as an integer", lambda a: xp.sum(a, axis=xp.asarray(1))),
    "shape on the device": (TypeError, "interpreted as an integer", lambda a: xp.zeros((xp.asarray(1), 2))),
    "reshape on the device": (TypeError, "interpreted as an integer", lambda a: a.reshape(xp.asarray(24))),
    "dtype": (ValueError, "Unsupported dtype", lambda a: xp.asarray(["a"])),
    "longdouble": (ValueError, "Unsupported dtype", lambda a: xp.asarray(np.ones(2, np.longdouble))),
    "hash": (TypeError, "unhashable", lambda a: hash(a)),
    "len": (TypeError, "unsized", lambda a: len(a.sum())),
    "iteration": (TypeError, "0-d", lambda a: iter(a.sum())),
    "index array": (IndexError, "out of bounds", lambda a: a[xp.asarray([4])]),
    "take range": (IndexError, "out of bounds", lambda a: xp.take(a, xp.asarray([4]), axis=0)),
    "store range": (IndexError, "out of bounds", lambda a: a.__setitem__(xp.asarray([9]), 0)),
    "add.at range": (IndexError, "out of bounds", lambda a: xp.add.at(a, xp.asarray([9]), 0)),
    "duplicates": (IndexError, "duplicate", lambda a: a.__setitem__(xp.asarray([1, 1]), a[:2])),
    "wrapped duplicates": (IndexError, "duplicate", lambda a: a.__setitem__(xp.asarray([1, -3]), 0)),
    "later axis": (IndexError, "duplicate", lambda a: a.__setitem__((..., xp.asarray([1, 1])), 0)),
    "pairs": (IndexError, "duplicate", lambda a: a.__setitem__((xp.asarray([0, 0]), xp.asarray([2, 2])), 0)),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_as_on_cupy_and_left_unchanged(name, a):
    error, message, call = REFUSED[name]
    before = a.get()
    with pytest.raises(error, match=message):
        call(a)
    assert np.array_equal(a.get(), before)


def test_accepted_stores_with_distinct_indices(a):
    a[xp.asarray([0, 0]), xp.asarray([1, 2])] = 5
    a[xp.asarray([-1, 0])] = xp.zeros((2, 6), dtype="float32")
    a[..., 2:3] = 1
    a[a[:, 0] == 0, 0] = 9
    assert a.get()[:, 0].tolist() == [9, HOST[1, 0], HOST[2, 0], 9]


def test_numpy_scalars_and_numpy_functions_on_device_arrays(a):
    assert (a * np.float32(2)).dtype == np.float32
    assert (np.float32(2) * a).dtype == np.float32
    assert (a * np.float64(2)).dtype == np.float64
    for result in (np.sqrt(abs(a)), np.sum(a, axis=0), np.linalg.norm(a), np.concatenate([a, a])):
        assert isinstance(result, xp.ndarray)


@pytest.mark.skipif(np.lib.NumpyVersion(np.__version__) < "2.4.0", reason="NumPy before 2.4 tells no signature of C functions")
def test_keywords_are_cupys_where_numpy_differs(a):
    assert xp.argmax(a, 1, "int32").dtype == np.int32
    assert a.argmax(1, None, "int32").dtype == np.int32
    assert len(xp.where(condition=a > 0)) == 2
    assert xp.reshape(a, newshape=(6, 4)).shape == (6, 4)
    assert xp.concatenate(tup=[a, a]).shape == (8, 6)
    assert xp.take_along_axis(a=a, indices=xp.zeros((4, 1), dtype="int64"), axis=1).shape == (4, 1)
    assert xp.array(obj=[1, 2], ndmin=2).shape == (1, 2)
    assert xp.add(a, a, a) is a  # out by position


def test_every_signature_of_the_surface_parses():
    for names in ("namespace", "linalg", "stride_tricks", "ndarray", "Generator"):
        for spec in SURFACE[names].values():
            if spec not in ("any", "value") and not spec.startswith("ufunc"):
                signature(spec)


def test_methods_are_only_those_of_cupy():
    added = {n for n in vars(xp.ndarray) if not n.startswith("_")}
    assert added <= set(SURFACE["ndarray"])


def test_generator_has_its_own_stream_and_cupys_keywords():
    rng, out = xp.random.default_rng(0), xp.empty(5, dtype="float32")
    assert rng.random(out=out, dtype=xp.float32) is out
    assert not np.array_equal(out.get(), np.random.default_rng(0).random(5, dtype=np.float32))
    assert rng.uniform(-1, 1, 4, dtype=xp.float32).dtype == np.float32
    with pytest.raises(TypeError):
        rng.integers(0, 5, out=out)


def test_a_boolean_scalar_as_an_index_is_an_array(a):
    a[True] = 5
    assert (a.get() == 5).all()
    a[False] = 7
    assert (a.get() == 5).all()


def test_devices_are_objects_of_one_class(a):
    device = xp.cuda.Device
    assert isinstance(a.device, device)
    assert device(1) is device(1) is Sim(1).place
    assert device() is device(0)
    assert int(device(3)) == 3
    for index in (-1, 8):
        with pytest.raises(ValueError, match=f"0 to 7, and no {index}"):
            device(index)
    with device(2):
        assert xp.ones(1).device is device() is device(2)
    xp.cuda.runtime.setDevice(1)
    try:
        assert xp.cuda.runtime.getDevice() == 1
    finally:
        xp.cuda.runtime.setDevice(0)


@pytest.mark.parametrize("index", [((0, 1),), range(2), (slice(None), (0, 1)), ([0, 1],)], ids=repr)
def test_whatever_numpy_makes_an_index_array_of_is_one(a, index):
    with ledger() as seen:
        part = a[index]
    assert np.array_equal(part.get(), a.get()[index])
    assert part.base is None
    assert (seen.h2d, seen.launches, seen.allocations) == (1, 1, 1)
    with pytest.raises(IndexError, match="duplicate"):
        a[(1, 1),] = 0


def test_copies_of_a_device_are_the_device():
    device = xp.cuda.Device(3)
    assert copy.deepcopy(device) is pickle.loads(pickle.dumps(device)) is device
    assert [xp.cuda.Device(i).id for i in range(8)] == list(range(8))


def test_the_old_random_functions_take_their_dtype_by_position():
    assert xp.random.normal(0, 1, (3, 4), xp.float32).dtype == np.float32
    assert xp.random.uniform(0, 1, 3, "float32").dtype == np.float32
    assert xp.random.rand(2, dtype="float32").dtype == np.float32
    assert xp.random.normal(0, 1, 3).dtype == np.float64
