"""safetensors files: what is written is what is read, whole or not at all, and damage is told."""

from __future__ import annotations

import errno
import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from xpnet.saving.atomic import remove_left_over, write_atomically
from xpnet.saving.files import Damaged, read, write


def arrays_of_every_kind(rng: np.random.Generator) -> dict[str, np.ndarray]:
    square = rng.standard_normal((6, 4)).astype(np.float32)
    return {
        "plain": square,
        "transposed": square.T,
        "sliced": square[::2, 1:],
        "fortran": np.asfortranarray(square),
        "scalar": np.array(3.5),
        "empty": np.empty((0, 4), np.float32),
        "bool": np.array([True, False]),
        "int": np.arange(5),
        "half": square.astype(np.float16),
        "special": np.array([np.nan, np.inf, -0.0]),
    }


def test_arrays_come_back_bit_for_bit_with_dtype_and_shape(tmp_path: Path, rng) -> None:
    arrays = arrays_of_every_kind(rng)
    write(tmp_path / "a.safetensors", arrays, {"note": "mine"})
    stored = read(tmp_path / "a.safetensors")
    assert stored.about["note"] == "mine"
    assert stored.about["versions"]["numpy"] == np.__version__
    theirs = load_file(tmp_path / "a.safetensors")
    for name, a in arrays.items():
        for found in (stored.arrays[name], theirs[name]):
            assert (found.dtype, found.shape) == (a.dtype, a.shape), name
            assert found.tobytes() == a.tobytes(), name


MAKE = """
import sys, numpy as np
from xpnet.saving.files import write
write(sys.argv[1], {"b": np.arange(3), "a": np.ones((2, 2), np.float32)}, {"note": "mine", "x": 0.1})
"""


def test_two_processes_write_the_same_bytes(tmp_path: Path) -> None:
    for i in range(3):
        subprocess.run([sys.executable, "-c", MAKE, tmp_path / str(i)], check=True)
    assert len({(tmp_path / str(i)).read_bytes() for i in range(3)}) == 1


def test_the_mode_is_the_ordinary_one(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write(tmp_path / "a", {"x": np.zeros(2)}, {})
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_a_file_that_is_replaced_keeps_its_mode(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", b"secret")
    (tmp_path / "a").chmod(0o600)
    write_atomically(tmp_path / "a", b"still")
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o600


def test_a_long_name_will_do(tmp_path: Path) -> None:
    write_atomically(tmp_path / ("n" * 250), b"x")
    assert [len(p.name) for p in tmp_path.iterdir()] == [250]


@pytest.mark.parametrize("dtype", ["uint16", "uint32", "uint64", ">f4", ">i2"])
def test_other_types_come_back_as_well(tmp_path: Path, dtype: str) -> None:
    a = np.arange(6).astype(dtype)
    write(tmp_path / "a", {"x": a}, {})
    found = read(tmp_path / "a").arrays["x"]
    assert found.tolist() == a.tolist()
    assert found.dtype == a.dtype.newbyteorder("=")


@pytest.mark.parametrize(
    "a", [np.array(["x"]), np.array([1j]), np.array([{}]), np.zeros(1, "M8[s]"), np.zeros(2, "g")], ids=str
)
def test_what_is_no_number_is_refused_by_name(tmp_path: Path, a: np.ndarray) -> None:
    with pytest.raises(TypeError, match=r"x: an array of .* cannot be saved"):
        write(tmp_path / "a", {"x": a}, {})
    assert not any(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["[]", "3", "null", "{", "[" * 100_000, '{"format": {}}'])
def test_a_text_that_is_no_description(tmp_path: Path, text: str) -> None:
    from safetensors.numpy import save_file

    from xpnet.saving.files import checksum

    save_file({}, tmp_path / "a", {"xpnet": f'{{"crc32": {checksum(text, {})}, "about": {text}}}'})
    with pytest.raises(ValueError, match=re.escape(str(tmp_path / "a"))):
        read(tmp_path / "a")


def test_every_flipped_byte_is_noticed(tmp_path: Path, rng) -> None:
    path = tmp_path / "a"
    write(path, {"x": rng.standard_normal(5), "y": np.arange(3)}, {"note": "mine"})
    good, noticed = path.read_bytes(), set()
    for at in range(len(good)):
        path.write_bytes(good[:at] + bytes([good[at] ^ 4]) + good[at + 1 :])
        try:
            found = read(path)
        except ValueError as error:
            noticed.add(str(path) in str(error))
        else:
            assert found.about is None, at  # the metadata's name is what was hit: another program's file
    assert noticed == {True}


def test_every_cut_is_noticed(tmp_path: Path) -> None:
    path = tmp_path / "a"
    write(path, {"x": np.arange(20.0)}, {})
    good = path.read_bytes()
    for length in range(len(good)):
        path.write_bytes(good[:length])
        with pytest.raises(Damaged, match="damaged, or no safetensors file"):
            read(path)


def test_what_the_library_quotes_of_a_file_is_one_short_line(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "F32\n" + 5000 * "x", "shape": [1], "data_offsets": [0, 4]}}).encode()
    path = tmp_path / "a"
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(Damaged, match="unknown variant") as caught:
        read(path)
    assert len(str(caught.value)) < 400
    assert "\n" not in str(caught.value)


def test_types_that_numpy_does_not_have_are_refused_by_name(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "a").write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    with pytest.raises(Damaged, match="w is of type BF16"):
        read(tmp_path / "a")


def test_a_file_of_another_program_is_read_and_said_to_be_none_of_ours(tmp_path: Path) -> None:
    save_file({"w": np.ones(3, np.float32)}, tmp_path / "theirs")
    stored = read(tmp_path / "theirs")
    assert stored.about is None
    assert stored.arrays["w"].tolist() == [1, 1, 1]


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(FileNotFoundError, match="is not there"):
        read(tmp_path / "none")


@pytest.mark.parametrize("where", ["write", "fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch, where: str) -> None:
    path = tmp_path / "a"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    if where == "write":
        parts = iter([b"new", fail])  # a part that is no bytes: TypeError, not OSError
        with pytest.raises(TypeError):
            write_atomically(path, parts)  # type: ignore[arg-type]
    else:
        monkeypatch.setattr(os, where, fail)
        with pytest.raises(OSError, match=r"No space left on device, nothing was changed.*a'"):
            write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


FULL = """
import resource, signal, sys, numpy as np
from xpnet.saving.files import write
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
try:
    write(sys.argv[1], {"x": np.zeros(10000)}, {})
except OSError as error:
    print(error)
"""


def test_a_real_limit_is_told_and_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"old")
    done = subprocess.run([sys.executable, "-c", FULL, path], capture_output=True, text=True, check=True)
    assert "File too large, nothing was changed" in done.stdout
    assert str(path) in done.stdout
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["a"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_what_killed_writers_left_is_removed_and_nothing_else(tmp_path: Path) -> None:
    alive = f".xpnet-{os.getppid()}-0123456789abcdef.tmp"
    mine = [".mine.tmp", "a.tmp", ".xpnet-1-0123456789abcdef.tmp.txt", "a.safetensors", alive]
    for name in [*mine, ".xpnet-999999999-0123456789abcdef.tmp"]:
        (tmp_path / name).touch()
    remove_left_over(tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(mine)
