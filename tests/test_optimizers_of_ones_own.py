"""Optimizers that are copied, moved and written by a user, and what is refused."""

import copy
import math
import pickle

import numpy as np
import pytest
from helpers import build, close
from optimizer_cases import (
    CASES,
    PROBLEM,
    RULES,
    SIZE,
    STEPS,
    every_case,
    every_rule,
    give_gradient,
    start,
    values,
    walk,
)

import xpnet as xn

MOVES = {
    "deepcopy": lambda net, optimizer: copy.deepcopy((net, optimizer)),
    "pickle": lambda net, optimizer: pickle.loads(pickle.dumps((net, optimizer))),
    "to sim": lambda net, optimizer: (net.to("sim"), optimizer),
    "to sim:1": lambda net, optimizer: (net.to("sim:1"), optimizer),
    "to cpu": lambda net, optimizer: (net.to("cpu"), optimizer),
    "there and back": lambda net, optimizer: (net.to("sim").to("cpu"), optimizer),
    "frozen for nothing": lambda net, optimizer: (net.freeze("0"), net.unfreeze("0")) and (net, optimizer),
    "copy of a pickle, moved": lambda net, optimizer: (lambda n, o: (n.to("sim"), o))(
        *copy.deepcopy(pickle.loads(pickle.dumps((net, optimizer))))
    ),
}


@pytest.mark.parametrize("move", MOVES)
@every_rule
def test_a_move_on_the_way_changes_nothing(rule, move, device):
    options = {"clip_norm": 12.0, "weight_decay": 0.1}
    plain = walk(start(device), RULES[rule](**options))

    def between(net, optimizer, t):
        return MOVES[move](net, optimizer) if t in (1, 8, 9) else (net, optimizer)

    assert walk(start(device), RULES[rule](**options), between=between).tobytes() == plain.tobytes()


@every_rule
def test_an_unused_optimizer_copies(rule, device):
    for fresh in (copy.deepcopy(RULES[rule]()), pickle.loads(pickle.dumps(RULES[rule]()))):
        assert walk(start(device), fresh).tobytes() == walk(start(device), RULES[rule]()).tobytes()


def test_a_copy_goes_its_own_way(device):
    net, optimizer = start(device), xn.Adam(0.1)
    walk(net, optimizer, range(3))
    twin, twins = copy.deepcopy((net, optimizer))
    here = values(net)
    walk(twin, twins, range(3, 9))
    assert values(net).tobytes() == here.tobytes()
    assert (optimizer.steps, twins.steps) == (3, 9)


@every_rule
def test_one_optimizer_for_two_networks_is_refused(rule, device):
    first, second, optimizer = start(device), start(device), RULES[rule]()
    walk(first, optimizer, range(2))
    before = values(second)
    give_gradient(second, 0)
    with pytest.raises(ValueError, match=f"this {rule} has begun to train another network"):
        optimizer.update(second.parameters)
    assert values(second).tobytes() == before.tobytes()
    assert optimizer.steps == 2
    walk(first, optimizer, range(2, 4))  # the first goes on


@every_rule
def test_a_network_built_anew_needs_a_reset(rule, device):
    net, optimizer = start(device), RULES[rule]()
    first = walk(net, optimizer)
    net.build(3, device=device, dtype="float64")
    with pytest.raises(ValueError, match=r"optimizer.reset\(\)"):
        walk(net, optimizer, range(1))
    optimizer.reset()
    assert optimizer.steps == 0
    assert walk(start(device), optimizer).tobytes() == first.tobytes()


class SignMomentum(xn.Optimizer):
    slots = ("direction",)

    def rule(self, xp, rate, w, g, tmp, direction):
        direction *= 0.5
        direction += g
        xp.sign(direction, out=tmp)
        tmp *= rate
        w -= tmp


