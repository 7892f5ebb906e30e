"""Layers, losses, optimizers and schedules as JSON, and made again from it. Nothing is imported by a name in a file."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from xpnet import initializers, layers, losses, optimizers, schedules
from xpnet.layers.base import Configured
from xpnet.network import Sequential

CLASS, FUNCTION = "class", "function"
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
    """A value of a configuration for JSON: numbers, texts, lists; objects as their class and configuration."""
    if isinstance(value, Mapping):
        return {str(key): describe(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [describe(item) for item in value]
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, functools.partial) and _is_ours(value):  # constant(0.1), normal(std=0.5)
        return {FUNCTION: value.func.__name__.lstrip("_"), **value.keywords}
    if isinstance(value, functools.partial | Lost | np.ndarray) or inspect.isroutine(value):
        return {FUNCTION: _name(value)}
    return {CLASS: _class_name(type(value)), **configuration(value)}


def configuration(part: Any) -> dict[str, Any]:
    """What an object's constructor was given, children included; nothing for what is no :class:`Configured`."""
    if not isinstance(part, Configured):
        return {}
    return {name: describe(item) for name, item in {**_positional(part), **part.config()}.items()}


def make(found: Any, own: Mapping[str, type]) -> Any:
    """What was described; ``own``: the user's classes by name. ValueError, TypeError or KeyError where something is wrong."""
    if isinstance(found, list):
        return tuple(make(item, own) for item in found)
    if not isinstance(found, dict):
        return found
    if FUNCTION in found:
        return _function(found)
    if CLASS not in found:
        return {key: make(item, own) for key, item in found.items()}
    options = {key: make(item, own) for key, item in found.items() if key != CLASS}
    kind = _kind(found[CLASS], own)
    children = options.pop(_varargs(kind), ())
    return kind(*children, **options)


def by_name(own: Iterable[type]) -> dict[str, type]:
    """The user's own classes by their names."""
    return {kind.__name__: kind for kind in own}


def _kind(name: str, own: Mapping[str, type]) -> type:
    module, _, short = name.rpartition(":")
    if module and short in own:
        return own[short]
    if module or name not in KINDS:
        raise ValueError(f"it has a {short} of your own, from {module or 'another version'}: give its class, own=[{short}]")
    return KINDS[name]


def _function(found: dict[str, Any]) -> Callable:
    name = found[FUNCTION]
    options = {key: value for key, value in found.items() if key != FUNCTION}
    if name not in FUNCTIONS:
        return Lost(name)
    return FUNCTIONS[name](**options) if options else FUNCTIONS[name]


def _class_name(kind: type) -> str:
    return kind.__name__ if KINDS.get(kind.__name__) is kind else f"{kind.__module__}:{kind.__name__}"


def _name(value: Any) -> str:
    """Of a function: the name alone where it is xpnet's, with the module where it is not."""
    name = getattr(value, "__name__", type(value).__name__)
    if isinstance(value, Lost) or FUNCTIONS.get(name) is value:
        return name
    return f"{getattr(value, '__module__', type(value).__module__)}:{getattr(value, '__qualname__', type(value).__name__)}"


def _is_ours(value: functools.partial) -> bool:
    scalars = all(isinstance(v, int | float) for v in value.keywords.values())
    return scalars and not value.args and getattr(value.func, "__module__", "") == initializers.__name__


def _varargs(kind: type) -> str:
    """Name of a constructor's ``*layers``; "" where it has none."""
    parameters = inspect.signature(kind.__init__).parameters.values()  # type: ignore[misc]
    return next((p.name for p in parameters if p.kind == p.VAR_POSITIONAL), "")


def _positional(part: Any) -> dict[str, Any]:
    name = _varargs(type(part))
    return {name: getattr(part, name)} if name and hasattr(part, name) else {}
