"""What one pass through a network carries: namespace, buffers, random numbers, the count that losses divide by."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from xpnet.arenas import Results
from xpnet.backends.device import Array
from xpnet.backends.workers import one_blas_thread

if TYPE_CHECKING:
    from xpnet.network import Sequential
    from xpnet.parameters import Parameter, Parameters
    from xpnet.stages import Plan


class Total:
    """A sum over parts of a batch, such as a parameter's gradient: the first part is assigned, the others are added."""

    def __init__(self, array: Array):
        self.array, self.begun = array, False

    def add_product(self, a: Array, b: Array, step: Pass) -> None:
        """Add the product of two matrices, or of two stacks of matrices."""
        self.add(lambda out: step.xp.matmul(a, b, out=out), step)

    def add_rows(self, x: Array, step: Pass) -> None:
        """Add the column sums of a matrix."""
        self.add(lambda out: step.sum_rows(x, out), step)

    def add(self, compute: Callable[[Array], object], step: Pass) -> None:
        """Add what ``compute(out)`` writes."""
        if not self.begun:
            compute(self.array)
            self.begun = True
            return
        taken = step.arena.scratch.taken
        more = step.scratch(self.array.shape)
        compute(more)
        step.xp.add(self.array, more, out=self.array)
        step.arena.scratch.taken = taken


