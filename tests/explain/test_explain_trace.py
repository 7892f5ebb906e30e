"""``xn.explain`` against the same step made by hand, layer by layer, on every device; and what it leaves alone."""

from __future__ import annotations

import contextlib
import copy
import re
import threading

import numpy as np
import pytest
from contract_layers import BatchNorm, Branches, custom
from core_helpers import bits, classes_data, exact

import xpnet as xn
from xpnet.explain import Call, LossCall, Update
from xpnet.models import MODELS, load


class ByHand:
    """Forward and backward of a chain with residuals, every layer called here, nothing watched."""

    def __init__(self, trainer, x, y, device):
        self.device = device
        net, self.outputs, self.received, self.passed, self.caches = trainer.net, {}, {}, {}, {}
        self.before = net.parameters.snapshot()
        self.step = net.step(training=True)
        with device.use():
            self.step.begin(x)
            out = self.forward("", net, x)
            value, dy = trainer.loss(out, y, self.step)
            self.outputs["loss"], self.received["loss"] = device.get(value), device.get(dy)
            self.backward("", net, dy)
        self.gradients = {p.name: device.get(p.grad) for p in net.parameters.trainable}
        trainer.optimizer.update(net.parameters)
        self.after = net.parameters.snapshot()

    def child(self, path, name):
        return f"{path}.{name}" if path else name

    def forward(self, path, layer, x):
        self.step.arena.scratch.taken = 0
        if isinstance(layer, xn.Sequential | xn.Residual):
            out = x
            for i, inner in enumerate(layer.layers):
                out = self.forward(self.child(path, str(i)), inner, out)
            if isinstance(layer, xn.Residual):
                out = out + (self.forward(self.child(path, "shortcut"), layer.shortcut, x) if layer.shortcut else x)
        elif hasattr(layer, "branches"):
            outputs = [self.forward(self.child(path, str(i)), inner, x) for i, inner in enumerate(layer.branches)]
            out = (
                self.device.xp.concatenate(outputs, axis=-1)
                if isinstance(layer, xn.Concatenate)
                else sum(outputs[1:], outputs[0])
            )
        else:
            out, self.caches[path] = layer.forward(x, self.step)
        self.outputs[path] = self.device.get(out)
        return out

    def backward(self, path, layer, dy):
        self.step.arena.scratch.taken, self.step.needs_dx = 0, True
        self.received[path] = self.device.get(dy)
        if isinstance(layer, xn.Sequential | xn.Residual):
            dx = dy
            for i, inner in reversed(list(enumerate(layer.layers))):
                dx = self.backward(self.child(path, str(i)), inner, dx)
            if isinstance(layer, xn.Residual):
                dx = dx + (self.backward(self.child(path, "shortcut"), layer.shortcut, dy) if layer.shortcut else dy)
        elif hasattr(layer, "branches"):
            parts = [dy] * len(layer.branches)
            if isinstance(layer, xn.Concatenate):
                parts = [a.copy() for a in self.device.xp.split(dy, [layer.shapes[0][-1]], axis=-1)]
            gradients = [self.backward(self.child(path, str(i)), b, parts[i]) for i, b in enumerate(layer.branches)]
            dx = sum(gradients[1:], gradients[0])
        else:
            dx = layer.backward(dy, self.caches[path], self.step)
        self.passed[path] = self.device.get(dx)
        return dx


def same(a, b):
    assert a.dtype == b.dtype
    np.testing.assert_array_equal(a, b)


def by_hand(name, rows, device):
    trainer, x, y = load(name)
    trainer.device = device
    trainer.build(x.shape[1:])
    return ByHand(trainer, device.put(x[rows]), device.put(y[rows]), device)


@pytest.mark.parametrize("name", MODELS)
def test_every_array_is_that_of_a_step_made_by_hand(name, device):
    rows = slice(0, 1) if name == "worked" else slice(2, 4)
    found, hand = xn.explain(name, sample=rows, device=device), by_hand(name, rows, device)
    forward, loss, backward, update = found.events
    calls = {call.path: call for call in forward.walk()}
    assert set(calls) == set(hand.outputs) - {"loss"}
    for path, call in calls.items():
        same(call.result, hand.outputs[path])
        for p, a in call.parameters.items():
            same(a, hand.before[f"{path}.{p}"])
    same(loss.outputs, hand.outputs[""])
    same(loss.value, hand.outputs["loss"])
    same(loss.gradient, hand.received["loss"])
    seen = set()
    for call in backward.walk():
        same(call.given, hand.received[call.path])
        if call.result is not None:
            same(call.result, hand.passed[call.path])
        for p, a in call.parameters.items():
            same(a, hand.gradients[f"{call.path}.{p}"])
            seen.add(f"{call.path}.{p}")
    assert seen == set(hand.gradients) == {p.name for p in update.changed}
    for p in update.changed:
        same(p.before, hand.before[p.name])
        same(p.gradient, hand.gradients[p.name])
        same(p.after, hand.after[p.name])
        assert not np.array_equal(p.before, p.after)


