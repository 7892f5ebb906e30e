"""The ledger: what it counts, whom it names, and what may be forbidden."""

from __future__ import annotations

import inspect
import threading

import numpy as np
import pytest
from core_helpers import bits, classes_data
from trainer_helpers import make

import xpnet as xn
from xpnet.backends.ledger import page as ledger_page
from xpnet.backends.ledger import places
from xpnet.backends.ledger.places import Place, users_place

SIM = xn.device("sim")
xp = SIM.xp


def line_here(offset: int = 0) -> Place:
    """The place of the caller's line."""
    frame = inspect.currentframe().f_back
    return Place(frame.f_code.co_filename, frame.f_lineno + offset)


@pytest.fixture
def a():
    return SIM.put(np.arange(12, dtype=np.float32).reshape(3, 4))


class TestCounts:
    def test_launches_by_name_and_size(self, a):
        with xn.ledger() as seen:
            for _ in range(3):
                a += 1
            xp.exp(a[:2])
            a.sum(axis=0)
        found = {key: (k.times, k.moved_bytes) for key, k in seen.kernels.items()}
        assert found == {("add", 12): (3, 3 * 96), ("exp", 8): (1, 64), ("sum", 12): (1, 64)}
        assert (seen.launches, seen.moved_bytes) == (5, 3 * 96 + 64 + 64)

    @pytest.mark.parametrize(
        ("flops", "product"),
        [
            (2 * 3 * 4 * 3, lambda a: a @ a.T),
            (2 * 3 * 4, lambda a: a @ a[0]),
            (2 * 3 * 4 * 3, lambda a: xp.dot(a, a.T)),
            (2 * 4, lambda a: xp.vdot(a[0], a[1])),
            (2 * 12, lambda a: xp.tensordot(a, a, axes=2)),
            (2 * 3 * 4 * 3, lambda a: xp.tensordot(a, a, axes=([1], [1]))),
            (2 * 3 * 4 * 5, lambda a: xp.einsum("ij,jk->ik", a, xp.ones((4, 5), "float32"))),
            (2 * 3 * 4 * 5, lambda a: xp.einsum("...j,jk", a, xp.ones((4, 5), "float32"))),
            (0, lambda a: xp.einsum("ij->ji", a)),
            (2 * 2 * 3 * 4 * 3, lambda a: xp.stack([a, a]) @ a.T),
            (0, lambda a: a * a),
            (0, lambda a: a[:0] @ a.T),
            (2 * 4, lambda a: SIM.dot(a[0], a[1], out=SIM.empty((), "float32"))),
            (2 * 12 * 3, lambda a: xp.outer(a, xp.ones(3, "float32"))),
        ],
    )
    def test_flop_of_products(self, a, flops, product):
        with xn.ledger() as seen:
            product(a)
        assert seen.flops == flops

    def test_a_gather_moves_what_it_takes_and_not_its_source(self, a):
        rows = SIM.put(np.array([1]))
        out = SIM.empty((1, 4), "float32")
        with xn.ledger() as seen:
            SIM.gather(a, rows, out)
        assert seen.moved_bytes == 32

    def test_bytes_across_the_bus(self, a):
        with xn.ledger() as seen:
            SIM.put(np.zeros(5, np.float32))
            SIM.get(a)
            float(a[0, 0])
            a[np.array([0, 1])]
        assert (seen.h2d, seen.h2d_bytes, seen.d2h, seen.d2h_bytes, seen.syncs) == (2, 36, 2, 52, 2)

    def test_what_a_step_costs_in_flop(self):
        trainer = make("sim").build((4,))
        x, y = (SIM.put(b) for b in classes_data(10))
        trainer.step(x, y)
        with xn.ledger() as seen:
            trainer.step(x, y)
        widths = [p.shape for p in trainer.net.parameters.trainable if p.name.endswith("W")]
        products = sum(2 * 10 * n * m for n, m in widths)  # forward, and as much for each gradient but the first layer's dx
        sums = sum(2 * 10 * m for _, m in widths)  # of rows, as products with ones
        assert seen.flops == 3 * products - 2 * 10 * np.prod(widths[0]) + sums

    def test_nothing_is_noted_on_the_cpu_or_while_closed(self, a):
        with xn.ledger() as seen:
            make("cpu").fit(*classes_data(20))
        a += 1
        float(a[0, 0])
        assert (seen.launches, seen.copies, seen.syncs, seen.events) == (0, 0, 0, {})
        assert len(seen.steps) == 1

    def test_it_survives_an_exception_and_closes(self, a):
        with pytest.raises(ZeroDivisionError), xn.ledger() as seen:  # noqa: PT012
            a += 1
            raise ZeroDivisionError
        a += 1
        assert seen.launches == 1

    def test_threads_are_all_counted(self, a):
        def work():
            for _ in range(200):
                xp.add(a, 1)

        threads = [threading.Thread(target=work) for _ in range(4)]
        with xn.ledger() as seen:
            for t in threads:
                t.start()
            for t in threads:
                t.join()
        assert seen.launches == seen.allocations == seen.kernels["add", 12].times == 800


