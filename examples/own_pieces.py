"""Your own layer, loss and optimizer: each written, proved, and trained with; and what a mistake looks like.

python examples/own_pieces.py                  proofs, a mistake, training
python examples/own_pieces.py --device sim     the same on the simulated GPU (cuda: on a real one)

Written once against ``step.xp``, or the ``xp`` that a rule is given, the pieces run on every device. The layer is Swish with
a learnt slope (Ramachandran et al., 2017), the loss Huber's (1964), the optimizer Lion (Chen et al., 2023).
"""

import argparse
import math

import numpy as np

import xpnet as xn


class Swish(xn.Layer):
    """``y = x * sigmoid(beta * x)``, with one learnt ``beta`` for each feature."""

    def build(self, shape, make):  # per-sample input shape -> per-sample output shape
        start = xn.initializers.uniform(0.5, 1.5)  # not ones: gradcheck could not tell beta from beta**2 there
        self.beta = make.parameter("beta", shape, start, decay=False)
        return shape

    def forward(self, x, step):  # -> output, and what backward needs
        s = 0.5 * (1 + step.xp.tanh(0.5 * self.beta.value * x))  # sigmoid(beta x), without overflow
        return x * s, (x, s)

    def backward(self, dy, cache, step):  # assigns the parameters' gradients -> the gradient by x
        x, s = cache
        slope = s * (1 - s)
        self.beta.grad[...] = (dy * x * x * slope).sum(axis=0)
        return dy * (s + self.beta.value * x * slope)


class Huber(xn.Loss):
    """``d**2 / 2`` where ``|d| <= delta``, else ``delta (|d| - delta / 2)``: outliers pull with no more than ``delta``."""

    def __init__(self, delta=1.0):
        self.delta = delta

    def compute(self, y, targets, step, weights, count):  # y (N, D); count: the weight of all rows -> value, gradient by y
        d = y - targets
        slope = step.xp.clip(d, -self.delta, self.delta)
        terms = slope * (d - slope / 2)  # both cases at once
        if weights is not None:  # sample weights (N,)
            terms, slope = (a * weights[:, None] for a in (terms, slope))
        n = count * y.shape[1]
        return terms.sum() / n, slope / n


class Lion(xn.Optimizer):
    """``w -= learning_rate * sign(beta1 m + (1 - beta1) g);  m = beta2 m + (1 - beta2) g``."""

    slots = ("momentum",)  # vectors that the base class keeps for us, zeros at the start

    def __init__(self, learning_rate, beta1=0.9, beta2=0.99, **options):
        super().__init__(learning_rate, **options)  # options of every rule: weight_decay, l2, clip_norm, ...
        self.beta1, self.beta2 = beta1, beta2

    def rule(self, xp, rate, w, g, tmp, momentum):  # w and momentum change in place, g must not; tmp is scratch
        xp.multiply(momentum, self.beta1, out=tmp)
        tmp += (1 - self.beta1) * g
        w -= rate * xp.sign(tmp)
        momentum *= self.beta2
        momentum += (1 - self.beta2) * g


class ForgetfulSwish(Swish):
    """A mistake to be found: the product rule's second term is forgotten."""

    def backward(self, dy, cache, step):
        super().backward(dy, cache, step)
        return dy * cache[1]


def lion_by_hand(w, gradients, rate, beta1=0.9, beta2=0.99):
    """The formula on a list of numbers in plain Python: the weights after each step."""
    m, path = [0.0] * len(w), []
    for g in gradients:
        mixed = [beta1 * mi + (1 - beta1) * gi for mi, gi in zip(m, g, strict=True)]
        w = [wi - math.copysign(rate, u) for wi, u in zip(w, mixed, strict=True)]
        m = [beta2 * mi + (1 - beta2) * gi for mi, gi in zip(m, g, strict=True)]
        path.append(w)
    return path


def lion_against_formula(device, steps=5, rate=0.1):
    """Largest difference of the optimizer from the formula, for given gradients, in float64."""
    gradients = np.random.default_rng(0).standard_normal((steps, 3))
    net = xn.Sequential(xn.Affine(1)).build(2, device=device, dtype="float64")
    p, optimizer = net.parameters, Lion(rate)
    start, found = p.device.get(p.value), []
    for g in gradients:
        p.grad[...] = p.device.put(g)
        optimizer.update(p)
        found.append(p.device.get(p.value))
    return abs(np.array(found) - lion_by_hand(start.tolist(), gradients.tolist(), rate)).max()


def message_of(mistake, device):
    """What gradcheck says of a wrong layer."""
    try:
        xn.gradcheck(mistake, 3, device=device)
    except xn.GradientError as error:
        return str(error)
    return "nothing was found"


def curve(outliers=20):
    """200 training and 200 test points of a noisy curve; ``outliers`` of the training points are far off."""
    rng = np.random.default_rng(0)
    x = rng.uniform(-2, 2, (400, 1))
    y = np.sin(2 * x) + 0.1 * rng.standard_normal(x.shape)
    y[:outliers] += 8
    return x[:200], y[:200], x[200:], np.sin(2 * x[200:])


def train(device, loss, epochs=100):
    """The three pieces at work: final training loss, RMSE on the test points, predictions for them."""
    x_train, y_train, x_test, y_test = curve()
    net = xn.Sequential(xn.Affine(32), Swish(), xn.Affine(32), Swish(), xn.Affine(1))
    trainer = xn.Trainer(net, loss=loss, optimizer=Lion(xn.Cosine(0.003, steps=7 * epochs)), device=device)
    history = trainer.fit(x_train, y_train, epochs=epochs)
    return history["loss"][-1], trainer.evaluate(x_test, y_test)["rmse"], trainer.predict(x_test)


def crossings():
    """Synchronisations and copies that a GPU would see in one step of the three pieces."""
    device = xn.device("sim")
    net = xn.Sequential(xn.Affine(8), Swish(), xn.Affine(1))
    trainer = xn.Trainer(net, loss=Huber(), optimizer=Lion(0.003), device=device).build(1)
    x, y = device.put(np.ones((4, 1)), "float32"), device.put(np.zeros((4, 1)), "float32")
    trainer.step(x, y)
    with xn.ledger() as seen:
        trainer.step(x, y)
    return seen.syncs, seen.copies


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    device = parser.parse_args().device

    print("The layer and the loss, against numerical differentiation:\n")
    print(xn.gradcheck(Swish(), 3, device=device))
    print(xn.gradcheck(Huber(0.5), 2, device=device))
    apart = lion_against_formula(device)
    print(
        f"\nThe optimizer, five steps against its formula in plain Python: {'equal to 12 digits' if apart < 1e-12 else apart}."
    )

    print("\nA mistake, half of a product rule forgotten, as gradcheck tells it:\n")
    print(message_of(ForgetfulSwish(), device))

    print("\nAll three at work on a curve with 20 outliers among 200 points, beside the squared error; RMSE on clean points:\n")
    print(f"{'loss':20s}{'training loss':>14s}{'test RMSE':>12s}")
    for loss in (xn.MeanSquaredError(), Huber(0.5)):
        value, rmse, _ = train(device, loss)
        print(f"{loss!r:20s}{value:14.4f}{rmse:12.4f}")
    cpu, sim = (train(name, Huber(0.5))[2] for name in ("cpu", "sim"))
    print(f"Predictions after training on the CPU and on the simulated GPU: {'equal' if (cpu == sim).all() else 'DIFFERENT'}.")
    print("\nIn one step of them a GPU would wait {} times and copy {} times.".format(*crossings()))


if __name__ == "__main__":
    main()
