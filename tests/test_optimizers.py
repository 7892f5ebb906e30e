"""Update rules on every device: PyTorch's trajectories, decay, clipping, frozen parameters, blocks."""

import math

import numpy as np
import pytest
from helpers import build, close
from optimizer_cases import (
    CASES,
    PROBLEM,
    RULES,
    SIZE,
    assign,
    every_case,
    every_option,
    every_rule,
    give_gradient,
    start,
    values,
    walk,
)

import xpnet as xn

# --- the numbers ------------------------------------------------------------------------------------------------


def test_every_rule_has_golden_cases():
    rules = {name for name, thing in vars(xn).items() if isinstance(thing, type) and issubclass(thing, xn.Optimizer)}
    assert rules - {"Optimizer"} == set(RULES) == {case.split("-")[0] for case in CASES}


@every_case
def test_golden_trajectory(case, device):
    path = walk(start(device), build(case, CASES[case]["options"]))
    close(path, CASES[case]["path"], 1e-9)
    assert np.abs(path[-1] - PROBLEM["start"]).max() > 0.1


@every_case
def test_golden_trajectory_in_float32(case, device):
    path = walk(start(device, "float32"), build(case, CASES[case]["options"]))
    assert path.dtype == "float32"
    close(path, CASES[case]["path"], 2e-5, 2)


@every_rule
def test_types_and_shapes_of_the_vectors(rule, device):
    for dtype in ("float32", "float64"):
        net, optimizer = start(device, dtype), RULES[rule]()
        walk(net, optimizer, range(2))
        assert net.parameters.value.dtype == net.parameters.grad.dtype == dtype
        for name in optimizer.slots:
            vector = optimizer._vectors[name]
            assert device.owns(vector)
            assert (vector.dtype, vector.shape) == (dtype, (SIZE,))


@every_rule
def test_the_first_step_by_hand(rule, device):
    net, optimizer = start(device), RULES[rule](**({"weight_decay": 0} if rule == "AdamW" else {}))
    rate, before = optimizer.current_rate, values(net)
    g = np.linspace(-2, 3, SIZE)
    assign(net, g)
    optimizer.update(net.parameters)
    expected = {
        "SGD": g,
        "Momentum": g,
        "Nesterov": 1.9 * g,
        "AdaGrad": np.sign(g),
        "RMSProp": np.sign(g) * 10,
        "Adam": np.sign(g),
        "AdamW": np.sign(g),
    }[rule]
    np.testing.assert_allclose((before - values(net)) / rate, expected, rtol=1e-6)


@every_rule
def test_a_gradient_of_0_changes_nothing_at_first(rule, device):
    net, optimizer = start(device), RULES[rule](**({"weight_decay": 0} if rule == "AdamW" else {}))
    before = values(net)
    assign(net, 0.0)
    optimizer.update(net.parameters)
    assert values(net).tobytes() == before.tobytes()


@pytest.mark.parametrize("rule", [r for r in RULES if r != "AdamW"])
def test_decoupled_decay_is_beside_the_rule(rule, device):
    """With gradients that do not depend on the weights, decay shrinks the weights and leaves the rule's steps as they are."""
    rate, decay = RULES[rule]().current_rate, 0.5
    plain, decayed = start(device), start(device)
    a, b = RULES[rule](), RULES[rule](weight_decay=decay)
    expected = values(plain)
    for t in range(5):
        before = values(plain)
        for net, optimizer in ((plain, a), (decayed, b)):
            assign(net, PROBLEM["noise"][t])
            optimizer.update(net.parameters)
        move = values(plain) - before
        expected = expected * np.where(np.arange(SIZE) < 6, 1 - rate * decay, 1) + move
        close(values(decayed), expected, 1e-12)


# --- gradients, frozen parameters, clipping ---------------------------------------------------------------------


@every_option
@every_rule
def test_gradients_are_never_modified(rule, options, device):
    net, optimizer = start(device), RULES[rule](**options)
    for t in range(3):
        give_gradient(net, t)
        before = device.get(net.parameters.grad).tobytes()
        optimizer.update(net.parameters)
        assert device.get(net.parameters.grad).tobytes() == before


def three_layers(device, seed=0):
    net = xn.Sequential(xn.Affine(4), xn.Tanh(), xn.Affine(3), xn.Affine(2))
    return net.build(5, device=device, dtype="float64", seed=seed)


@pytest.mark.parametrize(
    "options",
    [{}, {"l2": 0.1, "clip_norm": 1.0}, {"weight_decay": 0.1, "decay_all": True}],
    ids=["plain", "l2-clip", "decay-all"],
)
@pytest.mark.parametrize("names", [("2",), ("0.W", "3.b"), ("0", "3")], ids="+".join)
@every_rule
def test_frozen_parameters_are_left_alone(rule, names, options, device):
    net = three_layers(device)
    net.freeze(*names)
    before = net.parameters.snapshot()
    optimizer = RULES[rule](**options)
    for _ in range(3):
        assign(net, 1.0)
        for p in net.parameters.values():
            if p.frozen:
                p.grad[...] = math.nan  # not even looked at
        optimizer.update(net.parameters)
    for name, value in net.parameters.snapshot().items():
        held = any(name == n or name.startswith(n + ".") for n in names)
        assert (value.tobytes() == before[name].tobytes()) == held
        assert np.isfinite(value).all()


