"""One pass: addresses, results that are held, several passes under way, threads, refusals."""

from __future__ import annotations

import sys
import threading

import numpy as np
import pytest
from core_helpers import address, allocations, bits, classes_data, mlp, run_step
from step_helpers import STEPS, on_device, parts

import xpnet as xn
from xpnet.arenas import Scratch


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
        """``logits`` of the step before is still alive in an ordinary loop: few buffers take turns."""
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.5)
        x, y = on_device(device)
        result, seen = None, []
        for _ in range(STEPS + 3):
            with allocations(device) as made:
                result = run_step(net, loss, optimizer, x, y)
            seen.append((made.count, address(device, result.logits)))
        assert [count for count, _ in seen[3:]] == [0] * STEPS
        assert len({place for _, place in seen}) <= 4  # two of the logits' shape are held, two are in use

    def test_values_are_fresh_0d_arrays(self, device):
        net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.SGD(0.5)
        values = [run_step(net, loss, optimizer, *on_device(device)).value for _ in range(1030)]  # more than one vector full
        assert {v.shape for v in values} == {()}
        assert {v.dtype.name for v in values} == {"float32"}
        assert len({address(device, v) for v in values}) == 1030
        numbers = [float(device.get(v)) for v in values]
        assert numbers[-1] < 0.5 * numbers[0]  # it learned, and the first value is still the first
        assert len(set(numbers)) > 1000


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
