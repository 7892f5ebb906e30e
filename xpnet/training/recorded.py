"""Training steps as recorded calls: the second step of a shape is recorded, later ones are replayed without any layer code.

A record holds for arrays of one shape and type, as long as layers, loss, optimizer and the flat vectors stay what they were:
whatever sets an attribute of one of them or replaces a vector has the step recorded anew. What differs from step to step goes
into fixed memory first: the batch, the optimizer's numbers (learning rate, bias corrections), the number of the step, from
which random numbers are drawn. Results are those of the layers' own code, bit for bit. Where a step cannot be recorded the
layers run as ever, and :attr:`Records.reasons` says why. Where a part is not xpnet's own, the first replay is compared with the
step by its code. Labels out of range are refused before a step begins.
"""

from __future__ import annotations

import contextlib
import copy
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from xpnet.arenas import Arena, Results
from xpnet.backends import ledger
from xpnet.backends.device import Array
from xpnet.backends.recording import Namespace, recorded, same
from xpnet.backends.workers import one_blas_thread
from xpnet.layers.base import changes_of, clock
from xpnet.network import Sequential
from xpnet.stages import Plan, PlannedPass

if TYPE_CHECKING:
    from xpnet.training.trainer import Trainer

Batch = Sequence[Array | None]  # inputs, targets, weights
NOTHING = contextlib.nullcontext()
TRIES = 3  # to record a step, and records that were of use in no step
WORTH_IT = 16  # replays, after which arrays that are others now are taken for the first ones of many steps again


class Records:
    """The records of one trainer's steps, by the shapes and types of their batches; few are kept.

    ``wanted`` may be set to False: then steps run the layers' code.
    """

    KINDS = 4
    wanted = True

    def __init__(self) -> None:
        self._of_kind: dict[tuple, Record] = {}

    def step(self, trainer: Trainer, batch: Batch) -> Array:
        """One training step on inputs, targets and weights."""
        x, y, weights = batch
        ours = type(x) is type(y) is np.ndarray and (weights is None or type(weights) is np.ndarray)
        if not (ours and self.wanted and trainer.device.records and trainer.net.built):
            return trainer.eager_step(*batch)
        kind = tuple([None if a is None else (a.shape, a.dtype) for a in batch])
        record = self._of_kind.get(kind)
        if record is None:
            record = self._of_kind[kind] = Record()
            for old in list(self._of_kind)[: -self.KINDS]:
                del self._of_kind[old]
        return record.step(trainer, batch)

    @property
    def reasons(self) -> dict[tuple[int, ...], str]:
        """By the shape of the inputs, why steps are not replayed; "" where all are, or may be later."""
        found: dict[tuple[int, ...], str] = {}
        for (x, *_), record in self._of_kind.items():
            found[x[0]] = found.get(x[0]) or record.refused
        return found

    def __getstate__(self) -> dict:
        return {"wanted": self.wanted}  # addresses of memory are of no use to a copy

    def __setstate__(self, state: dict) -> None:
        self.__init__()  # type: ignore[misc]
        self.wanted = state["wanted"]


