"""Data larger than the budget: the numbers of resident data, in little memory, by a thread that leaves nothing behind."""

from __future__ import annotations

import contextlib
import gc
import os
import threading
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pytest
from core_helpers import bits, classes_data
from trainer_helpers import make, timeless

import xpnet as xn
from xpnet.backends import ledger
from xpnet.backends.lanes import Lane, StreamLane
from xpnet.training import feed
from xpnet.training.stream import Ahead, Streamed

N, WIDTH = 203, 4


@pytest.fixture
def small(monkeypatch):
    """A budget that every set here exceeds, and chunks of a few batches."""
    monkeypatch.setattr(feed, "RESIDENT_BYTES", 1000)
    monkeypatch.setattr(feed, "CHUNK_BYTES", 1000)


@pytest.fixture(autouse=True)
def nothing_left():
    yield
    assert not feeding()


def feeding():
    return [thread for thread in threading.enumerate() if thread.name == "xpnet feed"]


def mapped(folder, a, order="C"):
    """The array in a file, mapped read-only."""
    np.save(folder / "data.npy", np.asarray(a, order=order))
    return np.load(folder / "data.npy", mmap_mode="r")


def data(dtype="float32"):
    x, y = classes_data(N)
    return (100 * abs(x)).astype(dtype), y


def trained(device, x, y, batch_size=16, **options):
    trainer = make(device).build((WIDTH,))
    history = trainer.fit(x, y, epochs=2, batch_size=batch_size, **options)
    return bits(trainer), timeless(history), trainer.evaluate(x, y), trainer.predict(x).tobytes()


class TestSameNumbers:
    @pytest.mark.parametrize(("dtype", "batch_size"), [("float32", 16), ("uint8", 16), ("uint8", None)])
    def test_as_resident(self, device, small, monkeypatch, tmp_path, dtype, batch_size):
        x, y = data(dtype)
        streamed = trained(device, mapped(tmp_path, x), y, batch_size)
        monkeypatch.setattr(feed, "RESIDENT_BYTES", 1 << 30)
        assert streamed == trained(device, x, y, batch_size)

    @pytest.mark.parametrize("dtype", ["float64", "float16", "bool", "int16", ">f4"])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_of_any_type_and_layout(self, small, tmp_path, dtype, order):
        x, y = data(dtype)
        assert trained("cpu", mapped(tmp_path, x, order), y) == trained("cpu", x.astype("float32"), y)

    def test_one_by_one(self, small, tmp_path):
        x, y = data()
        assert trained("cpu", mapped(tmp_path, x), y, 1) == trained("cpu", x, y, 1)

    def test_with_weights_validation_and_order(self, device, small, monkeypatch, tmp_path):
        x, y = data()
        xm = mapped(tmp_path, x)
        options = {"sample_weight": np.linspace(0.5, 2, N), "class_weight": "balanced", "shuffle": False}
        streamed = trained(device, xm, y, validation=(xm[::2], y[::2]), **options)
        monkeypatch.setattr(feed, "RESIDENT_BYTES", 1 << 30)
        assert streamed == trained(device, x, y, validation=(x[::2], y[::2]), **options)

    def test_rows_of_targets(self, small, tmp_path):
        x, _ = data()
        xm = mapped(tmp_path, x)
        ends = []
        for rows in (xm, x):
            trainer = make("cpu", loss=xn.MeanSquaredError(), outputs=WIDTH)
            trainer.fit(rows, rows, epochs=2, validation=(rows, rows))
            ends.append(bits(trainer))
        assert ends[0] == ends[1]

    def test_targets_on_the_device(self, small):
        device, (x, y) = xn.device("sim"), data()
        assert trained(device, x, device.put(y)) == trained(device, x, y)

    def test_an_array_in_memory_is_streamed_where_a_copy_is_needed(self, small):
        x, y = data()
        for a, streams in ((x, False), (x.astype("float64"), True), (np.asfortranarray(x), True), (x[:50], False)):
            assert feed.is_streamed(xn.device("cpu"), a, "float32") == streams
            assert feed.is_streamed(xn.device("sim"), a, "float32") == (a.size > 250)
        assert trained("cpu", x.astype("float64"), y) == trained("cpu", np.asfortranarray(x), y) == trained("cpu", x, y)


