"""What is fitted is fitted on the training part only; splits keep shares; columns encode and decode as stored."""

from __future__ import annotations

import math

import numpy as np
import pytest

from xpnet.datasets import Arrays, Table
from xpnet.preprocessing import Classes, Columns, Number, Quantity, Rows, Text, infer_task, prepare_arrays, prepare_table, split


def table(header: str, rows: list[tuple]) -> Table:
    names = tuple(header.split())
    return Table("t", names, tuple([str(v) for v in column] for column in zip(*rows, strict=True)), range(2, 2 + len(rows)))


class TestSplit:
    def test_parts_are_disjoint_and_complete(self):
        train, held = split(np.arange(100) % 3, 0.3, seed=1)
        assert sorted([*train, *held]) == list(range(100))
        assert len(held) == 30

    def test_classes_keep_their_shares(self):
        groups = np.repeat([0, 1, 2], [500, 90, 10])
        for seed in range(5):
            _, held = split(groups, 0.2, seed)
            assert np.bincount(groups[held], minlength=3) == pytest.approx([100, 18, 2], abs=1)

    def test_every_class_has_a_training_row(self):
        groups = ["a"] * 20 + ["b"] * 2 + ["c"]
        for seed in range(20):
            train, held = split(groups, 0.9, seed)
            assert {groups[i] for i in train} == {"a", "b", "c"}
            assert 22 not in held

    def test_the_seed_decides(self):
        parts = [split([0] * 50, 0.2, seed)[1].tolist() for seed in (0, 0, 1)]
        assert parts[0] == parts[1] != parts[2]

    def test_every_row_has_its_chance(self):
        chosen = sum(np.bincount(split(np.arange(60) % 2, 0.25, s)[1], minlength=60) for s in range(400)) / 400
        assert chosen == pytest.approx(np.full(60, 0.25), abs=0.1)

    @pytest.mark.parametrize(("rows", "share", "held"), [(2, 0.01, 1), (2, 0.99, 1), (10, 0.99, 9), (3, 0.5, 2)])
    def test_each_part_has_rows(self, rows, share, held):
        assert len(split([0] * rows, share)[1]) == held

    def test_nothing_left(self):
        with pytest.raises(ValueError, match="there is 1 row"):
            split([0], 0.5)
        with pytest.raises(ValueError, match="there are 3 rows, each has a class of its own"):
            split([0, 1, 2], 0.5)


def test_scales_categories_and_fills_come_from_the_training_part_only(rng):
    """Whatever the validation rows hold, what is stored and what training sees stays the same."""
    values, labels = rng.standard_normal((40, 2)), rng.choice(["u", "v"], 40)
    rows = [(a, "" if i % 9 == 0 else b, s, 3 * a) for i, ((a, b), s) in enumerate(zip(values, labels, strict=True))]
    _, held = split([""] * 40, 0.25, 0)
    found = prepare_table(table("a b s y", rows), "y", missing="fill", validation=0.25)
    changed = [(1e6, "-1e9", s, 1e7) if i in held else row for i, row in enumerate(rows) for s in [row[2]]]
    other = prepare_table(table("a b s y", changed), "y", missing="fill", validation=0.25)
    assert (found.inputs, found.target) == (other.inputs, other.target)
    np.testing.assert_array_equal(found.x_train, other.x_train)
    np.testing.assert_array_equal(found.y_train, other.y_train)
    assert not np.array_equal(found.x_held, other.x_held)
    train = [row for i, row in enumerate(rows) if i not in held]
    a = np.array([row[0] for row in train])
    assert found.inputs.columns[0].mean == pytest.approx(a.mean())
    assert found.inputs.columns[0].std == pytest.approx(a.std())
    assert found.inputs.columns[1].fill == pytest.approx(np.median([float(row[1]) for row in train if row[1]]))
    assert found.target.mean == pytest.approx(3 * a.mean())
    assert found.y_train.mean() == pytest.approx(0, abs=1e-6)
    assert found.x_train[:, 0].std() == pytest.approx(1, abs=1e-6)


def test_arrays_are_scaled_by_the_training_part_only(rng):
    x, y = rng.standard_normal((30, 3)) * [1, 10, 0] + [0, 5, 7], rng.standard_normal(30)
    train, held = split([""] * 30, 0.2, 4)
    before = prepare_arrays(Arrays("a", x, y), seed=4)
    x[held], y[held] = 1e5, 1e5
    after = prepare_arrays(Arrays("a", x, y), seed=4)
    assert (before.inputs, before.target) == (after.inputs, after.target)
    assert before.inputs.mean == pytest.approx(x[train].mean(axis=0))
    assert before.inputs.std[2] == 1.0  # a constant column
    assert before.x_train[:, 2].tolist() == [0] * 24


