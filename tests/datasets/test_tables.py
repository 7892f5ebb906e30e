"""Tables from CSV files: what is read right though it looks odd; what is wrong is in tests/cli/test_train_own.py."""

from __future__ import annotations

import time

import pytest

from xpnet.datasets import Table, read_csv
from xpnet.datasets.csv_files import find_delimiter
from xpnet.datasets.tables import number


@pytest.fixture
def read(tmp_path):
    def read(text: str | bytes, **options) -> Table:
        path = tmp_path / "my.csv"
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return read_csv(path, **options)

    return read


def cells(table: Table) -> list[tuple[str, ...]]:
    return list(zip(*table.columns, strict=True))


def test_a_plain_table(read):
    table = read("a,b\n1,x\n2,y\n")
    assert (table.names, table.header, table.delimiter, len(table)) == (("a", "b"), True, ",", 2)
    assert cells(table) == [("1", "x"), ("2", "y")]
    assert table.place(1, 0) == f"{table.path}:3, column 'a'"


def test_quoted_delimiters_quotes_and_line_ends_belong_to_the_cell(read):
    table = read('name,y\n"one, two",1\n"three\nfour",2\n"five ""six""",3\nseven,4\n')
    assert table.columns[0] == ["one, two", "three\nfour", 'five "six"', "seven"]
    assert list(table.lines) == [2, 3, 5, 6]  # where each row begins


def test_a_header_of_several_lines_is_called_by_one(read):
    table = read('"price\n in  USD";y\n1;2\n')
    assert (table.names, list(table.lines), table.position("price in USD")) == (("price in USD", "y"), [3], 0)


def test_many_columns_are_found_without_searching(read):
    table = read(",".join(f"c{i}" for i in range(20_000)) + "\n" + ",".join("1" * 20_000) + "\n")
    start = time.perf_counter()
    assert [table.position(name) for name in table.names] == list(range(20_000))
    assert time.perf_counter() - start < 2  # 10 s and more where each looks through all


def test_blank_lines_are_skipped_and_counted(read):
    table = read("\n\na,b\n\n1,2\n   \n3,4\n\n")
    assert cells(table) == [("1", "2"), ("3", "4")]
    assert list(table.lines) == [5, 7]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_line_ends(read, end):
    assert cells(read(end.join(["a,b", "1,2", "3,4"]))) == [("1", "2"), ("3", "4")]


def test_a_row_of_empty_cells_is_a_row(read):
    assert cells(read("a,b\n1,2\n,\n3,4\n")) == [("1", "2"), ("", ""), ("3", "4")]


@pytest.mark.parametrize("word", ["", " ", "NA", "n/a", "NaN", "null", "NONE", "?", "-", " na "])
def test_words_for_missing_values(read, word):
    assert cells(read(f"a,b\n1,{word}\n")) == [("1", "")]


def test_spaces_around_cells_do_not_count(read):
    table = read('a , b\n 1 , "x y"\n')
    assert (table.names, cells(table)) == (("a", "b"), [("1", "x y")])


@pytest.mark.parametrize(
    ("text", "header", "names"),
    [
        ("a,b\nx,y\n", True, ("a", "b")),
        ("1,2\n3,4\n", False, ("0", "1")),
        ("x,2\ny,4\n", False, ("0", "1")),
        ("1e-3;x\n", False, ("0", "1")),
        ("NA,x\n1,y\n", True, ("NA", "x")),
    ],
)
def test_the_first_row_is_a_header_unless_it_holds_a_number(read, text, header, names):
    table = read(text)
    assert (table.header, table.names) == (header, names)


def test_the_header_can_be_told(read):
    assert read("2019,2020\n1,2\n", header=True).names == ("2019", "2020")
    assert cells(read("x,y\nz,w\n", header=False)) == [("x", "y"), ("z", "w")]


@pytest.mark.parametrize(
    ("line", "delimiter"),
    [
        ("a,b,c", ","),
        ("a;b;c", ";"),
        ("a\tb\tc", "\t"),
        ("a|b|c", "|"),
        ("1,5;2,5;3,5;x", ";"),
        ("1,5\t2,5", "\t"),
        ('"a;b;c",d', ","),
        ("108,392.5", ","),
        ('"two\nlines";b;c\n1;2;3', ";"),
        ('"one ""x, y"" two, three";b\n', ";"),
        ("a\u2028b;c\n1,2", ";"),
        ('5" pipe;b\n6" pipe,;2', ";"),
        ("\n \r\na;b\n", ";"),
        ("alone", ","),
    ],
)
def test_the_delimiter_of_the_first_row(line, delimiter):
    assert find_delimiter(line) == delimiter


def test_the_delimiter_can_be_told(read):
    assert read("a b\n1 2\n", delimiter=" ").names == ("a", "b")


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("größe,y\n1,2\n".encode(), "utf-8"),
        ("\ufeffgröße,y\n1,2\n".encode(), "utf-8"),
        ("größe,y\n1,2\n".encode("latin-1"), "latin-1"),
        ("größe,y\n1,2\n".encode("utf-16"), "utf-16"),
    ],
)
def test_encodings(read, data, encoding):
    assert read(data, encoding=encoding).names == ("größe", "y")


@pytest.mark.parametrize(
    ("text", "value"),
    [("1", 1.0), ("-1.5e3", -1500.0), (".5", 0.5), ("1_000", None), ("nan", None), ("x", None), ("1,5", None), ("0x10", None)],
)
def test_what_is_a_number(text, value):
    assert number(text) == value


def test_columns_are_found_by_name_then_by_position(read):
    table = read("1,b,c\n1,2,3\n", header=True)
    assert [table.position(key) for key in ("b", "1", "-1", 2, -3)] == [1, 0, 2, 2, 0]


def test_an_unknown_column_lists_the_first_20(read):
    table = read(",".join(f"c{i}" for i in range(30)) + "\n" + ",".join("1" * 30) + "\n")
    with pytest.raises(ValueError, match=r"column 'z' is not there; the columns are c0, c1, .*, c19, \.\.\. \(30 in all\)$"):
        table.position("z")


def test_rows_and_columns_of_a_table(read):
    table = read("a,b,c\n1,2,3\n4,5,6\n7,8,9\n")
    part = table.rows([2, 0])
    assert cells(part) == [("7", "8", "9"), ("1", "2", "3")]
    assert part.place(0) == f"{table.path}:4"
