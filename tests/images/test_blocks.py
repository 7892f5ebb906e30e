"""Batches in blocks, shared among threads: the same numbers as at once, the same bytes for any number of threads."""

import copy
import pickle
import warnings

import numpy as np
import pytest
from block_helpers import CPU_DEVICE, blocks_of, cuts, images, network, train, trainer
from core_helpers import allocations, bits

import xpnet as xn


class TestNumbers:
    def test_the_same_as_the_batch_at_once(self, monkeypatch):
        with blocks_of(monkeypatch, 5):
            ends = [trainer(in_blocks=in_blocks, dtype="float64") for in_blocks in (True, False)]
            losses = [train(made) for made in ends]
        np.testing.assert_allclose(losses[0], losses[1], rtol=1e-9)
        for a, b in zip(*(made.net.parameters.snapshot().values() for made in ends), strict=True):
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-9)
        assert cuts(ends[0].net)
        assert not cuts(ends[1].net)

    @pytest.mark.parametrize("threads", [1, 2, 3, 7, 16])
    def test_the_same_bytes_for_any_number_of_threads(self, threads, monkeypatch):
        ends = []
        for count in (1, threads):
            with blocks_of(monkeypatch, 11, count):
                made = trainer()
                losses = train(made)
                ends.append((losses, bits(made), made.predict(images(30, seed=5)[0]).tobytes()))
        assert ends[0] == ends[1]

    def test_learned_recorded_and_replayed_passes_give_the_same_bytes(self, monkeypatch):
        x, y = images()
        with blocks_of(monkeypatch, 4):
            made = trainer(optimizer=xn.SGD(1e-30))  # parameters stay as they are
            made.net.steps_begun = 0
            seen = []
            for _ in range(4):
                made.net.steps_begun = 0  # the same random masks
                step = made.net.step(training=True, needs_dx=True)
                step.updates_state = False
                logits, cache = made.net.forward(x, step)
                value, dy = made.loss(logits, y, step)
                dx = made.net.backward(dy, cache, step)
                seen.append((float(value), dx.tobytes(), made.net.parameters.grad.tobytes()))
                del step, logits, cache, dy, dx
        assert len(set(seen)) == 1

    def test_forward_passes_without_a_backward_pass_come_in_any_number(self, monkeypatch):
        x, y = images()
        ends = []
        for alone in (0, 1, 2, 3):
            with blocks_of(monkeypatch, 4):
                made = trainer(optimizer=xn.SGD(0.1))
                for _ in range(alone):
                    made.net.forward(x, made.net.step(training=True))
                made.net.steps_begun = 0  # the same random masks
                ends.append([float(made.step(x, y)) for _ in range(5)])
        assert ends[1:] == ends[:1] * 3

    def test_a_batch_that_the_blocks_do_not_divide(self, monkeypatch):
        for n in (1, 2, 7, 13):
            ends = []
            for count in (1, 3):
                with blocks_of(monkeypatch, count):
                    made = trainer(dtype="float64")
                    ends.append(train(made, n=n))
            np.testing.assert_allclose(ends[0], ends[1], rtol=1e-8)

    def test_masks_are_those_of_the_step(self, monkeypatch):
        """Random numbers are drawn anew in each replay, and are those of the batch at once."""
        net = xn.Sequential(xn.Conv2d(4, 1, init=xn.initializers.ones, bias=False), xn.Dropout(0.5), xn.Flatten())
        x = np.ones((6, 3, 3, 2), np.float32)
        found = {}
        with blocks_of(monkeypatch, 3):
            for in_blocks in (True, False):
                twin = copy.deepcopy(net).build((3, 3, 2), device="cpu")
                twin.in_blocks = in_blocks
                found[in_blocks] = [np.array(twin.forward(x, twin.step(training=True))[0]) for _ in range(5)]
        np.testing.assert_array_equal(found[True], found[False])
        assert len({a.tobytes() for a in found[True]}) == 5

    def test_shared_products_do_not_depend_on_the_threads(self):
        rng = np.random.default_rng(0)
        for n, k, m in ((64, 800, 500), (500, 64, 800), (3, 4, 5), (1, 4000, 4000)):
            a, b = rng.standard_normal((n, k)).astype("f4"), rng.standard_normal((k, m)).astype("f4")
            found = set()
            for threads in (1, 2, 5):
                before, CPU_DEVICE.threads = CPU_DEVICE.threads, threads
                try:
                    found.add(CPU_DEVICE.shared_matmul(a, b, np.empty((n, m), "f4")).tobytes())
                finally:
                    CPU_DEVICE.threads = before
            assert len(found) == 1


