"""The hooks of a real GPU's ledger, proved against the real CuPy without a GPU.

Arrays lie over host memory. CuPy asks for a device only after the hooks have reported, and raises ``NoDevice`` then; what is
forbidden is refused before CuPy is asked at all.
"""

from __future__ import annotations

import contextlib
import pickle
import sys
import threading
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from host_memory import NoDevice, cupy_without_a_gpu, over_host_memory

import xpnet as xn
from xpnet.backends import ledger as ledgers
from xpnet.backends.ledger import record
from xpnet.backends.ledger.cuda_hooks import Hooks

pytestmark = pytest.mark.cupy

HOST = np.arange(12, dtype=np.float32).reshape(3, 4)
ROWS = np.array([2, 0])

# Name: (what is reported, by which name, its bytes, the call in one line).
REPORTED = {
    "get": ("d2h", ".get()", 48, lambda xp, a: a.get()),
    "asnumpy": ("d2h", ".get()", 48, lambda xp, a: xp.asnumpy(a)),
    "float": ("d2h", "float()", 4, lambda xp, a: float(a[0, 0])),
    "int": ("d2h", "int()", 4, lambda xp, a: int(a[0, 0])),
    "complex": ("d2h", "complex()", 4, lambda xp, a: complex(a[0, 0])),
    "bool": ("d2h", "bool()", 4, lambda xp, a: bool(a[0, 0])),
    "if": ("d2h", "bool()", 4, lambda xp, a: 1 if a[0, 0] else 0),
    "item": ("d2h", ".item()", 4, lambda xp, a: a[0, 0].item()),
    "tolist": ("d2h", ".tolist()", 48, lambda xp, a: a.tolist()),
    "tobytes": ("d2h", ".tobytes()", 48, lambda xp, a: a.tobytes()),
    "str": ("d2h", "print", 48, lambda xp, a: str(a)),
    "repr": ("d2h", "print", 48, lambda xp, a: repr(a)),
    "format": ("d2h", "print", 4, lambda xp, a: f"{a[0, 0]:.3f}"),
    "pickle": ("d2h", ".get()", 48, lambda xp, a: pickle.dumps(a)),
    "set": ("h2d", ".set()", 48, lambda xp, a: a.set(HOST)),
    "asarray": ("h2d", "xp.asarray", 48, lambda xp, a: xp.asarray(HOST)),
    "asarray by keyword": ("h2d", "xp.asarray", 48, lambda xp, a: xp.asarray(a=HOST)),
    "asarray of a list": ("h2d", "xp.asarray", 16, lambda xp, a: xp.asarray([1.0, 2.0])),
    "asarray of a number": ("h2d", "xp.asarray", 8, lambda xp, a: xp.asarray(2.5)),
    "asanyarray": ("h2d", "xp.asanyarray", 48, lambda xp, a: xp.asanyarray(HOST)),
    "array": ("h2d", "xp.array", 48, lambda xp, a: xp.array(HOST)),
    "array by keyword": ("h2d", "xp.array", 48, lambda xp, a: xp.array(obj=HOST)),
    "host rows": ("h2d", "host index array", 16, lambda xp, a: a[ROWS]),
    "list of rows": ("h2d", "host index array", 16, lambda xp, a: a[[0, 1]]),
    "host rows in a tuple": ("h2d", "host index array", 16, lambda xp, a: a[:, ROWS]),
    "an inner tuple of rows": ("h2d", "host index array", 16, lambda xp, a: a[0, (1, 2)]),
    "take of host rows": ("h2d", "host index array", 16, lambda xp, a: xp.take(a, ROWS, axis=0)),
    "array.take of a list": ("h2d", "host index array", 16, lambda xp, a: a.take([0, 1])),
    "asarray with a dtype": ("h2d", "xp.asarray", 24, lambda xp, a: xp.asarray(HOST, "float16")),
    "host mask": ("h2d", "host index array", 12, lambda xp, a: a[HOST > 5]),
    "store host rows": ("h2d", "host index array", 16, lambda xp, a: a.__setitem__(ROWS, 0)),
}

# CuPy declares that it waits, at the latest possible moment: a stream has to be given to get that far without a GPU.
WAITS = {
    "get": ("sync", ".get()", lambda xp, a: a.get(stream=xp.cuda.Stream.null)),
    "asnumpy": ("sync", ".get()", lambda xp, a: xp.asnumpy(a, stream=xp.cuda.Stream.null)),
    "Device.synchronize": ("sync", "synchronisation", lambda xp, a: xp.cuda.Device(0).synchronize()),
}

