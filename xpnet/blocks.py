"""A batch in blocks: neighbouring layers whose samples do not interact take a cache-sized block of rows at a time.

So what one layer has written is still in the cache when the next one reads it, and blocks are shared among threads. The
layers do not know: a block is a pass of fewer rows (:class:`Block`), and where samples do meet, as in batch normalisation,
the layer yields and the blocks wait for one another (:mod:`xpnet.flow`). The first pass of a shape runs the layers to
learn which buffers they need, the second is recorded (:mod:`xpnet.backends.recording`), later ones are replayed.

Results do not depend on the number of threads: how rows are cut depends on their shape alone, and sums over the batch are
made in lanes, a fixed number of groups of neighbouring blocks, in order, and then over the lanes.
"""

from __future__ import annotations

import contextlib
import math
import warnings
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from xpnet.arenas import Arena, Scratch
from xpnet.backends.device import Array, Device, DTypeLike
from xpnet.backends.recording import Namespace, same
from xpnet.flow import Flow, backward_through, complete, forward_through
from xpnet.layers.base import changes_of
from xpnet.stages import Plan, PlannedPass
from xpnet.step import Pass, Total

if TYPE_CHECKING:
    from xpnet.layers.base import Layer, Shape
    from xpnet.parameters import Parameter

LANES = 8  # partial sums of each gradient: so many workers can share a batch,
LANE_BYTES = 1 << 27  # unless they would take more memory than this
NOT_YET = "images are taken in blocks, of which there is no record yet"
SUM_STEP = 16  # elements to whose multiples sums are aligned


class Run:
    """Neighbouring layers of a chain, of which a pass takes the batch in blocks where the device and the pass allow it.

    ``shapes`` are the per-sample shapes between the layers, ``first`` is the index of the first layer with parameters.
    """

    def __init__(self, layers: Sequence[Layer], shapes: Sequence[Shape], first: int):
        self.layers, self.shapes, self.first = list(layers), list(shapes), first
        self.refused = False  # for want of a record

    meets, owns_output, owns_dx = False, True, True  # as a chain sees it

    def forward(self, x: Array, step: Pass) -> Any:
        if self.refused or step.row or not len(x) or not (step.training or step.forward_only):
            return complete(forward_through(self.layers, x, step), step)
        cut = self._cut(x, step)
        return cut.forward(x, step), cut.lend()

    def backward(self, dy: Array, cache: Any, step: Pass) -> Any:
        if isinstance(cache, Loan):
            return cache.cut.backward(dy, step)
        return complete(backward_through(self.layers, self.first, dy, cache, step), step)

    def all_layers(self) -> list[Layer]:
        """The layers at any depth."""
        return [layer for top in self.layers for layer in (top, *top.walk())]

    def refuse(self, reason: str) -> None:
        """Take the batch as a whole from now on."""
        self.refused = True
        names = ", ".join(map(repr, self.layers))
        warnings.warn(
            f"{names[:80]}: without threads, since there is no record of them: {reason}", RuntimeWarning, stacklevel=2
        )

    def _cut(self, x: Array, step: Pass) -> Cut:
        """The buffers and plans of passes like this one, new ones where those are still needed for another's backward."""
        key = (
            changes_of(self.all_layers()),
            step.network.parameters.version,
            step.device.workers.count,
            step.updates_state,
            step.input_gradient,
        )
        cut = step.arena.kin.get(self)
        if cut is None or cut.key != key or cut.lent:
            cut = step.arena.kin[self] = Cut(self, key, x, step)
        return cut


class Loan:
    """Stands for a forward pass's caches: while somebody holds it, the buffers of its cut are not used again."""

    def __init__(self, cut: Cut):
        self.cut = cut


