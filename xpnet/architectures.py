"""Networks as functions that read like the papers; but for ``mlp`` all take images (N, H, W, C).

They end in logits, for :class:`xpnet.SoftmaxCrossEntropy`; input sizes are inferred when the network is built.
"""

from __future__ import annotations

from collections.abc import Sequence

from xpnet.checks import check_count, closest
from xpnet.initializers import Initializer, glorot_normal, he_normal
from xpnet.layers import (
    ELU,
    GELU,
    Affine,
    BatchNorm,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LeakyReLU,
    MaxPool2d,
    ReLU,
    Residual,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from xpnet.network import Sequential

VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")
ACTIVATIONS: dict[str, type[Layer]] = {
    "relu": ReLU,
    "sigmoid": Sigmoid,
    "tanh": Tanh,
    "leaky-relu": LeakyReLU,
    "elu": ELU,
    "gelu": GELU,
    "silu": SiLU,
    "softplus": Softplus,
}
SMALL_VGG = (32, 32, "pool", 64, 64, "pool")


def mlp(hidden: Sequence[int], activation: str, outputs: int, *, init: Initializer | None = None) -> Sequential:
    """Affine layers of the widths ``hidden`` with an activation between them, by its name in ``ACTIVATIONS``; rows (N, D).

    Weights start by ``init``; None: as suits the activation, Glorot's or He's, normal.
    """
    if isinstance(hidden, int):
        raise TypeError(f"mlp({hidden}): widths of the hidden layers are needed, ({hidden},)")
    if activation not in ACTIVATIONS:
        hint = closest(str(activation), ACTIVATIONS)
        raise ValueError(f"mlp(activation={activation!r}): choose one of {', '.join(ACTIVATIONS)}{hint}")
    if init is None:
        init = glorot_normal if activation in ("sigmoid", "tanh") else he_normal
    chain = [layer for n in hidden for layer in (Affine(n, init=init), ACTIVATIONS[activation]())]
    return Sequential(*chain, Affine(outputs, init=init))


def lenet(classes: int = 10) -> Sequential:
    """Two convolutions of 5x5 with pooling, two affine layers: LeCun et al., 1998, with 20, 50 and 500 units and ReLU.

    431,080 parameters on 28x28x1. Nielsen's book, chapter 6, has nets of this kind.
    """
    return Sequential(
        *(Conv2d(20, 5), MaxPool2d(2), ReLU()),
        *(Conv2d(50, 5), MaxPool2d(2), ReLU()),
        *(Flatten(), Affine(500), ReLU(), Affine(classes)),
    )


def vgg(classes: int = 10, widths: Sequence[int | str] = SMALL_VGG, hidden: int = 128) -> Sequential:
    """Convolutions of 3x3 with batch normalisation, pooled between stages: a small VGG for 32x32 images.

    Simonyan and Zisserman, ICLR 2015. 591,466 parameters on 32x32x3. ``widths`` are output channels, or "pool".
    """
    if not all(width == "pool" or isinstance(width, int) for width in widths):
        raise ValueError(f"vgg(widths={widths!r}): output channels, or 'pool'")
    layers: list[Layer] = []
    for width in widths:
        layers += [MaxPool2d(2)] if width == "pool" else [Conv2d(int(width), 3, padding=1, bias=False), BatchNorm(), ReLU()]
    return Sequential(*layers, Flatten(), Affine(hidden), ReLU(), Affine(classes))


def vgg16(classes: int = 1000) -> Sequential:
    """Thirteen convolutions and three affine layers: configuration D of Simonyan and Zisserman, ICLR 2015.

    138,357,544 parameters on 224x224x3, nine tenths of them in the affine layers.
    """
    layers: list[Layer] = []
    for width in VGG16:
        layers += [MaxPool2d(2)] if width == "pool" else [Conv2d(int(width), 3, padding=1), ReLU()]
    head = [Affine(4096), ReLU(), Dropout(0.5), Affine(4096), ReLU(), Dropout(0.5), Affine(classes)]
    return Sequential(*layers, Flatten(), *head)


def resnet(classes: int = 10, widths: Sequence[int] = (16, 32, 64), blocks: int = 3) -> Sequential:
    """Stages of residual blocks of two 3x3 convolutions, for 32x32 images: He et al., CVPR 2016, section 4.2.

    6 * ``blocks`` + 2 layers with three stages; 3 blocks make ResNet-20, 272,474 parameters on 32x32x3. Where a stage begins,
    stride 2 halves the images and the shortcut is a 1x1 convolution.
    """
    check_count("resnet(blocks", blocks)
    if not widths:
        raise ValueError(f"resnet(widths={widths!r}): the output channels of one stage or more")
    return Sequential(
        *(Conv2d(widths[0], 3, padding=1, bias=False), BatchNorm(), ReLU()),
        *_stages(widths, blocks),
        *(GlobalAvgPool2d(), Affine(classes)),
    )


def resnet18(classes: int = 1000) -> Sequential:
    """Four stages of two residual blocks, for 224x224 images: He et al., CVPR 2016, table 1.

    11,689,512 parameters on 224x224x3.
    """
    return Sequential(
        *(Conv2d(64, 7, stride=2, padding=3, bias=False), BatchNorm(), ReLU(), MaxPool2d(3, stride=2, padding=1)),
        *_stages((64, 128, 256, 512), blocks=2),
        *(GlobalAvgPool2d(), Affine(classes)),
    )


def _stages(widths: Sequence[int], blocks: int) -> list[Layer]:
    """Residual blocks, each followed by ReLU; every stage but the first begins with stride 2."""
    layers: list[Layer] = []
    for stage, width in enumerate(widths):
        for block in range(blocks):
            layers += [_basic_block(width, halving=stage > 0 and block == 0), ReLU()]
    return layers


def _basic_block(width: int, *, halving: bool) -> Residual:
    """``y = norm(conv(relu(norm(conv(x))))) + shortcut(x)``."""
    stride = 2 if halving else 1
    shortcut = Sequential(Conv2d(width, 1, stride=2, bias=False), BatchNorm()) if halving else None
    return Residual(
        *(Conv2d(width, 3, stride=stride, padding=1, bias=False), BatchNorm(), ReLU()),
        *(Conv2d(int(width), 3, padding=1, bias=False), BatchNorm()),
        shortcut=shortcut,
    )
