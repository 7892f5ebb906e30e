"""Profiles of GPUs: every figure has a source and a sane value, names are found, files checked."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import pytest

from xpnet.advise import profiles
from xpnet.advise.profiles import KINDS, GPUProfile, gpu_names, gpu_profile, load_profile, table

STORED = json.loads(Path(profiles.__file__).with_name("gpus.json").read_text("utf-8"))
GPUS = {gpu["name"]: gpu for gpu in STORED["gpus"]}
NUMBERS = [field.name for field in dataclasses.fields(GPUProfile) if field.name not in ("name", "sources")]

RANGES = {  # wide enough for a K80 and a B200
    "sm_count": (4, 200),
    "fp32_tflops": (1, 120),
    "fp64_tflops": (0.015, 45),
    "gemm_efficiency": (0.2, 1),
    "memory_gbs": (60, 8000),
    "memory_efficiency": (0.7, 1),
    "memory_gb": (4, 200),
    "l2_mb": (1, 130),
    "l2_gbs": (200, 12000),
    "link_gbs": (5, 64),
    "link_pageable_gbs": (2, 30),
    "launch_us": (1, 5),
    "gemm_floor_us": (4, 11),
    "sync_us": (4, 20),
    "copy_us": (8, 40),
}


def one(**changes) -> dict:
    """A profile file as a user's machine would write it, with keys of others beside."""
    return {"schema": "xpnet-profile", "version": 1, "gpu": GPUS["RTX 3090"], "measured": {"driver": "570"}, **changes}


@pytest.fixture
def written(tmp_path):
    def write(content) -> Path:
        path = tmp_path / "mine.json"
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return path

    return write


@pytest.mark.parametrize("name", GPUS)
class TestEveryGPU:
    def test_every_figure_has_kind_and_source(self, name):
        figures = GPUS[name]["figures"]
        assert figures.keys() == RANGES.keys() | {"compute_capability"}
        for figure in figures.values():
            assert figure.keys() == {"value", "kind", "source"}
            assert figure["kind"] in KINDS
            assert len(figure["source"]) >= 4

    def test_sources_can_be_followed(self, name):
        for figure in GPUS[name]["figures"].values():
            assert not any(vague in figure["source"] for vague in ("see ", "find_string", "[memory]", "search corpus"))
            assert (figure["kind"] == "memory") == figure["source"].startswith("from memory")

    def test_figures_lie_in_sane_ranges(self, name):
        figures = {key: figure["value"] for key, figure in GPUS[name]["figures"].items()}
        assert all(low <= figures[key] <= high for key, (low, high) in RANGES.items())
        assert figures["l2_gbs"] > 1.3 * figures["memory_gbs"]
        assert figures["link_pageable_gbs"] < figures["link_gbs"] < figures["memory_gbs"]

    def test_double_precision_follows_from_the_compute_capability(self, name):
        figures = {key: figure["value"] for key, figure in GPUS[name]["figures"].items()}
        shares = {"3.7": 3, "5.2": 32, "6.1": 32, "7.5": 32, "8.6": 64, "8.7": 64, "8.9": 64, "12.0": 64}
        share = shares.get(figures["compute_capability"], 2)
        assert figures["fp64_tflops"] == pytest.approx(figures["fp32_tflops"] / share, rel=1e-3)

    def test_profile_is_in_seconds_bytes_and_flops(self, name):
        gpu, figures = gpu_profile(name), GPUS[name]["figures"]
        assert gpu.sources.keys() == set(NUMBERS)
        assert all(isinstance(getattr(gpu, key), float) and math.isfinite(getattr(gpu, key)) for key in NUMBERS)
        assert gpu.fp32_flops == figures["fp32_tflops"]["value"] * 1e12
        assert gpu.memory_bytes == figures["memory_gb"]["value"] * 2**30
        assert gpu.launch == pytest.approx(figures["launch_us"]["value"] / 1e6)
        assert gpu.sources["launch"] == (figures["launch_us"]["kind"], figures["launch_us"]["source"])
        assert gpu.host_call_low < gpu.host_call < gpu.host_call_high


