"""Update rules on every device: PyTorch's trajectories, decay, clipping, frozen parameters, blocks, copies and moves."""

import copy
import math
import pickle

import numpy as np
import pytest
from helpers import build, close, golden

import xpnet as xn

CASES = dict(golden("optimizers"))
PROBLEM = CASES.pop("problem")
STEPS, SIZE = PROBLEM["noise"].shape
RULES = {
    "SGD": lambda **options: xn.SGD(0.05, **options),
    "Momentum": lambda **options: xn.Momentum(0.02, **options),
    "Nesterov": lambda **options: xn.Nesterov(0.02, **options),
    "AdaGrad": lambda **options: xn.AdaGrad(0.2, **options),
    "RMSProp": lambda **options: xn.RMSProp(0.05, **options),
    "Adam": lambda **options: xn.Adam(0.1, **options),
    "AdamW": lambda **options: xn.AdamW(0.1, **options),
}
every_case = pytest.mark.parametrize("case", CASES)
OPTIONS = {
    "plain": {},
    "l2": {"l2": 0.1},
    "decay": {"weight_decay": 0.1},
    "clip": {"clip_norm": 0.5},
    "clip-l2": {"clip_norm": 0.5, "l2": 0.1},
}
every_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
every_rule = pytest.mark.parametrize("rule", RULES)


def start(device, dtype="float64"):
    """The golden problem's network: W (3, 2) and b (2,), so eight parameters."""
    net = xn.Sequential(xn.Affine(2)).build(3, device=device, dtype=dtype)
    w = PROBLEM["start"]
    net.parameters.restore({"0.W": w[:6].reshape(3, 2), "0.b": w[6:]})
    return net


def give_gradient(net, t):
    """Assign the gradient of step t at the parameters in hand."""
    p = net.parameters
    w = p.device.get(p.value).astype("float64")
    g = PROBLEM["curvature"] * (w - PROBLEM["target"]) + w * w * w / 10 + PROBLEM["noise"][t]
    with p.device.use():
        p.grad[...] = p.device.put(g, p.dtype)


def walk(net, optimizer, steps=range(STEPS), between=lambda net, optimizer, t: (net, optimizer)):
    """The parameters after each step; ``between`` may replace network and optimizer before a step."""
    path = []
    for t in steps:
        net, optimizer = between(net, optimizer, t)
        give_gradient(net, t)
        optimizer.update(net.parameters)
        path.append(net.device.get(net.parameters.value))
    return np.array(path)


def assign(net, gradient):
    p = net.parameters
    p.grad[...] = p.device.put(np.broadcast_to(gradient, p.grad.shape).copy(), p.dtype)


def values(net):
    return net.device.get(net.parameters.value)


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


# --- copies and moves -------------------------------------------------------------------------------------------

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


# --- rules of one's own -----------------------------------------------------------------------------------------


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


# --- what is refused --------------------------------------------------------------------------------------------

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
