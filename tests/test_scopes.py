"""Names, scopes, forgotten gradients, input gradients, shapes, and layers in two places."""

from __future__ import annotations

import contextlib

import numpy as np
import pytest
from contract_layers import BatchNorm, Bend, Branches, Forgetful, Recurrent, Spy, branches
from core_helpers import classes_data, run_step

import xpnet as xn


class TestScopes:
    def test_names_of_nested_containers(self):
        net = xn.Sequential(
            xn.Affine(4),
            xn.Residual(xn.Affine(5), BatchNorm(), shortcut=xn.Affine(5)),
            xn.Sequential(xn.ReLU(), xn.Sequential(xn.Residual(xn.Sequential(xn.Affine(5, bias=False)), xn.Tanh()))),
            Branches(xn.Sequential(xn.Identity(), xn.Affine(1)), xn.Residual(Bend())),
        ).build((3,))
        assert list(net.parameters) == [
            "0.W",
            "0.b",
            "1.0.W",
            "1.0.b",
            "1.1.gamma",
            "1.1.beta",
            "1.1.mean",
            "1.1.var",
            "1.shortcut.W",
            "1.shortcut.b",
            "2.1.0.0.0.W",
            "3.left.1.W",
            "3.left.1.b",
            "3.right.0.a",
        ]
        assert net.output_shape == (6,)
        assert net.shapes == [(3,), (4,), (5,), (5,), (6,)]

    def test_names_of_a_container_in_a_chain(self):
        net = xn.Sequential(xn.Sequential(xn.Residual(xn.Sequential(xn.Affine(3))))).build((3,))
        assert list(net.parameters) == ["0.0.0.0.W", "0.0.0.0.b"]

    def test_freezing_a_container_freezes_all_below(self):
        net = xn.Sequential(xn.Residual(xn.Affine(3), shortcut=xn.Affine(3)), branches()).build((3,))
        net.freeze("0", "1.left")
        assert [name for name, p in net.parameters.items() if not p.frozen and p.trainable] == [
            "1.right.0.W",
            "1.right.0.b",
            "1.right.1.gamma",
            "1.right.1.beta",
        ]

    def test_walk_sees_every_layer_of_containers(self):
        inner = xn.Residual(xn.Affine(3), xn.Sequential(xn.Tanh()), shortcut=xn.Identity())
        names = [type(layer).__name__ for layer in xn.Sequential(xn.ReLU(), inner).walk()]
        assert names == ["ReLU", "Residual", "Affine", "Sequential", "Tanh", "Identity"]

    @pytest.mark.parametrize(
        ("layers", "first", "second"),
        [
            (lambda a: (a, xn.ReLU(), a), "0", "2"),
            (lambda a: (xn.Sequential(xn.ReLU(), a), a), r"0\.1", "1"),
            (lambda a: (a, xn.Residual(xn.Sequential(a))), "0", r"1\.0\.0"),
            (lambda a: (xn.Residual(a, shortcut=a),), r"0\.0", r"0\.shortcut"),
            (lambda a: (Branches(a, a),), r"0\.left", r"0\.right"),
            (lambda a: (Branches(xn.Sequential(a), xn.ReLU()), a), r"0\.left\.0", "1"),
        ],
        ids=["chain", "nested", "residual", "shortcut", "user's container", "below a user's container"],
    )
    def test_a_layer_used_twice_is_refused_with_both_paths(self, layers, first, second):
        net = xn.Sequential(*layers(xn.Affine(4)))
        with pytest.raises(
            ValueError,
            match=rf"same Affine object stands at {first} and at {second} of one network: "
            r"make a second Affine\(\.\.\.\)",
        ):
            net.build((4,))
        assert not net.built

    @pytest.mark.parametrize("layer", [xn.ReLU(), xn.Dropout(0.5), xn.Sequential(xn.ReLU())], ids=repr)
    def test_even_one_without_parameters(self, layer):
        with pytest.raises(ValueError, match="stands at 0 and at 1 of one network"):
            xn.Sequential(layer, layer).build((4,))

    def test_a_network_inside_another_is_a_layer(self, device):
        inner = xn.Sequential(xn.Affine(3), xn.Tanh()).build((4,), device=device, seed=5)
        outer = xn.Sequential(inner, xn.Affine(2))
        with pytest.raises(ValueError, match=r"Sequential at 0 is a network of its own.*unbuild\(\) first"):
            outer.build((4,), device=device)
        assert inner.built
        inner.unbuild()
        outer.build((4,), device=device)
        assert list(outer.parameters) == ["0.0.W", "0.0.b", "1.W", "1.b"]
        with pytest.raises(xn.NotBuilt):
            inner.predict(np.zeros((1, 4)))
        assert outer.predict(np.zeros((2, 4))).shape == (2, 2)


