"""What is wrong with a table is said in one line that names the place and the remedy."""

from __future__ import annotations

import pytest
from own_data_helpers import CODE, GOOD, TARGET, error_of, train, written

MALFORMED = {  # name: (the file, options, what is said)
    "a row that is too short": (CODE + "1,2,3\n4,5\n", TARGET, "my.csv:3: 2 cells where line 1 has 3 (delimiter: comma)"),
    "a row that is too long": (CODE + "1,2,3\n4,5,6,7\n", TARGET, "my.csv:3: 4 cells where line 1 has 3"),
    "mixed delimiters": (
        CODE + "1,2,3\n4;5;6\n",
        TARGET,
        "my.csv:3: 1 cell where line 1 has 3 (delimiter: comma); it has 2 of another delimiter (semicolon)",
    ),
    "an empty file": ("", TARGET, "my.csv is empty"),
    "blank lines only": ("\n  \n\n", TARGET, "my.csv is empty"),
    "empty quotes only": ('""\n', TARGET, "my.csv is empty"),
    "a header only": (CODE, TARGET, "my.csv has a header (line 1) and no rows"),
    "one row": (CODE + "1,2,3\n", TARGET, "my.csv has 1 row"),
    "latin-1": ("a,b,y\n1,2,3\n1,2,é\n".encode("latin-1"), TARGET, "my.csv:3: byte 0xe9 is not UTF-8: --encoding latin-1"),
    "UTF-16": ("a,b,y\n1,2,3\n".encode("utf-16"), TARGET, "--encoding utf-16"),
    "UTF-16 without a mark": ("a,b,y\n1,2,3\n".encode("utf-16-le"), TARGET, "my.csv:1: a NUL byte"),
    "an unknown encoding": (GOOD, (*TARGET, "--encoding", "klingon"), "encoding='klingon' is not known"),
    "not an encoding of text": (GOOD, (*TARGET, "--encoding", "hex"), "encoding='hex' is not known"),
    "a spreadsheet": (
        b"PK\x03\x04\x14\0\x06\0\x08\0" + bytes(range(256)),
        TARGET,
        "a zip archive (as .xlsx is): save it as CSV",
    ),
    "a picture": (b"\x89PNG\r\n\x1a\n" + bytes(range(256)), TARGET, "a PNG picture"),
    "a NUL byte": (CODE + "1,2,3\n4,\0,6\n", TARGET, "my.csv:3: a NUL byte"),
    "no target given": (GOOD, (), "which column is to be predicted? --target COLUMN; the columns are a, b, y"),
    "no such target": (GOOD, ("--target", "price"), "the target 'price' is not there; the columns are a, b, y"),
    "a target beyond the last": (GOOD, ("--target", "3"), "the target '3' is not there"),
    "a target before the first": (
        "1,2,3\n4,5,6\n",
        ("--target", "-4"),
        "no header (where line 1 is one: --header yes), the 3 columns are",
    ),
    "two columns of one name": ("a,a,y\n1,2,3\n4,5,6\n", TARGET, "my.csv: columns 0 and 1 are both called 'a'"),
    "two targets of one name": ("a,y,y\n1,2,3\n4,5,6\n", TARGET, "columns 1 and 2 are both called 'y'"),
    "a column without a name": (",b,y\n1,2,3\n4,5,6\n", TARGET, "my.csv: column 0 has no name: give it one, or --drop 0"),
    "all one class": ("a,y\n" + "1,cat\n" * 9, TARGET, "target 'y' has one class only, 'cat'"),
    "all one number": ("a,y\n" + "1,2.5\n" * 9, (*TARGET, "--task", "regression"), "target 'y' is 2.5 in every training row"),
    "a class for each row": (
        "a,y\n1,ann\n2,bob\n3,cid\n",
        TARGET,
        "no row is left for validation: there are 3 rows, each has a class",
    ),
    "a quote that is not closed": (CODE + '1,2,3\n4,"5,6\n7,8,9\n', TARGET, "my.csv:3: a cell that begins here with a quote"),
    "a quote inside a cell": (CODE + '1,"2"x,3\n', TARGET, "my.csv:2: a quote inside a quoted cell is written twice"),
    "a huge cell": (CODE + "1,2,3\n4," + "5" * 140_000 + ",6\n", TARGET, "my.csv:3: a cell of more than 131,072 characters"),
    "decimal commas": (
        "a;y\n1,5;2\n2,5;3\n3;1\n",
        TARGET,
        "my.csv:2, column 'a': '1,5' is no number: write 1234.5 (decimal commas, thousands separators, currencies",
    ),
    "one decimal comma": ("a;y\n1.5;2\n2.5;3\n12,5;1\n", TARGET, "my.csv:4, column 'a': '12,5' is no number: write 1234.5"),
    "decimal commas in the target": ("a;y\n1;2,25\n2;3,5\n3;1,5\n", TARGET, "my.csv:2, column 'y': '2,25' is no number"),
    "a thousands separator": ('a,y\n"1,200.50",2\n"2,300.25",3\n', TARGET, "my.csv:2, column 'a': '1,200.50' is no number"),
    "a currency": ("a,y\n$12,2\n$13,3\n", TARGET, "my.csv:2, column 'a': '$12' is no number: write 1234.5"),
    "a percentage": ("a;y\n5%;2\n2.5%;3\n", TARGET, "my.csv:2, column 'a': '5%' is no number: write 1234.5"),
    "thousands with a space": ("a,y\n1 200,2.5\n12 300,3\n", TARGET, "my.csv:2, column 'a': '1 200' is no number: write"),
    "thousands with an apostrophe": (
        "a,y\n1,1'200\n2,3'400.5\n",
        TARGET,
        "my.csv:2, column 'y': \"1'200\" is no number: write",
    ),
    "thousands with dots": ("a;y\n1;1.234.567\n2;2.234.567\n", TARGET, "my.csv:2, column 'y': '1.234.567' is no number: write"),
    "a typographic minus": ("a,y\n\u22121,2.5\n\u22122,3\n", TARGET, "is no number: write 1234.5"),
    "a title above the table": (
        "My cars\na,y\n1,2\n",
        TARGET,
        "my.csv:2: 2 cells where line 1 has 1 (delimiter: comma): leave line 1",
    ),
    "lines that end in a delimiter": (
        "a,y\n1,2,\n",
        TARGET,
        "has 2 (delimiter: comma): this line ends in a delimiter too many",
    ),
    "Mac line ends": (b"a,y\r1,2\r1,\xe9\r", TARGET, "my.csv:3: byte 0xe9 is not UTF-8"),
    "a name of two lines": ('"a\nb",y\n1,2\n', ("--target", "z"), "the columns are a b, y"),
    "years as names": ("a,2019\n1,2\n", ("--target", "2019"), "there is no header (where line 1 is one: --header yes)"),
    "a class called none": (
        "a,y\n1,none\n2,mild\n3,none\n",
        TARGET,
        "my.csv:2, column 'y': missing value (taken for one: none), 2 of 3 rows have some",
    ),
    "dates": (
        "d,y\n" + "".join(f"2024-01-{i + 1:02d},{i}.5\n" for i in range(30)),
        TARGET,
        "column 'd' has too many different texts for so few rows, 6 of 6 validation rows have one that no training row has",
    ),
    "a value that dwarfs the others": (
        "a,y\n" + "".join(f"{i},{i}\n" for i in range(19)) + "1e300,0\n",
        (*TARGET, "--validation", "0.9", "--task", "regression"),
        "my.csv:21, column 'a': a value is too far from those of the training part: mend it, or leave the row out",
    ),
    "infinity": (CODE + "1,2,3\n4,inf,6\n4,5,6\n", TARGET, "my.csv:3, column 'b': 'inf' is not finite"),
    "too large for a float": (CODE + "1,2,3\n4,1e999,6\n4,5,6\n", TARGET, "my.csv:3, column 'b': '1e999' is not finite"),
    "an infinite target": ("a,y\n1,2.5\n2,-inf\n3,1\n", TARGET, "my.csv:3, column 'y': target '-inf' is not finite"),
    "missing values": (
        CODE + "1,2,3\n4, NA ,6\n?,5,6\n,5,6\n",
        TARGET,
        "my.csv:3, column 'b': missing value (taken for one: ?, NA), 3 of 4 rows have some (a 2, b 1)",
    ),
    "missing targets": ("a,y\n1,2\n2,\n3,4\n", TARGET, "my.csv:3, column 'y': missing value, 1 of 3 rows have some (y 1)"),
    "nothing left": (CODE + "1,,3\n,2,3\n4,5,6\n", (*TARGET, "--missing", "drop"), "1 rows are left without gaps"),
    "an empty column": (CODE + "1,,3\n2,,4\n", (*TARGET, "--missing", "fill"), "column 'b' has no value at all: --drop 'b'"),
    "text among numbers": (
        CODE + "1,2,3\n4,many,6\n7,8,9\n",
        TARGET,
        "my.csv:3, column 'b': 'many' is no number (1 of 3 values are not)",
    ),
    "text among target numbers": ("a,y\n1,2\n2,lots\n3,4\n", TARGET, "my.csv:3, column 'y': 'lots' is no number"),
    "a text target as numbers": (
        "a,y\n1,u\n2,v\n",
        (*TARGET, "--task", "regression"),
        "my.csv:2, column 'y': target 'u' is no number",
    ),
    "a name in each row": (
        "n,y\n" + "".join(f"name{i},{i % 2}\n" for i in range(150)),
        TARGET,
        "column 'n' has 150 different texts, 'name0' the first",
    ),
    "only the target": ("y\n1\n2\n3\n", TARGET, "no column is left beside the target"),
    "the target dropped": (GOOD, (*TARGET, "--drop", "y"), "the target, column 'y', is among the columns to drop"),
    "everything else dropped": (GOOD, (*TARGET, "--drop", "a", "b"), "no column is left beside the target"),
    "no such column to drop": (GOOD, (*TARGET, "--drop", "c"), "the column to drop 'c' is not there"),
    "a wrong delimiter": (GOOD, (*TARGET, "--delimiter", "::"), "delimiter='::': a single character"),
    "the header as data": (
        GOOD,
        ("--target", "2", "--header", "no"),
        "my.csv:1, column 0: 'a' is no number (1 of 21 values are not)",
    ),
    "no validation": (
        GOOD,
        (*TARGET, "--validation", "0"),
        "validation=0.0: it is a finite number greater than 0 and less than 1",
    ),
    "all validation": (GOOD, (*TARGET, "--validation", "1"), "validation=1.0"),
    "negative validation": (GOOD, (*TARGET, "--validation", "-0.5"), "validation=-0.5"),
    "a negative seed": (GOOD, (*TARGET, "--seed", "-1"), "seed=-1"),
    "images only": (GOOD, (*TARGET, "--size", "32"), "--size: this is for folders of images"),
    "downloads only": (GOOD, (*TARGET, "--download"), "--download: this is for mnist"),
}


@pytest.mark.parametrize(("text", "options", "said"), MALFORMED.values(), ids=MALFORMED)
def test_what_is_wrong_is_said_in_one_line(capsys, tmp_path, text, options, said):
    assert train(written(tmp_path, text), *options) == 1
    assert said in error_of(capsys)


def test_missing_files_folders_and_other_kinds_of_files(capsys, tmp_path):
    for path, said in ((tmp_path / "none.csv", "none.csv"), (tmp_path / "none.npz", "none.npz")):
        assert train(path, *(TARGET if path.suffix == ".csv" else ())) == 1
        assert said in error_of(capsys)
    (tmp_path / "folder.csv").mkdir()
    assert train(tmp_path / "folder.csv", *TARGET) == 1
    assert "--target: the class of an image is the name of its folder" in error_of(capsys)
