"""The cases in JAX on a CPU, in plain ``jax.numpy``: the whole step is one function for ``jax.jit``."""

from pathlib import Path

import networks
from peer import Peer, cores, needed

EPSILON, KEPT = 1e-5, 0.9  # of batch norm
BETA1, BETA2, TINY = 0.9, 0.999, 1e-8  # Adam


class Outputs:
    """What the last call returned: it may still be in the making."""

    def __init__(self, jax):
        self.jax = jax
        self.last = None

    def synchronize(self):
        self.jax.block_until_ready(self.last)

    def idle(self):
        return all(a.is_ready() for a in self.jax.tree.leaves(self.last))


def peer(case):
    """XLA makes as many threads as there are cores, and has no other way to be told how many."""
    jax = needed("jax", "jax")
    jax.config.update("jax_platforms", "cpu")
    network, outputs = networks.layers(case), Outputs(jax)
    train = jax.jit(step_of(jax, case, network), donate_argnums=0)  # the old parameters' memory is used again
    state = initial(jax, case, network)
    x, y = (jax.device_put(a) for a in networks.rows(case))

    def call():
        nonlocal state
        state, loss = outputs.last = train(state, x, y)
        return loss

    return Peer(call, xla_threads, outputs)


def xla_threads():
    """Those that bear the name of XLA's pool; where none does, or the system does not tell, the cores stand for them."""
    names = [p.read_text() for p in Path("/proc/self/task").glob("*/comm")]
    return {"XLA": sum(name.startswith("tf_XLAEigen") for name in names) or cores()}


def initial(jax, case, network):
    """Parameters, running statistics, the optimizer's vectors and the count of steps."""
    weights, parameters, statistics = networks.weights(case), [], []

    def add(layers, shape):
        for layer in layers:
            kind, *of = layer
            if kind in ("conv", "affine"):
                bias = [jax.numpy.zeros(of[0])] if kind == "affine" or of[3] else []
                parameters.append([jax.numpy.asarray(next(weights)), *bias])
            elif kind == "norm":
                zeros, ones = jax.numpy.zeros(shape[-1]), jax.numpy.ones(shape[-1])
                parameters.append([ones, zeros])
                statistics.append([zeros, ones])
            elif kind == "residual":
                add(of[0], shape)
            shape = networks.after(layer, shape)

    add(network, case.shape)
    vectors = {"sgd": 0, "momentum": 1, "adam": 2}[case.optimizer]
    slots = [jax.tree.map(jax.numpy.zeros_like, parameters) for _ in range(vectors)]
    return jax.tree.map(jax.numpy.copy, (parameters, statistics, slots, jax.numpy.zeros(())))  # donated: no two the same


def step_of(jax, case, network):
    rule = {"sgd": sgd, "momentum": momentum, "adam": adam}[case.optimizer]

    def objective(parameters, statistics, x, y):
        outputs, statistics = forward(jax, network, iter(parameters), iter(statistics), x)
        if case.loss == "half-squared-error":
            return 0.5 * ((outputs - y) ** 2).sum() / len(y), statistics
        logs = jax.nn.log_softmax(outputs)
        return -jax.numpy.take_along_axis(logs, y[:, None], 1).mean(), statistics

    def step(state, x, y):
        parameters, statistics, slots, count = state
        (loss, statistics), grads = jax.value_and_grad(objective, has_aux=True)(parameters, statistics, x, y)
        parameters, slots = rule(jax, case.learning_rate, parameters, grads, slots, count + 1)
        return (parameters, statistics, slots, count + 1), loss

    return step


def forward(jax, layers, parameters, statistics, x):
    """Outputs, and the new running statistics; parameters and old statistics are iterators in the order of the network."""
    changed = []
    for kind, *of in layers:
        if kind == "conv":
            w, *b = next(parameters)
            sizes = ("NHWC", "HWIO", "NHWC")
            x = jax.lax.conv_general_dilated(x, w, (1, 1), [(of[2], of[2])] * 2, dimension_numbers=sizes) + sum(b)
        elif kind == "affine":
            w, b = next(parameters)
            x = x @ w + b
        elif kind == "norm":
            x, new = batch_norm(x, *next(parameters), *next(statistics))
            changed.append(new)
        elif kind == "residual":
            y, new = forward(jax, of[0], parameters, statistics, x)
            x = x + y
            changed += new
        else:
            x = PLAIN[kind](jax, x)
    return x, changed


PLAIN = {
    "relu": lambda jax, x: jax.nn.relu(x),
    "sigmoid": lambda jax, x: jax.nn.sigmoid(x),
    "pool": lambda jax, x: jax.lax.reduce_window(x, -jax.numpy.inf, jax.lax.max, (1, 2, 2, 1), (1, 2, 2, 1), "VALID"),
    "flatten": lambda jax, x: x.reshape(len(x), -1),
    "average": lambda jax, x: x.mean((1, 2)),
}


def batch_norm(x, scale, shift, mean, variance):
    """Outputs, and the new running mean and variance (the unbiased one, as in PyTorch)."""
    axes, n = (0, 1, 2), x.size // x.shape[-1]
    now, spread = x.mean(axes), x.var(axes)
    y = (x - now) * (scale / (spread + EPSILON) ** 0.5) + shift
    return y, [KEPT * mean + (1 - KEPT) * now, KEPT * variance + (1 - KEPT) * spread * (n / (n - 1))]


def sgd(jax, rate, parameters, grads, slots, count):
    return jax.tree.map(lambda p, g: p - rate * g, parameters, grads), slots


def momentum(jax, rate, parameters, grads, slots, count):
    velocity = jax.tree.map(lambda v, g: 0.9 * v + g, slots[0], grads)
    return jax.tree.map(lambda p, v: p - rate * v, parameters, velocity), [velocity]


def adam(jax, rate, parameters, grads, slots, count):
    mean = jax.tree.map(lambda m, g: BETA1 * m + (1 - BETA1) * g, slots[0], grads)
    square = jax.tree.map(lambda s, g: BETA2 * s + (1 - BETA2) * g * g, slots[1], grads)
    a, b = 1 - BETA1**count, 1 - BETA2**count
    return jax.tree.map(lambda p, m, s: p - rate * (m / a) / ((s / b) ** 0.5 + TINY), parameters, mean, square), [mean, square]
