"""Rows a batch at a time: the same inputs as all at once, errors that count from the file's beginning, bounded memory."""

from __future__ import annotations

import csv
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest

from xpnet.datasets import csv_files, read_csv
from xpnet.datasets.own import as_table
from xpnet.preprocessing import Columns, Rows
from xpnet.serving.questions import of_csv, of_npy, of_npz

ROWS = Rows((3,), (1.0, 2.0, 3.0), (2.0, 2.0, 2.0))


@pytest.fixture
def x(rng) -> np.ndarray:
    return rng.standard_normal((25, 3))


def joined(batches) -> np.ndarray:
    return np.concatenate([batch.x for batch in batches])


def written(path: Path, x: np.ndarray) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(x.tolist())
    return path


@pytest.mark.parametrize("size", [1, 7, 25, 1000])
def test_the_inputs_are_those_of_the_whole(tmp_path, x, size):
    np.save(tmp_path / "c.npy", x)
    np.save(tmp_path / "f.npy", np.asfortranarray(x))
    np.savez(tmp_path / "c.npz", x=x, y=x[:, 0])
    np.savez_compressed(tmp_path / "p.npz", x=x, y=x[:, :1])
    np.savez(tmp_path / "f.npz", x=np.asfortranarray(x))
    whole = ROWS.encode(x)
    for name in ("c.npy", "f.npy"):
        np.testing.assert_array_equal(joined(of_npy(tmp_path / name, ROWS, size)), whole)
    for name in ("c.npz", "p.npz", "f.npz"):
        batches = list(of_npz(tmp_path / name, ROWS, size))
        np.testing.assert_array_equal(joined(batches), whole)
        answers = [float(cell) for batch in batches for cell in batch.answers]
        np.testing.assert_array_equal(answers, [] if name == "f.npz" else x[:, 0])
    batches = list(of_csv(written(tmp_path / "a.csv", x), ROWS, size))
    np.testing.assert_array_equal(joined(batches), whole)
    assert batches[-1].share == 1
    assert len(batches) == -(-25 // size)


def test_columns_of_a_table_in_batches(tmp_path, x):
    np.save(tmp_path / "a.npy", x)
    columns = Columns.fit(as_table(x, "x"), {0: "number", 2: "number"}, 1, 3, False)
    batches = list(of_npy(tmp_path / "a.npy", columns, 10))
    np.testing.assert_array_equal(joined(batches), columns.encode(as_table(x, "x")))
    assert [batch.answers[0] for batch in batches] == [repr(float(v)) for v in x[::10, 1]]
    assert batches[1].place(3) == f"{tmp_path}/a.npy, row 13, column 1"


def spoiled(x: np.ndarray, value: float) -> np.ndarray:
    return np.where(np.arange(75).reshape(25, 3) == 23 * 3 + 1, value, x)  # row 23, column 1


@pytest.mark.parametrize(
    ("value", "said"),
    [(np.nan, r"nan at index \(23, 1\) \(row 23\)"), (1e300, "row 23: a value is too far from those of the training part")],
)
def test_errors_count_rows_from_the_beginning(tmp_path, x, value, said):
    np.save(tmp_path / "a.npy", spoiled(x, value))
    np.savez(tmp_path / "a.npz", x=spoiled(x, value))
    with pytest.raises(ValueError, match=said):
        list(of_npy(tmp_path / "a.npy", ROWS, 10))
    with pytest.raises(ValueError, match=said):
        list(of_npz(tmp_path / "a.npz", ROWS, 10))


def test_errors_of_a_table_have_their_lines(tmp_path, x):
    path = written(tmp_path / "a.csv", x)
    lines = path.read_text().splitlines()
    for cell, said in (("many", "a.csv:24, column 1: 'many' is no number"), ("", "a.csv:24, column 1: missing value")):
        path.write_text("\n".join([*lines[:23], f"1,{cell},2", *lines[24:]]))
        batches = of_csv(path, ROWS, 10)
        assert len(next(batches).x) == 10
        with pytest.raises(ValueError, match=said):
            list(batches)
    path.write_text("\n".join([*lines[:23], "1,1e300,2", *lines[24:]]))
    with pytest.raises(ValueError, match=r"a\.csv, row 23: a value is too far"):
        list(of_csv(path, ROWS, 10))
    path.write_text("\n".join([*lines[:23], "1,2", *lines[24:]]))
    with pytest.raises(ValueError, match=r"a\.csv:24: 2 cells where line 1 has 3"):
        list(of_csv(path, ROWS, 10))


@pytest.fixture
def small_blocks(monkeypatch) -> None:
    monkeypatch.setattr(csv_files, "BLOCK", 101)
    monkeypatch.setattr(csv_files, "HEAD", 1000)


@pytest.mark.usefixtures("small_blocks")
def test_a_table_read_in_parts_is_the_table(tmp_path):
    """Quoted cells with line ends, blank lines, two kinds of line ends, and a letter across the border of two blocks."""
    text = 'a,b\r\n"x\ny",1\r\n\r\nü,2\n' + "ä,3\n" * 4_000
    path = tmp_path / "a.csv"
    path.write_bytes(text.encode())
    table = read_csv(path)
    assert table.columns[0][:3] == ["x\ny", "ü", "ä"]
    assert list(table.lines[:4]) == [2, 5, 6, 7]
    assert (len(table), set(table.columns[0][2:])) == (4_002, {"ä"})


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "cp1252", "utf-32"])
@pytest.mark.usefixtures("small_blocks")
def test_encodings(tmp_path, encoding):
    path = tmp_path / "a.csv"
    path.write_bytes(("a,é\n" + "1,2\n" * 3_000).encode(encoding))
    table = read_csv(path, encoding=encoding.removesuffix("-sig"))
    assert (table.names, len(table)) == (("a", "é"), 3_000)


