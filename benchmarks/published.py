"""Training runs that others timed on a CPU and a GPU, with the same networks here: what predictions are compared with.

Each time is of one training step, converted from what was published by the arithmetic that stands there. None was
measured by us. What is not known of a run, and where our network differs from theirs, stands in its note.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from xpnet.layers import Affine, Conv2d, Dropout, Flatten, Layer, LeakyReLU, MaxPool2d, ReLU, Sigmoid
from xpnet.losses import SoftmaxCrossEntropy
from xpnet.models import Model
from xpnet.network import Sequential
from xpnet.optimizers import SGD, Adam, Momentum, Optimizer
from xpnet.training import Trainer

CUPY_CALL = 15e-6  # a call from the host, as in the host block of gpus.json
TORCH_CALL = 5e-6  # eager: 4.2 us (RTX 5090), 8 us (A100, flagos-ai/Torch-FL/pull/27), 2 to 7 us (pytorch/issues/41383)
MNIST = 60_000


@dataclass(frozen=True, kw_only=True)
class Pair:
    """One published run on a CPU and on a GPU; times are seconds per training step.

    ``gpu`` names the profile to predict with, ``gpu_is_guess`` says that the source does not name the GPU or its form.
    ``host_call_seconds`` is the framework's own cost of one operation on the host, None where no figure was found.
    ``model`` makes ``(trainer, x, y)`` with the network and batch of that run and random data.
    """

    name: str
    source: str
    framework: str
    hardware: str
    gpu: str
    gpu_is_guess: bool = False
    batch: int
    cpu_seconds: float | None
    gpu_seconds: float | None
    host_call_seconds: float | None = None
    reads_loss_each_step: bool = False
    note: str
    model: Callable[[], Model]


def dezero() -> Model:
    """784-784-1000-10 sigmoid, SGD, 100 rows."""
    return _mlp([784, 1000], Sigmoid, SGD(0.01), batch=100)


def nn_grad() -> Model:
    """784-512-512-10 leaky ReLU, momentum with an L2 penalty, 100 rows."""
    return _mlp([512, 512], LeakyReLU, Momentum(0.1, 0.9, l2=1e-4, decay_all=True), batch=100)


def keras_wide() -> Model:
    """784-750-150-50-50-10 ReLU with dropout, Adam, 128 rows."""
    return _mlp([750, 150, 50, 50], ReLU, Adam(2e-3), batch=128, dropout=0.2)


def keras_narrow() -> Model:
    """784-100-150-50-50-10 ReLU with dropout, Adam, 128 rows."""
    return _mlp([100, 150, 50, 50], ReLU, Adam(2e-3), batch=128, dropout=0.2)


def op_by_op() -> Model:
    """784-128-10 ReLU, SGD, 32 rows."""
    return _mlp([128], ReLU, SGD(0.1), batch=32)


def reuters() -> Model:
    """1000-512-46 ReLU with dropout, Adam, 128 rows."""
    return _mlp([512], ReLU, Adam(1e-3), batch=128, dropout=0.5, inputs=1000, classes=46)


def simple2d() -> Model:
    """2-50-50-2 sigmoid, momentum, 25 rows."""
    return _mlp([50, 50], Sigmoid, Momentum(0.02, 0.9), batch=25, inputs=2, classes=2)


def lenet() -> Model:
    """Convolutions of 5x5 to 6 and 16 channels, affine layers of 120, 84 and 10, Adam, 2048 images of 28x28."""
    net = Sequential(
        *(Conv2d(6, 5), ReLU(), MaxPool2d(2)),
        *(Conv2d(16, 5), ReLU(), MaxPool2d(2)),
        *(Flatten(), Affine(120), ReLU(), Affine(84), ReLU(), Affine(10)),
    )
    return _with_data(net, Adam(3e-4), 2048, (28, 28, 1), 10)


def mnist_conv() -> Model:
    """Convolutions of 3x3 to 32 and 64 channels, pooled, dropout, one affine layer, Adam, 256 images of 28x28."""
    net = Sequential(
        *(Conv2d(32, 3), ReLU(), MaxPool2d(2)),
        *(Conv2d(64, 3), ReLU(), MaxPool2d(2)),
        *(Flatten(), Dropout(0.5), Affine(10)),
    )
    return _with_data(net, Adam(1e-3), 256, (28, 28, 1), 10)


def _mlp(
    hidden: list[int],
    activation: type[Layer],
    optimizer: Optimizer,
    *,
    batch: int,
    dropout: float = 0.0,
    inputs: int = 784,
    classes: int = 10,
) -> Model:
    """Affine layers with an activation, and dropout where asked, after each but the last."""
    layers: list[Layer] = []
    for width in hidden:
        layers += [Affine(width), activation(), *([Dropout(dropout)] if dropout else [])]
    return _with_data(Sequential(*layers, Affine(classes)), optimizer, batch, (inputs,), classes)


def _with_data(net: Sequential, optimizer: Optimizer, batch: int, shape: tuple[int, ...], classes: int) -> Model:
    rng = np.random.default_rng(0)
    trainer = Trainer(net, loss=SoftmaxCrossEntropy(), optimizer=optimizer, device="cpu", seed=0)
    return trainer, rng.standard_normal((batch, *shape), dtype=np.float32), rng.integers(0, classes, batch)


NN_GRAD_STEPS = 10 * MNIST // 100  # of 10 epochs
NN_GRAD = "sjjeong94/nn-grad@407f76e:README.md, test.py, test_cuda.py"
STACK_STEPS = 10 * -(-MNIST // 128)  # of 10 epochs, the last batch smaller
STACK = "stackoverflow.com/questions/42097115 (2017-02)"
STACK_NOTE = "Nadam there, Adam here; the batch comes from the host each step; times include the start of the session."
FLUX_STEPS = 10 * -(-MNIST // 2048)
FLUX = "julialang.org/blog/2022/04/simple-chains"
FLUX_NOTE = (
    "The second run of 10 epochs, without compilation. The batch of 2048 is stated for the PyTorch runs beside it and assumed "
    "for Flux; Flux is slow on CPUs here, PyTorch took 11 and 15 s on them. The loader is not shown."
)
KERAS = "keras-team/keras@0c7c8d0:keras/benchmarks/keras_examples_benchmarks/README.md"
KERAS_NOTE = (
    "Two GPUs that share the batch, one predicted, so communication is in the time and half of the work is not. The script at "
    "hand runs its form for two GPUs with 512 rows, the table says {batch} for both. The batch comes from the host each step, "
    "and a callback of the benchmark reads the loss."
)

PAIRS = (
    Pair(
        name="dezero",
        source="oreilly-japan/deep-learning-from-scratch-3@b5f3cf1:examples/mnist_colab_gpu.ipynb, stored outputs",
        framework="DeZero 0.0.11, NumPy 1.17 and CuPy",
        hardware="Google Colab, early 2020",
        gpu="T4",
        gpu_is_guess=True,
        batch=100,
        cpu_seconds=(7.8949 + 7.8918 + 7.9565 + 7.8198 + 7.9302) / 5 / (MNIST / 100),
        gpu_seconds=(1.5356 + 1.5687 + 1.5498 + 1.5433 + 1.5512) / 5 / (MNIST / 100),
        host_call_seconds=CUPY_CALL,
        reads_loss_each_step=True,
        note="MLP((784, 1000, 10)) lists outputs in DeZero: three layers; the input's gradient is computed too. "
        "Both times include a loader in Python that transforms and stacks 100 rows one by one and copies them to the GPU.",
        model=dezero,
    ),
    Pair(
        name="nn-grad",
        source=NN_GRAD,
        framework="nn-grad, NumPy and CuPy",
        hardware="not stated (2022)",
        gpu="RTX 3060",
        gpu_is_guess=True,
        batch=100,
        cpu_seconds=29.577 / NN_GRAD_STEPS,
        gpu_seconds=8.965 / NN_GRAD_STEPS,
        host_call_seconds=CUPY_CALL,
        note="About 88 CuPy calls a step by our reading, and two copies of indices; 10 passes over all 70,000 images are "
        "included. Of two versions of nncu.py the one at hand makes its weights in float64; float32 is assumed.",
        model=nn_grad,
    ),
    Pair(
        name="nn-grad-torch",
        source=NN_GRAD,
        framework="PyTorch, eager",
        hardware="not stated (2022), as nn-grad",
        gpu="RTX 3060",
        gpu_is_guess=True,
        batch=100,
        cpu_seconds=18.076 / NN_GRAD_STEPS,
        gpu_seconds=5.426 / NN_GRAD_STEPS,
        host_call_seconds=TORCH_CALL,
        note="The same network and loop as nn-grad, 10 passes over all 70,000 images included.",
        model=nn_grad,
    ),
    Pair(
        name="keras-wide",
        source=STACK,
        framework="Keras, TensorFlow 1 graph",
        hardware="i7-6700K; GPU not stated",
        gpu="GTX 980 Ti",
        gpu_is_guess=True,
        batch=128,
        cpu_seconds=103.7 / STACK_STEPS,
        gpu_seconds=29.5 / STACK_STEPS,
        reads_loss_each_step=True,
        note=f"{STACK_NOTE} The text speaks of 1000 hidden units, the code that was timed has 750.",
        model=keras_wide,
    ),
    Pair(
        name="keras-narrow",
        source=STACK,
        framework="Keras, TensorFlow 1 graph",
        hardware="i7-6700K; GPU not stated",
        gpu="GTX 980 Ti",
        gpu_is_guess=True,
        batch=128,
        cpu_seconds=15 / STACK_STEPS,
        gpu_seconds=20 / STACK_STEPS,
        reads_loss_each_step=True,
        note=f'{STACK_NOTE} "~20" and "~15" s with "100 hidden neurons": taken as the width of the first layer.',
        model=keras_narrow,
    ),
    Pair(
        name="tensorflow-op-by-op",
        source="indepth.dev/posts/2006; the batch from /posts/1016",
        framework="TensorFlow, op by op",
        hardware="i9-10885H and Quadro RTX 5000",
        gpu="Quadro RTX 5000 Mobile",
        gpu_is_guess=True,
        batch=32,
        cpu_seconds=4.4 / (MNIST / 32),
        gpu_seconds=6.5 / (MNIST / 32),
        note="The processor is a laptop's, so the GPU is taken to be the mobile form. Optimizer and loader not known to us.",
        model=op_by_op,
    ),
    Pair(
        name="flux-lenet-a100",
        source=FLUX,
        framework="Flux",
        hardware="A100; EPYC 7513, 32 cores",
        gpu="A100 40GB",
        gpu_is_guess=True,
        batch=2048,
        cpu_seconds=73.762709 / FLUX_STEPS,
        gpu_seconds=1.676934 / FLUX_STEPS,
        note=FLUX_NOTE,
        model=lenet,
    ),
    Pair(
        name="flux-lenet-v100",
        source=FLUX,
        framework="Flux",
        hardware="V100; i9-10980XE, 18 cores",
        gpu="V100 PCIe",
        gpu_is_guess=True,
        batch=2048,
        cpu_seconds=44.241192 / FLUX_STEPS,
        gpu_seconds=2.309766 / FLUX_STEPS,
        note=FLUX_NOTE,
        model=lenet,
    ),
    Pair(
        name="keras-reuters",
        source=KERAS,
        framework="Keras, TensorFlow 2 graph",
        hardware="8 virtual CPUs; 2 V100 of Google Cloud",
        gpu="V100 SXM2",
        batch=128,
        cpu_seconds=128 / 17678.54,
        gpu_seconds=128 / 25435.14,
        reads_loss_each_step=True,
        note=KERAS_NOTE.format(batch=128),
        model=reuters,
    ),
    Pair(
        name="keras-mnist-conv",
        source=KERAS,
        framework="Keras, TensorFlow 2 graph",
        hardware="8 virtual CPUs; 2 V100 of Google Cloud",
        gpu="V100 SXM2",
        batch=256,
        cpu_seconds=256 / 4915.26,
        gpu_seconds=256 / 47899.32,
        reads_loss_each_step=True,
        note=KERAS_NOTE.format(batch=256),
        model=mnist_conv,
    ),
    Pair(
        name="cntk-simple2d",
        source="microsoft/CNTK/issues/751 (2016-08); Examples/Other/Simple2d/Config/Simple.cntk",
        framework="CNTK 1.6",
        hardware="i7-6700K and GTX 980 Ti",
        gpu="GTX 980 Ti",
        batch=25,
        cpu_seconds=25 / 40_000,
        gpu_seconds=25 / 35_000,
        note='">40k" and "~35k" samples/s; two hidden layers of 50 and batches of 25 are the example\'s. The reader is in both '
        "times, and whether the loss is read each step is not known.",
        model=simple2d,
    ),
)
