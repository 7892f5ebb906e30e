"""Run the suites: every case in several passes over all of them, so that a slow moment of the machine hits few of its times."""

from __future__ import annotations

import contextlib
import datetime
import gc
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from xpnet.backends import DeviceUnavailable
from xpnet.bench import machine
from xpnet.bench.networks import NETWORKS, SEED
from xpnet.bench.results import Case, Result, Run, write
from xpnet.bench.suites import prepare
from xpnet.bench.timing import Refused, blas_threads, calls_for, threads, timed, verified

PASSES = 18  # so many rounds of each case, some seconds apart: machines have slow moments
PROVED = 6  # of so many rounds one is proved right
SPINNING = 0.05  # seconds, more than OpenBLAS's threads spin after a product in the hope of another one
STARTS = 6  # of so many passes one has the starts of processes, which take long
HEAVY = 64  # images of a batch that takes so much memory that its network is made anew in each pass
SECONDS = {True: 150.0, False: 1800.0}  # the most that quick and full runs take
BETWEEN_WRITES = 2.0  # seconds


class Runner:
    """Times cases and keeps what is finished, in a file too if there is one: Ctrl-C loses nothing of it."""

    def __init__(self, cases: Sequence[Case], *, seconds: float, out: Path | None = None, quick: bool = False):
        self.cases, self.seconds, self.out = list(cases), seconds, out
        started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
        self.run = Run(machine.describe(), sys.argv, machine.revision(), SEED, started, quick)
        self._found: dict[Case, Result] = {}
        self._kept: dict[Case, Prepared] = {}
        self._began = self._written = time.perf_counter()

    def __call__(self, *, progress: bool = True, passes: int = PASSES) -> Run:
        """All passes, unless time is over before; on KeyboardInterrupt what is finished is in ``run`` and the file."""
        order = sorted(self.cases, key=lambda case: (case.threads, _of_images(case)))
        with (
            self._settling(),
            tqdm(total=len(order) * passes, unit="case", disable=None if progress else True, leave=False) as bar,
        ):
            for i in range(passes):
                among_images = False
                for case in order:
                    if case.suite == "startup" and i % STARTS:
                        continue
                    if time.perf_counter() - self._began > self.seconds:
                        return self.run
                    bar.set_description(f"{case.suite} {case.model} {case.form}"[:48])
                    if _of_images(case) and not among_images:
                        time.sleep(SPINNING)
                    among_images = _of_images(case)
                    self._visit(case)
                    bar.update()
        return self.run

    def _visit(self, case: Case) -> None:
        if case.name in self.run.refused or case.name in self.run.left_out:
            return
        try:
            ready = self._kept.get(case) or Prepared(case)
            found = ready.round()
            if not _heavy(case):
                self._kept[case] = ready
        except Refused as error:
            self.run.refused[case.name] = str(error)
            self._found.pop(case, None)
        except DeviceUnavailable as error:
            self.run.left_out[case.name] = str(error)
        except Exception as error:  # one case that fails, for want of memory say, must not take the others along
            self.run.refused[case.name] = f"{type(error).__name__}: {str(error).partition(chr(10))[0]}"
            self._found.pop(case, None)
        else:
            self._add(case, found)
        if _heavy(case):
            gc.collect()  # networks and their passes refer to each other
        if time.perf_counter() - self._written > BETWEEN_WRITES:
            self._save()

    def _add(self, case: Case, found: Result) -> None:
        if case in self._found:
            self._found[case].seconds += found.seconds
            self._found[case].check = max(self._found[case].check, found.check, key=lambda check: check.difference)
        else:
            self._found[case] = found

    @contextlib.contextmanager
    def _settling(self) -> Iterator[None]:
        """Whatever ends the run: say what is missing, and save."""
        try:
            yield
        finally:
            for case in self.cases:
                if case not in self._found and case.name not in self.run.refused:
                    self.run.left_out.setdefault(case.name, "not reached before the run ended")
            self._save()

    def _save(self) -> None:
        self.run.results = [self._found[case] for case in self.cases if case in self._found]
        self.run.seconds = round(time.perf_counter() - self._began, 1)
        if self.out:
            write(self.out, [self.run])
        self._written = time.perf_counter()


def _heavy(case: Case) -> bool:
    return _of_images(case) and case.batch > HEAVY


def _of_images(case: Case) -> bool:
    """Whether xpnet's workers share its step, in the way of which BLAS's idle threads would be."""
    return case.suite == "convolution" or (case.model in NETWORKS and not NETWORKS[case.model].sizes)


class Prepared:
    """A case that is warmed up and ready to be timed round by round."""

    def __init__(self, case: Case):
        self.case, self.work = case, prepare(case)
        with self.work.device.use(), threads(case.threads, self.work.device):
            self.calls, self.check = calls_for(self.work), verified(self.work)
        self.rounds = 0

    def round(self) -> Result:
        """One round after another one that warms caches; now and then with proof that it was right. Raises Refused."""
        with self.work.device.use(), threads(self.case.threads, self.work.device):
            if not self.work.timer:
                timed(self.work, 1 if self.work.before else self.calls)
            seconds = timed(self.work, self.calls) / self.calls
            seen = blas_threads()
            self.rounds += 1
            if self.rounds % PROVED == 0 and not self.work.timer:
                self.check = verified(self.work)
            return Result(self.case, [seconds], self.calls, self.check, seen, synchronised=True)