class TestPlaces:
    def test_the_users_line(self, a):
        with xn.ledger() as seen:
            expected = line_here(1)
            a[np.array([0])]
        assert [(e.kind, e.cause, e.place, e.asked) for e in seen.events.values()] == [
            ("h2d", "host index array", expected, False)
        ]

    def test_of_many_lines_the_one_that_runs(self, a):
        with xn.ledger() as seen:
            expected = line_here(3)
            [
                1,
                float(a[0, 0]),
            ]
        assert {e.place for e in seen.events.values()} == {expected}

    def test_a_layer_of_the_users_own_is_named_and_not_the_call_of_fit(self):
        lines = []

        class Nosy(xn.ReLU):
            def forward(self, x, step):
                lines.append(line_here(1))
                bool((x > 0).any())
                return super().forward(x, step)

        net = xn.Sequential(xn.Affine(4), Nosy(), xn.Affine(3))
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="sim")
        with xn.ledger() as seen:
            expected = line_here(1)
            trainer.fit(*classes_data(20), batch_size=5)
        hidden = [e for e in seen.events.values() if not e.asked]
        assert {(e.cause, e.place, e.times, e.steps) for e in hidden} == {("bool()", lines[0], 4, 4)}
        asked = [e for e in seen.events.values() if e.asked]
        assert {e.cause for e in asked} == {"device.put", "device.get"}
        assert {e.place for e in asked} == {expected}

    def test_numpy_functions_and_the_standard_library_act_for_their_caller(self, a):
        import copy
        import functools

        with xn.ledger() as seen:
            expected = line_here(1)
            functools.reduce(lambda x, y: x, [copy.copy(np.unique(a))])
        assert {e.place for e in seen.events.values()} == {expected}

    def test_generated_code_acts_for_its_caller(self, a):
        import dataclasses

        @dataclasses.dataclass
        class Holder:
            value: object

        with xn.ledger() as seen:
            expected = line_here(1)
            repr(Holder(a))
        assert {e.place for e in seen.events.values()} == {expected}

    def test_installed_packages_act_for_themselves_and_cupy_does_not(self, monkeypatch):
        library = places.STANDARD_LIBRARY
        monkeypatch.setattr(places, "cupy_folders", lambda: ("/opt/python/dist-packages/cupy/",))
        places.works_on_behalf.cache_clear()
        behalf = {
            "/opt/python/dist-packages/cupy/_creation/from_data.py": True,
            f"{library}functools.py": True,
            f"{library}site-packages/keras/train.py": False,
            f"{library}dist-packages/keras/train.py": False,
            "/home/me/site-packages-demo/cupy/train.py": False,
            np.__file__: True,
            xn.__file__: True,
            __file__: False,
        }
        found = {file: places.works_on_behalf(file) for file in behalf}
        places.works_on_behalf.cache_clear()
        assert found == behalf

    def test_without_a_line_of_the_user_it_is_one_of_xpnet(self):
        scope = {"users_place": users_place}
        file = f"{places.XPNET}network.py"
        thread = threading.Thread(target=exec, args=(compile("found = users_place()", file, "exec"), scope))
        thread.start()
        thread.join()
        assert scope["found"] == Place(file, 1)

    def test_places_read_well(self, monkeypatch, tmp_path):
        monkeypatch.chdir(tmp_path)
        assert str(Place(str(tmp_path / "sub" / "train.py"), 3)) == "sub/train.py:3".replace("/", __import__("os").sep)
        assert str(Place("<string>", 3)) == "<string>:3"
        assert str(Place(str(tmp_path.parent / "train.py"), 3)) == f"{tmp_path.parent / 'train.py'}:3"
        assert users_place() == line_here()


