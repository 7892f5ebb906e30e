"""Mistakes that NumPy forgives and a GPU does not, planted one at a time in a small training script.

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
