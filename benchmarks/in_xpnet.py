"""The cases in xpnet, on any of its devices. On a real GPU this has not been run yet."""

import networks
from cases import Case
from peer import Absent, Peer, blas_threads

import xpnet as xn


def peer(case, *, device="cpu", ledger=False):
    """``ledger`` opens one around each step."""
    trainer = made(case, device)
    x, y = (trainer.device.put(a) for a in networks.rows(case))

    def step():
        return trainer.step(x, y)

    def noted():
        with xn.ledger():
            return step()

    def threads():
        workers = getattr(trainer.device, "threads", None)
        return blas_threads() | ({} if workers is None else {"xpnet's workers": workers})

    return Peer(noted if ledger else step, threads, trainer.device)


def made(case, device):
    """A trainer with the initial weights of the case; raises Absent where the device cannot be used."""
    loss = {"half-squared-error": xn.HalfSquaredError, "softmax-cross-entropy": xn.SoftmaxCrossEntropy}[case.loss]()
    optimizer = {"sgd": xn.SGD, "momentum": xn.Momentum, "adam": xn.Adam}[case.optimizer](case.learning_rate)
    net = network(case)
    try:
        trainer = xn.Trainer(net, loss=loss, optimizer=optimizer, device=device).build(case.shape)
    except xn.DeviceUnavailable as error:
        raise Absent(str(error)) from error
    names = [name for name in net.parameters if name.endswith(".W")]
    for name, values in zip(names, networks.weights(case), strict=True):
        net.parameters.fill(name, values)
    return trainer


def network(case):
    if isinstance(case, Case):
        make = {"affine": xn.Affine, "relu": xn.ReLU, "sigmoid": xn.Sigmoid}
        return xn.Sequential(*(make[kind](*of) for kind, *of in networks.layers(case)))
    if case.network == "resnet":
        return xn.architectures.resnet(case.classes, widths=(64,), blocks=3)
    return getattr(xn.architectures, case.network)(case.classes)
