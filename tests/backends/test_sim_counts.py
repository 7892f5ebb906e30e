"""The simulated GPU: its memory, its devices, and what it counts."""

import copy
import pickle
import sys
import threading

import numpy as np
import pytest

from xpnet.backends import philox
from xpnet.backends.cpu import CPU
from xpnet.backends.device import Device, DeviceMismatch
from xpnet.backends.ledger import ledger
from xpnet.backends.sim import Sim

xp = Sim().xp
HOST = np.random.default_rng(0).standard_normal((4, 6)).astype(np.float32)
ROWS = np.array([2, 0, 3, 1])


@pytest.fixture
def a():
    return xp.asarray(HOST)


@pytest.fixture
def rows():
    return xp.asarray(ROWS)


def seen(f):
    """The counts of one call."""
    with ledger() as counts:
        f()
    return counts


# --- memory and views -----------------------------------------------------------------------------------------


def test_views_hold_their_owner(a):
    held = sys.getrefcount(a)
    views = [a[1:], a.T, a.reshape(-1), a[0, 0], a[None], xp.ravel(a)[::2], xp.broadcast_to(a, (2, 4, 6))]
    assert all(v.base is a for v in views)
    assert sys.getrefcount(a) == held + len(views)
    del views
    assert sys.getrefcount(a) == held
    assert a.base is None
    assert (a + 1).base is None


def test_views_of_device_memory_hold_it_as_well():
    a = Sim().empty((8, 4), "float32")
    windows = xp.lib.stride_tricks.as_strided(a, (2, 2), (4, 4))
    assert a[2:].T.base is a
    assert windows.base is a
    assert a.data.ptr % 64 == 0
    assert a.data.ptr == a[:1].data.ptr


def test_fresh_memory_is_poisoned(a):
    for memory in (xp.empty(3), xp.empty_like(a), Sim().empty((2,), "float16"), xp.ndarray((2, 2), "complex64")):
        assert np.isnan(memory.get()).all()
    assert xp.empty(2, dtype=bool).get().all()
    assert (xp.empty(2, dtype="int64").get() < -(10**15)).all()


def test_copies_and_pickles(a):
    with Sim(3).use():
        there = xp.asarray(HOST)
    for twin in (copy.deepcopy(there), pickle.loads(pickle.dumps(there))):
        assert twin.device.id == 3
        assert np.array_equal(twin.get(), HOST)
        assert twin.base is None
    assert seen(lambda: copy.deepcopy(there)).copies == 0
    assert copy.copy(a).base is None
    a.shape = (6, 4)
    assert a.shape == (6, 4)


# --- devices --------------------------------------------------------------------------------------------------


def test_device_names_and_limits():
    device = Sim(1)
    assert isinstance(device, Device)
    assert (device.name, Sim().name, device.kind) == ("sim:1", "sim", "sim")
    assert device.block_size is None
    assert device.poisons
    assert Sim(1) == device != Sim()
    assert Sim().xp is device.xp
    for index in (-1, 8):
        with pytest.raises(ValueError, match="0 to 7"):
            Sim(index)


def test_current_device_is_per_thread_and_nests(a):
    ids = []
    with Sim(1).use(), Sim(2).use(), Sim(2).use():
        thread = threading.Thread(target=lambda: ids.append(xp.zeros(1).device.id))
        thread.start()
        thread.join()
        ids.append(xp.zeros(1).device.id)
    assert [*ids, xp.zeros(1).device.id, a.device.id] == [0, 2, 0, 0]


def test_other_devices_are_refused_naming_both(a):
    there = Sim(1).put(HOST)
    rows = xp.arange(2)
    mixes = (
        lambda: a + there,
        lambda: xp.add(there, 1),
        lambda: xp.sum(there),
        lambda: there[rows],
        lambda: there @ a.T,
    )
    for mix in mixes:
        with pytest.raises(DeviceMismatch, match=r"'sim:1'.*'sim'"):
            mix()
    with Sim(1).use():
        assert (there + 1).device.id == 1
    assert there[1:].device.id == 1


def test_put_get_owns():
    device, other = Sim(), Sim(1)
    assert seen(lambda: device.put(HOST)).h2d_bytes == HOST.nbytes
    a = device.put(HOST)
    got = device.get(a)
    got[:] = 0
    assert np.array_equal(device.get(a), HOST)
    assert device.put(a) is a
    assert seen(lambda: device.put(a, "float16")).copies == 0
    assert device.put([1, 2], "float32").dtype == np.float32
    assert device.owns(a)
    assert not other.owns(a)
    assert not device.owns(HOST)
    for refused in (lambda: other.put(a), lambda: other.get(a), lambda: device.get(HOST), lambda: CPU("cpu").put(a)):
        with pytest.raises(DeviceMismatch):
            refused()


def test_put_copies_what_the_caller_may_change():
    host = HOST.copy()
    a = Sim().put(host)
    host[:] = 0
    assert np.array_equal(a.get(), HOST)


def test_gather_uniform_and_check_range(rows):
    device = Sim(1)
    a, i, out = device.put(HOST), device.put(ROWS), device.empty((4, 6), "float32")
    counts = seen(lambda: device.gather(a, i, out))
    assert (counts.launches, counts.allocations, counts.copies) == (1, 0, 0)
    assert np.array_equal(out.get(), HOST[ROWS])
    counts = seen(lambda: device.uniform(1, 2, 3, 5, out))
    assert (counts.launches, counts.allocations, counts.copies) == (1, 0, 0)
    assert np.array_equal(out.get(), philox.fill_uniform(1, 2, 3, 5, np.empty((4, 6), np.float32)))
    with pytest.raises(ValueError, match="contiguous"):
        device.uniform(1, 2, 3, 5, out.T)
    assert device.check_range(i, 4) is None
    assert device.check_range(i, 3) == (0, 3)
    assert device.check_range(i, 3, ignore=3) is None
    assert seen(lambda: device.check_range(i, 3)).syncs == 0