def test_the_worked_example(device):
    found = xn.explain("worked", device=device)
    assert found.device == device.name
    outputs = [call.result.item() for call in found.calls("forward")[1:]]
    assert outputs == pytest.approx([0.7, 0.7, 1.25], rel=1e-15)
    _, loss, _, update = found.events
    assert loss.value.item() == pytest.approx(7.5625, rel=1e-15)
    assert [call.given.item() for call in found.calls("backward")[1:]] == pytest.approx([-5.5, -2.75, -2.75], rel=1e-15)
    assert [p.name for p in update.changed] == ["0.W", "0.b", "2.W", "2.b"]
    assert [p.gradient.item() for p in update.changed] == pytest.approx([-8.25, -2.75, -3.85, -5.5], rel=1e-15)
    assert [p.after.item() for p in update.changed] == pytest.approx([0.1825, 0.4275, 0.5385, 0.955], rel=1e-15)
    assert (update.number, update.rate) == (1, 0.01)


def test_the_calls_stand_inside_each_other_in_the_order_of_computing():
    found = xn.explain("residual", sample="0:3")
    forward, loss, backward, update = found.events
    assert isinstance(loss, LossCall)
    assert isinstance(update, Update)
    assert [c.path for c in forward.inner] == ["0", "1", "2"]
    assert [c.path for c in forward.inner[0].inner] == ["0.0", "0.1", "0.2", "0.3", "0.shortcut"]
    assert [c.path for c in backward.inner] == ["2", "1", "0"]
    assert [c.path for c in backward.inner[2].inner] == ["0.3", "0.2", "0.1", "0.0", "0.shortcut"]
    assert backward.inner[2].result is None  # nothing before it learns
    assert backward.inner[1].result.shape == (3, 32)
    assert [(row.path, row.depth, row.container) for row in found.layers[:3]] == [
        ("0", 0, True),
        ("0.0", 1, False),
        ("0.1", 1, False),
    ]


@custom
def test_layers_of_a_user(make, shape, device):
    x, y = classes_data(5, int(np.prod(shape)))
    net = xn.Sequential(make(), xn.Flatten(), xn.Affine(3))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(0.01), device=device)
    net.fuses = exact(device)  # what is explained is computed layer by layer
    found = xn.explain((trainer, x.reshape(-1, *shape), y), sample="0:5")
    twin = copy.deepcopy(trainer).build(shape)
    value = twin.step(device.put(x.reshape(-1, *shape)), device.put(y))
    forward, loss, backward, update = found.events
    same(loss.value, device.get(value))
    same(forward.result, loss.outputs)
    same(backward.given, loss.gradient)
    for p in update.changed:
        same(p.after, device.get(twin.net.parameters[p.name].value))
    states = {f"{c.path}.{name}": a for c in forward.walk() for name, (_, a) in c.states.items()}
    assert set(states) == {p.name for p in twin.net.parameters.running}
    for name, a in states.items():
        same(a, device.get(twin.net.parameters[name].value))
    assert found.text()


def test_running_statistics_before_and_after():
    trainer = xn.Trainer(
        xn.Sequential(BatchNorm(momentum=0.5), xn.Affine(1)), loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device="cpu"
    )
    found = xn.explain((trainer, np.array([[1.0], [5.0]]), np.zeros(2)), sample=":")
    before, after = found.calls("forward")[1].states["mean"]
    assert (before.item(), after.item()) == (0.0, 1.5)
    assert "running mean before (1,)          0\n" in found.text()
    assert "running mean after (1,)           1.5\n" in found.text()


def test_after_is_what_the_optimizer_did():
    """Decay, clipping, momentum and a frozen array, after two epochs of training."""
    x, y = classes_data(6)
    net = xn.Sequential(xn.Affine(4), xn.Tanh(), xn.Affine(3))
    rule = xn.Momentum(xn.StepDecay(0.1, every=4), weight_decay=0.1, clip_norm=0.01)
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=rule, device="cpu")
    trainer.fit(x, y, epochs=4)
    net.freeze("0.W")
    update = xn.explain((trainer, x, y), sample=slice(1, 4)).events[-1]
    assert (update.number, update.rate) == (5, pytest.approx(0.01))
    assert [p.frozen for p in update.changed] == [True, False, False, False]
    twin = copy.deepcopy(trainer)
    twin.step(x[1:4], y[1:4])
    for p in update.changed:
        same(p.after, twin.net.parameters[p.name].value)
    same(update.changed[0].after, update.changed[0].before)
    assert "frozen: not updated" in (text := xn.explain((trainer, x, y)).text())
    assert "beyond 0.01 they are scaled down to it." in text


