"""One pass: buffers that stay where they are, results that nobody overwrites, no allocation, and what is refused."""

from __future__ import annotations

import gc
import sys
import threading
import weakref

import numpy as np
import pytest
from core_helpers import address, allocations, bits, classes_data, mlp, run_step

import xpnet as xn
from xpnet.step import Arena, ArenaPool, Results, Scratch

STEPS = 6  # of a loop whose allocations are counted, after the two that may allocate


def on_device(device, n=12, seed=1):
    """Rows and labels on the device."""
    x, y = classes_data(n, seed=seed)
    return device.put(x), device.put(y)


def parts(device, result):
    """All arrays that a step made, on the host."""
    return {name: device.get(a) for name, a in vars(result).items()}


class TestAddresses:
    def test_the_same_on_each_step_of_a_shape(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.1)
        x, y = on_device(device)
        seen = set()
        for _ in range(5):
            result = run_step(net, loss, optimizer, x, y)
            seen.add(tuple(address(device, a) for a in (result.logits, result.dlogits, result.dx)))
            del result
        assert len(seen) == 1

    def test_two_shapes_in_turn_keep_their_own(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.1)
        full, last = on_device(device, 12), on_device(device, 5)
        seen = {12: set(), 5: set()}
        for _ in range(4):
            for x, y in (full, last):
                result = run_step(net, loss, optimizer, x, y)
                seen[len(x)].add(address(device, result.logits))
                del result
        assert [len(addresses) for addresses in seen.values()] == [1, 1]
        assert seen[12].isdisjoint(seen[5])

    def test_predicting_between_steps_moves_nothing(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.1)
        x, y = on_device(device)
        seen = set()
        for n in range(5):
            seen.add(address(device, run_step(net, loss, optimizer, x, y).logits))
            net.predict(np.zeros((3 + n, 4), np.float32))
        assert len(seen) == 1

    def test_gradients_and_parameters_stay_where_they_are(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.Adam()
        before = [address(device, p.value) for p in net.parameters.values()]
        for _ in range(3):
            run_step(net, loss, optimizer, *on_device(device))
        assert [address(device, p.value) for p in net.parameters.values()] == before

    @pytest.mark.parametrize("dtype", ["float32", "float64", "bool", "uint8"])
    @pytest.mark.parametrize("shape", [(1,), (3, 5), (7,), ()], ids=str)
    def test_cpu_memory_is_aligned_to_64_bytes(self, shape, dtype):
        arrays = [xn.device("cpu").empty(shape, dtype) for _ in range(8)]
        assert [a.ctypes.data % 64 for a in arrays] == [0] * 8
        assert all(a.shape == shape and a.dtype == dtype and a.flags.c_contiguous and a.flags.writeable for a in arrays)

    def test_everything_a_step_uses_on_the_cpu_is_aligned(self):
        net = mlp(features=4)
        device = net.device
        result = run_step(net, xn.SoftmaxCrossEntropy(), xn.Adam(), *on_device(device))
        p = net.parameters
        made = [
            result.logits,
            result.dlogits,
            result.dx,
            p.value,
            p.grad,
            *Scratch(device, "float32").empty((3,), "float32")[None],
        ]
        assert [a.ctypes.data % 64 for a in made] == [0] * len(made)


class TestHeldResults:
    def test_a_result_that_is_held_is_never_overwritten(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.5)
        held, copies = [], []
        for n in range(20):
            result = run_step(net, loss, optimizer, *on_device(device, seed=n))
            held.append(result)
            copies.append(parts(device, result))
        for result, copy in zip(held, copies, strict=True):
            for name, a in parts(device, result).items():
                np.testing.assert_array_equal(a, copy[name], err_msg=name)
        assert len({address(device, r.logits) for r in held}) == 20

    @pytest.mark.parametrize(
        "hold",
        [lambda a: a[2:5], lambda a: a.T, lambda a: a.reshape(-1), lambda a: a[1][1:]],
        ids=["slice", "transposed", "reshaped", "view of a view"],
    )
    def test_a_view_holds_its_buffer_too(self, device, hold):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.5)
        views, copies = [], []
        for n in range(6):
            views.append(hold(run_step(net, loss, optimizer, *on_device(device, seed=n)).logits))
            copies.append(device.get(views[-1]))
        for view, copy in zip(views, copies, strict=True):
            np.testing.assert_array_equal(device.get(view), copy)

    def test_holding_changes_no_number(self, device):
        ends = []
        for hold in (True, False):
            net, loss, optimizer, held = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.Adam(), []
            for n in range(8):
                result = run_step(net, loss, optimizer, *on_device(device, seed=n))
                held += [result] if hold else []
            ends.append(bits(net))
        assert ends[0] == ends[1]

    def test_the_last_result_only_is_held_without_allocation(self, device):
        """``logits`` of the step before is still alive in an ordinary loop: two buffers take turns."""
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.5)
        x, y = on_device(device)
        result, seen = None, []
        for _ in range(STEPS + 3):
            with allocations(device) as made:
                result = run_step(net, loss, optimizer, x, y)
            seen.append((made.count, address(device, result.logits)))
        assert [count for count, _ in seen[3:]] == [0] * STEPS
        assert len({place for _, place in seen}) == 2

    def test_values_are_fresh_0d_arrays(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.5)
        values = [run_step(net, loss, optimizer, *on_device(device)).value for _ in range(1030)]  # more than one vector full
        assert {v.shape for v in values} == {()}
        assert {v.dtype.name for v in values} == {"float32"}
        assert len({address(device, v) for v in values}) == 1030
        numbers = [float(device.get(v)) for v in values]
        assert numbers[-1] < 0.5 * numbers[0]  # it learned, and the first value is still the first
        assert len(set(numbers)) > 1000


