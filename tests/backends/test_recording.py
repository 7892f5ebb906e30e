"""Recording: what runs once on recorded arrays runs again, on other values in the same memory, as a list of calls."""

import re

import numpy as np
import pytest

from xpnet.backends.recording import Namespace, Recorded, Recorder, in_runs, plain, recorded, replay


def again(work, *arrays, others=None):
    """Record ``work(*arrays)``, put other values into the arrays, replay; what is found, and what work gives for those."""
    given = [np.array(a, np.float32) for a in arrays]
    recorder = Recorder()
    with recorder.active():
        found = work(*map(recorded, given))
    rng = np.random.default_rng(1)
    for a in given:
        a[...] = rng.standard_normal(a.shape)
    expected = work(*(a.copy() for a in given))
    replay(recorder.calls)
    assert not recorder.refused
    return plain(found), expected


A, B = np.arange(12.0).reshape(3, 4), np.ones((3, 4))


def in_place(x):
    x = x.copy()
    x *= 2
    x += 1
    x[1:] -= x[:-1]
    x[0] = 5
    x[..., 1] = x[..., 2]
    x[2].fill(3)
    return x


WORK = {
    "operators": lambda a, b: (a + b) * a - 2 / (abs(a) + 1),
    "out": lambda a, b: np.add(a, b, out=np.multiply(a, b, out=a.copy())),
    "out by name of a maximum": lambda a, b: np.maximum(a, b, out=a.copy()),
    "in place": lambda a, b: in_place(a),
    "product": lambda a, b: a @ b.T,
    "stack of products": lambda a, b: np.matmul(a.reshape(3, 2, 2), b.reshape(3, 2, 2)),
    "sum of rows": lambda a, b: a.sum(axis=0) + b.mean(axis=0),
    "sum of all": lambda a, b: a * np.sum(b),
    "largest": lambda a, b: a - a.max(axis=1, keepdims=True),
    "views": lambda a, b: a.T[1:].reshape(-1)[::2] + b.ravel()[:5],
    "reshape that copies": lambda a, b: a.T.reshape(2, 6) + 1,
    "mask": lambda a, b: a * (b > 0),
    "by index": lambda a, b: a[[0, 2]] + b[np.array([1, 1])],
    "where": lambda a, b: np.where(a > b, a, b),
    "concatenate": lambda a, b: np.concatenate([a, b], axis=1),
    "copyto": lambda a, b: (lambda c: (np.copyto(c, b, where=a > 0), c)[1])(a.copy()),
    "astype": lambda a, b: a.astype("float64") + b.astype("int64"),
    "two results": lambda a, b: np.add(*np.modf(a)),
    "take into": lambda a, b: np.take(a, [2, 0], axis=0, out=np.empty_like(a[:2])),
    "function of a method": lambda a, b: np.clip(a, -1, 1) + np.cumsum(b, axis=0),
    "strided window": lambda a, b: np.lib.stride_tricks.as_strided(a, (2, 2), (4, 4)) + b[:2, :2],
    "norm": lambda a, b: a / np.sqrt((b * b).sum()),
    "add at": lambda a, b: (lambda c: (np.add.at(c, [0, 0], b[:2]), c)[1])(a.copy()),
}


@pytest.mark.parametrize("work", WORK.values(), ids=WORK)
def test_a_replay_computes_the_same_on_other_values(work):
    found, expected = again(work, A, B)
    assert type(found) is np.ndarray
    np.testing.assert_array_equal(found, expected)
    assert found.dtype == expected.dtype


READS = {
    "float": lambda a: float(a.sum()),
    "item": lambda a: a[0, 0].item(),
    "if": lambda a: a if (a > 0).all() else -a,
    "tolist": lambda a: a.tolist(),
    "index": lambda a: [1, 2, 3][a.argmax() % 3],
    "text": lambda a: f"{a}",
    "method without a record": lambda a: a.cumsum(),
    "answer of a function": lambda a: np.array_equal(a, a) and a,
    "nonzero": lambda a: np.nonzero(a),
}


@pytest.mark.parametrize("work", READS.values(), ids=READS)
def test_what_python_reads_is_refused_and_computed_all_the_same(work):
    recorder, a = Recorder(), np.array(A, np.float32)
    with recorder.active():
        found = work(recorded(a))
    assert recorder.refused
    np.testing.assert_array_equal(np.asarray(plain(found), dtype=object).tolist(), np.asarray(work(a), dtype=object).tolist())