class TestSteps:
    def test_a_typical_step_passes_over_what_happens_now_and_then(self, a):
        trainer = make("sim").build((4,))
        x, y = (SIM.put(b) for b in classes_data(10))
        with xn.ledger() as seen:
            for i in range(9):
                value = trainer.step(x, y)
                if i % 4 == 0:
                    expected = line_here(1)
                    float(value)
        assert len(seen.steps) == 9
        assert (seen.typical_step.syncs, seen.typical_step.copies) == (0, 0)
        assert seen.syncs == 3
        (event, _) = (e for e in seen.events.values() if e.place == expected)
        assert (event.times, event.steps) == (3, 3)
        assert "3 of 9 steps" in str(seen)

    def test_sums_of_the_steps_are_the_totals(self):
        trainer = make("sim")
        with xn.ledger() as seen:
            trainer.fit(*classes_data(20), batch_size=5, epochs=2)
            end = seen.launches
        assert len(seen.steps) == 8
        assert 0 < sum(step.launches for step in seen.steps) <= end

    def test_without_steps_there_is_no_typical_one(self, a):
        with xn.ledger() as seen:
            a += 1
        assert seen.typical_step is None
        assert "no optimizer.update was called" in str(seen)


WAITING = {
    "float()": lambda a: float(a[0, 0]),
    "bool()": lambda a: bool(a[0, 0]),
    ".item()": lambda a: a[0, 0].item(),
    ".get()": lambda a: a.get(),
    "boolean mask": lambda a: a[a > 1],
    "xp.nonzero": lambda a: xp.nonzero(a),
    "print": lambda a: f"{a}",
    "Device.synchronize()": lambda a: a.device.synchronize(),
    "Stream.synchronize()": lambda a: xp.cuda.get_current_stream().synchronize(),
    "runtime.deviceSynchronize()": lambda a: xp.cuda.runtime.deviceSynchronize(),
}
COPYING = {
    "h2d": {
        "host index array": lambda a: a[np.array([0])],
        "xp.asarray": lambda a: xp.asarray(np.zeros(3)),
        ".set()": lambda a: a.set(np.zeros((3, 4), np.float32)),
    },
    "d2h": {"float()": WAITING["float()"], ".get()": WAITING[".get()"], ".tolist()": lambda a: a.tolist()},
}


class TestForbidding:
    @pytest.mark.parametrize("cause", WAITING)
    def test_a_synchronisation(self, a, cause):
        with xn.forbid_sync(), pytest.raises(xn.HiddenCrossing) as caught:
            WAITING[cause](a)
        error = caught.value
        assert (error.kind, error.cause) == ("sync", cause)
        assert str(error).startswith(f"{error.place}: {cause} waits for the device, which is forbidden here")
        assert error.place.file == __file__
        WAITING[cause](a)

    @pytest.mark.parametrize(("kind", "cause"), [(k, c) for k, causes in COPYING.items() for c in causes])
    def test_a_copy(self, a, kind, cause):
        before = SIM.get(a)
        with xn.forbid_transfer(), pytest.raises(xn.HiddenCrossing, match="copies to the") as caught:
            COPYING[kind][cause](a)
        assert (caught.value.kind, caught.value.cause) == (kind, cause)
        assert np.array_equal(SIM.get(a), before)

    def test_what_the_program_asks_for_by_name_is_allowed(self, a):
        with xn.forbid_sync(), xn.forbid_transfer():
            SIM.put(SIM.get(a))
            SIM.synchronize()

    def test_waiting_and_copying_are_two_things(self, a):
        with xn.forbid_sync():
            a[np.array([0])]
        with xn.forbid_transfer():
            xp.nonzero(a)

    def test_training_needs_neither(self):
        trainer, x = make("sim"), classes_data(30)
        with xn.forbid_sync(), xn.forbid_transfer():
            trainer.fit(*x, batch_size=10, validation=x)
            trainer.evaluate(*x)
            trainer.predict(x[0])
            trainer.partial_fit(x[0][:1], x[1][:1])
        other = make("sim")
        other.fit(*x, batch_size=10, validation=x)
        other.partial_fit(x[0][:1], x[1][:1])
        assert bits(trainer) == bits(other)

    def test_it_ends_with_the_block_and_nests(self, a):
        with xn.forbid_sync():
            with xn.forbid_transfer(), pytest.raises(ZeroDivisionError):
                raise ZeroDivisionError
            a[np.array([0])]
            with xn.forbid_sync():
                pass
            with pytest.raises(xn.HiddenCrossing):
                float(a[0, 0])
        float(a[0, 0])

    def test_other_threads_may(self, a):
        found = []
        with xn.forbid_sync():
            thread = threading.Thread(target=lambda: found.append(float(a[0, 1])))
            thread.start()
            thread.join()
        assert found == [1.0]

    def test_a_refused_copy_is_not_in_the_ledger(self, a):
        with xn.ledger() as seen, xn.forbid_sync(), pytest.raises(xn.HiddenCrossing):
            float(a[0, 0])
        assert (seen.copies, seen.syncs) == (0, 0)

    def test_the_error_survives_pickling(self, a):
        import pickle

        with xn.forbid_sync(), pytest.raises(xn.HiddenCrossing) as caught:
            float(a[0, 0])
        again = pickle.loads(pickle.dumps(caught.value))
        assert (str(again), again.place) == (str(caught.value), caught.value.place)

    def test_on_the_cpu_nothing_is_hidden(self):
        with xn.forbid_sync(), xn.forbid_transfer():
            make("cpu").fit(*classes_data(20))


