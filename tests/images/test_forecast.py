"""The forecast of memory beside what a step then holds: the arenas to the byte, the process roughly."""

import subprocess
import sys

import numpy as np
import pytest
from block_helpers import network as everything

import xpnet as xn
from xpnet.forecast import forecast

NETWORKS = {
    "everything": (everything, (9, 8, 3), 4),
    "lenet": (xn.architectures.lenet, (28, 28, 1), 10),
    "vgg": (lambda: xn.architectures.vgg(widths=(8, "pool", 12)), (16, 16, 3), 10),
    "resnet": (lambda: xn.architectures.resnet(widths=(8, 16), blocks=1), (16, 16, 3), 10),
    "vectors": (lambda: xn.Sequential(xn.Affine(64), xn.BatchNorm(), xn.ReLU(), xn.Affine(10)), (20,), 10),
    "depthwise": (
        lambda: xn.Sequential(
            xn.Conv2d(6, 3, groups=6), xn.AvgPool2d(2), xn.Conv2d(4, (1, 3), stride=2), xn.Flatten(), xn.Affine(10)
        ),
        (12, 12, 6),
        10,
    ),
}
every_network = pytest.mark.parametrize("name", NETWORKS)


def trainer(name, device, dtype="float32"):
    make, shape, _ = NETWORKS[name]
    made = xn.Trainer(make(), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Momentum(1e-3), device=device, dtype=dtype)
    made.records.wanted = False  # the network's arenas then hold all
    return made.build(shape)


def train(made, name, rows, steps=3):
    rng, (_, shape, classes) = np.random.default_rng(0), NETWORKS[name]
    x = made.device.put(rng.standard_normal((rows, *shape)), made.net.parameters.dtype)
    y = made.device.put(rng.integers(0, classes, rows))
    for _ in range(steps):
        made.step(x, y)
    return x.nbytes


def held(net):
    """Bytes of what lives from layer to layer, and of scratch memory, in the one arena that training steps have left."""
    ((arena,),) = net.arenas._free.values()
    parts = list(arena.kin.values())
    kept = arena.nbytes + sum(part.kept_bytes for part in parts)
    return kept, arena.scratch.nbytes + sum(part.shared_bytes for part in parts)


class TestArenas:
    @every_network
    @pytest.mark.parametrize("rows", [1, 16])
    def test_hold_what_was_foretold(self, name, rows, device):
        if rows == 1 and name == "vectors":
            rows = 2
        made = trainer(name, device)
        told = forecast(made.net, rows)
        given = train(made, name, rows)
        kept, shared = held(made.net)
        outputs = 4 * rows * NETWORKS[name][2]
        assert kept == told.activations - given + outputs  # the loss's gradient
        assert told.workspace <= shared <= told.workspace + 3 * max(outputs, 64)  # and what it works in

    def test_in_float64_hold_twice_as_much(self, device):
        single, double = (forecast(trainer("resnet", device, dtype).net, 4) for dtype in ("float32", "float64"))
        assert double.parameters == 2 * single.parameters
        assert 1.8 * single.activations < double.activations <= 2 * single.activations
        made = trainer("resnet", device, "float64")
        given = train(made, "resnet", 4)
        assert held(made.net)[0] == double.activations - given + 8 * 4 * 10

    @every_network
    def test_vectors_are_counted(self, name, device):
        made = trainer(name, device)
        told, parameters = forecast(made.net, 2), made.net.parameters
        train(made, name, 2, steps=1)
        vectors = [parameters.value, parameters.grad, parameters.state]
        assert told.parameters == sum(a.nbytes for a in vectors)
        assert told.vector == sum(a.nbytes for a in made.optimizer.vectors.values())
        assert told.total == told.parameters + told.activations + told.workspace


