"""Layers that move images or add noise at random: what may come out, modes, adjoints, the same bytes on every device."""

import numpy as np
import pytest
from helpers import close, frozen, network, run

import xpnet as xn

SHAPE = (6, 5, 2)
MOVES = {
    "RandomShift": lambda: xn.RandomShift(2),
    "RandomFlip": xn.RandomFlip,
    "RandomCrop": lambda: xn.RandomCrop((4, 3)),
    "RandomCrop-padding": lambda: xn.RandomCrop((6, 5), padding=2),
    "RandomCrop-wide": lambda: xn.RandomCrop((8, 7), padding=2),
}
every_move = pytest.mark.parametrize("kind", MOVES)


def window(x, top, left, height, width):
    """Part of an image (H, W, C) from row ``top`` and column ``left`` on, which may lie outside: zeros there."""
    padded = np.zeros((height, width, x.shape[2]))
    for i in range(height):
        for j in range(width):
            if 0 <= top + i < x.shape[0] and 0 <= left + j < x.shape[1]:
                padded[i, j] = x[top + i, left + j]
    return padded


def permitted(kind, x):
    """All that may become of an image."""
    if kind == "RandomFlip":
        return [x, x[:, ::-1]]
    if kind == "RandomShift":
        return [window(x, i, j, 6, 5) for i in range(-2, 3) for j in range(-2, 3)]
    if kind == "RandomCrop":
        return [window(x, i, j, 4, 3) for i in range(3) for j in range(3)]
    if kind == "RandomCrop-padding":
        return [window(x, i, j, 6, 5) for i in range(-2, 3) for j in range(-2, 3)]
    return [window(x, i, j, 8, 7) for i in range(-2, 1) for j in range(-2, 1)]


def built(kind, device, dtype="float64", seed=0):
    return network(MOVES[kind](), SHAPE, device, dtype, seed=seed)


def which(kind, x, y):
    """For each image the number of the permitted outcome that it is."""
    found = []
    for image, out in zip(x, y, strict=True):
        places = [i for i, other in enumerate(permitted(kind, image)) if np.array_equal(other, out)]
        assert len(places) == 1
        found += places
    return found


class TestMoves:
    @every_move
    def test_outputs_are_permitted_and_all_occur(self, kind, device, rng):
        net, x = built(kind, device), rng.standard_normal((100, *SHAPE))
        choices = len(permitted(kind, x[0]))
        seen = [which(kind, x, run(net, x).y) for _ in range(4)]
        counts = np.bincount(np.ravel(seen), minlength=choices)
        expected = 400 / choices
        assert (np.abs(counts - expected) < 5 * np.sqrt(expected)).all()
        assert len(set(map(tuple, seen))) == 4  # anew in each step
        assert all(len(set(one)) > 1 for one in seen)  # each image its own

    @every_move
    def test_the_gradient_is_the_adjoint(self, kind, device, rng):
        """<move(x), dy> = <x, gradient(dy)>, and every pixel of dy that came from the image goes back to it."""
        net, x = built(kind, device), rng.standard_normal((20, *SHAPE))
        dy = rng.standard_normal((20, *net.output_shape))
        for _ in range(3):
            found = run(net, x, dy)
            for i in range(20):
                assert abs((found.y[i] * dy[i]).sum() - (x[i] * found.dx[i]).sum()) < 1e-12

    @every_move
    def test_gradients(self, kind, device):
        assert xn.gradcheck(MOVES[kind](), SHAPE, batch=4, directions=8, device=device)

    @every_move
    def test_of_one_seed_are_the_same_bytes_on_every_device(self, kind, rng):
        x = rng.standard_normal((10, *SHAPE)).astype("float32")
        ends = [[run(built(kind, xn.device(name), "float32", seed=5), x) for name in ("cpu", "sim")] for _ in range(2)]
        assert len({found.y.tobytes() for pair in ends for found in pair}) == 1
        assert len({found.dx.tobytes() for pair in ends for found in pair}) == 1
        assert run(built(kind, xn.device("cpu"), "float32", seed=6), x).y.tobytes() != ends[0][0].y.tobytes()

    @every_move
    def test_of_a_step_follow_its_number(self, kind, device, rng):
        net, x = built(kind, device), device.put(rng.standard_normal((10, *SHAPE)))
        first, second, again = (device.get(net.forward(x, net.step(training=True, number=n))[0]) for n in (3, 4, 3))
        assert again.tobytes() == first.tobytes() != second.tobytes()

    @every_move
    def test_of_a_row_do_not_depend_on_how_many_there_are(self, kind, device, rng):
        net, x = built(kind, device), device.put(rng.standard_normal((10, *SHAPE)))
        whole = device.get(net.forward(x, net.step(training=True, number=0))[0])
        part = device.get(net.forward(x[4:6], net.step(training=True, number=0, row=4))[0])
        np.testing.assert_array_equal(part, whole[4:6])

    @every_move
    def test_leave_the_input_alone(self, kind, rng):
        net, x = built(kind, xn.device("cpu")), rng.standard_normal((10, *SHAPE))
        frozen(lambda: run(net, x), x)

    @every_move
    def test_of_an_empty_batch(self, kind, device):
        net = built(kind, device)
        found = run(net, np.zeros((0, *SHAPE)))
        assert (found.y.shape, found.dx.shape) == ((0, *net.output_shape), (0, *SHAPE))

    @every_move
    def test_float32_stays_float32(self, kind, device, rng):
        found = run(built(kind, device, "float32"), rng.standard_normal((2, *SHAPE)))
        assert (found.y.dtype, found.dx.dtype) == ("float32", "float32")

    def test_two_of_one_network_are_apart(self, device, rng):
        x = rng.standard_normal((60, *SHAPE))
        twice = run(network(xn.Sequential(xn.RandomFlip(), xn.RandomFlip()), SHAPE, device), x).y
        kept = [np.array_equal(a, b) for a, b in zip(x, twice, strict=True)]
        assert 15 < sum(kept) < 45

    def test_nan_outside_the_window_stays_there(self, device):
        x = np.zeros((40, *SHAPE))
        x[:, 0, 0] = np.nan
        found = run(network(xn.RandomCrop((5, 4)), SHAPE, device), x).y
        assert {int(np.isnan(image).sum()) for image in found} == {0, 2}