def test_figures_known_to_be_wrong_are_not_there():
    figures = {name: {key: figure["value"] for key, figure in gpu["figures"].items()} for name, gpu in GPUS.items()}
    assert figures["L4"]["memory_gbs"] == 300  # 3350 in torch/_inductor/analysis/device_info.py
    assert figures["L4"]["sm_count"] == 58  # 60 in NeuSight and DeepView
    assert figures["H200"]["memory_gbs"] == 4800  # 3360 in copies of Wikipedia
    assert figures["H100 SXM"]["memory_gbs"] == 3352  # 3072 in LLM-Viewer
    assert figures["RTX 5090"]["fp32_tflops"] < 110  # 838 is of tensor cores, with sparsity
    assert all(f["fp32_tflops"] < 120 for f in figures.values())  # rates of tensor cores are no FP32


@pytest.mark.parametrize(
    ("spelling", "name"),
    [
        ("h200", "H200"),
        ("rtx 4090", "RTX 4090"),
        ("rtx4090", "RTX 4090"),
        ("4090", "RTX 4090"),
        ("NVIDIA GeForce RTX 4090", "RTX 4090"),
        ("NVIDIA H100 80GB HBM3", "H100 SXM"),
        ("NVIDIA A100-SXM4-80GB", "A100 80GB SXM"),
        ("a100", "A100 40GB"),
        ("Tesla T4", "T4"),
    ],
)
def test_lookup(spelling, name):
    assert gpu_profile(spelling).name == name


def test_no_two_gpus_share_a_spelling():
    spellings = [profiles._plain(s) for gpu in STORED["gpus"] for s in (gpu["name"], *gpu["aliases"])]
    assert len(spellings) == len(set(spellings))


def test_an_unknown_name_is_told_what_there_is():
    with pytest.raises(ValueError, match=r"no GPU called 'rtx 4091' has a profile; did you mean 'RTX 4090'\?"):
        gpu_profile("rtx 4091")
    with pytest.raises(ValueError, match=r"no GPU called '' has a profile: say K80, .*H200.*Jetson Orin Nano Super"):
        gpu_profile("")


def test_table_marks_what_is_not_the_makers():
    lines = table().splitlines()
    assert len(lines) == len(gpu_names()) + 2
    assert next(line.split() for line in lines if line.startswith("H200")) == ["H200", "67", "50.2~", "4800", "4320*", "141"]
    assert max(map(len, lines)) <= 80


class TestFile:
    def test_of_ones_own(self, written):
        gpu, stored = load_profile(written(one())), gpu_profile("RTX 3090")
        assert gpu == stored

    def test_with_a_host_of_its_own(self, written):
        host = {"cupy_call_us": {"value": 9.0, "kind": "measured", "source": "this machine"}}
        gpu = load_profile(written(one(host=host)))
        assert gpu.host_call == gpu.host_call_low == gpu.host_call_high == 9e-6
        assert gpu.sources["host_call"] == ("measured", "this machine")

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ("{", "is not JSON"),
            ([1], "schema None, version None: a profile has 'xpnet-profile', version 1"),
            (one(schema="xpnet-bench"), "schema 'xpnet-bench', version 1: a profile has"),
            (one(version=2), "schema 'xpnet-profile', version 2: a profile has"),
            (one(gpu="H200"), "it has no GPU, or not as an object with a name and figures"),
            (one(gpu={"name": "X", "figures": {}}), "figure sm_count is missing, or has no value, source and kind"),
        ],
    )
    def test_of_another_kind_is_refused_in_one_line(self, content, message, written):
        with pytest.raises(ValueError, match=message) as caught:
            load_profile(written(content))
        assert "mine.json" in str(caught.value)
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(("key", "value"), [("gemm_efficiency", 1.2), ("memory_gbs", -1), ("launch_us", "fast")])
    def test_with_an_impossible_figure_is_refused(self, key, value, written):
        gpu = {"name": "X", "figures": GPUS["T4"]["figures"] | {key: GPUS["T4"]["figures"][key] | {"value": value}}}
        with pytest.raises(ValueError, match=f"{key}={value!r}"):
            load_profile(written(one(gpu=gpu)))
