"""Arrays in ``.npy`` and ``.npz`` files, whole or some rows at a time. A header is checked before it is believed.

NumPy, zipfile and zlib raise a dozen kinds of errors for damaged bytes: where these are read, any of them means damage.
"""

from __future__ import annotations

import io
import math
import os
import sys
import warnings
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, NamedTuple

import numpy as np
from numpy.lib import format as npy

from xpnet.checks import check_file, listed, short
from xpnet.datasets.tables import reason

NPY, ZIP = b"\x93NUMPY", b"PK"
KINDS = "fiubcU"  # numbers and text; whole tables of columns, dates, raw bytes are nothing that a network takes
METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # the two that NumPy writes
AXES = 32  # NumPy has 64
EXPANSION = 1032  # deflate cannot make more of a byte
LONGEST_TEXT = 4096  # bytes: 1,024 characters


class Header(NamedTuple):
    """What an array's file says of it."""

    shape: tuple[int, ...]
    fortran: bool
    dtype: np.dtype

    @property
    def nbytes(self) -> int:
        return math.prod(self.shape) * self.dtype.itemsize


class StoredArray:
    """An array in an open file, its header read: ``shape``, ``dtype``, and ``read`` for the next rows.

    ``size`` is how many bytes the file has from its beginning on; errors name the ``path``, in an archive with the array's
    ``key`` there.
    """

    def __init__(self, file: IO[bytes], path: str, size: int, key: str | None = None):
        self.file, self.key = file, key
        self.name = name = path if key is None else f"{path}: {key}"
        self.header = _header(file, name)
        self.offset = file.tell()
        if size - self.offset < self.header.nbytes:
            raise ValueError(
                f"{name} says that it is {self.dtype} of shape {self.shape}, {self.header.nbytes:,} bytes; there are "
                f"{size - self.offset:,}: it is damaged"
            )
        self._whole: np.ndarray | None = None
        self._next = 0

    @property
    def shape(self) -> tuple[int, ...]:
        return self.header.shape

    @property
    def dtype(self) -> np.dtype:
        return self.header.dtype

    def read(self) -> np.ndarray:
        """All of it."""
        flat = np.frombuffer(self._bytes(self.header.nbytes), self.dtype, math.prod(self.shape))
        return flat.reshape(self.shape[::-1]).T if self.header.fortran else flat.reshape(self.shape)

    def rows(self, count: int) -> np.ndarray:
        """The next rows, fewer at the end. In Fortran's order rows lie all over the file: it is mapped, or unpacked whole."""
        if self.header.fortran and len(self.shape) > 1:
            if self._whole is None:
                self._whole = self._mapped() if isinstance(self.file, io.BufferedReader) else self.read()
            check_file(self._whole, self.name)
            part = self._whole[self._next : self._next + count]
        else:
            shape = (min(count, self.shape[0] - self._next), *self.shape[1:])
            flat = self._bytes(math.prod(shape) * self.dtype.itemsize)
            part = np.frombuffer(flat, self.dtype, math.prod(shape)).reshape(shape)
        self._next += len(part)
        return part

    def _mapped(self) -> np.ndarray:
        """All of a plain file as a map: what is not looked at is not read."""
        return np.memmap(self.file, self.dtype, "r", self.offset, self.shape, "F")

    def _bytes(self, count: int) -> bytearray:
        """The next bytes; ValueError where the file ends before, or what is packed is damaged."""
        try:
            found = bytearray(count)
            view, have = memoryview(found), 0
            while have < count and (n := self.file.readinto(view[have:])):  # type: ignore[attr-defined]
                have += n
        except MemoryError as error:
            raise ValueError(f"{self.name} has {count:,} bytes, more than there is memory for") from error
        except Exception as error:
            raise ValueError(f"{self.name} cannot be unpacked ({reason(error)}): it is damaged") from error
        if have < count:
            raise ValueError(f"{self.name} ends after {have:,} of {count:,} bytes: it is damaged")
        return found


