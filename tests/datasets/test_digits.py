"""The embedded digits, and labels as one-hot rows."""

from __future__ import annotations

import hashlib

import numpy as np
import pytest

from xpnet.datasets import digits, one_hot


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

    @pytest.mark.parametrize(
        ("labels", "said"),
        [([0, 3], "from 0 to 3"), ([-1, 1], "from -1 to 1"), ([0.5], "of type float64"), (["a"], "of type <U1")],
        ids=["too large", "negative", "fraction", "string"],
    )
    def test_refused(self, labels, said):
        with pytest.raises(ValueError, match=rf"one_hot: labels {said}: integers in 0\.\.2 are needed"):
            one_hot(np.array(labels), 3)