class TestMemory:
    @pytest.mark.parametrize("dtype", ["float32", "uint8"])
    def test_is_bounded(self, monkeypatch, tmp_path, dtype):
        monkeypatch.setattr(feed, "RESIDENT_BYTES", 1 << 18)
        monkeypatch.setattr(feed, "CHUNK_BYTES", 1 << 16)
        n = 20000
        np.lib.format.open_memmap(tmp_path / "x.npy", "w+", dtype, (n, 512)).flush()  # a sparse file
        x, y = np.load(tmp_path / "x.npy", mmap_mode="r"), np.arange(n) % 3
        trainer = make("cpu", dropout=0).build((512,))
        trainer.partial_fit(x[:64], y[:64])
        tracemalloc.start()
        try:
            trainer.fit(x, y, batch_size=200, validation=(x, y), progress=False)
            trainer.evaluate(x, y)
            trainer.predict(x, batch_size=64)
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
        part = 1024 * 512 * 4  # of an evaluation
        assert peak < (feed.LANES + 2) * part < n * 512 * 4 / 3

    def test_lanes_are_used_again(self, small, monkeypatch):
        a, cpu, made = Streamed(np.arange(4000.0, dtype="float32").reshape(1000, 4), "float32"), xn.device("cpu"), []
        monkeypatch.setattr(type(cpu), "lane", lambda device, like: made.append(Lane(device, like)) or made[-1])
        given = feed.Feed(cpu, (a, None))
        for _ in range(3):
            assert len(list(given.batches(np.arange(1000), 60))) == 17
        assert len(made) == feed.LANES


