"""The regressor."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import RegressorMixin

from xpnet.losses import Loss
from xpnet.sklearn.base import Estimator
from xpnet.sklearn.targets import Quantities


class XPRegressor(RegressorMixin, Estimator):
    """A network that predicts numbers: y (N,) or (N, outputs).

    Each column of y is brought to mean 0 and standard deviation 1, by the first y that is seen, and predictions are put back:
    any unit will do. Losses in ``history_`` are of these scaled targets, so mean squared errors as shares of the variance.
    Predictions have the shape of y, and float64 unless it has fewer digits, then the network's dtype.

    Parameters and attributes are those of :class:`XPClassifier`, but for ``class_weight`` and ``classes_``.
    """

    _metrics = ("r2",)  # it has no unit

    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> Self:
        """One more epoch, of these rows, in minibatches; return self. The first call's y sets the scale: give it many rows."""
        return self._fit_part(X, y, sample_weight, self._new_target)

    def _new_target(self, y: np.ndarray, weights: np.ndarray | None) -> Quantities:
        return Quantities(y, weights)

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        X, y = super()._checked(X, y, reset)
        return X, y.astype(np.float64) if y.dtype.kind == "O" else y

    def _loss(self, target: Quantities, y: np.ndarray) -> Loss:
        return target.loss()

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags
