"""Every picture that makes sense for a run."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

import xpnet as xn
from xpnet.cli.plot_run import LeftOut, Run
from xpnet.diagnostics import layer_report
from xpnet.plots.boundary import decision_boundary
from xpnet.plots.confusion import confusion_matrix
from xpnet.plots.curves import learning_curves
from xpnet.plots.filters import first_layer_filters
from xpnet.plots.gradients import gradient_flow
from xpnet.plots.mistakes import misclassified
from xpnet.plots.pixels import can_be_drawn
from xpnet.plots.predicted import predicted_against_true
from xpnet.plots.style import Figure, drawable
from xpnet.preprocessing import Classes, Columns, Number, Quantity
from xpnet.serving.pictures import form_of

BATCH = 256  # rows of the minibatch whose gradients are drawn


def draw(run: Run, names: Iterable[str]) -> Iterator[tuple[str, Figure | LeftOut]]:
    """The pictures of these names, each with its figure, or with why there is none."""
    for name in names:
        try:
            yield name, PICTURES[name](run)
        except LeftOut as why:
            yield name, why


def renamed(run: Run) -> list[str]:
    """Classes and inputs whose names no installed font can write, each behind what pictures call it: "class #0 is 猫"."""
    try:
        inputs, target = run.model.inputs, run.model.target
    except LeftOut:
        return []
    classes = target.names if isinstance(target, Classes) else ()
    columns = _column_names(inputs) if isinstance(inputs, Columns) else ()
    found = [("class", i, name) for i, name in enumerate(classes)] + [("input", i, name) for i, name in enumerate(columns)]
    return [f"{kind} #{i} is {name}" for kind, i, name in found if not drawable(name)]


def _curves(run: Run) -> Figure:
    return learning_curves(run.history)


def _confusion(run: Run) -> Figure:
    classes = _classes(run)
    found, _ = classes.decode(run.outputs)
    return confusion_matrix(run.data.y_held, found, classes.names)


def _mistakes(run: Run) -> Figure:
    classes, shape = _classes(run), _pixels(run)
    if shape is None:
        raise LeftOut("the inputs are no images")
    _, chances = classes.decode(run.outputs)
    return misclassified(run.data.x_held, run.data.y_held, chances, classes.names, shape)


def _filters(run: Run) -> Figure:
    inputs, shape = run.model.inputs, _pixels(run)
    if isinstance(inputs, Columns):
        return first_layer_filters(run.model.net, names=_column_names(inputs))
    return first_layer_filters(run.model.net, shape)


def _gradients(run: Run) -> Figure:
    loss = xn.SoftmaxCrossEntropy() if isinstance(run.model.target, Classes) else xn.MeanSquaredError()
    trainer = xn.Trainer(run.model.net, loss=loss, optimizer=xn.SGD(1.0), device=run.model.net.device)
    return gradient_flow(layer_report(trainer, run.data.x_train[:BATCH], run.data.y_train[:BATCH]))


def _boundary(run: Run) -> Figure:
    classes, x, net = _classes(run), run.data.x_held, run.model.net
    if x.shape[1:] != (2,):
        raise LeftOut(f"a plane has two inputs, the network takes {x[0].size}")
    columns, mean, std = _plane(run)
    return decision_boundary(
        lambda points: net.predict((points - mean) / std), x * std + mean, run.data.y_held, classes.names, columns=columns
    )


def _predicted(run: Run) -> Figure:
    goal = run.model.target
    if not isinstance(goal, Quantity):
        raise LeftOut("the target is a class, not a number")
    true, found = (goal.decode(values) for values in (run.data.y_held[:, None], run.outputs))
    return predicted_against_true(true, found, goal.name)


#: Names on the command line, of files too.
PICTURES: dict[str, Callable[[Run], Figure]] = {
    "learning-curves": _curves,
    "confusion-matrix": _confusion,
    "predicted-against-true": _predicted,
    "misclassified": _mistakes,
    "decision-boundary": _boundary,
    "first-layer-filters": _filters,
    "gradient-flow": _gradients,
}


def _classes(run: Run) -> Classes:
    if not isinstance(run.model.target, Classes):
        raise LeftOut("the target is a number, not a class")
    return run.model.target


def _pixels(run: Run) -> tuple[int, ...] | None:
    """The shape of the inputs as images, None where they are none."""
    inputs = run.model.inputs
    if isinstance(inputs, Columns):
        return None
    try:
        form = form_of(inputs, run.model.data)
    except ValueError:  # rows of something else
        form = None
    if form is not None:
        return form.shape
    return inputs.shape if can_be_drawn(inputs.shape) else None


def _column_names(inputs: Columns) -> list[str]:
    """A name for each input: the column's, with the category where it is text."""
    return [
        name
        for c in inputs.columns
        for name in ([c.name] if isinstance(c, Number) else [f"{c.name}: {category or 'missing'}" for category in c.categories])
    ]


def _plane(run: Run) -> tuple[tuple[str, str], np.ndarray, np.ndarray]:
    """Names of the two inputs, with mean and standard deviation that bring them back to their own unit."""
    inputs = run.model.inputs
    if not isinstance(inputs, Columns):
        return ("x1", "x2"), np.array(inputs.mean, np.float32), np.array(inputs.std, np.float32)
    one, two = _column_names(inputs)
    scales = [(c.mean, c.std) if isinstance(c, Number) else (0.0, 1.0) for c in inputs.columns for _ in range(c.width)]
    mean, std = np.array(scales, np.float32).T
    return (one, two), mean, std
