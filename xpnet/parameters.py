"""The flat vectors: all parameters in one array, all gradients in a second, running statistics in a third.

Layers hold named views of them. :meth:`Parameters.bind` is the only place that makes the views;
build, ``to``, load, copy and unpickle all go through it, since views silently come apart otherwise.
"""

from __future__ import annotations

import copy
import itertools
import math
import weakref
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from xpnet.backends.device import Array, Device, DTypeLike


class Parameter:
    """One named array of a layer: ``value`` and, if trainable, ``grad`` are views of the flat vectors.

    ``decay`` tells whether weight decay and L2 act on it, ``frozen`` whether optimizers pass it by, ``transposed`` whether
    its elements lie in memory in the order of its transpose.
    Copied or pickled without its network, a parameter comes back unbuilt: the views belong to the network.
    """

    value: Array
    grad: Array

    def __init__(
        self, name: str, shape: tuple[int, ...], *, decay: bool = True, trainable: bool = True, transposed: bool = False
    ):
        self.name, self.shape, self.decay, self.trainable = name, tuple(shape), decay, trainable
        self.transposed = transposed
        self.size = math.prod(self.shape)
        self.frozen = False
        self.owner: weakref.ref[Parameters] | None = None

    def shaped(self, part: Any) -> Any:
        """Its elements of a flat vector in its shape: a view."""
        return part.reshape(self.shape[::-1]).T if self.transposed else part.reshape(self.shape)

    def __setattr__(self, name: str, value: Any) -> None:
        if name in ("value", "grad") and name in vars(self):
            vars(self)[name][...] = value  # the view is filled, never replaced: ``W.grad = x.T @ dy`` is as good as [...]
        else:
            super().__setattr__(name, value)

    def __getstate__(self) -> dict:
        return {k: v for k, v in self.__dict__.items() if k not in ("value", "grad")} | {"owner": None}

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape})"


class Segment:
    """A run of neighbouring trainable elements that an optimizer treats alike."""

    def __init__(self, start: int, stop: int, decay: bool):
        self.start, self.stop, self.decay = start, stop, decay


