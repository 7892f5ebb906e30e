"""What the softmax cross-entropy computes: in NumPy here, in one launch each on a GPU (:mod:`xpnet.backends.rows`)."""

from __future__ import annotations

from typing import Any

from xpnet.backends.device import Array
from xpnet.backends.recording import call, plain
from xpnet.backends.rows import fused, losses
from xpnet.losses.base import NUMBER, scale
from xpnet.step import Pass

FEW = 32  # classes: rows so short take NumPy longer than the columns of a transposed copy


@fused(losses.softmax_cross_entropy)
def softmax_cross_entropy(
    step: Pass,
    z: Array,
    targets: Array,
    classes: Array | None,
    weights: Array | None,
    count: Any,
    dz: Array,
    value: Array,
    smoothing: float,
    ignore: int | None,
) -> None:
    """Value and gradient by logits ``z`` (rows, K), for labels (rows,) or probabilities (rows, K).

    ``classes`` (K,) are the classes' weights, ``weights`` those of samples, each of as many neighbouring rows. ``dz`` may
    be ``z``; all arrays lie in C order.
    """
    if is_labels(targets) and classes is weights is ignore is None and not smoothing:
        of_labels(step, z, targets, count, dz, value)
        return
    xp = step.xp
    column, shifted = step.scratch((len(z), 1)), step.scratch(z.shape)
    xp.subtract(z, xp.max(z, axis=1, keepdims=True, out=column), out=shifted)
    xp.exp(shifted, out=dz)
    xp.sum(dz, axis=1, keepdims=True, out=column)
    xp.divide(dz, column, out=dz)
    q, mass = distribution(z, targets, classes, weights, smoothing, ignore, step)
    if mass is not None:
        xp.multiply(dz, mass, out=dz)
    xp.subtract(dz, q, out=dz)
    xp.subtract(xp.log(column, out=column), shifted, out=shifted)  # -log softmax
    xp.copyto(shifted, 0, where=xp.equal(q, 0, out=step.scratch(z.shape, "bool")))  # 0 * inf is NaN
    xp.multiply(shifted, q, out=shifted)
    xp.sum(shifted, out=value)
    scale(value, 1, count)
    scale(dz, 1, count)


def of_labels(step: Pass, z: Array, labels: Array, count: Any, dz: Array, value: Array) -> None:
    """``value`` = sum of ``log sum_j exp(z_j - top) + top - z_label``, ``dz`` = softmax, less 1 at labels; both over count.

    NumPy alone (and with few calls: a small batch takes as long as they are many).
    """
    xp, (n, k) = step.xp, z.shape
    factor, logs = reciprocal(count, step), step.scratch((2, n))
    sums, top = logs[0], logs[1]
    here, wanted, share = step.scratch((n,), "int64"), step.scratch((n,)), step.scratch((n,))
    xp.add(labels if labels.dtype != "uint64" else labels.view("int64"), step.device.row_starts(n, k), here)
    call(plain(z).reshape(-1).take, here, None, wanted, "clip")
    ones = step.arena.ones(k)
    if k <= FEW:
        across = step.scratch((k, n))
        xp.copyto(across, z.T)
        xp.maximum.reduce(across, 0, None, top)
        xp.subtract(across, top, across)
        xp.exp(across, across)
        xp.dot(ones, across, sums)
        xp.multiply(across, xp.divide(factor, sums, share), across)
        xp.copyto(dz, across.T)
    else:
        xp.maximum.reduce(z, 1, None, top)
        xp.subtract(z, top.reshape(n, 1), dz)
        xp.exp(dz, dz)
        xp.dot(dz, ones, sums)
        xp.multiply(dz, xp.divide(factor, sums, share).reshape(n, 1), dz)
    xp.subtract.at(dz.reshape(-1), here, factor)
    xp.log(sums, sums)
    xp.subtract(top, wanted, top)
    step.device.dot(logs.reshape(-1), step.arena.ones(2 * n), value)
    xp.multiply(value, factor, value)


def reciprocal(count: Any, step: Pass) -> Array:
    """``1 / count`` as a 0-d array, with which NumPy computes sooner than with a Python number."""
    result = step.scratch(())
    if isinstance(count, NUMBER):
        result.fill(1 / count)
    else:
        step.xp.divide(1, count, out=result)
    return result


def distribution(
    z: Array,
    targets: Array,
    classes: Array | None,
    weights: Array | None,
    smoothing: float,
    ignore: int | None,
    step: Pass,
) -> tuple[Array, Array | None]:
    """Target distribution of every row, weighted, and its sum over classes (rows, 1), None where that is 1."""
    xp = step.xp
    q = one_hot(targets, z.shape[1], step) if is_labels(targets) else targets
    ignored = targets if is_labels(targets) and ignore is not None else None
    rows = None if weights is ignored is None else row_weights(len(z), weights, step, ignored, ignore)
    if rows is None and not smoothing and classes is None:
        return q, None
    q = xp.multiply(q, 1 - smoothing, out=step.scratch(z.shape), dtype=step.dtype)
    xp.add(q, smoothing / z.shape[1], out=q)
    if classes is not None:
        xp.multiply(q, classes, out=q)
    if rows is not None:
        xp.multiply(q, rows, out=q)
    return q, xp.sum(q, axis=1, keepdims=True, out=step.scratch((len(z), 1)))


@fused(losses.label_weight)
def label_weight(
    step: Pass, labels: Array, classes: Array | None, weights: Array | None, ignore: int | None, out: Array
) -> None:
    """What all rows count for: each its class's weight times its sample's, 0 where the label is ``ignore``."""
    xp = step.xp
    ignored = None if ignore is None else labels
    rows = None if weights is ignored is None else row_weights(labels.size, weights, step, ignored, ignore)
    if classes is not None:
        found = one_hot(labels, len(classes), step)
        by_class = xp.multiply(found, classes, out=step.scratch(found.shape))
        rows = by_class if rows is None else xp.multiply(by_class, rows, out=by_class)
    xp.sum(rows, out=out)


def row_weights(rows: int, weights: Array | None, step: Pass, labels: Array | None = None, ignore: int | None = None) -> Array:
    """What each row of outputs counts for, (rows, 1): its sample's weight, 0 where the label is the one to ignore."""
    found = step.scratch((rows,))
    found.fill(1)
    if weights is not None:
        step.xp.copyto(found.reshape(len(weights), -1), weights.reshape(-1, 1))
    if labels is not None:
        used = step.xp.not_equal(labels, ignore, out=step.scratch((rows,), "bool"))
        step.xp.multiply(found, used, out=found)
    return found.reshape(-1, 1)


def one_hot(labels: Array, classes: int, step: Pass) -> Array:
    """Comparison instead of indexing: nothing wraps on a GPU, and no host has to look at the labels."""
    return step.xp.equal(labels.reshape(-1, 1), step.device.arange(classes), out=step.scratch((labels.size, classes), "bool"))


def is_labels(targets: Array) -> bool:
    return targets.dtype.kind != "f"


def in_order(a: Array, step: Pass) -> Array:
    """The array, or where it does not lie in C order a copy that does."""
    if a.flags.c_contiguous:
        return a
    copy = step.scratch(a.shape, a.dtype)
    step.xp.copyto(copy, a)
    return copy
