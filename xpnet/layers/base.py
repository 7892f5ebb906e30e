"""The contract of a layer."""

from __future__ import annotations

import functools
import inspect
import math
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar, Self

from xpnet.backends.device import Array, Device
from xpnet.flow import Flow, complete
from xpnet.parameters import Parameter

if TYPE_CHECKING:
    from xpnet.parameters import Maker
    from xpnet.step import Pass

Shape = tuple[int, ...]


class Configured:
    """An object whose constructor arguments stay readable as attributes of the same names."""

    def __new__(cls, *args: Any, **options: Any) -> Self:
        """Arguments that do not fit are refused with those that there are; copying and loading come without any."""
        if args or options:
            signature = inspect.signature(cls.__init__)
            try:
                signature.bind(None, *args, **options)
            except TypeError as error:
                raise TypeError(f"{cls.__name__}({_names(signature)}): {error}") from None
        return super().__new__(cls)

    @classmethod
    def options(cls) -> list[str]:
        """Names of the constructor's arguments."""
        return list(_arguments(cls))

    def config(self) -> dict[str, Any]:
        """The constructor's arguments, by name."""
        return {name: getattr(self, name) for name in _arguments(type(self)) if hasattr(self, name)}

    def __repr__(self) -> str:
        defaults = _arguments(type(self))
        changed = [f"{k}={_short(v)}" for k, v in self.config().items() if not _same(v, defaults[k].default)]
        return f"{type(self).__name__}({', '.join(changed)})"


#: How often an attribute of any :class:`Recordable` was set, to tell quickly that nothing has changed.
clock = [0]


class Recordable(Configured):
    """What a training step is made of: layers, losses and optimizers. Records of what they do hold until one changes.

    It changes when an attribute is set or deleted; what a list or an array that is an attribute holds does not count.
    """

    #: How often an attribute was set, those apart that may differ from step to step.
    changes = 0
    per_step: ClassVar[frozenset[str]] = frozenset()

    @property
    def recordable(self) -> bool:
        """Whether a step may be recorded and replayed without this object's code (:mod:`xpnet.training.recorded`).

        One of your own says ``recordable = True`` if its arrays are computed by ``xp`` and operators alone, and if random
        numbers come from ``step.uniform``, whatever else differs from step to step from the optimizer's ``numbers``.
        """
        return type(self).__module__.partition(".")[0] == "xpnet"

    def __setattr__(self, name: str, value: Any) -> None:
        self._count_change(name)
        super().__setattr__(name, value)

    def __delattr__(self, name: str) -> None:
        super().__delattr__(name)
        self._count_change(name)

    def _count_change(self, name: str) -> None:
        if name not in self.per_step:
            vars(self)["changes"] = self.changes + 1
            clock[0] += 1


def changes_of(parts: Iterable[Any]) -> int:
    """How often attributes of these were set; what is no :class:`Recordable` does not count."""
    return sum(getattr(part, "changes", 0) for part in parts)


