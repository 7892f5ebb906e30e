"""Right: only backprop, of columns; it returns sums; float32; biases (1, n); another name than Network."""

import itertools

import numpy as np


class MatrixNet:
    def __init__(self, sizes):
        self.weights = [np.ones((o, i), np.float32) for i, o in itertools.pairwise(sizes)]
        self.biases = [np.zeros((1, o), np.float32) for o in sizes[1:]]

    def backprop(self, X, Y):
        activations = [X.astype(np.float32)]
        for w, b in zip(self.weights, self.biases, strict=True):
            activations.append(1 / (1 + np.exp(-np.dot(w, activations[-1]) - b.T)))
        error = activations[-1] - Y.astype(np.float32)
        nabla_w, nabla_b = [], []
        for w, a, below in zip(self.weights[::-1], activations[:0:-1], activations[-2::-1], strict=True):
            delta = error * a * (1 - a)
            nabla_w.append(np.einsum("in,jn->ij", delta, below))
            nabla_b.append(delta.sum(axis=1)[None])
            error = w.T.dot(delta)
        return nabla_b[::-1], nabla_w[::-1]
