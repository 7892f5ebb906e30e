"""Right programs in many styles, none of which may be accused, and wrong ones that differ from them in a line."""

from __future__ import annotations

import dataclasses

import pytest
from submission_helpers import RIGHT, edited

from xpnet import exercise
from xpnet.exercise import speed

STACK_X, STACK_Y = "        X = np.hstack([x for x, _ in mini_batch])\n", "        Y = np.hstack([y for _, y in mini_batch])\n"
FORWARD = "            zs.append(w @ activations[-1] + b)\n"
DELTA = "        delta = (activations[-1] - Y) * sigmoid_prime(zs[-1])\n"
BACK = "            delta = (self.weights[-layer + 1].T @ delta) * sigmoid_prime(zs[-layer])\n"


@pytest.fixture
def judged(tmp_path):
    """Judges a text, or that of the right program with one piece for another."""

    def examine(*edits, text=RIGHT):
        file = tmp_path / "mine.py"
        file.write_text(edited(*edits, text=text))
        return exercise.examine(file, seconds=0)

    return examine


EDITS = {
    "number by number": [
        (STACK_X, "        X = np.array([[v[0] for v in x] for x, _ in mini_batch]).T\n"),
        (STACK_Y, "        Y = np.array([[float(v) for v in y[:, 0]] for _, y in mini_batch]).T\n"),
    ],
    "squeezed": [
        (STACK_X, "        X = np.array([x for x, _ in mini_batch]).squeeze(axis=2).T\n"),
        (STACK_Y, "        Y = np.array([y.ravel() for _, y in mini_batch]).T\n"),
    ],
    "zip and map": [(STACK_X, "        X, Y = map(np.column_stack, zip(*mini_batch))\n"), (STACK_Y, "")],
    "column after column": [
        (STACK_X, "        X, Y = mini_batch[0]\n"),
        (
            STACK_Y,
            "        for x, y in mini_batch[1:]:\n            X, Y = np.append(X, x, axis=1), np.concatenate((Y, y), 1)\n",
        ),
    ],
    "shuffled copy": [
        ("import numpy as np\n", "import random\n\nimport numpy as np\n"),
        (STACK_X, f"        mini_batch = mini_batch[:]\n        random.shuffle(mini_batch)\n{STACK_X}"),
    ],
    "stacked late": [
        (STACK_Y, ""),
        ("self.backprop(X, Y)", "self.backprop(X, mini_batch)"),
        (DELTA, f"        Y = np.hstack([y for _, y in Y])\n{DELTA}"),
    ],
    "prints": [(DELTA, f"        print(activations, f'{{zs[-1]}}', repr(Y))\n{DELTA}")],
    "checks": [(DELTA, f"        np.testing.assert_allclose(sigmoid(zs[-1]), activations[-1])\n{DELTA}")],
    "a branch": [(DELTA, f"        if X.shape[1] == 8:\n            print(np.max(activations[-1]))\n{DELTA}")],
    "np.matrix": [
        ("np.random.default_rng().standard_normal((m, n))", "np.asmatrix(np.ones((m, n)))"),
        (FORWARD, "            zs.append(np.asarray(w * np.asmatrix(activations[-1])) + b)\n"),
        ("self.weights[-layer + 1].T @ delta", "np.asarray(self.weights[-layer + 1].T * delta)"),
    ],
    "einsum": [
        (FORWARD, "            zs.append(np.einsum('oi,in->on', w, activations[-1]) + b)\n"),
        ("delta @ activations[-layer - 1].T", "np.einsum('in,jn->ij', delta, activations[-layer - 1], optimize=True)"),
    ],
    "where and masks": [
        (
            "    return 1.0 / (1.0 + np.exp(-z))\n",
            "    out = np.empty_like(z)\n    out[z >= 0] = 1 / (1 + np.exp(-z[z >= 0]))\n"
            "    out[z < 0] = 1 - 1 / (1 + np.exp(z[z < 0]))\n    return np.where(np.isfinite(out), out, 0.5)\n",
        ),
    ],
    "in place": [
        (
            "    return 1.0 / (1.0 + np.exp(-z))\n",
            "    z = np.negative(z)\n    np.exp(z, out=z)\n    z += 1\n    return np.reciprocal(z, out=z)\n",
        ),
    ],
    "float32 in Fortran's order": [
        ("np.random.default_rng().standard_normal((m, n))", "np.asfortranarray(np.ones((m, n), np.float32))"),
        ("np.random.default_rng().standard_normal((n, 1))", "np.zeros((n, 1), np.float32)"),
    ],
    "threads": [
        ("import numpy as np\n", "from concurrent.futures import ThreadPoolExecutor\n\nimport numpy as np\n"),
        (
            "[w - eta / n * nw for w, nw in zip(self.weights, nabla_w, strict=True)]",
            "list(ThreadPoolExecutor(2).map(lambda w, nw: w - eta / n * nw, self.weights, nabla_w))",
        ),
    ],
    "the samples as arrays, eta by another name": [
        ("(self, mini_batch, eta)", "(self, X, Y, rate=3.0)"),
        ("len(mini_batch)", "X.shape[1]"),
        (STACK_X, ""),
        (STACK_Y, ""),
        ("eta / n", "rate / n"),
    ],
    "more arguments": [
        ("(self, sizes)", "(self, sizes, *, cost='quadratic')"),
        ("(self, mini_batch, eta)", "(self, mini_batch, eta, lmbda=0.0, n=1)"),
    ],
}