class TestForgottenGradients:
    def test_is_refused_on_the_simulated_gpu(self):
        device = xn.device("sim")
        net = xn.Sequential(Forgetful(3), xn.Affine(2)).build((4,), device=device)
        x, y = (device.put(a) for a in classes_data(6, classes=2))
        with pytest.raises(xn.GradientMissing, match=r"gradient of 0\.b"):
            run_step(net, xn.SoftmaxCrossEntropy(), xn.SGD(0.1), x, y)
        assert np.isnan(device.get(net.parameters["0.b"].grad)).all()

    @pytest.mark.parametrize("debug", [False, True])
    def test_is_refused_on_the_cpu_in_debug_mode(self, debug):
        net = xn.Sequential(Forgetful(3)).build((4,))
        net.debug = debug
        step = net.step(training=True)
        outputs, cache = net.forward(classes_data(6)[0], step)
        with pytest.raises(xn.GradientMissing, match=r"gradient of 0\.b") if debug else contextlib.nullcontext():
            net.backward(outputs, cache, step)
        assert np.isnan(net.parameters["0.b"].grad).all() == debug
        assert np.isfinite(net.parameters["0.W"].grad).all()

    def test_gradcheck_names_it(self, device):
        with pytest.raises(xn.GradientError, match=r"0\.b .*relative error (inf|[0-9.e+-]+) at \[[0-2]\]"):
            xn.gradcheck(Forgetful(3), (4,), device=device)

    def test_reading_a_kept_buffer_before_writing_shows_on_the_simulated_gpu(self):
        class Careless(xn.Layer):
            def forward(self, x, step):
                y = step.keep(x.shape)
                y += x
                return y, None

        net = xn.Sequential(Careless()).build((4,), device="sim")
        for _ in range(3):
            assert np.isnan(net.predict(np.ones((2, 4)))).all()

    def test_a_layer_without_methods_says_which(self, device):
        class Empty(xn.Layer):
            pass

        net = xn.Sequential(Empty()).build((2,), device=device)
        x = device.put(np.ones((1, 2), np.float32))
        with pytest.raises(NotImplementedError, match=r"Empty has no forward\(x, step\)"):
            net.forward(x, net.step(training=True))
        with pytest.raises(NotImplementedError, match=r"Empty has no backward\(dy, cache, step\)"):
            net.layers[0].backward(x, None, net.step(training=True))


class TestNeedsDx:
    @pytest.mark.parametrize(
        ("layers", "expected"),
        [
            (lambda spy: [spy(True), xn.Affine(2)], [[False]]),
            (lambda spy: [spy(), spy(True), spy()], [[], [False], [True]]),
            (lambda spy: [spy(), xn.Affine(3), spy()], [[], [True]]),
            (lambda spy: [xn.Sequential(spy(), spy(True)), spy()], [[], [False], [True]]),
            (lambda spy: [spy(), xn.Residual(spy(), spy(True), shortcut=spy())], [[], [], [False], [False]]),
            (lambda spy: [xn.Affine(4), xn.Residual(spy(), spy(True), shortcut=spy())], [[True], [True], [True]]),
            (lambda spy: [spy(), spy()], [[], []]),
        ],
        ids=[
            "first",
            "above one without parameters",
            "below a real one",
            "nested",
            "residual",
            "residual above",
            "none at all",
        ],
    )
    def test_no_gradient_is_asked_for_that_nobody_uses(self, device, layers, expected):
        spies = []

        def spy(*args):
            spies.append(Spy(*args))
            return spies[-1]

        net = xn.Sequential(*layers(spy)).build((4,), device=device)
        x = device.put(classes_data(5)[0])
        step = net.step(training=True)
        outputs, cache = net.forward(x, step)
        assert net.backward(device.put(np.ones(outputs.shape, np.float32)), cache, step) is None
        assert [s.seen for s in spies] == expected
        for s in spies:
            s.seen.clear()
        step = net.step(training=True, needs_dx=True)
        outputs, cache = net.forward(x, step)
        assert net.backward(device.put(np.ones(outputs.shape, np.float32)), cache, step) is not None
        assert [s.seen for s in spies] == [[True]] * len(spies)

    def test_the_first_layers_product_is_saved(self):
        """One matrix product less on the simulated GPU, where launches are counted."""

        device = xn.device("sim")
        launches = []
        for needs_dx in (False, True):
            net = xn.Sequential(xn.Affine(3), xn.Affine(2)).build((4,), device=device)
            for _ in range(2):  # the first pass makes the vector of ones
                step = net.step(training=True, needs_dx=needs_dx)
                outputs, cache = net.forward(device.put(classes_data(5)[0]), step)
                with xn.ledger() as seen:
                    net.backward(outputs, cache, step)
            launches.append(seen.launches)
        assert launches[1] - launches[0] == 1

    @pytest.mark.parametrize(
        "layers",
        [
            lambda: [xn.Tanh()],
            lambda: [xn.Affine(3)],
            lambda: [xn.Flatten(), xn.Affine(2)],
            lambda: [xn.Residual(xn.Affine(4)), xn.Affine(1)],
            lambda: [branches()],
        ],
        ids=["no parameters", "affine", "flatten first", "residual", "branches"],
    )
    def test_the_input_gradient_is_right_when_asked_for(self, device, layers):
        net = xn.Sequential(*layers()).build((4,), device=device, dtype="float64")
        x = np.random.default_rng(3).standard_normal((3, 4))

        def value(rows):
            return device.get(net.forward(device.put(rows), net.step(training=False))[0]).sum()

        step = net.step(training=False, needs_dx=True)
        outputs, cache = net.forward(device.put(x), step)
        dx = device.get(net.backward(device.put(np.ones(outputs.shape)), cache, step))
        for place in np.ndindex(x.shape):
            d = np.zeros(x.shape)
            d[place] = 1e-6
            assert dx[place] == pytest.approx((value(x + d) - value(x - d)) / 2e-6, abs=1e-8)