class Record:
    """How steps of one kind are made: the first by the layers, the next is recorded, the others are replayed."""

    def __init__(self) -> None:
        self.refused = ""
        self._plan: StepPlan | None = None
        self._of: tuple = ()  # what it is a record of
        self._clock = -1
        self._failures = 0

    def step(self, trainer: Trainer, batch: Batch) -> Array:
        trainer.loss.check_values(batch[1], trainer.net.output_shape, trainer.device)
        if self._failures < TRIES and not self._holds(trainer):
            self._begin(trainer)
        plan = self._plan
        if plan is None:
            return trainer.eager_step(*batch)
        if plan.ready and not plan.takes(batch):
            plan = self._plan = StepPlan(trainer, copies=plan.replays < WORTH_IT)
        if not plan.ready:
            return self._make(plan, trainer, batch)
        return plan.replay(batch) if plan.proved else self._prove(plan, trainer, batch)

    def _make(self, plan: StepPlan, trainer: Trainer, batch: Batch) -> Array:
        """A step by the layers' code; if it breaks off, nothing is known of how steps are made."""
        self._plan = None
        value = plan.make(batch)
        self._plan = plan
        if plan.ready and dependencies(trainer) != self._of:
            plan.ready, plan.refused = False, "attributes of layers, loss or optimizer are set in the step"
        if plan.refused:
            self._fail(plan.refused)
        self._of = dependencies(trainer)  # the optimizer may have made its vectors
        return value

    def _prove(self, plan: StepPlan, trainer: Trainer, batch: Batch) -> Array:
        """The first replay of parts that are not xpnet's own, and the same step by their code, which counts."""
        net, optimizer = trainer.net, trainer.optimizer
        parameters, earlier = net.parameters, copy.deepcopy(optimizer)
        before = [(a, a.copy()) for a in (parameters.value, parameters.state)]

        def outcome(value: Array) -> list[bytes]:
            vectors = optimizer.vectors.values()
            return [a.tobytes() for a in (value, parameters.value, parameters.grad, parameters.state, *vectors)]

        replayed = outcome(plan.replay(batch))
        for a, old in before:
            a[...] = old
        optimizer.go_back_to(earlier)
        net.count_step(-1)
        value = trainer.eager_step(*batch)
        plan.proved = outcome(value) == replayed
        if not plan.proved:
            self._failures = TRIES - 1
            self._fail("a replay is another step than that of the code: a part of one's own does what is not recorded")
        return value

    def _holds(self, trainer: Trainer) -> bool:
        """Whether nothing has changed that the record depends on."""
        if self._clock == clock[0] and self._of[:5] == _parts(trainer):
            return True
        found = dependencies(trainer)
        if found != self._of:
            return False
        self._clock = clock[0]
        return True

    def _begin(self, trainer: Trainer) -> None:
        """Nothing is known, or no longer."""
        self._of = dependencies(trainer)
        self.refused = objection(trainer)
        if self._plan is not None:
            if self._plan.replays:
                self._failures = 0
            else:
                self._fail("layers, loss or optimizer change at every step")
        self._plan = None if self.refused else StepPlan(trainer)

    def _fail(self, reason: str) -> None:
        self._failures += 1
        if self._failures == TRIES:
            self.refused, self._plan = reason, None


def _parts(trainer: Trainer) -> tuple:
    net = trainer.net
    return net, trainer.loss, trainer.optimizer, net.parameters.version, trainer.device.workers.count


def dependencies(trainer: Trainer) -> tuple:
    """What a record depends on: the same later means that it holds."""
    net, loss, optimizer, *rest = _parts(trainer)
    return net, loss, optimizer, *rest, changes_of((net, loss, optimizer, *net.layer_paths.values()))


def objection(trainer: Trainer) -> str:
    """Why steps of this trainer are not recorded; "" where they are."""
    if trainer.net.debug:
        return "net.debug looks at every gradient"
    if trainer.precision is not None:
        return f"precision={trainer.precision!r} has steps of its own"
    for part in parts_of(trainer):
        if not getattr(part, "recordable", False):
            return f"{part!r} does not say recordable = True"
    return ""


def parts_of(trainer: Trainer) -> list[Any]:
    """What a step is made of."""
    net = trainer.net
    return [trainer.loss, trainer.optimizer, net, *net.walk(), *net.layer_paths.values()]