class Archive:
    """The arrays in a ``.npz`` file by name, each read when asked for; a context. ValueError where the file is damaged."""

    def __init__(self, path: str | os.PathLike):
        self.path = str(path)
        if _kind(path) == "npy":
            with open_array(path):  # raises where it is damaged
                raise ValueError(f"{path} holds a single array: its name ends in .npy")
        size = os.path.getsize(path)
        try:
            self._zip = zipfile.ZipFile(path)
            self._members: dict[str, zipfile.ZipInfo] = {}
            for info in self._zip.infolist():
                _check_member(info, self.path, size)
                if (name := info.filename.removesuffix(".npy")) in self._members:
                    raise Claim(f"{path} holds {short(name)} twice: it is damaged")
                self._members[name] = info
        except Claim:
            raise
        except Exception as error:
            raise ValueError(f"{path} is no NumPy file, or it is damaged") from error

    def __enter__(self) -> Archive:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def close(self) -> None:
        self._zip.close()

    def __contains__(self, name: str) -> bool:
        return name in self._members

    def listing(self) -> str:
        """The arrays' names, for errors."""
        return listed(list(self._members)) or "none"

    def open(self, name: str) -> StoredArray:
        """One of the arrays, its header read."""
        info = self._members[name]
        try:
            member = self._zip.open(info)
        except Exception as error:
            raise ValueError(f"{self.path}: {name} cannot be unpacked ({reason(error)}): it is damaged") from error
        return StoredArray(member, self.path, info.file_size, name)


@contextmanager
def open_array(path: str | os.PathLike) -> Iterator[StoredArray]:
    """The array in a ``.npy`` file, its header read; ValueError where it is damaged, or holds objects: nothing in it is run."""
    if _kind(path) == "npz":
        Archive(path).close()  # raises where it is damaged
        raise ValueError(f"{path} holds several arrays: its name ends in .npz")
    with open(path, "rb") as file:
        yield StoredArray(file, str(path), os.fstat(file.fileno()).st_size)


def read_array(path: str | os.PathLike) -> np.ndarray:
    """The array in a ``.npy`` file, as :func:`open_array`."""
    with open_array(path) as stored:
        return stored.read()


def possible(shape: tuple[int, ...], itemsize: int = 1) -> bool:
    """Whether NumPy can make an array of this shape, given the memory; one without rows has sizes too."""
    whole = all(type(n) is int and n >= 0 for n in shape)
    return whole and len(shape) <= AXES and math.prod(n or 1 for n in shape) * itemsize <= sys.maxsize


class Claim(ValueError):
    """Something that an archive says of itself and that cannot be."""


def _kind(path: str | os.PathLike) -> str:
    """ "npy" or "npz" by a file's first bytes; ValueError for anything else."""
    with open(path, "rb") as file:
        start = file.read(len(NPY))
    if start != NPY and not start.startswith(ZIP):
        raise ValueError(f"{path} is no NumPy file, or it is damaged")
    return "npy" if start == NPY else "npz"


def _check_member(info: zipfile.ZipInfo, path: str, size: int) -> None:
    """Refuse what NumPy does not write, and a size that cannot come out of what is there."""
    name = listed([info.filename])
    if info.flag_bits & 1:
        raise Claim(f"{path}: {name} is encrypted: unpack it first")
    if info.compress_type not in METHODS:
        raise Claim(f"{path}: {name} is packed in another way than by NumPy: it is damaged, or unpack it first")
    most = EXPANSION * (info.compress_size + 1) if info.compress_type == zipfile.ZIP_DEFLATED else info.compress_size
    if info.compress_size > size or info.file_size > most:
        raise Claim(f"{path}: {name} says that it has {info.file_size:,} bytes in {info.compress_size:,}: it is damaged")


def _header(file: IO[bytes], name: str) -> Header:
    """The header at the beginning of an open file; ValueError for objects and for what is no header."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of damaged text that looks like Python
            version = npy.read_magic(file)
            read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
            header = Header(*read(file))
    except Exception as error:
        raise ValueError(f"{name} is no NumPy file, or it is damaged") from error
    shape, dtype = header.shape, header.dtype
    if dtype.hasobject:
        raise ValueError(f"{name} holds Python objects, which are not read: save arrays of numbers or of text")
    if not possible(shape, dtype.itemsize):
        raise ValueError(f"{name} says that it has the shape {short(str(shape))}: it is damaged")
    if dtype.kind not in KINDS or not dtype.itemsize or (dtype.kind == "U" and dtype.itemsize > LONGEST_TEXT):
        raise ValueError(f"{name} holds {short(str(dtype))}, no numbers and no text of up to {LONGEST_TEXT // 4:,} characters")
    return header
