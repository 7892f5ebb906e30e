"""A network: layers in a chain, with the vectors that hold their parameters and the buffers that passes use."""

from __future__ import annotations

import copy
import inspect
import math
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from xpnet.arenas import ArenaPool, Results
from xpnet.backends import Device, resolve
from xpnet.backends.device import Array, DTypeLike
from xpnet.backends.ledger.places import Place
from xpnet.checks import as_numbers, check_count, check_seed, check_shape, foreign, row_count, wrong_input
from xpnet.layers.base import Layer, Shape
from xpnet.layers.containers import Chain
from xpnet.parameters import Maker, Parameter, Parameters
from xpnet.step import Pass
from xpnet.summary import summarize

PREDICT_ROWS, PREDICT_ELEMENTS = 1024, 1 << 24  # at most at a time where the caller does not say: rows, elements of an array
FLOATS = ("float32", "float64")


class NotBuilt(RuntimeError):
    """The network has no parameters yet."""


class GradientMissing(RuntimeError):
    """A backward pass left a parameter's gradient unassigned, or added to what the last pass had left there."""


class Sequential(Chain):
    """Layers one after another: ``Sequential(Affine(64), ReLU(), Affine(10))``.

    ``build`` makes the parameters; ``forward`` and ``backward`` then run one pass; ``Trainer``
    does all of it. Inside another network a ``Sequential`` is a layer like any other.
    Deep copies and pickles keep parameters and views together.

    Attributes after ``build``: ``parameters`` (by name, and the flat vectors), ``layer_paths`` (every layer, at any depth, by
    the path that its parameters' names begin with), ``input_shape`` and
    ``output_shape`` per sample, ``output_activation`` (class name of the layer that makes the outputs, or None),
    ``debug`` (assign True to have every backward pass checked for gradients that it left unassigned, as on ``sim``),
    ``device``, ``seed``, ``steps_begun`` (training passes, which number the random masks).
    """

    debug = False
    in_blocks = False
    fuses = True  # on devices that do; False: layer after layer
    per_step = frozenset(("steps_begun",))

    def __init__(self, *layers: Layer):
        super().__init__(*layers)
        self._parameters: Parameters | None = None
        self.arenas = ArenaPool()
        self.steps_begun = 0

    def build(
        self,
        input_shape: int | Shape,
        make: Maker | None = None,
        *,
        device: str | Device = "cpu",
        dtype: DTypeLike = "float32",
        seed: int = 0,
    ) -> Any:
        """Make and initialise the parameters for inputs (N, *input_shape), all drawn on the host from ``seed``; return self.

        Building again starts afresh. (With ``make`` it is built as a layer of another network and
        returns its output shape.) Raises ValueError or TypeError where shapes do not fit.
        """
        shape = check_shape(input_shape)
        if make is not None:
            self._become_layer(shape, make)
            return super().build(shape, make)
        return self.build_from(shape, None, device=device, dtype=dtype, seed=seed)

    def build_from(
        self,
        shape: Shape,
        values: Callable[[list[Parameter]], Mapping[str, np.ndarray]] | None,
        *,
        device: str | Device,
        dtype: DTypeLike,
        seed: int,
    ) -> Sequential:
        """As :meth:`build`, with values by name instead of drawn ones: what the function gives for the parameters declared.

        It is called before any memory is taken for them, and may refuse them.
        """
        if not self.layers:
            raise ValueError("Sequential() has no layers: there is nothing to build")
        if (dtype := np.dtype(dtype)).name not in FLOATS:
            hint = "; half precision is Trainer(..., precision='float16')" if dtype == np.float16 else ""
            raise ValueError(f"Sequential.build(dtype={dtype.name!r}): choose one of {', '.join(FLOATS)}{hint}")
        target, seed = resolve(device).device, check_seed(seed)
        root = Maker(rebuilt=self._parameters)
        try:
            output_shape = super().build(shape, root)
            parameters = root.finish(target, dtype, seed, values and values(root.entries))
        except BaseException:
            root.undo()
            raise
        self._parameters = parameters
        self.layer_paths = {root.paths[id(layer)]: layer for layer, _ in root.before}
        self.input_shape, self.output_shape, self.output_activation = shape, output_shape, last_activation(self)
        self.seed, self.steps_begun, self.in_blocks = seed, 0, self.takes_blocks
        self._forget_passes()
        return self

    def _become_layer(self, shape: Shape, make: Maker) -> None:
        if not isinstance(make, Maker):
            raise TypeError(f"Sequential.build: the device is given by name: build({shape}, device={make!r})")
        if self.built:
            raise ValueError(
                f"the Sequential at {make.scope} is a network of its own, whose parameters would be lost: call its "
                f"unbuild() first, and afterwards restore them by parameters.restore"
            )

    def unbuild(self) -> None:
        """Forget the parameters and let go of the layers, which may then serve another network."""
        if self._parameters is not None:
            self._parameters.release()
        self._parameters = None

    @property
    def parameters(self) -> Parameters:
        """Parameters and running statistics, by name; raises NotBuilt before ``build``."""
        if self._parameters is None:
            raise NotBuilt("the network is not built: call net.build((features,)) or trainer.build((features,)), or fit first")
        return self._parameters

    @property
    def built(self) -> bool:
        return self._parameters is not None

    @property
    def device(self) -> Device:
        return self.parameters.device

    def to(self, device: str | Device) -> Sequential:
        """Move the parameters to a device and return self; buffers are made anew there."""
        target = resolve(device).device
        if target != self.device:
            self.parameters.to(target)
            self._forget_passes()
        return self

    def copied(self, dtype: DTypeLike, instead: Mapping[Layer, Layer]) -> Sequential:
        """An independent copy in another dtype, with other layers in the place of some; it takes no batch in blocks."""
        twin = copy.deepcopy(self, {id(layer): other for layer, other in instead.items()})
        twin.parameters.cast(dtype)
        twin.in_blocks = False
        twin._forget_passes()
        return twin

    def freeze(self, *names: str | int) -> None:
        """Keep parameters from being updated: ``net.freeze(0)`` for layer 0, ``net.freeze("0.W")`` for one array."""
        self.parameters.freeze(*map(str, names))

    def unfreeze(self, *names: str | int) -> None:
        """Undo :meth:`freeze`."""
        self.parameters.freeze(*map(str, names), frozen=False)

    def step(
        self,
        *,
        training: bool,
        count: Array | float | None = None,
        number: int | None = None,
        row: int = 0,
        needs_dx: bool = False,
    ) -> Pass:
        """What one pass carries; give it to ``forward``, the loss and ``backward``.

        ``needs_dx=True`` makes ``backward`` return the gradient by the network's input. The rest
        is for who splits a batch: ``count`` is the whole batch's weight, ``row`` the index of the first
        row in hand, ``number`` the step whose random masks to use (the next one's if None).
        """
        parameters = self._parameters
        if parameters is None:
            parameters = self.parameters  # raises
        if number is None:  # only training counts: another thread's count could be written over
            number = self.count_step() if training else self.steps_begun
        return Pass(self, parameters, self._results, training, number, count, row, needs_dx)

    def fresh_result(self) -> Array:
        """A 0-d array of the device for a loss: the receiver's own."""
        return self._results.next()

    def count_step(self, by: int = 1) -> int:
        """The number of the training pass that begins; ``by=-1`` takes one back."""
        number = self.steps_begun
        self.__dict__["steps_begun"] = number + by  # past the count of changes, which takes longer
        return number

    def forward(self, x: Array, step: Pass) -> tuple[Array, list]:
        """Outputs (N, *output_shape) for ``x`` (N, *input_shape) on the network's device, and what ``backward`` needs."""
        if self._parameters is None:
            return super().forward(x, step)  # a layer of another network
        self.check_input(x, step)
        with step.surroundings():
            step.begin(x)
            outputs, cache = super().forward(x, step)
            if step.lent:
                outputs = step.handed_out(outputs)
        step.output_shape = outputs.shape
        return outputs, cache

    def backward(self, dy: Array, cache: list, step: Pass) -> Array | None:
        """Assign every gradient for ``dy``, the loss's gradient by the outputs; uses ``cache`` up.

        Returns the gradient by the input if the step was made with ``needs_dx=True``, else None.
        """
        if self._parameters is None:
            return super().backward(dy, cache, step)
        self._check_gradient(dy, step)
        if not cache:
            raise RuntimeError(
                "backward: this forward pass has had its backward already; run forward again with a new net.step()"
            )
        with step.surroundings():
            if step.checks_gradients:
                step.device.mark_unwritten(self._parameters.grad)
            step.needs_dx = step.input_gradient
            dx = super().backward(dy, cache, step)
            if step.lent and dx is not None:
                dx = step.handed_out(dx)
            cache.clear()  # lets go of the buffers, so that the next step finds them free
            if step.checks_gradients:
                self._require_gradients(step.device)
        return dx

    def predict(self, x: Any, batch_size: int | None = None) -> np.ndarray:
        """Outputs (N, *output_shape) as NumPy for host or device rows ``x``: logits where the network ends in them.

        Inference mode, ``batch_size`` rows at a time (``rows_at_a_time`` if None), which bounds memory. Changes nothing.
        """
        device, parameters = self.device, self.parameters
        rows = self.as_rows(x)
        size = self.rows_at_a_time if batch_size is None else check_count("batch_size", batch_size)
        found = np.empty((len(rows), *self.output_shape), parameters.dtype)
        for start in range(0, len(rows), size):
            with device.use():
                part, step = device.put(self.as_input(rows[start : start + size])), self.step(training=False)
                step.forward_only = True
                found[start : start + size] = device.get(self.forward(part, step)[0])
        return found

    @property
    def rows_at_a_time(self) -> int:
        """Rows that inference takes at a time: 1024, or less where arrays between layers are large."""
        shapes = [shape for chain in (self, *self.walk()) if isinstance(chain, Chain) for shape in chain.shapes]
        return max(1, min(PREDICT_ROWS, PREDICT_ELEMENTS // max(map(math.prod, shapes))))

    def as_input(self, x: Any, name: str = "x") -> Array:
        """Host or device rows, checked against the input shape; where they are, contiguous and in the network's dtype."""
        rows = self.as_rows(x, name)
        xp = self.device.xp if self.device.owns(rows) else np
        with self.device.use():
            return xp.ascontiguousarray(rows, self.parameters.dtype)

    def as_rows(self, x: Any, name: str = "x") -> Array:
        """Host or device rows, checked against the input shape, otherwise as they are."""
        rows = as_numbers(self.device, x, name)
        row_count(rows, name)
        if rows.shape[1:] != self.input_shape:
            raise ValueError(wrong_input(name, rows.shape, self.input_shape))
        return rows

    def state_dict(self) -> dict[str, np.ndarray]:
        """Copies of parameters and running statistics by PyTorch's names, in its layouts: ``{"0.weight": (out, in), ...}``.

        Features of flattened images are in the order of PyTorch, whose channels come first (:mod:`xpnet.saving.layouts`).
        """
        return saving().state_dict(self)

    def load_state_dict(self, state: Mapping[str, Any], *, by_order: bool = False) -> None:
        """Take over what :meth:`state_dict` or PyTorch's gave, arrays or tensors, on any device; checked before any changes.

        ``by_order=True`` goes by the order of the arrays instead of their names, for a module whose layers stand in the same
        order under other names (``features.0.weight``).
        """
        saving().load_state_dict(self, state, by_order=by_order)

    def save(self, path: str | os.PathLike) -> None:
        """Write the network into one safetensors file, atomically: :func:`xpnet.load` makes it again, on any device.

        PyTorch reads its arrays by ``load_state_dict(safetensors.torch.load_file(path))``. OSError where it cannot be written.
        """
        saving().save(path, self)

    def summary(self, batch_size: int = 32) -> str:
        """A table of the layers: output shapes, parameters, FLOPs of one sample's forward pass, bytes.

        Below it how convolutions are computed on the network's device, and a forecast of the memory that a training
        step on ``batch_size`` rows takes (:mod:`xpnet.forecast`).
        """
        return summarize(self, check_count("summary(batch_size", batch_size))

    def check_input(self, x: Array, step: Pass) -> None:
        """Refuse inputs that a pass cannot begin with."""
        if step.network is not self or step.begun:
            why = "of this network has been used already" if step.network is self else "was made by another network"
            raise RuntimeError(f"forward: the step {why}: make one for each forward pass by net.step(training=...)")
        if not step.device.owns(x):
            raise foreign("forward: x", x, step.device)
        if x.shape[1:] != self.input_shape:
            raise ValueError(wrong_input("x", x.shape, self.input_shape))
        if x.dtype != step.dtype:
            raise TypeError(
                f"forward: x is {x.dtype}, the network computes in {step.dtype}: pass device.put(x, dtype={step.dtype.name!r})"
            )

    def _check_gradient(self, dy: Array, step: Pass) -> None:
        if step.network is not self or not step.begun:
            raise RuntimeError("backward: the step that forward was given is needed")
        if not step.device.owns(dy):
            raise foreign("backward: dy", dy, step.device)
        if dy.shape != step.output_shape or dy.dtype != step.dtype:
            raise ValueError(
                f"backward: dy is {dy.dtype} of shape {dy.shape}, the outputs were {step.dtype} of shape {step.output_shape}"
            )

    def _require_gradients(self, device: Device) -> None:
        if not device.is_unwritten(self.parameters.grad):
            return
        for parameter in self.parameters.trainable:
            if device.is_unwritten(parameter.grad):
                raise GradientMissing(missing_gradient(self, parameter))

    def _forget_passes(self) -> None:
        self.parameters.in_blocks = self.in_blocks and self.device.takes_blocks
        self.arenas = ArenaPool()
        self._results = Results(self.device, self.parameters.dtype)

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in ("arenas", "_results")}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.arenas = ArenaPool()
        if self.built:
            self._forget_passes()


def saving() -> Any:
    """The module that knows files; it knows networks as well."""
    from xpnet.saving import networks

    return networks


def last_activation(chain: Any) -> str | None:
    """Class name of the layer that makes a chain's outputs; None where it is a sum of branches or there is none."""
    for layer in reversed(chain.layers):
        if isinstance(layer, Sequential):
            if (found := last_activation(layer)) is not None:
                return found
        elif type(layer).__name__ not in ("Identity", "Flatten", "Dropout"):
            return type(layer).__name__
    return None


def holder(name: str, paths: Iterable[str]) -> str:
    """Path of the innermost layer that holds the parameter of this name; "" for the network itself."""
    return max((path for path in paths if name.startswith(path + ".")), key=len, default="")


def missing_gradient(net: Sequential, parameter: Parameter) -> str:
    """The text for a gradient that its layer's ``backward`` did not assign, with the place of that method."""
    path = holder(parameter.name, net.layer_paths)
    layer = net.layer_paths[path] if path else net
    code = getattr(inspect.unwrap(type(layer).backward), "__code__", None)
    where = f"{Place(code.co_filename, code.co_firstlineno)}: " if code else ""
    return (
        f"{where}backward of {layer!r} left the gradient of {parameter.name} unassigned, or added to it: "
        f"assign it, for instance by step.matmul(x.T, dy, out=self.W.grad) or self.W.grad[...] = dy.sum(axis=0)"
    )