class TestPlans:
    def test_recorded_at_the_second_step_and_replayed_from_the_third_on(self, monkeypatch):
        with blocks_of(monkeypatch, 4):
            made = trainer()
            train(made, 1)
            (cut,) = cuts(made.net)
            assert (cut.forward_plan, cut.backward_plan) == (None, None)
            train(made, 1)
            plans = cut.forward_plan, cut.backward_plan
            assert all(plans)
            train(made, 2)
            assert (cut.forward_plan, cut.backward_plan) == plans
            assert cuts(made.net) == [cut]

    def test_replays_run_no_layer_code(self, monkeypatch):
        called = []
        for cls in (xn.Conv2d, xn.ReLU, xn.Dropout):
            original = cls.forward

            def forward(self, x, step, original=original):
                called.append(self)
                return original(self, x, step)

            monkeypatch.setattr(cls, "forward", forward)
        with blocks_of(monkeypatch, 4):
            made = trainer()
            train(made, 2)
            assert called
            called.clear()
            train(made, 3)
            assert not called

    def test_no_allocation_from_the_third_step_on(self, monkeypatch):
        x, y = images()
        with blocks_of(monkeypatch, 4):
            made = trainer()
            counts = []
            for _ in range(6):
                with allocations(CPU_DEVICE) as seen:
                    made.step(x, y)
                counts.append(seen.count)
        assert counts[0] > 20
        assert counts[2:] == [0] * 4

    @pytest.mark.parametrize("change", ["attribute", "freeze", "restore", "assign", "device", "threads"])
    def test_what_changes_between_steps_counts(self, change, monkeypatch):
        def act(made):
            net = made.net
            if change == "attribute":
                net.layers[7].rate = 0.7
            elif change == "freeze":
                net.freeze(1)
            elif change == "restore":
                net.parameters.restore({name: value + 0.01 for name, value in net.parameters.snapshot().items()})
            elif change == "assign":
                net.layers[1].W.value = net.layers[1].W.value * 0.5
            elif change == "device":
                net.to("sim").to("cpu")
            else:
                CPU_DEVICE.threads = 3

        ends = []
        for in_blocks in (True, False):
            with blocks_of(monkeypatch, 4):
                made = trainer(in_blocks=in_blocks, dtype="float64")
                losses = train(made, 4)
                act(made)
                ends.append(losses + train(made, 4))
        np.testing.assert_allclose(ends[0], ends[1], rtol=1e-8)

    def test_two_passes_under_way_keep_apart(self, monkeypatch):
        with blocks_of(monkeypatch, 3):
            made, twin = trainer(dtype="float64"), trainer(dtype="float64")
            for m in (made, twin):
                train(m, 3)
            (x, y), (other, _) = images(), images(seed=9)
            net, numbers = made.net, []
            for between in (False, True):
                step = net.step(training=True, number=3)
                step.updates_state = False
                logits, cache = net.forward(x.astype(float), step)
                if between:
                    again = net.step(training=True, number=4)
                    again.updates_state = False
                    net.forward(other.astype(float), again)
                    net.predict(other)
                _, dy = made.loss(logits, y, step)
                net.backward(dy, cache, step)
                numbers.append(net.parameters.grad.copy())
        np.testing.assert_allclose(numbers[0], numbers[1], rtol=0, atol=1e-12)

    def test_forward_passes_without_backward(self, monkeypatch):
        with blocks_of(monkeypatch, 3):
            made = trainer(dtype="float64")
            x = images()[0].astype(float)
            found = []
            for _ in range(5):
                step = made.net.step(training=True, number=0)
                step.updates_state = False
                found.append(made.net.forward(x, step)[0].tobytes())
        assert len(set(found)) == 1

    def test_outputs_are_the_users_own(self, monkeypatch):
        with blocks_of(monkeypatch, 3):
            net = xn.Sequential(xn.Conv2d(4, 3), xn.ReLU()).build((9, 8, 3), device="cpu")
            x = images()[0]
            held = [net.forward(x * i, net.step(training=True))[0] for i in range(5)]
            kept = [np.array(a) for a in held]
            net.forward(x * 9, net.step(training=True))
        for a, b in zip(held, kept, strict=True):
            np.testing.assert_array_equal(a, b)


class Odd(xn.Layer):
    """A user's layer that claims to take blocks."""

    blockwise = True

    def __init__(self, how):
        self.how = how

    def forward(self, x, step):
        if self.how == "reads":
            return x * float(x.max() > -1e9), None
        if self.how == "plain":
            return x * 2, None
        if self.how == "grows":
            vars(self)["asked"] = vars(self).get("asked", 0) + 1
            for _ in range(vars(self)["asked"]):
                step.keep((2, vars(self)["asked"]))
            return x * 2, None
        raise ArithmeticError("odd")

    def backward(self, dy, cache, step):
        return dy * (1.0 if self.how == "reads" else 2.0)


