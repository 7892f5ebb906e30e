"""Files that cannot be judged: one line that says what is missing or where the program stopped."""

from __future__ import annotations

import sys

import pytest
from submission_helpers import SUBMISSIONS, edited

from xpnet import exercise

BACKPROP = (SUBMISSIONS / "right_backprop.py").read_text()


def said(tmp_path, text):
    """The error of a file with this text, which is one line."""
    file = tmp_path / "mine.py"
    file.write_text(text)
    with pytest.raises(exercise.SubmissionError) as raised:
        exercise.examine(file, seconds=0)
    message = str(raised.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("", "mine.py has no class with a method update_mini_batch or backprop: a class Network is needed"),
        ("class Network:\n    pass\n", "mine.py has no class with a method update_mini_batch or backprop"),
        (
            "class A:\n    def backprop(self, X, Y): ...\nclass B:\n    def backprop(self, X, Y): ...\n",
            "mine.py has several classes to judge, A, B: call the one that is meant Network",
        ),
        ("class Network:\n    def backprop(self, x): ...\n", "mine.py: backprop(self, x): the form (self, X, Y) is needed"),
        (
            "class Network:\n    def update_mini_batch(self): ...\n",
            "mine.py: update_mini_batch(self): the form (self, mini_batch, eta) or (self, X, Y, eta) is needed",
        ),
        (
            "class Network:\n    def update_mini_batch(self, mini_batch, eta, lmbda, n): ...\n",
            "mine.py: update_mini_batch(self, mini_batch, eta, lmbda, n): the form",
        ),
        (
            "class Network:\n    def update_mini_batch(mini_batch, eta): ...\n",
            "mine.py: update_mini_batch(mini_batch, eta): the form (self, mini_batch, eta)",
        ),
        (
            "class Network:\n    def update_mini_batch(self, mini_batch, *, eta): ...\n",
            "mine.py: update_mini_batch(self, mini_batch, *, eta): the form (self, mini_batch, eta)",
        ),
        ("class Network:\n    backprop = 3\n", "mine.py: TypeError: 3 is not a callable object"),
        ("x = 1\0\n", "mine.py: source code string cannot contain null bytes (Python cannot read the file)"),
        ("raise ValueError('two\\n  lines')\n", "mine.py:1: ValueError: two lines (when the file is run)"),
        ("x = 1\nclass Network(:\n", "mine.py:2: invalid syntax (Python cannot read the file)"),
        ("import no_such_module\n", "mine.py:1: ModuleNotFoundError: No module named 'no_such_module' (when the file is run)"),
        ("import sys\nsys.exit(0)\n", "mine.py:2: SystemExit: 0 (when the file is run)"),
        ("import numpy as np\nnp.ones(3) + np.ones(4)\n", "mine.py:2: ValueError: operands could not be broadcast"),
        (
            edited(("def __init__(self, sizes):", "def __init__(self, sizes, cost):")),
            "mine.py: TypeError: Network.__init__() missing 1 required positional argument: 'cost' (Network([5, 4, 3]))",
        ),
        (
            edited(("self.weights = [", "self.w = [")),
            "Network([5, 4, 3]) needs an attribute `weights`, a list of 2 arrays",
        ),
        (
            edited(("for n in sizes[1:]]", "for n in sizes]")),
            "attribute `biases`, a list of 2 arrays, one for each",
        ),
        (edited(("for n in sizes[1:]]", "for n in sizes]")), "; found: a list of 3: ndarray, ndarray, ndarray"),
        (edited(("(m, n)", "(m, n + 1)")), "mine.py: weights[0] of Network([5, 4, 3]) has the shape (4, 6); all weights are"),
        (
            edited(("(n, 1)", "(n, 2)")),
            "mine.py: biases[0] of Network([5, 4, 3]) has the shape (4, 2), not (4, 1), (4,)",
        ),
        (
            edited(("np.random.default_rng().standard_normal((n, 1))", "np.zeros((n, 1), int)")),
            "mine.py: biases[0] of Network([5, 4, 3]) holds int64: float64 or float32 is needed",
        ),
        (
            edited(("self.biases = [b - eta / n * nb for b, nb in", "self.biases = [None and b - nb for b, nb in")),
            "one for each layer but the first; found: a list of 2: NoneType, NoneType",
        ),
        (
            edited(
                ("self.biases = [b - eta / n * nb for", "self.biases = (b - eta / n * nb for"),
                ("nabla_b, strict=True)]", "nabla_b, strict=True))"),
            ),
            "; found: a generator",
        ),
        (
            edited(("(self, sizes):\n", "(self, sizes):\n        sizes[1] / 0\n")),
            "mine.py:18: ZeroDivisionError: division by zero (Network([5, 4, 3]))",
        ),
        (
            edited(("nabla_b, nabla_w = self.backprop", "nabla_b, nabla_w = self.back")),
            "AttributeError: 'Network' object has no attribute 'back'",
        ),
        (
            edited(("np.random.default_rng().standard_normal((n, 1))", "np.zeros((n, 1), np.float16)")),
            "mine.py: biases[0] of Network([5, 4, 3]) holds float16: float64 or float32 is needed",
        ),
        (
            edited(("        n = len(mini_batch)\n", "        n = next(iter([]))\n")),
            "StopIteration (in update_mini_batch(mini_batch, eta), a list of pairs of columns; net 5-4-3 (7 samples))",
        ),
        (
            edited(
                ("strict=True)]\n\n    def back", "strict=True)]\n\n    weights = property(lambda self: 1 / 0)\n\n    def back")
            ),
            "mine.py:19: AttributeError: property 'weights' of 'Network' object has no setter",
        ),
        (
            "class Network:\n    def __init__(self, sizes): ...\n    def backprop(self, X, Y): ...\n"
            "    weights = property(lambda self: 1 / 0)\n",
            "mine.py:4: ZeroDivisionError: division by zero (`weights` of Network([5, 4, 3]))",
        ),
        (
            edited(("delta = (activations[-1] - Y)", "self.weights[1]\n        delta = (activations[-1] - Y)")),
            "IndexError: list index out of range (in update_mini_batch(mini_batch, eta), a list of pairs of columns; net 6-3",
        ),
        *(
            (
                edited(("return nabla_b[::-1], nabla_w[::-1]", f"return {wrong}"), text=BACKPROP),
                "backprop is to return (nabla_b,",
            )
            for wrong in ("nabla_b", "1, 2", "None", "{'b': nabla_b, 'w': nabla_w}", "[None] * len(nabla_b), nabla_w")
        ),
        (
            edited(("return nabla_b[::-1], nabla_w[::-1]", "return nabla_w[::-1], nabla_b[::-1]"), text=BACKPROP),
            "mine.py: backprop returns (nabla_w, nabla_b); the book's order is (nabla_b, nabla_w)",
        ),
    ],
)
def test_what_is_missing(tmp_path, text, meant):
    assert meant in said(tmp_path, text)


