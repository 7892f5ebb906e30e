"""The convolutional networks of the cases in xpnet and in PyTorch, and the same initial values for both."""

import numpy as np

VGG16 = (64, 64, "pool", 128, 128, "pool", 256, 256, 256, "pool", 512, 512, 512, "pool", 512, 512, 512, "pool")


def in_xpnet(name, classes):
    from xpnet import architectures as a

    if name == "resnet":
        return a.resnet(classes, widths=(64,), blocks=3)
    return getattr(a, name)(classes)


def in_torch(name, classes, shape):
    import torch

    nn = torch.nn
    height, width, channels = shape

    class Residual(nn.Module):
        def __init__(self, *layers):
            super().__init__()
            self.body = nn.Sequential(*layers)

        def forward(self, x):
            return self.body(x) + x

    def conv(n_in, n_out):
        return nn.Conv2d(n_in, n_out, 3, padding=1, bias=False)

    if name == "lenet":
        size = ((height - 4) // 2 - 4) // 2 * (((width - 4) // 2 - 4) // 2)
        layers = [nn.Conv2d(channels, 20, 5), nn.MaxPool2d(2), nn.ReLU(), nn.Conv2d(20, 50, 5), nn.MaxPool2d(2), nn.ReLU()]
        layers += [nn.Flatten(), nn.Linear(50 * size, 500), nn.ReLU(), nn.Linear(500, classes)]
    elif name == "resnet":
        layers = [conv(channels, 64), nn.BatchNorm2d(64), nn.ReLU()]
        for _ in range(3):
            layers.append(Residual(conv(64, 64), nn.BatchNorm2d(64), nn.ReLU(), conv(64, 64), nn.BatchNorm2d(64)))
            layers.append(nn.ReLU())
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(64, classes)]
    else:
        layers, n_in, big = [], channels, name == "vgg16"
        for n_out in VGG16 if big else (32, 32, "pool", 64, 64, "pool"):
            if n_out == "pool":
                layers.append(nn.MaxPool2d(2))
                height, width = height // 2, width // 2
                continue
            layers += [nn.Conv2d(n_in, n_out, 3, padding=1)] if big else [conv(n_in, n_out), nn.BatchNorm2d(n_out)]
            layers.append(nn.ReLU())
            n_in = n_out
        hidden = (4096, 4096) if big else (128,)
        layers.append(nn.Flatten())
        n_in *= height * width
        for n_out in hidden:
            layers += [nn.Linear(n_in, n_out), nn.ReLU()] + ([nn.Dropout(0.5)] if big else [])
            n_in = n_out
        layers.append(nn.Linear(n_in, classes))
    return nn.Sequential(*layers)


def initial(shape, seed):
    """Weights (..., n_in, n_out) of variance 2 / fan-in."""
    rng = np.random.default_rng([1, seed])
    return rng.standard_normal(shape, np.float32) * np.float32((2 / np.prod(shape[:-1])) ** 0.5)


def fill_xpnet(net):
    """Every weight in the order of the network; biases 0, scales 1."""
    weights = [name for name in net.parameters if name.endswith(".W")]
    for seed, name in enumerate(weights):
        net.parameters.fill(name, initial(net.parameters[name].shape, seed))


def fill_torch(net, shape):
    """The same values, channels first; the rows of the affine layer behind the flattening in its order."""
    import torch

    seed, flattened = 0, False
    last_channels = shape[2]
    for module in net.modules():
        if isinstance(module, torch.nn.Conv2d):
            n_out, n_in, *kernel = module.weight.shape
            values = initial((*kernel, n_in, n_out), seed).transpose(3, 2, 0, 1)
            last_channels = n_out
        elif isinstance(module, torch.nn.Linear):
            n_out, n_in = module.weight.shape
            values = initial((n_in, n_out), seed)
            if not flattened:
                values = values.reshape(-1, last_channels, n_out).transpose(1, 0, 2).reshape(n_in, n_out)
                flattened = True
            values = values.T
        else:
            continue
        module.weight.data.copy_(torch.from_numpy(np.ascontiguousarray(values)))
        if module.bias is not None:
            module.bias.data.zero_()
        seed += 1
