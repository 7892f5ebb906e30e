"""``.npz`` and ``.npy`` files and folders of images, right and wrong."""

from __future__ import annotations

import re

import numpy as np
import pytest

from xpnet.datasets import read_images, read_npy, read_npz
from xpnet.datasets.own import as_cells, as_table

X, Y = np.arange(12.0).reshape(6, 2), np.array([0, 1, 0, 1, 0, 1])


class Marker:
    """Unpickling one would raise."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('an object was unpickled')",))


def test_rows_and_targets(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y[:, None])
    found = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.x, X)
    np.testing.assert_array_equal(found.y, Y)
    assert found.x_test is None


def test_training_and_test_rows(tmp_path):
    np.savez(tmp_path / "a.npz", x_train=X[:4], y_train=Y[:4], x_test=X[4:], y_test=Y[4:])
    found = read_npz(tmp_path / "a.npz")
    np.testing.assert_array_equal(found.x_test, X[4:])
    np.testing.assert_array_equal(found.y_test, Y[4:])


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"a": X}, "arrays x and y, or x_train, y_train, are needed; it has a"),
        ({"x": X, "y": Y[:3]}, "x has 6 rows, y has 3"),
        ({"x": X[:, 0], "y": Y}, "x: rows of numbers, (N, columns, ...), are needed; it is float64 of shape (6,)"),
        ({"x": X + 1j, "y": Y}, "it is complex128"),
        ({"x": X[:0], "y": Y[:0]}, "of shape (0, 2)"),
        ({"x": X, "y": X}, "y holds one number or text a row, (N,); it is float64 of shape (6, 2)"),
        ({"x": np.where(X == 5, np.nan, X), "y": Y}, "x: nan at index (2, 1) (row 2)"),
        ({"x": X, "y": np.where(Y == 1, np.inf, 0)}, "y: inf at index (1,) (row 1)"),
        ({"x_train": X, "y_train": Y, "x_test": X[:, :1], "y_test": Y}, "x_train has rows of shape (2,), x_test of shape (1,)"),
        ({"x": np.array([[Marker(), 1]], object), "y": Y[:1]}, "holds Python objects, which are not read"),
        ({"x": X, "y": np.array([Marker()] * 6, object)}, "holds Python objects, which are not read"),
    ],
    ids=lambda value: value[:30] if isinstance(value, str) else "",
)
def test_what_is_wrong_with_arrays(tmp_path, arrays, said):
    np.savez(tmp_path / "a.npz", **arrays)
    with pytest.raises(ValueError, match=re.escape(said)):
        read_npz(tmp_path / "a.npz")


@pytest.mark.parametrize("data", [b"", b"hello", b"PK\x03\x04 and no more", b"\x93NUMPY\x01\x00 and no more"])
@pytest.mark.parametrize("read", [read_npz, read_npy])
def test_damaged_files(tmp_path, data, read):
    path = tmp_path / "a.bin"
    path.write_bytes(data)
    with pytest.raises(ValueError, match=r"a\.bin is no NumPy file, or it is damaged"):
        read(path)


def test_a_file_cut_short(tmp_path):
    np.savez(tmp_path / "a.npz", x=X, y=Y)
    (tmp_path / "a.npz").write_bytes((tmp_path / "a.npz").read_bytes()[:-60])
    with pytest.raises(ValueError, match="is damaged"):
        read_npz(tmp_path / "a.npz")


def test_one_kind_of_file_under_the_name_of_the_other(tmp_path):
    with (tmp_path / "a.npy").open("wb") as file:
        np.savez(file, x=X)
    with (tmp_path / "a.npz").open("wb") as file:
        np.save(file, X)
    with pytest.raises(ValueError, match=r"its name ends in \.npz"):
        read_npy(tmp_path / "a.npy")
    with pytest.raises(ValueError, match=r"its name ends in \.npy"):
        read_npz(tmp_path / "a.npz")


def test_a_table_of_an_array(tmp_path):
    np.save(tmp_path / "a.npy", np.array([[1.5, np.nan], [-2, 1e-7]]))
    table = read_npy(tmp_path / "a.npy")
    assert (table.names, table.header, table.columns) == (("0", "1"), False, (["1.5", "-2.0"], ["", "1e-07"]))
    assert table.place(1, 0).endswith("a.npy, row 1, column 0")


def test_cells_of_a_table_hold_every_digit(rng):
    values = rng.standard_normal((50, 3)).astype(np.float32)
    columns = np.array([[float(cell) for cell in column] for column in as_table(values, "a").columns])
    np.testing.assert_array_equal(columns.T.astype(np.float32), values)


@pytest.mark.parametrize("dtype", ["e", "f", "d", "g", "i1", "u8", ">f4", "?"])
def test_cells_of_every_type_are_numbers(dtype):
    table = as_table(np.array([[0, 1], [1, 0]], dtype), "a")
    assert [[float(cell) for cell in column] for column in table.columns] == [[0, 1], [1, 0]]


def test_a_float32_is_written_with_its_own_digits():
    assert as_cells(np.array([0.1, np.nan], np.float32)) == ["0.1", ""]
    assert as_cells(np.array([" a", "a"])) == ["a", "a"]


@pytest.mark.parametrize("array", [np.arange(3), np.zeros((2, 2, 2)), np.array([["a"]]), np.zeros((0, 3))])
def test_arrays_that_are_no_table(tmp_path, array):
    np.save(tmp_path / "a.npy", array)
    with pytest.raises(ValueError, match="rows of numbers"):
        read_npy(tmp_path / "a.npy")


@pytest.fixture
def photos(tmp_path):
    """cat: two grey images of 4 x 3 (width x height), dog: one; a text file beside them."""
    image = pytest.importorskip("PIL.Image")
    for kind, name, level in (("cat", "a.png", 10), ("cat", "b.bmp", 20), ("dog", "c.PNG", 30)):
        (tmp_path / kind).mkdir(exist_ok=True)
        image.fromarray(np.full((3, 4), level, np.uint8)).save(tmp_path / kind / name)
    (tmp_path / "cat" / "notes.txt").write_text("hello")
    (tmp_path / ".DS_Store").write_text("hidden")
    return tmp_path


@pytest.mark.extras
class TestImages:
    def test_a_folder_for_each_class(self, photos):
        found = read_images(photos)
        assert found.labels == ["cat", "cat", "dog"]
        assert found.x.shape == (3, 3, 4, 1)
        assert found.x[:, 0, 0, 0].tolist() == [10, 20, 30]
        assert found.ignored == 1

    def test_one_in_colour_makes_all_three_channels(self, photos):
        from PIL import Image

        Image.fromarray(np.full((3, 4, 3), (1, 2, 3), np.uint8)).save(photos / "dog" / "d.png")
        found = read_images(photos)
        assert found.x.shape == (4, 3, 4, 3)
        assert found.x[3, 0, 0].tolist() == [1, 2, 3]
        assert found.x[0, 0, 0].tolist() == [10, 10, 10]

    def test_the_odd_size_is_named_or_resized(self, photos):
        from PIL import Image

        Image.fromarray(np.full((5, 6), 40, np.uint8)).save(photos / "dog" / "odd.png")
        with pytest.raises(ValueError, match=r"odd\.png has 6x5 pixels, 3 of the 4 images have 4x3: --size 32"):
            read_images(photos)
        assert read_images(photos, size=(2, 2)).x.shape == (4, 2, 2, 1)

    def test_a_damaged_image_is_named(self, photos):
        (photos / "dog" / "e.png").write_bytes(b"no image")
        with pytest.raises(ValueError, match=r"e\.png cannot be read as an image"):
            read_images(photos)
        (photos / "dog" / "e.png").write_bytes((photos / "dog" / "c.PNG").read_bytes()[:50])
        with pytest.raises(ValueError, match=r"e\.png is damaged"):
            read_images(photos)

    def test_16_bits_are_refused_not_clipped(self, photos):
        from PIL import Image

        Image.fromarray(np.full((3, 4), 40_000, np.uint16)).save(photos / "dog" / "deep.png")
        with pytest.raises(ValueError, match=r"deep\.png has more than 8 bits"):
            read_images(photos)

    def test_images_outside_the_classes_and_none_at_all(self, photos, tmp_path_factory):
        with pytest.raises(ValueError, match=r"has no images in subfolders, one for each class"):
            read_images(tmp_path_factory.mktemp("empty"))
        (photos / "cat" / "a.png").rename(photos / "loose.png")
        with pytest.raises(ValueError, match=r"loose\.png lies outside the classes"):
            read_images(photos)


def test_without_pillow_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "PIL", None)
    monkeypatch.delitem(__import__("sys").modules, "PIL.Image", raising=False)
    with pytest.raises(ImportError, match=r'pip install "xpnet\[images\]"'):
        read_images(tmp_path)
