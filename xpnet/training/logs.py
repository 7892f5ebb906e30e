"""What a training leaves behind while it runs: a line an epoch, charts for TensorBoard, the best network."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
import warnings
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.backends import Device
from xpnet.checks import check_file_place, check_folder_place, to_host
from xpnet.extras import load
from xpnet.saving.atomic import write_atomically
from xpnet.training.callbacks import Callback, Record, Watch, Watching

if TYPE_CHECKING:
    from xpnet.training.trainer import Trainer


BINS = 64  # of a histogram


class JSONLog(Callback):
    """Writes each epoch's record as a line of strict JSON (JSON Lines), there for readers as soon as the epoch has ended.

    When ``fit`` begins, the file at ``path`` is replaced by one of the trainer's history so far, so that a resumed training
    has no epoch twice; lines of it that are there already stay, with what callbacks have added to them. What is not finite
    is null; NumPy's numbers are numbers; arrays that callbacks before this one have added to the record are lists. Raises
    OSError before the training where ``path`` cannot be written.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = path
        self._path = Path(path).expanduser().absolute()
        self._earlier: dict[Any, tuple[str, dict]] = {}

    def check(self, names: Sequence[str]) -> None:
        check_file_place(self._path, "JSONLog")

    def begin(self, trainer: Trainer) -> None:
        columns = trainer.history
        records = [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]
        path = self._path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._earlier |= by_epoch(path)  # also of epochs that a later call of fit will have again
        lines = [with_additions(json_line(record, trainer.device), self._earlier) for record in records]
        write_atomically(path, (line.encode() for line in lines))

    def __call__(self, trainer: Trainer, record: Record) -> None:
        line = json_line(record, trainer.device)
        with open(self._path, "a", encoding="utf-8", newline="\n") as file:  # each time: nothing stays open or in a buffer
            file.write(line)


class TensorBoardLog(Callback):
    """Writes each epoch's numbers to ``folder``, for ``tensorboard --logdir folder`` (extra ``tensorboard``).

    Charts of one number stand in one section: "loss/train" beside "loss/validation", "accuracy/validation"; the learning rate
    and what callbacks before this one have added to the record go by their names, what is no number is left out.
    ``histograms=True`` adds one of each parameter's finite values. Where an earlier training was logged into the same
    folder, TensorBoard drops its epochs from where this one begins. Raises OSError before the training where ``folder``
    cannot be written.
    """

    _writer: Any = None

    def __init__(self, folder: str | os.PathLike, histograms: bool = False):
        self.folder, self.histograms = folder, histograms
        self._folder = Path(folder).expanduser().absolute()

    def check(self, names: Sequence[str]) -> None:
        load("tensorboardX", "tensorboard")
        check_folder_place(self._folder, "TensorBoardLog")

    def begin(self, trainer: Trainer) -> None:
        writer = load("tensorboardX", "tensorboard").SummaryWriter
        unique = f".{time.time_ns()}"  # its files are called by the second: the next fit may begin within it
        self._writer = writer(os.fspath(self._folder), purge_step=trainer.epoch + 1, filename_suffix=unique)

    def __call__(self, trainer: Trainer, record: Record) -> None:
        epoch = record["epoch"]
        for name, value in record.items():
            if name != "epoch" and isinstance(value, int | float | np.integer | np.floating):
                self._writer.add_scalar(tag(name), as_float(value), epoch)
        if self.histograms:
            for name, values in trainer.net.parameters.snapshot().items():
                if (finite := values[np.isfinite(values)].astype(np.float64)).size:
                    self._writer.add_histogram(f"parameters/{name}", finite, epoch, bins=edges(finite))
        self._writer.flush()

    def finish(self, trainer: Trainer) -> None:
        if self._writer is not None:
            self._writer.close()
            self._writer = None


