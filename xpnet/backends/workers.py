"""Threads that make recorded calls side by side, and the threads that NumPy's BLAS takes for one product.

NumPy releases Python's lock inside its loops and products, so that threads gain as long as calls are not too short.
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import os
import threading
from collections.abc import Callable, Iterator, Sequence

from xpnet.backends.recording import Call, replay

Job = Callable[[], None]


class Workers:
    """``count`` workers, of which the calling thread is the first; the other threads begin when there is work."""

    def __init__(self, count: int):
        self.count = count
        self._begin()

    def _begin(self) -> None:
        self._process = os.getpid()
        self._threads: list[_Thread] = []
        self._busy = threading.Lock()

    def replay(self, shares: Sequence[list[Call]]) -> None:
        """Make the calls of each list in order, the lists side by side; raises what one of them raised."""
        if len(shares) > 1 and self._process != os.getpid():
            self._begin()  # a forked process has none of its parent's threads
        if len(shares) == 1 or not self._busy.acquire(blocking=False):
            for calls in shares:  # another thread has the workers
                replay(calls)
            return
        try:
            while len(self._threads) < len(shares) - 1:
                self._threads.append(_Thread())
            others = list(zip(self._threads, shares[1:], strict=False))
            for thread, calls in others:
                thread.begin(functools.partial(contextvars.copy_context().run, replay, calls))  # numpy.errstate goes along
            errors = []
            try:
                replay(shares[0])
            finally:
                for thread, _ in others:
                    errors += thread.finish()
            if errors:
                raise errors[0]
        finally:
            self._busy.release()


class _Thread:
    """One waiting thread; two locks hand a job over and back."""

    def __init__(self) -> None:
        self._go, self._done = threading.Lock(), threading.Lock()
        self._go.acquire()
        self._done.acquire()
        threading.Thread(target=self._loop, name="xpnet worker", daemon=True).start()

    def begin(self, job: Job) -> None:
        self._job = job
        self._go.release()

    def finish(self) -> list[BaseException]:
        """Wait for the job, also where the waiting is interrupted: else the next one would count as done; what was raised."""
        errors = []
        while True:
            try:
                self._done.acquire()
                break
            except KeyboardInterrupt as interrupt:
                errors.append(interrupt)
        return errors + ([self._error] if self._error else [])

    def _loop(self) -> None:
        while True:
            self._go.acquire()
            self._error: BaseException | None = None
            try:
                self._job()
            except BaseException as error:
                self._error = error
            finally:
                del self._job  # nothing of the network is held between jobs
                self._done.release()


def cores() -> int:
    """Processor cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@contextlib.contextmanager
def one_blas_thread() -> Iterator[None]:
    """Products inside take one thread each, in the whole process; the setting is restored after.

    Workers bring the parallelism; BLAS threads beside them would fight for the cores, idle ones too, which spin for a while.
    """
    before = [(library, library.num_threads) for library in _blas_libraries()]
    for library, _ in before:
        library.set_num_threads(1)
    try:
        yield
    finally:
        for library, threads in before:
            library.set_num_threads(threads)


@functools.cache
def _blas_libraries() -> list:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas").lib_controllers
