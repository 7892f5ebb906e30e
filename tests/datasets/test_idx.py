"""IDX files: read back as written, and each kind of damage told."""

from __future__ import annotations

import gzip
import re
import struct

import numpy as np
import pytest
from dataset_helpers import idx

from xpnet.datasets import read_idx

GOOD = idx(np.arange(24).reshape(2, 3, 4))

# name: (the content of a plain file, part of the message)
DAMAGED = {
    "empty": (b"", "is not an IDX file of unsigned bytes"),
    "too short for a header": (GOOD[:3], "is not an IDX file"),
    "header cut off": (GOOD[:10], "is not an IDX file"),
    "truncated": (GOOD[:-1], r"says it holds \(2, 3, 4\), 24 bytes, but it has 23: it is damaged"),
    "nothing but a header": (GOOD[:16], r"24 bytes, but it has 0: it is damaged"),
    "too long": (GOOD + b"x", r"24 bytes, but it has 25: it is damaged"),
    "wrong magic": (b"\x01" + GOOD[1:], "is not an IDX file"),
    "another element type": (b"\x00\x00\x0d" + GOOD[3:], "is not an IDX file of unsigned bytes"),
    "lying header": (GOOD[:4] + struct.pack(">3I", 2**31, 2**31, 2**31) + GOOD[16:], r"but it has 24: it is damaged"),
    "a size of zero": (GOOD[:4] + struct.pack(">3I", 0, 3, 4) + GOOD[16:], r"\(0, 3, 4\), 0 bytes, but it has 24"),
    "a web page": (b"<!DOCTYPE html><html>404 Not Found</html>", "is not an IDX file"),
}


class TestReadIdx:
    @pytest.mark.parametrize(
        "a",
        [np.arange(24).reshape(2, 3, 4), np.arange(5), np.zeros((0, 28, 28)), np.full((1, 1), 255)],
        ids=["3 axes", "1 axis", "no rows", "255"],
    )
    @pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzipped"])
    def test_round_trip(self, tmp_path, a, suffix):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(gzip.compress(idx(a)) if suffix else idx(a))
        found = read_idx(path)
        assert (found.dtype, found.shape) == (np.uint8, a.shape)
        np.testing.assert_array_equal(found, a)

    @pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
    @pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzipped"])
    def test_damaged_files(self, tmp_path, content, message, suffix):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(gzip.compress(content) if suffix else content)
        with pytest.raises(ValueError, match=rf"{re.escape(str(path))} .*{message}"):
            read_idx(path)

    @pytest.mark.parametrize(
        "content",
        [GOOD, gzip.compress(GOOD)[:-9], gzip.compress(GOOD)[:5], b"\x1f\x8b" + GOOD, gzip.compress(GOOD)[:-8] + bytes(8)],
        ids=["not gzipped", "truncated", "header only", "gzip's magic only", "wrong checksum"],
    )
    def test_damaged_gzip_files(self, tmp_path, content):
        path = tmp_path / "file.gz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{re.escape(str(path))} cannot be unpacked .*damaged or not gzipped"):
            read_idx(path)

    @pytest.mark.parametrize("place", [10, 12, 20, 300, 900])
    def test_damaged_deflate_data(self, tmp_path, place):
        packed = bytearray(gzip.compress(idx(np.random.default_rng(0).integers(0, 40, 2000))))
        packed[place : place + 20] = bytes(range(200, 220))
        path = tmp_path / "file.gz"
        path.write_bytes(packed)
        with pytest.raises(ValueError, match="cannot be unpacked"):
            read_idx(path)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_idx(tmp_path / "nothing.gz")

    def test_a_folder(self, tmp_path):
        with pytest.raises(IsADirectoryError):
            read_idx(tmp_path)
