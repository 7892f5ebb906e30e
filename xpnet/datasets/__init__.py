"""Data sets as NumPy arrays: embedded ones, and MNIST from a folder."""

from xpnet.datasets.base import Dataset, one_hot
from xpnet.datasets.digits import digits
from xpnet.datasets.mnist import mnist, read_idx

__all__ = ["Dataset", "digits", "mnist", "one_hot", "read_idx"]
