"""Confusion matrices."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from plot_helpers import drawn, texts, tick_names

import xpnet as xn
from xpnet.plots import confusion_matrix

pytestmark = pytest.mark.extras
pytest.importorskip("matplotlib")


def test_counts_and_shares():
    figure = drawn(confusion_matrix([0, 0, 0, 1, 1, 1, 1], [0, 0, 1, 1, 1, 1, 0], ["cat", "dog"]))
    axes = figure.axes[0]
    assert {t.get_position(): t.get_text() for t in axes.texts} == {
        (0, 0): "2\n66.7%",
        (1, 0): "1\n33.3%",  # x is the predicted class
        (0, 1): "1\n25.0%",
        (1, 1): "3\n75.0%",
    }
    np.testing.assert_allclose(axes.get_images()[0].get_array(), [[2 / 3, 1 / 3], [0.25, 0.75]])
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted class", "true class (its rows)")
    assert axes.get_title() == "5 of 7 right, 71.4%"
    assert tick_names(axes.xaxis) == ["cat", "dog"]
    assert tick_names(axes.yaxis) == ["cat (3)", "dog (4)"]


def test_labels_that_are_true_or_false():
    axes = drawn(confusion_matrix([True, False], np.array([True, True]), ["no", "yes"])).axes[0]
    assert {t.get_position(): t.get_text() for t in axes.texts} == {(1, 0): "1\n100.0%", (1, 1): "1\n100.0%"}


def test_labels_on_a_device_are_refused():
    with pytest.raises(xn.DeviceMismatch, match=r"confusion_matrix: labels lies on a device"):
        confusion_matrix(xn.device("sim").put(np.arange(2)), [0, 1], "ab")


def test_a_class_that_is_not_seen_is_grey():
    axes = drawn(confusion_matrix([0, 0], [0, 2], ["a", "b", "c"])).axes[0]
    assert tick_names(axes.yaxis) == ["a (2)", "b (0)", "c (0)"]
    image = axes.get_images()[0]
    colours = image.cmap(image.norm(image.get_array()))
    assert (np.ptp(colours[1:, :, :3], axis=2) < 0.01).all()
    assert np.ptp(colours[0, 0, :3]) > 0.2


def test_zeros_are_left_empty():
    axes = drawn(confusion_matrix([0, 1, 2], [0, 1, 2], "abc")).axes[0]
    assert texts(axes) == ["1\n100.0%"] * 3


def labels(classes, n, rng):
    true = rng.integers(0, classes, n)
    return true, np.where(rng.random(n) < 0.2, rng.integers(0, classes, n), true)


def test_twenty_classes_have_counts(rng):
    true, found = labels(20, 2000, rng)
    axes = drawn(confusion_matrix(true, found, [f"class {i}" for i in range(20)])).axes[0]
    cells = {t.get_position(): t.get_text() for t in axes.texts}
    assert cells[3, 3] == str(((true == 3) & (found == 3)).sum())
    assert len(tick_names(axes.xaxis)) == 20


def test_a_hundred_classes_have_a_list_of_mistakes(rng):
    true, found = labels(100, 5000, rng)
    true[:7], found[:7] = 41, 13
    found[true == 60] = true[true == 60] = 61
    matrix, beside, _ = drawn(confusion_matrix(true, found, [f"class {i}" for i in range(100)])).axes
    assert not matrix.texts
    assert tick_names(matrix.xaxis)[:3] == ["class 0", "class 4", "class 8"]
    (listed,) = texts(beside)
    lines = listed.split("\n")
    worst = ((true == 41) & (found == 13)).sum()
    assert lines[3] == f"{worst}  class 41 → class 13"
    assert lines[-1] == "grey: 1 class without rows"


def test_a_hundred_classes_and_no_mistake():
    true = np.arange(100)
    _, beside, _ = drawn(confusion_matrix(true, true, list(map(str, true)))).axes
    assert texts(beside) == ["no mistakes"]


@pytest.mark.parametrize("classes", [2, 10, 25, 26, 100])
def test_nothing_is_cut_off_and_no_names_overlap(classes, rng):
    true, found = labels(classes, 3000, rng)
    figure = confusion_matrix(true, found, [f"a long name of class {i}" for i in range(classes)])
    canvas = pytest.importorskip("matplotlib.backends.backend_agg").FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    page = figure.get_window_extent(renderer)
    axes = figure.axes[0]
    for axis in (axes.xaxis, axes.yaxis):
        boxes = [text.get_window_extent(renderer) for text in axis.get_ticklabels()] + [axis.label.get_window_extent(renderer)]
        assert all(page.x0 <= box.x0 and box.x1 <= page.x1 and page.y0 <= box.y0 and box.y1 <= page.y1 for box in boxes)
        assert not any(one.overlaps(other) for one, other in itertools.pairwise(boxes[:-1]))


@pytest.mark.parametrize(
    ("true", "found", "message"),
    [
        ([0, 1], [0], "2 labels and 1 predictions"),
        ([0, 2], [0, 1], "labels reach from 0 to 2, but there are 2 names: 0 to 1"),
        ([0, 1], [0, -1], "predicted reach from -1 to 0"),
        ([0.0, 1.0], [0, 1], r"labels: float64 of shape \(2,\): whole numbers"),
        ([[0, 1]], [0, 1], r"shape \(1, 2\)"),
        ([], [], "at least one"),
        ([True, True], [2, 0], "predicted reach from 0 to 2"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_refused(true, found, message):
    with pytest.raises(ValueError, match=message):
        confusion_matrix(true, found, ["a", "b"])
