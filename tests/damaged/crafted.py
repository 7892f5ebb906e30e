"""Files that were made to do harm: lying headers, bombs, pickles, tricks with names."""

from __future__ import annotations

import gzip
import io
import pickle
import struct
import warnings
import zipfile
import zlib

import numpy as np

MARK = "unpickled"  # what an unpickled Trap raises


class Trap:
    """Unpickling one would end the process."""

    def __reduce__(self) -> tuple:
        return exec, (f"raise SystemExit({MARK!r})",)


def npy(descr: str, shape: str, order: str = "False", body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A ``.npy`` file whose header says this."""
    text = f"{{'descr': {descr}, 'fortran_order': {order}, 'shape': {shape}, }}".encode("latin-1")
    size = 2 if version == b"\x01\x00" else 4
    text += b" " * (-(len(text) + 7 + size) % 64) + b"\n"
    return b"\x93NUMPY" + version + len(text).to_bytes(size, "little") + text + body


def saved(a: np.ndarray) -> bytes:
    """An array as ``numpy.save`` writes it."""
    file = io.BytesIO()
    np.save(file, a)
    return file.getvalue()


def npz(members: list[tuple[str, bytes]], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive with these members, in this order, names twice if asked for."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of two of one name
        for name, data in members:
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            archive.writestr(info, data)
    return file.getvalue()


def bomb(head: bytes, megabytes: int, wbits: int) -> bytes:
    """``head`` and many zeros, deflated to a thousandth without making them: blocks after a full flush may be repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, wbits)
    start = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    block = packer.compress(bytes(1 << 20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return start + block * megabytes + packer.flush()


def zip_bomb(megabytes: int) -> bytes:
    """An archive whose x is rows of zeros, so many megabytes of them, as its header says."""
    rows = megabytes * (1 << 20) // 40
    head = npy("'<f8'", f"({rows}, 5)")
    packed = bomb(head, megabytes, -15)
    size, name = len(head) + megabytes * (1 << 20), b"x.npy"
    fields = struct.pack("<HHHHHIII", 20, 0, 8, 0, 33, 0, len(packed), size)
    local = b"PK\x03\x04" + fields + struct.pack("<HH", len(name), 0) + name
    central = b"PK\x01\x02" + struct.pack("<H", 20) + fields + struct.pack("<HHHHHII", len(name), 0, 0, 0, 0, 0, 0) + name
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 1, 1, len(central), len(local) + len(packed), 0)
    return local + packed + central + end


def encrypted(data: bytes) -> bytes:
    """An archive whose first member is marked as encrypted."""
    found = bytearray(data)
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        found[data.index(mark) + offset] |= 1
    return bytes(found)


ROWS = np.arange(32.0).reshape(8, 4)
Y = np.arange(8) % 2
OBJECTS = np.array([[Trap()] * 4] * 2, object)
DATA = ROWS.tobytes()

GOOD = [("x.npy", saved(ROWS)), ("y.npy", saved(Y))]


def npy_files() -> dict[str, bytes]:
    """``.npy`` files, by what is wrong with them."""
    return {
        "a huge shape": npy("'<f8'", "(1000000000000, 4)", body=DATA),
        "an astronomic shape": npy("'<f8'", f"({10**40}, 4)", body=DATA),
        "no rows of an astronomic size": npy("'<f8'", f"(0, {10**40})", body=DATA),
        "a negative shape": npy("'<f8'", "(-8, 4)", body=DATA),
        "negative twice": npy("'<f8'", "(-8, -4)", body=DATA),
        "a truth in the shape": npy("'<f8'", "(True, 4)", body=DATA),
        "many axes": npy("'<f8'", f"({'1, ' * 100})", body=DATA),
        "Fortran's order": npy("'<f8'", "(8, 4)", "True", DATA),
        "no order": npy("'<f8'", "(8, 4)", "3", DATA),
        "objects": saved(OBJECTS),
        "objects in a structure": npy("[('a', '|O')]", "(8, 4)", body=pickle.dumps(Trap())),
        "a pickle": pickle.dumps(Trap()),
        "a huge text": npy("'<U2000000000'", "(8, 4)", body=DATA),
        "raw bytes": npy("'|V8'", "(8, 4)", body=DATA),
        "dates": npy("'<M8[s]'", "(8, 4)", body=DATA),
        "an empty text": npy("'<U0'", "(1000000000000, 4)", body=DATA),
        "deep brackets": npy("(" * 4000 + ")" * 4000, "(8, 4)", body=DATA),
        "deep minuses": npy("'<f8'", "(" + "-" * 8000 + "8, 4)", body=DATA),
        "a call": npy("__import__('os').abort()", "(8, 4)", body=DATA),
        "a third version": npy("'<f8'", "(8, 4)", body=DATA, version=b"\x03\x00"),
        "a version to come": npy("'<f8'", "(8, 4)", body=DATA, version=b"\x09\x00"),
        "a header that does not end": b"\x93NUMPY\x02\x00\xff\xff\xff\xff{'descr'",
    }


def npz_files() -> dict[str, bytes]:
    """``.npz`` files, by what is wrong with them."""
    return {
        "objects": npz([("x.npy", saved(OBJECTS)), ("y.npy", saved(Y))]),
        "objects as targets": npz([("x.npy", saved(ROWS)), ("y.npy", saved(np.array([Trap()] * 8, object)))]),
        "a path upwards": npz([("../../x.npy", saved(ROWS)), ("/etc/y.npy", saved(Y))]),
        "a path upwards besides": npz([*GOOD, ("../../z.npy", saved(ROWS))]),
        "two of one name": npz([*GOOD, ("x.npy", saved(ROWS + 1))]),
        "two of nearly one name": npz([*GOOD, ("x", saved(ROWS + 1))]),
        "encrypted": encrypted(npz(GOOD)),
        "packed by bzip2": npz(GOOD, zipfile.ZIP_BZIP2),
        "packed by LZMA": npz(GOOD, zipfile.ZIP_LZMA),
        "a huge shape": npz([("x.npy", npy("'<f8'", "(1000000000000, 4)", body=DATA)), GOOD[1]]),
        "other lengths": npz([GOOD[0], ("y.npy", saved(Y[:3]))]),
        "no array": npz([("x.npy", b"hello"), GOOD[1]]),
        "a folder": npz([("x.npy/", b"")]),
        "nothing": npz([]),
        "a bomb": zip_bomb(3_000),
        "a bomb besides": npz([*GOOD, ("z.npy", bytes(1 << 26))]),
        "a name with line ends": npz([("a\nb\r\x1b[2J.npy", saved(ROWS))]),
    }


def idx_files() -> dict[str, bytes]:
    """IDX files, by what is wrong with them."""
    return {
        "a wrong magic": struct.pack(">I2I", 0x0000_0D03, 2, 3) + bytes(6),
        "huge counts": struct.pack(">I3I", 0x0000_0803, 2**32 - 1, 2**32 - 1, 2**32 - 1) + bytes(6),
        "255 axes": b"\0\0\x08\xff" + struct.pack(">255I", *[1] * 255) + b"\0",
        "no axes": b"\0\0\x08\0" + b"\0",
        "no rows, huge ones": struct.pack(">I3I", 0x0000_0803, 0, 2**32 - 1, 2**32 - 1),
    }


def idx_gz_files() -> dict[str, bytes]:
    """gzipped IDX files, by what is wrong with them."""
    return {
        "a bomb": bomb(struct.pack(">I3I", 0x0000_0803, 10, 28, 28), 2_100, 31),
        "a bomb as it says": bomb(struct.pack(">I3I", 0x0000_0803, 2_100, 1024, 1024), 2_100, 31),
        "two parts": gzip.compress(b"\0\0\x08\x01") + gzip.compress(struct.pack(">I", 2) + b"ab"),
    }


def csv_files() -> dict[str, bytes]:
    """CSV files, by what is wrong with them."""
    return {
        "NUL bytes": b"a,b\n1,2\n\0\0\0,3\n",
        "a quote that does not end": b'a,b\n1,2\n"3,4\n' + b"5,6\n" * 100_000,
        "UTF-16": "a,b\n1,2\n".encode("utf-16"),
        "latin-1": b"a,b\n1,\xe9\n",
        "half a letter at the end": b"a,b\n1,2\n3,\xe2\x82",
        "quotes in a row": b'a,b\n"' + b'""' * 200_000 + b'",1\n',
        "carriage returns": b"a,b\r" * 1000,
        "a formula": b"a,b,c,d\n=cmd|' /C calc'!A0,1,2,3\n",
        "a gigantic number": b"a,b,c,d\n" + b"9" * 5000 + b",1,2,3\n",
    }


def chunk(kind: bytes, data: bytes) -> bytes:
    """A part of a PNG file, its checksum right."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png_files() -> dict[str, bytes]:
    """PNG files, by what is wrong with them."""
    start, end = b"\x89PNG\r\n\x1a\n", chunk(b"IEND", b"")
    pixels = chunk(b"IDAT", zlib.compress(b"\0" + bytes(8)))

    def sized(width: int, height: int) -> bytes:
        return start + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))

    return {
        "10,000 million pixels": sized(100_000, 100_000) + pixels + end,
        "100 million pixels": sized(10_000, 10_000) + pixels + end,
        "80 million pixels that are not there": sized(9_000, 8_900) + pixels + end,
        "the widest": sized(2**31 - 1, 1) + pixels + end,
        "no pixels": sized(0, 0) + pixels + end,
        "a bomb of text": sized(8, 1) + chunk(b"zTXt", b"a\0\0" + bomb(b"", 3_000, 15)) + pixels + end,
        "a bomb of pixels": sized(8, 1) + chunk(b"IDAT", bomb(b"", 3_000, 15)) + end,
        "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n",
    }


def huge_csv_files() -> dict[str, bytes]:
    """CSV files of a hundred megabytes."""
    return {
        "a line of 100 MB": b"a,b\n" + b"1" * 100_000_000,
        "100 million cells": b"," * 100_000_000,
        "100 MB of one cell": b'a,b\n1,"' + b"x\n" * 50_000_000,
        "a million columns": b",".join(b"%d" % i for i in range(1_000_000)) + b"\n",
    }


CRAFTED = {"npy": npy_files, "npz": npz_files, "idx": idx_files, "idx.gz": idx_gz_files, "csv": csv_files, "png": png_files}
