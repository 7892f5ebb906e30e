"""``xpnet color``: what it says of the talk's colours and of others, and how it fails."""

from __future__ import annotations

import re

import pytest

from xpnet.cli import main
from xpnet.cli.color import parse

SHOWN = {"255 0 0": "red", "0 255 0": "green", "0 0 255": "blue", "233 63 127": "red"}
LINE = re.compile(r"(?:(\d+ \d+ \d+): )?(\w+)  \(red (\d\.\d\d), green (\d\.\d\d), blue (\d\.\d\d)\)")


@pytest.mark.parametrize("seed", range(5))
def test_the_four_colours_of_the_talk(capsys: pytest.CaptureFixture, seed: int) -> None:
    assert main(["color", *" ".join(SHOWN).split(), "--seed", str(seed), "--device", "cpu"]) == 0
    lines = [LINE.fullmatch(line).groups() for line in capsys.readouterr().out.splitlines()]
    assert {colour: name for colour, name, *_ in lines} == SHOWN
    for _, name, *odds in lines:
        shares = dict(zip(("red", "green", "blue"), map(float, odds), strict=True))
        assert max(shares, key=shares.get) == name
        assert sum(shares.values()) == pytest.approx(1, abs=0.015)


def test_the_same_on_every_device(capsys: pytest.CaptureFixture, device) -> None:
    assert main(["color", "233", "63", "127", "--device", device.name]) == 0
    printed, errors = capsys.readouterr()
    assert printed == "red  (red 1.00, green 0.00, blue 0.00)\n"
    assert errors == ""


def test_fewer_epochs_know_less(capsys: pytest.CaptureFixture) -> None:
    sure = []
    for epochs in ("1", "60"):
        main(["color", "233", "63", "127", "--device", "cpu", "--epochs", epochs])
        sure.append(float(LINE.match(capsys.readouterr().out)[3]))
    assert sure[0] < 0.9 < sure[1]


@pytest.mark.parametrize(
    ("words", "colours"),
    [
        (["233", "63", "127"], [(233, 63, 127)]),
        (["#E93F7F"], [(233, 63, 127)]),
        (["#e93f7f", "0", "0", "255"], [(233, 63, 127), (0, 0, 255)]),
        (["233,63,127"], [(233, 63, 127)]),
        (["233, 63, 127", "007", "0", "1"], [(233, 63, 127), (7, 0, 1)]),
    ],
    ids=str,
)
def test_ways_to_say_a_colour(words: list[str], colours: list[tuple[int, int, int]]) -> None:
    assert parse(words) == colours


NO_PART = "is no part of a colour: say three whole numbers from 0 to 255, or '#RRGGBB'"
NUMBERS = "numbers: a colour has three, red, green and blue from 0 to 255; or say '#RRGGBB' (in quotes)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["256", "0", "0"], f"256 {NO_PART}"),
        (["-1", "0", "0"], f"-1 {NO_PART}"),
        (["1.5", "0", "0"], f"1.5 {NO_PART}"),
        (["red"], f"red {NO_PART}"),
        (["#E93F7"], f"#E93F7 {NO_PART}"),
        (["1", "#E93F7F", "2"], f"#E93F7F {NO_PART}"),
        (["\uff11", "2", "3"], f"\uff11 {NO_PART}"),
        (["233", "63"], f"2 {NUMBERS}"),
        (["1", "2", "3", "4"], f"4 {NUMBERS}"),
        ([], f"0 {NUMBERS}"),
        (["1", "2", "3", "--epochs", "0"], "epochs=0: it is a whole number from 1 on"),
        (["1", "2", "3", "--device", "gpu"], "no device is called 'gpu'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_are_told_in_one_line(capsys: pytest.CaptureFixture, words: list[str], message: str) -> None:
    assert main(["color", *words]) == 1
    printed, errors = capsys.readouterr()
    assert printed == ""
    assert errors.startswith(f"xpnet color: {message}")
    assert errors.count("\n") == 1
