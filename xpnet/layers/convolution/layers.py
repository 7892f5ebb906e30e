"""Convolution layers."""

from __future__ import annotations

import math

from xpnet.backends.device import Array, Device
from xpnet.checks import check_count, check_flag
from xpnet.initializers import Initializer, he_normal, zeros
from xpnet.layers.base import Layer, Shape
from xpnet.layers.convolution.geometry import Geometry, axis, check_image, check_windows, pair
from xpnet.layers.convolution.plan import METHODS, Method, plan, unsuited
from xpnet.parameters import Maker
from xpnet.step import Pass


class Conv2d(Layer):
    """Convolution (cross-correlation) of images with ``n_out`` kernels.  LeCun et al., 1998.

    x (N, H, W, C) -> y (N, H', W', n_out);  W (kh, kw, C / groups, n_out);  b (n_out,).
    ``kernel``, ``stride`` and ``dilation`` are a number or a pair (height, width); ``padding`` is one too, or "same"
    (H' = ceil(H / stride), what is odd goes after) or "valid". H' = (H + padding - dilation (kh - 1) - 1) // stride + 1.

    How it is computed is planned from shapes and device; ``method`` forces one: "product" (1x1), "winograd" (kernels up to
    5x5 of stride 1; in float32 about 3 times as inexact as the others at 3x3, 6 to 20 times at 5x5, never with
    ``exact=True``), "taps" (depthwise), "im2col". ``workspace``: about the bytes (float32) that it gathers at a time.
    """

    blockwise = owns_output = owns_dx = gathers = True

    def __init__(
        self,
        n_out: int,
        kernel: int | tuple[int, int],
        *,
        stride: int | tuple[int, int] = 1,
        padding: int | tuple[int, int] | str = 0,
        dilation: int | tuple[int, int] = 1,
        groups: int = 1,
        bias: bool = True,
        init: Initializer = he_normal,
        bias_init: Initializer = zeros,
        method: str = "auto",
        exact: bool = False,
        workspace: int | None = None,
    ):
        self.n_out, self.groups = check_count("Conv2d(n_out", n_out), check_count("Conv2d(groups", groups)
        self.kernel, self.stride, self.padding, self.dilation = kernel, stride, padding, dilation
        self.bias, self.exact = check_flag("Conv2d(bias", bias), check_flag("Conv2d(exact", exact)
        self.init, self.bias_init, self.method, self.workspace = init, bias_init, method, workspace
        if workspace is not None:
            check_count("Conv2d(workspace", workspace)
        if isinstance(padding, str) and padding not in ("same", "valid"):
            raise ValueError(f"Conv2d(padding={padding!r}): choose 'same', 'valid', a whole number or a pair (height, width)")
        for name, value, least in (
            ("kernel", kernel, 1),
            ("stride", stride, 1),
            ("dilation", dilation, 1),
            ("padding", padding, 0),
        ):
            if not (name == "padding" and value in ("same", "valid")):
                pair(f"Conv2d({name}", value, least)
        if n_out % groups:
            raise ValueError(
                f"Conv2d(n_out={n_out}, groups={groups}): every group makes as many outputs: n_out must be a multiple of groups"
            )
        if method not in ("auto", *METHODS):
            raise ValueError(f"Conv2d(method={method!r}): choose 'auto', {', '.join(map(repr, METHODS))}")
        if exact and method == "winograd":
            raise ValueError("Conv2d(method='winograd', exact=True): Winograd's is the one method that is not exact")

    def build(self, shape: Shape, make: Maker) -> Shape:
        check_image(self, shape)
        (kernels, strides, dilations), channels = map(pair, ("", "", ""), (self.kernel, self.stride, self.dilation)), shape[2]
        paddings = (self.padding,) * 2 if isinstance(self.padding, str) else pair("", self.padding, 0)
        rows, columns = map(axis, shape[:2], kernels, strides, paddings, dilations)
        check_windows(self, shape, rows, columns)
        if channels % self.groups:
            raise ValueError(f"{self!r}: {channels} channels cannot be cut into {self.groups} groups")
        self.geometry = Geometry(rows, columns, channels, self.n_out, self.groups)
        if self.method != "auto" and (why := unsuited(self.method, self.geometry)):
            raise ValueError(f"{self!r}: the method does not suit samples of shape {shape}: {why}")
        self.W = make.parameter("W", (*kernels, channels // self.groups, self.n_out), self.init)
        self.b = make.parameter("b", (self.n_out,), self.bias_init, decay=False) if self.bias else None
        return self.geometry.output

    def plan(self, device: Device) -> Method:
        """How this layer computes on the device."""
        return plan(self.geometry, device, self.method, self.exact, self.workspace)

    def weight_size(self, device: Device) -> int:
        return self.plan(device).weight_size + self.n_out * self.bias

    def forward(self, x: Array, step: Pass) -> tuple[Array, Array]:
        y = step.keep((len(x), *self.geometry.output))
        self.plan(step.device).forward(x, self.W, y, step)
        b = self.b
        if b:
            row = step.once((self, "b"), lambda step: step.broad(b.value, self.geometry.pixels, keep=True))
            pixels = y.reshape(-1, len(row))
            step.xp.add(pixels, row, out=pixels)
        return y, x

    def backward(self, dy: Array, x: Array, step: Pass) -> Array | None:
        if self.b:
            with step.total(self.b) as total:
                total.add_rows(step.rows(dy), step)
        dx = step.keep(x.shape) if step.needs_dx else None
        self.plan(step.device).backward(x, dy, self.W, dx, step)
        return dx

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        return math.prod(output_shape) * (2 * self.geometry.patch + self.bias)