class TestEvaluation:
    @pytest.mark.parametrize("kind", ["RandomShift", "RandomFlip", "RandomCrop-padding"])
    def test_leaves_images_as_they_are(self, kind, device, rng):
        net, x = built(kind, device), rng.standard_normal((10, *SHAPE))
        found = run(net, x, x, training=False)
        np.testing.assert_array_equal(found.y, x)
        np.testing.assert_array_equal(found.dx, x)
        np.testing.assert_array_equal(net.predict(x), x)

    @pytest.mark.parametrize(
        ("size", "padding", "top", "left"), [((4, 3), 0, 1, 1), ((3, 2), 1, 1, 1), (5, 0, 0, 0), ((8, 7), 2, -1, -1)]
    )
    def test_takes_the_middle(self, size, padding, top, left, device, rng):
        net, x = network(xn.RandomCrop(size, padding=padding), SHAPE, device), rng.standard_normal((3, *SHAPE))
        height, width, _ = net.output_shape
        dy = rng.standard_normal((3, height, width, 2))
        found = run(net, x, dy, training=False)
        np.testing.assert_array_equal(found.y, [window(image, top, left, height, width) for image in x])
        np.testing.assert_array_equal(found.dx, [window(part, -top, -left, 6, 5) for part in dy])
        np.testing.assert_array_equal(net.predict(x), found.y)


