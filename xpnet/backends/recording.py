"""Work as a list of calls: recorded once while it runs on NumPy arrays, replayed without the code that made it.

While a :class:`Recorder` is active in a thread, arrays of the class :class:`Recorded` note every operation on them there:
ufuncs and operators, NumPy's functions, assignments, copies, and the memory that each wrote to. A replay makes the same
calls on the same memory. So shapes and addresses are constant, and Python numbers are part of the record; work in which
Python reads a value is refused: it runs as ever, and the recorder says why there is no record of it.
"""

from __future__ import annotations

import contextlib
import functools
import threading
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Call = tuple[Callable, tuple]
OUT_BY_NAME = {np.maximum, np.minimum}
LONGEST_RUN = 512  # bytes: longer ones NumPy copies as quickly as they are


class Recorder:
    """Notes calls in the list ``calls``, which its user may replace at any time; ``refused`` is a reason, or empty."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.refused = ""

    def note(self, f: Callable, *args: Any, writes: Any = None) -> None:
        """A call; one that writes to an empty array is none."""
        if not (isinstance(writes, np.ndarray) and writes.size == 0):
            self.calls.append((f, in_runs(*args) if f is np.copyto and len(args) == 2 else args))

    def refuse(self, reason: str) -> None:
        self.refused = self.refused or reason

    @contextlib.contextmanager
    def active(self) -> Iterator[None]:
        """Note what this thread does inside."""
        before, _here.recorder = _here.recorder, self
        try:
            yield
        finally:
            _here.recorder = before


class _Here(threading.local):
    recorder: Recorder | None = None


_here = _Here()


def in_runs(target: Any, source: Any) -> tuple[Any, ...]:
    """Arguments of ``copyto`` with numbers that lie side by side in both taken as one: NumPy copies short runs quicker so."""
    if not (isinstance(source, np.ndarray) and source.dtype == target.dtype and source.shape == target.shape):
        return target, source
    axis, run = target.ndim, 1
    while axis and target.strides[axis - 1] == source.strides[axis - 1] == run * target.itemsize:
        axis -= 1
        run *= target.shape[axis]
    if axis == 0 or not 1 < run <= LONGEST_RUN // target.itemsize:
        return target, source
    element = np.dtype((np.void, run * target.itemsize))
    return tuple(a.reshape(*a.shape[:axis], run).view(element)[..., 0] for a in (target, source))


def replay(calls: list[Call]) -> None:
    """Make the calls."""
    for f, args in calls:
        f(*args)


def call(f: Callable, *args: Any) -> Any:
    """Make one call on plain arrays, and note it as one: for functions whose insides are no concern of the recorder's."""
    args = plain(args)
    _note(f, *args)
    return f(*args)


def recorded(a: np.ndarray) -> Recorded:
    """The same memory as an array that notes what is done with it."""
    return a.view(Recorded)


def same(a: Any, b: Any) -> bool:
    """Whether two arrays are one, whoever tells of it."""
    return a is b or (type(a) is Recorded and a.base is b is not None and a.shape == b.shape)


class Recorded(np.ndarray):
    """A NumPy array that tells the active recorder of every operation on it; without one it is like any other."""

    def __array_ufunc__(self, ufunc: np.ufunc, method: str, *inputs: Any, out: tuple = (), **options: Any) -> Any:
        f = ufunc if method == "__call__" else getattr(ufunc, method)
        args, options = plain(inputs), plain(options)
        if method == "at":
            _note(f, *args)
            return f(*args)
        targets = plain(out) or _fresh(f(*args, **options))
        if method == "__call__" and not options and f not in OUT_BY_NAME:
            call, args = f, (*_as_arrays(args), *targets)  # quicker than by keyword
        else:
            call = functools.partial(f, out=targets, **options)
        _note(call, *args, writes=targets[0])
        if out:
            call(*args)
            return out[0] if len(out) == 1 else out
        return _wrapped(targets[0] if len(targets) == 1 else targets)

    def __array_function__(self, f: Callable, types: Any, args: Any, kwargs: Any) -> Any:
        args, kwargs = plain(args), plain(kwargs)
        result = f(*args, **kwargs)
        if result is None or kwargs.get("out") is not None or any(result is a for a in args):
            _note(functools.partial(f, **kwargs) if kwargs else f, *args, writes=args[0] if f is np.copyto else None)
        elif not _is_view(result, (*args, *kwargs.values())):
            if not isinstance(result, np.ndarray | np.generic):
                _refuse(f"numpy.{f.__name__} gives {type(result).__name__}, which Python reads")
                return result
            result = np.asarray(result)
            _note(_refill, result, f, args, kwargs, writes=result)
        return _wrapped(result)

    def __setitem__(self, key: Any, value: Any) -> None:
        target, key, value = plain(self), plain(key), plain(value)
        if _has_mask(key) and np.ndim(value):
            _refuse("a part chosen by a mask, whose size depends on values; xp.where, or a product with the mask, may do")
        target[key] = value
        part = target[key]
        casts = np.can_cast(getattr(value, "dtype", target.dtype), target.dtype, "same_kind")
        if isinstance(part, np.ndarray) and casts and (np.may_share_memory(part, target) or not part.size):
            _note(np.copyto, part, value, writes=part)  # quicker than by key
        else:
            _note(target.__setitem__, key, value)

    def __getitem__(self, key: Any) -> Any:
        if _has_mask(plain(key)):
            _refuse("a part chosen by a mask, whose size depends on values; xp.where, or a product with the mask, may do")
        return _computed(self, np.ndarray.__getitem__, plain(key))

    @property
    def flat(self) -> Any:
        _refuse("ndarray.flat, which NumPy does not tell of")
        return plain(self).flat

    @flat.setter
    def flat(self, values: Any) -> None:
        _refuse("ndarray.flat, which NumPy does not tell of")
        plain(self).flat = values

    def fill(self, value: Any) -> None:
        _note(plain(self).fill, value)
        plain(self).fill(value)

    def copy(self, *args: Any, **options: Any) -> Any:
        return _computed(self, np.ndarray.copy, *args, **options)

    def astype(self, *args: Any, **options: Any) -> Any:
        return _computed(self, np.ndarray.astype, *args, **options)

    def reshape(self, *args: Any, **options: Any) -> Any:
        return _computed(self, np.ndarray.reshape, *args, **options)

    def ravel(self, *args: Any, **options: Any) -> Any:
        return _computed(self, np.ndarray.ravel, *args, **options)

    def flatten(self, *args: Any, **options: Any) -> Any:
        return _computed(self, np.ndarray.flatten, *args, **options)


