"""``xpnet exercise``: what it prints, its exit status, and how it fails."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from submission_helpers import SUBMISSIONS

from xpnet import book, exercise
from xpnet.cli import main


@pytest.fixture(autouse=True)
def _short(monkeypatch):
    """Nothing here depends on how fast anything is."""
    monkeypatch.setattr(exercise.speed, "SECONDS", 0)


def test_a_right_one(capsys):
    assert main(["exercise", str(SUBMISSIONS / "right_columns.py")]) == 0
    printed, errors = capsys.readouterr()
    assert errors == ""
    assert printed.splitlines()[-1] == "verdict      right, and a matrix form"
    assert printed.splitlines()[-5].split() == [
        "speed",
        "784-30-10,",
        "samples/s,",
        "1",
        "thread",
        "batch",
        "10",
        "batch",
        "100",
    ]
    assert max(map(len, printed.splitlines())) <= 110


@pytest.mark.parametrize("name", ["sum_for_mean", "mutated_y", "unchanged", "missing_transpose"])
def test_others_have_exit_status_1(capsys, name):
    assert main(["exercise", str(SUBMISSIONS / f"{name}.py")]) == 1
    assert "right, and a matrix form" not in capsys.readouterr().out


def test_the_page_in_the_lectures_is_what_is_printed(capsys):
    lectures = (Path(__file__).parents[2] / "docs" / "lectures.md").read_text(encoding="utf-8")
    page = lectures.split("## Check my network", 1)[1].split("is answered so:\n\n```\n", 1)[1].split("```", 1)[0]
    main(["exercise", str(SUBMISSIONS / "missing_transpose.py")])
    assert capsys.readouterr().out == page


def test_cost(capsys):
    file = str(SUBMISSIONS / "no_sigmoid_prime_at_output.py")
    assert main(["exercise", file]) == 0
    assert main(["exercise", file, "--cost", "quadratic"]) == 1
    assert "sigmoid' is left out at the output" in capsys.readouterr().out


def test_json_and_what_the_program_prints(capsys, tmp_path):
    file = tmp_path / "mine.py"
    file.write_text((SUBMISSIONS / "sum_for_mean.py").read_text() + "\n\nprint('theirs')\n")
    assert main(["exercise", str(file), "--json"]) == 1
    printed, errors = capsys.readouterr()
    assert errors == "theirs\n"
    found = json.loads(printed)
    assert (found["class"], found["ok"], found["gradients"]["right"]) == ("Network", False, False)
    assert (found["gradients"]["first_wrong"]["array"], found["gradients"]["first_wrong"]["layer"]) == ("biases", 1)
    assert [m["key"] for m in found["gradients"]["mistakes"]] == ["sum-for-mean"]
    assert found["matrix_form"]["matrix_form"] is True
    assert set(found["samples_per_second"]["xpnet"]) == {"10", "100"}
    assert main(["exercise", str(file)]) == 1
    assert capsys.readouterr().out.startswith("theirs\nprogram      mine.py: Network.update_mini_batch")


def test_json_of_one_that_stops(capsys):
    assert main(["exercise", str(SUBMISSIONS / "missing_transpose.py"), "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["gradients"]["stopped"].startswith("missing_transpose.py:")
    assert found["matrix_form"] is None
    assert found["samples_per_second"] is None


def test_starter(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["exercise", "--starter", "my_network.py"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "then run: xpnet exercise my_network.py"
    assert Path("my_network.py").read_text() == Path(book.__file__).read_text()
    assert main(["exercise", "my_network.py"]) == 1
    assert "verdict      right, but not a matrix form" in capsys.readouterr().out
    Path("my_network.py").write_text("mine")
    assert main(["exercise", "--starter", "my_network.py"]) == 1
    assert capsys.readouterr().err == (
        "xpnet exercise: my_network.py is there already, and is left as it is: choose another name\n"
    )
    assert Path("my_network.py").read_text() == "mine"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nowhere.py"], "xpnet exercise: nowhere.py is not there"),
        (["{here}/wrong_name.py"], "xpnet exercise: wrong_name.py:"),
        (["{here}"], "is a folder"),
        (["--starter", "{here}/no/such/folder.py"], "No such file or directory"),
        (["--starter", "my_network.txt"], "my_network.txt: the name of a Python file ends in .py"),
    ],
)
def test_mistakes_are_said_in_one_line(capsys, arguments, said):
    assert main(["exercise", *(a.replace("{here}", str(SUBMISSIONS)) for a in arguments)]) == 1
    printed, error = capsys.readouterr()
    assert printed == ""
    assert said in error
    assert error.startswith("xpnet exercise: ")
    assert error.count("\n") == 1


def test_traceback():
    with pytest.raises(exercise.SubmissionError, match="NameError"):
        main(["exercise", str(SUBMISSIONS / "wrong_name.py"), "--traceback"])


@pytest.mark.parametrize("arguments", [["exercise"], ["exercise", "mine.py", "--cost", "cubic"]])
def test_wrong_usage(capsys, arguments):
    with pytest.raises(SystemExit) as stop:
        main(arguments)
    assert stop.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("xpnet exercise: ")
    assert error.count("\n") == 1