@pytest.mark.filterwarnings("ignore:the matrix subclass")
@pytest.mark.parametrize("name", EDITS)
def test_edited(judged, name):
    assert judged(*EDITS[name]).ok


PREFIX = """
from itertools import pairwise

import numpy as np


def sigmoid(z):
    return 1 / (1 + np.exp(-z))


"""
WHOLE = {
    "(N, n, 1)": """
class Network:
    def __init__(self, sizes):
        self.weights = [np.ones((o, i)) for i, o in pairwise(sizes)]
        self.biases = [np.ones((o, 1)) for o in sizes[1:]]

    def update_mini_batch(self, mini_batch, eta):
        a, y = [np.array([x for x, _ in mini_batch])], np.stack([y for _, y in mini_batch])
        for w, b in zip(self.weights, self.biases):
            a.append(sigmoid(np.matmul(w, a[-1]) + b))
        delta = (a[-1] - y) * a[-1] * (1 - a[-1]) * eta / len(y)
        for i in reversed(range(len(self.weights))):
            step = (delta @ np.swapaxes(a[i], 1, 2)).sum(axis=0)
            self.biases[i] = self.biases[i] - delta.sum(axis=0)
            delta = self.weights[i].T @ delta * a[i] * (1 - a[i])
            self.weights[i] = self.weights[i] - step
""",
    "biases in the weights": """
class Network:
    def __init__(self, sizes):
        self.weights = [np.ones((o, i)) for i, o in pairwise(sizes)]
        self.biases = [np.ones((o, 1)) for o in sizes[1:]]

    def update_mini_batch(self, mini_batch, eta):
        X, Y = (np.hstack(columns) for columns in zip(*mini_batch))
        one = np.ones((1, X.shape[1]))
        W = [np.hstack([b, w]) for b, w in zip(self.biases, self.weights)]
        A = [np.vstack([one, X])]
        for w in W:
            A.append(np.vstack([one, sigmoid(w @ A[-1])]))
        D = (A[-1][1:] - Y) * A[-1][1:] * (1 - A[-1][1:])
        for i in reversed(range(len(W))):
            new = W[i] - eta * D @ A[i].T / X.shape[1]
            D = (W[i].T @ D * A[i] * (1 - A[i]))[1:]
            self.biases[i], self.weights[i] = new[:, :1], new[:, 1:]
""",
    "layers of their own": """
class Layer:
    def __init__(self, n_in, n_out):
        self.w, self.b = np.ones((n_out, n_in)), np.ones((n_out, 1))

    def forward(self, x):
        self.x, self.a = x, sigmoid(self.w @ x + self.b)
        return self.a

    def backward(self, error):
        self.delta = error * self.a * (1 - self.a)
        return self.w.T @ self.delta

    def update(self, eta):
        self.w -= eta * self.delta @ self.x.T
        self.b -= eta * self.delta.sum(axis=1, keepdims=True)


class Network:
    def __init__(self, sizes):
        self.layers = [Layer(i, o) for i, o in pairwise(sizes)]

    @property
    def weights(self):
        return [layer.w for layer in self.layers]

    @property
    def biases(self):
        return [layer.b for layer in self.layers]

    def update_mini_batch(self, mini_batch, eta):
        a, y = (np.hstack(columns) for columns in zip(*mini_batch))
        for layer in self.layers:
            a = layer.forward(a)
        error = a - y
        for layer in reversed(self.layers):
            error = layer.backward(error)
        for layer in self.layers:
            layer.update(eta / y.shape[1])
        return self
""",
    "views of one vector": """
class Network:
    def __init__(self, sizes):
        self.theta = np.ones(sum(o * (i + 1) for i, o in pairwise(sizes)))
        self.weights, self.biases, k = [], [], 0
        for i, o in pairwise(sizes):
            self.weights.append(self.theta[k : k + o * i].reshape(o, i))
            self.biases.append(self.theta[k + o * i : k + o * (i + 1)])
            k += o * (i + 1)

    def backprop(self, X, Y):
        a = [X]
        for w, b in zip(self.weights, self.biases):
            a.append(sigmoid(a[-1] @ w.T + b))
        nabla_b, nabla_w, delta = [], [], (a[-1] - Y) / len(X)
        for w, below in zip(self.weights[::-1], a[-2::-1]):
            nabla_b.insert(0, delta.sum(axis=0))
            nabla_w.insert(0, delta.T @ below)
            delta = delta @ w * below * (1 - below)
        return (b for b in nabla_b), (w for w in nabla_w)
""",
    "recursion": """
class Network:
    __slots__ = ("weights", "biases")

    def __init__(self, sizes):
        self.weights = [np.ones((i, o)) for i, o in pairwise(sizes)]
        self.biases = [np.ones((1, o)) for o in sizes[1:]]

    def update_mini_batch(self, X, y, eta):
        def error(a, i):
            if i == len(self.weights):
                return (a - y) / len(y)
            above = sigmoid(a @ self.weights[i] + self.biases[i])
            delta = error(above, i + 1) * above * (1 - above)
            below = delta @ self.weights[i].T
            self.weights[i] -= eta * a.T @ delta
            self.biases[i] -= eta * delta.sum(axis=0, keepdims=True)
            return below

        error(X, 0)
""",
}


