"""Ctrl-C and SIGTERM: a checkpoint is written, and it is said how to go on."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from checkpoint_helpers import FIT, Bang, StopAt, X, Y, everything, trainer

import xpnet as xn


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C as in a terminal: it is ignored where the tests run in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def press(times: int) -> Callable[[xn.Trainer, dict], None]:
    def callback(trainer: xn.Trainer, record: dict) -> None:
        if record["epoch"] == 2:
            for _ in range(times):
                signal.raise_signal(signal.SIGINT)

    return callback


class PressAt(StopAt):
    """Sends a signal in the middle of an epoch."""

    def __init__(self, step: int, number: int = signal.SIGINT):
        super().__init__(step)
        self.number = number

    def end_step(self, trainer: xn.Trainer, batch: Any, loss: Any) -> None:
        try:
            super().end_step(trainer, batch, loss)
        except Bang:
            signal.raise_signal(self.number)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_saves_and_says_how_to_go_on(tmp_path: Path) -> None:
    whole = trainer("cpu")
    whole.fit(X, Y, **FIT)
    with pytest.raises(xn.Interrupted, match=rf"stopped in epoch 2, after step 3 of 5; saved in {tmp_path}: fit with the same"):
        trainer("cpu", PressAt(8)).fit(X, Y, checkpoints=tmp_path, **FIT)
    assert xn.Checkpoints(tmp_path).files[-1].name == "checkpoint-000000008.safetensors"
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    found = trainer("cpu", press(1))
    with pytest.raises(xn.Interrupted, match="stopped in epoch 2; saved in"):
        found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)
    found.callbacks = ()
    found.fit(X, Y, checkpoints=tmp_path, resume=True, **FIT)  # the same trainer, as in a notebook
    assert everything(found) == everything(whole)


def test_sigterm_saves_as_well(tmp_path: Path) -> None:
    with pytest.raises(xn.Interrupted, match="stopped in epoch 2, after step 3 of 5"):
        trainer("cpu", PressAt(8, signal.SIGTERM)).fit(X, Y, checkpoints=tmp_path, **FIT)
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_twice_stops_at_once_and_without_checkpoints_as_ever(tmp_path: Path) -> None:
    for options in ({"checkpoints": tmp_path}, {}):
        with pytest.raises(KeyboardInterrupt) as stopped:
            trainer("cpu", press(2)).fit(X, Y, **options, **FIT)
        assert not isinstance(stopped.value, xn.Interrupted)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_a_handler_of_ones_own_and_other_threads_are_left_alone(tmp_path: Path) -> None:
    seen = []
    before = signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        trainer("cpu", press(1)).fit(X, Y, checkpoints=tmp_path / "a", **FIT)
    finally:
        signal.signal(signal.SIGINT, before)
    assert seen == [1]
    thread = threading.Thread(target=lambda: trainer("cpu").fit(X, Y, checkpoints=tmp_path / "b", **FIT))
    thread.start()
    thread.join()
    assert xn.Checkpoints(tmp_path / "b").files


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_at_the_very_end_is_not_lost(tmp_path: Path) -> None:
    class Late(xn.Callback):
        def finish(self, trainer: xn.Trainer) -> None:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(xn.Interrupted, match="stopped in epoch 4; saved in"):
        trainer("cpu", Late()).fit(X, Y, checkpoints=tmp_path, **FIT)