def test_nothing_of_the_users_is_changed():
    trainer = xn.Trainer(
        xn.Sequential(xn.Affine(4), xn.Dropout(0.5), BatchNorm(), xn.Affine(3)),
        loss=xn.SoftmaxCrossEntropy(),
        optimizer=xn.Adam(0.01),
        device="cpu",
        callbacks=[print],
    )
    x, y = classes_data(20)
    assert xn.explain((trainer, x, y))
    assert not trainer.net.built
    trainer.callbacks = ()
    trainer.fit(x, y)
    x.flags.writeable = y.flags.writeable = False
    before, grad = bits(trainer), trainer.net.parameters.grad.tobytes()
    attributes = [set(vars(a)) for a in (*trainer.net.walk(), trainer.net, trainer.optimizer)]
    xn.explain((trainer, x, y), sample="3:9")
    assert (bits(trainer), trainer.net.parameters.grad.tobytes()) == (before, grad)
    assert attributes == [set(vars(a)) for a in (*trainer.net.walk(), trainer.net, trainer.optimizer)]
    assert trainer.optimizer.steps == trainer.net.steps_begun == 1


def test_the_rows():
    x, y = np.arange(20.0).reshape(10, 2), np.arange(10.0)
    trainer = xn.Trainer(xn.Sequential(xn.Affine(1)), loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device="cpu")
    for sample, rows in ((3, [3]), ("3", [3]), ("3:7", [3, 4, 5, 6]), (":2", [0, 1]), ("8:", [8, 9]), (slice(1, 3), [1, 2])):
        found = xn.explain((trainer, x, y), sample=sample)
        assert list(found.rows) == rows
        np.testing.assert_array_equal(found.x, x[rows])
        np.testing.assert_array_equal(found.y[:, 0], y[rows])
        np.testing.assert_array_equal(found.calls("forward")[1].given, x[rows])


