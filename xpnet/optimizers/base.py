"""What every update rule needs: its own vectors, parameters in blocks or traced to a kernel, decay and clipping."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, ClassVar

from xpnet.backends import ledger, resolve
from xpnet.backends.device import Array, Device
from xpnet.backends.recording import recorded
from xpnet.checks import check_number
from xpnet.layers.base import Recordable
from xpnet.optimizers.blocks import Block, seen, sharing
from xpnet.parameters import Parameters
from xpnet.pointwise import Kernel, NotPointwise, Tape, Traced
from xpnet.schedules import Schedule, as_schedule
from xpnet.stages import Plan

KERNELS = 16  # of one optimizer, after which no more are compiled
#: Attributes that are made anew for a copy, and with them all that a rule must not depend on when it is traced.
MADE = frozenset(("_blocks", "_segments", "_gradients", "_workers", "_clip", "_part", "_skip", "_mask", "_device", "_vectors"))
MADE |= {"_traced", "_loops", "_kernels"}
UNTRACED = MADE | frozenset(("_steps", "_schedule", "_learning_rate", "_parameters", "_version", "_plan", "not_fused"))


class Optimizer(Recordable):
    """Base of update rules; one of your own names its vectors in ``slots`` and overrides :meth:`rule`.

    Keyword arguments of every rule:

    ``l2``: the penalty ``l2 / 2 * |w|**2``, its gradient added to the loss's (PyTorch's ``weight_decay`` of SGD and Adam).
    ``weight_decay``: ``w *= 1 - learning_rate * weight_decay`` beside the rule (decoupled; Loshchilov and Hutter, ICLR 2019).
    ``decay_all``: both act on weights only unless this is True, which includes biases and scales.
    ``clip_norm``: gradients are scaled down so that their global L2 norm is at most this (Pascanu et al., ICML 2013).

    Gradients are never modified, frozen parameters neither updated nor counted in the norm.
    """

    slots: ClassVar[tuple[str, ...]] = ()
    #: On a device that fuses, why the rule is not computed as one kernel; empty where it is.
    not_fused = ""
    per_step = frozenset(("steps", "_steps", "learning_rate", "_learning_rate", "_schedule"))  # they reach rules as numbers
    _plan: Plan | None = None
    _loops: list[tuple[Traced, list[Array]]]
    _skip: Array | None = None
    _mask: Array
    _blocks: list[list[Block]]
    _kernels: set[Kernel]

    def __init__(
        self,
        learning_rate: float | Schedule,
        *,
        weight_decay: float = 0.0,
        l2: float = 0.0,
        decay_all: bool = False,
        clip_norm: float | None = None,
        **unknown: Any,
    ):
        if unknown:
            known = ", ".join(self.options())
            raise TypeError(f"{type(self).__name__} has no option {next(iter(unknown))!r}; it has {known}")
        self.learning_rate = learning_rate
        self.decay_all = decay_all
        self.weight_decay, self.l2 = self._number("weight_decay", weight_decay), self._number("l2", l2)
        self.clip_norm = None if clip_norm is None else self._number("clip_norm", clip_norm, above=0)
        self.steps = 0
        self._parameters: Parameters | None = None
        self._version: tuple | None = None
        self._device: Device = resolve("cpu").device  # where the vectors are
        self._vectors: dict[str, Array] = {}

    def _number(self, name: str, value: Any, **bounds: float) -> float:
        return check_number(f"{type(self).__name__}({name}", value, **bounds)

    def numbers(self, rate: float) -> tuple[float, ...]:
        """What the rule needs that differs from step to step; ``self.steps`` counts the update under way, from 1 on."""
        return (rate,)

    def rule(self, xp: Any, *arguments: Any) -> None:
        """Update ``w`` in place: ``rule(xp, rate, w, g, tmp, *slots)``, with what ``numbers`` gives in the place of ``rate``.

        ``g`` is read only, ``tmp`` scratch, ``slots`` begin as zeros. All are blocks of neighbouring elements, on a CPU
        pieces of the vectors: a rule works element by element (a norm over ``g`` would differ by device). Numbers may be 0-d
        arrays of the device, for a rule that is recorded or compiled: it changes none of them, and computes in ``numbers``
        whatever differs from step to step.
        """
        raise NotImplementedError(f"{type(self).__name__} has no rule(xp, rate, w, g, tmp, *slots)")

    def update(self, parameters: Parameters, skip: Array | None = None) -> None:
        """One update of every parameter that is not frozen, from the gradients that ``backward`` assigned.

        ``skip``, a 0-d array of the device: where it is 1 and not 0, parameters and the rule's vectors stay as they are
        (``steps`` counts on: the host does not know). Whoever gives one gives the same array each time.
        """
        self.prepare(parameters)
        if skip is not self._skip:
            self._skip_by(skip)
        self.apply(self.advance())
        ledger.step_ended()

    def prepare(self, parameters: Parameters) -> None:
        """Have the vectors for these parameters."""
        if not isinstance(parameters, Parameters):
            raise TypeError(f"{type(self).__name__}.update takes net.parameters, not a {type(parameters).__name__}")
        workers = sharing(parameters)
        version = (parameters.version, self.decay_all, bool(self.weight_decay or self.l2), workers and workers.count)
        if parameters is not self._parameters or version != self._version:
            self._bind(parameters, version)
            self._workers = workers

    def advance(self) -> tuple[float, ...]:
        """Count the step, and give what :meth:`apply` needs that differs from step to step."""
        own = self.__dict__  # past the properties and the count of changes, which take longer than the rest
        rate = self._schedule(own["_steps"])
        own["_steps"] += 1
        return (1 - rate * self.weight_decay, *self.numbers(rate))

    def take_back(self) -> None:
        """Count the last step as not made."""
        self.__dict__["_steps"] -= 1

    def apply(self, numbers: Sequence[Any]) -> None:
        """Update the prepared parameters; ``numbers`` as :meth:`advance` gave them, floats or 0-d arrays of the device."""
        device = self._device
        with device.use():
            if self.clip_norm is not None:
                self._measure_norm(device.xp)
            if device.fuses and self._has_loops(len(numbers)):
                given = (*numbers, self._clip, self._skip)
                for (kernel, _, used), arrays in self._loops:
                    device.pointwise(kernel, arrays, [given[i] for i in used])
            else:
                self._apply_in_blocks(device.xp, numbers)

    def _skip_by(self, skip: Array | None) -> None:
        self._skip, self._mask = skip, self._device.empty((), "bool")
        self._blocks = []

    def _apply_in_blocks(self, xp: Any, numbers: Sequence[Any]) -> None:
        if self._skip is not None:
            xp.greater(self._skip, 0, out=self._mask)
        workers, blocks = self._workers, self._made_blocks()
        if workers is None:
            self._update(xp, numbers, blocks[0])
        elif self._plan:
            for worker, share in enumerate(blocks):
                self._plan.next_is(worker)
                self._update(xp, numbers, share)
            self._plan.end_stage()
        else:
            workers.replay([[(self._update, (xp, numbers, share))] for share in blocks])

    def planned(self, plan: Plan, numbers: int) -> Optimizer:
        """This optimizer, prepared, with arrays that note in a plan what is done with them."""
        twin = object.__new__(type(self))
        in_blocks = not (self._device.fuses and self._has_loops(numbers))
        vars(twin).update(
            vars(self),
            _plan=plan,
            _blocks=[[Block(*map(seen, block)) for block in blocks] for blocks in self._made_blocks()] if in_blocks else [],
            _gradients=seen(self._gradients),
            _clip=recorded(self._clip),
            _part=recorded(self._part),
        )
        return twin

    def _update(self, xp: Any, numbers: Sequence[Any], blocks: list[Block]) -> None:
        plain = self.clip_norm is None and not self.l2
        keep, *own = numbers
        for block in blocks:
            w, g, slots, tmp, _, decay, before = block
            for old, a in zip(before, (w, *slots), strict=False):
                xp.copyto(old, a)
            if not plain:
                g = self._adjust(xp, block)
            if self.weight_decay and decay:
                xp.multiply(w, keep, out=w)
            self.rule(xp, *own, w, g, tmp, *slots)
            for old, a in zip(before, (w, *slots), strict=False):
                xp.copyto(a, old, where=self._mask)

    @property
    def steps(self) -> int:
        """Updates so far, with the one under way."""
        if self._plan:
            self._plan.recorder.refuse(f"{type(self).__name__}.rule reads steps, which belongs into numbers(rate)")
        return self._steps

    @steps.setter
    def steps(self, count: int) -> None:
        self._steps = count

    @property
    def learning_rate(self) -> float | Schedule:
        """The number or schedule; assign another one at any time."""
        if self._plan:
            self._plan.recorder.refuse(f"{type(self).__name__}.rule reads learning_rate, which numbers(rate) is given")
        return self._learning_rate

    @learning_rate.setter
    def learning_rate(self, rate: float | Schedule) -> None:
        self._schedule, self._learning_rate = as_schedule(rate), rate

    @property
    def current_rate(self) -> float:
        """Learning rate of the next update."""
        return self._schedule(self.steps)

    @property
    def vectors(self) -> dict[str, Array]:
        """The rule's own vectors by the names in ``slots``, as long as the network's flat one; none before the first update."""
        return dict(self._vectors)

    @property
    def schedule(self) -> Schedule:
        """What gives the learning rate of a step; of a number the constant one."""
        return self._schedule

    def observe(self, loss: float) -> None:
        """Tell the schedule the epoch's loss (for :class:`xpnet.ReduceOnPlateau`)."""
        self._schedule.observe(loss)

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds of it, on the host: updates, what its schedule observed, its own vectors by parameter."""
        whole: Any = self._parameters
        found = {name: whole.cut(self._device.get(vector)) for name, vector in self._vectors.items()}
        return {"steps": self.steps, "schedule": self._schedule.state(), "vectors": found}

    def restore(self, state: dict[str, Any], parameters: Parameters) -> None:
        """Take over what :meth:`state` gave, for the parameters of the same network."""
        self.reset()
        if state["vectors"]:
            self.prepare(parameters)
        with parameters.device.use():
            for name, arrays in state["vectors"].items():
                self._vectors[name][...] = parameters.device.put(parameters.joined(arrays))
        self.steps = state["steps"]
        self._schedule.restore(state["schedule"])

    def go_back_to(self, earlier: Optimizer) -> None:
        """Take over the steps and vectors of an earlier copy of this optimizer."""
        self.steps = earlier.steps
        for name, vector in self._vectors.items():
            vector[...] = earlier._vectors.get(name, 0)

    def reset(self) -> None:
        """Forget the network and all that was gathered about it, so that another can be trained."""
        self.steps, self._parameters, self._vectors = 0, None, {}
        self._schedule.reset()

    def _adjust(self, xp: Any, block: Block) -> Array:
        """The gradient, clipped, plus that of the penalty."""
        g = block.adjusted
        if self.clip_norm is not None:
            xp.multiply(block.g, self._clip, out=g)
        else:
            xp.copyto(g, block.g)
        if self.l2 and block.decay:
            g += xp.multiply(block.w, self.l2, out=block.tmp)
        return g

    def _measure_norm(self, xp: Any) -> None:
        """``clip = min(1, clip_norm / (norm + 1e-6))`` as a 0-d array of the device, without reading it."""
        clip, part = self._clip, self._part
        clip.fill(0)
        for g in self._gradients:
            clip += self._device.dot(g, g, out=part)
        xp.sqrt(clip, out=clip)
        clip += 1e-6
        xp.divide(self.clip_norm, clip, out=clip)
        xp.minimum(clip, 1, out=clip)

    def _bind(self, parameters: Parameters, version: tuple) -> None:
        """Make the vectors once, and forget what was made of earlier ones."""
        if self._parameters is not None and parameters is not self._parameters:
            raise ValueError(
                f"this {type(self).__name__} has begun to train another network (or this one before it was built "
                f"anew): give every network an optimizer of its own, or call optimizer.reset() first"
            )
        device, n = parameters.device, parameters.value.size
        with device.use():
            vectors = {}
            for name in self.slots:
                vectors[name] = device.empty((n,), parameters.dtype)
                before = self._vectors.get(name)
                vectors[name][...] = 0 if before is None else self._moved(before, device)
            self._vectors, self._device = vectors, device
            self._clip, self._part = (device.empty((), parameters.dtype) for _ in range(2))
            by_decay = not self.decay_all and bool(self.weight_decay or self.l2)  # else fewer, longer segments
            self._segments = parameters.segments(by_decay=by_decay)
            self._gradients = [parameters.grad[s.start : s.stop] for s in self._segments]
            self._blocks, self._traced, self._kernels = [], None, set()  # made when they are needed
        self._parameters, self._version = parameters, version

    def _moved(self, vector: Array, device: Device) -> Array:
        return vector if device == self._device else device.put(self._device.get(vector))

    def _made_blocks(self) -> list[list[Block]]:
        if not self._blocks:
            vars(self)["_blocks"] = self._cut(self._workers.count if self._workers else 1)
        return self._blocks

    def _cut(self, workers: int) -> list[list[Block]]:
        """Blocks of neighbouring elements, in one list for each worker, with scratch memory of its own."""
        device, longest = self._device, max((s.stop - s.start for s in self._segments), default=0)
        size = min(device.block_size or longest, longest)
        spans = [(a, min(a + size, s.stop), s.decay) for s in self._segments for a in range(s.start, s.stop, size)]
        workers, found = max(min(workers, len(spans)), 1), []
        for k in range(workers):
            scratch = [device.empty((size,), self._clip.dtype) for _ in range(2 + self._undone)]
            mine = spans[len(spans) * k // workers : len(spans) * (k + 1) // workers]
            found.append([self._block(*span, scratch) for span in mine])
        return found

    def _block(self, start: int, stop: int, decay: bool, scratch: list[Array]) -> Block:
        tmp, adjusted, *before = (a[: stop - start] for a in scratch)
        return Block(*self._views(start, stop), tmp, adjusted, decay, tuple(before))

    @property
    def _undone(self) -> int:
        """How many vectors may have to be put back: weights and the rule's own."""
        return 0 if self._skip is None else 1 + len(self.slots)

    def _views(self, start: int, stop: int) -> tuple[Array, Array, tuple[Array, ...]]:
        """Weights, gradients and the rule's own vectors from one element to another."""
        whole: Any = self._parameters
        vectors = tuple(self._vectors[name][start:stop] for name in self.slots)
        return whole.value[start:stop], whole.grad[start:stop], vectors

    def _has_loops(self, numbers: int) -> bool:
        """Whether the update is one kernel for each segment; traced anew where an attribute was set since."""
        if self._traced != self.changes:
            vars(self).update(_traced=self.changes, _loops=self._trace_all(numbers))
        return bool(self._loops)

    def _trace_all(self, numbers: int) -> list[tuple[Traced, list[Array]]]:
        """For each segment the kernel and its arrays; none where the rule is not computed element by element."""
        found, reason = [], ""
        try:
            if not self.recordable:
                raise NotPointwise(f"{type(self).__name__} does not say recordable = True")
            for segment in self._segments:
                traced = self._trace(numbers, segment.decay)
                w, g, slots = self._views(segment.start, segment.stop)
                found.append((traced, [(w, g, *slots)[i] for i in traced.arrays]))
                self._kernels.add(traced.kernel)
            if len(self._kernels) > KERNELS:
                raise NotPointwise("it changes again and again")
        except Exception as error:  # whatever a rule does with symbols: what is wrong with it shows when it runs itself
            found, reason = [], f"{type(error).__name__}: {error}"
        vars(self)["not_fused"] = reason
        return found

    def _trace(self, numbers: int, decay: bool) -> Traced:
        """:meth:`_update` of symbols, by an optimizer that knows only what does not differ from step to step."""
        tape = Tape(self._clip.dtype)
        w, g, *slots = (tape.array(writable=i != 1) for i in range(2 + len(self.slots)))
        given = [tape.number() for _ in range(numbers)]
        known = {k: v for k, v in vars(self).items() if k not in UNTRACED} | {"_clip": tape.number()}
        if self._skip is not None:
            known["_mask"] = tape.record("greater", (tape.number(), 0))
        twin = object.__new__(type(self))
        vars(twin).update(known)
        tmp, adjusted, *before = (tape.empty() for _ in range(2 + self._undone))
        twin._update(tape.xp, given, [Block(w, g, tuple(slots), tmp, adjusted, decay, tuple(before))])
        if vars(twin) != known:
            raise NotPointwise("the rule changes the optimizer")
        ends: list[Any] = [(i, symbol) for i, symbol in enumerate((w, g, *slots)) if symbol.operand != ("array", i)]
        if not ends:
            raise NotPointwise("the rule changes nothing")
        return tape.kernel(type(self).__name__, ends)

    def __deepcopy__(self, memo: dict) -> Optimizer:
        """A copy with its vectors on the same device, so that nothing waits for it."""
        new = memo[id(self)] = self.__class__.__new__(self.__class__)
        new.__dict__.update(copy.deepcopy(self._kept(), memo))
        with self._device.use():
            new._vectors = {k: v.copy() for k, v in self._vectors.items()}
        new._device, new._version = self._device, None
        return new

    def _kept(self) -> dict:
        """Attributes but for vectors; views and scratch memory are made anew."""
        return {k: v for k, v in self.__dict__.items() if k not in MADE}

    def __getstate__(self) -> dict:
        """Vectors as host arrays."""
        return {**self._kept(), "_vectors": {k: self._device.get(v) for k, v in self._vectors.items()}}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self._device, self._version = resolve("cpu").device, None
