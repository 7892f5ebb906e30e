"""What the tests of pictures share."""

from __future__ import annotations

import io


def drawn(figure):
    """The figure, drawn once: layout is done, and a glyph that is missing has been a warning, an error here."""
    figure.savefig(io.BytesIO(), format="png", dpi=50)
    return figure


def texts(axes):
    """Texts written into axes."""
    return [text.get_text() for text in axes.texts]


def tick_names(axis):
    """What is written at the ticks of an axis."""
    return [text.get_text() for text in axis.get_ticklabels()]


def legend(axes):
    return [text.get_text() for text in axes.get_legend().get_texts()]


def line(axes, label):
    """The data of the line of this label: two lists."""
    (found,) = [one for one in axes.get_lines() if one.get_label() == label]
    return [float(v) for v in found.get_xdata()], [float(v) for v in found.get_ydata()]