UNREPORTED = {
    "view": lambda xp, a: a[1:].T[None],
    "element": lambda xp, a: a[1, 2],
    "metadata": lambda xp, a: (a.shape, a.dtype, len(a), a.nbytes),
    "ascontiguousarray": lambda xp, a: xp.ascontiguousarray(a),
    "iteration": lambda xp, a: list(a),
    "asarray": lambda xp, a: xp.asarray(a),
    "array of arrays": lambda xp, a: xp.array([a, a]),
    "array of arrays, deep": lambda xp, a: xp.array([[a[0, 0], a[0, 1]], [a[1, 0], a[1, 1]]]),
    "a list of arrays as an index": lambda xp, a: a[[over_host_memory(xp, ROWS), over_host_memory(xp, ROWS)]],
    "operator": lambda xp, a: a + 1,
    "rows": lambda xp, a: a[over_host_memory(xp, ROWS)],
    "host computing": lambda xp, a: xp.sum(HOST),
}


@pytest.fixture
def cupy() -> ModuleType:
    return cupy_without_a_gpu()


@pytest.fixture
def a(cupy: ModuleType) -> Any:
    return over_host_memory(cupy, HOST.copy())


@contextlib.contextmanager
def watched(cupy: ModuleType, by: Callable = xn.ledger) -> Iterator[Any]:
    """A ledger or a prohibition on this CuPy, as it is once ``device("cuda")`` has been made."""
    with by() as seen:
        ledgers.watch_cuda(cupy)
        yield seen


def attributes(cupy: ModuleType) -> list[dict[str, Any]]:
    """Everything that the hooks could have changed."""
    from cupy._core import syncdetect

    return [dict(vars(owner)) for owner in (cupy, cupy.ndarray, syncdetect)]


def line_of(call: Callable) -> tuple[str, int]:
    return call.__code__.co_filename, call.__code__.co_firstlineno


@pytest.mark.parametrize("name", REPORTED)
def test_reports_with_cause_bytes_and_line(name: str, cupy: ModuleType, a: Any) -> None:
    kind, cause, nbytes, call = REPORTED[name]
    with watched(cupy) as seen, contextlib.suppress(NoDevice):
        call(cupy, a)
    *waiting, event = seen.events.values()
    assert (event.kind, event.cause, event.times, event.nbytes, event.asked) == (kind, cause, 1, nbytes, False)
    assert event.place == line_of(call)
    assert [(e.kind, e.cause, e.times) for e in waiting] == ([("sync", cause, 1)] if kind == "d2h" else [])


@pytest.mark.parametrize("name", WAITS)
def test_reports_what_cupy_declares_as_waiting(name: str, cupy: ModuleType, a: Any) -> None:
    kind, cause, call = WAITS[name]
    with watched(cupy) as seen, pytest.raises(NoDevice):
        call(cupy, a)
    assert seen.syncs == 1
    (event,) = (e for e in seen.events.values() if e.kind == "sync")
    assert (event.kind, event.cause, event.place) == (kind, cause, line_of(call))


def test_one_get_is_one_wait_and_none_where_it_does_not_block(cupy: ModuleType) -> None:
    """CuPy's ``get`` declares that it waits, and then lets the stream wait if it blocks."""

    def get(a: Any, stream: Any = None, order: str = "C", out: Any = None, blocking: bool = True) -> None:
        cupy._core.syncdetect._declare_synchronize()
        if blocking:
            wait()

    for arguments, waits in {(): 1, (None, "C", None, False): 0}.items():
        with watched(cupy) as seen:
            hooks = record._hooks
            wait = hooks._waits(lambda: None, cause="Stream.synchronize()")
            hooks._gets(get)(np.zeros(3, np.float32), *arguments)
        assert (seen.syncs, seen.d2h, seen.d2h_bytes) == (waits, 1, 12)
    with watched(cupy) as seen:
        wait()
    assert seen.causes == {"sync: Stream.synchronize()": 1}
    with watched(cupy, xn.forbid_sync):
        hooks._gets(get)(np.zeros(3, np.float32), blocking=False)


def test_a_script_is_simulated_where_the_real_cupy_was_imported(cupy: ModuleType, tmp_path: Any) -> None:
    from xpnet.simulate import simulate

    script = tmp_path / "script.py"
    script.write_text("import cupy\nx = cupy.ones(3)\nfloat(x[0])\n")
    found = simulate(str(script))
    assert found.error is None
    assert (found.book.syncs, found.book.launches_known) == (1, True)
    assert record._watchers == 0
    assert sys.modules["cupy"] is cupy


def test_plain_cupy_is_watched_without_a_device_of_xpnet(cupy: ModuleType, a: Any) -> None:
    with pytest.raises(xn.HiddenCrossing, match="waits"), xn.forbid_sync():
        cupy.cuda.Device(0).synchronize()
    with xn.ledger() as seen, contextlib.suppress(NoDevice):
        a.get()
    assert seen.d2h == 1


@pytest.mark.parametrize("name", UNREPORTED)
def test_says_nothing_of_what_stays_on_one_side(name: str, cupy: ModuleType, a: Any) -> None:
    with watched(cupy) as seen, contextlib.suppress(NoDevice):
        UNREPORTED[name](cupy, a)
    assert not seen.events


