"""Calls that are wrong: classes for objects, lists, unknown options, activations applied twice."""

from __future__ import annotations

import numpy as np
import pytest
from core_helpers import bits
from mistake_helpers import BCE, CE, HSE, LABELS, MSE, NUMBERS, X, all_in, by_hand, state, trainer_for

import xpnet as xn

ACTIVATED = {
    "Softmax": (lambda: [xn.Affine(3), xn.Softmax()], CE()),
    "Softmax, nested": (lambda: [xn.Affine(3), xn.Sequential(xn.ReLU(), xn.Sequential(xn.Softmax()))], CE()),
    "Softmax below Dropout": (lambda: [xn.Affine(3), xn.Softmax(), xn.Dropout(0.1), xn.Identity()], CE()),
    "Softmax below Flatten": (lambda: [xn.Affine(3), xn.Sequential(xn.Softmax(), xn.Flatten())], CE()),
    "Softmax below a chain that changes nothing": (lambda: [xn.Affine(3), xn.Softmax(), xn.Sequential(xn.Identity())], CE()),
    "Sigmoid": (lambda: [xn.Affine(3), xn.Sigmoid()], BCE()),
    "Sigmoid, nested": (lambda: [xn.Sequential(xn.Affine(3), xn.Sigmoid())], BCE()),
}
ROWS = [(name.split()[0].strip(","), *row) for name, row in ACTIVATED.items()]
activated = pytest.mark.parametrize(("name", "layers", "loss"), ROWS, ids=ACTIVATED)


class TestActivationTwice:
    def parts(self, name, loss):
        contained = f"{type(loss).__name__} contains it already"
        return (f"the network ends in {name}", contained, "training stalls", f"remove the {name} layer")

    @activated
    def test_trainer(self, name, layers, loss):
        with pytest.raises(ValueError, match=all_in(*self.parts(name, loss))):
            xn.Trainer(xn.Sequential(*layers()), loss=loss, optimizer=xn.Adam())

    @activated
    def test_by_hand(self, device, name, layers, loss):
        targets = LABELS if name == "Softmax" else NUMBERS
        with pytest.raises(ValueError, match=all_in(*self.parts(name, loss))):
            by_hand(device, layers(), loss, targets=targets)

    @pytest.mark.parametrize(
        ("layers", "loss"),
        [
            ([xn.Affine(3), xn.Softmax()], MSE()),
            ([xn.Affine(3), xn.Sigmoid()], HSE()),
            ([xn.Affine(3), xn.Sigmoid()], CE()),
            ([xn.Softmax(), xn.Affine(3)], CE()),
            ([xn.Affine(3), xn.Residual(xn.Softmax())], CE()),
            ([xn.Affine(3), xn.Tanh()], BCE()),
        ],
        ids=repr,
    )
    def test_what_is_no_mistake_trains(self, device, layers, loss):
        trainer = xn.Trainer(xn.Sequential(*layers), loss=loss, optimizer=xn.SGD(0.1), device=device)
        history = trainer.fit(X, LABELS if isinstance(loss, CE) else NUMBERS, epochs=20)
        assert history["loss"][-1] < history["loss"][0]


def through_step(layer):
    net = xn.Sequential(xn.Affine(3), layer, xn.Affine(3))
    return xn.Trainer(net, loss=MSE(), optimizer=xn.SGD(1))