class TestShapes:
    def test_summary_shows_what_a_users_layer_returns(self):
        net = xn.Sequential(Recurrent(4), Bend(), xn.Flatten(), branches()).build((6, 3))
        lines = net.summary().splitlines()
        columns = [line[lines[0].index("output shape") :].split("  ")[0] for line in lines[2:-4]]
        assert columns == ["(N, 6, 3)", "(N, 6, 4)", "(N, 6, 4)", "(N, 24)", "(N, 5)"]
        counts = [line.split()[-3].replace(",", "") for line in lines[3:-4]]
        assert counts == [str(3 * 4 + 16 + 4), "24", "0", str(24 * 3 + 3 + 24 * 2 + 2 + 4)]

    def test_a_list_returned_by_build_counts_as_a_shape(self):
        class Listing(xn.Layer):
            def build(self, shape, make):
                return list(shape)

            def forward(self, x, step):
                return x, None

        net = xn.Sequential(Listing(), xn.Affine(2)).build((3,))
        assert net.shapes == [(3,), (3,), (2,)]

    def test_a_users_layer_repr_is_its_constructors_arguments(self):
        assert repr(BatchNorm(momentum=0.5)) == "BatchNorm(momentum=0.5)"
        assert repr(BatchNorm()) == "BatchNorm()"
        assert repr(Recurrent(4)) == "Recurrent(n=4)"
        assert BatchNorm(0.8).config() == {"momentum": 0.8, "epsilon": 1e-5}

    @pytest.mark.parametrize(
        ("layers", "shape", "message"),
        [
            (
                lambda: [xn.Residual(xn.Affine(5))],
                (4,),
                r"body gives \(5,\) per sample, the shortcut \(4,\).*shortcut=Affine\(5\)",
            ),
            (lambda: [xn.Residual(xn.Affine(5), shortcut=xn.Affine(6))], (4,), r"gives \(5,\) per sample, the shortcut \(6,\)"),
            (lambda: [xn.Affine(3)], (), r"Affine\(3\) needs inputs of shape \(N, \.\.\., n_in\).*reshape them to \(N, 1\)"),
        ],
        ids=["residual", "shortcut", "scalars"],
    )
    def test_shapes_that_do_not_fit_are_refused_at_build(self, layers, shape, message):
        net = xn.Sequential(*layers())
        with pytest.raises(ValueError, match=message):
            net.build(shape)
        assert not net.built


class TestSharedBetweenNetworks:
    def test_a_layer_of_a_network_in_use_is_refused(self):
        shared = xn.Affine(3)
        first = xn.Sequential(xn.ReLU(), shared).build((4,))
        before = first.predict(np.ones((2, 4)))
        with pytest.raises(ValueError, match=r"Affine object at 0 belongs to another network, as 1\.W.*deepcopy"):
            xn.Sequential(shared).build((4,), seed=1)
        np.testing.assert_array_equal(first.predict(np.ones((2, 4))), before)

    def test_a_network_that_is_gone_or_built_anew_frees_its_layers(self):
        shared = xn.Affine(3)
        first = xn.Sequential(shared).build((4,))
        first.build((5,))
        del first
        assert xn.Sequential(shared).build((4,)).parameters["0.W"].shape == (4, 3)
