"""What CuPy 14.2 does where NumPy does something else, as data for test_semantics.py.

A row is a call of ``g``, which holds the namespace ``g.xp`` and the arrays of ``INPUTS`` on the device, and an expectation:
what CuPy does, as its sources and, where no device is needed, the wheel itself say. Where the simulator is stricter on
purpose there is a second expectation, its own.
"""

from semantics.judging import INPUTS
from semantics.memory import EMPTY, ERRORS, LAYOUTS, VIEWS
from semantics.mixing import MIXING, REFUSED_ON_HOST, SILENT_COPIES, SILENT_HOST_COMPUTE
from semantics.names import KEYWORDS, NAMES
from semantics.values import INDICES, PROMOTION, SCATTERS, ZERO_DIMENSIONAL
from semantics.waiting import COPIES, DOES_NOT_WAIT, WAITS

__all__ = ["COPIES", "DOES_NOT_WAIT", "INPUTS", "TABLE", "WAITS"]

# Name: (call, what CuPy 14.2 does) or (call, what CuPy 14.2 does, what the simulator does on purpose).
GROUPS = {
    "mixing": MIXING,
    "silent host compute": SILENT_HOST_COMPUTE,
    "silent copies": SILENT_COPIES,
    "refused on the host": REFUSED_ON_HOST,
    "0-d": ZERO_DIMENSIONAL,
    "indices": INDICES,
    "scatters": SCATTERS,
    "promotion": PROMOTION,
    "names": NAMES,
    "keywords": KEYWORDS,
    "views": VIEWS,
    "layouts": LAYOUTS,
    "empty": EMPTY,
    "errors": ERRORS,
}
TABLE = {f"{group}: {name}": row for group, rows in GROUPS.items() for name, row in rows.items()}
