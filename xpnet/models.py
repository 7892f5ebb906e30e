"""Built-in models: small networks with their data, between them every kind of layer, loss and optimizer.

What compares devices or measures them takes its models from here. Each is a function without arguments that
returns ``(trainer, x, y)``: a trainer on the CPU whose network is not built yet, and the NumPy arrays of one minibatch.
A model of one's own is such a function in any file, named ``"file.py:function"``.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from xpnet import architectures, datasets
from xpnet.datasets import one_hot
from xpnet.initializers import constant, glorot_normal, lecun_normal
from xpnet.layers import (
    ELU,
    GELU,
    Add,
    Affine,
    AvgPool2d,
    BatchNorm,
    Concatenate,
    Conv2d,
    Dropout,
    Flatten,
    GaussianNoise,
    GlobalAvgPool2d,
    GroupNorm,
    Identity,
    LayerNorm,
    LeakyReLU,
    MaxPool2d,
    RandomCrop,
    RandomFlip,
    RandomShift,
    ReLU,
    Reshape,
    Residual,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from xpnet.losses import HalfSquaredError, Loss, MeanSquaredError, SigmoidCrossEntropy, SoftmaxCrossEntropy
from xpnet.network import Sequential
from xpnet.optimizers import SGD, AdaGrad, Adam, AdamW, Momentum, Nesterov, Optimizer, RMSProp
from xpnet.schedules import Cosine, LinearWarmup
from xpnet.scripts import as_module, searching, users_frames
from xpnet.training import Trainer

Model = tuple[Trainer, np.ndarray, np.ndarray]
Source = str | Callable[[], Model] | Model


def worked() -> Model:
    """1-1-1 ReLU, mean squared error, input 3, target 4: a lecture's example, small enough to follow by hand."""
    net = Sequential(
        Affine(1, init=constant(0.1), bias_init=constant(0.4)),
        ReLU(),
        Affine(1, init=constant(0.5), bias_init=constant(0.9)),
    )
    trainer = Trainer(net, loss=MeanSquaredError(), optimizer=SGD(0.01), device="cpu", seed=0, dtype="float64")
    return trainer, np.array([[3.0]]), np.array([[4.0]])


def book() -> Model:
    """784-30-10 sigmoid with the quadratic cost, 10 rows: the network of Nielsen's book, chapter 1."""
    x, labels = _classes(10, (784,), 10)
    net = Sequential(Affine(30, init=lecun_normal), Sigmoid(), Affine(10, init=lecun_normal), Sigmoid())
    return _trainer(net, HalfSquaredError(), SGD(0.1)), x, one_hot(labels, 10)


def mlp() -> Model:
    """784-256-128-10 ReLU, softmax cross-entropy, Adam, 64 rows: what is usual on MNIST."""
    net = Sequential(Affine(256), ReLU(), Affine(128), ReLU(), Affine(10))
    return _trainer(net, SoftmaxCrossEntropy(), Adam(1e-3)), *_classes(64, (784,), 10)


def wide() -> Model:
    """1024-2048-2048-1000 ReLU, softmax cross-entropy, SGD, 256 rows: nearly all of it matrix products."""
    net = Sequential(Affine(2048), ReLU(), Affine(2048), ReLU(), Affine(1000))
    return _trainer(net, SoftmaxCrossEntropy(), SGD(0.01)), *_classes(256, (1024,), 1000)


def colors() -> Model:
    """3-50-100-50-3 ReLU, softmax cross-entropy, SGD: whether a colour is red, green or blue; 240 rows."""
    data = datasets.colors()
    net = Sequential(Affine(50), ReLU(), Affine(100), ReLU(), Affine(50), ReLU(), Affine(3))
    return _trainer(net, SoftmaxCrossEntropy(), SGD(0.01)), _standardised(data.x_train), data.y_train


