"""The simulated GPU: NumPy behind CuPy 14's own rules, counting what a GPU would have been asked to do."""

from xpnet.backends.sim.counters import counters
from xpnet.backends.sim.device import Sim

__all__ = ["Sim", "counters"]
