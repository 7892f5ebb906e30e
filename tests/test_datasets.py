"""Data sets: the embedded digits, IDX files and what can be wrong with them, and the book's program on real MNIST."""

from __future__ import annotations

import gzip
import hashlib
import itertools
import re
import struct

import numpy as np
import pytest

import xpnet as xn
from xpnet.datasets import digits, mnist, one_hot, read_idx

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


@pytest.fixture(scope="module")
def data():
    return digits()


class TestDigits:
    def test_shapes_and_types(self, data):
        assert (data.x_train.shape, data.y_train.shape) == ((1437, 64), (1437,))
        assert (data.x_test.shape, data.y_test.shape) == ((360, 64), (360,))
        assert {a.dtype.name for a in (data.x_train, data.x_test)} == {"float32"}
        assert {a.dtype.name for a in (data.y_train, data.y_test)} == {"int64"}
        assert all(a.flags.c_contiguous and a.flags.writeable for a in (data.x_train, data.y_train, data.x_test, data.y_test))

    def test_pixels_are_counts_of_sixteenths(self, data):
        x = np.concatenate([data.x_train, data.x_test])
        assert (x.min(), x.max()) == (0, 1)
        np.testing.assert_array_equal(x * 16, np.round(x * 16))
        assert len(np.unique(x)) == 17

    def test_counts_by_class(self, data):
        assert np.bincount(data.y_train).tolist() == [142, 146, 142, 146, 145, 145, 145, 143, 139, 144]
        assert np.bincount(data.y_test).tolist() == [36, 36, 35, 37, 36, 37, 36, 36, 35, 36]

    def test_the_split_is_stratified(self, data):
        train, test = np.bincount(data.y_train), np.bincount(data.y_test)
        np.testing.assert_allclose(test / (train + test), 360 / 1797, atol=0.003)

    def test_the_split_is_disjoint(self, data):
        """No two of the 1,797 images are the same, so rows tell whether the parts overlap."""
        train, test = ({row.tobytes() for row in x} for x in (data.x_train, data.x_test))
        assert (len(train), len(test)) == (1437, 360)
        assert train.isdisjoint(test)

    def test_checksum(self, data):
        digest = hashlib.sha256()
        for a in (data.x_train, data.y_train, data.x_test, data.y_test):
            digest.update(a.astype(a.dtype.newbyteorder("<")).tobytes())
        assert digest.hexdigest() == "ec147f7577058f9f502230e8e32fe46bb7906599b2385303be3fe062b21d4244"

    def test_every_call_gives_arrays_of_the_callers_own(self, data):
        other = digits()
        other.x_train[...] = 0
        assert data.x_train.any()
        assert digits().x_train.any()

    def test_source_licence_and_repr(self, data):
        assert data.name == "digits"
        assert data.classes == tuple("0123456789")
        assert data.licence == "CC BY 4.0"
        assert "UCI" in data.source
        assert repr(data) == "Dataset('digits': 1437 + 360 rows of (64), 10 classes)"

    def test_it_is_the_set_it_says(self, data):
        """Class means of the zeros and the ones: a ring with an empty middle, a filled middle."""
        mean = [data.x_train[data.y_train == k].mean(axis=0).reshape(8, 8) for k in range(10)]
        assert mean[0][3:5, 3:5].mean() < 0.15
        assert mean[1][3:5, 3:5].mean() > 0.7


class TestOneHot:
    @pytest.mark.parametrize(
        "labels", [[2, 0, 1], np.array([2, 0, 1], np.uint8), np.array([2, 0, 1])], ids=["list", "uint8", "int64"]
    )
    def test_rows(self, labels):
        found = one_hot(labels, 4)
        np.testing.assert_array_equal(found, [[0, 0, 1, 0], [1, 0, 0, 0], [0, 1, 0, 0]])
        assert found.dtype == np.float32

    def test_dtype(self):
        assert one_hot(np.array([1]), 2, "float64").dtype == np.float64

    def test_no_labels(self):
        assert one_hot(np.array([], int), 3).shape == (0, 3)

    @pytest.mark.parametrize("labels", [[3], [-1], [0.5], ["a"]], ids=["too large", "negative", "fraction", "string"])
    def test_refused(self, labels):
        with pytest.raises(ValueError, match=r"one_hot: integer labels in 0\.\.2 are needed"):
            one_hot(np.array(labels), 3)


def idx(a):
    """The bytes of an IDX file of unsigned bytes."""
    a = np.asarray(a, np.uint8)
    return bytes([0, 0, 8, a.ndim]) + struct.pack(f">{a.ndim}I", *a.shape) + a.tobytes()


def synthetic(n_train=20, n_test=5):
    """Arrays that look like MNIST's four files."""
    rng = np.random.default_rng(0)
    return {
        FILES[0]: rng.integers(0, 256, (n_train, 28, 28), np.uint8),
        FILES[1]: rng.integers(0, 10, n_train, np.uint8),
        FILES[2]: rng.integers(0, 256, (n_test, 28, 28), np.uint8),
        FILES[3]: rng.integers(0, 10, n_test, np.uint8),
    }