@pytest.mark.usefixtures("small_blocks")
def test_a_mistake_far_down_has_its_line(tmp_path):
    path = tmp_path / "a.csv"
    path.write_bytes(b"a,b\n" + b"1,2\r\n" * 3_000 + b"1,\xe9\n")
    with pytest.raises(ValueError, match=r"a\.csv:3002: byte 0xe9 is not UTF-8"):
        read_csv(path)
    path.write_bytes(b"a,b\n" + b"1,2\n" * 3_000 + b"1,\0\n")
    with pytest.raises(ValueError, match=r"a\.csv:3002: a NUL byte"):
        read_csv(path)


def peak_of(batches) -> tuple[int, int]:
    """How many rows there are, and the most bytes that were held at once."""
    tracemalloc.start()
    count = sum(len(batch.x) for batch in batches)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return count, peak


def test_memory_stays_that_of_a_batch(tmp_path, monkeypatch):
    """120 MB of rows, packed and not, by batches of 2.4 MB; 50,000 lines, whose cells take 10 MB, by batches of 100."""
    x, rows = np.ones((5_000, 3000)), Rows((3000,))
    np.save(tmp_path / "a.npy", x)
    np.savez_compressed(tmp_path / "a.npz", x=x)
    del x
    for batches in (of_npy(tmp_path / "a.npy", rows, 100), of_npz(tmp_path / "a.npz", rows, 100)):
        count, peak = peak_of(batches)
        assert (count, peak < 20e6) == (5_000, True)
    (tmp_path / "a.csv").write_text("100,2000,300\n" * 50_000)
    monkeypatch.setattr(csv_files, "HEAD", 1000)
    monkeypatch.setattr(csv_files, "BLOCK", 10_000)
    count, peak = peak_of(of_csv(tmp_path / "a.csv", Rows((3,)), 100))
    assert (count, peak < 1e6) == (50_000, True)


def test_an_archive_damaged_at_its_end_is_found_there(tmp_path, rng):
    np.savez(tmp_path / "a.npz", x=rng.standard_normal((2000, 3)))
    with zipfile.ZipFile(tmp_path / "a.npz") as archive:
        end = archive.infolist()[0].header_offset + archive.infolist()[0].file_size
    data = bytearray((tmp_path / "a.npz").read_bytes())
    data[end] ^= 1
    (tmp_path / "a.npz").write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.npz: x cannot be unpacked \(Bad CRC-32.*\): it is damaged"):
        list(of_npz(tmp_path / "a.npz", ROWS, 100))


def test_a_file_cut_short_while_it_is_read(tmp_path, rng):
    """A mapped file that becomes too short would end the process; here that is an error."""
    x = rng.standard_normal((5000, 3))
    for array, said in ((x, r"a\.npy ends after [\d,]+ of 2,400 bytes"), (np.asfortranarray(x), "it was cut short")):
        np.save(tmp_path / "a.npy", array)
        batches = of_npy(tmp_path / "a.npy", ROWS, 100)
        next(batches)
        with (tmp_path / "a.npy").open("r+b") as file:
            file.truncate(1000)
        with pytest.raises(ValueError, match=said):
            list(batches)
