"""The step's bare matrix products and nothing around them: the limit of what NumPy can do."""

import networks
import numpy as np
from peer import Host, Peer, blas_threads

TOLERANCE = 1e-5  # of float32's products


def peer(case):
    x, _ = networks.rows(case)
    ws = list(networks.weights(case))
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

    def verify():
        pairs = [(hs[1], x.astype("float64") @ ws[0]), (grads[-1], hs[-2].astype("float64").T @ ds[-1])]
        return "products, against float64", max(float(abs(a - b).max() / abs(b).max()) for a, b in pairs), TOLERANCE

    return Peer(step, blas_threads, Host(), verify)
