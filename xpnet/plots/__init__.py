"""Pictures of a training, as matplotlib figures (extra ``plot``): ``figure.savefig("curves.png")``.

Each function takes arrays, a history or a network and returns a ``matplotlib.figure.Figure``; pyplot and its global state are
not touched, and matplotlib is imported when a picture is made.
"""

from xpnet.plots.boundary import decision_boundary
from xpnet.plots.confusion import confusion_matrix
from xpnet.plots.curves import learning_curves
from xpnet.plots.filters import first_layer_filters
from xpnet.plots.gradients import gradient_flow
from xpnet.plots.mistakes import misclassified
from xpnet.plots.predicted import predicted_against_true

__all__ = [
    "confusion_matrix",
    "decision_boundary",
    "first_layer_filters",
    "gradient_flow",
    "learning_curves",
    "misclassified",
    "predicted_against_true",
]
