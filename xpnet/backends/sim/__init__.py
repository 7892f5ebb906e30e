"""The simulated GPU: NumPy behind CuPy 14's own rules; what a GPU would have been asked to do goes into the ledger."""

from xpnet.backends.sim.device import Sim

__all__ = ["Sim"]