def write(folder, arrays, *, packed=True):
    folder.mkdir(parents=True, exist_ok=True)
    for name, a in arrays.items():
        content = a if isinstance(a, bytes) else idx(a)
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return folder


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
    def test_no_folder_named(self, monkeypatch, value):
        monkeypatch.delenv("XPNET_DATA", raising=False)
        if value is not None:
            monkeypatch.setenv("XPNET_DATA", value)
        with pytest.raises(FileNotFoundError, match=r"(?s)train-images-idx3-ubyte\.gz.*--data FOLDER.*XPNET_DATA"):
            mnist()

    @pytest.mark.parametrize("missing", FILES)
    def test_a_missing_file_is_named_with_its_folder(self, tmp_path, missing):
        arrays = synthetic()
        del arrays[missing]
        write(tmp_path, arrays)
        with pytest.raises(FileNotFoundError, match=rf"{re.escape(str(tmp_path))} has no {missing} and no {missing}\.gz"):
            mnist(tmp_path)

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
        ],
        ids=["image size", "lengths", "labels for images", "labels in a column"],
    )
    def test_files_that_do_not_fit_together(self, tmp_path, change, message):
        write(tmp_path, synthetic() | change)
        with pytest.raises(ValueError, match=message):
            mnist(tmp_path)


GOOD = idx(np.arange(24).reshape(2, 3, 4))

# name: (the content of a plain file, part of the message)
DAMAGED = {
    "empty": (b"", "is not an IDX file of unsigned bytes"),
    "too short for a header": (GOOD[:3], "is not an IDX file"),
    "header cut off": (GOOD[:10], "is not an IDX file"),
    "truncated": (GOOD[:-1], r"says it holds \(2, 3, 4\), 24 bytes, but it has 23: it is damaged"),
    "nothing but a header": (GOOD[:16], r"24 bytes, but it has 0: it is damaged"),
    "too long": (GOOD + b"x", r"24 bytes, but it has 25: it is damaged"),
    "wrong magic": (b"\x01" + GOOD[1:], "is not an IDX file"),
    "another element type": (b"\x00\x00\x0d" + GOOD[3:], "is not an IDX file of unsigned bytes"),
    "lying header": (GOOD[:4] + struct.pack(">3I", 2**31, 2**31, 2**31) + GOOD[16:], r"but it has 24: it is damaged"),
    "a size of zero": (GOOD[:4] + struct.pack(">3I", 0, 3, 4) + GOOD[16:], r"\(0, 3, 4\), 0 bytes, but it has 24"),
    "a web page": (b"<!DOCTYPE html><html>404 Not Found</html>", "is not an IDX file"),
}


