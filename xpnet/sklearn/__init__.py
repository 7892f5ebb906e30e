"""Networks as estimators of scikit-learn, for pipelines, grid searches and cross-validation; needs ``xpnet[sklearn]``."""

from xpnet.extras import load

load("sklearn.base", "sklearn")  # where it is missing, the error names the extra

from xpnet.sklearn.classifier import XPClassifier  # noqa: E402
from xpnet.sklearn.regressor import XPRegressor  # noqa: E402

__all__ = ["XPClassifier", "XPRegressor"]