def _as_arrays(args: tuple) -> tuple:
    """Arguments of a ufunc with Python numbers as arrays of the others' type, which they are taken for: NumPy is quicker so."""
    types = {a.dtype for a in args if isinstance(a, np.ndarray)}
    if len(types) != 1 or (dtype := types.pop()).kind != "f":
        return args
    return tuple(np.array(a, dtype) if type(a) in (int, float) else a for a in args)


def _has_mask(key: Any) -> bool:
    return any(isinstance(k, np.ndarray) and k.dtype == bool for k in (key if isinstance(key, tuple) else (key,)))


class Namespace:
    """NumPy, where the functions that make plain arrays of recorded ones say so."""

    def __getattr__(self, name: str) -> Any:
        f = getattr(np, name)
        if name not in HIDING:
            return f

        def hiding(*args: Any, **options: Any) -> Any:
            _refuse(f"numpy.{name}, behind which NumPy does not tell what is computed; step.keep and xp.copyto may do")
            return f(*plain(args), **plain(options))

        return hiding


HIDING = frozenset(
    ("array", "asarray", "asarray_chkfinite", "ascontiguousarray", "asfortranarray", "frompyfunc", "require", "vectorize")
)


def _unseen(name: str) -> Callable:
    """A method of which there is no record: it computes as in NumPy."""

    def method(self: Recorded, *args: Any, **options: Any) -> Any:
        advice = "" if name.startswith("__") else f"; xp.{name}(a) may do"
        _refuse(f"ndarray.{name}: Python reads a value, or NumPy does not tell what is computed{advice}")
        return getattr(np.ndarray, name)(plain(self), *plain(args), **plain(options))

    return method


READS = "item tolist tobytes tofile dump dumps __float__ __int__ __bool__ __index__ __complex__ __contains__ __repr__ __str__"
UNSEEN = "argmax argmin argpartition argsort byteswap choose clip compress cumprod cumsum diagonal dot nonzero partition"
UNSEEN += " put repeat resize round searchsorted setfield sort take trace"
for _name in f"{READS} {UNSEEN}".split():
    setattr(Recorded, _name, _unseen(_name))


def _note(f: Callable, *args: Any, writes: Any = None) -> None:
    if _here.recorder is not None:
        _here.recorder.note(f, *args, writes=writes)


def _refuse(reason: str) -> None:
    if _here.recorder is not None:
        _here.recorder.refuse(reason)


def plain(x: Any) -> Any:
    """The same without :class:`Recorded`, at any depth."""
    if type(x) is Recorded:
        return x.view(np.ndarray)
    if type(x) in (tuple, list):
        return type(x)(map(plain, x))
    return {k: plain(v) for k, v in x.items()} if type(x) is dict else x


def _wrapped(x: Any) -> Any:
    if isinstance(x, np.ndarray):
        return x.view(Recorded)
    return type(x)(map(_wrapped, x)) if type(x) in (tuple, list) else x


def _fresh(result: Any) -> tuple:
    """Results of a ufunc as arrays, scalars as those of no dimension: the memory that its replays write to."""
    return tuple(map(np.asarray, result if isinstance(result, tuple) else (result,)))


def _is_view(result: Any, inputs: tuple) -> bool:
    """Whether nothing was computed: arrays that share memory with the inputs, and what shapes tell."""
    if isinstance(result, np.ndarray):
        return any(isinstance(x, np.ndarray) and np.may_share_memory(result, x) for x in inputs)
    if isinstance(result, tuple | list):
        return all(_is_view(item, inputs) for item in result)
    return type(result) is int  # numpy.ndim, numpy.size, an item of numpy.shape


def _computed(a: Recorded, f: Callable, *args: Any, **options: Any) -> Any:
    """The result of a method that gives a view or a copy; a copy is noted."""
    source = plain(a)
    result = np.asarray(f(source, *args, **options))
    if not np.may_share_memory(result, source):
        _note(_refill, result, f, (source, *args), options, writes=result)
    return _wrapped(result)


def _refill(target: np.ndarray, f: Callable, args: tuple, options: dict) -> None:
    target[...] = f(*args, **options)
