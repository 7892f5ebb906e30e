"""``xpnet train`` on data of one's own: what it says, how good it gets, and one line for each thing that is wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest
from own_data_helpers import CODE, FLOWERS, GOOD, TARGET, error_of, table, train, written

from xpnet.cli import main


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
    assert (
        "photos: 40 rows of (8, 8, 3); target class: classification of 2 classes (names of folders); 32 rows train" in printed
    )
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
    first = (net / "model.safetensors").read_bytes()
    assert train(path, *options, "--hidden", "5") == 1
    assert f"holds a network trained earlier: go on with it by xpnet train --resume {net}" in error_of(capsys)
    assert (net / "model.safetensors").read_bytes() == first
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "diary.txt").write_text("mine")
    assert train(path, "--target", "kind", "--save", str(tmp_path / "mine")) == 1
    assert "exists and is no empty folder" in error_of(capsys)  # before any training


def test_a_place_that_cannot_be_made_is_refused_before_training(capsys, tmp_path):
    path = written(tmp_path, FLOWERS)
    assert train(path, "--target", "kind", "--save", str(path / "net")) == 1
    assert "cannot be a folder" in error_of(capsys)


@pytest.mark.filterwarnings("default")
def test_a_network_that_diverged_is_not_saved(capsys, tmp_path):
    options = (*TARGET, "--optimizer", "sgd", "--learning-rate", "1e30", "--save", str(tmp_path / "net"))
    assert train(written(tmp_path, GOOD), *options) == 1
    error = capsys.readouterr().err
    assert error.splitlines() == [
        "xpnet train: epoch 2: the loss is nan; training has diverged, try a smaller learning rate",
        "xpnet train: training has diverged, there is no model: try a smaller --learning-rate, and another name than "
        f"{tmp_path / 'net'}",
    ]
    assert not (tmp_path / "net" / "model.safetensors").exists()
    assert main(["predict", str(tmp_path / "net"), str(tmp_path / "rows.csv")]) == 1
    assert "its training has not ended, or has diverged" in capsys.readouterr().err
    assert train(written(tmp_path, GOOD), *options) == 1
    assert "holds a training that has not ended, or has diverged: go on with it by" in error_of(capsys)
    before = sorted((tmp_path / "net").iterdir())
    assert main(["train", "--resume", str(tmp_path / "net")]) == 1
    assert (
        f"the training in {tmp_path / 'net'} has diverged: train with other options, in another folder"
        in capsys.readouterr().err
    )
    assert sorted((tmp_path / "net").iterdir()) == before


@pytest.mark.filterwarnings("default")
def test_a_network_that_diverged_has_no_score(capsys, tmp_path):
    assert train(written(tmp_path, GOOD), *TARGET, "--optimizer", "sgd", "--learning-rate", "1e30") == 1
    printed, error = capsys.readouterr()
    assert "R2" not in printed.splitlines()[-1]
    assert (
        error.splitlines(keepends=True)[1]
        == "xpnet train: training has diverged, there is no model: try a smaller --learning-rate\n"
    )


def test_the_line_that_says_where_it_was_saved_can_be_copied(capsys, tmp_path):
    assert train(written(tmp_path, FLOWERS), "--target", "kind", "--save", str(tmp_path / "my net")) == 0
    assert capsys.readouterr().out.endswith(f"xpnet predict '{tmp_path}/my net' FILE\n")
    assert train(written(tmp_path, FLOWERS), "--target", "kind", "--save", "") == 1  # an empty variable in a script
    assert "--save '': the name of a folder is needed" in error_of(capsys)


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
