"""Beside PyTorch, live and in float64: random shapes, all options, whole trainings, and the golden files made again.

Skipped where PyTorch is not installed; alone by ``pytest -m torch``.
"""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest
from helpers import CONTAINERS, build, close, made_again, network, run, run_loss

import xpnet as xn

pytestmark = pytest.mark.torch
TOOL = Path(__file__).parents[1] / "tools" / "make_golden.py"
LAYERS = [
    "Affine",
    "Affine-nobias",
    "Sigmoid",
    "Tanh",
    "ReLU",
    "LeakyReLU",
    "LeakyReLU-0.3",
    "ELU",
    "ELU-0.7",
    "GELU",
    "GELU-tanh",
    "SiLU",
    "Softplus",
    "Softmax",
    "Identity",
    "Flatten",
    "Residual",
    "Residual-shortcut",
]
SMOOTHING, CLASSES, IGNORE = {"label_smoothing": 0.15}, {"class_weights": True}, {"ignore_index": True}
COMBINATIONS = [
    dict(itertools.chain.from_iterable(o.items() for o in chosen))
    for n in range(4)
    for chosen in itertools.combinations((SMOOTHING, CLASSES, IGNORE), n)
]
STEPS = 25


@pytest.fixture(scope="module")
def torch():
    torch = pytest.importorskip("torch")
    torch.set_num_threads(1)  # small arrays: the threads would only wait for each other
    return torch


