"""Submissions to ``xpnet exercise`` as files: some as learners write them, and what mistakes change in a right one."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

WHOLE = Path(__file__).parent / "exercise" / "submissions"
RIGHT = (WHOLE / "right_columns.py").read_text()
EDITS = {  # what each is, and the lines of the right program that it has otherwise
    "accumulates": (
        "Gradients of earlier calls stay in the sum.",
        (
            "        nabla_b, nabla_w = self.backprop(X, Y)\n",
            "        fresh = self.backprop(X, Y)\n"
            '        old = getattr(self, "nablas", ([0] * len(fresh[0]), [0] * len(fresh[0])))\n'
            "        nabla_b, nabla_w = self.nablas = [[o + f for o, f in zip(*p)] for p in zip(old, fresh)]\n",
        ),
    ),
    "bias_broadcast": (
        "The sum without keepdims: biases become square.",
        (
            "        nabla_b = [delta.sum(axis=1, keepdims=True)]\n",
            "        nabla_b = [delta.sum(axis=1)]\n",
        ),
        (
            "            nabla_b.insert(0, delta.sum(axis=1, keepdims=True))\n",
            "            nabla_b.insert(0, delta.sum(axis=1))\n",
        ),
    ),
    "bias_not_summed": (
        "The gradient of the biases is not summed: they become one column a sample.",
        (
            "        nabla_b = [delta.sum(axis=1, keepdims=True)]\n",
            "        nabla_b = [delta]\n",
        ),
        (
            "            nabla_b.insert(0, delta.sum(axis=1, keepdims=True))\n",
            "            nabla_b.insert(0, delta)\n",
        ),
    ),
    "first_sample": (
        "Only the first sample counts.",
        (
            "        X = np.hstack([x for x, _ in mini_batch])\n        Y = np.hstack([y for _, y in mini_batch])\n",
            "        X = mini_batch[0][0]\n        Y = mini_batch[0][1]\n",
        ),
    ),
    "fixed_divisor": (
        "Divides by 10 whatever the size of the minibatch.",
        (
            "        n = len(mini_batch)\n",
            "",
        ),
        (
            "        self.weights = [w - eta / n * nw for w, nw in zip(self.weights, nabla_w, strict=True)]\n"
            "        self.biases = [b - eta / n * nb for b, nb in zip(self.biases, nabla_b, strict=True)]\n",
            "        self.weights = [w - eta / 10 * nw for w, nw in zip(self.weights, nabla_w, strict=True)]\n"
            "        self.biases = [b - eta / 10 * nb for b, nb in zip(self.biases, nabla_b, strict=True)]\n",
        ),
    ),
    "gradient_product": (
        "A transpose is missing in the gradient of the weights.",
        (
            "        nabla_w = [delta @ activations[-2].T]\n",
            "        nabla_w = [delta @ activations[-2]]\n",
        ),
        (
            "            nabla_w.insert(0, delta @ activations[-layer - 1].T)\n",
            "            nabla_w.insert(0, delta @ activations[-layer - 1])\n",
        ),
    ),
    "loop_at_output": (
        "Right, and only the error at the output is computed sample by sample.",
        (
            "        delta = (activations[-1] - Y) * sigmoid_prime(zs[-1])\n",
            "        delta = np.empty_like(Y)\n"
            "        for i in range(Y.shape[1]):\n"
            "            delta[:, i] = (activations[-1][:, i] - Y[:, i]) * sigmoid_prime(zs[-1][:, i])\n",
        ),
    ),
    "loop_by_apply": (
        "Right, but np.apply_along_axis takes the samples one by one.",
        (
            "            zs.append(w @ activations[-1] + b)\n",
            "            zs.append(np.apply_along_axis(lambda a, w=w: w @ a, 0, activations[-1]) + b)\n",
        ),
    ),
    "loop_by_map": (
        "Right, but map and a lambda call backprop for each sample.",
        (
            "        X = np.hstack([x for x, _ in mini_batch])\n"
            "        Y = np.hstack([y for _, y in mini_batch])\n"
            "        nabla_b, nabla_w = self.backprop(X, Y)\n",
            "        each = list(map(lambda pair: self.backprop(*pair), mini_batch))\n"
            "        nabla_b, nabla_w = ([np.sum(a, axis=0) for a in zip(*k, strict=True)] for k in zip(*each, strict=True))\n",
        ),
    ),
    "loop_by_numbers": (
        "Right, and the error at the output is computed number by number in plain Python.",
        (
            "        delta = (activations[-1] - Y) * sigmoid_prime(zs[-1])\n",
            "        rows = zip(activations[-1].tolist(), Y.tolist(), strict=True)\n"
            "        delta = np.array([[(a - y) * a * (1 - a) for a, y in zip(*row, strict=True)] for row in rows])\n",
        ),
    ),
    "loop_by_vectorize": (
        "Right, but np.vectorize calls Python for each number.",
        (
            "import itertools\n",
            "import itertools\nimport math\n",
        ),
        (
            "    return 1.0 / (1.0 + np.exp(-z))\n",
            "    return np.vectorize(lambda number: 1.0 / (1.0 + math.exp(-number)))(z)\n",
        ),
    ),
    "loop_in_c": (
        "Right, but map calls NumPy for each sample, without a line of Python.",
        (
            "            zs.append(w @ activations[-1] + b)\n",
            "            zs.append(np.array(list(map(w.dot, activations[-1].T))).T + b)\n",
        ),
    ),
    "missing_transpose": (
        "A transpose is missing where the delta passes back: shapes do not fit.",
        (
            "            delta = (self.weights[-layer + 1].T @ delta) * sigmoid_prime(zs[-layer])\n",
            "            delta = (self.weights[-layer + 1] @ delta) * sigmoid_prime(zs[-layer])\n",
        ),
    ),
    "mutated_y": (
        "Right gradients, but y becomes the error, in place.",
        (
            "    def update_mini_batch(self, mini_batch, eta):\n"
            "        n = len(mini_batch)\n"
            "        X = np.hstack([x for x, _ in mini_batch])\n"
            "        Y = np.hstack([y for _, y in mini_batch])\n",
            "    def update_mini_batch(self, X, Y, eta):\n        n = X.shape[1]\n",
        ),
        (
            "        delta = (activations[-1] - Y) * sigmoid_prime(zs[-1])\n",
            "        Y -= activations[-1]\n        delta = -Y * sigmoid_prime(zs[-1])\n",
        ),
    ),
    "no_sigmoid_prime": (
        "The derivative of the sigmoid is left out in hidden layers.",
        (
            "            delta = (self.weights[-layer + 1].T @ delta) * sigmoid_prime(zs[-layer])\n",
            "            delta = self.weights[-layer + 1].T @ delta\n",
        ),
    ),
    "no_sigmoid_prime_at_output": (
        "The derivative of the sigmoid is left out at the output, or the cross-entropy cost is meant.",
        (
            "        delta = (activations[-1] - Y) * sigmoid_prime(zs[-1])\n",
            "        delta = activations[-1] - Y\n",
        ),
    ),
    "nothing_updated": (
        "`w = w - ...` in a loop changes nothing.",
        (
            "        self.weights = [w - eta / n * nw for w, nw in zip(self.weights, nabla_w, strict=True)]\n"
            "        self.biases = [b - eta / n * nb for b, nb in zip(self.biases, nabla_b, strict=True)]\n",
            "        for w, b, nw, nb in zip(self.weights, self.biases, nabla_w, nabla_b, strict=True):\n"
            "            w = w - eta / n * nw\n"
            "            b = b - eta / n * nb\n",
        ),
    ),
    "shuffled_list": (
        "Right gradients, but the list is put into another order.",
        (
            "        n = len(mini_batch)\n",
            "        n = len(mini_batch)\n        mini_batch.sort(key=lambda pair: pair[0][0, 0])\n",
        ),
    ),
    "sigmoid_prime_of_activation": (
        "The derivative of the sigmoid is taken of the activations.",
        (
            "        delta = (activations[-1] - Y) * sigmoid_prime(zs[-1])\n",
            "        delta = (activations[-1] - Y) * sigmoid_prime(activations[-1])\n",
        ),
        (
            "            delta = (self.weights[-layer + 1].T @ delta) * sigmoid_prime(zs[-layer])\n",
            "            delta = (self.weights[-layer + 1].T @ delta) * sigmoid_prime(activations[-layer])\n",
        ),
    ),
    "sum_for_mean": (
        "The sum of the gradients for their mean.",
        (
            "        n = len(mini_batch)\n",
            "",
        ),
        (
            "        self.weights = [w - eta / n * nw for w, nw in zip(self.weights, nabla_w, strict=True)]\n"
            "        self.biases = [b - eta / n * nb for b, nb in zip(self.biases, nabla_b, strict=True)]\n",
            "        self.weights = [w - eta * nw for w, nw in zip(self.weights, nabla_w, strict=True)]\n"
            "        self.biases = [b - eta * nb for b, nb in zip(self.biases, nabla_b, strict=True)]\n",
        ),
    ),
    "two_mistakes": (
        "The sum for the mean, and the derivative left out in hidden layers.",
        (
            "        n = len(mini_batch)\n",
            "",
        ),
        (
            "        self.weights = [w - eta / n * nw for w, nw in zip(self.weights, nabla_w, strict=True)]\n"
            "        self.biases = [b - eta / n * nb for b, nb in zip(self.biases, nabla_b, strict=True)]\n",
            "        self.weights = [w - eta * nw for w, nw in zip(self.weights, nabla_w, strict=True)]\n"
            "        self.biases = [b - eta * nb for b, nb in zip(self.biases, nabla_b, strict=True)]\n",
        ),
        (
            "            delta = (self.weights[-layer + 1].T @ delta) * sigmoid_prime(zs[-layer])\n",
            "            delta = self.weights[-layer + 1].T @ delta\n",
        ),
    ),
    "weights_only": (
        "The biases are not updated.",
        (
            "        nabla_b, nabla_w = self.backprop(X, Y)\n",
            "        _, nabla_w = self.backprop(X, Y)\n",
        ),
        (
            "        self.biases = [b - eta / n * nb for b, nb in zip(self.biases, nabla_b, strict=True)]\n",
            "",
        ),
    ),
    "wrong_name": (
        "An error that is not one of shapes.",
        (
            "        nabla_w = [delta @ activations[-2].T]\n",
            "        nabla_w = [delta @ activation[-2].T]\n",
        ),
    ),
    "wrong_sign": (
        "The error is y - a.",
        (
            "        delta = (activations[-1] - Y) * sigmoid_prime(zs[-1])\n",
            "        delta = (Y - activations[-1]) * sigmoid_prime(zs[-1])\n",
        ),
    ),
}


def edited(*edits: tuple[str, str], text: str = RIGHT) -> str:
    """The right program, or another text, with these pieces exchanged."""
    for old, new in edits:
        assert old in text, old
        text = text.replace(old, new)
    return text


def written() -> Path:
    """A folder with all of them, for as long as the tests run."""
    folder = Path(tempfile.mkdtemp(prefix="xpnet-submissions-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for path in WHOLE.glob("*.py"):
        shutil.copy(path, folder)
    first = RIGHT.partition("\n")[0]
    for name, (what, *edits) in EDITS.items():
        (folder / f"{name}.py").write_text(edited((first, f'"""{what}"""'), *edits))
    return folder


SUBMISSIONS = written()
