"""The line through times by batch, and where two devices change places."""

from __future__ import annotations

import pytest

from xpnet.advise.fit import Line, at, line, pays_from

BATCHES = (1, 4, 16, 64, 256, 1024)


def test_a_line_is_found():
    found = line([(n, 2e-4 + 3e-6 * n) for n in BATCHES])
    assert found.fixed == pytest.approx(2e-4)
    assert found.each == pytest.approx(3e-6)
    assert found.error < 1e-9
    assert found(10) == pytest.approx(2.3e-4)


def test_neither_figure_is_below_zero():
    steep, falling = line([(1, 1.0), (10, 20.0)]), line([(1, 2.0), (10, 1.0)])
    assert steep.fixed == 0
    assert steep.each > 0
    assert falling.each == 0
    assert falling.fixed > 0
    assert steep.error > 0
    assert falling.error > 0


def test_where_lines_meet():
    assert Line(1.0, 3.0, 0.0).meets(Line(5.0, 1.0, 0.0)) == 2.0
    assert Line(1.0, 3.0, 0.0).meets(Line(1.0, 3.0, 0.0)) is None
    assert Line(5.0, 3.0, 0.0).meets(Line(1.0, 1.0, 0.0)) is None


def curve(fixed, each):
    return [(n, fixed + each * n) for n in BATCHES]


def test_from_which_batch_on_a_gpu_pays():
    assert pays_from(curve(0, 10e-6), curve(640e-6, 0)) == pytest.approx(65, abs=2)
    assert pays_from(curve(0, 10e-6), curve(1.0, 0)) is None
    assert pays_from(curve(1.0, 10e-6), curve(0.5, 0)) == 1


def test_a_gpu_that_is_quicker_only_for_a_while_does_not_pay():
    cpu, gpu = [(1, 1.0), (10, 10.0), (100, 20.0)], [(1, 2.0), (10, 5.0), (100, 50.0)]
    assert pays_from(cpu, gpu) is None


def test_only_batches_that_both_have_count():
    assert pays_from([(4, 1.0), (8, 2.0)], [(1, 0.5), (16, 0.5)]) == 4


def test_between_points_logarithms_are_straight():
    assert float(at([(1, 1.0), (100, 100.0)], 10)) == pytest.approx(10.0)
