"""Names in pictures, colours, and that nothing global is touched."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from plot_helpers import drawn, legend, tick_names

from xpnet.plots import confusion_matrix, decision_boundary, learning_curves, style
from xpnet.plots.style import COLOURS, drawable, drawn_names

pytestmark = pytest.mark.extras
matplotlib = pytest.importorskip("matplotlib")

CAT, DOG = "猫", "犬"
ONLY_STIX = "\U0001d56e"  # a letter that matplotlib's own STIX has, and its DejaVu Sans has not


@pytest.fixture
def bundled_fonts_only(monkeypatch):
    """No font but those that come with matplotlib, whatever this machine has."""
    manager = pytest.importorskip("matplotlib.font_manager").fontManager
    monkeypatch.setattr(manager, "ttflist", [font for font in manager.ttflist if "mpl-data" in font.fname])
    style._font_with.cache_clear()
    yield
    style._font_with.cache_clear()


@pytest.mark.parametrize(
    ("names", "drawn_as"),
    [
        (["a", "b"], ["a", "b"]),
        ([0, 1], ["0", "1"]),
        (["two\nlines\tand a tab", ""], ["two lines an…a tab", "#1"]),
        (["a very long name, number 1", "a very long name, number 2"], ["a very long …ber 1", "a very long …ber 2"]),
        (["x" * 40 + "tail12", "x" * 50 + "tail12"], ["0: xxxxxxxxxxxx…ail12", "1: xxxxxxxxxxxx…ail12"]),
        (["$5", "$5 to $10", "$$"], [r"\$5", r"\$5 to \$10", r"\$\$"]),
        (["Äpfel", "π", "bell\a"], ["Äpfel", "π", "#2"]),
    ],
    ids=str,
)
def test_names_as_they_can_be_drawn(names, drawn_as):
    assert drawn_names(names) == drawn_as


@pytest.mark.usefixtures("bundled_fonts_only")
class TestLettersThatTheFontLacks:
    def test_names_that_no_font_can_write_become_numbers(self):
        assert not drawable(CAT)
        axes = drawn(confusion_matrix([0, 1, 2], [0, 2, 2], [CAT, "bird", DOG])).axes[0]
        assert tick_names(axes.xaxis) == ["#0", "bird", "#2"]

    def test_in_a_plane(self):
        points = np.random.default_rng(0).random((4, 2))
        (axes,) = drawn(decision_boundary(lambda p: p, points, [0, 1, 0, 1], [CAT, "$"], columns=["身長", "weight"])).axes
        assert (axes.get_xlabel(), axes.get_ylabel(), legend(axes)) == ("#0", "weight", ["#0", r"\$"])

    def test_a_second_font_is_found(self):
        assert drawable(ONLY_STIX)
        axes = drawn(confusion_matrix([0, 1], [0, 1], [ONLY_STIX, "b"])).axes[0]
        assert tick_names(axes.xaxis) == [ONLY_STIX, "b"]
        families = [label.get_fontfamily() for label in axes.xaxis.get_ticklabels()]
        assert len(families[0]) == len(families[1]) + 1
        assert "STIX" in families[0][-1]

    def test_names_in_a_history(self):
        history = {"epoch": [1], "loss": [1.0], CAT: [0.5]}
        assert drawn(learning_curves(history)).axes[1].get_ylabel() == "value"


def simulated(rgb, deficiency):
    """A colour as a dichromat sees it, in linear RGB. Machado, Oliveira and Fernandes, 2009, severity 1."""
    matrices = {
        "protanopia": [[0.152, 1.053, -0.205], [0.115, 0.786, 0.099], [-0.004, -0.048, 1.052]],
        "deuteranopia": [[0.367, 0.861, -0.228], [0.280, 0.673, 0.047], [-0.012, 0.043, 0.969]],
    }
    return np.array(matrices[deficiency]) @ np.array(rgb) ** 2.2


@pytest.mark.parametrize("deficiency", ["protanopia", "deuteranopia"])
def test_the_colour_blind_tell_colours_apart(deficiency):
    seen = [simulated(matplotlib.colors.to_rgb(colour), deficiency) for colour in COLOURS]
    distances = [np.linalg.norm(a - b) for i, a in enumerate(seen) for b in seen[:i]]
    assert min(distances) > 0.08
    assert np.linalg.norm(seen[0] - seen[1]) > 0.4  # training and validation


def test_nothing_is_imported_before_a_picture_is_made():
    code = "import sys, xpnet, xpnet.plots, xpnet.cli; print([m for m in sys.modules if m.startswith('matplotlib')])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_no_backend_and_no_global_state():
    """All settings but the backend's are compared: asking for that one would choose it."""
    code = (
        "import sys, matplotlib as m; from xpnet.plots import confusion_matrix\n"
        "def settings(): return {k: m.rcParams[k] for k in m.rcParams if k != 'backend'}\n"
        "before = settings()\n"
        "confusion_matrix([0, 1], [0, 1], 'ab').savefig(sys.argv[1], format='svg')\n"
        "assert settings() == before\n"
        "print('matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code, "/dev/null"], capture_output=True, text=True, check=False)
    assert (done.stdout, done.stderr) == ("False\n", "")


def test_without_matplotlib_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r'pip install "xpnet\[plot\]"'):
        learning_curves({"epoch": [1], "loss": [1.0]})