def test_shared_constants(a):
    device = Sim(2)
    assert device.arange(4) is device.arange(4)
    assert device.arange(4).device.id == 2


# --- counts ---------------------------------------------------------------------------------------------------

COSTS = {  # launches, allocations
    "view": (0, 0, lambda a, out: a[1:].T.reshape(6, 3)[None]),
    "out": (1, 0, lambda a, out: xp.add(a, 1, out=out)),
    "in place": (1, 0, lambda a, out: a.__imul__(2)),
    "new": (1, 1, lambda a, out: a + 1),
    "element update": (1, 0, lambda a, out: add_to_rows(a)),
    "reduction": (1, 1, lambda a, out: a.sum(axis=0)),
    "reduction out": (1, 0, lambda a, out: a.sum(axis=0, out=out[0])),
    "copying reshape": (1, 1, lambda a, out: a.T.reshape(-1)),
    "no-op": (0, 0, lambda a, out: xp.ascontiguousarray(a).astype("float32", copy=False)),
    "matmul out": (1, 0, lambda a, out: xp.matmul(a, a.T, out=xp_square)),
    "matmul strided out": (2, 1, lambda a, out: xp.matmul(a, a.T, out=xp_square.T)),
    "stack": (1, 1, lambda a, out: xp.stack([a, a])),
    "split": (0, 0, lambda a, out: xp.split(a, 2)),
    "empty": (0, 1, lambda a, out: xp.empty(3)),
    "zeros": (1, 1, lambda a, out: xp.zeros(3)),
    "store": (1, 0, lambda a, out: out.__setitem__(slice(None), a)),
    "copyto": (1, 0, lambda a, out: xp.copyto(out, a)),
    "metadata": (0, 0, lambda a, out: (xp.result_type(a, out), xp.ndim(a), a.shape, a.dtype, len(a))),
    "modf": (1, 2, lambda a, out: xp.modf(a)),
    "random out": (1, 0, lambda a, out: xp.random.default_rng(0).random(out=out, dtype="float32")),
}
xp_square = xp.empty((4, 4), dtype="float32")


def add_to_rows(a):
    a[1:] += 1


@pytest.mark.parametrize("name", COSTS)
def test_costs(name, a):
    launches, allocations, call = COSTS[name]
    out = xp.empty_like(a)
    counts = seen(lambda: call(a, out))
    assert (counts.launches, counts.allocations) == (launches, allocations)
    assert (counts.copies, counts.syncs) == (0, 0)


WAITS = {
    "sync: float()": lambda a: float(a.sum()),
    "sync: int()": lambda a: int(a.sum()),
    "sync: bool()": lambda a: bool(a.sum() > 0),
    "sync: .item()": lambda a: a.sum().item(),
    "sync: .tolist()": lambda a: a.tolist(),
    "sync: .get()": lambda a: a.get(),
    "sync: print": lambda a: f"{a}",
    "sync: boolean mask": lambda a: a[a > 0],
    "sync: xp.average": lambda a: xp.average(a, weights=a * a),
    "sync: xp.nonzero": lambda a: xp.nonzero(a),
    "sync: xp.where": lambda a: xp.where(a > 0),
    "sync: ndarray.nonzero": lambda a: a.nonzero(),
    "sync: xp.bincount": lambda a: xp.bincount(xp.arange(3), minlength=5),
    "sync: device.synchronize": lambda a: Sim().synchronize(),
}


@pytest.mark.parametrize("cause", WAITS)
def test_synchronisations_by_cause(cause, a):
    counts = seen(lambda: WAITS[cause](a))
    assert counts.syncs == 1
    assert cause in counts.causes


def store(a):
    a[a > 0] = 0


@pytest.mark.parametrize("call", [store, lambda a: xp.add.at(a, a > 0, 1)])
def test_assignments_by_mask_wait_as_well(call, a):
    assert seen(lambda: call(a)).causes == {"sync: boolean mask": 1}


def test_no_synchronisation_in_what_a_step_does(a, rows):
    def step():
        hidden = xp.maximum(a @ a.T, 0)
        hidden[rows, rows] -= 1
        xp.copyto(hidden, 0, where=hidden > 1)
        xp.add.at(hidden, rows, 1)
        return xp.where(hidden > 0, hidden, 0).sum()

    counts = seen(step)
    assert (counts.syncs, counts.copies, counts.float64) == (0, 0, 0)


@pytest.mark.parametrize("index", [ROWS, [2, 0, 1], (slice(None), np.array([1]))], ids=["array", "list", "in a tuple"])
def test_host_indices_cross_the_bus(index, a):
    counts = seen(lambda: a[index])
    assert counts.h2d == 1
    assert counts.causes["h2d: host index array"] == 1


def test_float64_arrays_are_counted(a):
    counts = seen(lambda: (xp.zeros(3), a.astype("complex128"), a.sum(dtype="float64"), a + 1))
    assert counts.float64 == 3
    assert counts.allocated_bytes == 24 + a.size * 16 + 8 + a.nbytes


def test_ledgers_nest(a):
    with ledger() as outer:
        a += 1
        with ledger() as inner:
            a += 1
    a += 1
    assert (outer.launches, inner.launches) == (2, 1)
