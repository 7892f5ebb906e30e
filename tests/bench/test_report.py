"""``xpnet report``: what it says, the tables, and what it refuses."""

from __future__ import annotations

import re

import pytest
from report_helpers import one_run, result, runs

from xpnet.bench import text
from xpnet.bench.cells import Cell, Measured
from xpnet.bench.report import build
from xpnet.bench.results import Case, write
from xpnet.cli import main


def cell(report, section: str, group: str, row: dict[str, str], column: str) -> Cell:
    """One cell of a report, by the heading of its group, what stands in its row, and its column."""
    table = next(s.table for s in report.sections if s.name == section)
    rows = next(g.rows for g in table.groups if g.title == group)
    found = [r for r in rows if all(r[table.heads.index(head)].text == value for head, value in row.items())]
    assert len(found) == 1
    return found[0][table.heads.index(column)]


# What follows, and the tables


def test_the_verdicts_come_first(capsys, files):
    assert main(["report", *files]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    before, after = out.split("Training steps\n", 1)
    assert before.startswith(
        "xpnet benchmarks\nA Intel(R) Xeon(R) Processor, 2 cores, 2026-11-29 01:30:00 UTC\nB NVIDIA H200, "
    )
    told = " ".join(before.split())  # lines are broken at 100 columns
    assert " 50x Whole minibatch against the per-sample loop: 784-30-10, CPU of A, 1 thread, float32, batch 100 Spread" in told
    assert "Spread 48..51. Over all models and sizes 1.02x to 74x.\n" in before
    assert "The figures of B are those of a quick run" in before
    assert "2.3x  xpnet against torch, GPU of B\n" in before
    assert "unequal threads: BLAS had 2 at the end, 1 were asked for\n  forms / resnet / matrix" in after
    assert "  GPU 0        NVIDIA H200, compute capability 9.0, 140.4 GiB, 139.7 GiB free, SM at 1980 MHz" in after


def test_the_text_fits_a_terminal(capsys, files):
    main(["report", *files])
    assert max(map(len, capsys.readouterr().out.splitlines())) <= 100


def test_ratios_are_those_of_equal_threads():
    report = build(runs())
    found = {
        m.name: m.result for label, run in zip("AB", runs(), strict=True) for m in (Measured(label, r) for r in run.results)
    }
    for threads, group, head, form in (
        (1, "784-30-10, CPU of A, 1 thread", "per sample / matrix", "per sample"),
        (1, "784-30-10, CPU of A, 1 thread", "book / matrix", "book"),
        (1, "784-100-10, CPU of B, 1 thread", "per sample / matrix", "per sample"),
    ):
        label, model = group[group.index("of ") + 3], group.partition(",")[0]
        place = f"cpu / float64 / batch 100 / {threads} thread"
        slow, fast = (found[f"{label}: forms / {model} / {name} / {place}"] for name in (form, "matrix"))
        shown = cell(report, "forms", group, {"dtype": "float64", "batch": "100"}, head)
        assert shown.value == slow.median / fast.median
        assert shown.low == slow.quartiles[0] / fast.quartiles[1]
        assert shown.high == slow.quartiles[1] / fast.quartiles[0]
        assert shown.low < shown.value < shown.high


def test_the_books_program_in_float64_stands_beside_float32_and_is_labelled():
    report = build(runs())
    row = {"dtype": "float32", "batch": "10"}
    shown = cell(report, "forms", "784-30-10, CPU of A, 1 thread", row, "book / matrix")
    assert (shown.mark, shown.of[0]) == ("a", "A: forms / 784-30-10 / book / cpu / float64 / batch 10 / 1 thread")
    assert "float64" in report.sections[0].table.notes[0]
    double = cell(report, "forms", "784-30-10, CPU of A, 1 thread", {**row, "dtype": "float64"}, "book / matrix")
    assert double.mark == ""
    assert cell(report, "forms", "784-256-128-10, CPU of A, 1 thread", row, "book / matrix").text == "-"


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"threads_seen": 2}, "unequal threads"),
        ({"difference": 0.5}, "its results were not right"),
        ({"synchronised": False}, "before the device had finished"),
    ],
)
def test_what_cannot_be_compared_is_blank_with_the_reason(options, reason):
    matrix, loop = (Case("forms", "784-30-10", form, batch=10) for form in ("matrix", "per sample"))
    report = build([one_run(result(matrix, 1e-4), result(loop, 1e-3, **options))])
    shown = cell(report, "forms", "784-30-10, CPU, 1 thread", {"batch": "10"}, "per sample / matrix")
    assert (shown.text, shown.value, shown.mark) == ("-", None, "a")
    assert reason in report.sections[0].table.notes[0]
    assert report.verdicts == []


@pytest.mark.parametrize(
    ("gpu", "said"),
    [
        ((4e-4, 4e-4, 4e-4), "It pays from batch 100 on: 2.5x (2.5..2.5) there."),
        ((9e-4, 2e-3, 9e-3), "It pays from batch 1000 on."),
        ((1e-5, 1e-5, 1e-5), "It pays from batch 10 on, the smallest that was tried: 10.0x (10.0..10.0) there."),
        ((1e-2, 1e-2, 2e-2), "It does not pay at any batch that was tried."),
        ((1e-5, 1e-2, 1e-3), "It pays from batch 1000 on."),
    ],
)
@pytest.mark.parametrize("apart", [False, True])
def test_from_which_batch_on_a_gpu_pays(gpu, said, apart):
    def timed(device: str, batch: int, seconds: float, threads: int = 1):
        one = result(Case("forms", "784-30-10", "matrix", device, batch, threads=threads), seconds)
        one.seconds = [seconds] * 5
        return one

    cpu = [
        timed("cpu", n, s, threads) for n, s in ((10, 1e-4), (100, 1e-3), (1000, 1e-2)) for threads, s in ((1, 2 * s), (2, s))
    ]
    cuda = [timed("cuda", n, s) for n, s in zip((10, 100, 1000), gpu, strict=True)]
    report = build([one_run(*cpu), one_run(*cuda)] if apart else [one_run(*cpu, *cuda)])
    verdict = next(v for v in report.verdicts if v.text.startswith("GPU"))
    assert verdict.more == said
    group = "784-30-10, GPU of B" if apart else "784-30-10, GPU"
    assert cell(report, "gpu", group, {"batch": "10"}, "its threads").text == ("2 threads of A" if apart else "2 threads")
    assert verdict.figure.value == pytest.approx(1e-2 / gpu[-1])