def test_freezing_and_unfreezing_on_the_way_keeps_the_vectors(device):
    """The frozen stretch is as if the steps had not been, for that layer; the others go on undisturbed."""
    net, other = three_layers(device), three_layers(device)
    a, b = xn.Momentum(0.1), xn.Momentum(0.1)
    for t in range(9):
        if t in (3, 6):
            (net.freeze if t == 3 else net.unfreeze)("2")
        for n, optimizer in ((net, a), (other, b)):
            assign(n, t % 3 + 1.0)
            if n is net or not 3 <= t < 6:
                optimizer.update(n.parameters)
    found, expected = net.parameters.snapshot(), other.parameters.snapshot()
    close(found["2.W"], expected["2.W"], 1e-13)
    assert np.abs(found["0.W"] - expected["0.W"]).min() > 0.1


def moved(gradient, device, frozen=(), **options):
    """What plain SGD with rate 1 subtracts: the gradient as it was adjusted."""
    net = three_layers(device)
    net.freeze(*frozen)
    before = values(net)
    assign(net, gradient)
    xn.SGD(1.0, **options).update(net.parameters)
    return before - values(net)


def test_clipping_scales_to_the_norm(device, rng):
    g = rng.standard_normal(47)
    for limit in (0.1, 1.0, 5.0):
        clipped = moved(g, device, clip_norm=limit)
        assert np.linalg.norm(clipped) == pytest.approx(limit, rel=1e-5)
        close(clipped, g * limit / (np.linalg.norm(g) + 1e-6), 1e-12)


def test_clipping_leaves_small_gradients(device, rng):
    g = rng.standard_normal(47)
    close(moved(g, device, clip_norm=100.0), g, 1e-14)
    assert (moved(0.0, device, clip_norm=1.0) == 0).all()


def test_the_norm_leaves_frozen_parameters_out(device):
    clipped = moved(1.0, device, frozen=["0", "3"], clip_norm=1.0)
    changed = clipped != 0
    assert changed.sum() == 15  # layer 2: W (4, 3) and b (3,)
    close(clipped[changed], np.full(15, 1 / (math.sqrt(15) + 1e-6)), 1e-12)


def test_penalty_and_decay_act_on_weights_only(device):
    net = three_layers(device)
    weights = np.concatenate([np.full(p.size, not name.endswith("b")) for name, p in net.parameters.items()])
    net.parameters.value[...] = device.put(np.linspace(1, 2, weights.size))
    w = values(net)
    for options in ({"l2": 0.25}, {"weight_decay": 0.25}):
        for everywhere in (False, True):
            net.parameters.value[...] = device.put(w)
            assign(net, 0.0)
            xn.SGD(0.5, decay_all=everywhere, **options).update(net.parameters)
            close(values(net), np.where(weights | everywhere, w * (1 - 0.5 * 0.25), w), 1e-14)


# --- blocks -------------------------------------------------------------------------------------------------------


@every_option
@pytest.mark.parametrize("size", [1, 7, 46, 47, 1000])
@every_rule
def test_blocks_equal_the_whole_vector(rule, size, options, monkeypatch):
    device = xn.device("cpu")
    whole, parts = three_layers(device), three_layers(device)
    a, b = RULES[rule](**options), RULES[rule](**options)
    g = np.random.default_rng(2).standard_normal((4, 47))
    for t in range(4):
        assign(whole, g[t])
        a.update(whole.parameters)
        with monkeypatch.context() as patch:
            patch.setattr(device, "block_size", size)
            assign(parts, g[t])
            b.update(parts.parameters)
    assert len(b._blocks[0]) >= 47 / size
    assert values(parts).tobytes() == values(whole).tobytes()


def test_a_net_larger_than_a_block(device):
    net = xn.Sequential(xn.Affine(300)).build(300, device=device, dtype="float64")
    before, g = values(net), np.random.default_rng(0).standard_normal(90_300)
    assign(net, g)
    xn.SGD(0.5, weight_decay=0.1).update(net.parameters)
    decay = np.where(np.arange(g.size) < 90_000, 1 - 0.05, 1)
    close(values(net), before * decay - 0.5 * g, 1e-14)


def test_a_net_without_parameters(device):
    net = xn.Sequential(xn.Tanh()).build(3, device=device)
    for optimizer in (xn.Adam(), xn.SGD(0.1, clip_norm=1.0)):
        optimizer.update(net.parameters)
        assert optimizer.steps == 1
