"""Run a user's training script on the simulated GPU and tell what a real one would have been asked to do."""

from __future__ import annotations

import concurrent.futures.thread
import contextlib
import dataclasses
import os
import runpy
import sys
import threading
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from xpnet.backends.ledger import Ledger, ledger
from xpnet.backends.ledger.places import Place
from xpnet.backends.resolve import simulated
from xpnet.backends.sim.place import current
from xpnet.backends.sim.stand_in import cupy_simulated
from xpnet.scripts import searching, users_frames

NOTHING = (
    'Nothing was computed on the simulated GPU. A script gets there by naming the device, as in Trainer(..., device="auto")\n'
    'or net.build(..., device="cuda"), or by `import cupy`.'
)


@dataclasses.dataclass
class Simulation:
    """What :func:`simulate` found: the ledger, and what ended the script, if not its last line.

    ``status`` is an exit status: the script's own where that is not 0, 1 where a real GPU would have stopped it, else 0.
    """

    script: str
    book: Ledger
    error: BaseException | None = None
    thread_errors: list[BaseException] = dataclasses.field(default_factory=list)

    @property
    def place(self) -> Place | None:
        """The user's line at which the script ended with an error."""
        return None if self.error is None else _place(self.error)

    @property
    def status(self) -> int:
        if isinstance(self.error, SystemExit):
            code = self.error.code
            if code is not None and code != 0:
                return code if isinstance(code, int) else 1
        elif self.error is not None:
            return 130 if isinstance(self.error, KeyboardInterrupt) else 1
        return int(bool(self.thread_errors) or any(event.kind == "mistake" for event in self.book.events.values()))

    def as_dict(self) -> dict[str, Any]:
        """How the script ended and the whole ledger, fit for JSON."""
        return {"script": self.script, "ending": self._ending(), "status": self.status, **self.book.as_dict()}

    def __str__(self) -> str:
        book = self.book
        if book.launches or book.allocations or book.events:
            return f"{self._ending()}\n\n{book}"
        return self._ending() if self.status else f"{self._ending()}\n\n{NOTHING}"

    def _ending(self) -> str:
        threads = [f"{_place(e)}: {type(e).__name__}: {e}" for e in self.thread_errors]
        return "\n".join([self._main_ending(), *(f"A thread ended with an error: {text}" for text in threads)])

    def _main_ending(self) -> str:
        error = self.error
        if error is None or (isinstance(error, SystemExit) and not error.code):
            return f"{self.script} ran to its end."
        if isinstance(error, SystemExit):
            said = "" if isinstance(error.code, int) else f": {error.code}"
            return f"{self.script} ended by itself with exit status {self.status}{said}."
        if isinstance(error, KeyboardInterrupt):
            return f"{self.script} was stopped at {self.place}."
        frames = users_frames(error)
        trace = "".join(traceback.format_list(frames))
        if isinstance(error, SyntaxError) and not frames:
            return f"{self.script} cannot be run:\n{''.join(traceback.format_exception_only(error)).rstrip()}"
        return f"{self.script} ended with an error:\n{trace}{self.place}: {type(error).__name__}: {error}"


def simulate(script: str, arguments: Sequence[str] = ()) -> Simulation:
    """Run a Python file with "cuda", "auto" and ``import cupy`` answered by the simulated GPU, and a ledger open.

    Host arrays among device arrays are noted as mistakes, and the script goes on, so that one run finds
    them all; every other error ends it, as it would end it on a real GPU. Processes that the
    script starts are not followed, threads are. Raises FileNotFoundError where there is no such file.
    """
    path = Path(script)
    if not path.is_file():
        raise FileNotFoundError(f"{script!r} is a folder, not a file" if path.is_dir() else f"there is no file {script!r}")
    with simulated(), cupy_simulated(), ledger(forgiving=True) as book, _as_main(path, arguments):
        found = Simulation(script, book)
        try:
            with _threads_followed(found.thread_errors):
                runpy.run_path(str(path.absolute()), run_name="__main__")
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            found.error = error
    return found


@contextlib.contextmanager
def _threads_followed(errors: list[BaseException]) -> Iterator[None]:
    """Wait for the threads that were started, as Python does before it ends, and collect what ended them."""
    before, hook = set(threading.enumerate()), threading.excepthook

    def collect(args: threading.ExceptHookArgs) -> None:
        if args.exc_value is not None:
            errors.append(args.exc_value)
        hook(args)

    threading.excepthook = collect
    try:
        try:
            yield
        finally:
            for thread in set(threading.enumerate()) - before:
                _finish(thread)
    finally:
        threading.excepthook = hook


def _finish(thread: threading.Thread) -> None:
    """Workers of a pool wait for work until their pool is shut down; other threads end by themselves."""
    if thread in concurrent.futures.thread._threads_queues:
        pool = thread._args[0]()  # type: ignore[attr-defined]  # its weak reference to the pool
        if pool is not None:
            pool.shutdown()
    elif not thread.daemon:
        thread.join()


@contextlib.contextmanager
def _as_main(path: Path, arguments: Sequence[str]) -> Iterator[None]:
    """``sys.argv`` and the search path as ``python script.py arguments`` would have them."""
    before, sys.argv, folder = sys.argv, [str(path), *arguments], os.getcwd()
    try:
        with searching(path.resolve().parent), current.place:
            yield
    finally:
        sys.argv = before
        os.chdir(folder)


def _place(error: BaseException) -> Place | None:
    """The innermost line of the user's in a traceback."""
    frames = users_frames(error)
    return Place(frames[-1].filename, frames[-1].lineno or 0) if frames else None