def test_parts_and_their_shares():
    report = build(runs()[:1])
    group = next(s.table for s in report.sections if s.name == "parts").groups[0]
    assert group.title == "784-30-10, CPU, batch 10, float32, 2 threads"
    assert [row[0].text for row in group.rows] == ["input", "forward", "loss", "backward", "update"]
    assert sum(row[2].value for row in group.rows) == pytest.approx(1)


def test_every_suite_has_a_table_and_every_case_a_place():
    report = build(runs())
    assert [s.name for s in report.sections] == [
        *("forms", "gpu", "threads", "parts", "peers", "optimizers", "convolution", "feeding", "sorting", "startup", "harness"),
        *("checks", "missing", "machines"),
    ]
    shown = {name for s in report.sections for g in s.table.groups for row in g.rows for c in row for name in c.of}
    everything = {Measured(label, r).name for label, run in zip("AB", runs(), strict=True) for r in run.results}
    unseen = {name for name in everything - shown if not re.search(r"forms.*(per sample|book).*\d threads", name)}
    left = {name for name in unseen if "matrix" not in name}
    assert left == set()
    assert all("float64" in name for name in unseen)  # the sweep of threads shows one dtype


def test_threads_that_are_best():
    shown = build(runs())
    assert cell(shown, "threads", "784-256-128-10, CPU of B, float32", {"batch": "1000"}, "best").value == 16
    assert cell(shown, "threads", "784-256-128-10, CPU of A, float32", {"batch": "1000"}, "4 threads").text == "-"
    one = [r for r in runs()[0].results if r.case.threads == 1]
    assert "threads" not in {s.name for s in build([one_run(*one)]).sections}


def test_the_bare_products_are_a_limit_and_no_library():
    report = build(runs())
    told = [v.text for v in report.verdicts if "products" in v.text]
    assert told == [
        f"The bare products, the limit: their time over that of xpnet's step, {p}" for p in ("CPU of A", "GPU of B")
    ]
    table = next(s.table for s in report.sections if s.name == "peers")
    assert [c.text for c in table.column("library", table.groups[0])] == ["torch", "jax", "the bare products, the limit"]
    assert "xpnet against products" not in text.page(runs())


def test_checks_tell_the_largest_difference():
    right, wrong = (Case("forms", "784-30-10", "matrix", batch=n) for n in (1, 10))
    table = build([one_run(result(right, 1e-4), result(wrong, 1e-4, difference=float("nan")))]).sections[-2].table
    assert [str(c) for c in table.groups[0].rows[0]][:5] == ["forms", "2", "1", "nan", "inf%"]


def test_a_run_of_which_nothing_counted():
    run = one_run()
    run.refused = {"forms / 784-30-10": "wrong results"}
    assert "refused: wrong results\n  forms / 784-30-10\n" in text.page([run])


@pytest.mark.parametrize(
    "machine", [{"cpu": {"model": "Apple M4", "usable_cores": 10}, "memory": None, "numpy": {}, "driver": {}}]
)
def test_what_a_file_does_not_tell_is_left_out(machine):
    printed = text.page([one_run(result(Case("harness", "nothing", "no-op"), 1e-7), **machine)])
    assert "CPU          Apple M4, 10 cores\n" in printed
    assert "None" not in printed
    assert "  memory" not in printed


# What is refused


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("not json", "not JSON"),
        ("[]", "not a file of benchmark results"),
        ('{"schema": "other", "version": 1, "runs": []}', "not a file of benchmark results"),
        ('{"schema": "xpnet-bench", "version": 99, "runs": []}', "version 99 of the format"),
        ('{"schema": "xpnet-bench", "version": 1, "runs": []}', "nothing was timed in it"),
        ('{"schema": "xpnet-bench", "version": 1, "runs": [{}]}', "damaged"),
        (None, "No such file or directory"),
    ],
)
def test_files_that_are_no_results(capsys, tmp_path, files, content, said):
    path = tmp_path / "mine.json"
    if content is not None:
        path.write_text(content)
    assert main(["report", files[0], str(path)]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith(f"xpnet report: {path}: ")
    assert said in err
    assert err.count("\n") == 1


def test_a_time_of_nothing(capsys, tmp_path):
    found = result(Case("harness", "nothing", "no-op"), 1e-7)
    found.seconds[3] = 0.0
    write(tmp_path / "mine.json", [one_run(found)])
    assert main(["report", str(tmp_path / "mine.json")]) == 1
    assert "has no times, or no sensible ones" in capsys.readouterr().err


@pytest.mark.parametrize("option", ["--html", "--markdown"])
def test_a_folder_that_is_not_there_is_said_before_anything_is_read(capsys, tmp_path, option):
    pytest.importorskip("jinja2")
    target = tmp_path / "nowhere" / "report"
    assert main(["report", str(tmp_path / "absent.json"), option, str(target)]) == 1
    assert f"there is no folder {target.parent}; make it first" in capsys.readouterr().err
