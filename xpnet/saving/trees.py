"""State as a tree of dicts and lists: its arrays apart, the rest as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
ARRAY, NUMBER = "__tensor__", "__number__"  # keys of what stands for an array, and for a number that JSON does not have


def split(tree: Any, arrays: Arrays, path: str) -> Any:
    """The tree for JSON, its arrays put into ``arrays`` by their path ("optimizer.vectors.mean.0.weight").

    Tuples come back as lists. TypeError for what is neither a number, a text, an array, a list nor a dict with texts as keys.
    """
    if isinstance(tree, Mapping):
        if not all(isinstance(key, str) for key in tree) or {ARRAY, NUMBER} & tree.keys():
            raise TypeError(f"{path}: keys {list(tree)!r} cannot be saved: texts other than {ARRAY!r} and {NUMBER!r}")
        return {key: split(value, arrays, f"{path}.{key}") for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [split(value, arrays, f"{path}.{i}") for i, value in enumerate(tree)]
    if isinstance(tree, np.ndarray):
        if path in arrays:
            raise TypeError(f"{path}: two arrays have this path, by keys with points in them")
        arrays[path] = storable(tree, path)
        return {ARRAY: path}
    if isinstance(tree, np.generic):
        tree = tree.item()
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"{path}: a {type(tree).__name__} cannot be saved, only numbers, texts, NumPy arrays, lists and dicts")


def storable(a: np.ndarray, name: str) -> np.ndarray:
    """The array as a file holds it: C-ordered, in the machine's byte order; TypeError for what is not numbers."""
    if a.dtype.kind not in "fiub" or a.dtype.itemsize > 8:
        raise TypeError(f"{name}: an array of {a.dtype} cannot be saved: whole numbers, floats of up to 64 bits, booleans")
    return np.asarray(a, a.dtype.newbyteorder("="), order="C")  # of others safetensors 0.8.0 writes other numbers


def join(tree: Any, arrays: Arrays) -> Any:
    """The inverse of :func:`split`; KeyError where an array is missing."""
    if isinstance(tree, list):
        return [join(value, arrays) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {ARRAY}:
        return arrays[tree[ARRAY]]
    return {key: join(value, arrays) for key, value in tree.items()}


def for_json(tree: Any) -> Any:
    """The tree with something in the place of numbers that JSON does not have: infinite ones, and NaN."""
    if isinstance(tree, Mapping):
        return {key: for_json(value) for key, value in tree.items()}
    if isinstance(tree, list | tuple):
        return [for_json(value) for value in tree]
    return {NUMBER: repr(tree)} if isinstance(tree, float) and not math.isfinite(tree) else tree


def from_json(tree: Any) -> Any:
    """The inverse of :func:`for_json`."""
    if isinstance(tree, list):
        return [from_json(value) for value in tree]
    if not isinstance(tree, dict):
        return tree
    return float(tree[NUMBER]) if tree.keys() == {NUMBER} else {key: from_json(value) for key, value in tree.items()}
