"""Decision boundaries, predictions beside the truth, and gradients layer by layer."""

from __future__ import annotations

import math

import numpy as np
import pytest
from core_helpers import classes_data
from plot_helpers import drawn, legend, line, tick_names
from trainer_helpers import make

import xpnet as xn
from xpnet.diagnostics import LayerReport, Report, layer_report
from xpnet.plots import decision_boundary, gradient_flow, predicted_against_true
from xpnet.plots.style import colour

pytestmark = pytest.mark.extras
matplotlib = pytest.importorskip("matplotlib")

X = np.array([[0, 0], [1, 0], [0, 2], [1, 2]], np.float32)


def plane(axes):
    """Colours (rows, columns, 3) of the plane, and its extent."""
    (image,) = axes.get_images()
    return np.asarray(image.get_array()), image.get_extent()


def ink(i):
    return np.array(__import__("matplotlib.colors").colors.to_rgb(colour(i)))


def hue(rgb):
    """A colour without its share of white, to be compared."""
    gone = 1 - rgb
    return gone / gone.max()


class TestBoundary:
    def test_the_plane_and_the_samples(self):
        (axes,) = drawn(decision_boundary(lambda p: np.stack([-p[:, 0], p[:, 0] - 1], 1) * 9, X, [0, 1, 0, 1], ["a", "b"])).axes
        colours, extent = plane(axes)
        assert extent == pytest.approx((-0.15, 1.15, -0.3, 2.3))  # 15 % beyond the samples
        np.testing.assert_allclose(hue(colours[10, 10]), hue(ink(0)))
        np.testing.assert_allclose(hue(colours[10, -10]), hue(ink(1)))
        assert colours[10, 10].max() < colours[10, 150].max()  # less sure near the boundary
        (boundary, *_) = [c for c in axes.collections if hasattr(c, "levels")]
        assert np.concatenate(boundary.get_paths()[0].vertices[:, :1]) == pytest.approx(0.5, abs=0.01)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("x1", "x2")
        assert legend(axes) == ["a", "b"]
        points = [c for c in axes.collections if len(c.get_offsets()) > 1]
        np.testing.assert_array_equal(points[1].get_offsets(), X[[1, 3]])

    @pytest.mark.parametrize("shape", [(-1,), (-1, 1)], ids=str)
    def test_one_logit_of_two_classes(self, shape):
        (axes,) = drawn(decision_boundary(lambda p: (20 * (p[:, 1] - 1)).reshape(shape), X, [0, 0, 1, 1], ["no", "yes"])).axes
        colours, _ = plane(axes)
        np.testing.assert_allclose(hue(colours[0, 0]), hue(ink(0)), atol=1e-6)
        np.testing.assert_allclose(hue(colours[-1, 0]), hue(ink(1)), atol=1e-6)

    @pytest.mark.parametrize(("last", "share"), [([], 0.5 + 0.5 * math.tanh(0.3)), ([xn.Sigmoid()], 1 / (1 + math.exp(-0.6)))])
    def test_a_network_of_one_output(self, device, last, share):
        net = xn.Sequential(xn.Affine(1), *last).build(2, device=device)
        net.parameters.restore({"0.W": [[0], [0]], "0.b": [0.6]})
        colours, _ = plane(drawn(decision_boundary(net, X, [0, 0, 1, 1], ["no", "yes"])).axes[0])
        expected = 1 - (0.12 + 0.43 * (2 * share - 1)) * (1 - ink(1))
        np.testing.assert_allclose(colours[5, 5], expected, atol=1e-6)

    @pytest.mark.parametrize(
        ("data", "classes"),
        [(xn.datasets.spirals(60), 2), (xn.datasets.xor(), 2), (xn.datasets.blobs(60, 4), 4)],
        ids=["spirals", "xor", "blobs"],
    )
    def test_data_sets_of_the_plane(self, data, classes):
        trainer = xn.Trainer(
            xn.Sequential(xn.Affine(classes)), loss=xn.SoftmaxCrossEntropy(), optimizer=xn.Adam(), device="cpu"
        )
        trainer.fit(data.x_train, data.y_train, progress=False)
        (axes,) = drawn(decision_boundary(trainer, data.x_test, data.y_test, data.classes)).axes
        logits = trainer.predict(np.array([[plane(axes)[1][0], plane(axes)[1][2]]], np.float32))
        np.testing.assert_allclose(hue(plane(axes)[0][0, 0]), hue(ink(logits.argmax())), atol=1e-6)
        assert legend(axes) == list(data.classes)

    def test_a_network_that_ends_in_probabilities(self):
        net = xn.Sequential(xn.Affine(2), xn.Softmax()).build(2)
        net.parameters.restore({"0.W": np.zeros((2, 2)), "0.b": np.log([0.25, 0.75])})
        colours, _ = plane(drawn(decision_boundary(net, X, [0, 0, 1, 1], ["no", "yes"])).axes[0])
        np.testing.assert_allclose(colours[5, 5], 1 - (0.12 + 0.43 * 0.5) * (1 - ink(1)), atol=1e-6)

    def test_samples_that_are_all_alike(self):
        columns = ["height, cm", "weight, kg"]
        (axes,) = drawn(decision_boundary(lambda p: p, X[:1], [0], ["a", "b"], columns=columns)).axes
        assert axes.get_xlim() == (-1, 1)
        assert (axes.get_xlabel(), axes.get_ylabel()) == ("height, cm", "weight, kg")

    def test_sigmoids_that_are_all_0(self):
        net = xn.Sequential(xn.Affine(3), xn.Sigmoid()).build(2)
        net.parameters.restore({"0.W": np.zeros((2, 3)), "0.b": np.full(3, -1e4)})
        colours, _ = plane(drawn(decision_boundary(net, X, [0, 0, 1, 2], "abc")).axes[0])
        np.testing.assert_allclose(colours[5, 5], 1 - 0.12 * (1 - ink(0)))  # no class is likelier than another

    @pytest.mark.parametrize("columns", [("a",), ("a", "b", "c"), "ab"], ids=str)
    def test_two_names_of_columns(self, columns):
        with pytest.raises(ValueError, match="two names, one for each input"):
            decision_boundary(lambda p: p, X, [0, 1, 0, 1], "ab", columns=columns)

    def test_arrays_of_a_device(self):
        put = xn.device("sim").put
        for function, x, name in ((lambda p: p, put(X), "x"), (put, X, "outputs")):
            with pytest.raises(xn.DeviceMismatch, match=rf"decision_boundary: {name} lies on a device: .* device\.get"):
                decision_boundary(function, x, [0, 1, 0, 1], "ab")

    @pytest.mark.parametrize(
        ("function", "x", "names", "message"),
        [
            (lambda p: p, np.zeros((2, 3)), "ab", r"rows of shape \(3,\): a plane has two inputs"),
            (lambda p: p, X, "ab", "2 rows of one axis"),
            (lambda p: p, X[:2], "abc", "the network has 2 outputs, but there are 3 names"),
            (lambda p: p * np.nan, X[:2], "ab", "outputs are not finite"),
            (lambda p: p, X[:2] * np.nan, "ab", r"decision_boundary: x: nan at index \(0, 0\)"),
            (lambda p: p, X[:2].astype(float) * 1e300, "ab", "the plane is in float32, scale x first"),
            (lambda p: (p[:, 0] > 0).astype(int), X[:2], "ab", "outputs are int64: a function of points that gives logits"),
        ],
        ids=["three inputs", "rows", "outputs", "NaN", "NaN in x", "too large", "labels"],
    )
    def test_refused(self, function, x, names, message):
        with pytest.raises(ValueError, match=message):
            decision_boundary(function, x, [0, 1], names)


