"""Deltas by hand: one backward pass through two layers, every number of it, and the same numbers from every device.

python examples/deltas_by_hand.py                  plain arithmetic, then xpnet, then numerical differentiation
python examples/deltas_by_hand.py --device sim     the middle part on the simulated GPU

"cpu" is the CPU, "cuda" the current one of several GPUs ("cuda:1" the second), "sim" the simulated GPU.

One sample, x = 3 with target t = 4; two affine layers of one neuron each, W1 = 0.1, b1 = 0.4, W2 = 0.5, b2 = 0.9; squared
error. f, between the layers, is the identity or ReLU: u1 is positive, so that both give the same. Forward from left to
right, then backward from right to left; the delta of a layer is the derivative of the loss by that layer's u = W x + b.
Then the update, W = W - dW * ep, with the learning rate ep = 0.01.
"""

import argparse

import numpy as np

import xpnet as xn

X, T = 3.0, 4.0
W1, B1, W2, B2 = 0.1, 0.4, 0.5, 0.9
EP = 0.01  # the learning rate
PARAMETERS = ("W1", "b1", "W2", "b2")
DEVICES = {"cpu": "the CPU", "sim": "the simulated GPU", "cuda": "the current one of several GPUs"}


def by_hand():
    """Every quantity in the order of computing: name -> (formula, value). Nothing but plain arithmetic."""
    u1 = W1 * X + B1
    h = u1  # the identity; ReLU passes a positive number on as well
    y = W2 * h + B2
    loss = (y - T) ** 2
    delta2 = dy = 2 * (y - T)
    dh = W2 * delta2
    delta1 = dh * 1  # f'(u1): of the identity 1, of ReLU 1 where u1 > 0 and 0 elsewhere
    return {
        "u1": ("W1 x + b1", u1),
        "h": ("f(u1)", h),
        "y": ("W2 h + b2", y),
        "loss": ("(y - t)^2", loss),
        "dL/dy": ("2 (y - t)", dy),
        "delta2": ("dL/dy", delta2),
        "dW2": ("delta2 h", delta2 * h),
        "db2": ("delta2", delta2),
        "dh": ("W2 delta2", dh),
        "delta1": ("dh f'(u1)", delta1),
        "dW1": ("delta1 x", delta1 * X),
        "db1": ("delta1", delta1),
        "new W1": ("W1 - dW1 ep", W1 - delta1 * X * EP),
        "new b1": ("b1 - db1 ep", B1 - delta1 * EP),
        "new W2": ("W2 - dW2 ep", W2 - delta2 * h * EP),
        "new b2": ("b2 - db2 ep", B2 - delta2 * EP),
    }


class Look(xn.Layer):
    """Changes nothing; notes the number that passes on the way there and the gradient that passes on the way back."""

    def __init__(self, there, back, seen):
        self.there, self.back, self.seen = there, back, seen

    def forward(self, x, step):
        self.seen[self.there] = number(step.device, x)
        return x, None

    def backward(self, dy, cache, step):
        self.seen[self.back] = number(step.device, dy)
        return dy


def by_xpnet(device, activation=xn.Identity, dtype="float64"):
    """The quantities of :func:`by_hand` from a network: x, t and the model are all three sent to the device."""
    seen, device = {}, xn.device(device)
    net = xn.Sequential(
        xn.Affine(1), Look("u1", "delta1", seen), activation(), Look("h", "dh", seen), xn.Affine(1), Look("y", "dL/dy", seen)
    )
    net.build((1,), dtype=dtype)
    net.parameters.restore({"0.W": [[W1]], "0.b": [B1], "4.W": [[W2]], "4.b": [B2]})
    x, t = device.put([[X]], dtype), device.put([[T]], dtype)  # in PyTorch: x.to(device), t.to(device)
    net.to(device)  # and model.to(device)
    step = net.step(training=True)
    y, cache = net.forward(x, step)
    value, dy = xn.MeanSquaredError()(y, t, step)
    net.backward(dy, cache, step)
    gradients = {name: number(device, p.grad) for name, p in zip(PARAMETERS, net.parameters.values(), strict=True)}
    seen |= {"loss": number(device, value), "delta2": seen["dL/dy"]}  # the output is u2 itself
    xn.SGD(EP).update(net.parameters)
    updated = {f"new {name}": number(device, p.value) for name, p in zip(PARAMETERS, net.parameters.values(), strict=True)}
    return seen | {f"d{name}": g for name, g in gradients.items()} | updated


def number(device, a):
    """The one number in an array of the device."""
    return float(device.get(a).reshape(()))


def numerically(h=1e-5):
    """Each gradient as ``(L(p + h) - L(p - h)) / 2h``: two forward passes, no formula of a derivative."""

    def loss(values):
        w1, b1, w2, b2 = values
        return (w2 * (w1 * X + b1) + b2 - T) ** 2

    start, found = np.array([W1, B1, W2, B2]), {}
    for name, direction in zip(PARAMETERS, np.eye(4), strict=True):
        found[name] = float((loss(start + h * direction) - loss(start - h * direction)) / (2 * h))
    return found


def by_device(names=tuple(DEVICES)):
    """The four gradients on each device in float64; the reason as text where a device is not to be had."""
    found = {}
    for name in names:
        try:
            seen = by_xpnet(name, xn.ReLU)
            found[name] = [seen[f"d{p}"] for p in PARAMETERS]
        except xn.DeviceUnavailable as error:
            found[name] = str(error)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="cpu", help="cpu, sim, cuda, cuda:1, ...")
    options = parser.parse_args()

    single = by_xpnet(options.device, dtype="float32")
    with_identity, with_relu = (by_xpnet(options.device, f) for f in (xn.Identity, xn.ReLU))
    print("By plain arithmetic; by xpnet in float64, with the identity and with ReLU; in float32, as networks are trained:\n")
    print(f"{'':8s}{'':12s}{'by hand':>10s}{'identity':>10s}{'ReLU':>10s}{'float32':>12s}")
    for name, (formula, value) in by_hand().items():
        print(f"{name:8s}{formula:12s}{value:10.8g}{with_identity[name]:10.8g}{with_relu[name]:10.8g}{single[name]:12.7g}")

    print("\nNumerical differentiation, two forward passes for each parameter, knows no derivative and finds the same:\n")
    for name, slope in numerically().items():
        print(f"d{name:7s}{slope:12.8f}   by backpropagation {with_relu[f'd{name}']:12.8f}")

    print("\nDevice by device: x, t and the model are all three sent there, device.put(x), device.put(t), net.to(device).\n")
    print(f"{'':32s}" + "".join(f"{'d' + name:>10s}" for name in PARAMETERS))
    for device, found in by_device().items():
        row = f"  not here: {found}" if isinstance(found, str) else "".join(f"{g:10.8g}" for g in found)
        print(f"{DEVICES[device]:32s}{row}")
    print("\nThe gradients by W1, b1, W2, b2:")
    print(", ".join(f"{with_relu[f'd{name}']:.8g}" for name in PARAMETERS))


if __name__ == "__main__":
    main()
