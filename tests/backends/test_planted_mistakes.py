"""Every planted mistake shows on the simulated GPU, with file and line; what plain NumPy does with it is known."""

from __future__ import annotations

import runpy
from pathlib import Path

import numpy as np
import pytest
from planted_mistakes import MISTAKES, table
from planting import MARK, Mistake

from xpnet.backends.ledger import Event
from xpnet.backends.ledger.places import Place
from xpnet.simulate import Simulation, simulate

PAGE = Path(__file__).parents[2] / "docs" / "simulated_gpu.md"
NOTED = {"host array": "mistake", "copy": "h2d", "wait": "sync", "float64": "float64"}
EVERY = pytest.mark.parametrize("mistake", MISTAKES, ids=lambda mistake: mistake.name)


@pytest.fixture(autouse=True)
def _known_to_this_numpy(request: pytest.FixtureRequest) -> None:
    if "mistake" in request.fixturenames:
        since = request.getfixturevalue("mistake").since
        if np.lib.NumpyVersion(np.__version__) < since:
            pytest.skip(f"NumPy knows this call from {since} on")


def written(text: str, folder: Path) -> str:
    script = folder / "script.py"
    script.write_text(text)
    return str(script)


def marked_place(script: str) -> Place:
    (number,) = (n for n, line in enumerate(Path(script).read_text().splitlines(), 1) if line.endswith(MARK))
    return Place(script, number)


def unasked(simulation: Simulation) -> list[Event]:
    return [event for event in simulation.book.events.values() if not event.asked]


@EVERY
def test_the_simulated_gpu_names_file_and_line(mistake: Mistake, tmp_path: Path) -> None:
    script = written(mistake.script(wrong=True), tmp_path)
    found, place = simulate(script), marked_place(script)
    assert [line for line in str(found).splitlines() if str(place) in line and mistake.says in line], str(found)
    if mistake.caught in NOTED:
        assert found.error is None
        kind = NOTED[mistake.caught]
        (event,) = (event for event in unasked(found) if event.kind == kind)
        assert (event.place, event.steps) == (place, 4)
        assert found.status == (kind == "mistake")
    else:
        assert type(found.error).__name__ == mistake.caught
        assert found.status == 1


@EVERY
def test_the_right_script_has_nothing_hidden(mistake: Mistake, tmp_path: Path) -> None:
    found = simulate(written(mistake.script(wrong=False), tmp_path))
    assert (found.error, found.status, unasked(found)) == (None, 0, [])
    assert found.book.typical_step.float64 == 0
    assert len(found.book.steps) == 4
    assert "Hidden" not in str(found)


@EVERY
def test_what_numpy_says(mistake: Mistake, tmp_path: Path) -> None:
    assert ending(written(mistake.script(wrong=True, device="cpu"), tmp_path)) == mistake.numpy


def ending(script: str) -> str:
    """The word "passes", or the name of the exception that ends the script."""
    try:
        runpy.run_path(script, run_name="__main__")
    except Exception as error:
        return type(error).__name__
    return "passes"


def test_mistakes_are_many_and_distinct() -> None:
    for attribute in ("name", "wrong"):
        assert len({getattr(mistake, attribute) for mistake in MISTAKES}) == len(MISTAKES) >= 28
    assert {mistake.caught for mistake in MISTAKES} >= {*NOTED, "TypeError", "AttributeError", "IndexError", "GradientMissing"}
    assert sum(mistake.numpy == "passes" for mistake in MISTAKES) > 0.9 * len(MISTAKES)


def test_the_page_on_the_simulator_has_the_table() -> None:
    """The rows of ``planted_mistakes.table()``, printed by ``python tests/backends/planted_mistakes.py``."""
    missing = [row for row in table().splitlines() if row not in PAGE.read_text()]
    assert not missing, "\n".join(missing)
