"""Convolution, and the methods that compute it."""

from xpnet.layers.convolution.layers import Conv2d

__all__ = ["Conv2d"]
