"""Time training steps of one case with one library, in this process alone; prints one JSON line.

python benchmarks/worker.py LIBRARY CASE ROUNDS          LIBRARY: xpnet, sim, ledger (sim with a ledger open), torch, products
"""

import json
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from cases import CASES

SEED, WARM_UP = 0, 3
THREADS = 2


def data(case):
    """Random rows and targets, resident in memory."""
    rng = np.random.default_rng(SEED)
    x = rng.random((case.batch, case.sizes[0]), dtype=np.float32)
    if case.loss == "half-squared-error":
        return x, rng.random((case.batch, case.sizes[-1]), dtype=np.float32)
    return x, rng.integers(0, case.sizes[-1], case.batch)


def weights(case):
    """The same initial values for every library: W (in, out) per layer, zero biases."""
    rng = np.random.default_rng(SEED + 1)
    return [
        (rng.standard_normal(shape) / shape[0] ** 0.5).astype(np.float32)
        for shape in zip(case.sizes, case.sizes[1:], strict=False)
    ]


def xpnet_step(case, device="cpu"):
    import xpnet as xn

    hidden = {"sigmoid": xn.Sigmoid, "relu": xn.ReLU}[case.activation]
    layers = [layer for n in case.sizes[1:-1] for layer in (xn.Affine(n), hidden())] + [xn.Affine(case.sizes[-1])]
    net = xn.Sequential(*layers, *([xn.Sigmoid()] if case.output == "sigmoid" else []))
    loss = {"half-squared-error": xn.HalfSquaredError, "softmax-cross-entropy": xn.SoftmaxCrossEntropy}[case.loss]()
    optimizer = {"sgd": xn.SGD, "adam": xn.Adam}[case.optimizer](case.learning_rate)
    trainer = xn.Trainer(net, loss=loss, optimizer=optimizer, device=device).build(case.sizes[0])
    for i, w in enumerate(weights(case)):
        net.parameters.fill(f"{2 * i}.W", w)
    x, y = (trainer.device.put(a) for a in data(case))
    return lambda: trainer.step(x, y)


def ledger_step(case):
    import xpnet as xn

    step = xpnet_step(case, "sim")

    def noted():
        with xn.ledger():
            return step()

    return noted


def torch_step(case):
    import torch

    torch.set_num_threads(THREADS)
    nn, (x, y) = torch.nn, (torch.from_numpy(a) for a in data(case))
    hidden = {"sigmoid": nn.Sigmoid, "relu": nn.ReLU}[case.activation]
    layers = []
    for w in weights(case):
        layers += [nn.Linear(*w.shape), hidden()]
        layers[-2].weight.data[...] = torch.from_numpy(w.T)
        layers[-2].bias.data.zero_()
    net = nn.Sequential(*(layers if case.output == "sigmoid" else layers[:-1]))
    half = lambda out, t: 0.5 * ((out - t) ** 2).sum() / len(t)  # noqa: E731
    loss = half if case.loss == "half-squared-error" else nn.CrossEntropyLoss()
    rule = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[case.optimizer]
    optimizer = rule(net.parameters(), case.learning_rate)

    def step():
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def products_step(case):
    """The step's bare matrix products and nothing around them: the limit."""
    x, _ = data(case)
    ws = weights(case)
    hs = [x] + [np.empty((case.batch, w.shape[1]), np.float32) for w in ws]
    ds, grads = [np.ones_like(h) for h in hs], [np.empty_like(w) for w in ws]

    def step():
        for i, w in enumerate(ws):
            np.matmul(hs[i], w, out=hs[i + 1])
        for i in range(len(ws) - 1, -1, -1):
            np.matmul(hs[i].T, ds[i + 1], out=grads[i])
            if i:
                np.matmul(ds[i + 1], ws[i].T, out=ds[i])
        return float("nan")

    return step


STEPS = {
    "xpnet": xpnet_step,
    "sim": lambda case: xpnet_step(case, "sim"),
    "ledger": ledger_step,
    "torch": torch_step,
    "products": products_step,
}


def main(library, name, rounds):
    case = CASES[name]
    step = STEPS[library](case)
    first = [float(step()) for _ in range(WARM_UP)]
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(case.steps):
            last = step()
        seconds.append((time.perf_counter() - start) / case.steps)
    print(
        json.dumps(
            {
                "library": library,
                "case": name,
                "seconds": seconds,
                "median": statistics.median(seconds),
                "first_losses": first,
                "last_loss": float(last),
            }
        )
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