class TestReadIdx:
    @pytest.mark.parametrize(
        "a",
        [np.arange(24).reshape(2, 3, 4), np.arange(5), np.zeros((0, 28, 28)), np.full((1, 1), 255)],
        ids=["3 axes", "1 axis", "no rows", "255"],
    )
    @pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzipped"])
    def test_round_trip(self, tmp_path, a, suffix):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(gzip.compress(idx(a)) if suffix else idx(a))
        found = read_idx(path)
        assert (found.dtype, found.shape) == (np.uint8, a.shape)
        np.testing.assert_array_equal(found, a)

    @pytest.mark.parametrize(("content", "message"), DAMAGED.values(), ids=DAMAGED)
    @pytest.mark.parametrize("suffix", ["", ".gz"], ids=["plain", "gzipped"])
    def test_damaged_files(self, tmp_path, content, message, suffix):
        path = tmp_path / f"file{suffix}"
        path.write_bytes(gzip.compress(content) if suffix else content)
        with pytest.raises(ValueError, match=rf"{re.escape(str(path))} .*{message}"):
            read_idx(path)

    @pytest.mark.parametrize(
        "content",
        [GOOD, gzip.compress(GOOD)[:-9], gzip.compress(GOOD)[:5], b"\x1f\x8b" + GOOD, gzip.compress(GOOD)[:-8] + bytes(8)],
        ids=["not gzipped", "truncated", "header only", "gzip's magic only", "wrong checksum"],
    )
    def test_damaged_gzip_files(self, tmp_path, content):
        path = tmp_path / "file.gz"
        path.write_bytes(content)
        with pytest.raises(ValueError, match=rf"{re.escape(str(path))} cannot be unpacked .*damaged or not gzipped"):
            read_idx(path)

    @pytest.mark.parametrize("place", [10, 12, 20, 300, 900])
    def test_damaged_deflate_data(self, tmp_path, place):
        packed = bytearray(gzip.compress(idx(np.random.default_rng(0).integers(0, 40, 2000))))
        packed[place : place + 20] = bytes(range(200, 220))
        path = tmp_path / "file.gz"
        path.write_bytes(packed)
        with pytest.raises(ValueError, match="cannot be unpacked"):
            read_idx(path)

    def test_a_file_that_is_not_there(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            read_idx(tmp_path / "nothing.gz")

    def test_a_folder(self, tmp_path):
        with pytest.raises(IsADirectoryError):
            read_idx(tmp_path)


class TestRealMnist:
    def test_shapes_and_counts(self, mnist):
        assert (mnist.x_train.shape, mnist.x_test.shape) == ((60_000, 784), (10_000, 784))
        assert np.bincount(mnist.y_train).tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
        assert np.bincount(mnist.y_test).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
        assert mnist.y_train[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
        assert mnist.y_test[:10].tolist() == [7, 2, 1, 0, 4, 1, 4, 9, 5, 9]

    def test_pixels(self, mnist):
        assert (mnist.x_train.min(), mnist.x_train.max()) == (0, 1)
        assert mnist.x_train.mean() == pytest.approx(0.1307, abs=1e-4)
        assert mnist.x_train.std() == pytest.approx(0.3081, abs=1e-4)

    def test_against_the_book_step_by_step(self, device, mnist):
        """300 minibatches of 10: the parameters of the matrix form and of the book's per-sample program stay equal."""
        sizes, eta = [784, 30, 10], 3.0
        x = mnist.x_train[:3000].astype(np.float64)
        y = one_hot(mnist.y_train[:3000], 10, "float64")
        book = Book(sizes, np.random.default_rng(7))
        net = xn.Sequential(xn.Affine(30), xn.Sigmoid(), xn.Affine(10), xn.Sigmoid())
        net.build((784,), device=device, dtype="float64")
        net.parameters.restore(book.as_parameters())
        start = book.as_parameters()
        trainer = xn.Trainer(net, loss=xn.HalfSquaredError(), optimizer=xn.SGD(eta), device=device)
        worst = 0.0
        for k in range(300):
            rows = slice(10 * k, 10 * k + 10)
            book.update_mini_batch([(a[:, None], b[:, None]) for a, b in zip(x[rows], y[rows], strict=True)], eta)
            trainer.step(device.put(x[rows]), device.put(y[rows]))
            if k % 50 == 49:
                found = net.parameters.snapshot()
                worst = max(worst, *(np.abs(found[name] - a).max() for name, a in book.as_parameters().items()))
        assert worst < 1e-9
        assert all(np.abs(a - start[name]).max() > 0.1 for name, a in book.as_parameters().items())
        guesses = trainer.predict(x[:200]).argmax(axis=1)
        assert guesses.tolist() == [int(book.feedforward(a[:, None]).argmax()) for a in x[:200]]


class Book:
    """The program of Nielsen's chapter 1, from its description: column vectors, one sample at a time, float64."""

    def __init__(self, sizes, rng):
        self.biases = [rng.standard_normal((n, 1)) for n in sizes[1:]]
        self.weights = [rng.standard_normal((n, m)) for m, n in itertools.pairwise(sizes)]

    def feedforward(self, a):
        for w, b in zip(self.weights, self.biases, strict=True):
            a = self.sigmoid(w @ a + b)
        return a

    def update_mini_batch(self, batch, eta):
        sum_b, sum_w = [np.zeros_like(b) for b in self.biases], [np.zeros_like(w) for w in self.weights]
        for x, y in batch:
            grad_b, grad_w = self.backprop(x, y)
            sum_b = [s + g for s, g in zip(sum_b, grad_b, strict=True)]
            sum_w = [s + g for s, g in zip(sum_w, grad_w, strict=True)]
        self.weights = [w - eta / len(batch) * g for w, g in zip(self.weights, sum_w, strict=True)]
        self.biases = [b - eta / len(batch) * g for b, g in zip(self.biases, sum_b, strict=True)]

    def backprop(self, x, y):
        activations, zs = [x], []
        for w, b in zip(self.weights, self.biases, strict=True):
            zs.append(w @ activations[-1] + b)
            activations.append(self.sigmoid(zs[-1]))
        grad_b, grad_w = [None] * len(zs), [None] * len(zs)
        delta = (activations[-1] - y) * self.slope(zs[-1])
        for layer in range(len(zs) - 1, -1, -1):
            if layer < len(zs) - 1:
                delta = (self.weights[layer + 1].T @ delta) * self.slope(zs[layer])
            grad_b[layer], grad_w[layer] = delta, delta @ activations[layer].T
        return grad_b, grad_w

    @staticmethod
    def sigmoid(z):
        return 1 / (1 + np.exp(-z))

    def slope(self, z):
        return self.sigmoid(z) * (1 - self.sigmoid(z))

    def as_parameters(self):
        """The weights and biases by xpnet's names and in its shapes."""
        found = {}
        for k, (w, b) in enumerate(zip(self.weights, self.biases, strict=True)):
            found[f"{2 * k}.W"], found[f"{2 * k}.b"] = w.T.copy(), b[:, 0].copy()
        return found