class TestForecast:
    @every_network
    def test_changes_nothing(self, name, device):
        made, other = trainer(name, device), trainer(name, device)
        before = made.net.parameters.snapshot()
        for rows in (3, 12):
            forecast(made.net, rows)
        made.net.summary(5)
        for key, value in made.net.parameters.snapshot().items():
            np.testing.assert_array_equal(value, before[key])
        assert not made.net.arenas._free
        train(made, name, 4)
        train(other, name, 4)
        for key, value in other.net.parameters.snapshot().items():
            np.testing.assert_array_equal(made.net.parameters.snapshot()[key], value)

    def test_needs_no_memory_itself(self):
        """Four gigabytes, of which none is taken."""
        net = xn.Sequential(xn.Conv2d(64, 3, padding=1), xn.ReLU(), xn.GlobalAvgPool2d(), xn.Affine(10)).build((200, 200, 3))
        told = forecast(net, 200)
        assert told.activations > 2 * 200 * 200 * 200 * 64 * 4

    def test_grows_with_the_batch(self, device):
        made = trainer("lenet", device)
        few, many = forecast(made.net, 10), forecast(made.net, 40)
        assert (few.rows, many.rows) == (10, 40)
        assert few.parameters == many.parameters
        assert 3 * few.activations < many.activations <= 4 * few.activations  # transformed kernels do not grow

    def test_the_summary_ends_with_it(self, device):
        made = trainer("lenet", device)
        told = forecast(made.net, 20)
        assert made.net.summary(batch_size=20).splitlines()[-1] == str(told)
        assert str(told) == (
            f"forecast for a training step on 20 rows: {told.total / 1e6:,.1f} MB (parameters {told.parameters / 1e6:,.1f}, "
            f"activations {told.activations / 1e6:,.1f}, workspace {told.workspace / 1e6:,.1f}); "
            f"optimizer {told.vector / 1e6:,.1f} a vector"
        )

    def test_a_layer_in_plain_numpy_is_gone_through(self, device):
        class Centred(xn.Layer):
            def forward(self, x, step):
                return x - x.mean(axis=-1, keepdims=True), None

            def backward(self, dy, cache, step):
                return dy - dy.mean(axis=-1, keepdims=True)

        net = xn.Sequential(xn.Affine(8), Centred(), xn.Affine(2)).build((4,), device=device)
        assert forecast(net, 16).activations >= 4 * 16 * (4 + 8 + 2)

    def test_a_layer_that_cannot_be_is_told_in_the_summary(self, device):
        class Odd(xn.Layer):
            def forward(self, x, step):
                raise RuntimeError("not without numbers")

            def backward(self, dy, cache, step):
                return dy

        net = xn.Sequential(xn.Affine(8), Odd()).build((4,), device=device)
        assert net.summary().splitlines()[-1] == "no forecast of memory: RuntimeError: not without numbers"

    @pytest.mark.parametrize("size", [0, -1, 2.5, "32", True])
    def test_wrong_batch_sizes(self, size):
        net = xn.Sequential(xn.Affine(2)).build((4,))
        with pytest.raises(ValueError, match=r"^summary\(batch_size=.*\): it is a whole number from 1 on$"):
            net.summary(size)


PROCESS = """
from pathlib import Path

import numpy as np

import xpnet as xn
from xpnet.forecast import forecast


def status(name):
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith(name))
    return int(line.split()[1]) * 1024


net = xn.Sequential(
    *(xn.Conv2d(32, 3, padding=1, bias=False), xn.BatchNorm(), xn.ReLU(), xn.Conv2d(32, 3, padding=1), xn.ReLU()),
    *(xn.MaxPool2d(2), xn.Conv2d(64, 3, padding=1), xn.ReLU(), xn.GlobalAvgPool2d(), xn.Affine(10)),
)
before = status("VmRSS")
trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Momentum(0.01), device="cpu").build((48, 48, 3))
x, y = np.random.default_rng(0).standard_normal((64, 48, 48, 3), np.float32), np.zeros(64, int)
for _ in range(3):
    trainer.step(x, y)
grown = status("VmHWM") - before
told = forecast(net, 64)
print(grown, told.total + told.vector)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_a_process_grows_by_what_was_foretold():
    done = subprocess.run([sys.executable, "-c", PROCESS], capture_output=True, text=True, check=True)
    grown, told = map(int, done.stdout.split())
    assert told > 100e6
    assert abs(grown / told - 1) < 0.2
