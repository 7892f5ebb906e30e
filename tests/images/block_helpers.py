"""What the tests of batches in blocks share."""

import contextlib

import numpy as np

import xpnet as xn
from xpnet.backends.cpu import CPU
from xpnet.blocks import Cut

CPU_DEVICE = xn.device("cpu")


def images(n=12, size=(9, 8), channels=3, classes=4, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, *size, channels)).astype(np.float32), rng.integers(0, classes, n)


def network():
    """Everything that meets in a batch in blocks: statistics, random masks, branches, both kinds of convolution, pooling."""
    conv = lambda n, **options: xn.Conv2d(n, 3, padding="same", **options)  # noqa: E731
    return xn.Sequential(
        xn.RandomShift(1),
        conv(8, bias=False),
        xn.BatchNorm(),
        xn.ReLU(),
        xn.Residual(conv(8), xn.BatchNorm(), xn.ReLU(), conv(8, method="im2col"), xn.BatchNorm()),
        xn.ReLU(),
        xn.MaxPool2d(2),
        xn.Dropout(0.2),
        xn.Concatenate(conv(4), xn.Sequential(xn.Conv2d(4, 1), xn.GroupNorm(2))),
        xn.GaussianNoise(0.1),
        xn.GlobalAvgPool2d(),
        xn.Affine(4),
    )


def trainer(net=None, *, in_blocks=True, device="cpu", optimizer=None, size=(9, 8), **options):
    net = net or network()
    made = xn.Trainer(
        net, loss=xn.SoftmaxCrossEntropy(), optimizer=optimizer or xn.Momentum(0.05), device=device, seed=0, **options
    ).build((*size, 3))
    net.in_blocks = net.in_blocks and in_blocks
    made.records.wanted = False  # blocks alone, which the network's arenas then show
    return made


@contextlib.contextmanager
def blocks_of(monkeypatch, count, threads=2):
    """So many blocks and workers."""
    with monkeypatch.context() as patch:
        patch.setattr(CPU, "block_count", lambda self, n, *sizes: min(n, count))
        patch.setattr(CPU_DEVICE, "threads", threads)
        yield


def cuts(net):
    """The cuts that the arenas of the network hold."""
    arenas = [arena for free in net.arenas._free.values() for arena in free]
    return [part for arena in arenas for part in arena.kin.values() if isinstance(part, Cut)]


def train(made, steps=6, n=12, factor=1.0, seed=0):
    x, y = images(n, seed=seed)
    x = x.astype(made.net.parameters.dtype) * factor
    return [float(made.device.get(made.step(made.device.put(x * (1 + i)), made.device.put(y)))) for i in range(steps)]
