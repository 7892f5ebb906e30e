"""What both estimators do: check, hold rows out, train, and predict."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted, validate_data

from xpnet.backends import Device, resolve
from xpnet.checks import check_number
from xpnet.losses import Loss
from xpnet.network import Sequential
from xpnet.optimizers import Optimizer
from xpnet.preprocessing import split
from xpnet.schedules import Schedule
from xpnet.sklearn.parts import Layers, check_outputs, make_early_stopping, make_network, make_optimizer
from xpnet.sklearn.snapshot import Snapshot
from xpnet.sklearn.targets import Target
from xpnet.training import EarlyStopping, Trainer, print_epoch
from xpnet.training.callbacks import has_diverged
from xpnet.training.data import sample_weights

#: Parameters that a trainer is made with; the others matter to each call of fit by themselves.
OF_NETWORK = {"layers", "activation", "dtype"}
OF_OPTIMIZER = {"optimizer", "learning_rate", "l2"}
OF_TRAINER = OF_NETWORK | OF_OPTIMIZER | {"device", "callbacks", "verbose", "class_weight"}


SAMPLE = 32  # rows


class Estimator(BaseEstimator):
    """Base of both: parameters are stored as they are given, and checked by ``fit``."""

    _metrics: tuple[str, ...] | None = None  # what suits the loss
    _target: Any

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
        early_stopping: bool | int | EarlyStopping = False,
        validation_fraction: float = 0.1,
        warm_start: bool = False,
        callbacks: Sequence = (),
        device: str | Device = "auto",
        dtype: str = "float32",
        random_state: int | np.random.RandomState | None = None,
        verbose: bool = False,
    ):
        self.layers = layers
        self.activation = activation
        self.optimizer = optimizer
        self.learning_rate = learning_rate
        self.l2 = l2
        self.batch_size = batch_size
        self.epochs = epochs
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.warm_start = warm_start
        self.callbacks = callbacks
        self.device = device
        self.dtype = dtype
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, X_val: Any = None, y_val: Any = None) -> Self:
        """Train on rows ``X`` (N, features), or images (N, height, width, channels), and ``y``; return self.

        ``sample_weight`` (N,) weights the rows. With ``X_val`` and ``y_val``, rows of one's own, ``history_`` has their scores
        by epoch, and early stopping watches them instead of a part of ``X`` that it holds out.
        With ``warm_start=True`` a further call goes on with network, optimizer, and classes or scale of y as they are.

        Raises ValueError or TypeError for parameters or data that do not fit. However it fails, the estimator is as it was.
        """
        goes_on = self.warm_start and hasattr(self, "trainer_")
        with self._as_it_was():
            return self._fit(X, y, sample_weight, X_val, y_val, goes_on)

    def _fit(self, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, goes_on: bool) -> Self:
        X, y = self._checked(X, y, reset=not goes_on)
        weights = row_weights(sample_weight, len(X))
        target = self._target if goes_on else self._new_target(y, weights)
        targets, validation = target.encode(y), self._validation(target, X_val, y_val)
        trainer = self._trainer(X, y, target, goes_on)
        stopping = make_early_stopping(self.early_stopping)
        if validation is None and stopping is not None:
            rows, held_out = self._split(targets, weights, target, trainer.seed)
            if len(held_out):
                validation = (X[held_out], targets[held_out], None if weights is None else weights[held_out])
            X, targets, weights = X[rows], targets[rows], None if weights is None else weights[rows]
        return self._train(
            trainer, target, X, targets, weights, epochs=self.epochs, validation=validation, early_stopping=stopping
        )

    def _fit_part(self, X: Any, y: Any, sample_weight: Any, first_target: Callable[[Any, Any], Target]) -> Self:
        """One more epoch, of these rows; the first call's y and weights make the target."""
        goes_on = hasattr(self, "trainer_")
        with self._as_it_was():
            X, y = self._checked(X, y, reset=not goes_on)
            weights = row_weights(sample_weight, len(X))
            target = self._target if goes_on else first_target(y, weights)
            targets = target.encode(y)
            return self._train(self._trainer(X, y, target, goes_on), target, X, targets, weights, epochs=1)

    def _train(self, trainer: Trainer, target: Target, X: Any, targets: Any, weights: Any, **options: Any) -> Self:
        before = getattr(self, "trainer_", None)
        snapshot = Snapshot(before) if before and before.net is trainer.net else None
        try:
            trainer.fit(X, targets, sample_weight=weights, batch_size=self.batch_size, progress=False, **options)
            if not math.isfinite(trainer.history["loss"][-1]) or not gives_numbers(trainer, X):
                raise ValueError("training has diverged: scale the inputs (StandardScaler), or give a smaller learning_rate")
        except BaseException:
            if snapshot:
                snapshot.put_back()
            raise
        self.trainer_, self._target, self._made_with = trainer, target, self._of_trainer()
        return self

    @contextlib.contextmanager
    def _as_it_was(self) -> Iterator[None]:
        """If this raises, no attribute is another one than before (validate_data sets some before the rest is checked)."""
        before = dict(vars(self))
        try:
            yield
        except BaseException:
            self.__dict__.clear()
            self.__dict__.update(before)
            raise

    def _outputs(self, X: Any) -> np.ndarray:
        """The network's outputs for rows as those of ``fit``."""
        check_is_fitted(self, "trainer_")
        X = validate_data(self, X, dtype="numeric", allow_nd=True, reset=False)
        outputs = self.trainer_.predict(X)
        if not np.isfinite(outputs).all():
            row = int(np.argwhere(~np.isfinite(outputs))[0, 0])
            raise ValueError(
                f"X, row {row}: what the network makes of it is no finite number in {outputs.dtype}: it lies too far from the "
                f"rows of fit"
            )
        return outputs

    def predict(self, X: Any) -> np.ndarray:
        """Answers for rows ``X``, in the terms and the shape of the y of ``fit``."""
        outputs = self._outputs(X)
        return self._target.decode(outputs)

    @property
    def net_(self) -> Sequential:
        """The trained network."""
        return self.trainer_.net

    @property
    def history_(self) -> dict[str, list[float]]:
        """Lists of equal length, one item an epoch: "loss", "learning_rate", "seconds", "validation_loss", ..."""
        return self.trainer_.history

    @property
    def n_iter_(self) -> int:
        """Epochs so far."""
        return self.trainer_.epoch

    @property
    def loss_(self) -> float:
        """Mean loss of the training rows in the last epoch."""
        return self.history_["loss"][-1]

    def _checked(self, X: Any, y: Any, reset: bool) -> tuple[Any, Any]:
        """Finite numbers X, of the type that they have (a large file stays on the disk), and as many y."""
        X, y = validate_data(self, X, y, dtype="numeric", allow_nd=True, multi_output=True, reset=reset)
        return X, y.toarray() if hasattr(y, "toarray") else y

    def _validation(self, target: Target, X: Any, y: Any) -> tuple[Any, Any, Any] | None:
        if X is None and y is None:
            return None
        if X is None or y is None:
            raise ValueError("X_val and y_val belong together: one of them is missing")
        X, y = self._checked(X, y, reset=False)
        return X, target.encode(y), None

    def _split(
        self, targets: np.ndarray, weights: np.ndarray | None, target: Target, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Indices of the rows to train on and of those held out, of each class the same share; rows of weight 0 are neither."""
        fraction = check_number("validation_fraction", self.validation_fraction, below=1)
        rows = np.arange(len(targets)) if weights is None else np.flatnonzero(weights)
        if not fraction:
            return rows, rows[:0]
        if len(rows) == 1:
            raise ValueError("early_stopping holds rows out, and there is 1 sample: give more, or X_val and y_val")
        train, held_out = split(targets[rows] if target.exclusive else np.zeros(len(rows)), fraction, seed)
        return rows[train], rows[held_out]

    def _trainer(self, X: np.ndarray, y: np.ndarray, target: Target, goes_on: bool) -> Trainer:
        """The trainer of the last call, or a new one; with its network, where other parameters were changed since."""
        if not goes_on:
            net = make_network(self.layers, self.activation, X.shape[1:], target.outputs)
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            trainer = self._new_trainer(net, self._new_optimizer(), target, y, seed).build(X.shape[1:])
            check_outputs(net, target)
            return trainer
        before, made_with = self.trainer_, self._of_trainer()
        changed = {name for name in made_with if made_with[name] != self._made_with[name]}
        if made_with.get("class_weight") == "balanced":  # as these rows are
            changed.add("class_weight")
        if not changed:
            return before
        if fixed := changed & OF_NETWORK:
            raise ValueError(f"{min(fixed)} is another one than in the last call, with whose network this goes on: fit a clone")
        optimizer = self._new_optimizer() if changed & OF_OPTIMIZER else before.optimizer
        trainer = self._new_trainer(before.net, optimizer, target, y, before.seed)
        trainer.epoch, trainer.history = before.epoch, before.history
        return trainer

    def _new_trainer(self, net: Sequential, optimizer: Optimizer, target: Target, y: np.ndarray, seed: int) -> Trainer:
        if not callable(self.callbacks) and not isinstance(self.callbacks, Iterable):
            raise TypeError(f"callbacks={self.callbacks!r}: a function of trainer and record, a Callback, or a list of them")
        given = (self.callbacks,) if callable(self.callbacks) else tuple(self.callbacks)
        return Trainer(
            net,
            loss=self._loss(target, y),
            optimizer=optimizer,
            device=self.device,
            dtype=self.dtype,
            seed=seed,
            metrics=self._metrics,
            callbacks=(*given, print_epoch, has_diverged) if self.verbose else (*given, has_diverged),
        )

    def _new_optimizer(self) -> Optimizer:
        return make_optimizer(self.optimizer, self.learning_rate, self.l2)

    def _of_trainer(self) -> dict[str, Any]:
        return {name: value for name, value in self.get_params(deep=False).items() if name in OF_TRAINER}

    def _new_target(self, y: np.ndarray, weights: np.ndarray | None) -> Target:
        raise NotImplementedError

    def _loss(self, target: Any, y: np.ndarray) -> Loss:
        raise NotImplementedError


def gives_numbers(trainer: Trainer, X: np.ndarray) -> bool:
    """Whether the last update has left a network whose answers, for some rows that it knows, are finite."""
    with np.errstate(all="ignore"):
        return bool(np.isfinite(trainer.predict(X[:SAMPLE])).all())


def row_weights(sample_weight: Any, n: int) -> np.ndarray | None:
    """Checked, float64 (n,), on the host."""
    return None if sample_weight is None else sample_weights(resolve("cpu").device, sample_weight, n)
