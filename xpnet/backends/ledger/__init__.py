"""The ledger: what a GPU was asked to do, and which line of the user's program asked for it."""

from xpnet.backends.ledger.book import Counts, Event, Kernel, Ledger
from xpnet.backends.ledger.record import (
    HiddenCrossing,
    allocated,
    copied_in,
    copied_out,
    during,
    forbid_sync,
    forbid_transfer,
    forgives,
    idle,
    launched,
    ledger,
    made,
    remedy,
    step_ended,
    synchronised,
    watch_cuda,
)

__all__ = [
    "Counts",
    "Event",
    "HiddenCrossing",
    "Kernel",
    "Ledger",
    "allocated",
    "copied_in",
    "copied_out",
    "during",
    "forbid_sync",
    "forbid_transfer",
    "forgives",
    "idle",
    "launched",
    "ledger",
    "made",
    "remedy",
    "step_ended",
    "synchronised",
    "watch_cuda",
]