@pytest.mark.parametrize("name", WHOLE)
def test_written_otherwise(judged, name):
    assert judged(text=PREFIX + WHOLE[name]).ok


@pytest.mark.parametrize(
    ("edits", "keys", "first"),
    [
        ([("n = len(mini_batch)", "n = len(mini_batch[0][0])")], ["divided-by-inputs"], ("biases", 1)),
        ([("delta.sum(axis=1, keepdims=True)", "delta.sum() / len(delta)")], ["bias-wrong-axis"], ("biases", 1)),
        ([(BACK, BACK.replace("zs[-layer]", "zs[-layer] + 1"))], [], ("biases", 0)),
        ([("self.weights = [w -", "self.weights = [w +")], [], ("weights", 1)),
        ([(FORWARD, FORWARD.replace(" + b", ""))], [], ("biases", 1)),
    ],
)
def test_wrong(judged, edits, keys, first):
    found = judged(*edits)
    assert [m.key for m in found.gradients.mistakes] == keys
    assert (found.gradients.first.name, found.gradients.first.layer) == first
    assert found.form.ok
    assert ("which mistake it is, is not known" in str(found)) == (not keys)


@pytest.mark.parametrize(
    ("edit", "each_layer"),
    [
        ((FORWARD, "            zs.append(np.array([w @ a for a in activations[-1].T]).T + b)\n"), True),
        (("nabla_b = [delta.sum(axis=1, keepdims=True)]", "nabla_b = [sum(d for d in delta.T)[:, None]]"), False),
        ((DELTA, f"{DELTA}        cost = sum(float(d @ d) for d in delta.T)\n"), False),
    ],
)
def test_loops(judged, edit, each_layer):
    found = judged(edit)
    assert found.gradients.ok
    assert (found.form.each_layer, found.form.one_place) == (each_layer, not each_layer)


def test_what_it_prints_while_it_is_timed_goes_nowhere(judged, capsys):
    found = judged((DELTA, f"        print('theirs')\n{DELTA}"))
    capsys.readouterr()
    speed.measure(found.submission, 0)
    assert capsys.readouterr().out == ""


def test_the_columns_of_speeds_stay_apart(judged):
    fast = {name: {10: 9_876_543.0 if name == "yours" else 20_000.0, 100: 9_876_543.0} for name in ("yours", speed.BOOK)}
    assert " 9,876,543 (493.8 x)   9,876,543 (1.0 x)" in str(dataclasses.replace(judged(), speeds=fast))
