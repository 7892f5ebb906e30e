"""Train a network on handwritten digits: the same script on every device.

python examples/train.py                      on a GPU if there is one, else on the CPU
python examples/train.py --device cpu         one word chooses: cpu, cuda, cuda:1, sim (the simulated GPU)
python examples/train.py --data FOLDER        MNIST's IDX files instead of the small embedded digits
python examples/train.py --by-hand            the training loop written out
"""

import argparse

import xpnet as xn


def with_trainer(net, data, device, epochs, seed):
    """The usual way: NumPy arrays in, NumPy arrays and floats out."""
    trainer = xn.Trainer(
        net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(1e-3), device=device, seed=seed, callbacks=[xn.print_epoch]
    )
    trainer.fit(data.x_train, data.y_train, epochs=epochs, batch_size=32, validation=(data.x_test, data.y_test))
    print(f"trained on {trainer.device.name} ({trainer.device_reason})")
    return trainer.evaluate(data.x_test, data.y_test)["accuracy"]


def by_hand(net, data, device, epochs, seed):
    """The same without a trainer: the inputs, the labels and the model are on the device, every step is visible."""
    device = xn.device(device)
    net.build(data.x_train.shape[1:], device=device, seed=seed)
    loss, optimizer = xn.SoftmaxCrossEntropy(), xn.Adam(1e-3)
    x, y = device.put(data.x_train), device.put(data.y_train)
    for epoch in range(epochs):
        for rows in xn.minibatches(len(x), 32, seed=seed, epoch=epoch, device=device):
            step = net.step(training=True)  # namespace, buffers, random counter
            logits, cache = net.forward(x[rows], step)
            value, dlogits = loss(logits, y[rows], step)
            net.backward(dlogits, cache, step)
            optimizer.update(net.parameters)
        print(f"epoch {epoch + 1:3d}  loss of the last minibatch {float(value):.4f}")
    return xn.accuracy(net.predict(data.x_test), data.y_test)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--data", metavar="FOLDER")
    parser.add_argument("--by-hand", action="store_true")
    options = parser.parse_args()

    data = xn.datasets.mnist(options.data) if options.data else xn.datasets.digits()
    net = xn.Sequential(xn.Affine(256), xn.ReLU(), xn.Affine(10))
    train = by_hand if options.by_hand else with_trainer
    accuracy = train(net, data, options.device, options.epochs, options.seed)
    print(net.summary())
    print(f"test accuracy {accuracy:.4f}")


if __name__ == "__main__":
    main()
