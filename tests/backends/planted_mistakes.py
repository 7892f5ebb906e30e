"""Mistakes that NumPy forgives and a GPU does not, planted one at a time in a small training script: the data of a test.

``SCRIPT`` trains on digits with a layer of its own and a loop by hand; it has holes, each with code that is right. A mistake
puts other code into one hole, with ``# <- mistake`` at the end of the line that the report must name. ``right`` is what stands
there instead in a script that does the same without the mistake.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap

SCRIPT = '''\
"""Digits, with a layer of one's own and a loop by hand."""

import math

import numpy as np

import xpnet as xn

device = xn.device("cuda")
xp = device.xp
data = xn.datasets.digits()
random, host_random = xp.random.default_rng(0), np.random.default_rng(0)
host_scale = np.linspace(0.5, 1.5, 64, dtype=np.float32)
host_order = host_random.permutation(256)


class Slope(xn.Layer):
    """y = slope * x, with one slope for each feature."""

    def build(self, shape, make):
        self.slope = make.parameter("slope", shape, xn.initializers.ones)
        return shape

    def forward(self, x, step):
        {output}

    {backward}


net = xn.Sequential(xn.Affine(16), xn.ReLU(), Slope(), xn.Affine(10))
net.build((64,), device=device, seed=0)
loss, optimizer = xn.SoftmaxCrossEntropy(), xn.Adam(1e-3)
x, y = device.put(data.x_train[:256]), device.put(data.y_train[:256])
scale, order, classes = device.put(host_scale), device.put(host_order), xp.arange(10)
size = len(net.parameters.value)
average, host_average = xp.zeros(size, dtype=xp.float32), np.zeros(size, np.float32)
seen, per_row = xp.zeros(10, dtype=xp.int64), xp.zeros(64, dtype=xp.float32)
best, history = device.put(np.float32(9)), []
for rows in xn.minibatches(256, 64, seed=0, device=device):
    step = net.step(training=True)
    {batch}
    {forward}
    {loss}
    net.backward(dlogits, cache, step)
    optimizer.update(net.parameters)
    {record}
