"""The weights are updated before the delta passes back through them; samples are rows."""

import itertools

import numpy as np


class Network:
    def __init__(self, sizes):
        self.biases = [np.zeros((1, n)) for n in sizes[1:]]
        self.weights = [np.random.default_rng().standard_normal((n_in, n_out)) for n_in, n_out in itertools.pairwise(sizes)]

    def update_mini_batch(self, X, Y, eta):
        outputs = [X]
        for w, b in zip(self.weights, self.biases, strict=True):
            outputs.append(1 / (1 + np.exp(-(outputs[-1] @ w + b))))
        error = outputs[-1] - Y
        for i in reversed(range(len(self.weights))):
            delta = error * outputs[i + 1] * (1 - outputs[i + 1])
            self.weights[i] -= eta / len(X) * outputs[i].T @ delta
            self.biases[i] -= eta / len(X) * delta.sum(axis=0)
            error = delta @ self.weights[i].T
