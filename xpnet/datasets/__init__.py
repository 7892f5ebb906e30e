"""Data sets as NumPy arrays: embedded, generated, and read from a folder or downloaded."""

from xpnet.datasets.auto_mpg import auto_mpg
from xpnet.datasets.base import Dataset, one_hot
from xpnet.datasets.cifar10 import cifar10
from xpnet.datasets.colors import colors
from xpnet.datasets.csv_files import read_csv
from xpnet.datasets.digits import digits
from xpnet.datasets.generated import blobs, spirals, xor
from xpnet.datasets.mnist import fashion_mnist, mnist, read_idx
from xpnet.datasets.own import Arrays, Images, read_images, read_npy, read_npz
from xpnet.datasets.tables import Table

__all__ = [
    "Arrays",
    "Dataset",
    "Images",
    "Table",
    "auto_mpg",
    "blobs",
    "cifar10",
    "colors",
    "digits",
    "fashion_mnist",
    "mnist",
    "one_hot",
    "read_csv",
    "read_idx",
    "read_images",
    "read_npy",
    "read_npz",
    "spirals",
    "xor",
]
