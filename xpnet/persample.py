"""Backpropagation one sample at a time, the gradients added up: the oracle of the matrix form, and its baseline."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xpnet.backends.device import Array

if TYPE_CHECKING:
    from xpnet.losses import Loss
    from xpnet.network import Sequential


def backward_per_sample(net: Sequential, loss: Loss, x: Array, y: Array, weights: Array | None = None) -> Array:
    """Assign the gradients of the whole batch by passes of batch one whose gradients are summed; return the loss (0-d).

    Equal to forward and backward of the minibatch up to rounding, random masks included. Where samples interact (batch
    normalisation) it is refused. Nielsen's ``update_mini_batch``, chapter 1.
    """
    if len(x) == 0:
        raise ValueError("zero samples: a mean over none is undefined")
    if mixing := [layer for layer in net.walk() if layer.mixes_samples]:
        raise ValueError(
            f"{mixing[0]!r}: a sample's output depends on the others of its batch, so that one sample at a time is another "
            f"computation; train with per_sample=False"
        )
    with net.device.use():
        return _summed(net, loss, x, y, weights)


def _summed(net: Sequential, loss: Loss, x: Array, y: Array, weights: Array | None) -> Array:
    whole = net.step(training=True)
    whole.begin(x)
    count = loss.total(y, whole, weights)
    gradient = net.parameters.device.xp.zeros_like(net.parameters.grad)
    value = whole.result()
    value.fill(0)
    for i in range(len(x)):
        step = net.step(training=True, number=whole.number, count=count, row=i)
        outputs, cache = net.forward(x[i : i + 1], step)
        part, dy = loss(outputs, y[i : i + 1], step, None if weights is None else weights[i : i + 1])
        net.backward(dy, cache, step)
        gradient += net.parameters.grad
        value += part
    net.parameters.grad[...] = gradient
    return value
