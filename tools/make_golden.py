"""Golden values from PyTorch in float64, written to ``tests/golden/``; run it again only to add cases.

Each file holds, case by case, the options by xpnet's names, the inputs (drawn by NumPy) and PyTorch's
results, so that the tests need neither PyTorch nor a table of their own: the case ``ELU-0.7`` is
``xpnet.ELU(**options)``. ``tests/test_torch.py`` calls the functions below on fresh random inputs.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - PyTorch's own custom

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
STEPS = 25  # of an optimizer's trajectory
RATES = 60  # of a schedule

Values = Mapping[str, Any]
NONE: Values = MappingProxyType({})


def tensor(a: np.ndarray, grad: bool = False) -> torch.Tensor:
    return torch.tensor(a, requires_grad=grad)


def generator(case: str) -> np.random.Generator:
    """Random numbers of one case, whatever cases there are beside it."""
    return np.random.default_rng(list(case.encode()))


# --- layers ---------------------------------------------------------------------------------------------------


class LayerCase(NamedTuple):
    """``f(x, values)`` with the parameters by xpnet's names, for samples of ``shape``."""

    f: Callable
    options: Values = NONE
    shape: tuple[int, ...] = (3, 4)
    parameters: Mapping[str, tuple[int, ...]] = NONE


def affine(x: torch.Tensor, values: dict[str, torch.Tensor], scope: str = "0") -> torch.Tensor:
    return F.linear(x, values[scope + ".W"].T, values.get(scope + ".b"))


def residual(x: torch.Tensor, values: dict[str, torch.Tensor]) -> torch.Tensor:
    around = affine(x, values, "0.shortcut") if "0.shortcut.W" in values else x
    return torch.tanh(affine(x, values, "0.0")) + around


def elementwise(f: Callable, **options: Any) -> LayerCase:
    return LayerCase(lambda x, values: f(x), options)


LAYERS = {
    "Affine": LayerCase(affine, {"n_out": 2}, (5,), {"0.W": (5, 2), "0.b": (2,)}),
    "Affine-3d": LayerCase(affine, {"n_out": 2}, (3, 4), {"0.W": (4, 2), "0.b": (2,)}),
    "Affine-nobias": LayerCase(affine, {"n_out": 3, "bias": False}, (4,), {"0.W": (4, 3)}),
    "Affine-nobias-3d": LayerCase(affine, {"n_out": 3, "bias": False}, (2, 4), {"0.W": (4, 3)}),
    "Sigmoid": elementwise(torch.sigmoid),
    "Tanh": elementwise(torch.tanh),
    "ReLU": elementwise(F.relu),
    "LeakyReLU": elementwise(F.leaky_relu),
    "LeakyReLU-0.3": elementwise(lambda x: F.leaky_relu(x, 0.3), slope=0.3),
    "ELU": elementwise(F.elu),
    "ELU-0.7": elementwise(lambda x: F.elu(x, 0.7), alpha=0.7),
    "GELU": elementwise(F.gelu),
    "GELU-tanh": elementwise(lambda x: F.gelu(x, approximate="tanh"), approximate="tanh"),
    "SiLU": elementwise(F.silu),
    "Softplus": elementwise(lambda x: F.softplus(x, threshold=100)),  # beyond its usual 20 PyTorch is 2e-9 off
    "Softmax": elementwise(lambda x: F.softmax(x, dim=-1)),
    "Identity": elementwise(lambda x: x * 1),
    "Flatten": elementwise(lambda x: x.flatten(1)),
    "Residual": LayerCase(residual, {}, (4,), {"0.0.W": (4, 4), "0.0.b": (4,)}),
    "Residual-shortcut": LayerCase(
        residual, {}, (3, 4), {"0.0.W": (4, 2), "0.0.b": (2,), "0.shortcut.W": (4, 2), "0.shortcut.b": (2,)}
    ),
}
PLACES = (0.0, 1e-3, -1e-3, 0.5, -0.5, 4.0, -4.0, 7.0, -7.0, 30.0, -30.0, 1e4, -1e4)  # kinks, intervals of erf, saturation