class TestNoise:
    def test_mean_and_deviation(self, device):
        x = np.full((50, 40, 40, 3), 2.0)
        noise = run(network(xn.GaussianNoise(0.5), x.shape[1:], device), x).y - 2
        assert abs(noise.mean()) < 4 * 0.5 / noise.size**0.5
        assert abs(noise.std() / 0.5 - 1) < 4 / (2 * noise.size) ** 0.5
        assert abs((noise**4).mean() / 0.5**4 - 3) < 0.1
        flat = noise.reshape(50, -1)
        assert abs((flat[:, 1:] * flat[:, :-1]).mean()) < 4 * 0.25 / noise.size**0.5
        assert len({row.tobytes() for row in flat}) == 50

    def test_odd_numbers_of_elements(self, device):
        noise = run(network(xn.GaussianNoise(1.0), (3,), device), np.zeros((4000, 3))).y
        close(np.cov(noise.T), np.eye(3), 0.1)

    def test_evaluation_and_std_0_leave_the_input(self, device, rng):
        x = rng.standard_normal((4, 3, 3, 2))
        np.testing.assert_array_equal(run(network(xn.GaussianNoise(0.5), (3, 3, 2), device), x, training=False).y, x)
        np.testing.assert_array_equal(run(network(xn.GaussianNoise(0), (3, 3, 2), device), x).y, x)

    def test_gradients_pass_through(self, device, rng):
        dy = rng.standard_normal((4, 3, 3, 2))
        np.testing.assert_array_equal(run(network(xn.GaussianNoise(0.5), (3, 3, 2), device), dy, dy).dx, dy)
        assert xn.gradcheck(xn.Sequential(xn.GaussianNoise(0.5), xn.Tanh(), xn.Affine(2)), (4,), device=device)

    @pytest.mark.parametrize("shape", [(5,), (4, 4, 3)])
    def test_of_one_seed_is_the_same_on_every_device(self, shape):
        x = np.zeros((10, *shape), "float32")
        ends = [run(network(xn.GaussianNoise(0.5), shape, xn.device(d), "float32", seed=5), x).y for d in ("cpu", "sim", "cpu")]
        assert len({y.tobytes() for y in ends}) == 1
        assert (
            run(network(xn.GaussianNoise(0.5), shape, xn.device("cpu"), "float32", seed=6), x).y.tobytes() != ends[0].tobytes()
        )

    def test_is_another_in_each_step_and_follows_its_number(self, device):
        net, x = network(xn.GaussianNoise(0.5), (6,), device), device.put(np.zeros((3, 6)))
        first, second, again = (device.get(net.forward(x, net.step(training=True, number=n))[0]) for n in (0, 1, 0))
        assert again.tobytes() == first.tobytes() != second.tobytes()
        part = device.get(net.forward(x[1:2], net.step(training=True, number=0, row=1))[0])
        np.testing.assert_array_equal(part, first[1:2])

    def test_leaves_the_input_alone_and_float32_as_it_is(self, device):
        net, x = network(xn.GaussianNoise(0.5), (6,), device, "float32"), np.zeros((3, 6), "float32")
        assert frozen(lambda: run(net, x), x).y.dtype == "float32"

    def test_an_empty_batch(self, device):
        assert run(network(xn.GaussianNoise(0.5), (6, 2), device), np.zeros((0, 6, 2))).y.shape == (0, 6, 2)


class TestArguments:
    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: xn.GaussianNoise(-1), r"^GaussianNoise\(std=-1\): it is a finite number from 0 on$"),
            (lambda: xn.GaussianNoise("much"), r"^GaussianNoise\(std='much'\): it is a finite number from 0 on$"),
            (lambda: xn.RandomShift(0), r"^RandomShift\(pixels=0\): it is a whole number from 1 on$"),
            (lambda: xn.RandomShift(1.5), r"^RandomShift\(pixels=1.5\): it is a whole number from 1 on$"),
            (lambda: xn.RandomCrop(0), r"^RandomCrop\(size=0\): a whole number from 1 on, or a pair of them"),
            (lambda: xn.RandomCrop((4, 4, 4)), r"^RandomCrop\(size=\(4, 4, 4\)\): a whole number from 1 on"),
            (lambda: xn.RandomCrop(4, padding=-1), r"^RandomCrop\(padding=-1\).* whole number from 0 on"),
            (lambda: xn.RandomCrop(4, padding=(1, 2)), r"^RandomCrop\(padding=\(1, 2\)\).* whole number from 0 on"),
        ],
    )
    def test_wrong_ones(self, make, message):
        with pytest.raises(ValueError, match=message):
            make()

    @pytest.mark.parametrize(("size", "padding"), [(7, 0), ((6, 6), 0), ((11, 5), 2)])
    def test_a_part_larger_than_the_padded_image(self, size, padding):
        message = r"^RandomCrop\(size=.*\): the part is larger than the images, 6x5 and their padding$"
        with pytest.raises(ValueError, match=message):
            xn.Sequential(xn.RandomCrop(size, padding=padding)).build(SHAPE)

    @every_move
    def test_samples_that_are_no_images(self, kind):
        message = (
            r"needs images \(N, height, width, channels\), the samples here have shape \(6, 5\); put Reshape\(\(6, 5, 1\)\)"
        )
        with pytest.raises(ValueError, match=message):
            xn.Sequential(MOVES[kind]()).build((6, 5))


def test_a_network_with_all_of_them_trains_alike_on_cpu_and_sim(rng):
    x, y, losses = rng.standard_normal((8, 8, 8, 1)), rng.integers(0, 2, 8), []
    for name in ("cpu", "sim"):
        net = xn.Sequential(
            *(xn.RandomShift(1), xn.RandomFlip(), xn.RandomCrop(6, padding=1)),
            *(xn.Conv2d(3, 3), xn.ReLU(), xn.GlobalAvgPool2d(), xn.Affine(2)),
        )
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=name, dtype="float64")
        device = trainer.build((8, 8, 1)).device
        losses.append([float(device.get(trainer.step(device.put(x), device.put(y)))) for _ in range(4)])
    close(losses[0], losses[1], 1e-12)
    assert len(set(losses[0])) == 4