print(f"loss of the last minibatch: {device.get(value):.3f}")
'''

HOLES = {
    "output": "return x * self.slope.value, x",
    "backward": """\
def backward(self, dy, x, step):
    xp.sum(dy * x, axis=0, out=self.slope.grad)
    return dy * self.slope.value""",
    "batch": "batch, labels = x[rows], y[rows]",
    "forward": "logits, cache = net.forward(batch, step)",
    "loss": "value, dlogits = loss(logits, labels, step)",
    "record": "history.append(value)",
}
MARK = "  # <- mistake"


@dataclasses.dataclass
class Mistake:
    """One planted mistake.

    ``caught`` tells how: "host array", "copy", "wait" and "float64" are noted, and the script goes on; else the name of
    the exception. ``says`` must stand in the report in one line with file and number of the marked line. ``numpy`` is what
    the same script does on the CPU: "passes", or the exception's name. ``since`` is the first NumPy that knows the call,
    ``shown`` the code in the table where the marked line does not say it all.
    """

    name: str
    hole: str
    wrong: str
    right: str
    caught: str
    says: str
    numpy: str = "passes"
    since: str = "2.0.0"
    shown: str = ""

    @property
    def code(self) -> str:
        """The wrong expression, for reading."""
        lines = self.wrong.splitlines()
        (line,) = [line for line in lines if line.endswith(MARK)] or lines
        for whole in (r"history\.append\((.*)\)", r"batch, labels = (.*), y\[rows\]", r"return (.*), x"):
            if found := re.fullmatch(whole, line):
                return found[1]
        return self.shown or line.removesuffix(MARK)

    def script(self, *, wrong: bool, device: str = "cuda") -> str:
        """The script with or without the mistake."""
        marked = self.wrong if MARK in self.wrong else self.wrong + MARK
        text = filled(SCRIPT, HOLES | {self.hole: marked if wrong else self.right})
        return text if device == "cuda" else re.sub(r'"cuda(:1)?"', f'"{device}"', text)


def filled(text: str, holes: dict[str, str]) -> str:
    """The code of each hole in its place, at its indentation."""
    for name, code in holes.items():
        text = re.sub(
            rf"^( *)\{{{name}\}}$", lambda found, code=code: textwrap.indent(code, found[1]), text, flags=re.MULTILINE
        )
    return text


def table() -> str:
    """The rows of a Markdown table: mistake, how it shows on the simulated GPU, whether plain NumPy notices."""
    names = {"host array": "noted", "copy": "hidden copy", "wait": "hidden synchronisation", "float64": "float64 arrays"}
    rows = ["| Mistake | In the script | On `sim` | Plain NumPy |", "|---|---|---|---|"]
    for m in MISTAKES:
        numpy = "says nothing" if m.numpy == "passes" else f"`{m.numpy}`"
        code = m.code.replace("|", "\\|")
        rows.append(f"| {m.name} | `{code}` | {names.get(m.caught, f'`{m.caught}`')} | {numpy} |")
    return "\n".join(rows)


UNSUPPORTED = "Unsupported type <class 'numpy.ndarray'>"

MISTAKES = [
    # Host arrays among arrays of the device.
    Mistake(
        "a NumPy constant in arithmetic",
        "batch",
        "batch, labels = x[rows] * host_scale, y[rows]",
        "batch, labels = x[rows] * scale, y[rows]",
        "host array",
        f"{UNSUPPORTED} in cupy.multiply",
    ),
    Mistake(
        "a mask of NumPy's random numbers",
        "batch",
        "batch, labels = x[rows] * (host_random.random((64, 64)) < 0.9), y[rows]",
        "batch, labels = x[rows] * (random.random((64, 64), dtype=xp.float32) < 0.9), y[rows]",
        "host array",
        f"{UNSUPPORTED} in cupy.multiply",
    ),
    Mistake(
        "NumPy in the forward of a layer of one's own",
        "output",
        "return x * np.maximum(self.slope.value, np.zeros(16, np.float32)), x",
        "return x * step.xp.maximum(self.slope.value, 0), x",
        "host array",
        f"{UNSUPPORTED} in cupy.maximum",
    ),
    Mistake(
        "NumPy's random numbers as noise",
        "batch",
        "batch, labels = x[rows] + host_random.standard_normal((64, 64), np.float32), y[rows]",
        "batch, labels = x[rows] + random.standard_normal((64, 64), xp.float32), y[rows]",
        "host array",
        f"{UNSUPPORTED} in cupy.add",
    ),
    Mistake(
        "a reduction of a NumPy array, which CuPy computes on the host",
        "record",
        "history.append(value + xp.sum(host_scale**2))",
        "history.append(value + xp.sum(scale**2))",
        "host array",
        "the real CuPy computes on the host without a word",
    ),
    Mistake(
        "a NumPy array updated in place by gradients",
        "record",
        "host_average -= 0.1 * net.parameters.grad",
        "average -= 0.1 * net.parameters.grad",
        "TypeError",
        "TypeError: cupy.subtract: cannot write into out=",
    ),
    Mistake(
        "np.asarray of an array of the device",
        "record",
        "history.append(np.asarray(logits))",
        "history.append(device.get(logits))",
        "TypeError",
        "Implicit conversion to a NumPy array is not allowed",
    ),
    Mistake(
        "an array of the device stored in a NumPy array",
        "record",
        "host_average[:] = net.parameters.grad",
        "average[:] = net.parameters.grad",
        "TypeError",
        "Implicit conversion to a NumPy array is not allowed",
    ),
    Mistake(
        "a NumPy array stored in an array of the device",
        "record",
        "x[:64] = data.x_train[64:128]",
        "x[:64] = x[64:128]",
        "host array",
        f"{UNSUPPORTED} in cupy.assignment",
    ),
    Mistake(
        "both kinds joined in one array",
        "record",
        "history.append(xp.concatenate([batch, data.x_train[:1]]))",
        "history.append(xp.concatenate([batch, x[:1]]))",
        "host array",
        f"{UNSUPPORTED} in cupy.concatenate",
    ),
    Mistake(
        "a choice between both kinds",
        "record",
        "history.append(xp.where(batch > 0, batch, host_scale))",
        "history.append(xp.where(batch > 0, batch, scale))",
        "host array",
        f"{UNSUPPORTED} in cupy.where",
    ),
    Mistake(
        "a list as an operand",
        "record",
        "history.append(logits + [0.1] * 10)",
        "history.append(logits + 0.1)",
        "TypeError",
        "TypeError: Unsupported type <class 'list'>",
    ),
    Mistake(
        "labels left on the host",
        "loss",
        "value, dlogits = loss(logits, data.y_train[:64], step)",
        "value, dlogits = loss(logits, labels, step)",
        "DeviceMismatch",
        "SoftmaxCrossEntropy: targets is a",
    ),
    Mistake(
        "the model on one GPU, the data on another",
        "forward",
        'logits, cache = net.forward(xn.device("cuda:1").put(data.x_train[:64]), step)',
        "logits, cache = net.forward(device.put(data.x_train[:64]), step)",
        "DeviceMismatch",
        "DeviceMismatch: forward: x is a",
    ),
    # Copies that no line asks for by name.
    Mistake(
        "rows chosen by a NumPy permutation",
        "batch",
        "batch = x[host_order[:64]]  # <- mistake\nlabels = y[order[:64]]",
        "batch = x[order[:64]]\nlabels = y[order[:64]]",
        "copy",
        "host index array: copies to the device",
    ),
    Mistake(
        "rows chosen by a list",
        "record",
        "history.append(logits[[0, 1, 2]])",
        "history.append(logits[:3])",
        "copy",
        "host index array: copies to the device",
    ),
    Mistake(
        "labels as a NumPy index",
        "record",
        "history.append(logits[xp.arange(64), data.y_train[:64]])",
        "history.append(logits[xp.arange(64), labels])",
        "copy",
        "host index array: copies to the device",
    ),
    Mistake(
        "a constant copied in every step",
        "batch",
        "batch, labels = x[rows] * xp.asarray(host_scale), y[rows]",
        "batch, labels = x[rows] * scale, y[rows]",
        "copy",
        "xp.asarray: copies to the device",
    ),
    # Waits that no line asks for by name.
    Mistake(
        "float(loss) in every step",
        "record",
        "history.append(float(value))",
        "history.append(value)",
        "wait",
        "float(): waits",
    ),
    Mistake(
        "loss.item() in every step",
        "record",
        "history.append(value.item())",
        "history.append(value)",
        "wait",
        ".item(): waits",
    ),
    Mistake(
        "a branch on a loss",
        "record",
        "if value < best:  # <- mistake\n    best = value",
        "best = xp.minimum(best, value)",
        "wait",
        "bool(): waits",
    ),
    Mistake(
        "the loss printed in every step",
        "record",
        'print("loss", value)',
        "history.append(value)",
        "wait",
        "print: waits",
    ),
    Mistake(
        "an assertion in every step",
        "record",
        "assert xp.isfinite(value)",
        "history.append(xp.isfinite(value))",
        "wait",
        "bool(): waits",
    ),
    Mistake(
        "a function of Python's math",
        "record",
        "history.append(math.sqrt((net.parameters.grad**2).sum()))",
        "history.append(xp.sqrt((net.parameters.grad**2).sum()))",
        "wait",
        "float(): waits",
    ),
    Mistake(
        "Python's max over an array",
        "record",
        "history.append(max(logits[0]))",
        "history.append(logits[0].max())",
        "wait",
        "bool(): waits",
    ),
    Mistake(
        "predictions as a list",
        "record",
        "history += logits.argmax(axis=1).tolist()",
        "history.append(logits.argmax(axis=1))",
        "wait",
        ".tolist(): waits",
    ),
    Mistake(
        "elements chosen by a mask",
        "record",
        "history.append(logits[logits > 0].sum())",
        "history.append(xp.where(logits > 0, logits, 0).sum())",
        "wait",
        "boolean mask: waits",
    ),
    Mistake(
        "errors counted by nonzero",
        "record",
        "history.append(len(xp.nonzero(logits.argmax(axis=1) != labels)[0]))",
        "history.append(xp.count_nonzero(logits.argmax(axis=1) != labels))",
        "wait",
        "xp.nonzero: waits",
    ),
    Mistake(
        "the classes of a batch by unique",
        "record",
        "history.append(xp.unique(labels))",
        "history.append((labels[:, None] == classes).any(axis=0))",
        "wait",
        "xp.unique: waits",
    ),
    Mistake(
        "samples of each class by bincount",
        "record",
        "history.append(xp.bincount(labels, minlength=10))",
        "history.append((labels[:, None] == classes).sum(axis=0))",
        "wait",
        "xp.bincount: waits",
    ),
    # Twice the bytes and, on most GPUs, a small part of the speed.
    Mistake(
        "a NumPy scalar, which is float64",
        "record",
        "history.append(dlogits * np.sqrt(2.0))",
        "history.append(dlogits * math.sqrt(2.0))",
        "float64",
        "float64 array",
    ),
    Mistake(
        "zeros without a dtype",
        "record",
        "history.append(xp.zeros(64))",
        "history.append(xp.zeros(64, dtype=xp.float32))",
        "float64",
        "float64 array",
    ),
    Mistake(
        "random numbers without a dtype",
        "record",
        "history.append(random.random((64, 10)))",
        "history.append(random.random((64, 10), dtype=xp.float32))",
        "float64",
        "float64 array",
    ),
    Mistake(
        "the mean of True and False",
        "record",
        "history.append((logits.argmax(axis=1) == labels).mean())",
        "history.append((logits.argmax(axis=1) == labels).mean(dtype=xp.float32))",
        "float64",
        "float64 array",
    ),
    # Names and keywords that CuPy does not have.
    Mistake(
        "Generator.permutation",
        "record",
        "order = random.permutation(256)",
        "order = xp.argsort(random.random(256, dtype=xp.float32))",
        "AttributeError",
        "has no attribute 'permutation'",
    ),
    Mistake(
        "Generator.normal",
        "record",
        "history.append(random.normal(size=(64, 10)))",
        "history.append(random.standard_normal((64, 10), dtype=xp.float32))",
        "AttributeError",
        "has no attribute 'normal'",
    ),
    Mistake(
        "errstate",
        "record",
        'with xp.errstate(divide="ignore"):  # <- mistake\n    history.append(1 / xp.maximum(value, 1e-6))',
        "history.append(1 / xp.maximum(value, 1e-6))",
        "AttributeError",
        "module 'cupy' has no attribute 'errstate'",
    ),
    Mistake(
        "vecdot",
        "record",
        "history.append(xp.vecdot(logits, dlogits))",
        "history.append((logits * dlogits).sum(axis=1))",
        "AttributeError",
        "module 'cupy' has no attribute 'vecdot'",
    ),
    Mistake(
        "linalg.vector_norm",
        "record",
        "history.append(xp.linalg.vector_norm(net.parameters.grad))",
        "history.append(xp.linalg.norm(net.parameters.grad))",
        "AttributeError",
        "module 'cupy.linalg' has no attribute 'vector_norm'",
    ),
    Mistake(
        "where= of a ufunc",
        "record",
        "history.append(xp.log(batch, where=batch > 0, out=xp.zeros_like(batch)))",
        "history.append(xp.log(xp.where(batch > 0, batch, 1)))",
        "TypeError",
        "Wrong arguments {'where'} for cupy.log",
    ),
    Mistake(
        "where= of a reduction",
        "record",
        "history.append(xp.sum(logits, where=logits > 0))",
        "history.append(xp.sum(xp.where(logits > 0, logits, 0)))",
        "TypeError",
        "unexpected keyword argument 'where'",
    ),
    Mistake(
        "initial= of a reduction",
        "record",
        "history.append(xp.max(logits, axis=1, initial=0))",
        "history.append(xp.maximum(xp.max(logits, axis=1), 0))",
        "TypeError",
        "unexpected keyword argument 'initial'",
    ),
    Mistake(
        "out= of einsum",
        "record",
        'xp.einsum("ij,ij->i", logits, dlogits, out=per_row)',
        'per_row[...] = xp.einsum("ij,ij->i", logits, dlogits)',
        "TypeError",
        "unexpected keyword argument 'out'",
    ),
    Mistake(
        "min= and max= of clip",
        "record",
        "history.append(xp.clip(logits, min=-5, max=5))",
        "history.append(xp.clip(logits, -5, 5))",
        "TypeError",
        "missing a required argument: 'a_min'",
        since="2.1.0",
    ),
    Mistake(
        "maximum.reduce",
        "record",
        "history.append(xp.maximum.reduce(logits, axis=1))",
        "history.append(xp.max(logits, axis=1))",
        "NotImplementedError",
        "`cupy_maximum.reduce` is not supported yet",
    ),
    # What a GPU gets wrong without a word.
    Mistake(
        "an index beyond the end, which CuPy wraps around",
        "record",
        "history.append(logits[xp.arange(64), labels + 1])",
        "history.append(logits[xp.arange(64), labels])",
        "IndexError",
        "is out of bounds for axis 1",
        numpy="IndexError",
    ),
    Mistake(
        "a label beyond the last class",
        "loss",
        "value, dlogits = loss(logits, labels + 1, step)",
        "value, dlogits = loss(logits, labels, step)",
        "ValueError",
        "SoftmaxCrossEntropy",
        numpy="ValueError",
    ),
    Mistake(
        "one element stored several times, for a sum",
        "record",
        "seen[labels] += 1",
        "xp.add.at(seen, labels, 1)",
        "IndexError",
        "duplicate indices in an assignment",
    ),
    Mistake(
        "a gradient that the layer forgets",
        "backward",
        "def backward(self, dy, x, step):  # <- mistake\n    return dy * self.slope.value",
        HOLES["backward"],
        "GradientMissing",
        "backward of Slope() left the gradient of",
        shown="backward without self.slope.grad",
    ),
    Mistake(
        "a gradient that is added to the last step's",
        "backward",
        "def backward(self, dy, x, step):  # <- mistake\n    self.slope.grad += (dy * x).sum(axis=0)\n"
        "    return dy * self.slope.value",
        HOLES["backward"],
        "GradientMissing",
        "backward of Slope() left the gradient of",
        shown="self.slope.grad += (dy * x).sum(axis=0)",
    ),
]


if __name__ == "__main__":
    print(table())
