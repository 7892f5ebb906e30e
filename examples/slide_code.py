"""Slide code and right code: three slips that look right on a slide, and what each does, by numbers.

python examples/slide_code.py                  each slip beside the right form, then both trained on the digits
python examples/slide_code.py --device sim     the same on the simulated GPU (cuda: on a real one)

1. The weight gradient of an affine layer with dx.T for x.T.
2. Softmax divided by the sum over the whole batch, or without subtracting the maximum.
3. ReLU's backward that writes its zeros into the caller's array.
"""

import argparse
import warnings

import numpy as np

import xpnet as xn


def affine_backward(dy, x, W):
    """Right: ``y = x W + b`` has the gradients dx = dy W^T, dW = x^T dy, db = sum of dy's rows."""
    return dy @ W.T, x.T @ dy, dy.sum(axis=0)


def slide_affine_backward(dy, x, W):
    """Slip: dx for x. It has the shape of x, so that nothing ever complains."""
    dx = dy @ W.T
    return dx, dx.T @ dy, dy.sum(axis=0)


def softmax(xp, z):
    """Right: from each row its maximum subtracted, each row divided by its own sum."""
    e = xp.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def slide_softmax(xp, z):
    """Slip: one sum for all rows of the batch."""
    e = xp.exp(z - z.max(axis=1, keepdims=True))
    return e / e.sum()


def softmax_without_maximum(xp, z):
    """Slip: exp of a large logit is infinite, and infinity / infinity is not a number."""
    e = xp.exp(z)
    return e / e.sum(axis=1, keepdims=True)


def relu_backward(dy, y):
    """Right: the product is a new array."""
    return dy * (y > 0)


def slide_relu_backward(dy, y):
    """Slip: dy belongs to the caller, who may need it again."""
    dy[y <= 0] = 0
    return dy


class SlideAffine(xn.Affine):
    def backward(self, dy, x, step):
        dx, self.W.grad, self.b.grad = slide_affine_backward(dy, x, self.W.value)
        return dx


class SlideReLU(xn.ReLU):
    def backward(self, dy, y, step):
        return slide_relu_backward(dy, y)


class SlideCrossEntropy(xn.SoftmaxCrossEntropy):
    """Minus the mean logarithm of the right class's probability by one of the softmaxes above; gradient (y - t) / N."""

    def __init__(self, softmax):
        super().__init__()
        self.softmax = softmax

    def compute(self, z, labels, step, weights, count):
        xp, y = step.xp, self.softmax(step.xp, z)
        t = xp.equal(labels.reshape(-1, 1), xp.arange(z.shape[1]))
        return -xp.log(xp.where(t, y, 1)).sum() / count, (y - t) / count


def against_xpnet(device):
    """Largest difference between the gradients of the right functions and those of xpnet's layers: 64-32-10, float64."""
    data, xp = xn.datasets.digits(), device.xp
    net = network().build(64, device=device, dtype="float64")
    x, labels = device.put(data.x_train[:100], "float64"), device.put(data.y_train[:100])
    step = net.step(training=True)
    z, cache = net.forward(x, step)
    net.backward(xn.SoftmaxCrossEntropy()(z, labels, step)[1], cache, step)
    W1, b1, W2, b2 = (p.value for p in net.parameters.values())
    h = xp.maximum(x @ W1 + b1, 0)
    dz = (softmax(xp, h @ W2 + b2) - xp.equal(labels.reshape(-1, 1), xp.arange(10))) / len(x)
    dh, *second = affine_backward(dz, h, W2)
    _, *first = affine_backward(relu_backward(dh, h), x, W1)
    pairs = zip(first + second, net.parameters.values(), strict=True)
    return max(float(device.get(abs(g - p.grad).max())) for g, p in pairs)


def affine_by_numbers(device, shape):
    """Largest relative error of three forms of dW, None where the shape is not that of W, against numerical differentiation."""
    rng, (n_in, n_out) = np.random.default_rng(0), shape
    x, W, dy = (rng.standard_normal(s) for s in ((5, n_in), shape, (5, n_out)))
    true = np.zeros(shape)
    for place in np.ndindex(shape):
        h = np.zeros(shape)
        h[place] = 1e-4
        true[place] = ((x @ (W + h) - x @ (W - h)) / 2e-4 * dy).sum()
    x, W, dy = map(device.put, (x, W, dy))
    forms = [affine_backward(dy, x, W)[1], slide_affine_backward(dy, x, W)[1], dy.T @ dy]
    return [abs(device.get(g) - true).max() / abs(true).max() if g.shape == shape else None for g in forms]


def softmax_by_numbers(device):
    """Row sums of a batch of three and of one, right and slip; and which logits overflow: (dtype, logit, right, slip)."""
    z = device.put([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [4.0, 0.0, 2.0]])
    sums = [[device.get(f(device.xp, rows).sum(axis=1)) for rows in (z, z[:1])] for f in (softmax, slide_softmax)]
    large = []
    for dtype, logit in (("float32", 88), ("float32", 89), ("float64", 709), ("float64", 710), ("float64", 1000)):
        pair = device.put([[logit, 0]], dtype)
        with np.errstate(over="ignore", invalid="ignore"):
            large.append((dtype, logit, *(device.get(f(device.xp, pair))[0, 0] for f in (softmax, softmax_without_maximum))))
    return sums, large


def relu_by_numbers(device, function):
    """A residual block, y = relu(u) + x: the caller's dy after the branch has had it, and the sum that goes on to x."""
    dy, y = device.put([[0.5, -0.3, 0.2, 0.7]]), device.put([[1.0, 0.0, 2.0, 0.0]])
    branch = function(dy, y)
    return device.get(dy)[0], device.get(branch + dy)[0]


