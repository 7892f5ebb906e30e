"""What Winograd's method costs in exactness."""

import numpy as np
import pytest
from helpers import network, run

import xpnet as xn


def rms(a):
    return float(np.sqrt(np.mean(np.square(a, dtype="float64"))))


class TestErrorOfWinograd:
    """In float32, beside im2col's: rms of the differences from float64, He's weights, random normal images and gradients."""

    def errors(self, kernel, channels, n_out, size=12, batch=4):
        """Those of (y, dx, dW) by each method, relative to the rms of what is right."""
        rng = np.random.default_rng(kernel)
        cpu, x = xn.device("cpu"), rng.standard_normal((batch, size, size, channels)).astype("float32")
        layers = [xn.Conv2d(n_out, kernel, padding="same", method=method) for method in ("im2col", "im2col", "winograd")]
        right, direct, winograd = (
            network(layer, x.shape[1:], cpu, dtype, seed=1)
            for layer, dtype in zip(layers, ("float64", "float32", "float32"), strict=True)
        )
        dy = rng.standard_normal((batch, *right.output_shape)).astype("float32")
        for net in (right, winograd):
            net.parameters.restore(direct.parameters.snapshot())
        truth, *found = ((r.y, r.dx, r.grads["0.W"]) for r in (run(net, x, dy) for net in (right, direct, winograd)))
        return [[rms(a - b) / rms(b) for a, b in zip(one, truth, strict=True)] for one in found]

    @pytest.mark.parametrize(
        ("kernel", "most", "ratio"), [(2, 1e-6, 7), (3, 1e-6, 7), (4, 2.7e-6, 18), (5, 4e-6, 25)], ids=lambda v: str(v)
    )
    @pytest.mark.parametrize(("channels", "n_out"), [(16, 16), (64, 64)])
    def test_its_size(self, kernel, most, ratio, channels, n_out):
        direct, winograd = self.errors(kernel, channels, n_out)
        assert max(direct) < 5e-7
        assert max(winograd) < most
        assert all(w < ratio * d for w, d in zip(winograd, direct, strict=True))
