"""A small training, one that breaks off, and all that a training leaves."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import xpnet as xn


class Bang(Exception):
    pass


class StopAt(xn.Callback):
    """Breaks a training off in the middle, as a power cut would."""

    def __init__(self, step: int):
        self.step, self._steps = step, 0

    def end_step(self, trainer: xn.Trainer, batch: Any, loss: Any) -> None:
        self._steps += 1
        if self._steps == self.step:
            raise Bang


def data(rows: int = 70) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x = rng.standard_normal((rows, 6)).astype(np.float32)
    return x, (x[:, 0] + 0.3 * rng.standard_normal(rows) > 0).astype(int) + (x[:, 1] > 1)


X, Y = data()
HELD_OUT = data(31)


def net() -> xn.Sequential:
    return xn.Sequential(xn.Affine(12), xn.BatchNorm(), xn.ReLU(), xn.Dropout(0.3), xn.GaussianNoise(0.1), xn.Affine(3))


def trainer(device: Any, *callbacks: Any, optimizer: Any = None, **options: Any) -> xn.Trainer:
    rule = copy.deepcopy(optimizer) if optimizer is not None else xn.Adam(0.01)
    options = {"loss": xn.SoftmaxCrossEntropy(), **options}
    return xn.Trainer(net(), optimizer=rule, device=device, seed=4, callbacks=callbacks, **options)


def everything(trained: xn.Trainer) -> dict[str, Any]:
    """All that a training leaves, but for how long it took."""
    history = {name: values for name, values in trained.history.items() if name != "seconds"}
    vectors = {name: trained.device.get(vector).tobytes() for name, vector in trained.optimizer.vectors.items()}
    parameters = {name: a.tobytes() for name, a in trained.net.parameters.snapshot().items()}
    half = trained.half and trained.half.state()
    return {
        "history": repr(history),
        "vectors": vectors,
        "parameters": parameters,
        "half": half,
        "steps": (trained.optimizer.steps, trained.net.steps_begun, trained.epoch, trained.optimizer.current_rate),
    }


FIT: dict[str, Any] = {"epochs": 4, "batch_size": 16, "validation": HELD_OUT}  # five steps an epoch, the last of 6 rows


def broken_off(folder: Path, stop: int, make: Any, y: np.ndarray = Y, fit: dict[str, Any] = FIT) -> xn.Trainer:
    """One that broke off after so many steps, taken up by another of ``make(*callbacks)``."""
    with pytest.raises(Bang):
        make(StopAt(stop)).fit(X, y, checkpoints=xn.Checkpoints(folder, every=1), **fit)
    found = make()
    found.fit(X, y, checkpoints=xn.Checkpoints(folder, every=1), resume=True, **fit)
    return found
