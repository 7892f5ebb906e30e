"""The cases in scikit-learn: one call of ``MLPClassifier.partial_fit`` on one batch is one step."""

import networks
import numpy as np
from peer import Host, Peer, blas_threads, needed


def peer(case):
    """Its checks of the input and its coding of the labels are part of what a step costs there."""
    classifier = needed("sklearn.neural_network", "scikit-learn").MLPClassifier
    x, y = networks.rows(case)
    net = classifier(
        case.sizes[1:-1],
        activation=case.activation,
        solver=case.optimizer,
        learning_rate_init=case.learning_rate,
        alpha=0.0,
        momentum=0.0,
        nesterovs_momentum=False,
        batch_size=case.batch,
        shuffle=False,
        random_state=0,
    )
    net.partial_fit(x, y, classes=np.arange(case.sizes[-1]))  # makes the arrays
    for w, b, values in zip(net.coefs_, net.intercepts_, networks.weights(case), strict=True):
        w[...], b[...] = values, 0
    del net._optimizer  # and its moments: the next call begins with new ones

    def step():
        return net.partial_fit(x, y).loss_

    return Peer(step, blas_threads, Host())
