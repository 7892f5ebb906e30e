"""``xpnet plot RUN``."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from run_helpers import HISTORY, trained, write_log

import xpnet as xn
from xpnet.cli import main
from xpnet.cli import plot_pictures as pictures
from xpnet.cli.plot_pictures import PICTURES
from xpnet.cli.plot_run import LeftOut, Run, columns_of

pytestmark = pytest.mark.extras
pytest.importorskip("matplotlib")
image = pytest.importorskip("matplotlib.image")


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> Path:
    """Saved trainings, by the name of their data."""
    folder = tmp_path_factory.mktemp("runs")
    for name in ("digits", "xor", "auto-mpg", "blobs"):
        trained(folder / name, name, "--epochs", 2, "--hidden", 8)
    return folder


@pytest.fixture
def table(tmp_path, rng) -> Path:
    """Two columns, and a class that depends on them."""
    path = tmp_path / "people.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["height", "weight", "kind"])
        for i in range(60):
            k = i % 2
            writer.writerow([round(150 + 30 * k + 3 * rng.normal(), 2), round(60 + 3 * rng.normal(), 2), ("short", "tall")[k]])
    return path


def plot(capsys, *arguments):
    """Exit status, lines printed, and the error."""
    capsys.readouterr()
    status = main(["plot", *map(str, arguments)])
    said = capsys.readouterr()
    return status, said.out.splitlines(), said.err


CLASS, NUMBER = "the target is a class, not a number", "the target is a number, not a class"
LEFT_OUT = {
    "digits": {"predicted-against-true": CLASS, "decision-boundary": "a plane has two inputs, the network takes 64"},
    "xor": {"predicted-against-true": CLASS, "misclassified": "the inputs are no images"},
    "auto-mpg": dict.fromkeys(("confusion-matrix", "misclassified", "decision-boundary"), NUMBER),
}


@pytest.mark.parametrize("name", [pytest.param("digits", marks=pytest.mark.slow), "xor", "auto-mpg"])
def test_every_picture_that_makes_sense(runs, name, capsys, tmp_path):
    run = shutil.copytree(runs / name, tmp_path / name)
    status, lines, error = plot(capsys, run)
    assert (status, error) == (0, "")
    assert lines == [
        f"{picture}: left out, {LEFT_OUT[name][picture]}"
        if picture in LEFT_OUT[name]
        else str(run / "pictures" / f"{picture}.png")
        for picture in PICTURES
    ]
    for path in (run / "pictures").iterdir():
        assert image.imread(path)[..., :3].std() > 0.02  # something is drawn
    assert len(list((run / "pictures").iterdir())) == len(PICTURES) - len(LEFT_OUT[name])


def test_some_in_a_folder_of_one_s_choice(runs, capsys, tmp_path):
    out = tmp_path / "a" / "b"
    command = [runs / "digits", "--out", out, "--format", "svg", "--only", "gradient-flow", "learning-curves"]
    status, lines, _ = plot(capsys, *command)
    assert (status, lines) == (0, [str(out / "gradient-flow.svg"), str(out / "learning-curves.svg")])
    assert (out / "gradient-flow.svg").read_text().startswith("<?xml")
    assert not (runs / "digits" / "pictures").exists()


def figure(run, name):
    ((_, found),) = pictures.draw(Run(run), [name])
    if isinstance(found, LeftOut):
        raise found
    return found


def test_the_numbers_are_the_run_s(runs):
    run = Run(runs / "digits")
    title = figure(runs / "digits", "confusion-matrix").axes[0].get_title()
    right = (run.model.net.predict(run.data.x_held).argmax(axis=1) == run.data.y_held).sum()
    assert title == f"{right} of 360 right, {right / 360:.1%}"
    wrong = figure(runs / "digits", "misclassified")
    assert wrong.get_suptitle().startswith(f"{360 - right} of 360 rows misclassified")
    assert wrong.axes[0].get_images()[0].get_array().shape == (8, 8)
    assert "weights of 64 inputs to 8 units" in figure(runs / "digits", "first-layer-filters").axes[0].get_title()
    loss, accuracy = figure(runs / "digits", "learning-curves").axes
    assert [float(v) for v in loss.get_lines()[0].get_ydata()] == [record["loss"] for record in HISTORY]
    assert accuracy.get_ylabel() == "accuracy"


def test_predictions_are_in_their_unit(runs):
    axes = figure(runs / "auto-mpg", "predicted-against-true").axes[0]
    (true,) = [line.get_xdata() for line in axes.get_lines() if line.get_label().endswith("rows")]
    assert 5 < np.min(true) < np.max(true) < 60  # miles per gallon
    assert np.std(true) > 5


def test_a_plane_is_in_its_own_unit(table, tmp_path, capsys):
    run = trained(tmp_path / "run", table, "--target", "kind", "--epochs", 20)
    axes = figure(run, "decision-boundary").axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("height", "weight")
    low, high = axes.get_xlim()
    assert 100 < low < 150 < 180 < high < 220
    colours = axes.get_images()[0].get_array()
    assert colours[150, 0, 2] > colours[150, 0, 0]  # the short ones, blue
    assert colours[150, -1, 0] > colours[150, -1, 2]  # the tall ones, orange
    rows = figure(run, "first-layer-filters").axes[0]
    assert [label.get_text() for label in rows.yaxis.get_ticklabels()] == ["height", "weight"]


def test_images_of_one_s_own(tmp_path, rng, capsys):
    np.savez(tmp_path / "images.npz", x=rng.random((40, 6, 5)), y=np.arange(40) % 2)
    run = trained(tmp_path / "run", tmp_path / "images.npz", "--epochs", 1, "--task", "classification")
    assert figure(run, "misclassified").axes[0].get_images()[0].get_array().shape == (6, 5)
    assert figure(run, "first-layer-filters").axes[0].get_images()[0].get_array().shape == (8 * 30 + 7 * 2, 8 * 25 + 7 * 2)


def test_where_the_data_are_no_longer_there(table, tmp_path, capsys):
    run = trained(tmp_path / "run", table, "--target", "kind", "--epochs", 1)
    whole = table.read_bytes()
    table.unlink()
    status, lines, _ = plot(capsys, run)
    assert status == 0
    gone = f"left out, {table} is not there; where the data are now: xpnet plot {run} --data PATH"
    assert lines == [
        str(run / "pictures" / "learning-curves.png"),
        f"confusion-matrix: {gone}",
        f"predicted-against-true: left out, {CLASS}",
        "misclassified: left out, the inputs are no images",
        f"decision-boundary: {gone}",
        str(run / "pictures" / "first-layer-filters.png"),
        f"gradient-flow: {gone}",
    ]
    table.with_name("elsewhere").mkdir()
    (tmp_path / "elsewhere" / "b.csv").write_bytes(whole)
    _, lines, _ = plot(capsys, run, "--data", tmp_path / "elsewhere" / "b.csv", "--only", "confusion-matrix")
    assert lines == [str(run / "pictures" / "confusion-matrix.png")]


def test_where_the_data_are_others(table, tmp_path, capsys):
    run = trained(tmp_path / "run", table, "--target", "kind", "--epochs", 1)
    lines = table.read_text().splitlines(keepends=True)
    table.write_text("".join(lines[:-10]))
    _, said, _ = plot(capsys, run, "--only", "confusion-matrix", "learning-curves")
    assert said[0] == f"confusion-matrix: left out, the data in {table} are not those that it was trained on"


def test_names_that_no_font_can_write_are_told(tmp_path, table, capsys, monkeypatch):
    table.write_text(table.read_text("utf-8").replace("tall", "\a"), "utf-8")
    run = trained(tmp_path / "run", table, "--target", "kind", "--epochs", 1)
    status, lines, _ = plot(capsys, run)
    assert status == 0
    assert lines[-1].startswith("no installed font has the letters of some names, pictures have numbers for them: class #")


@pytest.mark.parametrize(
    ("lost", "left"),
    [
        ("log.jsonl", ["confusion-matrix", "misclassified", "first-layer-filters", "gradient-flow"]),
        ("run.json", ["learning-curves", "first-layer-filters"]),
        ("model.safetensors", ["learning-curves"]),
    ],
)
def test_what_can_be_drawn_without_a_file(runs, lost, left, tmp_path, capsys):
    run = shutil.copytree(runs / "digits", tmp_path / "run")
    (run / lost).unlink()
    status, lines, _ = plot(capsys, run)
    assert status == 0
    assert [Path(line).stem for line in lines if "left out" not in line] == left
    assert any(lost in line for line in lines)


def test_nothing_to_draw(tmp_path, capsys):
    status, lines, error = plot(capsys, tmp_path)
    assert (status, len(lines)) == (1, len(PICTURES))
    assert error == f"xpnet plot: nothing of {tmp_path} could be drawn\n"
    assert not list(tmp_path.iterdir())
    status, _, error = plot(capsys, tmp_path / "none")
    assert status == 1
    assert error.startswith(f"xpnet plot: {tmp_path / 'none'} is no folder: give it one that xpnet train")


def test_a_place_that_cannot_be_written_to(runs, tmp_path, capsys):
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "out"):
        status, lines, error = plot(capsys, runs / "digits", "--out", out)
        assert (status, lines) == (1, [])
        assert error == f"xpnet plot: --out: {out} cannot be a folder: {tmp_path / 'file'} is a file\n"


def test_unknown_names(runs, capsys):
    with pytest.raises(SystemExit):
        main(["plot", str(runs / "digits"), "--only", "curves"])
    assert "invalid choice: 'curves'" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"xpnet": "1"}', '{"arguments": {"dataset": 5}}'])
def test_damaged_arguments(runs, text, tmp_path):
    run = shutil.copytree(runs / "digits", tmp_path / "run")
    (run / "run.json").write_text(text)
    with pytest.raises(LeftOut, match=r"the data cannot be read again: .*run\.json is of no use"):
        _ = Run(run).data


class TestLog:
    def test_columns(self, tmp_path):
        write_log(tmp_path, [*HISTORY, {"epoch": 4, "loss": 0.3, "auc": [1], "note": "text"}])
        found = Run(tmp_path).history
        np.testing.assert_equal(found["validation_loss"], [0.8, 0.6, np.nan, np.nan])
        assert found["epoch"] == [1, 2, 3, 4]
        assert list(found) == [*HISTORY[0]]  # no curve of lists and texts

    def test_a_last_line_that_was_cut_off_is_left_out(self):
        assert columns_of(Path("log"), b'{"epoch": 1, "loss": 2}\n{"epoch": 2, "lo') == {"epoch": [1], "loss": [2]}

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("", "log has no epoch yet"),
            ('{"epoch": 1', "log has no epoch yet"),
            ('{"epoch": 1, "loss": 2}\nx\n', "log, line 2, is no record of an epoch"),
            ('{"epoch": null, "loss": 2}\n', "line 1"),
            ('{"epoch": 1, "loss": "low"}\n', "line 1"),
            ("[]\n", "line 1"),
            ('{"loss": 2}\n', "line 1"),
            ('{"epoch": 1, "loss": 1' + 400 * "0" + "}\n", "log, line 1, is no record of an epoch"),
            ('{"epoch": 1' + 400 * "0" + ', "loss": 1}\n', "line 1"),
            (100_000 * "[" + "\n", "line 1"),
            ('{"epoch": 1, "loss": 2}\n\udcff\n', "line 2"),
        ],
        ids=lambda text: repr(text)[:40],
    )
    def test_what_is_no_log_is_refused(self, text, message):
        with pytest.raises(ValueError, match=message):
            columns_of(Path("log"), text.encode("utf-8", "surrogateescape"))

    def test_columns_of_numbers_too_large_for_a_float_are_left_out(self):
        line = b'{"epoch": 1, "loss": 2, "count": 1' + 400 * b"0" + b"}\n"
        assert columns_of(Path("log"), line) == {"epoch": [1], "loss": [2]}

    def test_a_hostile_log_leaves_out_one_picture(self, runs, tmp_path, capsys):
        run = shutil.copytree(runs / "xor", tmp_path / "run")
        (run / "log.jsonl").write_bytes(b"\xff" + 100_000 * b"[" + b"\n")
        status, lines, _ = plot(capsys, run, "--only", "learning-curves", "first-layer-filters")
        assert (status, lines[0]) == (0, f"learning-curves: left out, {run / 'log.jsonl'}, line 1, is no record of an epoch")

    def test_what_json_log_writes(self, tmp_path):
        from core_helpers import classes_data
        from trainer_helpers import make

        from xpnet.training import JSONLog

        history = make(callbacks=[JSONLog(tmp_path / "log.jsonl")]).fit(*classes_data(20), epochs=3, validation=classes_data(9))
        assert Run(tmp_path).history == history


def test_the_command_calls_the_library_and_not_the_other_way():
    source = Path(xn.__file__).parent
    others = [path for path in source.rglob("*.py") if path.parent != source / "cli" and path.name != "__main__.py"]
    assert [str(path) for path in others if "xpnet.cli" in path.read_text("utf-8")] == []


def test_a_download_is_not_asked_for_again(runs, tmp_path):
    run = shutil.copytree(runs / "digits", tmp_path / "run")
    arguments = json.loads((run / "run.json").read_text())["arguments"]
    (run / "run.json").write_text(json.dumps({"arguments": arguments | {"download": True}}))
    assert len(Run(run).data.x_held) == 360