@pytest.mark.parametrize(
    ("sample", "said"),
    [
        (10, "sample 10: there is no row 10, the model's data have rows 0 to 9"),
        ("3:11", "sample 3:11: there is no row 10,"),
        ("10:", "sample 10:: there is no row 10,"),
        ("7:3", "sample 7:3: that is no row"),
        ("4:4", "that is no row"),
        ("-1", "sample -1: a row counted from 0"),
        (-1, "sample -1: a row counted from 0"),
        ("3-7", "sample 3-7: a row counted from 0, as in 0, or several, as in 3:7"),
        ("1:5:2", "a row counted from 0"),
        (slice(0, 5, 2), "a row counted from 0"),
        (slice(-2, None), "a row counted from 0"),
        ("", "sample '': a row"),
        (True, "sample True: a row"),
        (1.5, "sample 1.5: a row"),
        (None, "sample None: a row"),
    ],
)
def test_rows_that_are_not_there(sample, said):
    with pytest.raises(ValueError, match=r"^sample ") as raised:
        xn.explain("book", sample=sample)
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_other_mistakes():
    x, y = classes_data(6)
    trainer = xn.Trainer(xn.Sequential(xn.Affine(3)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu")
    with pytest.raises(ValueError, match="x has 6 rows, y has 5"):
        xn.explain((trainer, x, y[:5]))
    with pytest.raises(ValueError, match="no device is called"):
        xn.explain("no such model", device="gpu")
    with pytest.raises(ValueError, match="no model is called"):
        xn.explain("no such model")
    with pytest.raises(ValueError, match="there is no row 0, the model's data have no rows"):
        xn.explain((trainer, x[:0], y[:0]))


def test_an_error_in_a_layer_names_its_place():
    class Failing(xn.Affine):
        def backward(self, dy, x, step):
            raise ZeroDivisionError("mine")

    x, y = classes_data(6)
    net = xn.Sequential(xn.Affine(4), xn.Residual(Failing(4)), xn.Affine(3))
    trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu")
    with pytest.raises(ZeroDivisionError, match="mine") as raised:
        xn.explain((trainer, x, y))
    assert raised.value.__notes__ == ["xpnet.explain: step 1, layer 1.0: Failing(n_out=4), backward, on cpu"]


def test_layers_and_trainers_that_do_more_than_usual():
    """A layer that works in place, one that calls its child twice, and a trainer that makes two steps."""

    class InPlace(xn.Layer):
        def forward(self, x, step):
            x *= 2
            return x, None

        def backward(self, dy, cache, step):
            dy *= 2
            return dy

    class Often(Branches):
        def forward(self, x, step):
            self.left.forward(x, step)
            return super().forward(x, step)

    class Twice(xn.Trainer):
        def step(self, x, y, weights=None, *, per_sample=False):
            super().step(x, y, weights)
            return super().step(x, y, weights)

    x, y = classes_data(4)
    net = xn.Sequential(xn.Affine(4), InPlace(), Often(xn.Affine(2), xn.Affine(2)), xn.Affine(3))
    trainer = Twice(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu")
    found = xn.explain((trainer, x, y))
    calls = [event for event in found.events if isinstance(event, Call)]
    affine, doubled = calls[0].inner[:2]
    assert np.array_equal(doubled.given, affine.result)
    assert np.array_equal(doubled.result, 2 * doubled.given)
    assert np.array_equal(calls[1].inner[2].result, 2 * calls[1].inner[2].given)
    assert [c.path for c in calls[0].inner[2].inner] == ["2.left", "2.left", "2.right"]
    updates = [event for event in found.events if isinstance(event, Update)]
    assert [u.number for u in updates] == [1, 2]
    assert np.array_equal(updates[0].changed[0].after, updates[1].changed[0].before)
    assert "\nForward (2)\n" in found.text()


class Fallible(xn.Layer):
    """Takes the second layer where the first fails or returns a list."""

    def __init__(self, first):
        self.first, self.second = first, xn.Affine(2)

    def build(self, shape, make):
        self.first.build(shape, make.child("first", self.first))
        return self.second.build(shape, make.child("second", self.second))

    def forward(self, x, step):
        with contextlib.suppress(ArithmeticError):
            x, _ = self.first.forward(x, step)
        return self.second.forward(x, step)

    def backward(self, dy, cache, step):
        return self.second.backward(dy, cache, step)


@pytest.mark.parametrize("failing", ["raises", "returns a list"])
def test_a_container_that_goes_on_after_a_layer_failed(failing):
    class Failing(xn.Layer):
        def forward(self, x, step):
            if failing == "raises":
                raise ZeroDivisionError
            return [x, None]

        def backward(self, dy, cache, step):
            return dy

    x, y = classes_data(4)
    trainer = xn.Trainer(
        xn.Sequential(Fallible(Failing()), xn.Affine(3)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu"
    )
    found = xn.explain((trainer, x, y))
    forward, _, backward, _ = found.events
    assert [(c.path, [i.path for i in c.inner]) for c in forward.inner] == [("0", ["0.first", "0.second"]), ("1", [])]
    assert [(c.path, [i.path for i in c.inner]) for c in backward.inner] == [("1", []), ("0", ["0.second"])]
    assert [row.output_shape for row in found.layers] == [(1, 2), None, (1, 2), (1, 3)]
    assert re.search(r"\n  0\.first +Failing\(\) +\(1, \d\) +none ", found.text())


def test_what_cannot_be_copied():
    class Held(xn.Tanh):
        def __init__(self):
            self.lock = threading.Lock()

    trainer = xn.Trainer(xn.Sequential(Held()), loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device="cpu")
    with pytest.raises(TypeError, match=r"explain works on a copy of the trainer, and it holds what has none: .*lock"):
        xn.explain((trainer, np.zeros((2, 1)), np.ones((2, 1))))


def test_a_first_layer_that_works_in_place_spoils_neither_the_input_shown_nor_the_users(device):
    class Halved(xn.Layer):
        def forward(self, x, step):
            x *= 0.5
            return x, None

        def backward(self, dy, cache, step):
            return dy * 0.5

    trainer = xn.Trainer(
        xn.Sequential(Halved(), xn.Affine(1)), loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device=device
    )
    x = np.array([[8.0], [6.0]], np.float32)
    found = xn.explain((trainer, x, np.zeros(2, np.float32)), sample=":")
    assert x.tolist() == found.x.tolist() == found.calls("forward")[1].given.tolist() == [[8.0], [6.0]]
    assert found.calls("forward")[1].result.tolist() == [[4.0], [3.0]]


def test_a_network_without_parameters():
    trainer = xn.Trainer(xn.Sequential(xn.Tanh()), loss=xn.MeanSquaredError(), optimizer=xn.SGD(0.1), device="cpu")
    text = xn.explain((trainer, np.zeros((2, 1)), np.ones((2, 1)))).text()
    assert "The network has no parameters." in text
    assert "no backward needed: neither this layer nor anything before it has parameters" in text
