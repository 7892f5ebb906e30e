"""MNIST and Fashion-MNIST from folders: where the files are looked for, and what can be wrong with them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from dataset_helpers import FILES, synthetic, write

from xpnet.datasets import fashion_mnist, mnist


@pytest.fixture(autouse=True)
def empty_cache(tmp_path_factory, monkeypatch):
    """A cache of the test's own, and no folder named."""
    cache = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("XPNET_CACHE", str(cache))
    monkeypatch.delenv("XPNET_DATA", raising=False)
    return cache


class TestMnistFiles:
    @pytest.mark.parametrize("packed", [True, False], ids=["gzipped", "plain"])
    @pytest.mark.parametrize("subfolder", ["", "mnist"], ids=["in the folder", "in a subfolder"])
    @pytest.mark.parametrize("as_text", [True, False], ids=["str", "Path"])
    def test_is_read(self, tmp_path, packed, subfolder, as_text):
        arrays = synthetic()
        write(tmp_path / subfolder, arrays, packed=packed)
        data = mnist(str(tmp_path) if as_text else tmp_path)
        assert (data.x_train.shape, data.x_test.shape) == ((20, 784), (5, 784))
        assert {a.dtype.name for a in (data.x_train, data.x_test)} == {"float32"}
        assert {a.dtype.name for a in (data.y_train, data.y_test)} == {"int64"}
        np.testing.assert_array_equal(data.y_train, arrays[FILES[1]])
        np.testing.assert_array_equal(np.round(data.x_train * 255).reshape(20, 28, 28), arrays[FILES[0]])
        np.testing.assert_array_equal(np.round(data.x_test * 255).reshape(5, 28, 28), arrays[FILES[2]])
        assert (data.x_train.min(), data.x_train.max()) == (0, 1)
        assert data.x_train.flags.writeable

    def test_images_keep_their_axes_if_asked(self, tmp_path):
        write(tmp_path, synthetic())
        flat, images = mnist(tmp_path), mnist(tmp_path, flatten=False)
        assert images.x_train.shape == (20, 28, 28, 1)
        np.testing.assert_array_equal(images.x_train.reshape(20, 784), flat.x_train)
        assert repr(images) == "Dataset('mnist': 20 + 5 rows of (28, 28, 1), 10 classes)"

    def test_some_packed_and_some_not(self, tmp_path):
        arrays = synthetic()
        write(tmp_path, dict(list(arrays.items())[:2]), packed=False)
        write(tmp_path, dict(list(arrays.items())[2:]))
        assert len(mnist(tmp_path).x_train) == 20

    def test_environment_variable(self, tmp_path, monkeypatch):
        write(tmp_path / "here", synthetic())
        write(tmp_path / "there", synthetic(7))
        monkeypatch.setenv("XPNET_DATA", str(tmp_path / "here"))
        assert len(mnist().x_train) == 20
        assert len(mnist(tmp_path / "there").x_train) == 7  # the argument comes first

    def test_home_folder(self, tmp_path, monkeypatch):
        write(tmp_path / "data", synthetic())
        monkeypatch.setenv("HOME", str(tmp_path))
        assert len(mnist("~/data").x_train) == 20

    @pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
    def test_no_folder_named(self, monkeypatch, empty_cache, value):
        if value is not None:
            monkeypatch.setenv("XPNET_DATA", value)
        with pytest.raises(FileNotFoundError) as refused:
            mnist()
        assert str(refused.value) == (
            f"MNIST: {empty_cache} has no {FILES[0]} and no {FILES[0]}.gz. Pass download=True (--download), or put "
            f"{', '.join(f'{name}.gz' for name in FILES)} into {empty_cache / 'mnist'}, or name the folder that has them: "
            "by an argument (--data FOLDER) or in XPNET_DATA"
        )

    def test_the_cache_comes_after_the_folder_that_the_environment_names(self, tmp_path, monkeypatch, empty_cache):
        write(empty_cache / "mnist", synthetic(7))
        monkeypatch.setenv("XPNET_DATA", str(tmp_path))
        assert len(mnist().x_train) == 7
        write(tmp_path / "mnist", synthetic(9))
        assert len(mnist().x_train) == 9
        with pytest.raises(FileNotFoundError, match=r"elsewhere has no"):  # a folder that is asked for is the only one
            mnist(tmp_path / "elsewhere")

    @pytest.mark.parametrize("missing", FILES)
    def test_a_missing_file_is_named_with_its_folder(self, tmp_path, missing):
        arrays = synthetic()
        del arrays[missing]
        write(tmp_path, arrays)
        with pytest.raises(FileNotFoundError, match=rf"{re.escape(str(tmp_path))} has no {missing} and no {missing}\.gz"):
            mnist(tmp_path)

    def test_a_download_that_broke_off_does_not_hide_a_folder_that_has_all(self, tmp_path):
        arrays = synthetic(7)
        write(tmp_path, arrays)
        write(tmp_path / "mnist", {FILES[0]: arrays[FILES[0]]})
        assert len(mnist(tmp_path).x_train) == 7

    def test_a_missing_folder(self, tmp_path):
        with pytest.raises(FileNotFoundError, match="nowhere has no train-images-idx3-ubyte"):
            mnist(tmp_path / "nowhere")

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ({FILES[0]: np.zeros((20, 28, 27))}, r"train-images.*\(20, 28, 27\) with labels of shape \(20,\) are not MNIST"),
            ({FILES[1]: np.zeros(19)}, r"train-images.*\(20, 28, 28\) with labels of shape \(19,\) are not MNIST"),
            ({FILES[2]: np.zeros(5)}, r"t10k-images.*images of shape \(5,\)"),
            ({FILES[3]: np.zeros((5, 1))}, r"t10k-images.*labels of shape \(5, 1\)"),
            ({FILES[2]: np.zeros((0, 28, 28)), FILES[3]: np.zeros(0)}, r"t10k-images.*\(0, 28, 28\)"),
            ({FILES[1]: np.full(20, 10)}, r"train-labels.*\.gz has the label 10 of 10 classes: it is not MNIST"),
            ({FILES[3]: np.full(5, 255)}, r"t10k-labels.*\.gz has the label 255 of 10 classes: it is not MNIST"),
        ],
        ids=["image size", "lengths", "labels for images", "labels in a column", "no rows", "a label too large", "test label"],
    )
    def test_files_that_do_not_fit_together(self, tmp_path, change, message):
        write(tmp_path, synthetic() | change)
        with pytest.raises(ValueError, match=message):
            mnist(tmp_path)