class TestUsersLayers:
    def made(self, how, blockwise=True):
        odd = Odd(how)
        vars(odd)["blockwise"] = blockwise
        return trainer(xn.Sequential(xn.Conv2d(4, 3, padding=1), odd, xn.ReLU(), xn.GlobalAvgPool2d(), xn.Affine(4)))

    @pytest.mark.parametrize("how", ["reads", "grows"])
    def test_one_of_which_there_is_no_record_is_named_once_and_runs(self, how, monkeypatch):
        with blocks_of(monkeypatch, 3), warnings.catch_warnings(record=True) as seen:
            warnings.simplefilter("always")
            made = self.made(how)
            losses = train(made, 5)
            expected = train(self.made("plain" if how == "grows" else how, False), 5)
        (warning,) = seen
        assert "without threads" in str(warning.message)
        assert ("float" in str(warning.message)) == (how == "reads")
        np.testing.assert_allclose(losses, expected, rtol=1e-4)

    def test_plain_arithmetic_is_recorded(self, monkeypatch):
        with blocks_of(monkeypatch, 3):
            losses = train(self.made("plain"), 5)
            expected = train(self.made("plain", False), 5)
        np.testing.assert_allclose(losses, expected, rtol=1e-4)

    def test_its_error_arrives_and_the_network_goes_on(self, monkeypatch):
        with blocks_of(monkeypatch, 3):
            made = self.made("plain")
            train(made, 3)
            made.net.layers[1].how = "fails"
            with pytest.raises(ArithmeticError, match="odd"):
                train(made, 1)
            made.net.layers[1].how = "plain"
            assert np.isfinite(train(made, 4)).all()

    def test_a_container_that_completes_children_that_meet_is_refused(self, monkeypatch):
        class Wrapped(xn.Layer):
            blockwise = True

            def __init__(self):
                self.inner = xn.BatchNorm()

            def build(self, shape, make):
                return self.inner.build(shape, make.child("inner", self.inner))

            def forward(self, x, step):
                return self.inner.forward(x, step)

            def backward(self, dy, cache, step):
                return self.inner.backward(dy, cache, step)

        with blocks_of(monkeypatch, 3), pytest.raises(TypeError, match=r"must be a xpnet\.layers\.base\.Meeting"):
            train(trainer(xn.Sequential(xn.Conv2d(4, 3), Wrapped(), xn.GlobalAvgPool2d(), xn.Affine(4))), 1)


class TestCopies:
    @pytest.mark.parametrize("copying", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"])
    def test_a_copy_goes_on_alike(self, copying, monkeypatch):
        with blocks_of(monkeypatch, 4):
            made = trainer()
            train(made, 4)
            twin = copying(made)
            assert train(made, 4) == train(twin, 4)
        assert bits(made) == bits(twin)

    def test_layers_of_a_recorded_network_have_plain_arrays(self, monkeypatch):
        with blocks_of(monkeypatch, 4):
            made = trainer()
            train(made, 4)
            assert {type(p.value) for p in made.net.parameters.values()} == {np.ndarray}
            assert {type(p.grad) for p in made.net.parameters.trainable} == {np.ndarray}
            assert type(made.predict(images()[0])) is np.ndarray


class TestSections:
    def test_a_new_run_begins_where_images_have_become_a_quarter_as_large(self):
        def head():
            return xn.Flatten(), xn.Affine(4), xn.ReLU()

        net = xn.Sequential(xn.Conv2d(8, 3, padding=1), xn.ReLU(), xn.MaxPool2d(2), xn.Conv2d(8, 3), *head()).build((8, 8, 3))
        assert [len(getattr(s, "layers", (s,))) for s in net._in_blocks.sections] == [3, 2, 1, 1]
        net = xn.Sequential(xn.Conv2d(8, 3, padding=1), xn.MaxPool2d(2), xn.Conv2d(10, 1), *head()).build((8, 8, 3))
        assert [len(getattr(s, "layers", (s,))) for s in net._in_blocks.sections] == [4, 1, 1]

    def test_vectors_are_not_cut(self):
        assert not xn.Sequential(xn.BatchNorm(), xn.Affine(4), xn.ReLU()).build((8,)).in_blocks

    def test_one_inside_another(self, monkeypatch):
        inner = xn.Sequential(xn.Conv2d(4, 3), xn.BatchNorm(), xn.ReLU(), xn.Flatten(), xn.Affine(6))
        ends = []
        for in_blocks in (True, False):
            with blocks_of(monkeypatch, 3):
                made = trainer(
                    xn.Sequential(copy.deepcopy(inner), xn.ReLU(), xn.Affine(4)), in_blocks=in_blocks, dtype="float64"
                )
                ends.append(train(made, 5))
                assert bool(cuts(made.net)) == in_blocks
        np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)

    def test_layers_that_take_no_blocks_in_between(self, monkeypatch):
        net = lambda: xn.Sequential(xn.Conv2d(4, 3), xn.Affine(6), xn.Conv2d(4, 3), xn.GlobalAvgPool2d(), xn.Affine(4))  # noqa: E731
        ends = []
        for in_blocks in (True, False):
            with blocks_of(monkeypatch, 3):
                ends.append(train(trainer(net(), in_blocks=in_blocks, dtype="float64"), 5))
        np.testing.assert_allclose(ends[0], ends[1], rtol=1e-9)


def test_the_network_of_these_tests_uses_the_simulated_gpu_alike():
    losses = [train(trainer(device=device, dtype="float64"), 3) for device in ("cpu", "sim")]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-6)  # normal noise is float32
    assert not network().in_blocks
