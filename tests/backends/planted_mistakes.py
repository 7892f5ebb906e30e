"""All planted mistakes, and the table of them: the data of a test. See ``planting``."""

from __future__ import annotations

from planted_transfers import TRANSFERS
from planting import HOLES, Mistake

MISTAKES = [
    *TRANSFERS,
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


def table() -> str:
    """The rows of a Markdown table: mistake, how it shows on the simulated GPU, whether plain NumPy notices."""
    names = {"host array": "noted", "copy": "hidden copy", "wait": "hidden synchronisation", "float64": "float64 arrays"}
    rows = ["| Mistake | In the script | On `sim` | Plain NumPy |", "|---|---|---|---|"]
    for m in MISTAKES:
        numpy = "says nothing" if m.numpy == "passes" else f"`{m.numpy}`"
        code = m.code.replace("|", "\\|")
        rows.append(f"| {m.name} | `{code}` | {names.get(m.caught, f'`{m.caught}`')} | {numpy} |")
    return "\n".join(rows)


if __name__ == "__main__":
    print(table())