def layer_values(
    case: LayerCase,
    x: np.ndarray,
    values: dict[str, np.ndarray],
    dy: np.ndarray | None = None,
    rng: np.random.Generator | None = None,
) -> Values:
    """Output and gradients; the upstream gradient is drawn where it is not given."""
    x, values = tensor(x, True), {name: tensor(v, True) for name, v in values.items()}
    y = case.f(x, values)
    dy = rng.standard_normal(tuple(y.shape)) if dy is None else dy
    y.backward(tensor(dy))
    return {
        "dy": dy,
        "y": y.detach().numpy(),
        "dx": x.grad.numpy(),
        "grads": {name: v.grad.numpy() for name, v in values.items()},
    }


def layers() -> Iterator[tuple[str, Values]]:
    for name, case in LAYERS.items():
        rng = generator(name)
        x = 2 * rng.standard_normal((5, *case.shape))
        if not case.parameters:
            x.flat[: len(PLACES)] = PLACES
        values = {key: rng.standard_normal(shape) for key, shape in case.parameters.items()}
        yield name, {"options": case.options, "x": x, "values": values, **layer_values(case, x, values, rng=rng)}


# --- losses ---------------------------------------------------------------------------------------------------


class LossCase(NamedTuple):
    """Outputs (6, *shape) of size ``scale``; ``targets``: labels, probabilities, unit (numbers in [0, 1]) or numbers."""

    shape: tuple[int, ...] = (4,)
    targets: str = "labels"
    options: Values = NONE
    weights: bool = False
    scale: float = 2.0


