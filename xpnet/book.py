"""The program of Nielsen's book, *Neural Networks and Deep Learning* (2015), chapters 1 and 3: one sample at a time.

What the lectures start from, in plain NumPy and float64: a layer's weights are (n_out, n_in), its biases (n_out, 1), a
sample is a pair of columns. It is the baseline of xpnet's matrix form, the oracle of ``xpnet exercise``, and what a
learner copies to rewrite.
"""

import itertools

import numpy as np


class QuadraticCost:
    """``C = |a - y|^2 / 2``."""

    @staticmethod
    def delta(z, a, y):
        """The derivative of the cost by the output layer's weighted input ``z``."""
        return (a - y) * sigmoid_prime(z)


class CrossEntropyCost:
    """``C = -sum(y ln a + (1 - y) ln(1 - a))``: the sigmoid's derivative cancels."""

    @staticmethod
    def delta(z, a, y):
        return a - y


class Network:
    """A net of sigmoid layers: ``Network([784, 30, 10])``, weights and biases drawn from N(0, 1)."""

    def __init__(self, sizes, cost=QuadraticCost, seed=None):
        self.rng = rng = np.random.default_rng(seed)
        self.sizes, self.cost = sizes, cost
        self.biases = [rng.standard_normal((n, 1)) for n in sizes[1:]]
        self.weights = [rng.standard_normal((n_out, n_in)) for n_in, n_out in itertools.pairwise(sizes)]

    def feedforward(self, a):
        """The net's output (n, 1) for the column ``a``."""
        for b, w in zip(self.biases, self.weights, strict=True):
            a = sigmoid(np.dot(w, a) + b)
        return a

    def SGD(self, training_data, epochs, mini_batch_size, eta, test_data=()):
        """Descend in minibatches of a list of pairs (x, y), shuffled anew every epoch; ``test_data``: pairs (x, label)."""
        for epoch in range(1, epochs + 1):
            shuffled = [training_data[i] for i in self.rng.permutation(len(training_data))]
            for k in range(0, len(shuffled), mini_batch_size):
                self.update_mini_batch(shuffled[k : k + mini_batch_size], eta)
            print(f"Epoch {epoch}: {self.evaluate(test_data)} / {len(test_data)}")

    def evaluate(self, test_data):
        """How many pairs (x, label) the net gets right: its answer is the output that is largest."""
        return sum(int(np.argmax(self.feedforward(x)) == label) for x, label in test_data)

    def update_mini_batch(self, mini_batch, eta):
        """One step of gradient descent: the mean gradient of a list of pairs (x, y), times ``eta``."""
        nabla_b = [np.zeros(b.shape) for b in self.biases]
        nabla_w = [np.zeros(w.shape) for w in self.weights]
        for x, y in mini_batch:
            delta_nabla_b, delta_nabla_w = self.backprop(x, y)
            nabla_b = [nb + dnb for nb, dnb in zip(nabla_b, delta_nabla_b, strict=True)]
            nabla_w = [nw + dnw for nw, dnw in zip(nabla_w, delta_nabla_w, strict=True)]
        self.weights = [w - (eta / len(mini_batch)) * nw for w, nw in zip(self.weights, nabla_w, strict=True)]
        self.biases = [b - (eta / len(mini_batch)) * nb for b, nb in zip(self.biases, nabla_b, strict=True)]

    def backprop(self, x, y):
        """The gradients of one sample's cost, layer by layer: (those by the biases, those by the weights)."""
        nabla_b = [np.zeros(b.shape) for b in self.biases]
        nabla_w = [np.zeros(w.shape) for w in self.weights]
        activation, activations, zs = x, [x], []  # forward, keeping everything
        for b, w in zip(self.biases, self.weights, strict=True):
            z = np.dot(w, activation) + b
            zs.append(z)
            activation = sigmoid(z)
            activations.append(activation)
        delta = self.cost.delta(zs[-1], activations[-1], y)  # backward
        nabla_b[-1] = delta
        nabla_w[-1] = np.dot(delta, activations[-2].T)
        for layer in range(2, len(self.sizes)):
            delta = np.dot(self.weights[-layer + 1].T, delta) * sigmoid_prime(zs[-layer])
            nabla_b[-layer] = delta
            nabla_w[-layer] = np.dot(delta, activations[-layer - 1].T)
        return nabla_b, nabla_w


def sigmoid(z):
    """``1 / (1 + exp(-z))``."""
    return 1.0 / (1.0 + np.exp(-z))


def sigmoid_prime(z):
    """The sigmoid's derivative."""
    return sigmoid(z) * (1 - sigmoid(z))