class TestPredicted:
    def test_points_on_both_sides_of_the_line(self):
        (axes,) = drawn(predicted_against_true([1, 2, 4], [1, 3, 4], "price, $")).axes
        assert line(axes, "3 rows") == ([1, 2, 4], [1, 3, 4])
        assert line(axes, "right") == ([1, 4], [1, 4])
        assert axes.get_title() == f"RMSE {math.sqrt(1 / 3):.4g}"
        assert axes.get_xlabel() == r"true price, \$"
        assert axes.get_aspect() == 1

    @pytest.mark.parametrize(
        ("true", "predicted", "message"),
        [
            ([1, 2], [1], r"\(2,\) true values and \(1,\) predictions"),
            ([], [], "at least 1"),
            ([1], [math.nan], "NaN or infinite"),
            ([1], [-1e308], r"values beyond 1e\+150 cannot be drawn"),
            ([1], ["a"], "values of type int64 and <U1: numbers are needed"),
            ([[1, 2], [1]], [1], "true: rows of different length"),
            (xn.device("sim").put(X[0]), [1, 2], r"true lies on a device: bring it to the host by device\.get"),
            ([1, 2], xn.device("sim").put(X[0]), "predicted lies on a device"),
        ],
        ids=str,
    )
    def test_refused(self, true, predicted, message):
        with pytest.raises((ValueError, xn.DeviceMismatch), match=message):
            predicted_against_true(true, predicted)