def test_text_is_one_column_a_category():
    text = Text.fit("s", table("s", [("b",), ("a",), ("b",)]), 0, False)
    assert text.categories == ("a", "b")
    assert text.encode(table("s", [("b",), ("a",)]), 0).tolist() == [[0, 1], [1, 0]]
    with pytest.raises(ValueError, match=r"t:3, column 's': 'c' is none of the 2 categories seen in training \(a, b\)"):
        text.encode(table("s", [("b",), ("c",)]), 0)
    with pytest.raises(ValueError, match=r"seen in training \('a\\nb'\)"):  # in one line whatever they hold
        Text("s", ("a\nb",)).encode(table("s", [("c",)]), 0)


def test_missing_text_is_a_category_of_its_own_when_filled():
    rows = [("", 1.5), ("a", 2.5), ("", 3.5), ("a", 4.5), ("", 5.5), ("a", 6.5)] * 4
    found = prepare_table(table("s y", rows), "y", missing="fill")
    assert found.inputs.columns[0].categories == ("", "a")


@pytest.mark.parametrize("values", [[1e300, -1e300, 5e299], [1e9, 1e9 + 1, 1e9 + 2], [0.1, 0.1, 0.1], [5e-324, 0, 0]])
def test_odd_ranges_are_scaled_without_overflow(values):
    column = Number.fit("a", (t := table("a", [(repr(float(v)),) for v in values])), 0, False)
    scaled = column.encode(t, 0)[:, 0]
    assert scaled.dtype == np.float32
    assert np.abs(scaled).max() <= 2
    spread = len(set(values)) > 1 and max(map(abs, values)) > 1e-300
    assert scaled.std() == pytest.approx(1 if spread else 0, abs=1e-6)


def test_a_value_too_far_from_the_training_part_is_refused():
    column = Number("a", 0.0, 1e-3)
    with pytest.raises(ValueError, match="column 'a': a value is too far"):
        column.encode(table("a", [("1e300",)]), 0)


def test_classes_are_ordered_numbers_first_and_equal_numbers_are_one():
    goal = Classes.fit("y", ["10", "2", "b", "2.0", "a"])
    assert goal.names == ("2", "10", "a", "b")
    assert goal.encode(["2.0", "b"], str).tolist() == [0, 3]
    assert goal.encode(["2"], str).dtype == np.int64
    with pytest.raises(ValueError, match="class 'c' is none of the model's"):
        goal.encode(["c"], str)


def test_long_whole_numbers_stay_apart():
    cells = [str(10**17), str(10**17 + 1), "007"]
    assert Classes.fit("y", cells).names == ("7", *cells[:2])
    assert infer_task(cells * 3, str) == ("classification", "whole numbers, 3 different; --task regression for a quantity")
    assert infer_task([str(10**17 + i) for i in range(11)], str)[0] == "regression"


def test_a_quantity_comes_back_in_its_unit():
    goal = Quantity.fit("y", np.array([100.0, 300.0]))
    scaled = goal.encode(["100", "300", "250"], str)
    assert scaled.tolist() == [-1, 1, 0.5]
    assert goal.decode(scaled[:, None]) == pytest.approx([100, 300, 250])


def test_rows_of_images_have_one_scale_for_all(rng):
    x = rng.integers(0, 256, (20, 4, 5, 3)).astype(np.uint8)
    rows = Rows.fit(x, images=True)
    assert (rows.mean, rows.std) == (pytest.approx((x.mean(),)), pytest.approx((x.std(),)))
    assert rows.encode(x).shape == (20, 60)
    with pytest.raises(ValueError, match=r"rows of shape \(4, 5, 3\) are needed, these have \(4, 5, 1\)"):
        rows.encode(x[..., :1])


def test_long_arrays_are_scaled_as_short_ones(rng):
    x = rng.standard_normal((10_000, 2))
    rows = Rows.fit(x)
    np.testing.assert_array_equal(rows.encode(x)[9000:], rows.encode(x[9000:]))
    x[9000, 1] = 1e300
    with pytest.raises(ValueError, match="x, row 9000: a value is too far"):
        rows.encode(x)


