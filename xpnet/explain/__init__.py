"""One training step, shown: every matrix of forward, loss, backward and update, as text or as a page."""

from xpnet.explain.trace import Call, Explanation, LossCall, Update, explain

__all__ = ["Call", "Explanation", "LossCall", "Update", "explain"]
