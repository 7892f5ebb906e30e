"""Layers, losses, optimizers and schedules as JSON, and made again from it. Nothing is imported by a name in a file."""

from __future__ import annotations

import functools
import inspect
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from xpnet import initializers, layers, losses, optimizers, schedules
from xpnet.layers.base import Configured
from xpnet.network import Sequential
from xpnet.saving.trees import NUMBER

CLASS, FUNCTION, LOST, ARRAY, DTYPE = MARKS = "class", "function", "lost", "array", "dtype"
LARGEST = 10_000  # numbers of an array among a constructor's arguments: they are written as text
OWN = ":"  # before the name of a user's class
KINDS: dict[str, type] = {
    kind.__name__: kind
    for module in (layers, losses, optimizers, schedules)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, Configured) and kind.__module__.startswith("xpnet.")
} | {"Sequential": Sequential}
FUNCTIONS = {
    name: f
    for name, f in vars(initializers).items()
    if inspect.isfunction(f) and f.__module__ == initializers.__name__ and name[0] != "_" and name != "fans"
}


class Lost:
    """Stands for a function that a file cannot hold, an initializer of the user's own: its name is all that is known."""

    def __init__(self, name: str):
        self.__name__ = name

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        raise RuntimeError(f"{self.__name__} was not saved with the network, only its name: give the layer the function again")

    def __repr__(self) -> str:
        return self.__name__


def describe(value: Any) -> Any:
    """A value of a configuration for JSON: numbers, texts, lists; objects as their class and configuration.

    What cannot be made again is ``{"lost": why}``, which :func:`lost` finds.
    """
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, Mapping):
        plain = all(isinstance(key, str) for key in value) and not {*MARKS, NUMBER} & value.keys()
        return {key: describe(item) for key, item in value.items()} if plain else {LOST: "a dict with such keys is not kept"}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub" and value.size > LARGEST:
        which = zlib.crc32(np.ascontiguousarray(value).reshape(-1).view(np.uint8).data)  # that another one is noticed
        return {LOST: f"an array of {value.size:,} numbers ({which:08x}) is not kept: give a layer it by make.state(...)"}
    if isinstance(value, np.ndarray) and value.dtype.kind in "fiub":
        return {ARRAY: value.tolist(), DTYPE: value.dtype.str}
    if isinstance(value, functools.partial | Lost) or inspect.isroutine(value):
        return _function(value)
    if isinstance(value, Configured) or callable(getattr(value, "forward", None)):
        return {CLASS: _class_name(type(value)), **configuration(value)}
    return {LOST: f"a {type(value).__name__} is not kept"}


def configuration(part: Any) -> dict[str, Any]:
    """What an object's constructor was given, children included, by name."""
    kind: Any = type(part)
    children, config = _varargs(kind), part.config() if isinstance(part, Configured) else {}
    if children and hasattr(part, children):
        config = {children: getattr(part, children), **config}
    found = {name: describe(item) for name, item in config.items()}
    if _class_name(kind)[0] == OWN:
        for missing in _constructor(kind) - found.keys():
            found[missing] = {LOST: f"{kind.__name__} does not keep {missing}, as an attribute of that name"}
    return found


def lost(found: Any, path: str = "") -> Iterator[str]:
    """What of a description cannot be made again, and why: "layers.1.table: a ndarray is not kept"."""
    if isinstance(found, dict) and LOST in found:
        yield f"{path}: {found[LOST]}"
    elif isinstance(found, dict | list):
        for key, item in found.items() if isinstance(found, dict) else enumerate(found):
            yield from lost(item, f"{path}.{key}" if path else str(key))


def make(found: Any, own: Mapping[str, type]) -> Any:
    """What was described; ``own``: the user's classes by name. ValueError, TypeError or KeyError where something is wrong."""
    if isinstance(found, list):
        return tuple(make(item, own) for item in found)
    if not isinstance(found, dict):
        return found
    if LOST in found:
        raise ValueError(f"{found[LOST]}, so it cannot be made again")
    if ARRAY in found:
        return np.array(found[ARRAY], found[DTYPE])
    if FUNCTION in found:
        return _made_function(found)
    if CLASS not in found:
        return {key: make(item, own) for key, item in found.items()}
    options = {key: make(item, own) for key, item in found.items() if key != CLASS}
    kind = _kind(found[CLASS], own)
    children = options.pop(_varargs(kind), ())
    return kind(*children, **options)


def take_over(part: Any, found: Mapping[str, Any], own: Mapping[str, type]) -> None:
    """Set the options of an object, and of those inside it, to those of a description, where they differ."""
    now = configuration(part)
    for name, value in found.items():
        if name == CLASS or now.get(name) == value or name not in now:
            continue
        held = getattr(part, name)
        several = isinstance(held, tuple | list) and isinstance(value, list)
        pairs = list(zip(held, value, strict=False)) if several else [(held, value)]
        if pairs and all(isinstance(b, dict) and b.get(CLASS) == _class_name(type(a)) for a, b in pairs):
            for child, described in pairs:
                take_over(child, described, own)
        else:
            new = make(value, own)
            setattr(part, name, list(new) if isinstance(held, list) and isinstance(new, tuple) else new)


def by_name(own: Iterable[type] | type) -> dict[str, type]:
    """The user's own classes by their names."""
    classes = (own,) if isinstance(own, type) else tuple(own)
    if unfit := [kind for kind in classes if not isinstance(kind, type)]:
        raise TypeError(f"own: {unfit[0]!r} is no class: give the class, own=[{type(unfit[0]).__name__}]")
    return {kind.__name__: kind for kind in classes}


def _kind(name: str, own: Mapping[str, type]) -> type:
    short = name.removeprefix(OWN)
    if name.startswith(OWN) and short in own:
        return own[short]
    if name not in KINDS:
        raise ValueError(f"it has a {short}, which is not xpnet's: give its class, own=[{short}]")
    return KINDS[name]


def _made_function(found: dict[str, Any]) -> Callable:
    name = found[FUNCTION]
    options = {key: make(value, {}) for key, value in found.items() if key != FUNCTION}
    if name not in FUNCTIONS:
        return Lost(name)
    return FUNCTIONS[name](**options) if options else FUNCTIONS[name]


def _function(value: Any) -> dict[str, Any]:
    """Of xpnet's initializers the name and options, ``constant(0.1)``; of others the name alone."""
    if isinstance(value, functools.partial) and getattr(value.func, "__module__", "") == initializers.__name__:
        options = {name: describe(item) for name, item in value.keywords.items()}
        if not list(lost(options)) and not value.args:
            return {FUNCTION: value.func.__name__.lstrip("_"), **options}
    name = getattr(value, "__name__", type(value).__name__)
    if isinstance(value, Lost) or FUNCTIONS.get(name) is value:
        return {FUNCTION: name}
    return {FUNCTION: f"{OWN}{getattr(value, '__qualname__', name)}"}


def _class_name(kind: type) -> str:
    return kind.__name__ if KINDS.get(kind.__name__) is kind else f"{OWN}{kind.__name__}"


@functools.cache
def _constructor(kind: Any) -> set[str]:
    """Names of a constructor's arguments, those of ``**options`` apart."""
    if kind.__init__ is object.__init__:
        return set()
    parameters = inspect.signature(kind.__init__).parameters.values()
    return {p.name for p in parameters if p.kind != p.VAR_KEYWORD} - {"self"}


@functools.cache
def _varargs(kind: Any) -> str:
    """Name of a constructor's ``*layers``; "" where it has none."""
    parameters = inspect.signature(kind.__init__).parameters.values()
    return next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), "")
