"""``python child.py KIND N SEED FOLDER``: read N damaged files and the crafted ones, with little memory and time; print JSON.

Each must be read, or refused by one line that names it; the file with older predictions must be left as it was.
"""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import resource
import signal
import sys
import warnings
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

import forged
import numpy as np
from crafted import CRAFTED, huge_csv_files, npz, saved
from mutations import mutations

from xpnet.cli import main
from xpnet.datasets import read_csv, read_idx, read_npy, read_npz

MEMORY, SECONDS = 2 << 30, 20  # bytes of addresses; for one file
OLD = "what was predicted before\n"
Reader = Callable[[Path], object]


class TooSlow(BaseException):
    """A file that keeps the reader busy."""


def good(kind: str) -> bytes:
    """A file that is whole."""
    rng = np.random.default_rng(0)
    if kind in SAVED:
        return forged.good(kind)
    if kind == "csv":
        return b"a,b,c,d\n" + b"".join(b"%d,%.3f,%d,%d\n" % (i, rng.random(), i * i % 7, -i) for i in range(40))
    if kind.startswith("idx"):
        plain = b"\0\0\x08\x03" + np.array([5, 28, 28], ">u4").tobytes() + rng.integers(0, 256, 3920, np.uint8).tobytes()
        return plain if kind == "idx" else gzip.compress(plain)
    if kind == "png":
        from PIL import Image

        page = np.full((60, 50), 230, np.uint8)
        page[15:45, 22:28] = 20
        file = io.BytesIO()
        Image.fromarray(page).save(file, "PNG")
        return file.getvalue()
    rows = rng.standard_normal((40, 4))
    return saved(rows) if kind == "npy" else npz([("x.npy", saved(rows)), ("y.npy", saved(rows[:, 0]))])


def files(kind: str, n: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """(what it is, its bytes)."""
    yield "whole", good(kind)
    if kind in CRAFTED:
        yield from CRAFTED[kind]().items()
    if kind == "csv" and n > 100:
        yield from huge_csv_files().items()
    if kind in SAVED:
        yield from ((f"forgery {i}", data) for i, data in enumerate(forged.forged(good(kind), n, seed)))
    yield from ((f"mutation {i}", data) for i, data in enumerate(mutations(good(kind), n, seed)))


def predicting(folder: Path, kind: str) -> Reader:
    """``xpnet predict`` on the file, with ``--out``; raises what it says."""
    net, out = folder / "net", folder / "out.csv"
    with contextlib.redirect_stdout(io.StringIO()):
        if kind == "png":
            status = main(["train", "digits", "--epochs", "1", "--device", "cpu", "--save", str(net)])
        else:
            np.savez(folder / "train.npz", x=np.random.default_rng(1).standard_normal((40, 4)), y=np.arange(40.0))
            status = main(["train", str(folder / "train.npz"), "--epochs", "1", "--device", "cpu", "--save", str(net)])
    assert status == 0

    def predict(path: Path) -> None:
        out.write_text(OLD)
        said = io.StringIO()
        with contextlib.redirect_stderr(said), contextlib.redirect_stdout(io.StringIO()):
            status = main(["predict", str(net), str(path), "--out", str(out), "--device", "cpu"])
        assert not list(folder.glob(".*.tmp")), "a temporary file is left"
        if status:
            assert out.read_text() == OLD, "the old predictions are gone"
            assert said.getvalue().count("\n") == 1, said.getvalue()
            raise ValueError(said.getvalue())

    return predict


SAVED: dict[str, list[Reader]] = {"safetensors": [forged.load_network], "checkpoint": [forged.load_network, forged.go_on]}
READERS: dict[str, Reader] = {"npy": read_npy, "npz": read_npz, "csv": read_csv, "idx": read_idx, "idx.gz": read_idx}


def run(kind: str, n: int, seed: int, folder: Path) -> dict:
    """How many were read and refused, and what went wrong otherwise."""
    readers = SAVED.get(kind, [READERS[kind]] if kind in READERS else [])
    if kind not in SAVED and not kind.startswith("idx"):
        readers.append(predicting(folder, kind))
    counts, wrong = Counter(), []
    path = folder / f"damaged.{kind}"
    for what, data in files(kind, n, seed):
        path.write_bytes(data)
        for reader in readers:
            outcome = judged(reader, path)
            counts[outcome if outcome in ("read", "refused") else "wrong"] += 1
            if outcome not in ("read", "refused"):
                wrong.append(f"{what}: {outcome}")
        if path.read_bytes() != data:
            wrong.append(f"{what}: the file was written to")
    return {**counts, "wrong_ones": wrong}


def judged(reader: Reader, path: Path) -> str:
    """ "read", "refused", or what is wrong."""
    signal.alarm(SECONDS)
    try:
        reader(path)
    except (ValueError, OSError) as error:
        text = str(error).strip()
        fine = str(path) in text and "\n" not in text and len(text) < 600
        return "refused" if fine else f"{type(error).__name__}: {text[:300]!r}"
    except BaseException as error:  # also SystemExit, of an object that was unpickled
        return f"{type(error).__name__}: {str(error)[:300]}"
    else:
        return "read"
    finally:
        signal.alarm(0)


def too_slow(*_: object) -> None:
    raise TooSlow(f"more than {SECONDS} s")


if __name__ == "__main__":
    kind, n, seed, folder = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), Path(sys.argv[4])
    warnings.simplefilter("error")
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGALRM, too_slow)
    print(json.dumps(run(kind, n, seed, folder)))
