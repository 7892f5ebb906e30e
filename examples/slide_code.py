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


def row_sums(device, function):
    """The sum of each row's probabilities, in a batch of three rows and in one of the first row alone."""
    z = device.put([[1.0, 2.0, 3.0], [0.0, 0.0, 0.0], [4.0, 0.0, 2.0]])
    return [device.get(function(device.xp, rows).sum(axis=1)) for rows in (z, z[:1])]


def of_large_logit(device, dtype, z):
    """The probability of the first of the two logits (z, 0): right, and without the maximum."""
    with np.errstate(over="ignore", invalid="ignore"):
        pair = device.put([[z, 0]], dtype)
        return [float(device.get(f(device.xp, pair))[0, 0]) for f in (softmax, softmax_without_maximum)]


def through_a_residual_block(device, function):
    """y = relu(x) + x: the caller's dy after relu's backward has had it, and the sum that goes on to x."""
    dy, y = device.put([[0.5, -0.3, 0.2, 0.7]]), device.put([[1.0, 0.0, 2.0, 0.0]])
    branch = function(dy, y)
    return device.get(dy)[0], device.get(branch + dy)[0]


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


def train(device, rate=0.1, rule=xn.SGD, affine=xn.Affine, relu=xn.ReLU, softmax=None, blocks=0, scale=1.0):
    """64-32-10 on the digits: test accuracy after 1 and 10 epochs, largest logit; ``scale``: pixels lie in 0..scale."""
    middle = [xn.Residual(affine(32), relu()) for _ in range(blocks)]
    net = xn.Sequential(affine(32), relu(), *middle, affine(10))
    loss = SlideCrossEntropy(softmax) if softmax else xn.SoftmaxCrossEntropy()
    trainer, data, accuracy = xn.Trainer(net, loss=loss, optimizer=rule(rate), device=device), xn.datasets.digits(), []
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # what diverges here is meant to
        for _ in range(10):
            trainer.fit(data.x_train * scale, data.y_train)
            logits = trainer.predict(data.x_test * scale)
            accuracy.append(xn.accuracy(logits, data.y_test))
    return accuracy[0], accuracy[-1], float(abs(logits).max())


def trainings(device):
    """What was trained -> its figures: a right form, then its slips."""
    blocks, large = {"blocks": 4, "rate": 0.05}, {"scale": 255, "rule": xn.Adam, "rate": 0.001}
    cases = {
        "64-32-10, right": {},
        "  dx.T for x.T": {"affine": SlideAffine},
        "  softmax over the whole batch": {"softmax": slide_softmax},
        "  softmax without the maximum": {"softmax": softmax_without_maximum},
        "  ReLU in place": {"relu": SlideReLU},
        "64-32-10, pixels 0..255, right": large,
        "  without the maximum, pixels 0..255": large | {"softmax": softmax_without_maximum},
        "4 residual blocks in it, right": blocks,
        "  ReLU in place, 4 residual blocks": blocks | {"relu": SlideReLU},
    }
    return {name: train(device, **case) for name, case in cases.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    device = xn.device(parser.parse_args().device)

    print("1. Affine with dx.T for x.T: every shape fits and no error comes, but the gradient of W is wrong.\n")
    print(xn.gradcheck(SlideAffine(3), 4, device=device, raises=False))

    print("\n2. Softmax: the sum of each row, which should be 1.\n")
    for name, function in (("each row by its own sum", softmax), ("one sum for the whole batch", slide_softmax)):
        print("{:28s} three rows {}   one row {}".format(name, *(s.round(4) for s in row_sums(device, function))))
    print("\nProbability of the first of two logits, (z, 0), with and without the maximum subtracted:\n")
    for dtype, z in (("float32", 88), ("float32", 89), ("float64", 709), ("float64", 710)):
        print("{:8s}  z = {:5d}{:8.2f}{:8.2f}".format(dtype, z, *of_large_logit(device, dtype, z)))

    print("\n3. ReLU in a residual block, y = relu(x) + x: dy after the branch has used it, and what goes on to x.\n")
    for name, function in (("a new array", relu_backward), ("in place", slide_relu_backward)):
        print("{:14s} dy {}   to x {}".format(name, *(a.round(4) for a in through_a_residual_block(device, function))))
    print("In place, the shortcut gets zeros where it should get dy. In a plain chain nobody looks at dy again.")

    print("\nDoes xn.gradcheck find it?\n")
    for name, agrees in gradchecks(device).items():
        print(f"{name:38s}{'no' if agrees else 'yes'}")
    print("No: one row hides the sum over the batch, ordinary logits the overflow; and in a chain that slip does no harm.")

    print("\nTrained on the digits: test accuracy after 1 and 10 epochs, and the largest logit.\n")
    print(f"{'':38s}{'1 epoch':>10s}{'10 epochs':>12s}{'logit':>10s}")
    for name, row in trainings(device).items():
        print(f"{name:38s}" + "{:10.3f}{:12.3f}{:10.3g}".format(*row))
    print("Over the whole batch y adds up to 1 and t to 32: every step pushes the logits up. In place, residual blocks still")
    print("learn, a little worse: the slip that nobody notices.")


if __name__ == "__main__":
    main()
