"""How a step's calls add up on a CPU, and that the micro-benchmarks give every figure."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest
from profile_helpers import cpu_profile

from xpnet.advise import cpu_measure, gpu_measure, profiling
from xpnet.advise import cpu_profile as cpu_profile_module
from xpnet.advise.cpu_profile import ALONE, EACH, SHARED, CPUProfile
from xpnet.advise.profiles import FIGURES, load_profile, measured_profile
from xpnet.advise.tasks import Section, Task, Work
from xpnet.backends import resolve

SMALL = (1, 16, 64)
ADD = Task("add", 1000, 12_000)
PRODUCT = Task("matmul", 1e6, 1e4, 4, (1, 256, 256, 256))


def work(*shares, in_layers=False, blas=1):
    return Work([Section(list(map(list, shares)), in_layers)], blas_threads=blas)


def test_a_call_takes_its_own_time_and_that_of_its_memory():
    p = cpu_profile()
    assert p.step(work([ADD])) == pytest.approx(1e-6 + 12_000 / 1e10)
    assert p.step(work([dataclasses.replace(ADD, runs=11)])) == pytest.approx(1e-6 + 1e-7 + 12_000 / 1e10)
    assert p.step(work([dataclasses.replace(ADD, casts=True)])) == pytest.approx(1e-6 + 1e-7 + 12_000 / 1e10)
    assert p.step(work([ADD], in_layers=True)) == pytest.approx(3e-6 + 12_000 / 1e10)
    assert p.step(work([Task("exp", 1e6, 8e6)])) == pytest.approx(1e-6 + 1e-3)


def test_workers_share_and_the_slowest_counts():
    p = cpu_profile()
    alone, both = p.step(work([PRODUCT, PRODUCT])), p.step(work([PRODUCT], [PRODUCT]))
    assert both == pytest.approx(alone / 2 + 1e-5)
    assert p.step(work([PRODUCT], [PRODUCT, PRODUCT])) == pytest.approx(alone + 1e-5)
    assert p.step(work([], [])) == 0


def test_products_between_the_measured_sizes_and_beyond():
    p = cpu_profile()
    for sizes in ((256, 256, 256), (100, 100, 100), (30, 784, 10), (4096, 4096, 4096)):
        seconds = p.product(Task("matmul", 1, 1, 4, (1, *sizes)), ALONE)
        assert seconds == pytest.approx(2 * math.prod(sizes) / 1e11 + 1e-7, rel=0.15)
    assert p.product(Task("matmul", 1, 1, 4, (36, 64, 64, 64)), ALONE) == pytest.approx(
        36 * p.product(Task("matmul", 1, 1, 4, (1, 64, 64, 64)), ALONE)
    )
    assert p.product(Task("matmul", 1, 1, 8, (1, 64, 64, 64)), ALONE) > p.product(
        Task("matmul", 1, 1, 4, (1, 64, 64, 64)), ALONE
    )


def test_the_mode_is_that_of_the_threads():
    p = cpu_profile()
    assert p.mode(Section([[ADD], [ADD]]), work()) == EACH
    assert p.mode(Section([[ADD]]), work(blas=0)) == SHARED
    assert p.mode(Section([[ADD]]), work(blas=1)) == ALONE
    assert cpu_profile(1).mode(Section([[ADD]]), work(blas=0)) == ALONE


def test_parts_are_the_whole():
    p = cpu_profile()
    found = work([PRODUCT, ADD])
    assert sum(p.parts(found).values()) == pytest.approx(p.step(found))


@pytest.fixture(scope="module")
def measured():
    """On tiny grids, once."""
    patch = pytest.MonkeyPatch()
    patch.setattr(cpu_measure, "PASSES", 1)
    patch.setattr(cpu_measure, "LEAST_SECONDS", 2e-5)
    patch.setattr(cpu_measure, "STACK", 1 << 12)
    for module in (cpu_measure, cpu_profile_module):
        patch.setattr(module, "GRID", SMALL)
    try:
        yield profiling.measure(resolve("sim").device)
    finally:
        patch.undo()


def test_micro_benchmarks_give_every_figure(measured):
    p = CPUProfile(**measured["cpu"])
    assert p.call[ALONE] > 0
    assert all(value > 0 for value in p.elements.values())
    for table in (*p.products.values(), *p.transposed.values()):
        assert len(table) == len(SMALL) ** 3
        assert min(table) > 0
    assert p.products[ALONE][-1] > p.products[ALONE][0]


def test_a_profile_file_is_read_again(measured, tmp_path):
    path = tmp_path / "here.json"
    path.write_text(json.dumps(measured))
    assert profiling.cpu_of(path) == CPUProfile(**measured["cpu"])
    assert load_profile(path).host_call > 0


def test_a_gpu_s_micro_benchmarks_give_every_figure(measured):
    """On the simulated GPU, whose times mean nothing."""
    profile = measured_profile(measured)
    assert all(getattr(profile, field) > 0 for field in FIGURES)
    assert {kind for kind, _ in profile.sources.values()} == {"measured"}
    assert gpu_measure.SOURCE in {source for _, source in profile.sources.values()}


def test_a_file_without_a_cpu_is_refused(tmp_path):
    path = tmp_path / "p.json"
    path.write_text("{}")
    with pytest.raises(ValueError, match="no profile of a CPU"):
        profiling.cpu_of(path)