@pytest.fixture(scope="module")
def tool(torch):
    """tools/make_golden.py as a module."""
    spec = importlib.util.spec_from_file_location("make_golden", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


# --- layers -----------------------------------------------------------------------------------------------------


def random_shapes(case, rng):
    """Input and parameter shapes of a layer; leading axes at random, the last one what the golden parameters are for."""
    axes = tuple(int(n) for n in rng.integers(1, 6, rng.integers(0, 3)))
    n, d = (int(k) for k in rng.integers(1, 9, 2))
    if not case.parameters:
        return (n, *axes, d), {}
    sizes = {case.shape[-1]: d}
    for shape in case.parameters.values():
        sizes |= {k: int(rng.integers(1, 9)) for k in shape if k not in sizes}
    return (n, *axes, d), {name: tuple(sizes[k] for k in shape) for name, shape in case.parameters.items()}


@pytest.mark.parametrize("case", LAYERS)
def test_layer(case, tool, device, rng):
    options = dict(tool.LAYERS[case].options)
    for _ in range(5):
        shape, parameters = random_shapes(tool.LAYERS[case], rng)
        if case in CONTAINERS:  # of fixed sizes
            shape, parameters = (*shape[:-1], 4), dict(tool.LAYERS[case].parameters)
        if case.startswith("Affine"):
            options["n_out"] = parameters["0.W"][1]
        x = 3 * rng.standard_normal(shape)
        values = {name: rng.standard_normal(s) for name, s in parameters.items()}
        expected = tool.layer_values(tool.LAYERS[case], x, values, rng=rng)
        found = run(network(build(case, options), shape[1:], device, values=values), x, expected["dy"])
        close(found.y, expected["y"], 1e-10, 10)
        close(found.dx, expected["dx"], 1e-10, 10)
        for name, gradient in expected["grads"].items():
            close(found.grads[name], gradient, 1e-10, 100)


def test_every_layer_is_compared(tool):
    assert {case.removesuffix("-3d") for case in tool.LAYERS} == set(LAYERS)


# --- losses -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("weights", [False, True], ids=["unweighted", "weights"])
@pytest.mark.parametrize("axes", [(), (3,), (2, 2)], ids=["matrix", "3d", "4d"])
@pytest.mark.parametrize("targets", ["labels", "probabilities"])
@pytest.mark.parametrize("combination", COMBINATIONS, ids=lambda o: "+".join(o) or "plain")
def test_softmax_cross_entropy(combination, targets, axes, weights, tool, device, rng):
    for _ in range(3):
        n, classes = int(rng.integers(2, 9)), int(rng.integers(2, 7))
        options = dict(combination)
        if "class_weights" in options:
            options["class_weights"] = rng.random(classes) + 0.1
        if "ignore_index" in options:
            options["ignore_index"] = int(rng.choice([-100, -1, 0, classes - 1]))
        case = tool.LossCase((*axes, classes), targets, options)
        compare("SoftmaxCrossEntropy", case, n, weights, tool, device, rng)


@pytest.mark.parametrize("weights", [False, True], ids=["unweighted", "weights"])
@pytest.mark.parametrize("axes", [(), (3,), (2, 2)], ids=["matrix", "3d", "4d"])
@pytest.mark.parametrize(
    ("name", "targets"), [("MeanSquaredError", "numbers"), ("HalfSquaredError", "numbers"), ("SigmoidCrossEntropy", "unit")]
)
def test_other_losses(name, targets, axes, weights, tool, device, rng):
    for _ in range(3):
        n, k = (int(i) for i in rng.integers(1, 7, 2))
        compare(name, tool.LossCase((*axes, k), targets), n, weights, tool, device, rng)


def compare(name, case, n, weighted, tool, device, rng):
    """One random batch; where every label came out ignored PyTorch has no mean."""
    y = 3 * rng.standard_normal((n, *case.shape))
    targets = tool.draw_targets(case, y.shape, rng)
    if case.targets == "labels" and "ignore_index" in case.options:
        used = int(case.options["ignore_index"] == 0)
        targets.flat[0] = used
        assert (targets == case.options["ignore_index"]).any()
    weights = rng.random(n) + 0.1 if weighted else None
    expected = tool.loss_values(name, case.options, y, targets, weights)
    value, dy = run_loss(getattr(xn, name)(**case.options), y, targets, weights, device)
    close(value, expected["value"], 1e-10)
    close(dy, expected["dy"], 1e-10)


# --- trainings --------------------------------------------------------------------------------------------------


def mlp(device):
    net = xn.Sequential(xn.Affine(8), xn.Tanh(), xn.Affine(6), xn.GELU(), xn.Affine(3))
    return net.build(5, device=device, dtype="float64", seed=4)


def twin(net, torch):
    """The same network in PyTorch."""
    modules = [torch.nn.Linear(5, 8), torch.nn.Tanh(), torch.nn.Linear(8, 6), torch.nn.GELU(), torch.nn.Linear(6, 3)]
    for name, value in net.parameters.snapshot().items():
        index, kind = name.split(".")
        parameter = modules[int(index)].weight if kind == "W" else modules[int(index)].bias
        parameter.data = torch.tensor(np.ascontiguousarray(value.T))
    return torch.nn.Sequential(*modules)


def batches(rng):
    """Rows, labels, one batch of 7 a step."""
    x = rng.standard_normal((STEPS, 7, 5))
    return x, (x[..., :3] + rng.standard_normal((STEPS, 7, 3)) / 2).argmax(-1)


def train_twin(model, step, x, labels, torch):
    for rows, targets in zip(x, labels, strict=True):
        model.zero_grad()
        torch.nn.functional.cross_entropy(model(torch.tensor(rows)), torch.tensor(targets)).backward()
        step()


OPTIMIZERS = {
    f"{name}{suffix}": (name, {"learning_rate": rate, **options})
    for name, rate in (
        ("SGD", 0.3),
        ("Momentum", 0.1),
        ("Nesterov", 0.1),
        ("AdaGrad", 0.1),
        ("RMSProp", 0.01),
        ("Adam", 0.02),
        ("AdamW", 0.02),
    )
    for suffix, options in {
        "": {},
        "-decay": {"weight_decay" if name == "AdamW" else "l2": 0.05},
        "-decay-all": {"weight_decay" if name == "AdamW" else "l2": 0.05, "decay_all": True},
        "-clip": {"clip_norm": 0.7},
    }.items()
}


@pytest.mark.parametrize(("name", "options"), OPTIMIZERS.values(), ids=OPTIMIZERS)
def test_training(name, options, torch, tool, device, rng):
    net = mlp(device)
    start = net.parameters.snapshot()
    model = twin(net, torch)
    weights, biases = ([p for key, p in model.named_parameters() if key.endswith(kind)] for kind in ("weight", "bias"))
    x, labels = batches(rng)
    train_twin(model, tool.make_optimizer(name, options, weights, biases)[1], x, labels, torch)
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=getattr(xn, name)(**options), device=device)
    for rows, targets in zip(x, labels, strict=True):
        trainer.step(device.put(rows), device.put(targets))
    expected = {
        f"{key.split('.')[0]}.{'W' if key.endswith('weight') else 'b'}": p.detach().numpy().T
        for key, p in model.named_parameters()
    }
    for key, value in net.parameters.snapshot().items():
        close(value, expected[key], 1e-9)
        assert np.abs(value - start[key]).max() > 1e-2


def test_training_with_a_schedule(torch, device, rng):
    """Warm-up, then a cosine, step by step in both."""
    net = mlp(device)
    model = twin(net, torch)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.02)
    schedule = xn.LinearWarmup(xn.Cosine(0.02, steps=STEPS - 5, minimum=0.001), steps=5, start=0.1)
    rates = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda t: schedule(t) / 0.02)
    x, labels = batches(rng)
    train_twin(model, lambda: (optimizer.step(), rates.step()), x, labels, torch)
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(schedule), device=device)
    for rows, targets in zip(x, labels, strict=True):
        trainer.step(device.put(rows), device.put(targets))
    close(net.parameters.snapshot()["2.W"], model[2].weight.detach().numpy().T, 1e-9)


# --- the golden files -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["layers", "losses", "optimizers", "schedules"])
def test_golden_file_is_made_again(name, tool):
    made_again(tool.golden(name), tool.GOLDEN / f"{name}.npz", 1e-15)


def test_golden_files_are_small(tool):
    assert {path.stem for path in tool.GOLDEN.glob("*.npz")} >= set(tool.FILES)
    assert sum((tool.GOLDEN / f"{name}.npz").stat().st_size for name in tool.FILES) < 300_000