class BestModel(Watching):
    """Saves the network at ``path``, by its ``save``, after each epoch that is better than all before.

    ``monitor`` and ``mode`` as in :class:`EarlyStopping`. The best is that of all calls of ``fit`` since the callback was
    made: ``best`` and ``best_epoch`` tell it. Raises OSError before the training where ``path`` cannot be written.
    """

    def __init__(self, path: str | os.PathLike, monitor: str | None = None, mode: str | None = None):
        self.path, self.monitor, self.mode = path, monitor, mode
        self._path, self._watch = Path(path).expanduser().absolute(), Watch("BestModel", monitor, mode)
        self._saved: int | None = None  # the file's CRC-32

    def check(self, names: Sequence[str]) -> None:
        super().check(names)
        check_file_place(self._path, "BestModel")

    def begin(self, trainer: Trainer) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)

    def __call__(self, trainer: Trainer, record: Record) -> None:
        if self._watch.improved(record):
            trainer.net.save(self._path)
            self._saved = self._on_disk()

    def state(self) -> dict[str, Any]:
        return {**super().state(), "saved": self._saved}

    def restore(self, state: dict[str, Any]) -> None:
        super().restore(state)
        self._saved = state["saved"]

    def finish(self, trainer: Trainer) -> None:
        if self._saved is not None and self._saved != self._on_disk():
            text = f"BestModel: {self._path} is not the network of epoch {self.best_epoch}, the best, any more"
            warnings.warn(f"{text}: only a better one takes its place", RuntimeWarning, stacklevel=2)

    def _on_disk(self) -> int | None:
        return zlib.crc32(self._path.read_bytes()) if self._path.is_file() else None


def by_epoch(path: Path) -> dict[Any, tuple[str, dict]]:
    """The lines of a log that is there, and what they say, by their epochs; damaged ones are passed over."""
    found = {}
    for line in path.read_text("utf-8", "replace").splitlines() if path.exists() else ():
        with contextlib.suppress(ValueError, AttributeError, TypeError, RecursionError):
            record = json.loads(line)
            found[record.get("epoch")] = (line + "\n", record)
    return found


def with_additions(line: str, earlier: Mapping[Any, tuple[str, dict]]) -> str:
    """The line that was there for its epoch, if that says the same and more."""
    record = json.loads(line)
    text, found = earlier.get(record["epoch"], (line, {}))
    known = {name: value for name, value in record.items() if name in found or value is not None}  # null: it came later
    return text if all(found.get(name, found) == value for name, value in known.items()) else line


def json_line(record: Mapping[str, Any], device: Device) -> str:
    """A record as a line of strict JSON; TypeError for what JSON has not."""
    return json.dumps({name: plain(value, name, device) for name, value in record.items()}, allow_nan=False) + "\n"


def plain(value: Any, name: str, device: Device) -> Any:
    """A value as JSON has it: null for what is not finite, numbers and lists for arrays of the host or the device."""
    if isinstance(value, np.ndarray | np.generic) or device.owns(value):
        value = to_host(device, value).tolist()
    if isinstance(value, Mapping):
        return {str(key): plain(item, name, device) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, name, device) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, bool | int | str):
        return value
    raise TypeError(f"JSONLog: record[{name!r}] holds {value!r}: numbers, texts, arrays, lists and mappings can be written")


def as_float(value: Any) -> float:
    """A number as a float: infinite where it is too large for one."""
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else -math.inf


def tag(name: str) -> str:
    """The chart of a number in a record: the part before the slash is shared by what is compared."""
    if name.startswith("validation_"):
        return f"{name.removeprefix('validation_')}/validation"
    return f"{name}/train" if name == "loss" else name


def edges(values: np.ndarray) -> np.ndarray:
    """Edges of a histogram's bins, of finite values (N,), float64. (The writer's own bins end at 1e20: above it raises.)"""
    low, high = values.min(), values.max()
    return np.linspace(low, max(high, low + 1e-6 * abs(low) + 1e-12), BINS + 1)
