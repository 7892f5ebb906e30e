"""The table, the repr, and frozen layers."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from core_helpers import allocations, bits, classes_data, mlp, run_step
from network_helpers import make_trainer

import xpnet as xn


class TestSummary:
    def net(self, **options):
        """Parameters: 64*30+30 = 1950; 30*30+30 = 930; 30*20 = 600 without bias; 20*10+10 = 210, in all 3690.

        FLOPs of a sample: Affine 2 n_in n_out, n_out more with a bias; one per element for the rest.
        """
        return xn.Sequential(
            xn.Flatten(),
            xn.Affine(30),
            xn.Residual(xn.Affine(30), xn.ReLU()),
            xn.Affine(20, bias=False),
            xn.Sequential(xn.Tanh(), xn.Affine(10)),
        ).build((8, 8), **options)

    def rows(self, net):
        return [line.rsplit(maxsplit=3) for line in net.summary().splitlines()]

    def test_numbers_by_hand(self):
        rows = self.rows(self.net())
        found = {row[0].split("  ")[0]: tuple(int(n.replace(",", "")) for n in row[1:]) for row in rows[3:8] + rows[9:10]}
        residual = (2 * 30 * 30 + 30) + 30 + 30  # its affine layer, its ReLU, the sum
        assert found == {
            "0 Flatten()": (0, 0, 0),
            "1 Affine(n_out=30)": (1950, 2 * 64 * 30 + 30, 1950 * 4),
            "2 Residual(Affine(n_out=30), ReLU())": (930, residual, 930 * 4),
            "3 Affine(n_out=20, bias=False)": (600, 2 * 30 * 20, 600 * 4),
            "4 Sequential(Tanh(), Affine(n_out=10))": (210, 20 + 2 * 20 * 10 + 10, 210 * 4),
            "total": (3690, 3870 + residual + 1200 + 430, 3690 * 4),
        }

    def test_shapes_and_notes(self):
        lines = self.net().summary().splitlines()
        assert lines[0].split() == ["layer", "output", "shape", "parameters", "FLOPs/sample", "bytes"]
        assert [line[line.index("(N") :].split(")")[0] + ")" for line in lines[2:8]] == [
            "(N, 8, 8)",
            "(N, 64)",
            "(N, 30)",
            "(N, 30)",
            "(N, 20)",
            "(N, 10)",
        ]
        assert lines[-2] == "float32 on cpu"
        assert set(lines[1]) == set(lines[8]) == {"-"}
        assert max(map(len, lines)) <= 120

    def test_columns_are_aligned(self):
        lines = self.net().summary().splitlines()
        assert len({len(line) for line in [lines[0], lines[1], *lines[3:10]]}) == 1
        start = lines[0].index("output shape")
        assert all(line[start - 2 : start + 2] == "  (N" for line in lines[2:8])

    def test_float64_on_another_device_with_frozen_parameters(self):
        net = self.net(device="sim", dtype="float64")
        net.freeze("1", "2.0.b")
        lines = net.summary().splitlines()
        assert lines[-2] == "float64 on sim; 1,980 parameters frozen"
        assert lines[-3].split()[-1] == f"{3690 * 8:,}"

    def test_long_names_are_cut(self):
        text = xn.Sequential(xn.Sequential(*[xn.ReLU() for _ in range(30)])).build((3,)).summary()
        assert "..." in text
        assert max(map(len, text.splitlines())) <= 120

    def test_before_build(self):
        with pytest.raises(xn.NotBuilt):
            xn.Sequential(xn.Affine(2)).summary()

    def test_nothing_is_allocated_for_it(self, device):
        net = self.net(device=device)
        with allocations(device) as made:
            net.summary()
        assert made.count == 0


class TestRepr:
    @pytest.mark.parametrize(
        ("thing", "text"),
        [
            (xn.Sequential(xn.Affine(64), xn.ReLU(), xn.Affine(10)), "Sequential(Affine(n_out=64), ReLU(), Affine(n_out=10))"),
            (xn.Sequential(), "Sequential()"),
            (xn.Affine(3, bias=False, init=xn.initializers.glorot_uniform), "Affine(n_out=3, bias=False, init=glorot_uniform)"),
            (xn.Residual(xn.Affine(3), shortcut=xn.Affine(3)), "Residual(Affine(n_out=3), shortcut=Affine(n_out=3))"),
            (xn.Residual(xn.ReLU()), "Residual(ReLU())"),
            (xn.Dropout(0.1), "Dropout(rate=0.1)"),
            (xn.Dropout(), "Dropout()"),
            (xn.LeakyReLU(0.2), "LeakyReLU(slope=0.2)"),
            (xn.GELU("tanh"), "GELU(approximate='tanh')"),
            (xn.Adam(), "Adam()"),
            (xn.SGD(0.5), "SGD(learning_rate=0.5)"),
            (xn.SGD(0.5, clip_norm=2.0), "SGD(learning_rate=0.5, clip_norm=2.0)"),
            (xn.Momentum(0.1, l2=0.2), "Momentum(learning_rate=0.1, l2=0.2)"),
            (xn.SoftmaxCrossEntropy(label_smoothing=0.1), "SoftmaxCrossEntropy(label_smoothing=0.1)"),
            (xn.MeanSquaredError(), "MeanSquaredError()"),
            (xn.Adam(xn.Cosine(0.1, steps=5)), "Adam(learning_rate=Cosine(learning_rate=0.1, steps=5))"),
            (xn.EarlyStopping(3), "EarlyStopping(patience=3)"),
            (xn.device("sim"), "device('sim')"),
        ],
        ids=lambda a: a if isinstance(a, str) else "",
    )
    def test_repr(self, thing, text):
        assert repr(thing) == text

    def test_building_and_training_change_no_repr(self):
        net = mlp()
        assert repr(net) == "Sequential(Affine(n_out=6), Tanh(), Dropout(rate=0.25), Affine(n_out=3))"


class TestFrozen:
    @pytest.mark.parametrize(
        "optimizer",
        [xn.SGD(0.1), xn.Momentum(0.1), xn.Adam(0.1), xn.AdamW(0.1), xn.SGD(0.1, weight_decay=0.1, clip_norm=1.0)],
        ids=repr,
    )
    @pytest.mark.parametrize("names", [("0",), ("0.W",), ("3.b", "0.b"), ("0", "3")], ids=str)
    def test_frozen_parameters_keep_their_bytes(self, device, optimizer, names):
        trainer = make_trainer(device, copy.deepcopy(optimizer)).build((4,))
        trainer.net.freeze(*names)
        before = trainer.net.parameters.snapshot()
        trainer.fit(*classes_data(40), epochs=2)
        for name, a in trainer.net.parameters.snapshot().items():
            frozen = any(name == n or name.startswith(n + ".") for n in names)
            assert (a == before[name]).all() == frozen, name
            assert trainer.net.parameters[name].frozen == frozen

    def test_unfrozen_parameters_go_on(self, device):
        trainer = make_trainer(device).build((4,))
        x, y = classes_data(40)
        trainer.net.freeze("0")
        trainer.fit(x, y)
        middle = trainer.net.parameters.snapshot()
        trainer.net.unfreeze("0.W")
        trainer.fit(x, y)
        after = trainer.net.parameters.snapshot()
        assert {name: (a != middle[name]).any() for name, a in after.items()} == {
            "0.W": True,
            "0.b": False,
            "3.W": True,
            "3.b": True,
        }

    def test_gradients_of_frozen_parameters_are_still_computed_and_not_clipped_with(self, device):
        """The norm is that of what is updated: freezing the rest makes the clipped step longer."""
        x, y = (device.put(a) for a in classes_data(20))
        lengths = []
        for frozen in (False, True):
            net = mlp(device=device)
            if frozen:
                net.freeze("0")
            before = net.parameters.snapshot()
            run_step(net, xn.SoftmaxCrossEntropy(), xn.SGD(1.0, clip_norm=1e-3), x, y)
            after = net.parameters.snapshot()
            lengths.append(np.sqrt(sum(((after[n] - before[n]).astype(float) ** 2).sum() for n in after)))
            assert device.get(net.parameters["0.W"].grad).any()
        np.testing.assert_allclose(lengths, 1e-3, rtol=0.01)

    def test_everything_frozen(self, device):
        trainer = make_trainer(device).build((4,))
        trainer.net.freeze("0", "3")
        before = bits(trainer)
        trainer.fit(*classes_data(20))
        assert bits(trainer) == before
