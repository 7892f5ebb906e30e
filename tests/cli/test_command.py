"""What all verbs of the command line share."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from xpnet.cli import VERBS, main


@pytest.mark.parametrize("command", ["explain book | head -1", "explain worked | true", "train digits --epochs 2 | true"])
def test_a_reader_that_has_seen_enough_is_no_error(command: str) -> None:
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONUNBUFFERED"}  # buffers are written at the very end
    command = f"{sys.executable} -m xpnet {command}"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, env=environment)
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["train", "digits", "--hiden", "30"], "unknown argument --hiden; did you mean '--hidden'?"),
        (["train", "digits", "--epochs", "three"], "argument --epochs: invalid int value: 'three'"),
        (["trian", "digits"], "invalid choice: 'trian'"),
        (["train", "digits", "--zzz"], "unknown argument --zzz ("),
        ([], "the following arguments are required: VERB"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, list) else "",
)
def test_wrong_usage_is_said_in_one_line(capsys: pytest.CaptureFixture, arguments: list[str], said: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2
    error = capsys.readouterr().err
    assert error.startswith("xpnet")
    assert said in error
    assert "--help lists the options" in error
    assert error.count("\n") == 1


def test_help_names_every_verb(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(SystemExit):
        main(["--help"])
    printed = capsys.readouterr().out
    for verb in VERBS:
        assert f"    {verb.__name__.rpartition('.')[2]} " in printed