def weighted(terms: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    """Mean over rows, ``sum w l / sum w``, of terms (N, ...) that are averaged within a row."""
    rows = terms.reshape(len(terms), -1).mean(1)
    return rows.mean() if weights is None else (weights * rows).sum() / weights.sum()


def mean_squared_error(y: torch.Tensor, t: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return F.mse_loss(y, t) if weights is None else weighted((y - t) ** 2, weights)


def half_squared_error(y: torch.Tensor, t: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    return weighted(((y - t) ** 2).reshape(len(y), -1).sum(1) / 2, weights)


def sigmoid_cross_entropy(z: torch.Tensor, t: torch.Tensor, weights: torch.Tensor | None) -> torch.Tensor:
    if weights is None:
        return F.binary_cross_entropy_with_logits(z, t)
    return weighted(F.binary_cross_entropy_with_logits(z, t, reduction="none"), weights)


def softmax_cross_entropy(
    z: torch.Tensor,
    t: torch.Tensor,
    weights: torch.Tensor | None,
    label_smoothing: float = 0.0,
    class_weights: list[float] | None = None,
    ignore_index: int | None = None,
) -> torch.Tensor:
    """PyTorch's own mean where there are no sample weights, else ``sum w l / sum w c``, c the weight of the row's class."""
    labels = not t.is_floating_point()
    classes = torch.ones(z.shape[-1], dtype=z.dtype) if class_weights is None else torch.tensor(class_weights, dtype=z.dtype)
    options = {"label_smoothing": label_smoothing, "weight": classes}
    if ignore_index is not None and labels:
        options["ignore_index"] = ignore_index
    logits, target = z.movedim(-1, 1), t if labels else t.movedim(-1, 1)
    if weights is None:
        return F.cross_entropy(logits, target, **options)
    weights = weights.reshape(-1, *[1] * (z.ndim - 2)).expand(z.shape[:-1])
    share = weights
    if labels:
        used = torch.ones_like(t, dtype=torch.bool) if ignore_index is None else t != ignore_index
        share = weights * used * classes[torch.where(used, t, 0)]
    return (weights * F.cross_entropy(logits, target, reduction="none", **options)).sum() / share.sum()


LOSS = {
    "MeanSquaredError": mean_squared_error,
    "HalfSquaredError": half_squared_error,
    "SigmoidCrossEntropy": sigmoid_cross_entropy,
    "SoftmaxCrossEntropy": softmax_cross_entropy,
}
SMOOTHING, CLASSES, IGNORE = {"label_smoothing": 0.1}, {"class_weights": [0.5, 2.0, 0.0, 1.25]}, {"ignore_index": 3}
ALL = {**SMOOTHING, **CLASSES, "ignore_index": -100}
KINDS = (
    ("MeanSquaredError", "numbers", {}),
    ("HalfSquaredError", "numbers", {}),
    ("SigmoidCrossEntropy", "unit", {}),
    ("SoftmaxCrossEntropy", "labels", {}),
    ("SoftmaxCrossEntropy-smoothing", "labels", SMOOTHING),
    ("SoftmaxCrossEntropy-classes", "labels", CLASSES),
    ("SoftmaxCrossEntropy-ignore", "labels", IGNORE),
    ("SoftmaxCrossEntropy-all", "labels", ALL),
    ("SoftmaxCrossEntropy-probabilities", "probabilities", {}),
    ("SoftmaxCrossEntropy-probabilities-all", "probabilities", {**SMOOTHING, **CLASSES}),
)

LOSSES = {
    name + suffix: LossCase(shape, targets, options, weights, scale)
    for name, targets, options in KINDS
    for suffix, shape, weights, scale in (
        ("", (4,), False, 2.0),
        ("-weights", (4,), True, 2.0),
        ("-3d", (3, 4), False, 2.0),
        ("-3d-weights", (3, 4), True, 2.0),
        ("-1e4", (4,), False, 1e4),
        ("-1e4-weights", (4,), True, 1e4),
    )
}


def draw_targets(case: LossCase, shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Targets for outputs of ``shape``; the second label and a quarter of the others are ignored where labels can be."""
    if case.targets == "labels":
        t = rng.integers(0, shape[-1], shape[:-1])
        ignored = case.options.get("ignore_index")
        if ignored is not None:
            t[rng.random(t.shape) < 0.25] = t.flat[1] = ignored
        return t
    if case.targets == "probabilities":
        return rng.dirichlet(np.ones(shape[-1]), shape[:-1])
    return rng.random(shape) if case.targets == "unit" else rng.standard_normal(shape)


def loss_values(name: str, options: Values, y: np.ndarray, targets: np.ndarray, weights: np.ndarray | None) -> Values:
    y = tensor(y, True)
    value = LOSS[name](y, tensor(targets), None if weights is None else tensor(weights), **options)
    value.backward()
    return {"value": value.detach().numpy(), "dy": y.grad.numpy()}


def losses() -> Iterator[tuple[str, Values]]:
    for name, case in LOSSES.items():
        rng = generator(name)
        y = case.scale * rng.standard_normal((6, *case.shape))
        if case.scale > 100:
            y = np.where(y > 0, case.scale, -case.scale)
        targets = draw_targets(case, y.shape, rng)
        weights = rng.random(len(y)) + 0.1 if case.weights else None
        given = {"y": y, "targets": targets, **({} if weights is None else {"weights": weights})}
        yield name, {"options": case.options, **given, **loss_values(name.split("-")[0], case.options, y, targets, weights)}


# --- optimizers -----------------------------------------------------------------------------------------------


def sgd(groups: list, rate: float, momentum: float = 0.0, nesterov: bool = False) -> torch.optim.Optimizer:
    return torch.optim.SGD(groups, lr=rate, momentum=momentum, nesterov=nesterov)


def rmsprop(groups: list, rate: float, decay: float = 0.99, epsilon: float = 1e-8) -> torch.optim.Optimizer:
    return torch.optim.RMSprop(groups, lr=rate, alpha=decay, eps=epsilon)


def adam(kind: type) -> Callable:
    def make(groups: list, rate: float, beta1: float = 0.9, beta2: float = 0.999, epsilon: float = 1e-8) -> Any:
        return kind(groups, lr=rate, betas=(beta1, beta2), eps=epsilon)

    return make


def adagrad(groups: list, rate: float, epsilon: float = 1e-10) -> torch.optim.Optimizer:
    return torch.optim.Adagrad(groups, lr=rate, eps=epsilon)


class Rule(NamedTuple):
    """PyTorch's constructor, a learning rate, and other options than the usual ones."""

    make: Callable
    rate: float
    other: Values = NONE


RULES = {
    "SGD": Rule(sgd, 0.05),
    "Momentum": Rule(lambda groups, rate, momentum=0.9: sgd(groups, rate, momentum), 0.02, {"momentum": 0.5}),
    "Nesterov": Rule(lambda groups, rate, momentum=0.9: sgd(groups, rate, momentum, True), 0.02, {"momentum": 0.5}),
    "AdaGrad": Rule(adagrad, 0.2, {"epsilon": 0.1}),
    "RMSProp": Rule(rmsprop, 0.05, {"decay": 0.8, "epsilon": 0.1}),
    "Adam": Rule(adam(torch.optim.Adam), 0.1, {"beta1": 0.6, "beta2": 0.95, "epsilon": 0.1}),
    "AdamW": Rule(adam(torch.optim.AdamW), 0.1, {"beta1": 0.6, "beta2": 0.95, "epsilon": 0.1}),
}
CLIP = {"clip_norm": 12.0}  # acts at first, no longer at the end
VARIANTS = {
    "": {},
    "-clip": CLIP,
    "-l2": {"l2": 0.3},
    "-l2-all": {"l2": 0.3, "decay_all": True},
    "-l2-clip": {"l2": 0.3, **CLIP},
}
DECOUPLED = {
    "": {},
    "-clip": CLIP,
    "-decay": {"weight_decay": 0.3},
    "-decay-all": {"weight_decay": 0.3, "decay_all": True},
    "-decay-clip": {"weight_decay": 0.3, **CLIP},
}
OPTIMIZERS = {
    name + suffix: {"learning_rate": rule.rate, **options}
    for name, rule in RULES.items()
    for suffix, options in {**(DECOUPLED if name == "AdamW" else VARIANTS), "-other": rule.other}.items()
    if options or not suffix
}


def make_optimizer(name: str, options: Values, weights: list, biases: list) -> tuple[torch.optim.Optimizer, Callable[[], Any]]:
    """PyTorch's optimizer for xpnet's options, and the step to take: clipping, then the update."""
    options = dict(options)
    clip, everywhere = options.pop("clip_norm", None), options.pop("decay_all", False)
    l2, decoupled = options.pop("l2", 0.0), options.pop("weight_decay", 0.01)
    decay = decoupled if name == "AdamW" else l2
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": decay if everywhere else 0.0}]
    optimizer = RULES[name].make(groups, options.pop("learning_rate"), **options)

    def step() -> None:
        if clip is not None:
            torch.nn.utils.clip_grad_norm_([*weights, *biases], clip)
        optimizer.step()

    return optimizer, step


def problem() -> Values:
    """The gradient of step t at w is ``curvature * (w - target) + w**3 / 10 + noise[t]``; W is (3, 2), b (2,)."""
    rng = generator("problem")
    return {
        "start": rng.standard_normal(8) * 2,
        "curvature": rng.uniform(0.2, 2.0, 8),
        "target": rng.standard_normal(8),
        "noise": rng.standard_normal((STEPS, 8)) / 10,
    }


def trajectory(name: str, options: Values, given: Values) -> np.ndarray:
    """The 8 parameters after each step (25, 8)."""
    W, b = tensor(given["start"][:6].reshape(3, 2), True), tensor(given["start"][6:], True)
    _, step = make_optimizer(name, options, [W], [b])
    path = []
    for noise in given["noise"]:
        w = torch.cat([W.detach().reshape(-1), b.detach()]).numpy()
        g = given["curvature"] * (w - given["target"]) + w * w * w / 10 + noise
        W.grad, b.grad = tensor(g[:6].reshape(3, 2)), tensor(g[6:])
        step()
        path.append(torch.cat([W.detach().reshape(-1), b.detach()]).numpy())
    return np.array(path)


def optimizers() -> Iterator[tuple[str, Values]]:
    given = problem()
    yield "problem", given
    for name, options in OPTIMIZERS.items():
        yield name, {"options": options, "path": trajectory(name.split("-")[0], options, given)}


# --- schedules ------------------------------------------------------------------------------------------------


def plateau(rng: np.random.Generator) -> np.ndarray:
    """Losses that fall, rest, rise and fall again, by steps around the threshold too."""
    fall, rest = 2 * 0.8 ** np.arange(12), np.full(14, 0.172)
    creep = 0.172 * (1 - np.arange(14) * 1.5e-4)
    return np.concatenate([fall, rest, creep, 0.1 + 0.05 * rng.random(10), 0.05 * 0.9 ** np.arange(10)])


PLATEAUS = {
    "ReduceOnPlateau": {"patience": 3},
    "ReduceOnPlateau-floor": {"patience": 1, "factor": 0.5, "minimum": 0.02},
    "ReduceOnPlateau-cooldown": {"patience": 2, "factor": 0.3, "cooldown": 4, "threshold": 1e-3, "minimum": 0.005},
}
SCHEDULES: dict[str, tuple[Values, Callable]] = {
    "StepDecay": ({"learning_rate": 0.3, "every": 7}, lambda o: torch.optim.lr_scheduler.StepLR(o, 7)),
    "StepDecay-half": (
        {"learning_rate": 0.3, "every": 20, "factor": 0.5},
        lambda o: torch.optim.lr_scheduler.StepLR(o, 20, 0.5),
    ),
    "Exponential": ({"learning_rate": 0.3, "factor": 0.93}, lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.93)),
    "Cosine": ({"learning_rate": 0.3, "steps": RATES}, lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, RATES)),
    "Cosine-minimum": (
        {"learning_rate": 0.3, "steps": RATES, "minimum": 0.02},
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, RATES, 0.02),
    ),
    "LinearWarmup": ({"after": 0.3, "steps": 10}, lambda o: torch.optim.lr_scheduler.LinearLR(o, total_iters=10)),
    "LinearWarmup-start": (
        {"after": 0.3, "steps": 25, "start": 0.01},
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.01, total_iters=25),
    ),
}


