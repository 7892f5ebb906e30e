"""What training changes of a trainer, to be put back where it fails."""

from __future__ import annotations

import copy

from xpnet.training import Trainer


class Snapshot:
    """Parameters, optimizer and history of a trainer as they are now, on its device.

    ``put_back`` writes them into the trainer's own objects, so that whoever holds its network holds the same one.
    """

    def __init__(self, trainer: Trainer):
        self._trainer, parameters = trainer, trainer.net.parameters
        self._device = trainer.net.device
        with self._device.use():
            self._value, self._state = parameters.value.copy(), parameters.state.copy()
        self._frozen = {entry.name for entry in parameters.trainable if entry.frozen}
        self._optimizer = copy.deepcopy(trainer.optimizer, {id(parameters): parameters})  # not what it trains
        self._steps, self._epoch = trainer.net.steps_begun, trainer.epoch
        self._history = {name: [*values] for name, values in trainer.history.items()}

    def put_back(self) -> None:
        """Make the trainer what it was; callbacks are their owner's."""
        trainer, net, optimizer = self._trainer, self._trainer.net, self._trainer.optimizer
        parameters = net.to(self._device).parameters
        for entry in parameters.trainable:
            parameters.freeze(entry.name, frozen=entry.name in self._frozen)
        for name, value in self._optimizer.config().items():
            setattr(optimizer, name, value)
        with self._device.use():
            parameters.value[...], parameters.state[...] = self._value, self._state
            optimizer.prepare(parameters)
            optimizer.go_back_to(self._optimizer)
        net.steps_begun, trainer.epoch = self._steps, self._epoch
        trainer.history.clear()
        trainer.history.update(self._history)