class TestAllocations:
    def by_hand(self, device, optimizer, hold):
        """Allocations of each step of a loop by hand."""
        net, loss = mlp(device=device), xn.SoftmaxCrossEntropy()
        x, y = on_device(device)
        counts = []
        for _ in range(STEPS + 2):
            with allocations(device) as made:
                step = net.step(training=True)
                logits, cache = net.forward(x, step)
                value, dlogits = loss(logits, y, step)
                net.backward(dlogits, cache, step)
                optimizer.update(net.parameters)
                if not hold:
                    del step, logits, cache, value, dlogits
            counts.append(made.count)
        return counts

    @pytest.mark.parametrize("hold", [True, False], ids=["names kept as in the docs", "names deleted"])
    @pytest.mark.parametrize(
        "optimizer",
        [
            xn.SGD(0.1),
            xn.Momentum(0.1),
            xn.Nesterov(0.1),
            xn.AdaGrad(),
            xn.RMSProp(),
            xn.Adam(),
            xn.AdamW(),
            xn.Adam(clip_norm=1.0, l2=0.1),
            xn.SGD(0.1, weight_decay=0.1),
            xn.Adam(xn.Cosine(0.1, steps=9)),
        ],
        ids=repr,
    )
    def test_loop_by_hand(self, device, optimizer, hold):
        optimizer.reset()
        counts = self.by_hand(device, optimizer, hold)
        assert counts[0] > 5  # the counter counts
        assert counts[2:] == [0] * STEPS

    @pytest.mark.parametrize(
        ("layers", "loss", "targets"),
        [
            ([xn.Affine(5), layer, xn.Affine(3)], xn.SoftmaxCrossEntropy(), "labels")
            for layer in (
                xn.Sigmoid(),
                xn.Tanh(),
                xn.ReLU(),
                xn.LeakyReLU(),
                xn.ELU(),
                xn.GELU(),
                xn.GELU("tanh"),
                xn.SiLU(),
                xn.Softplus(),
                xn.Softmax(),
                xn.Identity(),
                xn.Dropout(0.5),
                xn.Residual(xn.Affine(5), xn.ReLU()),
                xn.Residual(xn.Affine(7), shortcut=xn.Affine(7)),
                xn.Sequential(xn.Affine(4), xn.Tanh()),
            )
        ]
        + [
            ([xn.Affine(3)], xn.MeanSquaredError(), "numbers"),
            ([xn.Affine(3)], xn.HalfSquaredError(), "numbers"),
            ([xn.Affine(3)], xn.SigmoidCrossEntropy(), "numbers"),
            ([xn.Affine(3)], xn.SoftmaxCrossEntropy(), "numbers"),
            ([xn.Affine(3)], xn.SoftmaxCrossEntropy(label_smoothing=0.1, class_weights=[1, 2, 3], ignore_index=2), "labels"),
        ],
        ids=lambda a: repr(a[1] if len(a) > 1 else a[0]) if isinstance(a, list) else repr(a) if isinstance(a, xn.Loss) else a,
    )
    @pytest.mark.parametrize("weighted", [False, True], ids=["", "weighted"])
    def test_every_layer_and_loss(self, device, layers, loss, targets, weighted):
        net = xn.Sequential(*layers).build((4,), device=device)
        trainer = xn.Trainer(net, loss=loss, optimizer=xn.SGD(0.1), device=device)
        x, y = on_device(device)
        if targets == "numbers":
            y = device.put(np.eye(3, dtype=np.float32)[device.get(y)])
        weights = device.put(np.linspace(0.5, 2, len(x)).astype(np.float32)) if weighted else None
        counts = []
        for _ in range(STEPS):
            with allocations(device) as made:
                trainer.step(x, y, weights)
            counts.append(made.count)
        assert counts[2:] == [0] * (STEPS - 2)

    def test_trainer_step_with_values_held(self, device):
        trainer = xn.Trainer(mlp(device=device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device=device)
        x, y = on_device(device)
        counts, values = [], []
        for _ in range(STEPS + 2):
            with allocations(device) as made:
                values.append(trainer.step(x, y))
            counts.append(made.count)
        assert counts[2:] == [0] * STEPS

    @pytest.mark.parametrize("between", ["predict", "evaluate", "snapshot", "summary", "freeze"])
    def test_what_is_done_between_steps_evicts_nothing(self, device, between):
        trainer = xn.Trainer(mlp(device=device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        x, y = on_device(device)
        rows, labels = classes_data(30)
        trainer.step(x, y)
        trainer.step(x, y)
        counts = []
        for n in range(STEPS):
            {
                "predict": lambda n: [trainer.predict(rows[: n + k + 1]) for k in range(6)],
                "evaluate": lambda n: [trainer.evaluate(rows[: n + k + 1], labels[: n + k + 1]) for k in range(6)],
                "snapshot": lambda n: trainer.net.parameters.snapshot(),
                "summary": lambda n: trainer.net.summary(),
                "freeze": lambda n: None,
            }[between](n)
            with allocations(device) as made:
                trainer.step(x, y)
            counts.append(made.count)
        assert counts == [0] * STEPS

    def test_partial_fit_of_one_row_after_another(self, device):
        """On the simulated GPU the row and its label are copied there: two arrays a call, and nothing else."""
        trainer = xn.Trainer(mlp(device=device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device)
        x, y = classes_data(STEPS + 2)
        counts = []
        for n in range(STEPS + 2):
            with allocations(device) as made:
                trainer.partial_fit(x[n : n + 1], y[n : n + 1])
            counts.append(made.count)
        assert counts[2:] == [2 if device.kind == "sim" else 0] * STEPS

    def test_last_partial_batches_have_buffers_of_their_own(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.1)
        x, y = on_device(device, 10)
        batches = [(x[a : a + 4], y[a : a + 4]) for a in (0, 4, 8)]
        for _ in range(2):
            for batch in batches:
                run_step(net, loss, optimizer, *batch)
        with allocations(device) as made:
            for batch in batches * 3:
                run_step(net, loss, optimizer, *batch)
        assert made.count == 0

    def test_of_many_shapes_few_arenas_are_kept(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.1)
        buffers = []
        for n in range(1, 30):
            x, y = on_device(device, n + 3)
            logits = run_step(net, loss, optimizer, x[:n], y[:n]).logits
            buffers.append(weakref.ref(logits))
            net.predict(np.zeros((n, 4), np.float32))
            del logits
        gc.collect()
        alive = [n for n, ref in enumerate(buffers, 1) if ref() is not None]
        assert alive == [26, 27, 28, 29]
        assert ArenaPool.SHAPES_PER_MODE == 4

    def test_a_shape_that_comes_back_after_eviction_is_right(self, device):
        ends = []
        for sizes in ([3, *range(4, 12), 3], [3, 3]):
            net, loss = mlp(device=device), xn.SoftmaxCrossEntropy()
            for n in sizes:
                x, y = on_device(device, 12)
                frozen = xn.SGD(0.1) if n == 3 else None
                step = net.step(training=True, number=n)
                logits, cache = net.forward(x[:n], step)
                net.backward(loss(logits, y[:n], step)[1], cache, step)
                if frozen:
                    frozen.update(net.parameters)
            ends.append(bits(net))
        assert ends[0] == ends[1]


class TestPassesUnderWay:
    def test_predicting_between_training_steps_changes_nothing(self, device):
        ends = []
        for predicting in (False, True):
            trainer = xn.Trainer(mlp(device=device), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device=device)
            x, y = on_device(device)
            rows, labels = classes_data(12)
            for _ in range(8):
                trainer.step(x, y)
                if predicting:
                    trainer.predict(rows)
                    trainer.evaluate(rows[:7], labels[:7])
            ends.append((bits(trainer), trainer.net.steps_begun, trainer.optimizer.steps))
        assert ends[0] == ends[1]

    def test_predicting_between_forward_and_backward_changes_nothing(self, device):
        gradients = []
        for predicting in (False, True):
            net, loss = mlp(device=device), xn.SoftmaxCrossEntropy()
            x, y = on_device(device)
            step = net.step(training=True)
            logits, cache = net.forward(x, step)
            if predicting:
                net.predict(device.get(x) + 1)
                net.forward(x + 1, net.step(training=False))
            value, dlogits = loss(logits, y, step)
            if predicting:
                net.predict(device.get(x) - 1)
            net.backward(dlogits, cache, step)
            gradients.append((device.get(net.parameters.grad).tobytes(), float(device.get(value))))
        assert gradients[0] == gradients[1]

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first in first out", "last in first out"])
    @pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
    def test_two_forward_passes_then_both_backwards(self, device, order, training):
        loss = xn.SoftmaxCrossEntropy()
        batches = [on_device(device, seed=1), on_device(device, seed=2)]

        def gradient(net, logits, cache, step, y):
            dx = net.backward(loss(logits, y, step)[1], cache, step)
            return device.get(net.parameters.grad), device.get(dx)

        alone = []
        for number, (x, y) in enumerate(batches):
            net = mlp(device=device)
            step = net.step(training=training, number=number, needs_dx=True)
            alone.append(gradient(net, *net.forward(x, step), step, y))

        net = mlp(device=device)
        steps = [net.step(training=training, needs_dx=True, number=number) for number in range(2)]
        passes = [net.forward(x, step) for (x, _), step in zip(batches, steps, strict=True)]
        for i in order:
            found = gradient(net, *passes[i], steps[i], batches[i][1])
            for a, b in zip(found, alone[i], strict=True):
                np.testing.assert_array_equal(a, b)
        assert (alone[0][0] != alone[1][0]).any()

    def test_the_cache_keeps_its_buffers_when_the_step_is_gone(self, device):
        net = mlp(device=device)
        (x, _), (other, _) = on_device(device, seed=1), on_device(device, seed=2)
        dy = device.put(np.ones((12, 3), np.float32))
        _, cache = net.forward(x, net.step(training=True, number=0))
        for _ in range(3):
            net.forward(other, net.step(training=True, number=1))
        step = net.step(training=True, number=0)
        net.forward(other, step)
        net.backward(dy, cache, step)
        found = device.get(net.parameters.grad)
        step = net.step(training=True, number=0)
        _, cache = net.forward(x, step)
        net.backward(dy, cache, step)
        np.testing.assert_array_equal(found, device.get(net.parameters.grad))

    def test_two_networks_take_turns(self, device):
        x, y = on_device(device)
        alone = []
        for seed in (0, 1):
            net, optimizer = mlp(device=device, seed=seed), xn.Adam()
            for _ in range(4):
                run_step(net, xn.SoftmaxCrossEntropy(), optimizer, x, y)
            alone.append(bits(net))
        nets, optimizers = [mlp(device=device, seed=seed) for seed in (0, 1)], [xn.Adam(), xn.Adam()]
        for _ in range(4):
            for net, optimizer in zip(nets, optimizers, strict=True):
                run_step(net, xn.SoftmaxCrossEntropy(), optimizer, x, y)
        assert [bits(net) for net in nets] == alone


@pytest.fixture
def eager_switches():
    """Threads change over every few bytecodes, so that a race has its chance."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


class TestThreads:
    def run(self, *works):
        """Run each function in a thread of its own; raise what they raise."""
        errors = []

        def guarded(work):
            try:
                work()
            except BaseException as error:
                errors.append(error)

        threads = [threading.Thread(target=guarded, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(60)
            assert not thread.is_alive()
        if errors:
            raise errors[0]

    def test_predict_from_another_thread_while_training(self, device, eager_switches):
        x, y = on_device(device)
        rows = [classes_data(n)[0] for n in (3, 5, 7, 9, 11, 13)]
        ends = []
        for predicting in (False, True):
            net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.0001)
            started, done, found = threading.Event(), threading.Event(), []

            def train(net=net, loss=loss, optimizer=optimizer, started=started, done=done):
                started.wait(60)
                for _ in range(150):
                    with device.use():
                        run_step(net, loss, optimizer, x, y)
                done.set()

            def predict(net=net, done=done, found=found, started=started):
                started.set()
                while not done.is_set():
                    found.extend(net.predict(r) for r in rows)

            self.run(train, *([predict] if predicting else [started.set]))
            assert all(np.isfinite(a).all() for a in found)
            assert (len(found) > 0) == predicting
            ends.append(bits(net))
        assert ends[0] == ends[1]

    def test_predict_from_two_threads(self, device, eager_switches):
        net = mlp(device=device)
        rows = [[classes_data(n, seed=seed)[0] for n in (3, 5, 7, 9, 11, 13)] for seed in (1, 2)]
        expected = [[net.predict(r) for r in mine] for mine in rows]

        def predict(i):
            for _ in range(60):
                for r, right in zip(rows[i], expected[i], strict=True):
                    np.testing.assert_array_equal(net.predict(r), right)

        self.run(lambda: predict(0), lambda: predict(1))


class TestArena:
    def test_order_decides_the_buffer(self, device):
        arena = Arena(device, "float32")
        first = [address(device, arena.empty(shape, "float32")) for shape in ((2, 3), (2, 3), (4,))]
        arena.reset()
        assert [address(device, arena.empty(shape, "float32")) for shape in ((2, 3), (2, 3), (4,))] == first
        assert len(set(first)) == 3

    @pytest.mark.parametrize("other", [((3, 2), "float32"), ((2, 3), "float64"), ((2, 3), "bool")], ids=str)
    def test_another_shape_or_dtype_gets_another_buffer(self, device, other):
        arena = Arena(device, "float32")
        arena.empty((2, 3), "float32")
        arena.reset()
        a = arena.empty(*other)
        assert (a.shape, a.dtype.name) == other
        arena.reset()
        assert arena.empty((2, 3), "float32").shape == (2, 3)

    def test_memory_used_again_is_poisoned_on_the_simulated_gpu(self):
        device = xn.device("sim")
        arena = Arena(device, "float32")
        arena.empty((3,), "float32").fill(1)
        arena.reset()
        assert np.isnan(device.get(arena.empty((3,), "float32"))).all()

    def test_a_pool_gives_an_arena_to_one_pass_at_a_time(self, device):
        pool, key = ArenaPool(), (True, (3, 4))
        one, two = pool.take(key, device, "float32"), pool.take(key, device, "float32")
        assert one is not two
        pool.give(key, one)
        assert pool.take(key, device, "float32") is one
        assert pool.take(key, device, "float32") is not two

    def test_the_modes_of_a_pool_do_not_evict_each_other(self, device):
        pool = ArenaPool()
        arena = pool.take((True, (3,)), device, "float32")
        pool.give((True, (3,)), arena)
        for n in range(20):
            pool.give((False, (n,)), pool.take((False, (n,)), device, "float32"))
        assert pool.take((True, (3,)), device, "float32") is arena

    def test_a_pass_gives_its_buffers_back_when_it_dies(self, device):
        net = mlp(device=device)
        x, _ = on_device(device)
        step = net.step(training=True)
        net.forward(x, step)
        arena = step.arena
        assert net.arenas.take(step._key, device, "float32") is not arena
        key = step._key
        del step
        assert net.arenas.take(key, device, "float32") is arena

    def test_a_pass_that_never_ran_gives_nothing_back(self, device):
        net = mlp(device=device)
        step = net.step(training=True)
        del step
        assert not net.arenas._free


class TestScratch:
    def test_requests_of_one_call_are_apart_and_calls_share(self, device):
        scratch = Scratch(device, "float32")
        a, b = scratch.empty((2, 3), "float32"), scratch.empty((2, 3), "float32")
        with device.use():
            a.fill(1)
            b.fill(2)
        assert device.get(a).max() == 1
        scratch.taken = 0
        assert address(device, scratch.empty((2, 3), "float32")) == address(device, a)

    @pytest.mark.parametrize(
        ("shape", "dtype"),
        [((6,), "float32"), ((2, 2), "float64"), ((5,), "bool"), ((), "float32"), ((0, 3), "float32")],
        ids=str,
    )
    def test_one_block_serves_every_shape_and_dtype_that_fits(self, device, shape, dtype):
        scratch = Scratch(device, "float32")
        place = address(device, scratch.empty((2, 3), "float64"))
        scratch.taken = 0
        with allocations(device) as made:
            a = scratch.empty(shape, dtype)
        assert (a.shape, a.dtype.name) == (shape, dtype)
        assert made.count == 0
        if a.size:
            assert address(device, a) == place

    def test_a_larger_request_makes_the_block_larger(self, device):
        scratch = Scratch(device, "float32")
        scratch.empty((2,), "float32")
        scratch.taken = 0
        large = scratch.empty((100,), "float32")
        scratch.taken = 0
        with allocations(device) as made:
            small = scratch.empty((2,), "float32")
        assert made.count == 0
        assert address(device, small) == address(device, large)


class TestResults:
    def test_a_new_vector_leaves_the_old_values_alone(self, device):
        results = Results(device, "float32", 2)
        values = [results.next() for _ in range(5)]
        with device.use():
            for n, value in enumerate(values):
                value.fill(n)
        assert [float(device.get(v)) for v in values] == [0, 1, 2, 3, 4]


class TestRefused:
    def test_backward_twice(self, device):
        net, loss = mlp(device=device), xn.SoftmaxCrossEntropy()
        x, y = on_device(device)
        step = net.step(training=True)
        logits, cache = net.forward(x, step)
        dlogits = loss(logits, y, step)[1]
        net.backward(dlogits, cache, step)
        before = device.get(net.parameters.grad)
        with pytest.raises(RuntimeError, match=r"had its backward already; run forward again"):
            net.backward(dlogits, cache, step)
        np.testing.assert_array_equal(device.get(net.parameters.grad), before)

    def test_a_step_used_twice(self, device):
        net = mlp(device=device)
        x, _ = on_device(device)
        step = net.step(training=True)
        logits = net.forward(x, step)[0]
        before = device.get(logits)
        with pytest.raises(RuntimeError, match=r"step of this network has been used already.*each forward pass by net\.step"):
            net.forward(x, step)
        np.testing.assert_array_equal(device.get(logits), before)

    def test_a_step_of_another_network(self, device):
        net, other = mlp(device=device), mlp(device=device, seed=1)
        x, _ = on_device(device)
        with pytest.raises(RuntimeError, match=r"was made by another network: make one for each forward pass by net\.step"):
            net.forward(x, other.step(training=True))

    def test_a_loss_before_any_forward(self, device):
        net = mlp(device=device)
        _, y = on_device(device)
        with pytest.raises(RuntimeError, match=r"SoftmaxCrossEntropy: this step has seen no forward pass.*net\.forward"):
            xn.SoftmaxCrossEntropy()(device.put(np.zeros((12, 3), np.float32)), y, net.step(training=True))

    def test_a_step_before_build(self):
        with pytest.raises(xn.NotBuilt, match=r"not built: call net\.build\(\(features,\)\)"):
            xn.Sequential(xn.Affine(2)).step(training=True)


class TestPass:
    def test_needs_dx_decides_what_backward_returns(self, device):
        net, loss = mlp(device=device), xn.SoftmaxCrossEntropy()
        x, y = on_device(device)
        for needs_dx in (False, True):
            step = net.step(training=True, needs_dx=needs_dx)
            logits, cache = net.forward(x, step)
            dx = net.backward(loss(logits, y, step)[1], cache, step)
            assert (dx is not None) == needs_dx
        assert (dx.shape, dx.dtype) == (x.shape, x.dtype)

    def test_training_steps_are_numbered_and_others_are_not(self, device):
        net = mlp(device=device)
        assert [net.step(training=training).number for training in (True, True, False, True, False)] == [0, 1, 2, 2, 3]
        assert net.steps_begun == 3
        assert net.step(training=True, number=7).number == 7
        assert net.steps_begun == 3

    def test_masks_differ_from_step_to_step_and_are_off_in_inference(self, device):
        net = xn.Sequential(xn.Dropout(0.5)).build((100,), device=device)
        x = device.put(np.ones((4, 100), np.float32))

        def outputs(**options):
            return device.get(net.forward(x, net.step(**options))[0])

        one, two = outputs(training=True), outputs(training=True)
        assert set(np.unique(one)) == set(np.unique(two)) == {0, 2}
        assert 100 < (one != two).sum() < 300
        np.testing.assert_array_equal(outputs(training=True, number=0), one)
        np.testing.assert_array_equal(outputs(training=False), 1)

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtype_of_everything_a_step_makes(self, device, dtype):
        net = mlp(device=device, dtype=dtype)
        x, y = on_device(device)
        result = run_step(net, xn.SoftmaxCrossEntropy(), xn.Adam(), x.astype(dtype), y)
        assert {a.dtype.name for a in vars(result).values()} == {dtype}
        assert net.parameters.value.dtype == net.parameters.grad.dtype == dtype

    def test_an_empty_batch_passes_through_the_layers(self, device):
        net = mlp(device=device)
        step = net.step(training=True, needs_dx=True)
        outputs, cache = net.forward(device.put(np.zeros((0, 4), np.float32)), step)
        assert outputs.shape == (0, 3)
        dx = net.backward(outputs, cache, step)
        assert dx.shape == (0, 4)
        assert not device.get(net.parameters.grad).any()