def network(affine=xn.Affine, relu=xn.ReLU, blocks=0):
    """64-32-10, and ``blocks`` residual blocks in the middle."""
    middle = [xn.Residual(affine(32), relu()) for _ in range(blocks)]
    return xn.Sequential(affine(32), relu(), *middle, affine(10))


def train(device, net, rule, softmax=None, scale=1.0, epochs=10):
    """Test accuracy after one and after all epochs, and the largest logit then; ``scale``: pixels lie in 0..scale."""
    data, accuracy = xn.datasets.digits(), []
    loss = SlideCrossEntropy(softmax) if softmax else xn.SoftmaxCrossEntropy()
    trainer = xn.Trainer(net, loss=loss, optimizer=rule, device=device)
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what diverges here is meant to
        for _ in range(epochs):
            trainer.fit(data.x_train * scale, data.y_train)
            logits = trainer.predict(data.x_test * scale)
            accuracy.append(xn.accuracy(logits, data.y_test))
    return accuracy[0], accuracy[-1], float(abs(logits).max())


def trainings(device):
    """What was trained -> accuracy after 1 and 10 epochs, largest logit: a right form, then its slips."""
    cases = {
        "64-32-10, right": (network(), xn.SGD(0.1)),
        "  dx.T for x.T": (network(SlideAffine), xn.SGD(0.1)),
        "  softmax over the whole batch": (network(), xn.SGD(0.1), slide_softmax),
        "  softmax without the maximum": (network(), xn.SGD(0.1), softmax_without_maximum),
        "  ReLU in place": (network(relu=SlideReLU), xn.SGD(0.1)),
        "64-32-10, pixels 0..255, right": (network(), xn.Adam(), None, 255),
        "  without the maximum, pixels 0..255": (network(), xn.Adam(), softmax_without_maximum, 255),
        "4 residual blocks in it, right": (network(blocks=4), xn.SGD(0.05)),
        "  ReLU in place, 4 residual blocks": (network(relu=SlideReLU, blocks=4), xn.SGD(0.05)),
    }
    return {name: train(device, *case) for name, case in cases.items()}


def gradchecks(device):
    """What xn.gradcheck says of each slip: True where it finds nothing wrong."""
    mse = {"loss": xn.MeanSquaredError()}
    cases = {
        "dx.T for x.T": (SlideAffine(3), {}),
        "softmax over the whole batch, 3 rows": (SlideCrossEntropy(slide_softmax), {}),
        "softmax over the whole batch, 1 row": (SlideCrossEntropy(slide_softmax), {"batch": 1}),
        "softmax without the maximum": (SlideCrossEntropy(softmax_without_maximum), {}),
        "ReLU in place, in a chain": (xn.Sequential(xn.Affine(4), SlideReLU()), mse),
        "ReLU in place, in a residual block": (xn.Residual(xn.Affine(4), SlideReLU()), mse),
    }
    return {name: bool(xn.gradcheck(w, 4, device=device, raises=False, **more)) for name, (w, more) in cases.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    device = xn.device(parser.parse_args().device)
    with np.printoptions(precision=4, suppress=True):
        apart = against_xpnet(device)
        print(f"The right forms give the gradients of xpnet's own layers: {'equal to 12 digits' if apart < 1e-12 else apart}.")

        print("\n1. Weight gradient of an affine layer: largest relative error against numerical differentiation.\n")
        print(f"{'W':8s}{'x.T @ dy':>12s}{'dx.T @ dy':>12s}{'dy.T @ dy':>12s}")
        for shape in ((4, 3), (3, 3)):
            errors = ["no fit" if e is None else f"{e:.2f}" for e in affine_by_numbers(device, shape)]
            print(f"{'x'.join(map(str, shape)):8s}" + "".join(f"{e:>12s}" for e in errors))
        print(
            "dx = dy @ W.T has the shape of x: wrong for every W, without an error. Where it is the incoming gradient that is"
        )
        print("called dx (last column), the shapes disagree, unless W is square: then it is wrong without an error, too.")

        (right, slip), large = softmax_by_numbers(device)
        print("\n2. Softmax: the sum of each row, which should be 1.\n")
        for name, (three, one) in (("each row by its own sum", right), ("one sum for the whole batch", slip)):
            print(f"{name:28s} three rows {three}   one row {one}")
        print("\nProbability of the first of two logits, (z, 0), with and without the maximum subtracted:\n")
        for row in large:
            print("{:8s}  z = {:5d}{:8.2f}{:8.2f}".format(*row))

        print("\n3. ReLU in a residual block, y = relu(u) + x: dy after the branch has used it, and what goes on to x.\n")
        for name, function in (("a new array", relu_backward), ("in place", slide_relu_backward)):
            print("{:14s} dy {}   to x {}".format(name, *relu_by_numbers(device, function)))
        print("In place, the shortcut gets zeros where it should get dy. In a plain chain nobody looks at dy again.")

    print("\nDoes xn.gradcheck find it?\n")
    for name, agrees in gradchecks(device).items():
        print(f"{name:38s}{'no' if agrees else 'yes'}")
    print("No: one row hides the sum over the batch, ordinary logits the overflow; and in a chain that slip does no harm.")

    print("\nTrained on the digits: test accuracy after 1 and 10 epochs, and the largest logit.\n")
    print(f"{'':38s}{'1 epoch':>10s}{'10 epochs':>12s}{'logit':>10s}")
    for name, row in trainings(device).items():
        print(f"{name:38s}" + "{:10.3f}{:12.3f}{:10.3g}".format(*row))
    print("Over the whole batch y adds up to 1 and t to 32: every step pushes all logits up. In place, residual blocks still")
    print("learn, a little worse: the slip that nobody notices.")


if __name__ == "__main__":
    main()