class Layer(Recordable):
    """One differentiable map of a minibatch; rows are samples, channels are last.

    A layer keeps no per-call data, so one network can predict while it trains. A layer of one's
    own defines the three methods below (``build`` only where it has parameters or changes the
    shape) and may use plain ``step.xp`` without buffers; :func:`xpnet.gradcheck` proves it.
    """

    #: False where the derivative is zero or undefined everywhere, so that training through the layer is refused.
    differentiable = True
    #: True where the output is a buffer of the layer's own that ``backward`` does not need: the next layer may overwrite it.
    owns_output = False
    #: True where the gradient by the input is a buffer of the layer's own: the layer before may overwrite it.
    owns_dx = False
    #: True where a sample's output depends on the other samples of a training batch.
    mixes_samples = False
    #: True where an output is computed from a window of the image.
    gathers = False
    #: True where half precision is too narrow, for sums of squares say: computed in float32 then (:mod:`xpnet.training.half`).
    wide = False
    #: True for :class:`Meeting`.
    meets = False

    @property
    def blockwise(self) -> bool:
        """Whether a pass may take the batch in blocks; a layer of one's own says ``blockwise = True``.

        It may where samples meet only where the layer yields (:mod:`xpnet.flow`), gradients are assigned through ``step.total``
        and arrays are computed by ``xp`` and operators alone, so that there is a record of it.
        """
        return False

    def build(self, shape: Shape, make: Maker) -> Shape:
        """Declare parameters with ``make`` for inputs of per-sample ``shape``; return the per-sample output shape."""
        return shape

    def forward(self, x: Array, step: Pass) -> tuple[Array, Any]:
        """``x`` (N, *shape) -> output (N, *output shape), and whatever ``backward`` needs."""
        raise NotImplementedError(f"{type(self).__name__} has no forward(x, step)")

    def backward(self, dy: Array, cache: Any, step: Pass) -> Array | None:
        """Assign every parameter's ``grad``; return the loss's gradient by ``x`` (None allowed unless ``step.needs_dx``)."""
        raise NotImplementedError(f"{type(self).__name__} has no backward(dy, cache, step)")

    def walk(self) -> Iterator[Layer]:
        """Every layer inside this one, at any depth: those that are its attributes or stand in lists of them."""
        for value in vars(self).values():
            for child in value if isinstance(value, list | tuple) else (value,):
                if isinstance(child, Layer):
                    yield child
                    yield from child.walk()

    def check_batch(self, n: int) -> None:
        """Refuse training batches of ``n`` rows if they mean nothing to the layer; ``fit`` asks before it begins."""

    def weight_size(self, device: Device) -> int:
        """Elements of what the gradients of its own parameters are summed in on the device."""
        return sum(p.size for p in vars(self).values() if isinstance(p, Parameter) and p.trainable)

    def flops(self, shape: Shape, output_shape: Shape) -> int:
        """Floating-point operations of one sample's forward pass; one per output element unless overridden."""
        return math.prod(output_shape)


class Meeting(Layer):
    """A layer whose samples meet: its passes are generators that yield where they do (:mod:`xpnet.flow`)."""

    meets = True

    @property
    def blockwise(self) -> bool:
        return True

    def forward_in_blocks(self, x: Array, step: Pass) -> Flow:
        """As :meth:`Layer.forward`, of a block of the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no forward_in_blocks(x, step)")

    def backward_in_blocks(self, dy: Array, cache: Any, step: Pass) -> Flow:
        """As :meth:`Layer.backward`, of a block of the batch."""
        raise NotImplementedError(f"{type(self).__name__} has no backward_in_blocks(dy, cache, step)")

    def forward(self, x: Array, step: Pass) -> tuple[Array, Any]:
        return complete(self.forward_in_blocks(x, step), step)

    def backward(self, dy: Array, cache: Any, step: Pass) -> Array | None:
        return complete(self.backward_in_blocks(dy, cache, step), step)


def _names(signature: inspect.Signature) -> str:
    """The parameters but for self, without annotations and defaults: "n_out, *, bias, init"."""
    own = list(signature.parameters.values())[1:]
    return str(inspect.Signature([p.replace(annotation=p.empty, default=p.empty) for p in own]))[1:-1]


def _read_arguments(cls: type) -> dict[str, inspect.Parameter]:
    """Named parameters of a constructor; ``**options`` stands for those of the base class."""
    found: dict[str, inspect.Parameter] = {}
    for base in cls.__mro__:
        if "__init__" in vars(base):
            own = list(inspect.signature(vars(base)["__init__"]).parameters.values())[1:]
            for p in own:
                if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY):
                    found.setdefault(p.name, p)
            if not any(p.kind == p.VAR_KEYWORD for p in own):
                break
    return found


_arguments: Callable[[type], dict[str, inspect.Parameter]] = functools.cache(_read_arguments)  # of a class, read once


def _same(a: Any, b: Any) -> bool:
    return a is b or (type(a) is type(b) and not hasattr(a, "shape") and a == b)


def _short(value: Any) -> str:
    if inspect.isfunction(value):
        return value.__name__
    if isinstance(value, functools.partial) and inspect.isfunction(value.func) and not value.args:  # constant(value=0.1)
        return f"{value.func.__name__.lstrip('_')}({', '.join(f'{k}={v!r}' for k, v in value.keywords.items())})"
    return repr(value)
