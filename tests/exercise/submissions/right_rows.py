"""Right: samples are rows, weights (n_in, n_out), biases (n,), the cross-entropy cost, arrays updated in place."""

import itertools

import numpy as np


class Network:
    def __init__(self, sizes):
        rng = np.random.default_rng(1)
        self.biases = [np.zeros(n) for n in sizes[1:]]
        self.weights = [rng.standard_normal((n_in, n_out)) for n_in, n_out in itertools.pairwise(sizes)]

    def update_mini_batch(self, X, Y, eta):
        outputs = [X]
        for w, b in zip(self.weights, self.biases, strict=True):
            outputs.append(1 / (1 + np.exp(-(outputs[-1] @ w + b))))
        delta = (outputs[-1] - Y) / len(X)
        for i in reversed(range(len(self.weights))):
            a = outputs[i]
            before = delta @ self.weights[i].T * a * (1 - a)
            self.weights[i] -= eta * a.T @ delta
            self.biases[i] -= eta * delta.sum(axis=0)
            delta = before