class TestManyAtOnce:
    def test_ledgers_of_many_threads_neither_get_lost_nor_stay_open(self, a):
        lost = []

        def work():
            for _ in range(300):
                with xn.ledger() as seen:
                    xp.add(a, 1)
                lost.append(seen.launches < 1)

        threads = [threading.Thread(target=work) for _ in range(6)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
        assert len(lost) == 1800
        assert not any(lost)
        from xpnet.backends.ledger import record

        assert (record._open, record._watchers) == ((), 0)

    def test_prohibitions_that_end_in_another_order(self, a):
        def holding(prohibition):
            with prohibition():
                yield

        first, second = holding(xn.forbid_sync), holding(xn.forbid_transfer)
        next(first), next(second)
        first.close()
        with pytest.raises(xn.HiddenCrossing):
            a[np.array([0])]
        xp.nonzero(a)
        second.close()
        float(a[0, 0])

    def test_a_prohibition_finished_by_another_thread(self, a):
        def holding():
            with xn.forbid_sync():
                yield

        held = holding()
        next(held)
        thread = threading.Thread(target=held.close)
        thread.start()
        thread.join()
        float(a[0, 0])


class TestPage:
    def test_it_says_what_a_reader_needs(self, a):
        trainer = make("sim").build((4,))
        x, y = (SIM.put(b) for b in classes_data(10))
        with xn.ledger() as seen:
            for _ in range(5):
                if float(trainer.step(x, y)) < 0:
                    break
            xp.zeros(3)
            SIM.get(a)
        page = str(seen)
        assert "A typical step of 5" in page
        assert "1 synchronisation, 1 copy between host and device (0 B there, 4 B back)" in page
        assert "every step" in page
        assert "float(): waits, copies to the host" in page
        assert "-> read it once in a while" in page
        assert "float64, slow on most GPUs" in page
        assert page.index("Hidden") < page.index("Asked for")
        assert "matmul" in page
        assert all(len(line) < 160 for line in page.splitlines())
        assert repr(seen) == f"<Ledger: launches {seen.launches}, copies {seen.copies}, synchronisations {seen.syncs}>"

    def test_what_cupy_cannot_tell_is_not_given_as_zero(self):
        with xn.ledger() as seen:
            pass
        seen.on_cuda = True
        assert "launches, bytes and FLOP: not known" in str(seen)
        assert "0 launches" not in str(seen)

    @pytest.mark.parametrize(
        ("n", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2_500_000, "2.5 MB"), (10**9, "1.0 GB")]
    )
    def test_bytes(self, n, text):
        assert ledger_page.in_bytes(n) == text
