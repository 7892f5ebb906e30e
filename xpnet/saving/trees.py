"""State as a tree of dicts and lists: its arrays apart, the rest as JSON."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Arrays = dict[str, np.ndarray]
ARRAY, NUMBER = "tensor", "number"  # keys of what stands for an array, and for a number that JSON does not have


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
        arrays[path] = tree
        return {ARRAY: path}
    if isinstance(tree, np.generic):
        tree = tree.item()
    if isinstance(tree, float) and not math.isfinite(tree):
        return {NUMBER: repr(tree)}
    if tree is None or isinstance(tree, bool | int | float | str):
        return tree
    raise TypeError(f"{path}: a {type(tree).__name__} cannot be saved, only numbers, texts, NumPy arrays, lists and dicts")


def join(tree: Any, arrays: Arrays) -> Any:
    """The inverse of :func:`split`; KeyError where an array is missing."""
    if isinstance(tree, list):
        return [join(value, arrays) for value in tree]
    if not isinstance(tree, dict):
        return tree
    if tree.keys() == {ARRAY}:
        return arrays[tree[ARRAY]]
    if tree.keys() == {NUMBER}:
        return float(tree[NUMBER])
    return {key: join(value, arrays) for key, value in tree.items()}
