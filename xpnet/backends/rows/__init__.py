"""Sums and means over rows and columns that a GPU takes in few launches, each with its form in NumPy as its twin."""

from xpnet.backends.rows.kernel import Launch, RowKernel, fused

__all__ = ["Launch", "RowKernel", "fused"]