def test_without_a_recorder_a_recorded_array_is_like_any_other():
    a = recorded(np.array(A, np.float32))
    assert float(a.sum()) == A.sum()
    assert a.tolist() == A.tolist()
    assert isinstance(a + 1, Recorded)


def test_another_threads_work_is_not_noted():
    import threading

    recorder, a = Recorder(), recorded(np.array(A, np.float32))
    with recorder.active():
        thread = threading.Thread(target=lambda: a + 1)
        thread.start()
        thread.join()
    assert recorder.calls == []


def test_recorders_nest():
    outer, inner, a = Recorder(), Recorder(), recorded(np.array(A, np.float32))
    with outer.active():
        a += 1
        with inner.active():
            a += 2
        a += 3
    assert [len(r.calls) for r in (outer, inner)] == [2, 1]


BASE = np.arange(2 * 3 * 4 * 5, dtype="float32").reshape(2, 3, 4, 5)
VIEWS = {
    "whole": BASE,
    "runs of a row": BASE[:, :, ::2],
    "runs of two rows": np.arange(160, dtype="float32").reshape(2, 4, 4, 5)[:, :, 1:3],
    "no runs": BASE[..., ::2],
    "backwards": BASE[:, ::-1],
    "backwards within": BASE[..., ::-1],
    "repeated": np.broadcast_to(BASE[:, :1], BASE.shape),
    "repeated within": np.broadcast_to(BASE[..., :1], BASE.shape),
    "transposed": BASE.transpose(1, 0, 2, 3),
    "one element": BASE[:1, :1, :1, :1],
    "empty": BASE[:, :0],
    "no axes": BASE[0, 0, 0, 0],
    "read-only": np.frombuffer(BASE.tobytes(), "float32").reshape(6, 4, 5)[:, 1:3],
}


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("gap", [False, True])
def test_copies_in_runs_give_the_same(name, gap):
    source = np.asarray(VIEWS[name])
    memory = np.full((*source.shape[:-2], 3, *source.shape[-2:]) if gap and source.ndim > 1 else source.shape, -1, "float32")
    target = memory[..., 1, :, :] if memory.ndim > source.ndim else memory
    expected = memory.copy()
    (expected[..., 1, :, :] if memory.ndim > source.ndim else expected)[...] = source
    np.copyto(*in_runs(target, source))
    assert np.array_equal(memory, expected)


def test_runs_are_found():
    target, source = in_runs(np.empty((2, 3, 2, 5), "float32"), BASE[:, :, ::2])
    assert target.shape == source.shape == (2, 3, 2)
    assert target.itemsize == source.itemsize == 20
    other = np.empty((2, 3, 4, 5), "float64")
    assert in_runs(other, BASE)[0] is other  # a cast is no copy of bytes


def refused(work, *arrays):
    recorder = Recorder()
    with recorder.active():
        work(Namespace(), *(recorded(np.array(a, np.float32)) for a in arrays))
    return recorder.refused


@pytest.mark.parametrize(
    "work",
    [
        lambda xp, a: xp.ascontiguousarray(a) * 2,
        lambda xp, a: xp.array(a) + 1,
        lambda xp, a: xp.asarray(a),
        lambda xp, a: a[a > 0],
        lambda xp, a: a.__setitem__(a > 0, a[a > 0] * 2),
        lambda xp, a: xp.vectorize(abs)(a),
    ],
)
def test_what_would_escape_the_record_is_refused(work):
    assert re.search(r"NumPy does not tell|whose size depends on values", refused(work, [-1, 2, 3]))


def test_what_a_namespace_has_else_is_numpy_s():
    assert Namespace().add is np.add
    assert not refused(lambda xp, a: xp.add(a, 1, out=a), [1, 2])


@pytest.mark.parametrize(
    "work",
    [
        lambda a, b: np.clip(a, -0.5, 0.5, b),
        lambda a, b: np.take(a, [2, 1, 0, 0], 0, b, "clip"),
        lambda a, b: np.cumsum(a, 0, None, b),
        lambda a, b: b.__setitem__(b < 0, 0.0),
    ],
)
def test_results_given_by_position_are_noted(work):
    def whole(a, b):
        work(a, b)
        return b * 1

    again(whole, [1.0, -2.0, 3.0, 0.2], [0.0, 0.0, 0.0, 0.0])


def test_an_assignment_that_casts_replays():
    def work(a):
        whole = recorded(np.zeros(3, np.int32)) if type(a) is Recorded else np.zeros(3, np.int32)
        whole[...] = a * 10
        return whole * 1

    again(work, [0.5, 1.5, -2.5])