@pytest.mark.parametrize("name", REPORTED)
def test_a_forbidden_copy_does_not_reach_cupy(name: str, cupy: ModuleType, a: Any) -> None:
    kind, cause, _, call = REPORTED[name]
    with pytest.raises(xn.HiddenCrossing) as caught, watched(cupy, xn.forbid_transfer):
        call(cupy, a)
    assert (caught.value.kind, caught.value.cause, caught.value.place) == (kind, cause, line_of(call))
    assert caught.value.__context__ is None


@pytest.mark.parametrize("name", WAITS)
def test_forbidden_waiting_does_not_reach_the_device(name: str, cupy: ModuleType, a: Any) -> None:
    _, cause, call = WAITS[name]
    with pytest.raises(xn.HiddenCrossing, match="waits for the device") as caught, watched(cupy, xn.forbid_sync):
        call(cupy, a)
    assert (caught.value.cause, caught.value.place) == (cause, line_of(call))


def test_what_is_asked_for_is_allowed_and_known_by_that_name(cupy: ModuleType, a: Any) -> None:
    null = cupy.cuda.Stream.null
    calls = {"device.get": lambda: a.get(stream=null), "device.put": lambda: cupy.asarray(HOST)}
    with watched(cupy) as seen, xn.forbid_sync(), xn.forbid_transfer():
        for cause, call in calls.items():
            with ledgers.during(cause, asked=True), pytest.raises(NoDevice):
                call()
        with pytest.raises(xn.HiddenCrossing):
            a.get()
    assert set(seen.causes) == {"d2h: device.get", "sync: device.get", "h2d: device.put"}
    assert all(event.asked for event in seen.events.values())


def test_the_page_says_what_cuda_cannot_tell(cupy: ModuleType, a: Any) -> None:
    with watched(cupy) as seen, contextlib.suppress(NoDevice):
        a.get()
    assert seen.on_cuda
    assert "not known" in str(seen)
    assert "test_cuda_hooks.py" in str(seen)


# --- putting everything back -------------------------------------------------------------------------------------


def test_install_and_remove_restore_every_attribute(cupy: ModuleType) -> None:
    before, hooks = attributes(cupy), Hooks(cupy)
    for _ in range(2):
        hooks.install()
        changed = attributes(cupy)
        assert changed != before
        hooks.install()  # a second time changes nothing
        assert attributes(cupy) == changed
        hooks.remove()
        assert attributes(cupy) == before
        hooks.remove()
        assert attributes(cupy) == before


def test_hooks_keep_names_and_documentation(cupy: ModuleType) -> None:
    names = [(f.__name__, f.__doc__) for f in (cupy.asarray, cupy.ndarray.get)]
    with watched(cupy):
        assert [(f.__name__, f.__doc__) for f in (cupy.asarray, cupy.ndarray.get)] == names


def test_nested_watching_ends_with_the_last(cupy: ModuleType, a: Any) -> None:
    before = attributes(cupy)
    with watched(cupy) as outer:
        hooked = attributes(cupy)
        with xn.ledger(), watched(cupy) as inner:
            assert attributes(cupy) == hooked  # wrapped once
            with contextlib.suppress(NoDevice):
                a.get()
        assert attributes(cupy) == hooked
        with contextlib.suppress(NoDevice):
            a.get()
    assert attributes(cupy) == before
    assert (outer.d2h, inner.d2h) == (2, 1)


def stop(a: Any) -> None:
    raise KeyboardInterrupt


FAILURES = {KeyboardInterrupt: stop, xn.HiddenCrossing: lambda a: a.get(), TypeError: lambda a: np.asarray(a)}


@pytest.mark.parametrize("error", FAILURES)
def test_an_exception_puts_everything_back(error: type[BaseException], cupy: ModuleType, a: Any) -> None:
    before = attributes(cupy)
    with pytest.raises(error), watched(cupy), xn.forbid_transfer():
        FAILURES[error](a)
    assert attributes(cupy) == before


def test_nothing_is_hooked_while_nobody_watches(cupy: ModuleType) -> None:
    before = attributes(cupy)
    ledgers.watch_cuda(cupy)
    assert attributes(cupy) == before


def test_another_thread_is_seen_and_may_end_the_watching(cupy: ModuleType, a: Any) -> None:
    """A ledger sees all threads, a prohibition holds in one; and hooks may be removed by a thread that did not install them."""
    before, hooks, failed = attributes(cupy), Hooks(cupy), []

    def read() -> None:
        try:
            a.get()
        except BaseException as error:
            failed.append(type(error))

    with watched(cupy) as seen, xn.forbid_transfer():
        in_thread(read)
    assert (seen.d2h, failed) == (1, [NoDevice])
    in_thread(hooks.install)
    hooks.remove()
    assert attributes(cupy) == before


def in_thread(f: Callable) -> None:
    thread = threading.Thread(target=f)
    thread.start()
    thread.join()
