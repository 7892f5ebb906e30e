"""``xpnet train`` on data of one's own: what it says, how good it gets, and one line for each thing that is wrong."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import numpy as np
import pytest

from xpnet.cli import main

CODE = "a,b,y\n"
GOOD = CODE + "".join(f"{i},{i * i % 7},{i * 1.5}\n" for i in range(20))
FLOWERS = "size,colour,kind\n" + "".join(f"{i % 10},{'red' if i % 3 else 'blue'},{'ab'[i % 10 > 4]}\n" for i in range(60))


def train(path: Path | str, *options: str) -> int:
    return main(["train", str(path), "--device", "cpu", "--epochs", "2", *options])


def written(folder: Path, text: str | bytes, name: str = "my.csv") -> Path:
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def table(name: str) -> Path:
    path = Path(os.environ.get("XPNET_DATA", ""), "tables", name)
    if not os.environ.get("XPNET_DATA") or not path.is_file():
        pytest.skip(f"XPNET_DATA names no folder with tables/{name}")
    return path


def error_of(capsys: pytest.CaptureFixture) -> str:
    """The one line on standard error."""
    printed, error = capsys.readouterr()
    assert error.startswith("xpnet train: ")
    assert error.count("\n") == 1
    assert len(error) < 420
    assert "epoch" not in printed
    return error


TARGET = ("--target", "y")
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


def test_regression_says_what_it_assumed_and_scores_in_the_targets_unit(capsys, tmp_path, rng):
    x = rng.uniform(-1, 1, 300)
    rows = "".join(f"{a},{1000 * a + 5000 + 100 * (-1) ** i}\n" for i, a in enumerate(x))  # an error of 100 is the least
    assert main(["train", str(written(tmp_path, "a,price\n" + rows)), "--target", "price", "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "my.csv: 300 rows, a header; input columns: 1; target price: regression (numbers, 300 different)" in lines[0]
    assert "240 rows train, 60 validate (seed 0)" in lines[0]
    assert lines[1] == "layers 1 64 64 1; epochs: 200"
    reached, guess, r2 = map(
        float,
        re.fullmatch(
            r"validation RMSE ([\d.]+), .* mean: ([\d.]+)\), R2 ([\d.]+) \(1 is perfect, 0 a guess\)", lines[-1]
        ).groups(),
    )
    assert 95 < reached < 140
    assert 500 < guess < 680  # a uniform target of half width 1000 has a deviation of 577
    assert r2 == pytest.approx(1 - (reached / guess) ** 2, abs=0.01)


def test_classes_keep_their_names_and_imbalance_is_said(capsys, tmp_path):
    rows = "".join(f"{i},{'rare' if i % 10 == 0 else 'common'}\n" for i in range(100))
    assert train(written(tmp_path, "a,kind\n" + rows), "--target", "kind") == 0
    printed = capsys.readouterr().out
    assert "target kind: classification of 2 classes (text); 80 rows train, 20 validate" in printed
    assert "(always guessing common, the most frequent: 0.9000)" in printed.splitlines()[-1]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([0, 1, 2], "classification of 3 classes (whole numbers, 3 different;"),
        (["1.0", "2.0", "1"], "classification of 2 classes (whole numbers, 2 different;"),
        (["true", "false", "true"], "classification of 2 classes (text)"),
        ([0.5, 1, 2], "regression (numbers, 3 different)"),
        (range(11), "regression (numbers, 11 different)"),
        (range(10), "classification of 10 classes (whole numbers, 10 different;"),
    ],
)
def test_the_task_is_inferred_and_said(capsys, tmp_path, values, said):
    rows = "".join(f"{i},{values[i % len(values)]}\n" for i in range(66))
    assert train(written(tmp_path, "a,y\n" + rows), *TARGET) == 0
    assert said in capsys.readouterr().out


def test_the_task_can_be_chosen(capsys, tmp_path):
    path = written(tmp_path, "a,y\n" + "".join(f"{i},{i % 3}\n" for i in range(30)))
    assert train(path, *TARGET, "--task", "regression") == 0
    assert "regression (asked for)" in capsys.readouterr().out


def test_gaps_are_dropped_or_filled_and_counted(capsys, tmp_path):
    rows = [f"{i},{i % 4},{i * 0.5}" for i in range(40)]
    rows[3], rows[7] = "3,n/a,1.5", "7,1,-"
    path = written(tmp_path, CODE + "\n".join(rows))
    assert train(path, *TARGET, "--missing", "drop") == 0
    assert "my.csv: 38 rows, a header; rows left out for gaps: 2 (b 1, y 1)" in capsys.readouterr().out
    assert train(path, *TARGET, "--missing", "fill") == 0
    assert "my.csv: 39 rows, a header; rows left out for gaps: 1 and gaps filled: 1 (b 1, y 1)" in capsys.readouterr().out


def test_a_category_of_one_row_goes_to_training(capsys, tmp_path):
    """Whatever the seed, or prediction of the validation rows would be refused."""
    path = written(tmp_path, FLOWERS + "3,green,a\n")
    moved = []
    for seed in range(16):
        assert train(path, "--target", "kind", "--seed", str(seed), "--epochs", "1") == 0
        printed = capsys.readouterr().out
        assert "input columns: 2, as 4 inputs (colour as 3 categories)" in printed
        assert sum(map(int, re.search(r"(\d+) rows train, (\d+) validate", printed).groups())) == 61
        moved.append("rows moved to training as the only ones of a category: 1" in printed)
    assert any(moved)
    assert not all(moved)


def test_early_stopping_keeps_the_best_epoch(capsys, tmp_path, rng):
    noise = "".join(f"{a},{b}\n" for a, b in rng.standard_normal((60, 2)))
    path = written(tmp_path, "a,y\n" + noise)
    assert main(["train", str(path), *TARGET, "--device", "cpu", "--epochs", "200", "--early-stopping", "5"]) == 0
    lines = capsys.readouterr().out.splitlines()
    last = int(re.fullmatch(r"best epoch (\d+) of (\d+) by the validation rows, kept", lines[-3])[2])
    assert int(lines[-3].split()[2]) == last - 5
    best = float(re.search(r"RMSE ([\d.]+)", lines[-1])[1])
    shown = [float(found) for found in re.findall(r"validation rmse ([\d.]+)", "\n".join(lines))]
    assert best <= min(shown) + 1e-3


def test_at_most_60_epochs_are_printed(capsys, tmp_path):
    assert main(["train", str(written(tmp_path, GOOD)), *TARGET, "--device", "cpu"]) == 0
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert len(lines) == 50
    assert lines[-1].startswith("epoch 200")


def test_every_device_gives_the_same(capsys, tmp_path):
    path, scores = written(tmp_path, FLOWERS), []
    for device in ("cpu", "sim"):
        assert main(["train", str(path), "--target", "kind", "--device", device, "--epochs", "3"]) == 0
        scores.append(re.findall(r"loss [\d.]+", capsys.readouterr().out))
    assert scores[0] == scores[1]


@pytest.mark.parametrize("name", ["colors", "xor", "spirals", "blobs", "auto-mpg"])
def test_data_sets_by_name(capsys, name):
    assert main(["train", name, "--device", "cpu", "--epochs", "60"]) == 0
    last = capsys.readouterr().out.splitlines()[-1]
    if name == "auto-mpg":
        assert float(re.match(r"test RMSE ([\d.]+)", last)[1]) < 4
    else:
        assert float(re.match(r"test accuracy ([\d.]+)", last)[1]) >= {"spirals": 0.6, "xor": 0.75}.get(name, 0.9)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["digits", "--data", "x"], "--data: digits needs no files"),
        (["xor", "--download"], "--download: xor needs no files"),
        (["digits", "--target", "y"], "--target: digits is complete"),
        (["digits", "--validation", "0.1"], "--validation: digits is complete"),
    ],
)
def test_options_that_would_do_nothing_are_refused(capsys, options, said):
    assert main(["train", *options]) == 1
    assert said in error_of(capsys)


def test_arrays_and_their_own_test_rows(capsys, tmp_path, rng):
    x = rng.standard_normal((200, 5)).astype("float32")
    y = (x[:, 0] > 0).astype(int)
    np.savez(tmp_path / "a.npz", x=x, y=y)
    assert train(tmp_path / "a.npz", "--epochs", "30") == 0
    printed = capsys.readouterr().out
    assert (
        "a.npz: 200 rows of (5); target y: classification of 2 classes (whole numbers, 2 different; "
        "--task regression for a quantity); "
        "160 rows train, 40 validate" in printed
    )
    assert float(re.findall(r"validation accuracy ([\d.]+)", printed)[-1]) > 0.9
    np.savez(tmp_path / "b.npz", x_train=x[:150], y_train=y[:150], x_test=x[150:], y_test=y[150:])
    assert train(tmp_path / "b.npz") == 0
    printed = capsys.readouterr().out
    assert "150 rows train, 50 test" in printed
    assert "test accuracy" in printed.splitlines()[-1]
    assert train(tmp_path / "b.npz", "--validation", "0.2") == 1
    assert "has test rows of its own" in error_of(capsys)
    np.save(tmp_path / "c.npy", np.column_stack([x, 100 * x[:, 1]]))
    assert train(tmp_path / "c.npy", "--target", "-1") == 0
    assert "c.npy: 200 rows, no header; input columns: 5; target column 5: regression" in capsys.readouterr().out


@pytest.mark.parametrize("gap", ["", " ", "nan"])
def test_a_class_that_is_missing_in_an_array(capsys, tmp_path, rng, gap):
    for classes in (("a", "b"), ("1", "2")):
        y = np.array([gap if i == 2 else classes[i % 2] for i in range(20)])
        np.savez(tmp_path / "a.npz", x=rng.standard_normal((20, 2)), y=y)
        assert train(tmp_path / "a.npz") == 1
        assert "a.npz: y, row 2: missing value: leave such rows out" in error_of(capsys)


@pytest.mark.extras
def test_a_folder_of_images(capsys, tmp_path, rng):
    image = pytest.importorskip("PIL.Image")
    for kind, channel in (("red", 0), ("blue", 2)):
        (tmp_path / "photos" / kind).mkdir(parents=True)
        for i in range(20):
            pixels = rng.integers(0, 80, (10, 12, 3), dtype=np.uint8)
            pixels[..., channel] += 120
            image.fromarray(pixels).save(tmp_path / "photos" / kind / f"{i}.png")
    assert train(tmp_path / "photos", "--size", "8", "--epochs", "20", "--save", str(tmp_path / "net")) == 0
    printed = capsys.readouterr().out
    assert "photos: 40 rows of (8, 8, 3); target class: classification of 2 classes (asked for); 32 rows train" in printed
    assert "\nvalidation accuracy 1.0000" in printed
    assert main(["predict", str(tmp_path / "net"), str(tmp_path / "photos" / "red"), "--device", "cpu"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "file,prediction,probability"
    assert [line.split(",")[1] for line in lines[1:]] == ["red"] * 20


def test_saving_and_what_may_not_be_replaced(capsys, tmp_path):
    path, net = written(tmp_path, FLOWERS), tmp_path / "out" / "net"
    options = ("--target", "kind", "--save", str(net))
    assert train(path, *options) == 0
    assert "saved in" in capsys.readouterr().out.splitlines()[-1]
    first = (net / "model.json").read_text()
    assert train(path, *options, "--hidden", "5") == 0  # one saved by xpnet is replaced
    assert json.loads((net / "model.json").read_text())["network"]["hidden"] == [5]
    assert json.loads(first)["network"]["hidden"] == [64, 64]
    assert sorted(p.name for p in net.parent.iterdir()) == ["net"]
    capsys.readouterr()
    (net / "diary.txt").write_text("mine")
    assert train(path, *options) == 1
    assert "exists and is no network saved by xpnet" in error_of(capsys)  # before any training
    assert (net / "diary.txt").read_text() == "mine"


def test_a_place_that_cannot_be_made_is_refused_before_training(capsys, tmp_path):
    path = written(tmp_path, FLOWERS)
    assert train(path, "--target", "kind", "--save", str(path / "net")) == 1
    assert "is no folder that can be written to" in error_of(capsys)


def test_a_network_that_diverged_is_not_saved(capsys, tmp_path):
    options = (*TARGET, "--optimizer", "sgd", "--learning-rate", "1e30", "--save", str(tmp_path / "net"))
    with pytest.warns(RuntimeWarning):
        assert train(written(tmp_path, GOOD), *options) == 1
    assert "nothing was saved" in capsys.readouterr().err
    assert not (tmp_path / "net").exists()


def test_a_network_that_diverged_has_no_score(capsys, tmp_path):
    with pytest.warns(RuntimeWarning):
        assert train(written(tmp_path, GOOD), *TARGET, "--optimizer", "sgd", "--learning-rate", "1e30") == 1
    printed, error = capsys.readouterr()
    assert "R2" not in printed.splitlines()[-1]
    assert error == "xpnet train: training has diverged, nothing was saved: try a smaller --learning-rate\n"


def test_the_line_that_says_where_it_was_saved_can_be_copied(capsys, tmp_path):
    assert train(written(tmp_path, FLOWERS), "--target", "kind", "--save", str(tmp_path / "my net")) == 0
    assert capsys.readouterr().out.endswith(f"xpnet predict '{tmp_path}/my net' FILE\n")
    assert train(written(tmp_path, FLOWERS), "--target", "kind", "--save", "") == 1  # an empty variable in a script
    assert "exists and is no network saved by xpnet" in error_of(capsys)


def test_california_housing_refuses_its_gaps_and_learns_in_a_few_epochs(capsys):
    path = table("california_housing.csv")
    assert train(path, "--target", "median_house_value") == 1
    assert ":292, column 'total_bedrooms': missing value, 207 of 20,640 rows have some (total_bedrooms 207)" in error_of(capsys)
    assert train(path, "--target", "median_house_value", "--missing", "fill") == 0
    assert float(re.search(r"validation RMSE ([\d,]+)", capsys.readouterr().out)[1].replace(",", "")) < 64_000


@pytest.mark.slow
@pytest.mark.parametrize("missing", ["fill", "drop"])
def test_california_housing_reaches_58000(capsys, missing):
    path = table("california_housing.csv")
    assert main(["train", str(path), "--target", "median_house_value", "--missing", missing, "--device", "cpu"]) == 0
    assert float(re.search(r"validation RMSE ([\d,]+)", capsys.readouterr().out)[1].replace(",", "")) <= 58_000


def test_files_without_a_header(capsys):
    assert train(table("winequality-red.csv"), "--target", "-1", "--epochs", "20") == 0
    printed = capsys.readouterr().out
    assert "1,599 rows, no header; input columns: 11; target column 11: classification of 6 classes" in printed
    assert float(re.search(r"^validation accuracy ([\d.]+)", printed, re.MULTILINE)[1]) > 0.52
    assert train(table("auto-insurance.csv"), "--target", "1", "--epochs", "100") == 0
    assert float(re.search(r"R2 ([\d.]+)", capsys.readouterr().out)[1]) > 0.4


def test_an_outlier_leaves_no_r2_and_the_reason_is_true(capsys, tmp_path):
    rows = "".join(f"{i},{1e12 if i == 3 else i * 0.5}\n" for i in range(30))
    assert train(written(tmp_path, "a,y\n" + rows), *TARGET) == 0
    assert capsys.readouterr().out.endswith(
        "R2 is not defined: on the scale of the training part these targets are all alike\n"
    )


def test_one_validation_row_has_no_r2(capsys, tmp_path):
    assert train(written(tmp_path, "a,y\n1,2.5\n2,3\n3,4\n4,1\n"), *TARGET) == 0
    assert capsys.readouterr().out.endswith(
        "R2 is not defined: on the scale of the training part these targets are all alike\n"
    )