def test_the_line_of_their_error(tmp_path):
    text = (SUBMISSIONS / "wrong_name.py").read_text()
    line = next(i for i, code in enumerate(text.splitlines(), 1) if "activation[" in code)
    assert said(tmp_path, text) == (
        f"mine.py:{line}: NameError: name 'activation' is not defined "
        "(in update_mini_batch(mini_batch, eta), a list of pairs of columns; net 5-4-3 (7 samples))"
    )


def test_two_layers_with_one_array(tmp_path):
    text = edited(
        ("        self.biases = [", "        one = np.ones((1, 1))\n        self.biases = ["),
        ("np.random.default_rng().standard_normal((n, 1))", "np.broadcast_to(one, (n, 1))"),
    )
    assert "ValueError: assignment destination is read-only" in said(tmp_path, text)
    text = edited(
        ("np.random.default_rng().standard_normal((n, 1))", "memory[:n]"),
        ("        self.biases = [", "        memory = np.ones((9, 1))\n        self.biases = ["),
    )
    assert (
        said(tmp_path, text)
        == "mine.py: what is written into weights and biases does not stay: each item is to be an array of its own, and the "
        "one that the program computes with"
    )


@pytest.mark.parametrize(
    ("name", "meant"),
    [("nowhere.py", "nowhere.py is not there: xpnet exercise"), ("", " is a folder: xpnet exercise --st")],
)
def test_no_file(tmp_path, name, meant):
    with pytest.raises(FileNotFoundError) as raised:
        exercise.examine(tmp_path / name)
    assert meant in str(raised.value)


@pytest.mark.parametrize("name", ["mine.ipynb", "mine.csv", "mine"])
def test_no_python_file(tmp_path, name):
    file = tmp_path / name
    file.write_text("{}")
    with pytest.raises(exercise.SubmissionError, match=f"{name} is not a Python file"):
        exercise.examine(file)


def test_a_file_in_another_encoding(tmp_path):
    file = tmp_path / "mine.py"
    file.write_bytes("x = 'caf\u00e9'\n".encode("latin-1"))
    with pytest.raises(exercise.SubmissionError, match=r"^mine\.py:1: .*utf-8.* \(Python cannot read the file\)$"):
        exercise.examine(file)


def test_neighbours_may_be_imported_and_nothing_stays(tmp_path):
    (tmp_path / "activation.py").write_text("import numpy as np\ndef sigmoid(z):\n    return 1 / (1 + np.exp(-z))\n")
    file = tmp_path / "mine.py"
    file.write_text(edited(("def sigmoid(z):\n    return 1.0 / (1.0 + np.exp(-z))\n", "from activation import sigmoid\n")))
    before = sys.path.copy(), set(sys.modules)
    assert exercise.examine(file, seconds=0).ok
    assert (sys.path, set(sys.modules)) == before


def test_a_class_of_its_own_goes_before_the_one_it_imports(tmp_path):
    file = tmp_path / "mine.py"
    file.write_text("from xpnet.book import Network\nclass Mine(Network):\n    pass\n")
    found = exercise.examine(file, seconds=0)
    assert found.submission.cls.__name__ == "Mine"
    assert found.gradients.ok
    assert not found.form.ok


def test_a_program_that_takes_only_numpy_s_own_arrays(tmp_path):
    """It is then judged by Python's steps alone."""
    check = "        assert all(type(w) is np.ndarray for w in self.weights)\n"
    file = tmp_path / "mine.py"
    file.write_text(edited(("        zs, activations = [], [X]\n", f"{check}        zs, activations = [], [X]\n")))
    assert exercise.examine(file, seconds=0).ok