class TestTheThread:
    def batches(self, device="cpu", size=10):
        a = Streamed(np.arange(4000.0, dtype="float32").reshape(1000, 4), "float32")
        return feed.Feed(xn.device(device), (a, None, np.arange(1000))).batches(
            np.random.default_rng(0).permutation(1000), size
        )

    def test_a_batch_is_valid_until_the_next(self, device, small):
        for x, nothing, rows in self.batches(device):
            kept = device.get(rows).copy()
            assert nothing is None
            assert device.get(x)[:, 0].tolist() == (4 * kept).tolist()

    @pytest.mark.parametrize("taken", [0, 1, 7, 99])
    def test_ends_where_the_loop_is_left(self, small, taken):
        batches = self.batches()
        for _ in range(taken):
            next(batches)
        assert taken == 99 or bool(feeding()) == bool(taken)  # by then it may have read everything
        batches.close()
        assert not feeding()

    def test_ends_with_its_last_reference(self, small):
        batches = self.batches()
        next(batches)
        del batches
        gc.collect()
        assert not feeding()

    @pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError])
    def test_ends_with_fit(self, small, tmp_path, error):
        x, y = data()

        class Fails(xn.Callback):
            def end_step(self, trainer, batch, loss):
                raise error("planned")

        with pytest.raises(error, match="planned") as raised:
            make("cpu", callbacks=[Fails()]).fit(mapped(tmp_path, x), y)
        assert not feeding(), raised  # though the traceback still is there

    def test_its_errors_are_raised_in_the_loop(self, small):
        lanes = [xn.device("cpu").lane([((2,), "float32")]) for _ in range(3)]

        def read(chunk, lane):
            if chunk == 3:
                raise OSError("the disk is gone")
            return 2

        ahead = iter(Ahead(read, 9, lanes))
        assert [next(ahead) for _ in range(2)] == lanes[:2]
        with pytest.raises(OSError, match="the disk is gone"):
            next(ahead)  # the one after it is sent on its way first

    def test_two_at_a_time(self, small):
        a = Streamed(np.arange(4000.0, dtype="float32").reshape(1000, 4), "float32")
        given = feed.Feed(xn.device("cpu"), (a,))
        for (first,), (second,) in zip(given.batches(np.arange(1000), 9), given.batches(np.arange(1000), 9), strict=True):
            assert first is not second
            np.testing.assert_array_equal(first, second)

    @pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
    @pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
    @pytest.mark.filterwarnings("ignore:.*fork")  # with threads: just that is tried
    def test_a_forked_process_closes_and_begins_anew(self, small, tmp_path):
        x, y = data()
        batches = self.batches()
        next(batches)
        child = os.fork()
        if child == 0:
            with contextlib.suppress(BaseException):
                for _ in batches:
                    pass
            made = make("cpu")
            made.fit(mapped(tmp_path, x), y)
            os._exit(0 if made.epoch == 1 and not feeding() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        batches.close()

    def test_after_a_fork_the_parents_epoch_is_refused(self, small, monkeypatch):
        batches = self.batches()
        next(batches)
        monkeypatch.setattr(os, "getpid", lambda: -1)
        with pytest.raises(RuntimeError, match="forked process"):
            list(batches)

    def test_early_stopping_and_a_step_that_is_taken_again(self, small, tmp_path):
        x, y = data()
        trainer = make("cpu", optimizer=xn.SGD(1e30), dropout=0, callbacks=[xn.StopOnNonFinite()])
        with pytest.raises(FloatingPointError, match="epoch 1, step"), np.errstate(all="ignore"):
            trainer.fit(mapped(tmp_path, x), y, early_stopping=1)


class TestOnTheDevice:
    def test_copies_are_counted_and_nothing_waits(self, small):
        x, y = data()
        trainer = make("sim").build((WIDTH,))
        with xn.ledger() as seen:
            trainer.fit(x, y, epochs=2, batch_size=16)
        chunks = -(-N // (1000 // (16 * 24) * 16))
        assert {event.cause for event in seen.events.values() if event.kind == "h2d"} == {"feed"}
        assert seen.h2d == 2 * 2 * chunks  # epochs, arrays
        assert seen.h2d_bytes == 2 * (x.nbytes + y.nbytes)
        assert seen.syncs == 2  # the losses of each epoch

    def test_the_steps_themselves_copy_nothing_else(self, small):
        x, y = data()
        trainer = make("sim").build((WIDTH,))
        trainer.fit(x, y)
        given = feed.Feed(trainer.device, (x, y))
        with ledger.forbid_transfer(), ledger.forbid_sync(), trainer.device.use():
            for batch in given.batches(np.arange(N), 16):
                trainer.step(*batch)


class TestOnTwoStreams:
    """The calls that a lane makes of CuPy, told by a stand-in: what they do on a GPU has not been seen."""

    @pytest.fixture
    def lane(self):
        told = []

        class Event:
            def __init__(self, **options):
                self.name = "copied" if "block" in options else "used"

            def record(self, stream):
                told.append(f"record {self.name} on {stream.name}")

            def synchronize(self):
                told.append(f"wait for {self.name}")

        def stream(name):
            return SimpleNamespace(name=name, wait_event=lambda event: told.append(f"{name} waits for {event.name}"))

        class Array:
            def __getitem__(self, rows):
                return SimpleNamespace(set=lambda a, stream: told.append(f"{len(a)} rows on {stream.name}"))

        computing = stream("computing")
        cuda = SimpleNamespace(Event=Event, get_current_stream=lambda: computing)
        device = SimpleNamespace(
            use=contextlib.nullcontext,
            xp=SimpleNamespace(cuda=cuda),
            empty=lambda shape, dtype: told.append("empty") or Array(),
        )
        lane = StreamLane(device, [((4, 2), "float32"), ((4,), "int64")], [np.zeros((4, 2)), np.zeros(4)], stream("copying"))
        lane.told = told
        return lane

    def test_order_of_calls(self, lane):
        lane.wait()
        lane.send(3)
        lane.receive()
        lane.done()
        assert lane.told == [
            *("empty", "empty", "record used on computing"),
            "wait for copied",  # by the feeding thread, before it writes to pinned memory again
            *("copying waits for used", "3 rows on copying", "3 rows on copying", "record copied on copying"),
            "computing waits for copied",
            "record used on computing",
        ]


class TestRefused:
    def test_nan_by_its_row(self, small, tmp_path):
        x, y = data()
        x[150, 2] = np.nan
        trainer = make("cpu")
        with pytest.raises(ValueError, match=r"x: nan at index \(150, 2\) \(row 150\)"):
            trainer.fit(mapped(tmp_path, x), y)
        assert not trainer.net.built

    def test_numbers_too_large_for_the_network(self, small, tmp_path):
        x, y = data("float64")
        x[7, 1] = 1e300
        with pytest.raises(ValueError, match=r"x: inf at index \(7, 1\)"), np.errstate(over="ignore"):
            make("cpu").fit(mapped(tmp_path, x), y)

    def test_no_rows(self, small, tmp_path):
        x, y = data()
        with pytest.raises(ValueError, match="zero samples"):
            make("cpu").fit(mapped(tmp_path, x[:0]), y[:0])

    @pytest.mark.parametrize("budget", [0, 1 << 30])
    def test_a_file_that_was_cut_short(self, monkeypatch, tmp_path, budget):
        monkeypatch.setattr(feed, "RESIDENT_BYTES", budget)
        x, y = data()
        xm = mapped(tmp_path, x)
        os.truncate(tmp_path / "data.npy", 1000)
        with pytest.raises(ValueError, match=r"data\.npy has 1000 bytes, 3376 are needed: it was cut short"):
            make("cpu").fit(xm, y)
        with pytest.raises(ValueError, match="it was cut short"):
            make("cpu").build((xm.shape[1],)).predict(xm)

    def test_other_shapes_and_kinds(self, small, tmp_path):
        x, y = data()
        trainer = make("cpu").build((5,))
        with pytest.raises(ValueError, match=r"the network was built for \(N, 5\)"):
            trainer.fit(mapped(tmp_path, x), y)
        with pytest.raises(TypeError, match="complex64 are not numbers"):
            trainer.fit(mapped(tmp_path, x.astype("complex64")), y)
