"""Threads that make calls side by side: errors, interrupts, other threads and processes, BLAS's threads."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
import warnings

import numpy as np
import pytest
from block_helpers import CPU_DEVICE, blocks_of, train, trainer

from xpnet.backends.workers import Workers


def test_an_interrupt_leaves_no_job_behind():
    """Ctrl-C while the caller waits for a thread."""

    def slow(name):
        time.sleep(0.3)
        done.append(name)

    def interrupt(number, frame):
        raise KeyboardInterrupt

    workers, done = Workers(2), []
    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with pytest.raises(KeyboardInterrupt):
            workers.replay([[], [(slow, ("first",))]])
    finally:
        signal.signal(signal.SIGALRM, before)
    assert done == ["first"]
    workers.replay([[], [(slow, ("second",))]])
    assert done == ["first", "second"]


def test_a_workers_error_arrives_and_the_workers_live_on():
    workers = CPU_DEVICE.workers

    def fail():
        raise FloatingPointError("in a worker")

    done = []
    with pytest.raises(FloatingPointError, match="in a worker"):
        workers.replay([[(done.append, (1,))], [(fail, ())], [(done.append, (3,))]])
    assert sorted(done) == [1, 3]
    workers.replay([[(done.append, (4,))], [(done.append, (5,))]])
    assert sorted(done) == [1, 3, 4, 5]


def test_errstate_holds_in_workers():
    def divide():
        np.divide(np.ones(3), np.zeros(3))

    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        CPU_DEVICE.workers.replay([[], [(divide, ())]])


def test_two_threads_train_two_networks(monkeypatch):
    with blocks_of(monkeypatch, 4):
        alone = train(trainer(), 8)
        found = [None, None]

        def run(i):
            found[i] = train(trainer(), 8)

        threads = [threading.Thread(target=run, args=(i,)) for i in range(2)]
        for t in threads:
            t.start()
        for t in threads:
            t.join()
    assert found == [alone, alone]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_has_workers_of_its_own(monkeypatch):
    with blocks_of(monkeypatch, 4), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Python 3.12 warns of forks where there are threads
        made = trainer()
        train(made, 4)
        child = os.fork()
        if child == 0:
            os._exit(0 if np.isfinite(train(made, 3)).all() else 1)
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_blas_threads_are_put_back():
    from xpnet.backends.workers import _blas_libraries, one_blas_thread

    before = [library.num_threads for library in _blas_libraries()]
    with contextlib.suppress(KeyError), one_blas_thread():
        assert all(library.num_threads == 1 for library in _blas_libraries())
        raise KeyError
    assert [library.num_threads for library in _blas_libraries()] == before


@pytest.mark.parametrize("count", [0, -1, 1.5, "2", True])
def test_a_wrong_number_of_threads(count):
    with pytest.raises(ValueError, match=r"threads=.*whole number from 1 on"):
        CPU_DEVICE.threads = count


@pytest.mark.parametrize(
    ("text", "found"), [("3", "threads 3"), ("", "threads"), ("two", "XPNET_THREADS='two'"), ("0", "XPNET_THREADS='0'")]
)
def test_threads_from_the_environment(text, found):
    code = "import xpnet as xn; print('threads', xn.device('cpu').threads)"
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, "XPNET_THREADS": text}, capture_output=True, text=True, check=False
    )
    assert found in done.stdout + done.stderr
    assert (done.returncode == 0) == (text in ("3", ""))
