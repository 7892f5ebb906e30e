"""``xpnet predict``: the predictions of a saved network, and what is said where rows or files do not fit."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pytest
from predict_helpers import error_of, predicted, run

import xpnet as xn

HEADER = ["size", "colour", "price"]


def line(i: int) -> list[str]:
    size, colour = i % 10, ("red", "blue", "green")[i % 3]
    return [str(size), colour, str(1000 * size + 500 * (i % 3))]


ROWS = [line(i) for i in range(90)]


def write(path: Path, rows: list[list[str]], header: list[str] | None = None) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows] if header else rows)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """Three nets: ``price`` (regression, by name), ``colour`` (classes), ``plain`` (no header, the target in column 0)."""
    folder = tmp_path_factory.mktemp("nets")
    options = ("--device", "cpu", "--epochs", "150", "--learning-rate", "0.01")
    path = write(folder / "train.csv", ROWS, HEADER)
    assert run("train", path, "--target", "price", "--save", folder / "price", *options) == 0
    assert run("train", path, "--target", "colour", "--save", folder / "colour", *options) == 0
    plain = write(folder / "plain.csv", [[p, s, str(int(s) % 4)] for s, _, p in ROWS])
    assert run("train", plain, "--target", "0", "--save", folder / "plain", *options) == 0
    return folder


def test_numbers_in_the_targets_unit_with_the_score(capsys, folder, tmp_path):
    path = write(tmp_path / "new.csv", ROWS[:30], HEADER)
    assert run("predict", folder / "price", path, "--device", "cpu") == 0
    rows, said = predicted(capsys)
    found = np.array([float(row["prediction"]) for row in rows])
    truth = np.array([float(row[2]) for row in ROWS[:30]])
    error = float(np.sqrt(np.mean((found - truth) ** 2)))
    assert error < 300
    assert float(re.fullmatch(r"RMSE ([\d.]+) on 30 rows \(flattering where .*\)\n", said)[1]) == pytest.approx(error, rel=1e-3)


def test_classes_with_their_probability(capsys, folder, tmp_path):
    path = write(tmp_path / "new.csv", ROWS[:30], HEADER)
    assert run("predict", folder / "colour", path, "--device", "cpu") == 0
    rows, said = predicted(capsys)
    assert [row["prediction"] for row in rows] == [row[1] for row in ROWS[:30]]
    assert all(0.5 < float(row["probability"]) <= 1 for row in rows)
    assert said == "accuracy 1.0000 on 30 rows (flattering where the network was trained on them)\n"


def test_columns_in_any_order_without_target_and_with_others(capsys, folder, tmp_path):
    straight = write(tmp_path / "a.csv", [row[:2] for row in ROWS[:9]], HEADER[:2])
    turned = write(tmp_path / "b.csv", [[c, "x", s] for s, c, _ in ROWS[:9]], ["colour", "note", "size"])
    assert run("predict", folder / "price", straight, "--device", "cpu") == 0
    first, said = predicted(capsys)
    assert said == ""
    assert run("predict", folder / "price", turned, "--device", "cpu") == 0
    second, said = predicted(capsys)
    assert said == "columns ignored: note\n"
    assert first == second


def test_some_targets_missing(capsys, folder, tmp_path):
    rows = [*ROWS[:5], ["3", "red", "?"]]
    assert run("predict", folder / "price", write(tmp_path / "a.csv", rows, HEADER), "--device", "cpu") == 0
    rows, said = predicted(capsys)
    assert len(rows) == 6
    assert "on 5 rows with a target, of 6" in said


def test_predictions_to_a_file(capsys, folder, tmp_path):
    path, out = write(tmp_path / "a.csv", ROWS[:4], HEADER), tmp_path / "out.csv"
    assert run("predict", folder / "colour", path, "--out", out, "--device", "cpu") == 0
    assert capsys.readouterr().out == ""
    rows = list(csv.DictReader(out.read_text().splitlines()))
    assert [row["prediction"] for row in rows] == ["red", "blue", "green", "red"]
    assert run("predict", folder / "colour", path, "--out", path) == 1
    assert "is the input" in error_of(capsys)


def test_rows_without_a_header_from_three_kinds_of_files(capsys, folder, tmp_path):
    """The target was column 0: files may have it or not."""
    numbers = np.array([[float(p), float(s), int(s) % 4] for s, _, p in ROWS[:12]])
    np.save(tmp_path / "with.npy", numbers)
    np.save(tmp_path / "without.npy", numbers[:, 1:])
    np.savez(tmp_path / "rows.npz", x=numbers[:, 1:], y=numbers[:, 0])
    write(tmp_path / "rows.csv", [[str(v) for v in row] for row in numbers[:, 1:]])
    found = []
    for name in ("with.npy", "without.npy", "rows.npz", "rows.csv"):
        assert run("predict", folder / "plain", tmp_path / name, "--device", "cpu") == 0
        rows, said = predicted(capsys)
        assert said.startswith("RMSE ") == (name in ("with.npy", "rows.npz"))
        found.append([row["prediction"] for row in rows])
    assert found[0] == found[1] == found[2] == found[3]


def test_a_saved_data_set_by_name_gives_the_same_scores(capsys, tmp_path):
    data, net = xn.datasets.digits(), tmp_path / "digits"
    assert run("train", "digits", "--epochs", "5", "--device", "cpu", "--save", net) == 0
    accuracy = re.search(r"^test accuracy ([\d.]+)$", capsys.readouterr().out, re.MULTILINE)[1]
    np.savez(tmp_path / "test.npz", x=data.x_test, y=data.y_test)
    assert run("predict", net, tmp_path / "test.npz", "--device", "cpu") == 0
    rows, said = predicted(capsys)
    assert said == f"accuracy {accuracy} on 360 rows (flattering where the network was trained on them)\n"
    np.save(tmp_path / "test.npy", data.x_test)
    write(tmp_path / "test.csv", [[repr(float(v)) for v in row] for row in data.x_test])
    for name in ("test.npy", "test.csv"):
        assert run("predict", net, tmp_path / name, "--device", "cpu") == 0
        assert predicted(capsys)[0] == rows


def test_the_first_row_is_taken_as_in_training(capsys, tmp_path):
    """Without a header a first row of text would be lost; years as names would be taken for data."""
    options = ("--device", "cpu", "--epochs", "1", "--save")
    texts = [["red", "big", "1.5"], ["blue", "big", "2.5"], ["red", "small", "3.5"]] * 5
    assert run("train", write(tmp_path / "a.csv", texts), "--target", "2", *options, tmp_path / "net") == 0
    capsys.readouterr()
    assert run("predict", tmp_path / "net", write(tmp_path / "b.csv", [row[:2] for row in texts]), "--device", "cpu") == 0
    assert len(predicted(capsys)[0]) == 15
    years = write(tmp_path / "c.csv", [[str(i), str(i * 1.5)] for i in range(20)], ["2019", "2020"])
    assert run("train", years, "--target", "2020", "--header", "yes", *options, tmp_path / "dated") == 0
    capsys.readouterr()
    assert run("predict", tmp_path / "dated", years, "--device", "cpu") == 0
    assert len(predicted(capsys)[0]) == 20


def test_a_gap_in_a_table_for_a_net_of_arrays(capsys, tmp_path, rng):
    np.savez(tmp_path / "a.npz", x=rng.standard_normal((20, 2)), y=np.arange(20) % 2)
    assert run("train", tmp_path / "a.npz", "--device", "cpu", "--epochs", "1", "--save", tmp_path / "net") == 0
    capsys.readouterr()
    path = write(tmp_path / "a.csv", [["1", "2"], ["3", ""]])
    assert run("predict", tmp_path / "net", path, "--device", "cpu") == 1
    assert "a.csv:2, column 1: missing value" in error_of(capsys)


def test_every_device_predicts_the_same(capsys, folder, tmp_path):
    path, found = write(tmp_path / "a.csv", ROWS[:9], HEADER), []
    for device in ("cpu", "sim"):
        assert run("predict", folder / "price", path, "--device", device) == 0
        found.append(capsys.readouterr().out)
    assert found[0] == found[1]


def test_filled_gaps_are_counted_and_others_refused(capsys, folder, tmp_path):
    rows = [row if i % 7 else ["", *row[1:]] for i, row in enumerate(ROWS)]
    path = write(tmp_path / "gaps.csv", rows, HEADER)
    options = ("--target", "price", "--missing", "fill", "--device", "cpu", "--epochs", "1")
    assert run("train", path, *options, "--save", tmp_path / "net") == 0
    capsys.readouterr()
    assert run("predict", tmp_path / "net", path, "--device", "cpu") == 0
    rows, said = predicted(capsys)
    assert len(rows) == 90
    assert "gaps filled as in training: 13" in said
    assert run("predict", folder / "price", path, "--device", "cpu") == 1
    assert "gaps.csv:2, column 'size': missing value: leave the row out, or train with --missing fill" in error_of(capsys)


MISMATCHES = {  # name: (the net, rows, header, what is said)
    "a column is not there": (
        "price",
        [["1"]],
        ["size"],
        "a.csv has no column 'colour', which the network was trained on (its target: 'price'); the columns are size",
    ),
    "no header": (
        "price",
        [["1", "red"], ["2", "red"]],
        None,
        "the columns are 1, red; is its first line, with the names, missing?",
    ),
    "a new category": ("price", [["1", "red"], ["2", "pink"]], HEADER[:2], "a.csv:3, column 'colour': 'pink' is none of the 3"),
    "text for a number": ("price", [["1", "red"], ["big", "red"]], HEADER[:2], "a.csv:3, column 'size': 'big' is no number"),
    "infinity": ("price", [["1e999", "red"]], HEADER[:2], "a.csv:2, column 'size': '1e999' is not finite"),
    "far outside": ("price", [["1e300", "red"]], HEADER[:2], "column 'size': a value is too far"),
    "two columns of one name": ("price", [["1", "red", "2"]], ["size", "colour", "size"], "are both called 'size'"),
    "other columns, no header": ("plain", [["1"]], None, "a.csv has 1 columns; the model was trained on 3, 0 to 2"),
    "no rows": ("price", [], HEADER, "a.csv has a header (line 1) and no rows"),
}


@pytest.mark.parametrize(("net", "rows", "header", "said"), MISMATCHES.values(), ids=MISMATCHES)
def test_rows_that_do_not_fit(capsys, folder, tmp_path, net, rows, header, said):
    path = write(tmp_path / "a.csv", rows, header)
    assert run("predict", folder / net, path, "--device", "cpu") == 1
    assert said in error_of(capsys)


def test_a_target_that_the_model_cannot_predict(capsys, folder, tmp_path):
    path = write(tmp_path / "a.csv", [["1", "pink", "4"], ["2", "red", "5"], ["3", "", "6"], ["4", "grey", "6"]], HEADER)
    assert run("predict", folder / "colour", path, "--device", "cpu") == 0
    rows, said = predicted(capsys)
    assert len(rows) == 4
    assert "rows whose class the model does not have, counted as wrong: 2 (the first: " in said
    assert "a.csv:2, column 'colour': 'pink')" in said
    assert re.search(r"accuracy 0\.(0000|3333) on 3 rows with a target, of 4", said)
    path = write(tmp_path / "b.csv", [["1", "red", "dear"], ["2", "red", "5"]], HEADER)
    assert run("predict", folder / "price", path, "--device", "cpu") == 0
    rows, said = predicted(capsys)
    assert len(rows) == 2
    assert "rows whose target is no number, not counted: 1 (the first: " in said
    assert "b.csv:2, column 'price': 'dear'" in said
    assert "on 1 rows with a target, of 2" in said


def test_a_header_where_there_was_none_in_training(capsys, tmp_path):
    rows = [[i, i % 7, 3 * i] for i in range(40)]
    path = write(tmp_path / "a.csv", rows, rows[0])
    options = ("--target", "2", "--header", "no", "--device", "cpu", "--epochs", "1")
    assert run("train", path, *options, "--save", tmp_path / "net") == 0
    capsys.readouterr()
    path = write(tmp_path / "b.csv", [row[:2] for row in rows], ["a", "b"])
    assert run("predict", tmp_path / "net", path, "--device", "cpu") == 1
    assert "b.csv:1, column 0: 'a' is no number (is that the header? --header yes)" in error_of(capsys)
    assert run("predict", tmp_path / "net", path, "--device", "cpu", "--header", "yes") == 0
    assert len(predicted(capsys)[0]) == 40


def test_columns_are_counted_before_they_are_read(capsys, tmp_path):
    assert run("train", "digits", "--epochs", "1", "--device", "cpu", "--save", tmp_path / "digits") == 0
    capsys.readouterr()
    path = write(tmp_path / "a.csv", [["1", "USA"]], ["a", "b"])
    assert run("predict", tmp_path / "digits", path, "--device", "cpu") == 1
    assert "rows of shape (64) are needed, these have (2,)" in error_of(capsys)


def test_a_picture_that_is_not_there_is_said_before_any_prediction(capsys, folder, tmp_path):
    Image = pytest.importorskip("PIL.Image")
    assert run("train", "digits", "--epochs", "1", "--device", "cpu", "--save", tmp_path / "digits") == 0
    Image.fromarray(np.eye(30, dtype=np.uint8) * 255).save(tmp_path / "a.png")
    capsys.readouterr()
    assert run("predict", tmp_path / "digits", *[tmp_path / "a.png"] * 20, tmp_path / "nope.png") == 1
    assert capsys.readouterr() == ("", f"xpnet predict: {tmp_path / 'nope.png'}: No such file or directory\n")


def test_other_files_that_do_not_fit(capsys, folder, tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((2, 3)))
    np.savez(tmp_path / "a.npz", x_train=np.zeros((2, 2)), y_train=np.zeros(2), x_test=np.zeros((2, 2)), y_test=np.zeros(2))
    for path, said in (
        (tmp_path / "a.npy", "a.npy has no column 'size', 'colour'"),
        (tmp_path / "a.npz", "save the rows to predict as x"),
        (tmp_path, "is a folder, the model was not trained on images"),
        (tmp_path / "none.csv", "none.csv"),
    ):
        assert run("predict", folder / "price", path, "--device", "cpu") == 1
        assert said in error_of(capsys)


def test_a_wrong_device_is_not_called_damage(capsys, folder, tmp_path):
    assert run("predict", folder / "price", write(tmp_path / "a.csv", ROWS, HEADER), "--device", "gpu") == 1
    assert "no device is called 'gpu'" in error_of(capsys)


def test_a_folder_without_a_network(capsys, tmp_path):
    for path, said in (
        (tmp_path, "has no model.safetensors, which xpnet train ... --save"),
        (tmp_path / "none", "is not there"),
    ):
        assert run("predict", path, tmp_path / "a.csv") == 1
        assert said in error_of(capsys)


def test_a_damaged_file_is_named(capsys, folder, tmp_path):
    data = bytearray((folder / "price" / "model.safetensors").read_bytes())
    data[-3] ^= 1
    (tmp_path / "model.safetensors").write_bytes(data)
    assert run("predict", tmp_path, tmp_path / "none.csv", "--device", "cpu") == 1
    assert "model.safetensors is damaged: its checksum does not agree" in error_of(capsys)


def test_the_file_itself_will_do(capsys, folder, tmp_path):
    rows = write(tmp_path / "a.csv", ROWS, HEADER)
    assert run("predict", folder / "price", rows) == 0
    expected = capsys.readouterr().out
    assert run("predict", folder / "price" / "model.safetensors", rows) == 0
    assert capsys.readouterr().out == expected