def report(*layers):
    rows = {str(i): LayerReport(delta=delta, gradient=gradient) for i, (delta, gradient) in enumerate(layers)}
    return Report(1, 1, 0.5, rows, {path: f"{path}: Affine" for path in rows})


class TestGradientFlow:
    def test_one_minibatch(self, device):
        trainer = make(device, dropout=0)
        trainer.build(4)
        before = trainer.net.parameters.snapshot()
        found = layer_report(trainer, *classes_data(20))
        (axes,) = drawn(gradient_flow(found)).axes
        assert tick_names(axes.xaxis) == ["0: Affine", "1: Tanh", "2: Affine"]
        rows = found.layers.values()
        assert line(axes, "by the layer's output") == ([0, 1, 2], [row.delta for row in rows])
        assert line(axes, "by its parameters") == ([0, 2], [row.gradient for row in rows if not math.isnan(row.gradient)])
        assert (axes.get_xlabel(), axes.get_ylabel(), axes.get_yscale()) == ("layer", "norm of the loss's gradient", "log")
        np.testing.assert_equal(trainer.net.parameters.snapshot(), before)  # the step was not taken
        assert trainer.net.steps_begun == 0

    def test_a_minibatch_s_report_is_that_of_the_training(self, device):
        """The report of a training on one minibatch, before whose step nothing has happened."""
        x, y = classes_data(20)
        trainer = make(device, dropout=0).build(4)
        alone = layer_report(trainer, x, y)

        class First(xn.Callback):
            def begin_epoch(self, trainer, steps, batches):
                self.report = layer_report(trainer, x, y)

        first = First()
        trainer.callbacks = (first,)
        trainer.fit(x, y, batch_size=None, shuffle=False, progress=False)
        np.testing.assert_equal(first.report.numbers(), alone.numbers())
        assert alone.loss == pytest.approx(trainer.history["loss"][0], rel=1e-6)

    def test_what_a_logarithm_has_not_is_on_the_edges(self):
        (axes,) = drawn(gradient_flow(report((0.0, 1.0), (math.inf, 2.0), (3.0, math.nan)))).axes
        assert line(axes, "by the layer's output") == ([2], [3])
        assert line(axes, "by the layer's output: 0")[0] == [0]
        assert line(axes, "by the layer's output: not finite")[0] == [1]
        assert line(axes, "by its parameters") == ([0, 1], [1, 2])

    def test_a_diverged_network_lies_on_the_upper_edge(self):
        trainer = make(dropout=0).build(4)
        trainer.net.parameters.value[...] = np.nan
        found = layer_report(trainer, *classes_data(20))
        assert [row.delta for row in found.layers.values()] == [math.inf] * 3
        assert [row.gradient for row in found.layers.values()] == [math.inf, pytest.approx(math.nan, nan_ok=True), math.inf]
        assert found.layers["0"].update_ratio == math.inf
        (axes,) = drawn(gradient_flow(found)).axes
        assert line(axes, "by the layer's output: not finite")[0] == [0, 1, 2]
        assert line(axes, "by its parameters: not finite")[0] == [0, 2]
        assert not len(axes.get_yticks())

    @pytest.mark.parametrize("given", [{}, None, {"a": report((1.0, 1.0))}, [report((1.0, 1.0))]], ids=str)
    def test_what_is_no_report_is_refused(self, given):
        with pytest.raises(TypeError, match="a report of LayerStatistics or layer_report is needed"):
            gradient_flow(given)

    def test_all_zero(self):
        (axes,) = drawn(gradient_flow(report((0.0, 0.0)))).axes
        assert axes.get_yscale() == "linear"

    def test_many_layers(self):
        net = xn.Sequential(*[xn.Affine(3) for _ in range(100)]).build(4)
        trainer = xn.Trainer(net, loss=xn.SoftmaxCrossEntropy(), optimizer=xn.SGD(0.1), device="cpu")
        (axes,) = drawn(gradient_flow(layer_report(trainer, *classes_data(9)))).axes
        assert tick_names(axes.xaxis) == [f"{i}: Affine" for i in range(0, 100, 4)]

    def test_refused(self):
        trainer = make().build(4)
        with pytest.raises(ValueError, match="x has 3 rows, y has 2"):
            layer_report(trainer, np.zeros((3, 4)), [0, 1])
        with pytest.raises(xn.NotBuilt):
            layer_report(make(), *classes_data(9))
