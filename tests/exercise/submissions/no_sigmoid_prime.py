"""The derivative of the sigmoid is left out in hidden layers."""

import itertools

import numpy as np


def sigmoid(z):
    return 1.0 / (1.0 + np.exp(-z))


def sigmoid_prime(z):
    return sigmoid(z) * (1 - sigmoid(z))


class Network:
    def __init__(self, sizes):
        self.biases = [np.random.default_rng().standard_normal((n, 1)) for n in sizes[1:]]
        self.weights = [np.random.default_rng().standard_normal((m, n)) for n, m in itertools.pairwise(sizes)]

    def update_mini_batch(self, mini_batch, eta):
        n = len(mini_batch)
        X = np.hstack([x for x, _ in mini_batch])
        Y = np.hstack([y for _, y in mini_batch])
        nabla_b, nabla_w = self.backprop(X, Y)
        self.weights = [w - eta / n * nw for w, nw in zip(self.weights, nabla_w, strict=True)]
        self.biases = [b - eta / n * nb for b, nb in zip(self.biases, nabla_b, strict=True)]

    def backprop(self, X, Y):
        zs, activations = [], [X]
        for b, w in zip(self.biases, self.weights, strict=True):
            zs.append(w @ activations[-1] + b)
            activations.append(sigmoid(zs[-1]))
        delta = (activations[-1] - Y) * sigmoid_prime(zs[-1])
        nabla_b = [delta.sum(axis=1, keepdims=True)]
        nabla_w = [delta @ activations[-2].T]
        for layer in range(2, len(self.weights) + 1):
            delta = self.weights[-layer + 1].T @ delta
            nabla_b.insert(0, delta.sum(axis=1, keepdims=True))
            nabla_w.insert(0, delta @ activations[-layer - 1].T)
        return nabla_b, nabla_w
