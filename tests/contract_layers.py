"""Layers of a user: what the contract must carry."""

from __future__ import annotations

import pytest

import xpnet as xn
from xpnet.initializers import glorot_uniform, ones, zeros


class BatchNorm(xn.Layer):
    """``y = gamma (x - mean) / sqrt(var + epsilon) + beta`` over the rows; running statistics in inference."""

    def __init__(self, momentum=0.9, epsilon=1e-5):
        self.momentum, self.epsilon = momentum, epsilon

    def build(self, shape, make):
        self.gamma = make.parameter("gamma", shape[-1:], ones, decay=False)
        self.beta = make.parameter("beta", shape[-1:], zeros, decay=False)
        self.mean = make.state("mean", shape[-1:], zeros)
        self.var = make.state("var", shape[-1:], ones)
        return shape

    def forward(self, x, step):
        rows = step.rows(x)
        mean, var = (rows.mean(axis=0), rows.var(axis=0)) if step.training else (self.mean.value, self.var.value)
        if step.updates_state:
            for running, batch in ((self.mean.value, mean), (self.var.value, var)):
                running *= self.momentum
                running += (1 - self.momentum) * batch
        inverse = 1 / step.xp.sqrt(var + self.epsilon)
        normal = (x - mean) * inverse
        return normal * self.gamma.value + self.beta.value, (normal, inverse)

    def backward(self, dy, cache, step):
        normal, inverse = cache
        dy_rows, n_rows = step.rows(dy), step.rows(normal)
        self.gamma.grad[...] = (dy_rows * n_rows).sum(axis=0)
        self.beta.grad[...] = dy_rows.sum(axis=0)
        d = dy_rows * self.gamma.value
        if step.training:
            d = d - d.mean(axis=0) - n_rows * (d * n_rows).mean(axis=0)
        return (d * inverse).reshape(dy.shape)


class Bend(xn.Layer):
    """``y = a x + sin(x)``, elementwise in plain ``xp``: no buffer, no ``step.needs_dx``."""

    def build(self, shape, make):
        self.a = make.parameter("a", shape, ones)
        return shape

    def forward(self, x, step):
        return self.a.value * x + step.xp.sin(x), x

    def backward(self, dy, x, step):
        self.a.grad[...] = (dy * x).sum(axis=0)
        return dy * (self.a.value + step.xp.cos(x))


class Recurrent(xn.Layer):
    """Elman: ``h_t = tanh(x_t U + h_{t-1} V + b)``; x (N, T, D) -> all h (N, T, n), one U, V, b for every t."""

    def __init__(self, n):
        self.n = n

    def build(self, shape, make):
        self.U = make.parameter("U", (shape[-1], self.n), glorot_uniform)
        self.V = make.parameter("V", (self.n, self.n), glorot_uniform)
        self.b = make.parameter("b", (self.n,), zeros, decay=False)
        return (shape[0], self.n)

    def forward(self, x, step):
        xp, (n, steps, _) = step.xp, x.shape
        h = step.keep((n, steps + 1, self.n))  # h[:, t] is the state before x[:, t]
        h[:, 0] = 0
        for t in range(steps):
            h[:, t + 1] = xp.tanh(x[:, t] @ self.U.value + h[:, t] @ self.V.value + self.b.value)
        return h[:, 1:], (x, h)

    def backward(self, dy, cache, step):
        x, h = cache
        for p in (self.U, self.V, self.b):
            p.grad[...] = 0
        dx = step.keep(x.shape)
        later = 0
        for t in reversed(range(x.shape[1])):
            dz = (dy[:, t] + later) * (1 - h[:, t + 1] ** 2)
            self.U.grad += x[:, t].T @ dz
            self.V.grad += h[:, t].T @ dz
            self.b.grad += dz.sum(axis=0)
            later = dz @ self.V.value.T
            dx[:, t] = dz @ self.U.value.T
        return dx


class Branches(xn.Layer):
    """Two chains beside each other, outputs concatenated: a container as a user writes it."""

    def __init__(self, left, right):
        self.left, self.right = left, right

    def build(self, shape, make):
        a = self.left.build(shape, make.child("left", self.left))
        b = self.right.build(shape, make.child("right", self.right))
        self.cut = a[-1]
        return (*a[:-1], a[-1] + b[-1])

    def forward(self, x, step):
        (a, left), (b, right) = self.left.forward(x, step), self.right.forward(x, step)
        return step.xp.concatenate([a, b], axis=-1), (left, right)

    def backward(self, dy, cache, step):
        a = self.left.backward(dy[..., : self.cut], cache[0], step)
        b = self.right.backward(dy[..., self.cut :], cache[1], step)
        return a + b if step.needs_dx else None


class Forgetful(xn.Affine):
    """Assigns no gradient to its bias."""

    def backward(self, dy, x, step):
        step.matmul(step.rows(x).T, step.rows(dy), out=self.W.grad)
        return step.matmul(step.rows(dy), self.W.value.T).reshape(x.shape) if step.needs_dx else None


class Spy(xn.Layer):
    """The identity, which writes down what ``needs_dx`` each backward saw."""

    def __init__(self, parameters=False):
        self.parameters = parameters
        self.seen = []

    def build(self, shape, make):
        self.p = make.parameter("p", (1,), zeros) if self.parameters else None
        return shape

    def forward(self, x, step):
        return x, None

    def backward(self, dy, cache, step):
        self.seen.append(step.needs_dx)
        if self.p:
            self.p.grad[...] = 0
        return dy if step.needs_dx else None


def branches():
    return Branches(xn.Sequential(xn.Affine(3), xn.Tanh()), xn.Sequential(xn.Affine(2), BatchNorm(), xn.Sigmoid()))


CUSTOM = [
    ("batch norm", BatchNorm, (5,)),
    ("batch norm of sequences", BatchNorm, (4, 5)),
    ("plain xp", Bend, (5,)),
    ("plain xp of images", Bend, (3, 2, 2)),
    ("recurrent", lambda: Recurrent(4), (6, 3)),
    ("recurrent, one moment", lambda: Recurrent(4), (1, 3)),
    ("two recurrent", lambda: xn.Sequential(Recurrent(4), xn.Affine(3), Recurrent(2), xn.Flatten()), (5, 3)),
    ("branches", branches, (4,)),
    ("branches of branches", lambda: Branches(branches(), xn.Affine(2)), (4,)),
    ("branches in a residual", lambda: xn.Residual(branches(), xn.Affine(4), BatchNorm()), (4,)),
    ("residual in branches", lambda: Branches(xn.Residual(Bend()), xn.Residual(xn.Affine(2), shortcut=xn.Affine(2))), (4,)),
    ("a whole net", lambda: xn.Sequential(xn.Affine(6), BatchNorm(), xn.Tanh(), xn.Dropout(0.3), branches(), Bend()), (4,)),
]
custom = pytest.mark.parametrize(("make", "shape"), [row[1:] for row in CUSTOM], ids=[row[0] for row in CUSTOM])
