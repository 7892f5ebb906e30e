"""Elementwise bodies as kernels: a body written against ``xp`` is run once on symbols, and what it does becomes one loop.

A :class:`Tape` gives a :class:`Kernel`; from it come the source of a CUDA kernel (:mod:`xpnet.pointwise.cuda`), that of a
loop which Numba compiles (:mod:`xpnet.pointwise.loops`), and the same steps in NumPy (:meth:`Kernel.evaluate`), their twin.
"""

from xpnet.pointwise.kernel import FLOATS, MASK, ROW, Kernel
from xpnet.pointwise.tracing import NotPointwise, Symbol, Tape, Traced

__all__ = ["FLOATS", "MASK", "ROW", "Kernel", "NotPointwise", "Symbol", "Tape", "Traced"]
