"""The mistakes that learners make in the matrix form, each as an exchange of lines of the right program.

What a submission computes is held against what each mistake computes: which one it is needs no look at the source. A
missing transpose is known by the nets that it stops at, and by what it computes where the shapes happen to fit.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.exercise.program import Program, Two, left_out, of_activation, of_z, product_of_z


class Mistake:
    """What is wrong and how to mend it, in a sentence; ``lines`` are those of :class:`Program` that it exchanges."""

    def __init__(self, key: str, text: str, **lines: Any):
        self.key, self.text, self.lines = key, text, lines


def known(fixed: float) -> list[Mistake]:
    """Every known mistake, likelier ones first; ``fixed`` is the number that a fixed divisor would be."""
    return [*_of_the_update(fixed), *_of_the_deltas(), *_of_the_gradients()]


def variants(program: Program, mistakes: Sequence[Mistake], size: int) -> Iterator[tuple[tuple[Mistake, ...], Program]]:
    """Each ``size`` mistakes that touch different lines, and the program with them; at the output if there is a sigmoid'."""
    possible = [m for m in mistakes if program.output_prime is of_z or "output_prime" not in m.lines]
    for made in itertools.combinations(possible, size):
        lines = {line: value for m in made for line, value in m.lines.items()}
        if len(lines) == sum(len(m.lines) for m in made):
            yield made, dataclasses.replace(program, **lines)


def _of_the_update(fixed: float) -> Iterator[Mistake]:
    mean = "divide by the number of samples"
    yield from _factor("sum-for-mean", f"the sum of the gradients is used, not the mean: {mean}", lambda n, eta: eta)
    yield from _factor("divided-twice", "divided by the number of samples twice: once is enough", lambda n, eta: eta / n**2)
    text = "divided by the number of inputs: samples as columns are X.shape[1], as rows X.shape[0]"
    yield Mistake("divided-by-inputs", text, count=len)
    text = f"divided by {fixed:g} whatever the size of the minibatch, and the last one of an epoch may be smaller: {mean}"
    yield from _factor("fixed-divisor", text, lambda n, eta: eta / fixed)
    yield from _factor("eta-not-used", "eta is not used", lambda n, eta: 1 / n)
    text = "neither weights nor biases have changed: `w = w - ...` in a loop changes a name, not the list"
    yield Mistake("nothing-updated", text, factor_w=_nothing, factor_b=_nothing)
    yield Mistake("biases-not-updated", "the biases are not updated", factor_b=_nothing)
    yield Mistake("weights-not-updated", "the weights are not updated", factor_w=_nothing)
    text = "weights are updated before the delta passes through them: compute all gradients first, then update"
    yield Mistake("updated-before-used", text, updates_first=True)
    text = "the gradients of earlier calls are still in the sum: begin each call at zero"
    yield Mistake("accumulates", text, remembers="sum")
    yield Mistake("repeats", "later calls use the gradients of the first one", remembers="first")


def _of_the_deltas() -> Iterator[Mistake]:
    yield Mistake("sign", "the sign is wrong: the error is a - y, and the update w - eta * gradient", scale=-1.0)
    yield Mistake("factor-two", "twice the gradient: the cost is |a - y|^2 / 2, with the half", scale=2.0)
    yield from _prime("sigmoid-prime-missing", "sigmoid' is left out", left_out)
    yield from _prime("sigmoid-prime-of-activation", "sigmoid' is taken of the activation in place of z", of_activation)
    yield from _prime("sigmoid-prime-of-activation", "a * (1 - a) is computed of z in place of a", product_of_z)
    text = "a transpose is missing where the delta passes back through the weights: w.T @ delta"
    yield Mistake("missing-transpose", f"{text} for weights (n_out, n_in)", back=lambda w, d: w @ d)
    text = "divided by the number of samples in each layer, so that it adds up on the way back: once is enough"
    yield Mistake("divided-twice", text, back=lambda w, d: w.T @ d / d.shape[1])
    text = "the biases are added along the samples, not along the neurons: for samples as columns they are (n, 1)"
    yield Mistake("bias-broadcast", text, add=lambda z, b: z + b[:, 0])


def _of_the_gradients() -> Iterator[Mistake]:
    text = "a transpose is missing in the gradient of the weights: nabla_w = delta @ a.T for samples as columns"
    for product in (lambda d, a: d @ a, lambda d, a: d.T @ a, lambda d, a: d.T @ a.T):
        yield Mistake("missing-transpose", text, nabla_w=product)
    text = "the gradient of the weights is transposed: nabla_w = delta @ a.T for weights (n_out, n_in)"
    yield Mistake("gradient-transposed", text, nabla_w=lambda d, a: a @ d.T)
    text = "the gradient of the biases is not summed over the samples"
    yield Mistake("bias-not-summed", f"{text}: delta.sum(axis=1, keepdims=True) for samples as columns", nabla_b=lambda d: d)
    text = "delta's sum has the shape (n,), and broadcasting makes (n, n) of biases (n, 1): sum with keepdims=True"
    yield Mistake("bias-broadcast", text, nabla_b=lambda d: d.sum(axis=1))
    text = "the gradient of the biases is summed over the neurons: it is one number a neuron, summed over the samples"
    yield Mistake("bias-wrong-axis", text, nabla_b=lambda d: d.sum(axis=0))
    yield Mistake("bias-wrong-axis", text, nabla_b=lambda d: d.sum(axis=0)[:, None])
    text = "all biases of a layer get one gradient, the sum over neurons and samples: sum over the samples only"
    yield Mistake("bias-wrong-axis", text, nabla_b=lambda d: d.sum())
    yield Mistake("bias-wrong-axis", text.replace("the sum", "the mean"), nabla_b=lambda d: d.sum() / len(d))
    yield from _samples("first", slice(0, 1))
    yield from _samples("last", slice(-1, None))


def _factor(key: str, text: str, factor: Callable[[int, float], float]) -> Iterator[Mistake]:
    """The same wrong factor in both updates, in that of the weights, in that of the biases."""
    yield Mistake(key, text, factor_w=factor, factor_b=factor)
    yield Mistake(key, f"in the weights: {text}", factor_w=factor)
    yield Mistake(key, f"in the biases: {text}", factor_b=factor)


def _prime(key: str, text: str, prime: Two) -> Iterator[Mistake]:
    """The same wrong derivative in hidden layers, at the output, everywhere."""
    yield Mistake(key, f"{text} in the hidden layers: delta = (w.T @ delta) * sigmoid_prime(z)", hidden_prime=prime)
    yield Mistake(key, f"{text} at the output: delta = (a - y) * sigmoid_prime(z)", output_prime=prime)
    yield Mistake(
        key,
        f"{text} at the output and in the hidden layers: it is sigmoid_prime(z)",
        hidden_prime=prime,
        output_prime=prime,
    )


def _samples(where: str, one: slice) -> Iterator[Mistake]:
    def w(delta: np.ndarray, a: np.ndarray) -> np.ndarray:
        return delta[:, one] @ a[:, one].T

    def b(delta: np.ndarray) -> np.ndarray:
        return delta[:, one]

    text = f"only the {where} sample of the minibatch counts"
    yield Mistake("one-sample", f"{text}: the gradients are sums over all samples", nabla_w=w, nabla_b=b)
    yield Mistake("bias-one-sample", f"in the biases {text}: nabla_b is the sum of delta over all samples", nabla_b=b)
    yield Mistake("weights-one-sample", f"in the weights {text}: nabla_w = delta @ a.T, of all samples", nabla_w=w)


def _nothing(n: int, eta: float) -> float:
    return 0.0