class StepPlan:
    """A training step, forward, loss, backward and update, as calls on fixed memory.

    Arrays of the batch that are the same objects in the first two steps, as ``fit`` gives them, are part of it and read where
    they are. Others (with ``copies`` all) are copied into memory of its own in each step.
    """

    def __init__(self, trainer: Trainer, copies: bool = False):
        self._net, self._loss, self._optimizer = trainer.net, trainer.loss, trainer.optimizer
        device, dtype = self._device, self._dtype = trainer.device, trainer.net.parameters.dtype
        self._arena, self._value = Arena(device, dtype), device.empty((), dtype)
        self._copies = copies
        self._given: Batch = ()  # those that are read where they are; before, what the first step was given
        self._batch: Batch = ()
        self._numbers: Array = None
        self.ready, self.refused, self.replays = False, "", 0
        self.proved = all(type(part).__module__.partition(".")[0] == "xpnet" for part in parts_of(trainer))

    def make(self, batch: Batch) -> Array:
        """The step by the layers' code, which is noted from the second time on; its loss."""
        if not self._given:
            self._given = tuple(batch)
            return self._by_layers(batch)
        self._batch = tuple(self._place(*pair) for pair in zip(batch, self._given, strict=True))
        self._given = tuple(a if a is own else None for a, own in zip(batch, self._batch, strict=True))
        self._fill(batch)
        return self._noted()

    def _place(self, a: Array | None, first: Array | None) -> Array | None:
        """Where this part of the batch is read from."""
        return a if a is None or (a is first and not self._copies) else self._device.empty(a.shape, a.dtype)

    def takes(self, batch: Batch) -> bool:
        """Whether the batch's arrays are those that are read where they are, or may be copied."""
        return all(a is own or own is not first for a, own, first in zip(batch, self._batch, self._given, strict=True))

    def _by_layers(self, batch: Batch) -> Array:
        self._pass(StepPass(self._net, self._arena, self._value, self._net.count_step()), batch, self._loss)
        self._optimizer.prepare(self._net.parameters)
        numbers = self._optimizer.advance()
        self._numbers = self._device.empty((len(numbers),), self._dtype)
        self._optimizer.apply(numbers)
        ledger.step_ended()
        return self._handed_out()

    def _noted(self) -> Array:
        step = StepPass(self._net, self._arena, self._value, self._net.count_step())
        plan = step.plan = Plan(step, self._device.workers.count)
        step.xp = Namespace()
        plan.next_is(None)
        with plan.recording():
            self._pass(step, [None if a is None else recorded(a) for a in self._batch], self._loss.evaluate)
            self._update(plan)
        plan.settle()
        self._replay, self.refused = plan.replay, plan.recorder.refused
        self.ready = not self.refused
        ledger.step_ended()
        return self._handed_out()

    def _pass(self, step: StepPass, batch: Batch, loss: Callable) -> None:
        """Forward, loss and backward; the loss's value goes where the step has it."""
        x, y, weights = batch
        outputs, cache = self._net.forward(x, step)
        value, dy = loss(outputs, y, step, weights)
        if not same(value, self._value):  # of a loss of one's own, which does not ask for step.result()
            step.xp.copyto(step.result(), value)
        self._net.backward(dy, cache, step)

    def _update(self, plan: Plan) -> None:
        self._optimizer.prepare(self._net.parameters)
        numbers = self._optimizer.advance()
        self._numbers[:] = numbers
        self._optimizer.planned(plan, len(numbers)).apply([recorded(self._numbers[i, ...]) for i in range(len(numbers))])

    def replay(self, batch: Batch) -> Array:
        """The step by the calls that were noted; its loss."""
        self._fill(batch)
        self._numbers[:] = self._optimizer.advance()
        try:
            with one_blas_thread() if self._net.in_blocks else NOTHING:
                self._replay(self._net.count_step())
        except BaseException:
            self._optimizer.take_back()
            raise
        self.replays += 1
        ledger.step_ended()
        return self._handed_out()

    def _fill(self, batch: Batch) -> None:
        for own, a in zip(self._batch, batch, strict=True):
            if own is not a and own is not None and a is not None:
                np.copyto(own, a)

    def _handed_out(self) -> Array:
        """The loss as an array that nobody writes to again."""
        value = self._net.fresh_result()
        value[...] = self._value
        return value


class StepPass(PlannedPass):
    """A training pass of the whole batch in an arena of its own, which its user keeps."""

    def __init__(self, net: Sequential, arena: Arena, value: Array, number: int | Array):
        super().__init__(net, net.parameters, Results(net.device, net.parameters.dtype), True, number, None, 0, False)
        self.arena, self._value = arena, value

    def begin(self, x: Array) -> None:
        self.batch, self.begun = len(x), True
        self.arena.reset()  # as in :meth:`Pass.begin`, but for the pool

    def __del__(self) -> None:
        pass  # the arena goes back to no pool

    def result(self) -> Array:
        return self.seen(self._value)