# Calls that are refused at once, with nothing to be changed.
CALLS = {
    "unknown device": (lambda: xn.device("tpu"), ValueError, ("'tpu'", "'cpu', 'cpu-fast', 'cuda'", "'sim'", "'auto'")),
    "device in capitals": (lambda: xn.device("CPU"), ValueError, ("'CPU'", "did you mean 'cpu'?")),
    "device gpu": (lambda: trainer_for(device="gpu:1"), ValueError, ("'gpu:1'", "did you mean 'cuda:1'?")),
    "device None": (lambda: trainer_for(device=None), TypeError, ("'cpu'", "NoneType")),
    "layer option": (lambda: xn.Affine(3, activation="relu"), TypeError, ("Affine", "'activation'")),
    "layer option misspelt": (lambda: xn.Dropout(p=0.5), TypeError, ("Dropout", "'p'")),
    "optimizer option": (lambda: xn.Adam(lr=0.1), TypeError, ("'lr'",)),
    "loss option": (lambda: CE(weight=[1]), TypeError, ("SoftmaxCrossEntropy", "'weight'")),
    "trainer option": (lambda: trainer_for(epochs=3), TypeError, ("Trainer", "'epochs'")),
    "fit option": (lambda: trainer_for().fit(X, LABELS, epoch=3), TypeError, ("fit", "'epoch'")),
    "unknown metric": (
        lambda: trainer_for(metrics=["auc"]),
        ValueError,
        ("no metric is called 'auc'", "accuracy", "pass a function"),
    ),
    "dtype": (lambda: trainer_for(dtype="float16").fit(X, LABELS), ValueError, ("dtype='float16'", "float32, float64")),
    "dtype of build": (lambda: xn.Sequential(xn.ReLU()).build(3, dtype=int), ValueError, ("dtype='int64'", "float32, float64")),
    "class of a layer": (
        lambda: xn.Sequential(xn.Affine(3), xn.ReLU),
        TypeError,
        ("Sequential: argument 1", "class ReLU", "write ReLU()"),
    ),
    "class of a layer in a residual": (
        lambda: xn.Residual(xn.ReLU),
        TypeError,
        ("Residual: argument 0", "class ReLU", "ReLU()"),
    ),
    "class as shortcut": (lambda: xn.Residual(xn.ReLU(), shortcut=xn.ReLU), TypeError, ("shortcut", "class ReLU", "ReLU()")),
    "class of a loss": (
        lambda: trainer_for(CE),
        TypeError,
        ("loss=SoftmaxCrossEntropy", "is a class", "SoftmaxCrossEntropy(...)"),
    ),
    "class of an optimizer": (
        lambda: xn.Trainer(xn.Sequential(), loss=MSE(), optimizer=xn.Adam),
        TypeError,
        ("optimizer=Adam", "is a class", "Adam(...)"),
    ),
    "names for objects": (
        lambda: xn.Trainer(xn.Sequential(), loss="mse", optimizer="adam"),
        TypeError,
        ("loss='mse'", "xpnet.Loss"),
    ),
    "list of layers": (lambda: xn.Sequential([xn.ReLU(), xn.ReLU()]), TypeError, ("one by one", "Sequential(*layers)")),
    "list of layers in a residual": (lambda: xn.Residual([xn.ReLU()]), TypeError, ("one by one", "Residual(*layers)")),
    "list for a network": (
        lambda: xn.Trainer([xn.ReLU()], loss=MSE(), optimizer=xn.Adam()),
        TypeError,
        ("net=[ReLU()]", "Sequential"),
    ),
    "a number for a layer": (lambda: xn.Sequential(64), TypeError, ("Sequential: argument 0 is 64", "no forward and backward")),
    "a function for a layer": (lambda: xn.Sequential(np.tanh), TypeError, ("argument 0", "tanh", "it takes layers")),
    "a loss for a layer": (
        lambda: xn.Sequential(xn.ReLU(), CE()),
        TypeError,
        ("argument 1", "SoftmaxCrossEntropy", "it takes layers"),
    ),
    "Affine of 0": (lambda: xn.Affine(0), ValueError, ("Affine(n_out=0)", "whole number from 1 on")),
    "Affine of 2.5": (lambda: xn.Affine(2.5), ValueError, ("Affine(n_out=2.5)", "whole number from 1 on")),
    "Affine of two sizes": (lambda: xn.Affine(4, 3), TypeError, ("Affine",)),
    "dropout of 1": (lambda: xn.Dropout(1), ValueError, ("Dropout(rate=1)", "0", "1")),
    "dropout of 50": (lambda: xn.Dropout(50), ValueError, ("Dropout(rate=50)", "0", "1")),
    "learning rate 0": (lambda: xn.SGD(0), ValueError, ("learning_rate=0", "greater than 0")),
    "learning rate negative": (lambda: xn.Adam(-0.1), ValueError, ("learning_rate=-0.1", "greater than 0")),
    "learning rate in words": (lambda: xn.Adam("0.1"), ValueError, ("learning_rate='0.1'", "number")),
    "no learning rate": (lambda: xn.SGD(), TypeError, ("learning_rate",)),
    "training through Step": (
        lambda: through_step(xn.Step()),
        ValueError,
        ("Step()", "cannot be trained through", "derivative is 0", "use Sigmoid"),
    ),
    "training through a nested Step": (
        lambda: through_step(xn.Residual(xn.ReLU(), shortcut=xn.Step())),
        ValueError,
        ("Step()", "cannot be trained"),
    ),
    "gradcheck without shape": (lambda: xn.gradcheck(xn.ReLU()), ValueError, ("gradcheck", "shape of one sample", "x=")),
    "gradcheck of a class": (lambda: xn.gradcheck(xn.ReLU, 3), TypeError, ("class ReLU", "ReLU()")),
    "forward before build": (
        lambda: xn.Sequential(xn.Affine(3)).step(training=True),
        xn.NotBuilt,
        ("not built", "net.build(", "trainer.build(", "fit"),
    ),
    "predict before build": (
        lambda: xn.Sequential(xn.Affine(3)).predict(X),
        xn.NotBuilt,
        ("not built", "net.build(", "trainer.build(", "fit"),
    ),
    "predict before fit": (lambda: trainer_for().predict(X), xn.NotBuilt, ("not built", "net.build(", "trainer.build(", "fit")),
    "evaluate before fit": (
        lambda: trainer_for().evaluate(X, LABELS),
        xn.NotBuilt,
        ("not built", "net.build(", "trainer.build(", "fit"),
    ),
    "parameters before build": (lambda: xn.Sequential(xn.Affine(3)).parameters, xn.NotBuilt, ("not built", "net.build(")),
    "update before build": (lambda: xn.SGD(1).update(xn.Sequential(xn.Affine(3)).parameters), xn.NotBuilt, ("not built",)),
    "minibatches of none": (lambda: list(xn.minibatches(0, 3)), ValueError, ("zero samples",)),
}


