"""Advice as a whole: verdict first, every part there, the user's model left alone; and the commands."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from profile_helpers import cpu_profile

import xpnet as xn
from xpnet.advise import advise, cpu_measure, cpu_side, gpu_profile, gpu_side
from xpnet.advise.subject import Subject
from xpnet.advise.text import verdict
from xpnet.cli import main


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Few batches, short rounds, no measuring of the CPU."""
    monkeypatch.setattr("xpnet.advise.subject.calls_for", lambda work: 1)
    monkeypatch.setattr(cpu_side, "BATCHES", (4, 64))
    monkeypatch.setattr(cpu_measure, "measure", lambda *_, **__: cpu_profile())


def own():
    net = xn.Sequential(xn.Affine(8), xn.BatchNorm(), xn.ReLU(), xn.Affine(3))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.1), device="cpu")
    rng = np.random.default_rng(0)
    return trainer, rng.standard_normal((12, 5)), rng.integers(0, 3, 12)


def test_the_book_s_net_is_the_cpu_s(monkeypatch):
    found = advise("book", gpus=[gpu_profile("H200"), gpu_profile("T4")])
    page = str(found)
    first, second = page.splitlines()[:2]
    assert re.match(r"(CPU: at batch 10 the GPU|Too close to call at batch 10) \(H200, predicted\)", first)
    assert "T4" in second
    for part in (
        "rows a second",
        "t = ",
        "what bounds",
        "what if",
        "paid once",
        "memory of a step",
        "the same numbers?",
        "predicted",
    ):
        assert part in page
    assert max(map(len, page.splitlines())) < 200
    assert "byte-equal" in page


def test_the_verdict_follows_the_figures():
    found = advise(own, gpus=[gpu_profile("T4")], batch=4)
    (gpu,) = found.gpus
    gpu.faster, gpu.pays_from = (7.3, 5.0, 9.0), (48, 90, 30)
    assert verdict(found, gpu) == (
        "GPU (T4, predicted): 7.3x faster at batch 4 (5.0x to 9.0x); "
        "it pays off from batch 48 (30 to 90); below that use the CPU."
    )
    gpu.faster, gpu.pays_from = (0.25, 0.2, 0.5), (None, None, None)
    assert verdict(found, gpu).startswith(
        "CPU: at batch 4 the GPU (T4, predicted) takes 4.0x as long (2.0x to 5.0x); it does not"
    )
    gpu.faster = (1.3, 0.8, 2.0)
    assert verdict(found, gpu).startswith("Too close to call at batch 4")
    gpu.faster, gpu.pays_from = (30.0, 20.0, 40.0), (4, 4, 4)
    assert "30x faster" in verdict(found, gpu)
    assert "from batch 4 on" in verdict(found, gpu)


def test_the_model_is_left_alone():
    trainer, _x, _y = model = own()
    trainer.build(5)
    before, rate = trainer.net.parameters.value.copy(), trainer.optimizer.current_rate
    advise(model, gpus=[gpu_profile("T4")])
    assert np.array_equal(trainer.net.parameters.value, before)
    assert trainer.optimizer.current_rate == rate
    assert trainer.optimizer.steps == 0
    assert trainer.device.name == "cpu"


def test_batches_that_a_layer_refuses_are_left_out(monkeypatch):
    monkeypatch.setattr(cpu_side, "BATCHES", (1, 4))
    found = advise(own, batch=2)
    assert [p.batch for p in found.cpu] == [2, 4]
    assert not found.gpus
    assert "--gpu NAME" in str(found)
    with pytest.raises(ValueError, match="no variance"):
        advise(own, batch=1)


@pytest.mark.parametrize("built", [False, True])
def test_a_model_in_float64_stays_one(built):
    trainer, x, y = xn.models.load("worked")
    if built:
        trainer.build(1)
    found = advise((trainer, x, y), gpus=[gpu_profile("T4")], batch=4)
    assert found.card["dtype"] == "float64"
    assert not any("float64 instead" in what for what, _ in found.gpus[0].what_if)


def test_built_and_unbuilt_networks_have_the_same_work():
    from xpnet.advise.noting import cpu_work

    found = []
    for built in (False, True):
        trainer, x, y = xn.models.load("lenet")
        if built:
            trainer.build(x.shape[1:])
        subject = Subject((trainer, x, y))
        found.append(cpu_work(subject.make, *subject.rows(16), 2).total("flops"))
    assert found[0] == found[1] > 0


def test_data_as_fit_takes_them():
    """Bytes as inputs, whole numbers as the targets of a squared error, one axis for one output."""
    net = xn.Sequential(xn.Affine(4), xn.ReLU(), xn.Affine(1))
    trainer = xn.Trainer(net, loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device="cpu")
    found = advise((trainer, np.arange(24, dtype=np.uint8).reshape(8, 3), np.arange(8)), gpus=[gpu_profile("T4")])
    assert found.batch == 8


def test_a_gpu_that_is_here_is_timed_and_predicted(monkeypatch):
    """The simulated one in its place: times mean nothing, the way is the same."""
    figures = {name: {"value": 1.0, "kind": "measured", "source": "x"} for name in gpu_names()}
    call = {"value": 15, "kind": "measured", "source": "x"}
    monkeypatch.setattr(
        gpu_side.gpu_measure,
        "measure",
        lambda device: {"gpu": {"name": "sim", "figures": figures}, "host": {"cupy_call_us": call}},
    )
    found = advise("book", device="sim")
    (gpu,) = found.gpus
    assert gpu.measured
    assert [p.batch for p in gpu.points] == [p.batch for p in gpu.predicted]
    assert "sim measured" in str(found)
    assert "held against a GPU of ours" not in str(found)


def gpu_names():
    from xpnet.advise.profiles import FIGURES

    return [name for name, _ in FIGURES.values()]


def test_more_memory_is_a_larger_batch():
    found = advise("mlp", gpus=[gpu_profile("RTX 2060"), gpu_profile("H200")])
    small, large = (g.room for g in found.gpus)
    assert large.largest > 10 * small.largest
    assert small.bytes == large.bytes


def test_rows_are_repeated_and_kept():
    subject = Subject(own)
    x, y = subject.rows(30)
    assert x.shape == (30, 5)
    assert np.array_equal(x[:12], x[12:24])
    assert x.dtype == np.float32
    assert y.dtype == subject.y.dtype


def test_the_command(capsys):
    assert main(["advise", "book", "--gpu", "rtx 4090", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert re.match("(CPU: at|Too close to call at) batch 10", found["gpus"][0]["verdict"])
    assert {"cpu", "cpu_line", "cpu_predicted", "cpu_error", "ceilings", "what_if", "machine"} <= found.keys()


def test_the_list_needs_no_model(capsys):
    with pytest.raises(SystemExit) as end:
        main(["advise", "--list-gpus"])
    assert end.value.code == 0
    assert "H200" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["book", "--gpu", "h20"], "did you mean 'H200'?"),
        (["boook"], "no model is called 'boook'"),
        (["book", "--device", "cpu"], "it is a GPU of this machine"),
        (["book", "--batch", "0"], "--batch"),
        (["book", "--rows", "-1"], "--rows"),
        (["book", "--profile", "nowhere.json"], "nowhere.json"),
    ],
)
def test_mistakes_are_said_in_one_line(arguments, why, capsys):
    assert main(["advise", *arguments]) == 1
    error = capsys.readouterr().err
    assert why in error
    assert error.count("\n") == 1
