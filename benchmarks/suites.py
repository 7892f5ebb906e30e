"""The suites of ``xpnet bench`` under pytest-benchmark: its tables, histograms, and comparisons with saved runs.

    pytest benchmarks/suites.py [-k "forms and matrix"] [--benchmark-autosave] [--benchmark-compare]

Cases, warm-up, synchronisation, threads and proof are those of ``xpnet bench``, clock and rounds pytest-benchmark's.
"""

import pytest

from xpnet.bench.running import Prepared
from xpnet.bench.suites import cases
from xpnet.bench.timing import blas_threads, threads, timed, verified

ROUNDS = 10


@pytest.mark.parametrize("case", cases("cpu", quick=True), ids=lambda case: case.name)
def test_case(benchmark, case):
    if case.suite == "startup":
        pytest.skip("timed in a process of its own: xpnet bench")
    ready = Prepared(case)
    work = ready.work
    benchmark.group = f"{case.suite}: {case.model}, batch {case.batch}, {case.dtype}"
    with work.device.use(), threads(case.threads, work.device):
        timed(work, 1)  # refuses a device that is not waited for
        if work.before:  # the clock is around one part of a step
            benchmark.pedantic(synchronised, setup=lambda: ((work, work.before()), {}), rounds=ROUNDS)
        else:
            benchmark.pedantic(synchronised, (work,), iterations=ready.calls, rounds=ROUNDS)
        check = verified(work)
        benchmark.extra_info.update(threads=blas_threads(), check=check.what, difference=check.difference)


def synchronised(work, *arguments):
    work.call(*arguments)
    work.device.synchronize()
