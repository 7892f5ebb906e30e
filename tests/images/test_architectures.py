"""Networks from the literature: their parameter counts, output shapes, a step on every device, mistakes."""

import numpy as np
import pytest

import xpnet as xn
from xpnet import architectures
from xpnet.parameters import Maker

COUNTS = {  # as the papers and other libraries have them
    "lenet": ((28, 28, 1), 10, 431_080),
    "vgg": ((32, 32, 3), 10, 591_466),
    "vgg16": ((224, 224, 3), 1000, 138_357_544),
    "resnet": ((32, 32, 3), 10, 272_474),
    "resnet18": ((224, 224, 3), 1000, 11_689_512),
}


def declared(net, shape):
    """Per-sample output shape and the number of trainable elements, of which none is allocated."""
    make = Maker()
    output = net.build(shape, make)
    return output, sum(p.size for p in make.entries if p.trainable)


@pytest.mark.parametrize("name", COUNTS)
def test_counts_and_output_shapes(name):
    shape, classes, count = COUNTS[name]
    assert declared(getattr(architectures, name)(), shape) == ((classes,), count)
    assert f"{count:,} parameters" in getattr(architectures, name).__doc__.replace("\n    ", " ")


@pytest.mark.parametrize("name", COUNTS)
def test_other_numbers_of_classes(name):
    shape, classes, count = COUNTS[name]
    units = {"lenet": 500, "vgg": 128, "vgg16": 4096, "resnet": 64, "resnet18": 512}[name]
    assert declared(getattr(architectures, name)(7), shape) == ((7,), count - (classes - 7) * (units + 1))


@pytest.mark.parametrize("blocks", [1, 3, 5])
def test_a_resnet_has_6_blocks_and_2_layers(blocks):
    net = architectures.resnet(blocks=blocks)
    body = [layer for layer in net.walk() if isinstance(layer, xn.Conv2d | xn.Affine)]
    shortcuts = [layer for layer in body if isinstance(layer, xn.Conv2d) and layer.kernel == 1]
    assert (len(body) - len(shortcuts), len(shortcuts)) == (6 * blocks + 2, 2)


def test_a_resnet_halves_images_at_the_stages():
    net = architectures.resnet(widths=(4, 8, 16), blocks=2).build((16, 12, 3))
    assert [shape for i, shape in enumerate(net.shapes) if shape not in net.shapes[:i]] == [
        (16, 12, 3),
        (16, 12, 4),
        (8, 6, 8),
        (4, 3, 16),
        (16,),
        (10,),
    ]


def test_convolutions_before_normalisation_have_no_bias():
    for net in (architectures.vgg(), architectures.resnet(), architectures.resnet18()):
        convolutions = [layer for layer in net.walk() if isinstance(layer, xn.Conv2d)]
        assert convolutions
        assert not any(layer.bias for layer in convolutions)
    assert all(layer.bias for layer in architectures.vgg16().walk() if isinstance(layer, xn.Conv2d))


SMALL = {
    "lenet": (lambda: architectures.lenet(3), (20, 16, 1)),
    "vgg": (lambda: architectures.vgg(3, widths=(4, "pool", 8, "pool"), hidden=6), (9, 8, 2)),
    "resnet": (lambda: architectures.resnet(3, widths=(4, 8), blocks=1), (8, 8, 3)),
}


@pytest.mark.parametrize("name", SMALL)
def test_steps_lower_the_loss_and_change_every_parameter(name, device, rng):
    make, shape = SMALL[name]
    trainer = xn.Trainer(make(), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Momentum(0.002), device=device).build(shape)
    before = trainer.net.parameters.snapshot()
    x, y = device.put(rng.standard_normal((6, *shape)), "float32"), device.put(np.arange(6) % 3)
    losses = [float(device.get(trainer.step(x, y))) for _ in range(6)]
    assert np.isfinite(losses).all()
    assert losses[-1] < losses[0]
    for key, value in trainer.net.parameters.snapshot().items():
        assert np.isfinite(value).all()
        assert (value != before[key]).any(), key


@pytest.mark.parametrize("name", SMALL)
def test_predictions(name, rng):
    make, shape = SMALL[name]
    net = make().build(shape)
    x = rng.standard_normal((3, *shape)).astype("float32")
    found = net.predict(x)
    assert (found.shape, found.dtype) == ((3, 3), "float32")
    assert np.isfinite(found).all()
    np.testing.assert_allclose(net.predict(x[1:2])[0], found[1], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", SMALL)
def test_gradients(name, device):
    make, shape = SMALL[name]
    assert xn.gradcheck(make(), shape, loss=xn.SoftmaxCrossEntropy(), batch=3, directions=2, device=device, tolerance=1e-5)


def test_residual_networks_are_named_by_their_places():
    net = architectures.resnet(widths=(4, 8), blocks=1).build((8, 8, 3))
    assert {"0.W", "3.0.W", "5.shortcut.0.W", "5.shortcut.1.gamma", "8.b"} < set(net.parameters)


class TestMistakes:
    @pytest.mark.parametrize("make", [architectures.lenet, architectures.vgg, architectures.resnet])
    @pytest.mark.parametrize("classes", [0, -1, 2.5, "10"])
    def test_numbers_of_classes(self, make, classes):
        with pytest.raises(ValueError, match=rf"^Affine\(n_out={classes!r}\): it is a whole number from 1 on$"):
            make(classes)

    @pytest.mark.parametrize(
        ("name", "shape", "message"),
        [
            ("lenet", (8, 8, 1), r"^Conv2d\(n_out=50, kernel=5\): a window reaches over \(5, 5\) pixels.* \(2, 2\)"),
            ("vgg", (3, 3, 3), r"^MaxPool2d\(kernel=2\): a window reaches over \(2, 2\) pixels.* \(1, 1\)"),
            ("vgg16", (16, 16, 3), r"^MaxPool2d\(kernel=2\): a window reaches over \(2, 2\) pixels.* \(1, 1\)"),
            ("lenet", (28, 28), r"put Reshape\(\(28, 28, 1\)\) before it$"),
        ],
    )
    def test_images_that_are_too_small_or_none(self, name, shape, message):
        with pytest.raises(ValueError, match=message):
            getattr(architectures, name)().build(shape, Maker())

    def test_a_width_that_is_no_number(self):
        with pytest.raises(ValueError, match=r"^vgg\(widths=.*'pol'"):
            architectures.vgg(widths=(32, "pol"))

    @pytest.mark.parametrize("options", [{"widths": ()}, {"blocks": 0}, {"blocks": -1}, {"blocks": 1.5}], ids=str)
    def test_resnets_without_stages_or_blocks(self, options):
        with pytest.raises(ValueError, match=rf"^resnet\({next(iter(options))}="):
            architectures.resnet(**options)
