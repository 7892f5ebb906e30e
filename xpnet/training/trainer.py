"""The trainer: one training step, and the loop around it."""

from __future__ import annotations

import contextlib
import math
import os
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from xpnet.backends import Device, resolve
from xpnet.backends.device import Array
from xpnet.checks import as_array, check_count, check_seed, check_shape, row_count, to_host
from xpnet.layers.base import Shape
from xpnet.losses.base import Loss, double_activation
from xpnet.metrics import Metrics, as_metrics
from xpnet.network import Sequential, last_activation
from xpnet.optimizers import Optimizer
from xpnet.persample import backward_per_sample
from xpnet.training.callbacks import Callback, EarlyStopping, Record, as_callback, monitored
from xpnet.training.checkpoints import LOG, Checkpoints, as_checkpoints
from xpnet.training.data import ClassWeight, Prepared, prepare
from xpnet.training.feed import Feed, batch_rows
from xpnet.training.half import Half
from xpnet.training.logs import JSONLog
from xpnet.training.precision import check_float32, check_per_sample, check_precision
from xpnet.training.recorded import Records
from xpnet.training.run import Run, mean

Data = tuple[Any, ...]


class Trainer:
    """Trains a network: ``Trainer(net, loss=SoftmaxCrossEntropy(), optimizer=Adam(1e-3)).fit(x, y, epochs=5)``.

    ``fit``, ``partial_fit``, ``evaluate`` and ``predict`` take host or device arrays, write to none of
    them and return NumPy and floats, so one script serves every device. The network is built on
    ``device`` for the first data seen, unless it is built already; then it is moved there.

    ``seed`` rules initial values, order of samples and random masks. ``metrics`` are names
    (accuracy, binary_accuracy, rmse, r2), functions, or a mapping; None takes what suits the loss.
    ``callbacks`` run after every epoch (:mod:`xpnet.training.callbacks`). ``dtype`` is that of a net not built yet.

    ``precision`` says how the steps of a float32 network compute: None, in float32; "tf32", with products in TF32 on GPUs
    that have it; "float16", in half precision from float32 weights (:mod:`xpnet.training.half`), where the loss is scaled
    by ``loss_scale``, "dynamic" or a number, and ``half.scale`` and ``half.skipped`` tell how it goes. In all else (the
    weights, ``evaluate``, ``predict``, saving, reports on layers) it is the float32 network.

    ``history`` is a dict of plain lists of equal length, one item an epoch; ``device`` says where it trains,
    ``device_reason`` why there.
    """

    def __init__(
        self,
        net: Sequential,
        *,
        loss: Loss,
        optimizer: Optimizer,
        device: str | Device = "auto",
        seed: int = 0,
        metrics: Metrics = None,
        callbacks: Callable | Sequence[Callable] = (),
        dtype: str = "float32",
        precision: str | None = None,
        loss_scale: float | str = "dynamic",
    ):
        check_kind("Trainer(net", net, Sequential)
        check_kind("Trainer(loss", loss, Loss)
        check_kind("Trainer(optimizer", optimizer, Optimizer)
        self.net, self.loss, self.optimizer, self.seed, self.dtype = net, loss, optimizer, check_seed(seed), dtype
        self.device, self.device_reason = resolve(device)
        check_precision(precision, loss_scale, self.device)
        check_float32(precision, np.dtype(net.parameters.dtype if net.built else dtype))
        self.precision = precision
        self.half = Half(net, loss_scale) if precision == "float16" else None
        self.metrics = as_metrics(metrics, loss.metrics)
        self.callbacks = tuple(map(as_callback, (callbacks,) if callable(callbacks) else callbacks))
        self.history: dict[str, list[float]] = {}
        self.epoch = 0
        #: What the last ``fit`` with checkpoints left: their folder, network, loss and optimizer in the end, and at first.
        self.resumable: tuple | None = None
        self.records = Records()
        self._check_trainable()

    def build(self, input_shape: int | Shape) -> Trainer:
        """Build the network for samples of this shape on the trainer's device, or move it there; return self."""
        if not self.net.built:
            self.net.build(input_shape, device=self.device, dtype=self.dtype, seed=self.seed)
        elif self.net.input_shape != check_shape(input_shape):
            raise ValueError(f"build({input_shape!r}): the network was built for samples of shape {self.net.input_shape}")
        check_float32(self.precision, self.net.parameters.dtype)
        self.net.to(self.device)
        return self

    def step(self, x: Array, y: Array, weights: Array | None = None, *, per_sample: bool = False) -> Array:
        """One training step on a minibatch of device arrays; returns the loss, a 0-d array of the device.

        ``per_sample=True`` computes the same gradients by batch-one passes that are summed.
        """
        if not per_sample:
            return self.records.step(self, (x, y, weights))
        check_per_sample(self.precision)
        value = backward_per_sample(self.net, self.loss, x, y, weights)
        self.optimizer.update(self.net.parameters)
        return value

    def eager_step(self, x: Array, y: Array, weights: Array | None = None) -> Array:
        """:meth:`step` by the layers' own code: what a recorded step does, in full."""
        if self.half is not None:
            return self.half.step(self, x, y, weights)
        net = self.net
        with self.device.tf32() if self.precision == "tf32" else contextlib.nullcontext():
            step = net.step(training=True)
            outputs, cache = net.forward(x, step)
            value, dy = self.loss(outputs, y, step, weights)
            net.backward(dy, cache, step)
        self.optimizer.update(net.parameters)
        return value

    def fit(
        self,
        x: Any,
        y: Any,
        *,
        epochs: int = 1,
        batch_size: int | None = 32,
        validation: Data | None = None,
        shuffle: bool = True,
        sample_weight: Any = None,
        class_weight: ClassWeight = None,
        early_stopping: EarlyStopping | int | None = None,
        per_sample: bool = False,
        progress: bool = True,
        checkpoints: Checkpoints | str | os.PathLike | None = None,
        resume: bool = False,
    ) -> dict[str, list[float]]:
        """Train for ``epochs`` more epochs on rows ``x`` (N, *shape) and targets ``y`` (N, ...); return ``history``.

        ``batch_size=None`` takes the whole set at once, 1 trains online. ``validation=(x, y)``, or ``(x, y, sample_weight)``,
        is evaluated after each epoch. ``sample_weight`` (N,) weights rows; ``class_weight`` is a mapping from
        label to weight, a list with one weight a label, or "balanced". ``early_stopping`` is a patience in
        epochs or an :class:`EarlyStopping`. ``per_sample=True`` runs the same steps one sample at a time.
        The progress bar shows on terminals only.

        ``checkpoints``, a folder or :class:`Checkpoints`, keeps the training on disk, with a log of its epochs; with
        ``resume=True`` it goes on from the newest one there, if there is one, until its ``epochs`` are complete: to the same
        bytes as if it had never stopped.

        Raises ValueError or TypeError for data that do not fit, before anything is changed.
        """
        epochs = check_count("epochs", epochs)
        if per_sample:
            check_per_sample(self.precision)
        keeper = as_checkpoints(checkpoints, resume)
        names = self._record_names(validation is not None)
        if keeper:
            keeper.check(names)
        callbacks = self._callbacks(early_stopping, keeper)
        for callback in callbacks:
            callback.check(names)
        with self._building_for(x):
            data = prepare(self.net, self.loss, x, y, sample_weight, class_weight)
            size = batch_rows(len(data.x), batch_size)
            for layer in self.net.walk():
                for rows in {size, len(data.x) % size or size}:
                    layer.check_batch(rows)
            held_out = None if validation is None else self._held_out(validation)
            run = Run(
                *(self, data, held_out, callbacks),
                epochs=epochs,
                size=size,
                shuffle=shuffle,
                per_sample=per_sample,
                keeper=keeper,
            )
            if keeper:
                keeper.begin(run, resume)
        with keeper.keeping() if keeper else contextlib.nullcontext():
            run.go(progress)
        return self.history

    def partial_fit(self, x: Any, y: Any, *, sample_weight: Any = None) -> float:
        """One update from the samples at hand (online learning: one row, ``x`` (1, *shape)); return their loss before it."""
        with self._building_for(x):
            data = prepare(self.net, self.loss, x, y, sample_weight)
            batch_rows(len(data.x), None)
        with self.device.use():
            value = self.step(*(None if a is None else self.device.put(a) for a in data))
        return float(self.device.get(value))

    def evaluate(self, x: Any, y: Any, *, sample_weight: Any = None) -> dict[str, float]:
        """Loss and metrics in inference mode: {"loss": ..., "accuracy": ...}. Changes nothing."""
        data = prepare(self.net, self.loss, x, y, sample_weight)
        batch_rows(len(data.x), None)
        return self.scores(Feed(self.net.device, data), data)

    def predict(self, x: Any, batch_size: int | None = None) -> np.ndarray:
        """The network's outputs (N, ...) as NumPy: logits where it ends in them, whose ``argmax(axis=1)`` is the class.

        A network of one output gives (N, 1), also where it was trained on targets (N,). See :meth:`Sequential.predict`.
        """
        return self.net.predict(x, batch_size)

    def _held_out(self, validation: Data) -> Prepared:
        if not isinstance(validation, tuple | list) or len(validation) not in (2, 3):
            raise TypeError("validation is a pair of arrays, (x, y), or three, (x, y, sample_weight)")
        weights = validation[2] if validation[2:] else None
        data = prepare(self.net, self.loss, validation[0], validation[1], weights, what="validation ")
        batch_rows(len(data.x), None)
        return data

    def _record_names(self, validation: bool) -> list[str]:
        """Names of what an epoch's record will hold."""
        scores = [f"validation_{name}" for name in ("loss", *self.metrics)] if validation else []
        return ["epoch", "loss", "learning_rate", "seconds", *(self.half.REPORTED if self.half else ()), *scores]

    def end_epoch(self, record: Record, callbacks: Sequence[Callback]) -> list[Callback]:
        """Write the record down, tell the schedule and the callbacks; those that end the training."""
        before = len(self.history.get("epoch", ()))
        for name in {**self.history, **record}:  # an epoch without validation has NaN there, so that all lists are alike long
            self.history.setdefault(name, [math.nan] * before).append(record.get(name, math.nan))
        self.epoch += 1
        if not math.isfinite(record["loss"]):
            advice = "try a smaller learning rate" + (", or inputs that half precision holds (65504)" if self.half else "")
            text = f"epoch {self.epoch}: the loss is {record['loss']}; training has diverged, {advice}"
            warnings.warn(text, RuntimeWarning, stacklevel=4)
        self.optimizer.observe(monitored(record))
        return [callback for callback in callbacks if callback(self, record)]

    def scores(self, feed: Feed, data: Prepared) -> dict[str, float]:
        """Loss and metrics of prepared data, in parts; the outputs come back to the host, where the metrics are computed."""
        net, device, n = self.net, self.net.device, len(data.x)
        outputs = np.empty((n, *net.output_shape), net.parameters.dtype)
        size = net.rows_at_a_time
        starts = range(0, n, size)
        with device.use():
            pairs = device.empty((len(starts), 2), net.parameters.dtype)
            for i, (x, y, weights) in enumerate(feed.parts(size)):
                step = net.step(training=False)
                step.forward_only = True
                out, _ = net.forward(x, step)
                pairs[i, 0] = self.loss(out, y, step, weights)[0]
                pairs[i, 1] = self.loss.total(y, step, weights)
                outputs[starts[i] : starts[i] + size] = device.get(out)
        targets = to_host(device, data.y)
        weights = self.loss.row_weights(targets, data.weights)
        scores = dict.fromkeys(self.metrics, math.nan)
        if weights is None or weights.any():
            scores = {name: float(metric(outputs, targets, weights)) for name, metric in self.metrics.items()}
        return {"loss": mean(*device.get(pairs).T), **scores}

    def _callbacks(self, early_stopping: EarlyStopping | int | None, keeper: Checkpoints | None) -> list[Callback]:
        """In the order in which they run: those of the trainer first, a log of what they add to the record last."""
        stopping = EarlyStopping(early_stopping) if isinstance(early_stopping, int) else early_stopping
        if stopping is not None:
            check_kind("fit(early_stopping", stopping, EarlyStopping)
        found = [*self.callbacks] if stopping is None else [*self.callbacks, stopping]
        if keeper is None or any(isinstance(callback, JSONLog) for callback in found):
            return found
        return [*found, JSONLog(keeper.folder / LOG)]

    @contextlib.contextmanager
    def _building_for(self, x: Any) -> Iterator[None]:
        """Build the network for these rows, or move it here; if the data are refused, it is as it was before."""
        before = self.net.device if self.net.built else None
        rows = as_array(self.device, x, "x")
        row_count(rows, "x")
        self.build(rows.shape[1:] if before is None else self.net.input_shape)
        try:
            yield
        except BaseException:
            if before is None:
                self.net.unbuild()
            else:
                self.net.to(before)
            raise

    def _check_trainable(self) -> None:
        for layer in self.net.walk():
            if not layer.differentiable:
                raise ValueError(
                    f"{layer!r} cannot be trained through: its derivative is 0 wherever it exists, so no gradient "
                    f"passes; use Sigmoid, its smooth form, or ReLU"
                )
        if (last := last_activation(self.net)) in self.loss.contains:
            raise ValueError(double_activation(type(self.loss).__name__, last))


def check_kind(where: str, value: Any, kind: type) -> None:
    """Refuse an argument of the wrong kind, with the commonest slip explained."""
    if isinstance(value, type) and issubclass(value, kind):
        raise TypeError(f"{where}={value.__name__}) is a class: write {value.__name__}(...)")
    if not isinstance(value, kind):
        raise TypeError(f"{where}={value!r}): an object of xpnet.{kind.__name__} is needed")