def residual() -> Model:
    """Residual blocks with both kinds of shortcut, dropout, both forms of GELU, AdamW with clipping and a schedule; 32 rows."""
    narrow = Residual(Affine(48), GELU(), Dropout(0.1), Affine(32), shortcut=Affine(32, bias=False))
    plain = Residual(Affine(64), GELU("tanh"), Dropout(0.25), Affine(32))
    net = Sequential(narrow, plain, Affine(5))
    rule = AdamW(LinearWarmup(Cosine(3e-3, steps=100), steps=5), clip_norm=1.0)
    return _trainer(net, SoftmaxCrossEntropy(label_smoothing=0.1), rule), *_classes(32, (20,), 5)


def regression() -> Model:
    """8-32-32-2 tanh with linear outputs, mean squared error, RMSProp with an L2 penalty; 48 rows."""
    net = Sequential(
        Affine(32, init=glorot_normal),
        Tanh(),
        Affine(32, init=glorot_normal),
        Tanh(),
        Affine(2, init=glorot_normal),
        Identity(),
    )
    rng = np.random.default_rng(0)
    x = rng.standard_normal((48, 8))
    y = np.sin(x @ rng.standard_normal((8, 2))) + 0.1 * rng.standard_normal((48, 2))
    return _trainer(net, MeanSquaredError(), RMSProp(1e-3, l2=1e-3)), _standardised(x), _standardised(y)


def tags() -> Model:
    """ELU and leaky ReLU, any number of 6 tags for each of 32 rows by sigmoid cross-entropy, Nesterov's momentum."""
    net = Sequential(Affine(40), ELU(), Affine(40), LeakyReLU(), Affine(6))
    rng = np.random.default_rng(0)
    x = _standardised(rng.standard_normal((32, 12)))
    y = (x @ rng.standard_normal((12, 6)) > 0).astype(np.float32)
    return _trainer(net, SigmoidCrossEntropy(), Nesterov(0.05)), x, y


def pixels() -> Model:
    """Images of 8x8 in a row, SiLU, probabilities by a softmax layer and squared error, momentum, weight decay; 24 rows."""
    net = Sequential(Flatten(), Affine(48), SiLU(), Affine(10), Softmax())
    x, labels = _classes(24, (8, 8), 10)
    return _trainer(net, MeanSquaredError(), Momentum(0.5, weight_decay=1e-3)), x, one_hot(labels, 10)


def sequence() -> Model:
    """12 moments of 6 numbers, the same affine map and softplus for each, then one label; AdaGrad, 16 rows."""
    net = Sequential(Affine(16), Softplus(), Sequential(Flatten(), Affine(24), Tanh()), Affine(4))
    return _trainer(net, SoftmaxCrossEntropy(), AdaGrad(0.02)), *_classes(16, (12, 6), 4)


def lenet() -> Model:
    """Two convolutions and two affine layers on images of 28x28, softmax cross-entropy, momentum; 16 rows."""
    return _trainer(architectures.lenet(), SoftmaxCrossEntropy(), Momentum(0.01)), *_classes(16, (28, 28, 1), 10)


def images() -> Model:
    """Every other layer for images, the three exact ways to convolve, all of it random and normalised; momentum, 12 rows."""
    thin = Sequential(Conv2d(8, 3, padding=1, groups=8, bias=False), Conv2d(12, 1), LayerNorm(), ReLU())
    dilated = Sequential(Conv2d(12, 3, padding=2, dilation=2, groups=2, exact=True), GroupNorm(3), Tanh())
    net = Sequential(
        *(Reshape((12, 11, 3)), RandomShift(1), RandomFlip(), RandomCrop((10, 11), padding=1), GaussianNoise(0.1)),
        *(Conv2d(8, 3, stride=2, padding="same", exact=True), BatchNorm(), ReLU()),
        *(Concatenate(thin, dilated), MaxPool2d(3, stride=2, padding=1)),
        *(Add(AvgPool2d(2, stride=1), Conv2d(24, 2, exact=True)), GlobalAvgPool2d(), Affine(5)),
    )
    return _trainer(net, SoftmaxCrossEntropy(), Momentum(0.05)), *_classes(12, (396,), 5)


