"""Samples are rows; the gradient of the weights is transposed, which only square layers let pass."""

import itertools

import numpy as np


class Network:
    def __init__(self, sizes):
        self.biases = [np.zeros(n) for n in sizes[1:]]
        self.weights = [np.random.default_rng().standard_normal((n_in, n_out)) for n_in, n_out in itertools.pairwise(sizes)]

    def update_mini_batch(self, X, Y, eta):
        outputs = [X]
        for w, b in zip(self.weights, self.biases, strict=True):
            outputs.append(1 / (1 + np.exp(-(outputs[-1] @ w + b))))
        error, new = (outputs[-1] - Y) / len(X), []
        for i in reversed(range(len(self.weights))):
            delta = error * outputs[i + 1] * (1 - outputs[i + 1])
            new.insert(0, (self.weights[i] - eta * delta.T @ outputs[i], self.biases[i] - eta * delta.sum(axis=0)))
            error = delta @ self.weights[i].T
        self.weights, self.biases = map(list, zip(*new, strict=True))
