"""The flat vectors: names, views that stay bound, segments, snapshot, restore and seeds."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from core_helpers import bits, classes_data, mlp, shares_memory

import xpnet as xn
from xpnet import initializers
from xpnet.parameters import Maker


class Counting(xn.Layer):
    """``y = scale * x`` that counts its training passes in a running statistic."""

    def build(self, shape, make):
        self.scale = make.parameter("scale", (shape[-1],), initializers.ones, decay=False)
        self.passes = make.state("passes", (), initializers.zeros)
        return shape

    def forward(self, x, step):
        if step.updates_state:
            self.passes.value[...] = self.passes.value + 1
        return x * self.scale.value, x

    def backward(self, dy, x, step):
        self.scale.grad[...] = (dy * x).sum(axis=0)
        return dy * self.scale.value


def make_net(device="cpu", seed=0, dtype="float32"):
    net = xn.Sequential(xn.Affine(5), xn.ReLU(), Counting(), xn.Affine(3, bias=False))
    return net.build((4,), device=device, dtype=dtype, seed=seed)


NAMES = ["0.W", "0.b", "2.scale", "2.passes", "3.W"]
SHAPES = {"0.W": (4, 5), "0.b": (5,), "2.scale": (5,), "2.passes": (), "3.W": (5, 3)}


def pickled(net):
    return pickle.loads(pickle.dumps(net))


def rebuilt(net):
    return net.build((4,), device=net.device, seed=3)


def restored(net):
    net.parameters.restore({name: a + 1 for name, a in net.parameters.snapshot().items()})
    return net


def frozen(net):
    net.freeze("0")
    net.unfreeze("0.b")
    return net


def trained(net):
    xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device=net.device).fit(*classes_data(20))
    return net


def moved(net):
    return net.to("cpu" if net.device.kind != "cpu" else "sim").to(net.device)


def there_and_back(net):
    home = net.device
    return net.to("sim:1").to("cpu").to(home)


AFTER = [lambda net: net, copy.deepcopy, pickled, rebuilt, restored, frozen, trained, moved, there_and_back]
AFTER_IDS = ["build", "deepcopy", "pickle", "rebuild", "restore", "freeze", "fit", "to another device", "to and back"]


class TestViews:
    @pytest.mark.parametrize("change", AFTER, ids=AFTER_IDS)
    def test_views_share_memory_with_the_vectors(self, device, change):
        net = change(make_net(device))
        p = net.parameters
        for entry in p.trainable:
            assert entry.value.shape == entry.grad.shape == SHAPES[entry.name]
            assert shares_memory(p.device, entry.value, p.value), entry.name
            assert shares_memory(p.device, entry.grad, p.grad), entry.name
        for entry in p.running:
            assert shares_memory(p.device, entry.value, p.state), entry.name

    @pytest.mark.parametrize("change", AFTER, ids=AFTER_IDS)
    def test_layers_hold_the_entries_of_their_own_network(self, device, change):
        net = change(make_net(device))
        held = {
            "0.W": net.layers[0].W,
            "0.b": net.layers[0].b,
            "2.scale": net.layers[2].scale,
            "2.passes": net.layers[2].passes,
            "3.W": net.layers[3].W,
        }
        for name, entry in held.items():
            assert entry is net.parameters[name]
            assert entry.name == name

    @pytest.mark.parametrize("copying", [copy.deepcopy, pickled], ids=["deepcopy", "pickle"])
    def test_a_copy_shares_nothing_with_the_original(self, device, copying):
        net = make_net(device)
        before = bits(net)
        other = copying(net)
        assert bits(other) == before
        with device.use():
            other.parameters.value.fill(0)
            other.parameters.state.fill(5)
        assert bits(net) == before
        assert not np.any(other.parameters.snapshot()["0.W"])

    def test_vectors_lie_one_entry_after_another_in_order_of_declaration(self, device):
        p = make_net(device).parameters
        values = device.get(p.value)
        stops = np.cumsum([entry.size for entry in p.trainable])
        assert p.value.shape == p.grad.shape == (stops[-1],) == (20 + 5 + 5 + 15,)
        assert p.state.shape == (1,)
        for entry, stop in zip(p.trainable, stops, strict=True):
            np.testing.assert_array_equal(values[stop - entry.size : stop].reshape(entry.shape), device.get(entry.value))

    def test_version_grows_when_holders_of_views_must_look_again(self, device):
        net = make_net(device)
        versions = [net.parameters.version]
        for act in (lambda: net.freeze("0"), lambda: net.unfreeze("0"), lambda: net.to("sim:2"), lambda: net.to("sim:3")):
            act()
            versions.append(net.parameters.version)
        assert versions == sorted(set(versions))
        trained(net)
        assert net.parameters.version == versions[-1]

    def test_a_parameter_copied_without_its_network_has_no_views(self):
        entry = copy.deepcopy(make_net().parameters["0.W"])
        assert (entry.name, entry.shape) == ("0.W", (4, 5))
        assert not hasattr(entry, "value")
        assert not hasattr(entry, "grad")

    @pytest.mark.parametrize("dtype", ["float32", "float64"])
    def test_dtype_of_every_vector_and_view(self, device, dtype):
        p = make_net(device, dtype=dtype).parameters
        assert {a.dtype.name for a in (p.value, p.grad, p.state)} == {dtype}
        assert {entry.value.dtype.name for entry in p.values()} == {dtype}


class TestNames:
    def test_names_are_paths_in_order(self, device):
        p = make_net(device).parameters
        assert list(p) == NAMES
        assert len(p) == len(NAMES)
        assert {name: entry.shape for name, entry in p.items()} == SHAPES
        assert [entry.name for entry in p.trainable] == ["0.W", "0.b", "2.scale", "3.W"]
        assert [entry.name for entry in p.running] == ["2.passes"]
        assert "0.W" in p
        assert "1.W" not in p

    def test_equality_is_identity(self):
        one, other = make_net().parameters, make_net().parameters
        assert one == one
        assert one != other
        assert len({one, other}) == 2

    def test_repr_of_a_parameter(self):
        assert repr(make_net().parameters["0.W"]) == "Parameter('0.W', shape=(4, 5))"

    def test_a_name_given_twice_in_one_layer_is_refused(self):
        make = Maker("4")
        make.parameter("W", (2,), initializers.zeros)
        with pytest.raises(ValueError, match=r"two parameters are named 4\.W.*name of its own"):
            make.state("W", (2,), initializers.zeros)

    def test_random_streams_differ_throughout_a_network(self):
        net = xn.Sequential(xn.Dropout(0.5), xn.Sequential(xn.Dropout(0.5), xn.Residual(xn.Dropout(0.5))), xn.Dropout(0.5))
        net.build((3,))
        streams = [layer.stream for layer in net.walk() if isinstance(layer, xn.Dropout)]
        assert len(set(streams)) == len(streams) == 4


class TestSegments:
    """Elements 0:20 are 0.W, 20:25 are 0.b, 25:30 are 2.scale (both without decay), 30:45 are 3.W."""

    @pytest.mark.parametrize(
        ("frozen", "by_decay", "expected"),
        [
            ((), False, [(0, 45, True)]),
            ((), True, [(0, 20, True), (20, 30, False), (30, 45, True)]),
            (("0",), False, [(25, 45, True)]),
            (("0.b",), False, [(0, 20, True), (25, 45, True)]),
            (("0.b",), True, [(0, 20, True), (25, 30, False), (30, 45, True)]),
            (("0.W", "2"), True, [(20, 25, False), (30, 45, True)]),
            (("0", "2", "3"), False, []),
        ],
        ids=["all", "by decay", "layer frozen", "one array frozen", "both", "two frozen", "all frozen"],
    )
    def test_segments(self, frozen, by_decay, expected):
        p = make_net().parameters
        p.freeze(*frozen)
        assert [(s.start, s.stop, s.decay) for s in p.segments(by_decay=by_decay)] == expected

    def test_decay_of_entries(self):
        assert {name: p.decay for name, p in make_net().parameters.items()} == {
            "0.W": True,
            "0.b": False,
            "2.scale": False,
            "2.passes": False,
            "3.W": True,
        }

    @pytest.mark.parametrize(
        "names",
        [("1",), ("0.w",), ("0", "nope"), ("",), ("2.passes",)],
        ids=["no parameters", "case", "second wrong", "empty", "state"],
    )
    def test_freeze_of_an_unknown_name_is_refused_and_changes_nothing(self, names):
        net = make_net()
        version = net.parameters.version
        with pytest.raises(ValueError, match=rf"no parameter is named '{names[-1]}'.*there are 0\.W, 0\.b"):
            net.freeze(*names)
        assert [name for name, p in net.parameters.items() if p.frozen] == []
        assert net.parameters.version == version

    def test_freeze_takes_whole_parts_of_a_path_only(self):
        net = xn.Sequential(*[xn.Affine(2) for _ in range(11)]).build((2,))
        net.freeze("1")
        assert [name for name, p in net.parameters.items() if p.frozen] == ["1.W", "1.b"]


class TestSnapshot:
    def test_a_snapshot_is_the_callers_own(self, device):
        net = make_net(device)
        taken = net.parameters.snapshot()
        kept = {name: a.copy() for name, a in taken.items()}
        assert list(taken) == ["0.W", "0.b", "2.scale", "3.W", "2.passes"]
        assert all(type(a) is np.ndarray for a in taken.values())
        trained(net)
        for name, a in taken.items():
            np.testing.assert_array_equal(a, kept[name])
        assert bits(net) != b"".join(a.tobytes() for a in kept.values())
        for a in taken.values():
            a[...] = 99
        assert net.parameters.snapshot()["0.W"].max() < 90

    def test_restore_brings_back_parameters_and_state(self, device):
        net = make_net(device)
        before = net.parameters.snapshot()
        trained(net)
        assert net.parameters.snapshot()["2.passes"] == 1
        net.parameters.restore(before)
        for name, a in net.parameters.snapshot().items():
            np.testing.assert_array_equal(a, before[name])

    def test_restore_does_not_keep_the_arrays_given(self, device):
        net = make_net(device)
        given = net.parameters.snapshot()
        net.parameters.restore(given)
        before = bits(net)
        given["0.W"][...] = -1
        assert bits(net) == before

    def test_restore_across_dtypes(self, device):
        net32, net64 = make_net(device), make_net(device, seed=5, dtype="float64")
        net64.parameters.restore(net32.parameters.snapshot())
        assert net64.parameters.value.dtype == "float64"
        np.testing.assert_array_equal(net64.parameters.snapshot()["3.W"], net32.parameters.snapshot()["3.W"])

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda a: a.pop("3.W"), r"no values for 3\.W"),
            (lambda a: a.update({"9.W": a["3.W"]}), r"has no parameter 9\.W; it has 0\.W, 0\.b"),
            (lambda a: a.update({"3.W": a["3.W"].T}), r"parameter 3\.W has shape \(5, 3\), the values given \(3, 5\)"),
            (lambda a: a.update({"2.passes": np.zeros(1)}), r"parameter 2\.passes has shape \(\), the values given \(1,\)"),
        ],
        ids=["missing", "unknown", "shape", "state's shape"],
    )
    def test_restore_checks_before_it_changes_anything(self, device, change, message):
        net = make_net(device)
        before = bits(net)
        arrays = {name: a + 1 for name, a in net.parameters.snapshot().items()}
        change(arrays)
        with pytest.raises(ValueError, match=message):
            net.parameters.restore(arrays)
        assert bits(net) == before

    def test_fill_checks_the_shape(self, device):
        net = make_net(device)
        before = bits(net)
        with pytest.raises(ValueError, match=r"parameter 0\.W has shape \(4, 5\), the values given have \(5,\)"):
            net.parameters.fill("0.W", np.zeros(5))
        assert bits(net) == before
        net.parameters.fill("0.b", np.arange(5))
        np.testing.assert_array_equal(net.parameters.snapshot()["0.b"], np.arange(5))


class TestSeeds:
    def test_one_seed_gives_the_same_bytes_on_every_device(self, device):
        assert bits(make_net(device, seed=4)) == bits(make_net("cpu", seed=4))

    @pytest.mark.parametrize("seeds", [(0, 1), (1, 2), (0, 2**40)])
    def test_two_seeds_differ_in_every_random_array(self, seeds):
        one, other = (make_net(seed=seed).parameters.snapshot() for seed in seeds)
        for name in ("0.W", "3.W"):
            assert (one[name] != other[name]).all()

    def test_float32_values_are_the_float64_values_rounded(self, device):
        single, double = (make_net(device, dtype=dtype).parameters.snapshot() for dtype in ("float32", "float64"))
        for name, a in double.items():
            np.testing.assert_array_equal(a.astype(np.float32), single[name])

    def test_arrays_of_one_shape_get_different_values(self):
        p = xn.Sequential(xn.Affine(4), xn.Affine(4)).build((4,)).parameters.snapshot()
        assert (p["0.W"] != p["1.W"]).all()

    def test_building_again_gives_the_same_values(self, device):
        net = make_net(device)
        before = bits(net)
        trained(net)
        assert bits(net) != before
        assert bits(net.build((4,), device=device)) == before


def test_helper_network_has_all_it_should(device):
    """The network that other test files use: two affine layers around an activation and a dropout."""
    assert list(mlp(device=device).parameters) == ["0.W", "0.b", "3.W", "3.b"]


class TestAssignment:
    def test_assigning_fills_the_view(self, device):
        """``W.grad = ...`` is what a newcomer writes: it must reach the vector that the optimizer reads."""

        class Assigning(xn.Affine):
            def backward(self, dy, x, step):
                self.W.grad = x.T @ dy
                self.b.grad = dy.sum(axis=0)
                return dy @ self.W.value.T

        assert xn.gradcheck(Assigning(3), (4,), device=device)
        net = xn.Sequential(Assigning(2)).build((4,), device=device)
        trainer = xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device=device)
        before = net.parameters.snapshot()["0.W"]
        trainer.fit(np.ones((4, 4)), np.ones((4, 2)))
        assert not np.array_equal(net.parameters.snapshot()["0.W"], before)
        with device.use():
            net.layers[0].W.value = device.put(np.full((4, 2), 7, np.float32))
        assert (net.parameters.snapshot()["0.W"] == 7).all()

    def test_a_shallow_copy_is_refused(self):
        net = xn.Sequential(xn.Affine(2)).build((4,))
        with pytest.raises(TypeError, match=r"copy\.deepcopy\(net\)"):
            copy.copy(net.parameters)

    def test_a_move_that_fails_changes_nothing(self, monkeypatch):
        net = xn.Sequential(xn.Affine(2)).build((4,))
        before = net.predict(np.ones((3, 4)))

        def full(self, shape, dtype):
            raise MemoryError("the device is full")

        monkeypatch.setattr(type(xn.device("sim")), "empty", full)
        with pytest.raises(MemoryError):
            net.to("sim")
        assert net.device.name == "cpu"
        np.testing.assert_array_equal(net.predict(np.ones((3, 4))), before)

    def test_a_rebuild_whose_initial_values_fail_changes_nothing(self):
        layer = xn.Affine(2)
        net = xn.Sequential(layer).build((4,))
        before = net.predict(np.ones((3, 4)))
        layer.init = lambda rng, shape: np.zeros((1, 1))
        with pytest.raises(ValueError, match=r"0\.W has shape \(4, 2\)"):
            net.build((4,))
        np.testing.assert_array_equal(net.predict(np.ones((3, 4))), before)