class TestCalls:
    @pytest.mark.parametrize(("call", "error", "parts"), CALLS.values(), ids=CALLS)
    def test_refused(self, call, error, parts):
        with pytest.raises(error, match=all_in(*parts)):
            call()

    def test_a_layer_used_twice(self, device):
        affine = xn.Affine(4)
        trainer = xn.Trainer(xn.Sequential(affine, xn.ReLU(), affine), loss=CE(), optimizer=xn.SGD(0.1), device=device)
        before = state(trainer)
        with pytest.raises(ValueError, match=all_in("same Affine object", "at 0 and at 2", "make a second Affine(...)")):
            trainer.fit(X, LABELS)
        assert state(trainer) == before

    @pytest.mark.parametrize(
        ("x", "error", "parts"),
        [
            (X.astype("f8"), TypeError, ("forward: x is float64", "computes in float32", "device.put(x, dtype='float32')")),
            ((X * 9).astype("u1"), TypeError, ("forward: x is uint8", "computes in float32", "device.put(x, dtype='float32')")),
            (X[:, :3], ValueError, ("x has shape (12, 3)", "built for (N, 4)")),
            (X[0], ValueError, ("x has shape (4,)", "(N, 4)", "x[None]")),
        ],
        ids=["float64", "uint8", "features", "one sample"],
    )
    def test_forward(self, device, x, error, parts):
        net = trainer_for(device=device).build((4,)).net
        before = bits(net)
        with pytest.raises(error, match=all_in(*parts)):
            net.forward(device.put(x), net.step(training=True))
        assert bits(net) == before

    def test_a_list_to_forward(self, device):
        net = trainer_for(device=device).build((4,)).net
        with pytest.raises(xn.DeviceMismatch, match=all_in("forward: x is a", "list", "device.put(")):
            net.forward(X.tolist(), net.step(training=True))

    def test_one_optimizer_for_two_networks(self, device):
        optimizer = xn.Adam()
        first, second = (
            xn.Trainer(xn.Sequential(xn.Affine(3)), loss=CE(), optimizer=optimizer, device=device) for _ in range(2)
        )
        first.fit(X, LABELS)
        second.build((4,))
        before, steps = bits(second), optimizer.steps
        with pytest.raises(
            ValueError, match=all_in("this Adam has begun to train another network", "optimizer of its own", "reset()")
        ):
            second.fit(X, LABELS)
        assert (bits(second), optimizer.steps) == (before, steps)

    def test_step_passes_forward_and_refuses_backward(self, device):
        net = xn.Sequential(xn.Affine(3), xn.Step()).build((4,), device=device)
        step = net.step(training=True)
        outputs, cache = net.forward(device.put(X), step)
        assert set(np.unique(device.get(outputs))) == {0, 1}
        with pytest.raises(TypeError, match=all_in("Step cannot be trained through", "derivative is 0", "Sigmoid")):
            net.backward(outputs, cache, step)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: xn.Affine(64, 10), r"^Affine\(n_out, \*, bias, init, bias_init\): too many positional arguments$"),
        (lambda: xn.Conv2d(1, 8, 3), r"^Conv2d\(n_out, kernel, \*, stride, .*\): too many positional arguments$"),
        (lambda: xn.MaxPool2d(2, 2), r"^MaxPool2d\(kernel, \*, stride, padding, ceil_mode\): too many positional arguments$"),
        (lambda: xn.Reshape(8, 8, 1), r"^Reshape\(shape\): too many positional arguments$"),
        (lambda: xn.BatchNorm(8), r"^BatchNorm\(\*, epsilon, momentum, affine\): too many positional arguments$"),
        (lambda: xn.Affine(3, dropout=0.5), r"^Affine\(n_out, \*, .*\): got an unexpected keyword argument 'dropout'$"),
    ],
)
def test_arguments_that_an_object_does_not_have(call, message):
    with pytest.raises(TypeError, match=message):
        call()