@pytest.mark.parametrize("size", [3, 1 << 16])
def test_a_rule_of_ones_own(size, device, monkeypatch):
    if device.block_size:
        monkeypatch.setattr(device, "block_size", size)
    net = start(device)
    path = walk(net, SignMomentum(0.25, clip_norm=1e6))
    w, v = PROBLEM["start"], np.zeros(SIZE)
    for t in range(STEPS):
        v = v / 2 + PROBLEM["curvature"] * (w - PROBLEM["target"]) + w * w * w / 10 + PROBLEM["noise"][t]
        w = w - 0.25 * np.sign(v)
        close(path[t], w, 1e-12)


def test_a_rule_of_ones_own_in_the_trainer(device, rng):
    x = rng.standard_normal((40, 3))
    net = xn.Sequential(xn.Affine(2))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=SignMomentum(0.05), device=device)
    history = trainer.fit(x, (x[:, 0] > 0).astype(int), epochs=10, progress=False)
    assert history["loss"][-1] < history["loss"][0] / 2
    assert repr(trainer.optimizer) == "SignMomentum(learning_rate=0.05)"


def test_the_base_has_no_rule(device):
    with pytest.raises(NotImplementedError, match=r"Optimizer has no rule\(xp, rate, w, g, tmp, \*slots\)"):
        walk(start(device), xn.Optimizer(0.1))


BAD = {
    **{
        f"rate {rate}": (lambda rate=rate: xn.SGD(rate), "learning_rate")
        for rate in (0, -0.1, math.nan, math.inf, "0.1", None, True)
    },
    "momentum 1": (lambda: xn.Momentum(0.1, momentum=1), "momentum=1"),
    "momentum below 0": (lambda: xn.Nesterov(0.1, momentum=-0.1), "momentum=-0.1"),
    "momentum NaN": (lambda: xn.Momentum(0.1, momentum=math.nan), "momentum=nan"),
    "RMSProp decay": (lambda: xn.RMSProp(decay=1), "decay=1"),
    "beta1": (lambda: xn.Adam(beta1=1.0), "beta1=1.0"),
    "beta2": (lambda: xn.AdamW(beta2=-1), "beta2=-1"),
    **{
        f"{name} {value}": (lambda name=name, value=value: xn.Adam(**{name: value}), f"{name}={value}")
        for name in ("l2", "weight_decay")
        for value in (-1, math.inf, math.nan)
    },
    **{
        f"clip_norm {value}": (lambda value=value: xn.SGD(0.1, clip_norm=value), f"clip_norm={value}")
        for value in (0, -1.0, math.nan)
    },
}


@pytest.mark.parametrize(("make", "message"), BAD.values(), ids=BAD)
def test_bad_arguments_are_refused(make, message):
    with pytest.raises((ValueError, TypeError), match=message):
        make()


def test_unknown_options_are_refused():
    with pytest.raises(TypeError, match="nesterov"):
        xn.SGD(0.1, nesterov=True)


@every_case
def test_repr_rebuilds_the_optimizer(case):
    optimizer = build(case, CASES[case]["options"])
    again = eval(repr(optimizer), {**vars(xn)})
    assert again.config() == optimizer.config()
    assert CASES[case]["options"].items() <= again.config().items()


def test_decay_assigned_later_leaves_the_biases_alone(device):
    net = xn.Sequential(xn.Affine(2, bias_init=xn.initializers.ones)).build((3,), device=device)
    optimizer = xn.SGD(0.1)
    net.parameters.grad.fill(0)
    optimizer.update(net.parameters)
    optimizer.weight_decay = 0.5
    optimizer.update(net.parameters)
    assert (net.parameters.snapshot()["0.b"] == 1).all()


def test_a_network_instead_of_its_parameters_is_refused(device):
    net = xn.Sequential(xn.Affine(2)).build((3,), device=device)
    with pytest.raises(TypeError, match=r"SGD\.update takes net\.parameters, not a Sequential"):
        xn.SGD(0.1).update(net)


def test_unknown_options_name_the_rule_and_what_it_has():
    with pytest.raises(TypeError, match="Adam has no option 'lr'; it has learning_rate, beta1"):
        xn.Adam(lr=1e-3)