class Pass:
    """One pass (forward, loss, backward) of one batch; made by ``net.step(training=...)``.

    Attributes
    ----------
    xp, device, dtype : where and in what precision the pass computes.
    training, updates_state : whether dropout is on, whether running statistics may be written.
    checks_gradients : whether backward makes sure that every gradient was assigned (on ``sim``, and where ``net.debug``).
    needs_dx : whether the layer being asked must return the gradient of its input.
    arena : the buffers, from the forward pass on (``begun``).
    count : what a loss divides by, where it is not the weight of the rows in hand: the whole batch's.
    batch : rows of the whole batch.
    row : index in the whole batch of the first row in hand (per-sample form, blocks), for the random numbers.
    forward_only : no backward will come, so that nothing need be kept for it.
    lent : outputs of runs of layers in memory that is used again by the next pass, whoever holds them.
    splits : whether neighbouring layers may take the batch in blocks; ``is_part`` : whether this is the pass of a block.

    From the forward pass on there are also the two ways to get uninitialised buffers:

    keep(shape, dtype=None) : lives until the backward pass of this step has ended.
    scratch(shape, dtype=None) : lives until the current call of the layer ends (not across a call of another layer).
    """

    output_shape: tuple[int, ...]
    begun = forward_only = is_part = may_overwrite = False
    plan: Plan | None = None  # that is being made of this pass
    parts: Array  # what the blocks of the batch have put into `part`, one row a block
    keep: Callable[..., Array]
    scratch: Callable[..., Array]

    def __init__(
        self,
        network: Sequential,
        parameters: Parameters,
        results: Results,
        training: bool,
        number: int | Array,
        count: Array | float | None,
        row: int,
        needs_dx: bool,
    ):
        self.network = network
        self.device, self.dtype = parameters.device, parameters.dtype
        self.xp = self.device.xp
        self.training = self.updates_state = training
        self._number, self.count, self.row, self.results = number, count, row, results
        self.input_gradient, self.needs_dx = needs_dx, True
        self.checks_gradients = network.debug or self.device.poisons
        self.splits = network.in_blocks and self.device.takes_blocks
        self.lent: list[Array] = []

    @property
    def number(self) -> int | Array:
        """Which training pass it is; of one that is recorded no layer may know."""
        if self.plan is not None:
            self.plan.recorder.refuse(
                "step.number, which differs from step to step, is read: step.uniform draws random numbers"
            )
        return self._number

    @property
    def fuses(self) -> bool:
        """Whether neighbouring layers that one kernel computes are taken together."""
        return self.network.fuses and self.device.fuses

    def begin(self, x: Array) -> None:
        """Take the buffers for an input of this shape; they go back when this object dies."""
        self.batch = len(x)
        self._key = ((self.training, self.forward_only), x.shape)
        self._pool = self.network.arenas  # the network has another one after it is moved
        self.arena = self._pool.take(self._key, self.device, self.dtype)
        self.keep, self.scratch = self.arena.empty, self.arena.scratch.empty
        self.begun = True

    def __del__(self) -> None:
        if self.begun:
            self._pool.give(self._key, self.arena)

    def surroundings(self) -> contextlib.AbstractContextManager:
        """In which layers are called: on the device, or, where workers share the batch, with one thread for each product."""
        return one_blas_thread() if self.splits else self.device.use()

    def seen(self, a: Array) -> Array:
        """An array of the pass's, which tells the plan what is done with it where there is one."""
        return a

    def result(self) -> Array:
        """A fresh 0-d array for a loss: the receiver's own."""
        return self.results.next()

    def lasting(self, key: Any, shape: tuple[int, ...]) -> Array:
        """Scratch memory that is shared under this key alone: zeros at first, later what was written to it before."""
        return self.arena.scratch.lasting(key, shape)

    def handed_out(self, a: Array) -> Array:
        """A result of the whole pass: a copy of what is in memory that only the pass may hold (``lent``)."""
        if not any(a is b or a.base is b for b in self.lent):
            return a
        copy = self.keep(a.shape)
        self.xp.copyto(copy, a)
        return copy

    def over(self, a: Array) -> Array:
        """Where to write what takes the place of a layer's input (in backward: of ``dy``): over it if nobody needs it more."""
        return a if self.may_overwrite else self.keep(a.shape)

    def rows(self, x: Array) -> Array:
        """``x`` (N, ..., D) as the matrix (N * ..., D)."""
        return x if x.ndim == 2 else x.reshape(math.prod(x.shape[:-1]), x.shape[-1])

    def matmul(self, a: Array, b: Array, out: Array | None = None) -> Array:
        """Product of two matrices into ``out`` or a kept buffer."""
        if out is None:
            out = self.keep((a.shape[0], b.shape[1]))
        if a.shape[1] == 1:  # of one row, or one column: NumPy's matmul goes without BLAS there
            return self.xp.multiply(a, b, out=out)
        return self.device.shared_matmul(a, b, out) if self.splits else self.xp.matmul(a, b, out=out)

    def affine(self, x: Array, W: Array, b: Array | None) -> Array:
        """``x @ W + b`` with the leading axes of ``x`` (N, ..., n_in) as rows -> (N, ..., n_out)."""
        if x.ndim != 2:
            return self.affine(self.rows(x), W, b).reshape(*x.shape[:-1], W.shape[1])
        y = self.matmul(x, W)
        return y if b is None else self.xp.add(y, b, out=y)

    def broad(self, vector: Array, pixels: int, keep: bool = False) -> Array:
        """A vector (C,) repeated, where ``pixels`` can be taken several at a time: for long inner loops (on a CPU).

        ``x.reshape(-1, len(broad))`` goes with it, for ``x`` (N, ..., C) with ``pixels`` of C channels a sample.
        """
        repeats = self.device.repeats(pixels, len(vector))
        if repeats == 1:
            return vector
        found = (self.keep if keep else self.scratch)((repeats, len(vector)))
        self.xp.copyto(found, vector)
        return found.reshape(-1)

    def sum_rows(self, x: Array, out: Array) -> Array:
        """Column sums of a matrix, as a product with ones (quicker than ``sum(axis=0)`` on a CPU)."""
        return self.xp.matmul(self.arena.ones(len(x)), x, out=out)

    def mean_rows(self, x: Array, out: Array) -> Array:
        """Column means of a matrix."""
        return self.xp.matmul(self.arena.ones(len(x), 1 / max(len(x), 1)), x, out=out)

    @property
    def shares(self) -> Array:
        """What part of the batch's rows each block has; they add up to 1."""
        return self.device.constant((1.0,), self.dtype)

    def part(self, shape: tuple[int, ...]) -> Array:
        """Where to put this block's part of what is combined at the next ``yield``: a row of ``parts`` (blocks, *shape)."""
        self.parts = self.keep((1, *shape))
        return self.parts[0]

    def once(self, key: Any, make: Callable[[Pass], Any]) -> Any:
        """What ``make(step)`` gives, made once for all blocks of the batch: something that parameters alone decide."""
        return make(self)

    @contextlib.contextmanager
    def total(
        self,
        parameter: Parameter,
        shape: tuple[int, ...] | None = None,
        finish: Callable[[Array, Pass], object] | None = None,
    ) -> Iterator[Total]:
        """A sum over parts of the rows in hand and over all blocks: the parameter's gradient, assigned in the end.

        If it is summed in another ``shape``, ``finish(sum, step)`` makes the gradient of it, once.
        """
        total = Total(parameter.grad if shape is None else self.keep(shape))
        yield total
        if not total.begun:
            total.array.fill(0)  # no rows
        if finish is not None:
            finish(total.array, self)

    def uniform(self, shape: tuple[int, ...], stream: int) -> Array:
        """Scratch float32 numbers in [0, 1): the same for one seed, step, stream and row on every device."""
        out = self.scratch(shape, "float32")
        self._draw(stream, self.row * math.prod(shape[1:]), out)
        return out

    def _draw(self, stream: int, offset: int, out: Array) -> None:
        self.device.uniform(self.network.seed, stream, self._number, offset, out)
