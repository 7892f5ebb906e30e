"""The classifier."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import ClassifierMixin
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from xpnet.backends import Device
from xpnet.losses import Loss, SoftmaxCrossEntropy
from xpnet.optimizers import Optimizer
from xpnet.schedules import Schedule
from xpnet.sklearn.base import Estimator
from xpnet.sklearn.parts import Layers
from xpnet.sklearn.targets import Indicators, Labels, Target
from xpnet.training import EarlyStopping, Trainer


class XPClassifier(ClassifierMixin, Estimator):
    """A network that tells classes apart, or with y (N, labels) of 0 and 1 says yes or no to several labels.

    Scale the inputs: ``make_pipeline(StandardScaler(), XPClassifier())``. X is dense, a table (N, features) or images
    (N, height, width, channels), on the host; the network computes in float32.

    layers: widths of hidden layers, ``(100,)``; or layers of xpnet in a list, a Sequential, or a function of the number of
        features (for images the shape of one) and of outputs that returns a Sequential, where the last layer gives one number
        for each class, without Softmax. They are copied, never trained; a network that is built begins with its parameters.
    activation: of hidden layers given by widths: relu, tanh, sigmoid, leaky-relu, elu, gelu, silu, softplus.
    optimizer: sgd, momentum, nesterov, adagrad, rmsprop, adam, adamw, or an optimizer of xpnet.
    learning_rate, l2: a number or schedule, and the factor of the penalty ``l2 / 2 * |w|**2``; None: the optimizer's own.
    batch_size: rows for each update; None: all.
    epochs: passes over the rows, at most, where early stopping may end them.
    class_weight: a mapping from class to weight, or "balanced".
    early_stopping: True, or a number of epochs (True: 10) without a smaller loss on ``validation_fraction`` of the rows, which
        are held out (of each class the same share; 0: the training loss is watched); the best epoch's parameters are kept.
        Or an EarlyStopping.
    warm_start: whether ``fit`` goes on where the last call ended.
    callbacks: functions of trainer and record after each epoch, or Callbacks. verbose: a line for each epoch.
    device: auto, cpu, cpu-fast, cuda, cuda:1, sim. dtype: float32 or float64.
    random_state: rules initial values, the order of rows, which are held out, and random masks.

    Fitted: ``net_``, ``trainer_``, ``history_`` (lists by epoch), ``classes_``, ``n_features_in_``, ``feature_names_in_``,
    ``n_iter_``, ``loss_``.
    """

    _target: Labels | Indicators

    def __init__(
        self,
        layers: Layers = (100,),
        *,
        activation: str = "relu",
        optimizer: str | Optimizer = "adam",
        learning_rate: float | Schedule | None = None,
        l2: float | None = None,
        batch_size: int | None = 32,
        epochs: int = 100,
        class_weight: Mapping[Any, float] | str | None = None,
        early_stopping: bool | int | EarlyStopping = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        callbacks: Sequence = (),
        device: str | Device = "auto",
        dtype: str = "float32",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        super().__init__(
            layers,
            activation=activation,
            optimizer=optimizer,
            learning_rate=learning_rate,
            l2=l2,
            batch_size=batch_size,
            epochs=epochs,
            early_stopping=early_stopping,
            validation_fraction=validation_fraction,
            warm_start=warm_start,
            callbacks=callbacks,
            device=device,
            dtype=dtype,
            random_state=random_state,
            verbose=verbose,
        )
        self.class_weight = class_weight

    def partial_fit(self, X: Any, y: Any, classes: Any = None, sample_weight: Any = None) -> Self:
        """One more epoch, of these rows, in minibatches; return self. Nothing is held out.

        The first call needs ``classes``, all that there will be, unless y is (N, labels) of 0 and 1.
        """
        if self.class_weight == "balanced":
            raise ValueError('class_weight="balanced" needs all rows at once: give partial_fit a mapping from class to weight')
        if hasattr(self, "trainer_") and classes is not None and not np.array_equal(np.unique(classes), self.classes_):
            raise ValueError(
                f"classes={classes!r}: the first call had {self.classes_.tolist()}, and there is an output for each"
            )
        return self._fit_part(X, y, sample_weight, lambda y, _: self._target_of_parts(y, classes))

    def predict_proba(self, X: Any) -> np.ndarray:
        """Probability of each class (N, classes), in the order of ``classes_``; or of a 1 for each label (N, labels)."""
        return np.exp(self.predict_log_proba(X))

    def predict_log_proba(self, X: Any) -> np.ndarray:
        """Logarithms of the probabilities, which do not become minus infinity as the logarithm of a small one would."""
        outputs = self._outputs(X)
        return self._target.log_probabilities(outputs)

    @property
    def classes_(self) -> np.ndarray:
        """The classes, sorted; numbers of the labels where y had several."""
        return self._target.classes

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = super()._checked(X, y, reset)
        return X, column_or_1d(y, warn=True) if y.shape[1:] == (1,) else y

    def _new_target(self, y: np.ndarray, weights: np.ndarray | None = None) -> Labels | Indicators:
        check_classification_targets(y)
        if type_of_target(y, input_name="y") == "multilabel-indicator":
            return Indicators(y.shape[1])
        if y.ndim > 1:
            raise ValueError(
                f"y has shape {y.shape}, several columns of classes: sklearn.multioutput.MultiOutputClassifier fits one each"
            )
        return Labels(np.unique(y))

    def _target_of_parts(self, y: np.ndarray, classes: Any) -> Labels | Indicators:
        if y.ndim > 1:
            if classes is not None and not np.array_equal(classes, np.arange(y.shape[1])):
                raise ValueError(f"classes={classes!r}: y has {y.shape[1]} labels, which have no names: leave it out")
            return self._new_target(y)
        if classes is None:
            raise ValueError("classes must be passed on the first call to partial_fit: all that y will ever have")
        check_classification_targets(y)
        return Labels(np.unique(classes))

    def _train(self, trainer: Trainer, target: Target, X: Any, targets: Any, weights: Any, **options: Any) -> Self:
        if isinstance(trainer.loss, SoftmaxCrossEntropy) and trainer.loss.class_weights is not None:
            counted = np.array(trainer.loss.class_weights)[targets] * (1 if weights is None else weights)
            if not counted.astype(trainer.dtype).any():
                raise ValueError("class_weight is zero for the class of every row that counts: there is nothing to learn from")
        return super()._train(trainer, target, X, targets, weights, **options)

    def _loss(self, target: Labels | Indicators, y: np.ndarray) -> Loss:
        return target.loss(y, self.class_weight)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
