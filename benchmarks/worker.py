"""Time training steps of one case with one library, in this process alone; prints one JSON line.

python benchmarks/worker.py LIBRARY CASE ROUNDS

LIBRARY: xpnet, sim, ledger (sim with a ledger open), torch, torch-channels-last, products. With ROUNDS 0 it measures memory:
the largest resident set of the process in a few steps, less what it was when the library was imported, in bytes.
"""

import json
import re
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
import networks
from cases import CASES, Case

SEED, WARM_UP = 0, 3
THREADS = 2


def data(case):
    """Random rows and targets, resident in memory."""
    rng = np.random.default_rng(SEED)
    if not isinstance(case, Case):
        return rng.standard_normal((case.batch, *case.shape), np.float32), rng.integers(0, case.classes, case.batch)
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

    if not isinstance(case, Case):
        net, optimizer = networks.in_xpnet(case.network, case.classes), xn.Momentum(case.learning_rate)
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=optimizer, device=device).build(case.shape)
        networks.fill_xpnet(net)
        x, y = (trainer.device.put(a) for a in data(case))
        return lambda: trainer.step(x, y)
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


def image_torch_step(case, channels_last):
    import torch

    net, (x, y) = networks.in_torch(case.network, case.classes, case.shape), (torch.from_numpy(a) for a in data(case))
    networks.fill_torch(net, case.shape)
    x = x.permute(0, 3, 1, 2)  # in memory it is as in xpnet, which is PyTorch's channels_last
    if channels_last:
        net = net.to(memory_format=torch.channels_last)
    else:
        x = x.contiguous()
    return stepping(net, torch.nn.CrossEntropyLoss(), torch.optim.SGD(net.parameters(), case.learning_rate, momentum=0.9), x, y)


def stepping(net, loss, optimizer, x, y):
    def step():
        optimizer.zero_grad()
        value = loss(net(x), y)
        value.backward()
        optimizer.step()
        return value.detach()

    return step


def torch_step(case, channels_last=False):
    import torch

    torch.set_num_threads(THREADS)
    if not isinstance(case, Case):
        return image_torch_step(case, channels_last)
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
    return stepping(net, loss, rule(net.parameters(), case.learning_rate), x, y)


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
    "torch-channels-last": lambda case: torch_step(case, channels_last=True),
    "products": products_step,
}


def resident():
    """Bytes in memory now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def most_resident():
    """Bytes in memory at most until now; ``ru_maxrss`` would count what the parent process had."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) * 1024


def memory(library, case):
    """Bytes at most in memory during the first steps, less those after the import."""
    __import__(library.partition("-")[0])
    before = resident()
    step = STEPS[library](case)
    for _ in range(max(case.steps, 4)):
        step()
    found = {"library": library, "case": case.name, "bytes": most_resident() - before}
    if library == "xpnet":
        from xpnet.forecast import forecast

        net = networks.in_xpnet(case.network, case.classes).build(case.shape)
        told = forecast(net, case.batch)
        found["forecast"] = told.total + told.vector  # momentum has one
    return found


def speed(library, case, rounds):
    step = STEPS[library](case)
    first = [float(step()) for _ in range(WARM_UP)]
    seconds = []
    for _ in range(rounds):
        start = time.perf_counter()
        for _ in range(case.steps):
            last = step()
        seconds.append((time.perf_counter() - start) / case.steps)
    median = statistics.median(seconds)
    found = {"library": library, "case": case.name, "seconds": seconds, "median": median}
    return {**found, "first_losses": first, "last_loss": float(last)}


if __name__ == "__main__":
    library, name, rounds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    print(json.dumps(speed(library, CASES[name], rounds) if rounds else memory(library, CASES[name])))
