"""What a step asks of a device: NumPy's calls on a CPU, launches on the simulated GPU."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import xpnet as xn
from xpnet.advise.counting import Counted, gpu_work
from xpnet.advise.noting import Noting, cpu_work
from xpnet.advise.tasks import Work, between, task
from xpnet.bench.networks import NETWORKS


def works(name: str, rows: int, threads: int = 2) -> tuple[Work, Work]:
    network = NETWORKS[name]
    return cpu_work(network.trainer, *network.data(rows), threads), gpu_work(network.trainer, *network.data(rows))


@pytest.mark.parametrize("name", ["784-30-10", "784-256-128-10"])
def test_cpu_and_gpu_are_asked_for_the_same_products(name):
    cpu, gpu = works(name, 16)
    of_matrices = [sum(t.flops for t in work.tasks if t.name == "matmul") for work in (cpu, gpu)]
    assert of_matrices[0] == of_matrices[1] > 0.99 * cpu.total("flops")  # sums are products with ones to NumPy alone
    sizes = list(map(int, name.split("-")))
    forward = sum(a * b for a, b in itertools.pairwise(sizes))
    assert cpu.total("flops") >= 2 * 16 * (3 * forward - sizes[0] * sizes[1])  # no gradient by the first layer's input


def test_launches_are_those_of_the_ledger():
    network = NETWORKS["784-256-128-10"]
    trainer, (x, y) = network.trainer("sim"), network.data(16)
    x, y = (trainer.device.put(a) for a in (x, y))
    trainer.step(x, y)
    with xn.ledger() as seen:
        trainer.step(x, y)
    work = gpu_work(network.trainer, *network.data(16))
    assert len(work.tasks) == seen.launches
    assert work.total("flops") == seen.flops
    assert (work.copies, work.syncs) == ([], 0)


def test_a_network_in_blocks_is_shared_among_workers():
    cpu, _ = works("lenet", 64)
    assert cpu.blas_threads == 1
    shared = [s for s in cpu.sections if sum(map(bool, s.shares)) == 2]
    assert len(shared) > 5
    assert sum(t.flops for s in shared for share in s.shares for t in share) > 0.9 * cpu.total("flops")


def test_a_call_is_noted_once():
    """Products are those that the layers' own FLOPs say; Winograd's are fewer."""
    network = NETWORKS["lenet"]
    works = [cpu_work(network.trainer, *network.data(64), threads) for threads in (1, 2)]
    assert works[0].total("flops") == works[1].total("flops")
    net = network.trainer("cpu").net
    direct = 3 * 64 * net.flops(net.input_shape, net.output_shape)
    assert 0.2 * direct < works[0].total("flops") < 1.1 * direct


def test_noting_a_step_leaves_the_network_s_numbers_as_they_are():
    network = NETWORKS["lenet"]
    kept = []

    def make(device):
        kept.append(network.trainer(device))
        return kept[-1]

    cpu_work(make, *network.data(8), 2)
    plain, (x, y) = network.trainer("cpu"), network.data(8)
    for _ in range(4):
        plain.step(x, y)
    assert np.array_equal(np.asarray(kept[0].net.parameters.value), plain.net.parameters.value)


@pytest.mark.parametrize("name", ["784-30-10", "lenet", "vgg"])
def test_work_is_a_straight_line_in_the_rows(name):
    network = NETWORKS[name]
    told, seen = Counted(network.trainer, network.data)(8), gpu_work(network.trainer, *network.data(8))
    assert [t.name for t in told.tasks] == [t.name for t in seen.tasks]
    for figure in ("flops", "nbytes", "elements"):
        assert told.total(figure) == pytest.approx(seen.total(figure), rel=1e-9)
    for a, b in zip(told.tasks, seen.tasks, strict=True):
        assert (a.product is None) == (b.product is None)
        if a.product:
            assert a.product == pytest.approx(b.product)


def test_steps_of_different_calls_are_no_line():
    first, second = works("784-30-10", 4)[1], works("784-256-128-10", 4)[1]
    with pytest.raises(ValueError, match="different calls"):
        between(first, second, (2, 4), 8)


def test_copies_and_waits_of_a_step_are_counted():
    class Reading(xn.Layer):
        def forward(self, x, step):
            float(x.sum())
            return x, None

        def backward(self, dy, cache, step):
            return dy

    def make(device):
        net = xn.Sequential(xn.Affine(3), Reading())
        return xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device=device).build(4)

    work = gpu_work(make, np.ones((2, 4), np.float32), np.zeros(2, int))
    assert work.syncs == 1
    assert work.copies == [4.0]


def array(*shape, dtype="float32"):
    return np.zeros(shape, dtype)


def test_what_a_call_touches():
    a, b, out = array(10, 784), array(784, 30), array(10, 30)
    found = task("matmul", [a, b, out])
    assert found.product == (1, 10, 784, 30)
    assert found.flops == 2 * 10 * 784 * 30
    assert found.nbytes == a.nbytes + b.nbytes + out.nbytes
    assert not found.transposed
    assert task("matmul", [a.T, out, b]).transposed
    assert task("matmul", [array(36, 5, 6), array(36, 6, 7), array(36, 5, 7)]).product == (36, 5, 6, 7)


@pytest.mark.parametrize(
    ("arrays", "runs"),
    [
        ([array(8, 16), array(8, 16)], 1),
        ([array(8, 16), array(16), array(8, 16)], 8),  # a row added to each
        ([array(8, 16), array(8, 1), array(8, 16)], 8),  # a column
        ([array(8, 16)[:, :4], array(8, 4)], 8),
        ([array(8, 1, 16, 1), array(8, 1, 16, 1)], 1),
        ([array(), array()], 1),
    ],
)
def test_inner_loops(arrays, runs):
    assert task("add", arrays).runs == runs


def test_inner_loops_of_reductions():
    assert task("sum", [array(64, 10), array(64)]).runs == 64
    assert task("add.reduce", [array(64, 10), array(10)]).runs == 64


def test_what_is_repeated_is_read_once_and_numbers_are_nothing():
    assert task("add", [np.broadcast_to(array(1), (100,)), array(100)]).nbytes == 404
    assert task("fill", []).nbytes == 0


def test_other_products_are_taken_by_their_flops():
    found = task("einsum", [array(4, 5), array(5, 6), array(4, 6)], flops=240)
    assert found.flops == 240


def test_the_noted_steps_are_the_cpu_s():
    """Arrays that tell are no views: a buffer of theirs counts as in use while somebody holds it."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((3, 6, 6, 2)).astype("float32"), rng.integers(0, 3, 3)
    losses = []
    for device in (xn.device("cpu"), Noting(2)):
        body = [xn.Conv2d(4, 3, padding=1), xn.BatchNorm(), xn.ReLU()]
        net = xn.Sequential(
            *body, xn.Residual(xn.Conv2d(4, 3, padding=1), xn.BatchNorm()), xn.ReLU(), xn.Flatten(), xn.Affine(3)
        )
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Momentum(0.1), device=device).build((6, 6, 2))
        losses.append([float(trainer.step(device.put(x), device.put(y))) for _ in range(5)])
    assert losses[0] == losses[1]
