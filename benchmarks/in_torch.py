"""The cases in PyTorch: eager or compiled, channels first or last, on the CPU or on a GPU.

What concerns a GPU has not been run on a real one yet.
"""

import networks
import numpy as np
from peer import Absent, Host, Peer, needed


class GPU:
    """The current one and its current stream."""

    def __init__(self, torch):
        if not torch.cuda.is_available():
            built = f"for CUDA {torch.version.cuda}" if torch.version.cuda else "without CUDA"
            raise Absent(f"PyTorch {torch.__version__}, built {built}, finds no usable GPU")
        torch.backends.cudnn.allow_tf32 = False  # its products have 10 bits; PyTorch's of matrices are in float32 unless asked
        self.cuda = torch.cuda

    def synchronize(self):
        self.cuda.synchronize()

    def idle(self):
        return self.cuda.current_stream().query()


def peer(case, *, threads, device="cpu", compiled=False, graphs=False, channels_last=False):
    """``compiled``: the network by torch.compile; ``graphs``: the whole step as one CUDA graph."""
    torch = needed("torch", "torch")
    torch.set_num_threads(threads)
    place = GPU(torch) if device == "cuda" else Host()
    net = torch.nn.Sequential(*modules(torch.nn, networks.layers(case), case.shape, networks.weights(case)))
    x, y = (torch.from_numpy(a) for a in networks.rows(case))
    if x.dim() == 4:
        x = x.permute(0, 3, 1, 2)  # in memory it is as in xpnet, which is PyTorch's channels_last
        net, x = (net.to(memory_format=torch.channels_last), x) if channels_last else (net, x.contiguous())
    net, x, y = net.to(device), x.to(device), y.to(device)
    step, optimizer = stepping(torch, case, net, torch.compile(net) if compiled else net, x, y, capturable=graphs)
    call = captured(torch, step, net, optimizer) if graphs else step
    return Peer(call, lambda: {"torch": torch.get_num_threads()}, place)


def stepping(torch, case, net, forward, x, y, capturable):
    """The step, which returns the loss, and its optimizer."""
    adam = {"capturable": True} if capturable else {}
    rules = {
        "sgd": lambda p: torch.optim.SGD(p, case.learning_rate),
        "momentum": lambda p: torch.optim.SGD(p, case.learning_rate, momentum=0.9),
        "adam": lambda p: torch.optim.Adam(p, case.learning_rate, **adam),
    }
    optimizer = rules[case.optimizer](net.parameters())
    loss = half_squared_error if case.loss == "half-squared-error" else torch.nn.functional.cross_entropy

    def step():
        optimizer.zero_grad()
        value = loss(forward(x), y)
        value.backward()
        optimizer.step()
        return value.detach()

    return step, optimizer


def half_squared_error(outputs, targets):
    return 0.5 * ((outputs - targets) ** 2).sum() / len(targets)


def captured(torch, step, net, optimizer):
    """The step as a graph that a call replays; the initial values are put back after the steps that capturing needs."""
    start = {name: a.clone() for name, a in net.state_dict().items()}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            step()
    torch.cuda.current_stream().wait_stream(side)
    net.load_state_dict(start)  # in place, as all that the graph will read must be
    for of_parameter in optimizer.state.values():
        for a in of_parameter.values():
            if torch.is_tensor(a):
                a.zero_()
    optimizer.zero_grad()  # gradients then come from the graph's own memory
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        graph.replay()
        return loss

    return replay


def modules(nn, layers, shape, weights):
    """The layers of networks.py, filled with the weights in their order."""
    plain = {"relu": nn.ReLU, "sigmoid": nn.Sigmoid, "flatten": nn.Flatten, "dropout": nn.Dropout}
    made, image = [], None  # the shape that was flattened last
    for layer in layers:
        kind, *of = layer
        if kind == "conv":
            module = nn.Conv2d(shape[2], of[0], of[1], padding=of[2], bias=of[3])
            fill(module, next(weights).transpose(3, 2, 0, 1))
        elif kind == "affine":
            module = nn.Linear(shape[-1], of[0])
            fill(module, channels_first(next(weights), image).T)
        elif kind == "residual":
            module = residual(nn, modules(nn, of[0], shape, weights))
        elif kind == "average":
            module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        elif kind in ("norm", "pool"):
            module = nn.BatchNorm2d(shape[2]) if kind == "norm" else nn.MaxPool2d(2)
        else:
            module = plain[kind](*of)
        made.append(module)
        image = shape if kind == "flatten" else None
        shape = networks.after(layer, shape)
    return made


def channels_first(values, image):
    """The rows of a weight behind a flattened image, in PyTorch's order."""
    if image is None:
        return values
    return values.reshape(-1, image[2], values.shape[1]).transpose(1, 0, 2).reshape(values.shape)


def fill(module, values):
    torch = needed("torch", "torch")
    module.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(values)))
    if module.bias is not None:
        module.bias.data.zero_()


def residual(nn, layers):
    class Residual(nn.Module):
        def __init__(self):
            super().__init__()
            self.body = nn.Sequential(*layers)

        def forward(self, x):
            return self.body(x) + x

    return Residual()