class TestColumns:
    rows = (("1", "u", "5", "9"), ("2", "v", "6", "8"), ("4", "u", "7", "7"))

    def fitted(self, header: bool) -> Columns:
        full = table("a s b y", self.rows)
        if header:
            return Columns.fit(full, {0: "number", 1: "text", 2: "number"}, 3, 4, False)
        full = Table("t", tuple("0123"), full.columns, full.lines, header=False)
        return Columns.fit(full, {1: "text", 2: "number", 3: "number"}, 0, 4, False)

    def test_columns_are_found_by_name_in_any_order(self):
        fitted = self.fitted(True)
        straight = fitted.encode(table("a s b y", self.rows))
        turned = fitted.encode(table("b extra a s", [(b, "?", a, s) for a, s, b, _ in self.rows]))
        np.testing.assert_array_equal(straight, turned)
        assert straight.shape == (3, 4)

    def test_without_a_header_the_target_may_be_left_out_wherever_it_was(self):
        fitted = self.fitted(False)
        full = Table("t", tuple("0123"), tuple(map(list, zip(*self.rows, strict=True))), header=False)
        without = Table("t", tuple("012"), full.columns[1:], header=False)
        np.testing.assert_array_equal(fitted.encode(full), fitted.encode(without))
        with pytest.raises(ValueError, match=r"has 2 columns; the model was trained on 4, 0 to 3, with the target in column 0"):
            fitted.encode(Table("t", tuple("01"), full.columns[2:], header=False))

    def test_what_is_missing_is_named(self):
        with pytest.raises(ValueError, match=r"t has no column 's', 'b', which .* 'y'\); the columns are a, y"):
            self.fitted(True).encode(table("a y", [("1", "2")]))

    def test_stored_and_read_again(self):
        assert Columns.from_dict(self.fitted(True).as_dict()) == self.fitted(True)


def test_options_of_prepare_table():
    rows = [(i, i % 7, i * 0.5) for i in range(30)]
    for wrong, said in (({"missing": "guess"}, "missing='guess'"), ({"task": "sorting"}, "task='sorting'")):
        with pytest.raises(ValueError, match=said):
            prepare_table(table("a b y", rows), "y", **wrong)
    assert [c.name for c in prepare_table(table("a b y", rows), "y", drop=[0]).inputs.columns] == ["b"]


def test_columns_are_read_from_a_dict_or_a_frame_too(rng):
    rows = [(f"{a:.3f}", "uv"[i % 2], i) for i, a in enumerate(rng.standard_normal(30))]
    found = prepare_table(table("a b y", rows), "y", missing="fill").inputs
    wanted = found.encode(table("a b", [row[:2] for row in rows]))
    columns = {"more": [0] * 30, "b": [row[1] for row in rows], "a": [float(row[0]) for row in rows]}
    np.testing.assert_array_equal(found.encode(columns), wanted)

    class Frame:  # as pandas and polars have them
        columns = ("b", "a")

        def __getitem__(self, name):
            return np.array(columns[name], object)

    np.testing.assert_array_equal(found.encode(Frame()), wanted)
    gap = found.encode({"b": ["u", "v"], "a": [math.nan, None]})
    assert gap[0, 0] == gap[1, 0] == np.float32((found.columns[0].fill - found.columns[0].mean) / found.columns[0].std)
    with pytest.raises(ValueError, match="the table has no column 'a'"):
        found.encode({"b": ["u"]})
    with pytest.raises(ValueError, match="the table, row 1, column 'b': 'w' is none of the 2 categories"):
        found.encode({"b": ["u", "w"], "a": [1, 2]})
    with pytest.raises(ValueError, match=r"the columns are of different lengths: \[1, 2\]"):
        found.encode({"b": ["u"], "a": [1, 2]})
    for wrong in (np.zeros((2, 2)), [[1, "u"]]):
        with pytest.raises(TypeError, match=r"a table is needed, by xn\.datasets\.read_csv, a DataFrame or a dict, not a"):
            found.encode(wrong)


def test_rows_are_read_from_lists_too():
    rows = prepare_arrays(Arrays("a", np.arange(40.0).reshape(20, 2), np.arange(20.0))).inputs
    np.testing.assert_array_equal(rows.encode([[1, 2], [3, 4]]), rows.encode(np.array([[1, 2], [3, 4]])))


@pytest.mark.parametrize("column", [3, "abc", np.zeros((2, 2))], ids=str)
def test_what_is_no_column_is_refused_by_name(column):
    rows = [(i, i % 3, i * i) for i in range(20)]
    inputs = prepare_table(table("a b y", rows), "y").inputs
    with pytest.raises(ValueError, match="the table, column 'a': a list of cells is needed"):
        inputs.encode({"a": column, "b": [1, 2]})


@pytest.mark.extras
def test_columns_of_pandas():
    pandas = pytest.importorskip("pandas")
    rows = [(i, "uv"[i % 2], i * i) for i in range(20)]
    inputs = prepare_table(table("a b y", rows), "y", missing="fill").inputs
    for kinds in ({"a": "Int64", "b": "string"}, {"a": float, "b": "category"}, {"a": "float32", "b": object}):
        frame = pandas.DataFrame({"a": [1, 2, None], "b": ["u", "v", "u"]}).astype(kinds)
        np.testing.assert_array_equal(inputs.encode(frame), inputs.encode({"a": [1, 2, None], "b": ["u", "v", "u"]}))
