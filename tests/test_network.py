"""Networks: building, predicting, moving."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from core_helpers import allocations, bits, classes_data, exact, mlp, run_step
from network_helpers import ROWS, make_trainer, pickled

import xpnet as xn


class TestBuild:
    @pytest.mark.parametrize(
        ("shape", "expected"), [(4, (4,)), ((4,), (4,)), ([2, 3], (2, 3)), ((np.int64(5),), (5,))], ids=str
    )
    def test_input_shapes(self, shape, expected):
        net = xn.Sequential(xn.Affine(2)).build(shape)
        assert net.input_shape == expected
        assert all(type(n) is int for n in net.input_shape)
        assert net.output_shape == (*expected[:-1], 2)
        assert net.built

    def test_returns_itself(self, device):
        net = xn.Sequential(xn.Affine(2))
        assert net.build((3,), device=device) is net
        assert net.device is device

    @pytest.mark.parametrize(
        ("shape", "options", "error", "message"),
        [
            ((0,), {}, ValueError, r"input_shape=\(0,\): a tuple of whole numbers from 1 on"),
            ((-3,), {}, ValueError, r"input_shape=\(-3,\)"),
            ((2.5,), {}, ValueError, r"input_shape=\(2\.5,\)"),
            ((None, 4), {}, ValueError, r"without the batch axis, for instance \(64,\)"),
            ((), {}, ValueError, r"Affine\(2\) needs inputs of shape \(N, \.\.\., n_in\)"),
            ((4,), {"dtype": "float16"}, ValueError, r"dtype='float16'\): choose one of float32, float64"),
            ((4,), {"dtype": "int64"}, ValueError, r"dtype='int64'\): choose one of float32, float64"),
            ((4,), {"device": "gpu"}, ValueError, r"no device is called 'gpu'.*did you mean 'cuda'\?"),
            ((4,), {"device": None}, TypeError, r"a device is given by name \('cpu'.*not as NoneType"),
        ],
        ids=["zero", "negative", "fraction", "batch axis", "no axis", "half", "integers", "device", "no device"],
    )
    def test_refused(self, shape, options, error, message):
        net = xn.Sequential(xn.Affine(2))
        with pytest.raises(error, match=message):
            net.build(shape, **options)
        assert not net.built

    def test_an_empty_network_is_refused(self):
        with pytest.raises(ValueError, match=r"Sequential\(\) has no layers"):
            xn.Sequential().build((4,))

    @pytest.mark.parametrize(
        ("shape", "options"),
        [((0,), {}), ((4,), {"dtype": "float16"}), ((4,), {"device": "gpu"}), ((5,), {})],
        ids=["shape", "dtype", "device", "a layer refuses the shape"],
    )
    def test_a_refused_rebuild_leaves_the_network_as_it_was(self, shape, options):
        net = xn.Sequential(xn.Residual(xn.Affine(4)), xn.Affine(2)).build((4,))
        x = classes_data(5)[0]
        before, outputs = bits(net), net.predict(x)
        with pytest.raises(ValueError, match=r"input_shape|dtype|device|Residual: the body"):
            net.build(shape, **options)
        assert net.built
        assert bits(net) == before
        assert net.input_shape == (4,)
        np.testing.assert_array_equal(net.predict(x), outputs)

    def test_rebuild_for_other_shape_dtype_and_device(self, device):
        net = mlp(device=device)
        run_step(net, xn.SoftmaxCrossEntropy(), xn.SGD(0.1), *(device.put(a) for a in classes_data(6)))
        net.build((7,), device=device, dtype="float64", seed=1)
        assert (net.input_shape, net.parameters.dtype.name, net.seed, net.steps_begun) == ((7,), "float64", 1, 0)
        x, y = classes_data(6, 7)
        result = run_step(net, xn.SoftmaxCrossEntropy(), xn.SGD(0.1), device.put(x, "float64"), device.put(y))
        assert result.logits.dtype == "float64"
        assert net.predict(x).dtype == "float64"

    def test_rebuild_starts_afresh(self, device):
        first = make_trainer(device)
        x, y = classes_data(40)
        first.fit(x, y, epochs=2)
        again = xn.Trainer(
            first.net.build((4,), device=device, seed=3),
            loss=first.loss,
            device=device,
            seed=3,
            optimizer=xn.Adam(xn.Cosine(0.01, steps=100), clip_norm=1.0, l2=1e-3),
        )
        fresh = bits(again)
        assert fresh == bits(make_trainer(device).build((4,)))
        again.fit(x, y, epochs=2)
        ends = bits(again)
        third = make_trainer(device)
        third.fit(x, y, epochs=2)
        assert ends == bits(third)

    def test_unbuild(self):
        net = mlp()
        net.unbuild()
        assert not net.built
        with pytest.raises(xn.NotBuilt, match=r"call net\.build\(\(features,\)\)"):
            net.predict(np.zeros((1, 4)))

    @pytest.mark.parametrize("ask", ["parameters", "device", "input_shape", "output_shape", "seed"])
    def test_what_a_network_knows_before_build(self, ask):
        with pytest.raises((xn.NotBuilt, AttributeError)):
            getattr(xn.Sequential(xn.Affine(2)), ask)

    def test_dtypes_by_any_spelling(self):
        for dtype in ("float64", np.float64, np.dtype("float64"), "f8", float):
            assert xn.Sequential(xn.Affine(2)).build((2,), dtype=dtype).parameters.dtype == np.float64


INPUTS = [
    ("host array", lambda d: ROWS),
    ("device array", lambda d: d.put(ROWS)),
    ("read-only", lambda d: read_only(ROWS)),
    ("Fortran order", lambda d: np.asfortranarray(ROWS)),
    ("non-contiguous", lambda d: np.repeat(np.repeat(ROWS, 2, axis=0), 2, axis=1)[::2, ::2]),
    ("backwards", lambda d: ROWS[::-1, ::-1].copy()[::-1, ::-1]),
    ("list", lambda d: ROWS.tolist()),
    ("list of arrays", lambda d: list(ROWS)),
    ("tuple", lambda d: tuple(map(tuple, ROWS.tolist()))),
    ("float64", lambda d: ROWS.astype(np.float64)),
    ("float64 on the device", lambda d: d.put(ROWS, "float64")),
    ("big-endian", lambda d: ROWS.astype(">f4")),
    ("unaligned", lambda d: unaligned(ROWS)),
    ("subclass", lambda d: ROWS.view(type("Mine", (np.ndarray,), {}))),
]


def read_only(a):
    a = a.copy()
    a.flags.writeable = False
    return a


def unaligned(a):
    memory = np.empty(a.nbytes + 1, np.uint8)[1:]
    view = memory.view(a.dtype).reshape(a.shape)
    view[...] = a
    return view


class TestPredict:
    @pytest.mark.parametrize("make", [row[1] for row in INPUTS], ids=[row[0] for row in INPUTS])
    def test_any_rows_give_the_same_outputs(self, device, make):
        net = mlp(device=device)
        rows = make(device)
        found = net.predict(rows)
        assert type(found) is np.ndarray
        assert (found.dtype, found.shape, found.flags.writeable) == (np.float32, (50, 3), True)
        np.testing.assert_allclose(found, net.predict(ROWS), rtol=1e-6, atol=1e-6)

    @pytest.mark.parametrize("dtype", ["uint8", "int8", "int64", "bool", "float16"])
    @pytest.mark.parametrize("home", ["host", "device"])
    def test_whole_numbers_are_converted(self, device, dtype, home):
        net = mlp(device=device)
        whole = np.arange(40).reshape(10, 4) % 2
        rows = whole.astype(dtype)
        found = net.predict(rows if home == "host" else device.put(rows))
        np.testing.assert_array_equal(found, net.predict(whole.astype(np.float32)))

    @pytest.mark.parametrize("batch_size", [1, 7, 49, 50, 51, 10_000, None, np.int64(8)])
    def test_batch_sizes(self, device, batch_size):
        net = mlp(device=device)
        step = net.step(training=False)
        whole = device.get(net.forward(device.put(ROWS), step)[0])
        np.testing.assert_allclose(net.predict(ROWS, batch_size), whole, rtol=1e-5, atol=1e-6)

    def test_more_rows_than_one_part(self, device):
        net = mlp(device=device)
        rows = np.tile(ROWS, (45, 1))  # 2250: two full parts and a rest
        np.testing.assert_allclose(net.predict(rows), np.tile(net.predict(ROWS), (45, 1)), rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
    def test_no_rows_give_no_outputs(self, device, dtype):
        rows = np.empty((0, 4), dtype)
        for given in (rows, device.put(rows)):
            found = mlp(device=device).predict(given)
            assert (type(found), found.shape, found.dtype) == (np.ndarray, (0, 3), np.float32)

    def test_outputs_are_the_callers_own(self, device):
        net = xn.Sequential(xn.Identity()).build((4,), device=device)
        rows = ROWS.copy()
        found = net.predict(rows)
        found[...] = 0
        np.testing.assert_array_equal(rows, ROWS)
        first = mlp(device=device).predict(ROWS)
        kept = first.copy()
        mlp(device=device, seed=1).predict(ROWS)
        np.testing.assert_array_equal(first, kept)

    def test_nothing_changes(self, device):
        net, rows = mlp(device=device), ROWS.copy()
        before = (bits(net), net.steps_begun, net.parameters.version, device.get(net.parameters.grad).tobytes())
        net.predict(rows)
        assert (bits(net), net.steps_begun, net.parameters.version, device.get(net.parameters.grad).tobytes()) == before
        np.testing.assert_array_equal(rows, ROWS)

    def test_dropout_is_off(self, device):
        net = xn.Sequential(xn.Dropout(0.9)).build((4,), device=device)
        np.testing.assert_array_equal(net.predict(ROWS), ROWS)

    def test_samples_of_higher_rank(self, device, rng):
        net = xn.Sequential(xn.Affine(5), xn.Flatten(), xn.Affine(2)).build((3, 4), device=device)
        assert net.predict(rng.standard_normal((6, 3, 4))).shape == (6, 2)

    @pytest.mark.parametrize("batch_size", [0, -1, 2.5, "8", True], ids=repr)
    def test_batch_sizes_refused(self, device, batch_size):
        with pytest.raises(ValueError, match=rf"batch_size={batch_size!r}: it is a whole number from 1 on"):
            mlp(device=device).predict(ROWS, batch_size)

    @pytest.mark.parametrize(
        ("rows", "error", "message"),
        [
            (ROWS[0], ValueError, r"x has shape \(4,\), the network was built for \(N, 4\); .* batch of one: x\[None\]"),
            (ROWS[:, :3], ValueError, r"x has shape \(50, 3\), the network was built for \(N, 4\)"),
            (ROWS[None], ValueError, r"x has shape \(1, 50, 4\), the network was built for \(N, 4\)"),
            (np.array([["a"] * 4]), TypeError, r"x: values of type <U1 are not numbers"),
            (np.array([[None] * 4]), TypeError, r"x: values of type object are not numbers"),
            (ROWS.astype(complex), TypeError, r"x: values of type complex128 are not numbers"),
        ],
        ids=["one sample", "features", "axis too many", "strings", "objects", "complex"],
    )
    def test_rows_refused(self, device, rows, error, message):
        with pytest.raises(error, match=message):
            mlp(device=device).predict(rows)


def alike(found, expected, device):
    """The same bits, where the device's are NumPy's."""
    tolerance = 0 if exact(device) else 1e-5
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


class TestMoving:
    @pytest.mark.parametrize("target", ["cpu", "sim", "sim:1", xn.device("sim:2")], ids=str)
    def test_parameters_and_outputs_stay_the_same(self, device, target):
        net = mlp(device=device)
        before, outputs = bits(net), net.predict(ROWS)
        assert net.to(target) is net
        assert net.device == xn.device(target)
        assert bits(net) == before
        alike(net.predict(ROWS), outputs, device)
        assert all(net.device.owns(p.value) for p in net.parameters.values())

    @pytest.mark.parametrize("target", ["cpu", "sim", "sim:1"])
    def test_training_goes_on_where_it_was(self, device, target):
        x, y = classes_data(40)
        ends = []
        for moves in (False, True):
            net, loss, optimizer = mlp(device=device), xn.SoftmaxCrossEntropy(), xn.Adam(0.01, clip_norm=1.0)
            for part in range(4):
                if moves and part == 2:
                    net.to(target)
                rows = slice(10 * part, 10 * part + 10)
                run_step(net, loss, optimizer, net.device.put(x[rows]), net.device.put(y[rows]))
            ends.append(net.device.get(net.parameters.value))
        alike(*ends, device)

    def test_buffers_of_a_pass_begun_before_the_move_do_not_come_along(self):
        """The step of before the move is still alive when the next pass on the new device begins."""
        net = mlp(device="cpu")
        old = net.step(training=True)
        held = net.forward(ROWS, old)
        net.to("sim")
        rows = net.device.put(ROWS)
        new = net.step(training=True)
        net.forward(rows, new)
        del old, held
        outputs, _ = net.forward(rows, net.step(training=True))
        assert net.device.owns(outputs)

    def test_to_the_same_device_keeps_buffers_and_vectors(self, device):
        net = mlp(device=device)
        x, y = (device.put(a) for a in classes_data(6))
        optimizer = xn.SGD(0.1)
        for _ in range(2):
            run_step(net, xn.SoftmaxCrossEntropy(), optimizer, x, y)
        version = net.parameters.version
        net.to(device)
        with allocations(device) as made:
            run_step(net, xn.SoftmaxCrossEntropy(), optimizer, x, y)
        assert made.count == 0
        assert net.parameters.version == version

    def test_two_devices_in_one_process(self):
        nets = [mlp(device=name) for name in ("cpu", "sim", "sim:1", "sim:2")]
        optimizers = [xn.Adam() for _ in nets]
        x, y = classes_data(20)
        for _ in range(3):
            for net, optimizer in zip(nets, optimizers, strict=True):
                with net.device.use():
                    run_step(net, xn.SoftmaxCrossEntropy(), optimizer, net.device.put(x), net.device.put(y))
        assert len({bits(net) for net in nets}) == 1

    @pytest.mark.parametrize("name", ["sim:1", "sim:3"])
    def test_a_device_that_is_not_the_current_one(self, name):
        """No ``with device.use()`` anywhere: everything of the library finds its device itself."""
        trainer, reference = make_trainer(name), make_trainer("cpu")
        x, y = classes_data(50)
        put = trainer.device.put
        for t, rows, labels in ((trainer, put(x), put(y)), (reference, x, y)):
            t.fit(rows, labels, epochs=2, batch_size=8, validation=(rows[:9], labels[:9]), early_stopping=5)
            t.partial_fit(rows[:1], labels[:1])
        assert bits(trainer) == bits(reference)
        assert trainer.evaluate(put(x), put(y)) == reference.evaluate(x, y)
        np.testing.assert_array_equal(trainer.predict(put(x)), reference.predict(x))
        np.testing.assert_array_equal(trainer.predict(put(x * 8, "float64")), reference.predict(x * 8))
        other = pickled(copy.deepcopy(trainer))
        other.fit(x, y, per_sample=True)
        reference.fit(x, y, per_sample=True)
        assert bits(other) == bits(reference)
        assert xn.gradcheck(mlp(), (4,), device=name)

    @pytest.mark.parametrize("name", ["gpu", "sim:9", "cuda:x"])
    def test_an_unknown_device_is_refused_and_the_network_stays(self, name):
        net = mlp()
        with pytest.raises(ValueError, match=r"no device is called|simulated GPUs"):
            net.to(name)
        assert net.device.name == "cpu"

    def test_before_build_there_is_nothing_to_move(self):
        with pytest.raises(xn.NotBuilt):
            xn.Sequential(xn.Affine(2)).to("cpu")