class Cut:
    """A batch cut into blocks: their buffers, and the plans once they are recorded."""

    def __init__(self, run: Run, key: tuple, x: Array, step: Pass):
        self.run, self.key, self.device, self.dtype = run, key, step.device, step.dtype
        weights, size = [layer.weight_size(step.device) for layer in run.all_layers()], step.dtype.itemsize
        n = step.device.block_count(len(x), size * max(map(math.prod, run.shapes)), size * max(weights))
        self.rows = [slice(len(x) * b // n, len(x) * (b + 1) // n) for b in range(n)]
        lanes = min(LANES, n, max(LANE_BYTES // (size * sum(weights) + 1), 2))
        self.lanes = [b * lanes // n for b in range(n)]
        self.threads = min(step.device.workers.count, lanes)
        self.workers = [lane * self.threads // lanes for lane in self.lanes]
        self.shares = tuple((r.stop - r.start) / len(x) for r in self.rows)
        self.memory = step.arena.kin.setdefault(Shared, Shared(step.device, step.dtype))
        if step.training:
            self.memory.reserve(lanes, sum(weights) + 2 * SUM_STEP * len(weights))
        scratch = [self.memory.scratch(k) for k in range(self.threads)]
        self.joint, *self.helpers = (Arena(self.device, self.dtype, step.arena, s) for s in (None, *scratch))
        self.arenas = self._block_arenas(step, scratch)
        self.made_here: list[Array] = []
        self.x = x if is_lent(x, step) else self._empty(x.shape)
        self.y = self._empty((len(x), *run.shapes[-1]))
        self.dy: Array | None = None
        self.dx: Array | None = None
        self.made: dict[Any, Any] = {}
        self.sums: dict[str, Sum] = {}
        self.caches: list = []
        self.forward_plan: Plan | None = None
        self.backward_plan: Plan | None = None
        self.forwards = self.backwards = 0  # passes made by the layers themselves
        self._loan: Callable[[], Loan | None] = lambda: None

    def _block_arenas(self, step: Pass, scratch: list[Scratch]) -> list[Arena]:
        """One for each block; where nothing is kept for a backward pass, a worker's blocks of one size share theirs."""
        made: dict[Any, Arena] = {}
        keys = list(zip(self.workers, [r.stop - r.start for r in self.rows], strict=True))
        for b, key in enumerate(keys):
            place = key if step.forward_only else b
            if place not in made:
                made[place] = Arena(self.device, self.dtype, step.arena, scratch[key[0]])
        return [made[key if step.forward_only else b] for b, key in enumerate(keys)]

    def _empty(self, shape: Shape) -> Array:
        self.made_here.append(self.device.empty(shape, self.dtype))
        return self.made_here[-1]

    @property
    def kept_bytes(self) -> int:
        """Bytes of what passes from layer to layer, or waits for the backward pass."""
        arenas = {id(arena): arena for arena in self.arenas}.values()
        return sum(part.nbytes for part in (*arenas, self.joint, *self.made_here))

    @property
    def shared_bytes(self) -> int:
        """Bytes of scratch memory that no worker has: :class:`Shared` has the rest."""
        return self.joint.scratch.nbytes

    def lend(self) -> Loan:
        loan = Loan(self)
        self._loan = weakref.ref(loan)
        return loan

    @property
    def lent(self) -> bool:
        return self._loan() is not None

    def forward(self, x: Array, step: Pass) -> Array:
        """Outputs of the whole batch."""
        if not same(x, self.x):
            step.xp.copyto(self.x, x)
        if self.forward_plan is None:
            self.caches = []
            self.joint.reset()
            record = self.forwards > 0 and (self.backwards > 0 or not step.training)  # a backward pass of its own comes first
            self.caches, self.forward_plan = self._work(self._forward, step, record)
            self.forwards += 1
            self.made = {}
        else:
            self._replay(self.forward_plan, step)
        step.lent.append(self.y)
        return step.seen(self.y)

    def backward(self, dy: Array, step: Pass) -> Array | None:
        """Gradient by the whole batch's inputs, if wanted; assigns those of the parameters."""
        if self.dy is None:
            self.dy = dy if is_lent(dy, step) else self._empty(self.y.shape)
            self.dx = self._empty(self.x.shape) if step.needs_dx else None
        if not same(dy, self.dy):
            step.xp.copyto(self.dy, dy)
        if self.backward_plan is None:
            record = self.forward_plan is not None and self.backwards > 0
            self.backward_plan = self._work(self._backward, step, record)[1]
            self.backwards += 1
            self.made = {}
        else:
            self._replay(self.backward_plan, step)
        if self.dx is None:
            return None
        step.lent.append(self.dx)
        return step.seen(self.dx)

    def _replay(self, plan: Plan, step: Pass) -> None:
        if step.plan:
            step.plan.nest(plan)
        else:
            plan.replay(step.number)

    def _forward(self, block: Block) -> Flow:
        block.arena.reset()
        y, caches = yield from forward_through(self.run.layers, block.own(self.x), block)
        block.xp.copyto(block.own(self.y), y)
        return caches

    def _backward(self, block: Block) -> Flow:
        dx = yield from backward_through(self.run.layers, self.run.first, block.own(self.dy), self.caches[block.index], block)
        if dx is not None:
            block.xp.copyto(block.own(self.dx), dx)

    def _work(self, flow: Callable[[Block], Flow], step: Pass, record: bool) -> tuple[list, Plan | None]:
        """Run the layers block by block on this thread; what the flows return, and the plan if it was recorded."""
        if step.plan:
            step.plan.recorder.refuse(NOT_YET)
        plan = Plan(step, self.threads) if record else None
        with plan.recording() if plan else contextlib.nullcontext():
            joint = Part(step, self.joint, plan, self.shares)
            for total in self.sums.values():
                total.begin(self, joint)
            results = self._drive(flow, joint, step, plan)
            if flow == self._backward:
                self._add_up(step, plan)
        if plan and plan.recorder.refused:
            self.run.refuse(plan.recorder.refused)
            return results, None
        if plan:
            plan.settle()
        return results, plan

    def _drive(self, flow: Callable[[Block], Flow], joint: Part, step: Pass, plan: Plan | None) -> list:
        """Advance every block from yield to yield; what they return in the end."""
        blocks = [Block(step, self, joint, plan, b) for b in range(len(self.rows))]
        flows: list[Flow] = [flow(block) for block in blocks]
        results: list = []
        value = None
        while not results:
            for one, block in zip(flows, blocks, strict=True):
                block.go_on()
                try:
                    combine = one.send(value)
                except StopIteration as end:
                    results.append(end.value)
            if plan:
                plan.end_stage()
            joint.go_on()
            if not results:
                value = combine(joint.parts, joint.shares, joint)
        return results

    def _add_up(self, step: Pass, plan: Plan | None) -> None:
        """The gradients, of the sums of their lanes."""
        helpers = [Part(step, arena, plan, worker=k) for k, arena in enumerate(self.helpers)]
        for i, total in enumerate(self.sums.values()):
            helper = helpers[i % self.threads]
            helper.go_on()
            total.finish(helper)


def is_lent(a: Array, step: Pass) -> bool:
    """Whether an array has a constant address: it is the output of another run of layers in this pass."""
    return any(same(a, b) for b in step.lent)


class Shared:
    """What the cuts of one pass use in turn: each worker's scratch memory, each lane's memory for sums."""

    def __init__(self, device: Device, dtype: DTypeLike):
        self._device, self._dtype = device, dtype
        self._scratch: dict[int, Scratch] = {}
        self._lanes: dict[int, Array] = {}

    def scratch(self, worker: int) -> Scratch:
        return self._scratch.setdefault(worker, Scratch(self._device, self._dtype))

    def reserve(self, lanes: int, size: int) -> None:
        """Have so many elements for each lane."""
        for lane in range(lanes):
            if lane not in self._lanes or len(self._lanes[lane]) < size:
                self._lanes[lane] = self._device.empty((size,), self._dtype)

    def lane(self, lane: int, start: int, shape: tuple[int, ...]) -> Array:
        """An array that begins at element ``start`` of a lane's memory, which grows where it is too short."""
        stop = start + math.prod(shape)
        if len(self._lanes[lane]) < stop:
            self._lanes[lane] = self._device.empty((stop,), self._dtype)
        return self._lanes[lane][start:stop].reshape(shape)

    @property
    def shared_bytes(self) -> int:
        return sum(part.nbytes for part in (*self._scratch.values(), *self._lanes.values()))

    kept_bytes = 0


class Part(PlannedPass):
    """What layers see of a pass that is made in parts; in a recording its arrays note what is done with them."""

    splits, is_part = False, True

    def __init__(self, whole: Pass, arena: Arena, plan: Plan | None, shares: tuple[float, ...] = (), worker: int | None = None):
        self.network, self.device, self.dtype = whole.network, whole.device, whole.dtype
        self.xp = Namespace() if plan else whole.xp
        self.training, self.updates_state, self.forward_only = whole.training, whole.updates_state, whole.forward_only
        self._number, self.count, self.row, self.batch = whole._number, whole.count, 0, whole.batch
        self.needs_dx = whole.needs_dx
        self.arena, self.plan, self.worker, self._shares = arena, plan, worker, shares

    def go_on(self) -> None:
        """This part is the next to compute: by its worker, or by one for all."""
        self.arena.scratch.taken = 0
        if self.plan:
            self.plan.next_is(self.worker)

    @property
    def shares(self) -> Array:
        return self.device.constant(self._shares, self.dtype)


class Block(Part):
    """A pass of one block of rows."""

    def __init__(self, whole: Pass, cut: Cut, joint: Part, plan: Plan | None, index: int):
        super().__init__(whole, cut.arenas[index], plan, worker=cut.workers[index])
        self.cut, self.joint, self.index, self.span = cut, joint, index, cut.rows[index]
        self.row = self.span.start

    def own(self, a: Array) -> Array:
        """This block's rows of an array of the batch's."""
        return self.seen(a[self.span])

    def part(self, shape: tuple[int, ...]) -> Array:
        if self.index == 0:
            self.joint.parts = self.joint.keep((len(self.cut.rows), *shape))
        return self.joint.parts[self.index]

    def once(self, key: Any, make: Callable[[Pass], Any]) -> Any:
        made = self.cut.made
        if key not in made:
            taken = self.arena.scratch.taken
            self.joint.go_on()
            made[key] = make(self.joint)
            self.go_on()
            self.arena.scratch.taken = taken
        return made[key]

    @contextlib.contextmanager
    def total(
        self,
        parameter: Parameter,
        shape: tuple[int, ...] | None = None,
        finish: Callable[[Array, Pass], object] | None = None,
    ) -> Iterator[Total]:
        cut, name = self.cut, parameter.name
        if name not in cut.sums:
            start = max((s.stop for s in cut.sums.values()), default=0)
            cut.sums[name] = Sum(parameter, finish, start, shape or parameter.shape)
            cut.sums[name].begin(cut, self)
        yield cut.sums[name].totals[cut.lanes[self.index]]


class Sum:
    """A parameter's gradient, in one total for each lane: from element ``start`` on of the lane's memory."""

    def __init__(
        self, parameter: Parameter, finish: Callable[[Array, Pass], object] | None, start: int, shape: tuple[int, ...]
    ):
        self.parameter, self._finish, self._start, self._shape = parameter, finish, start, shape
        self.stop = start + -(-math.prod(shape) // SUM_STEP) * SUM_STEP

    def begin(self, cut: Cut, step: Part) -> None:
        lanes = (cut.memory.lane(k, self._start, self._shape) for k in range(cut.lanes[-1] + 1))
        self.totals = [Total(step.seen(lane)) for lane in lanes]

    def finish(self, step: Part) -> None:
        whole, *others = (total.array for total in self.totals)
        for lane in others:
            step.xp.add(whole, lane, out=whole)
        if self._finish is None:
            step.xp.copyto(self.parameter.grad, whole)
        else:
            self._finish(whole, step)