class TestFashionMnist:
    def test_is_read_from_its_subfolder(self, tmp_path):
        write(tmp_path / "mnist", synthetic(7))
        write(tmp_path / "fashion-mnist", synthetic(9))
        assert (len(mnist(tmp_path).x_train), len(fashion_mnist(tmp_path).x_train)) == (7, 9)
        data = fashion_mnist(tmp_path, flatten=False)
        assert repr(data) == "Dataset('fashion-mnist': 9 + 5 rows of (28, 28, 1), 10 classes)"
        assert (data.classes[0], data.classes[9], data.licence) == ("T-shirt/top", "Ankle boot", "MIT")

    @pytest.mark.parametrize(
        ("read", "labels", "message"),
        [
            (fashion_mnist, [5, 0, 4, 1, 9, 2, 1, 3, 1, 4], "holds MNIST, whose files have the same names"),
            (mnist, [9, 0, 0, 3, 0, 2, 7, 2, 5, 5], "holds Fashion-MNIST, whose files have the same names"),
        ],
        ids=["digits for clothes", "clothes for digits"],
    )
    def test_the_other_set_is_not_taken_for_it(self, tmp_path, read, labels, message):
        """By the labels that the real sets begin with; what else has these names is somebody's own."""
        arrays = synthetic()
        arrays[FILES[1]][:10] = labels
        write(tmp_path, arrays)
        with pytest.raises(FileNotFoundError, match=message):
            read(tmp_path)
        assert len((mnist if read is fashion_mnist else fashion_mnist)(tmp_path).x_train) == 20