def rates(options: Values, make: Callable, observed: np.ndarray | None = None) -> np.ndarray:
    """Learning rate before each of the steps; with ``observed``, after hearing each of these losses."""
    optimizer = torch.optim.SGD([tensor(np.zeros(1), True)], lr=options.get("learning_rate", options.get("after")))
    schedule = make(optimizer)
    found = []
    for t in range(RATES):
        if observed is None:
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            schedule.step()
        else:
            schedule.step(observed[t])
            found.append(optimizer.param_groups[0]["lr"])
    return np.array(found)


def reduce_on_plateau(optimizer: torch.optim.Optimizer, minimum: float = 0.0, **options: Any) -> Any:
    return torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, min_lr=minimum, **options)


def schedules() -> Iterator[tuple[str, Values]]:
    for name, (options, make) in SCHEDULES.items():
        yield name, {"options": options, "rates": rates(options, make)}
    observed = plateau(generator("plateau"))
    for name, options in PLATEAUS.items():
        found = rates({"learning_rate": 0.3}, lambda o, options=options: reduce_on_plateau(o, **options), observed)
        yield name, {"options": {"learning_rate": 0.3, **options}, "losses": observed, "rates": found}


# --- files ----------------------------------------------------------------------------------------------------

FILES = {"layers": layers, "losses": losses, "optimizers": optimizers, "schedules": schedules}


def flatten(values: Values, path: str = "") -> dict[str, np.ndarray]:
    """Nested dicts as arrays named by their path, such as ``Affine/values/0.W``; the options as JSON."""
    found: dict[str, np.ndarray] = {}
    for name, value in values.items():
        if name == "options":
            found[path + name] = np.array(json.dumps(dict(value)))
        elif isinstance(value, dict):
            found |= flatten(value, f"{path}{name}/")
        else:
            found[path + name] = np.asarray(value)
    return found


def golden(name: str) -> dict[str, np.ndarray]:
    """The arrays of one file, computed now."""
    return flatten(dict(FILES[name]()))


def main() -> None:
    GOLDEN.mkdir(exist_ok=True)
    for name in FILES:
        arrays = golden(name)
        bad = [path for path, a in arrays.items() if a.dtype.kind == "f" and not np.isfinite(a).all()]
        if bad:
            raise ValueError(f"{name}: not finite: {bad}")
        path = GOLDEN / f"{name}.npz"
        np.savez_compressed(path, **arrays)
        print(f"{path.name}: {len(arrays)} arrays, {math.ceil(path.stat().st_size / 1000)} kB")


if __name__ == "__main__":
    main()