MODELS: dict[str, Callable[[], Model]] = {
    f.__name__: f for f in (book, mlp, wide, colors, residual, regression, tags, pixels, sequence, lenet, images, worked)
}


def listing() -> str:
    """A line for each built-in model; their inputs are random numbers but for those of ``worked`` and ``colors``."""
    lines = [f"  {name:11s}{make.__doc__}" for name, make in MODELS.items()]
    return "\n".join(["built-in models (inputs are random numbers, but for those of worked and colors):", *lines])


def load(model: Source) -> Model:
    """The trainer and data of a built-in name, of ``"file.py:function"``, of a function, or of the tuple itself.

    The function is called once. A file of one's own looks like this::

        import numpy as np, xpnet as xn

        def colours():
            net = xn.Sequential(xn.Affine(50), xn.ReLU(), xn.Affine(3))
            trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.01), device="cpu")
            return trainer, np.load("x.npy"), np.load("y.npy")

    Raises ValueError for a name or function that is not there, FileNotFoundError for a file, TypeError for
    a function that returns something else.
    """
    if isinstance(model, str):
        name = model
        if model in MODELS:
            return MODELS[model]()
        path, function = _split(model)
        with searching(path.parent), _naming_the_line():
            return _checked(_function(as_module(path), function, path)(), name)
    if callable(model):
        return _checked(model(), getattr(model, "__name__", repr(model)))
    return _checked(model, "the model")


@contextlib.contextmanager
def _naming_the_line() -> Iterator[None]:
    """An error of the user's file says which it is and in which line it arose, as a traceback would."""
    try:
        yield
    except SyntaxError as error:
        raise ValueError(f"{error.filename}:{error.lineno}: {error.msg}") from error
    except Exception as error:
        if frames := users_frames(error):
            error.add_note(f"{type(error).__name__} at {frames[-1].filename}:{frames[-1].lineno}")
        raise


def _split(name: str) -> tuple[Path, str]:
    """File and function of ``file.py:function``."""
    file, colon, function = name.rpartition(":")
    if not colon or not file.endswith(".py") or not function:
        if name.endswith(".py"):
            raise ValueError(f"model {name!r}: say which function of the file makes the model, {name}:function")
        raise ValueError(f"no model is called {name!r}: say {', '.join(MODELS)}, or file.py:function")
    path = Path(file).expanduser()
    if not path.is_file():
        raise FileNotFoundError(f"model {name!r}: there is no file {path.absolute()}")
    return path.resolve(), function


def _function(module: ModuleType, name: str, path: Path) -> Callable[[], Any]:
    found = getattr(module, name, None)
    if not callable(found):
        own = [k for k, v in vars(module).items() if callable(v) and getattr(v, "__module__", None) == module.__name__]
        raise ValueError(f"{path.name} has no function {name}; it has {', '.join(own) or 'none'}")
    return found


def _checked(found: Any, name: str) -> Model:
    if not isinstance(found, tuple) or len(found) != 3 or not isinstance(found[0], Trainer):
        kind = f"a tuple of {', '.join(type(v).__name__ for v in found)}" if isinstance(found, tuple) else type(found).__name__
        raise TypeError(f"{name} gives {kind}; a model is a tuple (trainer, x, y): an xpnet.Trainer and two arrays")
    return found


def _trainer(net: Sequential, loss: Loss, optimizer: Optimizer) -> Trainer:
    return Trainer(net, loss=loss, optimizer=optimizer, device="cpu", seed=0)


def _classes(n: int, shape: tuple[int, ...], classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Random rows (n, *shape) and labels (n,)."""
    rng = np.random.default_rng(0)
    return _standardised(rng.standard_normal((n, *shape))), rng.integers(0, classes, n)


def _standardised(x: np.ndarray) -> np.ndarray:
    """Every column with mean 0 and standard deviation 1, in float32."""
    return ((x - x.mean(axis=0)) / x.std(axis=0)).astype(np.float32)
