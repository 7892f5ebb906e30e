"""Published runs on a CPU and a GPU: their networks train here, and are predicted, with the error given whatever it is."""

from __future__ import annotations

import importlib
import math
import statistics
import sys
from pathlib import Path

import pytest
from profile_helpers import cpu_profile

from xpnet.advise.profiles import gpu_profile

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"
sys.path.insert(0, str(BENCHMARKS))
published_pairs = importlib.import_module("published_pairs")
PAIRS = published_pairs.PAIRS
sys.path.remove(str(BENCHMARKS))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
class TestPublished:
    def test_times_are_of_one_step(self, pair):
        assert 0.2e-3 < pair.gpu_seconds < 10e-3
        assert 0.5e-3 < pair.cpu_seconds < 0.3
        assert gpu_profile(pair.gpu).name == pair.gpu

    def test_model_takes_a_step(self, pair):
        trainer, x, y = pair.model()
        assert len(x) == len(y) == pair.batch
        trainer.build(x.shape[1:])
        assert math.isfinite(float(trainer.step(x[:4], y[:4])))


def test_published_times_are_those_that_were_read():
    milliseconds = {pair.name: (pair.cpu_seconds * 1e3, pair.gpu_seconds * 1e3) for pair in PAIRS}
    assert milliseconds["dezero"] == pytest.approx((13.17, 2.585), rel=1e-3)
    assert milliseconds["nn-grad"] == pytest.approx((4.93, 1.494), rel=1e-3)
    assert milliseconds["keras-wide"] == pytest.approx((22.1, 6.29), rel=1e-3)
    assert milliseconds["keras-narrow"] == pytest.approx((3.2, 4.26), rel=2e-3)
    assert milliseconds["tensorflow-op-by-op"] == pytest.approx((2.35, 3.47), rel=2e-3)
    assert len(milliseconds) == len(PAIRS) == 11


def test_every_pair_is_predicted_with_its_error():
    rows = [published_pairs.judged(pair, cpu_profile()) for pair in PAIRS if pair.batch <= 128]
    assert len(rows) >= 5
    assert statistics.median(published_pairs.off(row, "gpu") for row in rows) < 6  # those frameworks launch more kernels
    for row in rows:
        assert 0 < row["gpu_predicted"] < row["cpu_predicted"] * 1000