class Parameters(Mapping[str, Parameter]):
    """All parameters and state of a network, by name, and the flat vectors ``value``, ``grad`` and ``state``.

    A mapping from names such as ``"0.W"`` to :class:`Parameter`. ``version`` grows whenever the
    vectors are replaced or a parameter is frozen, so that holders of views can tell. ``in_blocks`` tells whether the network
    takes batches in blocks on its device, shared among workers, who then share updates as well.
    """

    in_blocks = False

    value: Array
    grad: Array
    state: Array

    def __init__(self, entries: list[Parameter], device: Device, dtype: DTypeLike):
        self._entries = {entry.name: entry for entry in entries}
        self.trainable = [entry for entry in entries if entry.trainable]
        self.running = [entry for entry in entries if not entry.trainable]
        self.dtype = np.dtype(dtype)
        self.version = 0
        vectors = (np.zeros(sum(p.size for p in ps), self.dtype) for ps in (self.trainable, self.trainable, self.running))
        self.bind(device, *vectors)

    def bind(self, device: Device, value: Any, grad: Any, state: Any) -> None:
        """Adopt these vectors (copied to ``device`` where they are not there) and make every view anew."""
        with device.use():
            vectors = [_own(device, v) for v in (value, grad, state)]  # all of them, before anything changes
            self.device = device
            self.value, self.grad, self.state = vectors
            _view(self.trainable, self.value, "value")
            _view(self.trainable, self.grad, "grad")
            _view(self.running, self.state, "value")
        for entry in self.values():
            entry.owner = weakref.ref(self)
        self.version += 1

    def release(self) -> None:
        """Own the entries no longer."""
        for entry in self.values():
            entry.owner = None

    def to(self, device: Device) -> None:
        """Move the three vectors to another device."""
        if device != self.device:
            self.bind(device, *(self.device.get(v) for v in (self.value, self.grad, self.state)))

    def cast(self, dtype: DTypeLike) -> None:
        """Hold the three vectors in another dtype."""
        self.dtype = np.dtype(dtype)
        with self.device.use():
            self.bind(self.device, *(v.astype(self.dtype) for v in (self.value, self.grad, self.state)))

    def fill(self, name: str, values: np.ndarray) -> None:
        """Set one parameter from a host array of its shape."""
        target = self._entries[name]
        if np.shape(values) != target.shape:
            raise ValueError(f"parameter {name} has shape {target.shape}, the values given have {np.shape(values)}")
        with self.device.use():
            target.value[...] = self.device.put(np.asarray(values), self.dtype)

    def snapshot(self) -> dict[str, np.ndarray]:
        """Copy of every parameter and running statistic, by name, as NumPy arrays of the caller's own."""
        entries = self.trainable + self.running
        parts = _cut(self.trainable, self.device.get(self.value)) + _cut(self.running, self.device.get(self.state))
        return {entry.name: np.asarray(part, order="C") for entry, part in zip(entries, parts, strict=True)}

    def cut(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        """The trainable parameters' parts of a host vector as long as the flat one, by name and in their shapes: views."""
        return dict(zip((entry.name for entry in self.trainable), _cut(self.trainable, vector), strict=True))

    def joined(self, arrays: Mapping[str, np.ndarray]) -> np.ndarray:
        """The inverse of :meth:`cut`: a new host vector."""
        vector = np.empty(self.value.size, self.dtype)
        for name, part in self.cut(vector).items():
            part[...] = arrays[name]
        return vector

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Overwrite all parameters and running statistics, as :meth:`snapshot` gave them; checked before any changes."""
        if missing := [name for name in self if name not in arrays]:
            raise ValueError(f"no values for {', '.join(missing)}")
        if unknown := [name for name in arrays if name not in self]:
            raise ValueError(f"this network has no parameter {', '.join(unknown)}; it has {', '.join(self)}")
        for name, entry in self.items():
            if np.shape(arrays[name]) != entry.shape:
                raise ValueError(f"parameter {name} has shape {entry.shape}, the values given {np.shape(arrays[name])}")
        for name in self:
            self.fill(name, arrays[name])

    def freeze(self, *names: str, frozen: bool = True) -> None:
        """Exclude parameters from updates, by full name or by leading part ("0" means "0.W" and "0.b")."""
        chosen = {n: [p for p in self.trainable if p.name == n or p.name.startswith(n + ".")] for n in names}
        if unknown := [name for name in names if not chosen[name]]:
            raise ValueError(f"no parameter is named {unknown[0]!r} or begins with it; there are {', '.join(self)}")
        for entry in itertools.chain.from_iterable(chosen.values()):
            entry.frozen = frozen
        self.version += 1

    def segments(self, *, by_decay: bool) -> list[Segment]:
        """Neighbouring parameters that are not frozen, merged; split where ``decay`` changes if ``by_decay``."""
        found: list[Segment] = []
        start = 0
        for entry in self.trainable:
            decay = entry.decay if by_decay else True
            if not entry.frozen:
                if found and found[-1].stop == start and found[-1].decay == decay:
                    found[-1].stop += entry.size
                else:
                    found.append(Segment(start, start + entry.size, decay))
            start += entry.size
        return found

    def __getitem__(self, name: str) -> Parameter:
        if name not in self._entries:
            raise KeyError(f"no parameter is named {name!r}; there are {', '.join(self)}")
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __repr__(self) -> str:
        return f"Parameters({', '.join(f'{name} {entry.shape}' for name, entry in self.items())})"

    def __iter__(self) -> Iterator[str]:
        return iter(self._entries)

    def __len__(self) -> int:
        return len(self._entries)

    __eq__ = object.__eq__  # identity: an optimizer belongs to one set of parameters, not to any of equal names
    __hash__ = object.__hash__

    def __copy__(self) -> Parameters:
        raise TypeError("parameters belong to their network: copy.deepcopy(net), or parameters.snapshot() for the values")

    def __deepcopy__(self, memo: dict) -> Parameters:
        new = self.__class__.__new__(self.__class__)
        memo[id(self)] = new
        vectors = ("value", "grad", "state")
        new.__dict__.update({k: copy.deepcopy(v, memo) for k, v in self.__dict__.items() if k not in vectors})
        with self.device.use():
            new.bind(self.device, self.value.copy(), self.grad.copy(), self.state.copy())
        return new

    def __getstate__(self) -> dict:
        return {**self.__dict__, **{v: self.device.get(getattr(self, v)) for v in ("value", "grad", "state")}}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state)
        self.bind(self.device, self.value, self.grad, self.state)


class Maker:
    """What ``Layer.build`` declares its arrays with: a named scope over one list of entries.

    ``scope`` is the layer's path ("2", "3.0"); parameters are named ``scope.name``.
    """

    def __init__(self, scope: str = "", root: Maker | None = None, rebuilt: Parameters | None = None):
        self.scope = scope
        self.root = root or self
        if root is None:
            self.rebuilt = rebuilt
            self.entries: list[Parameter] = []
            self.initializers: list[Callable] = []
            self.streams = 0
            self.paths: dict[int, str] = {}
            self.before: list[tuple[Any, dict]] = []

    def parameter(
        self, name: str, shape: tuple[int, ...], init: Callable, *, decay: bool = True, transposed: bool = False
    ) -> Parameter:
        """Declare a trainable array, initialised by ``init(rng, shape)``; ``transposed``: its transpose is C-ordered."""
        return self._add(Parameter(self._path(name), shape, decay=decay, transposed=transposed), init)

    def state(self, name: str, shape: tuple[int, ...], init: Callable) -> Parameter:
        """Declare running statistics: saved with the network, never trained; write only where ``step.updates_state``."""
        return self._add(Parameter(self._path(name), shape, decay=False, trainable=False), init)

    def random_stream(self) -> int:
        """A number that keeps this layer's random sequence apart from all others of the network."""
        self.root.streams += 1
        return self.root.streams

    def child(self, name: str, layer: Any) -> Maker:
        """The scope of a child layer; refuses a layer object that stands in the network already."""
        path = self._path(name)
        if (first := self.root.paths.setdefault(id(layer), path)) != path:
            raise ValueError(
                f"the same {type(layer).__name__} object stands at {first} and at {path} of one network: "
                f"make a second {type(layer).__name__}(...), or build one network per use"
            )
        self._refuse_shared(layer, path)
        self.root.before.append((layer, dict(vars(layer))))
        return Maker(path, self.root)

    def undo(self) -> None:
        """Give every layer back what it had before a build that failed."""
        for layer, attributes in reversed(self.root.before):
            vars(layer).clear()
            vars(layer).update(attributes)

    def _refuse_shared(self, layer: Any, path: str) -> None:
        """A layer of another network that is still in use would lose the views that network computes with."""
        for value in vars(layer).values():
            owner = value.owner() if isinstance(value, Parameter) and value.owner else None
            if owner is not None and owner is not self.root.rebuilt:
                raise ValueError(
                    f"the {type(layer).__name__} object at {path} belongs to another network, as {value.name}: a layer "
                    f"serves one network at a time; make a new layer, or copy.deepcopy(net) for an independent network"
                )

    def finish(self, device: Device, dtype: DTypeLike, seed: int, values: Mapping[str, np.ndarray] | None = None) -> Parameters:
        """Make the vectors; fill them with ``values``, or draw every initial value on the host, one generator per array."""
        parameters = Parameters(self.root.entries, device, dtype)
        if values is not None:
            parameters.restore(values)
            return parameters
        for index, (entry, init) in enumerate(zip(self.root.entries, self.root.initializers, strict=True)):
            parameters.fill(entry.name, init(np.random.default_rng([seed, index]), entry.shape))
        return parameters

    def _path(self, name: str) -> str:
        return f"{self.scope}.{name}" if self.scope else name

    def _add(self, entry: Parameter, init: Callable) -> Parameter:
        if not callable(init):
            raise TypeError(
                f"the initial values of {entry.name} are {init!r}: a function is needed, initializers.he_normal say"
            )
        if any(other.name == entry.name for other in self.root.entries):
            raise ValueError(f"two parameters are named {entry.name}: give each array of a layer a name of its own")
        self.root.entries.append(entry)
        self.root.initializers.append(init)
        return entry


def _own(device: Device, vector: Any) -> Array:
    """The vector in aligned memory of the device."""
    own = device.empty(vector.shape, vector.dtype)
    own[...] = device.put(vector)
    return own


def _view(entries: list[Parameter], vector: Array, attribute: str) -> None:
    for entry, part in zip(entries, _cut(entries, vector), strict=True):
        vars(entry)[attribute] = part


def _cut(entries: list[Parameter], vector: Any) -> list[Any]:
    stops = itertools.accumulate(entry.size for entry in entries)
    return [entry.shaped(vector[stop - entry.size : stop]) for entry, stop in zip(entries, stops, strict=True)]
