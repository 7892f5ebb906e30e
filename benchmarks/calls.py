"""Of which NumPy calls a training step is made, one by one, and what each of them takes.

A step that xpnet replays as a record is made of the record's calls, which are noted as it is replayed. One that the layers'
code makes is gone through on arrays that tell of every operation (:mod:`xpnet.backends.recording`); what of it NumPy does not
tell, such as the checks of labels, is not among them.

What they take is measured by call_times.py.
"""

import contextlib
import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from xpnet.backends.recording import Namespace, Recorded, Recorder, plain, recorded
from xpnet.backends.workers import Workers
from xpnet.bench.timing import Refused

KINDS = ("products", "elementwise", "copies", "update")
PHASES = ("forward", "loss", "backward", "update")
SAME = 1e-5  # losses, relative
WARM_UP = 5  # steps after which there are all records: that of a step of blocks is made after those of the blocks
PRODUCTS = frozenset(("matmul", "dot", "vdot", "inner", "tensordot"))
COPIES = frozenset(("copyto", "copy", "astype", "take", "take_along_axis", "concatenate", "reshape", "ravel", "__setitem__"))


class Leaf(NamedTuple):
    """A call that makes no others which are noted."""

    f: Callable
    args: tuple
    kind: str
    name: str
    phase: str


@dataclass
class Stage:
    """What workers do side by side, a list each; one list is what the calling thread does alone."""

    shares: list[list[Leaf]] = field(default_factory=lambda: [[]])


@dataclass
class Noted:
    """The calls of a step, in order. ``how``: "record" or "layers"."""

    stages: list[Stage]
    how: str

    @property
    def leaves(self) -> list[Leaf]:
        return [leaf for stage in self.stages for share in stage.shares for leaf in share]


class Phases:
    """Which part of a step it is, ``now``, and in which part each call of a record was noted."""

    def __init__(self, net):
        self.now = PHASES[0]
        self._of: dict[int, tuple[tuple, str]] = {}  # with the call itself, so that its id stays its own
        self._watched: list[tuple[dict, str]] = []
        self._watch(net, "forward", "loss")
        self._watch(net, "backward", "update")

    def _watch(self, net, name, then):
        method = getattr(net, name)

        @functools.wraps(method)
        def watched(*args):
            self.now = name
            try:
                return method(*args)
            finally:
                self.now = then

        vars(net)[name] = watched  # past __setattr__, which would have steps recorded anew
        self._watched.append((vars(net), name))

    def remove(self):
        """Leave the network without watch, so that it is as quick as ever."""
        for attributes, name in self._watched:
            del attributes[name]

    def of(self, call):
        """None where that is not known."""
        return self._of.get(id(call), (call, None))[1]

    @contextlib.contextmanager
    def tagging(self):
        """Have every recorder tell of its calls."""
        original = Recorder.note

        def note(recorder, f, *args, **options):
            before = len(recorder.calls)
            original(recorder, f, *args, **options)
            for call in recorder.calls[before:]:
                self._of[id(call)] = call, self.now

        Recorder.note = note
        try:
            yield
        finally:
            Recorder.note = original


class Tap:
    """Stands before a device's workers; while it listens it does their work on this thread, and notes each call."""

    def __init__(self, workers, phases):
        self.phases, self.listens = phases, False
        self._workers, self._real = workers, workers.replay
        self._stages: list[Stage] = []
        self._noted = 0
        workers.replay = self

    def remove(self):
        del self._workers.replay  # the class's shows again

    def __call__(self, shares):
        if not self.listens:
            return self._real(shares)
        found = [self._listen(calls) for calls in shares]
        if len(found) == 1:
            self._join(found[0])
        else:
            self._stages.append(Stage([[leaf for stage in made for share in stage.shares for leaf in share] for made in found]))
        return None

    def _listen(self, calls):
        """Make the calls; the stages of what they are made of."""
        outer, self._stages = self._stages, []
        try:
            for call in calls:
                self.phases.now = self.phases.of(call) or self.phases.now
                before = self._noted
                call[0](*call[1])
                if self._noted == before:  # else it is what it has called
                    self.note(call)
            return self._stages
        finally:
            self._stages = outer

    def _join(self, stages):
        for stage in stages:
            if len(stage.shares) == len(self._last().shares) == 1:
                self._last().shares[0] += stage.shares[0]
            else:
                self._stages.append(stage)

    def _last(self):
        if not self._stages or len(self._stages[-1].shares) > 1:
            self._stages.append(Stage())
        return self._stages[-1]

    def note(self, call):
        self._noted += 1
        self._last().shares[0].append(leaf(call, self.phases.of(call) or self.phases.now))

    def step(self, step, how):
        """The calls of one step."""
        self._stages, self.phases.now = [], PHASES[0]
        self.listens = True
        try:
            step()
        finally:
            self.listens = False
        return Noted([stage for stage in self._stages if any(stage.shares)], how)


class Told(Recorder):
    """Tells the tap of the layers' calls."""

    def __init__(self, tap):
        super().__init__()
        self._tap = tap

    def note(self, f, *args, **options):
        if f is self._tap:
            return  # which notes what workers are given
        before = len(self.calls)
        super().note(f, *args, **options)
        for call in self.calls[before:]:
            self._tap.note(call)


def leaf(call, phase):
    f, args = call[0], plain(call[1])
    name = name_of(f, args)
    return Leaf(f, args, kind_of(name, args, phase), name, phase)


def name_of(f, args):
    """A function's; a ufunc's method's as ``add.reduce``, and a compiled loop's that of its kernel."""
    while isinstance(f, functools.partial):
        f = f.func
    if getattr(f, "__name__", "") == "_refill":  # a function whose result is copied to where it was the first time
        return name_of(args[1], ())
    owner = getattr(f, "__self__", None)
    name = getattr(f, "__name__", type(f).__name__)
    if isinstance(owner, np.ufunc):
        return f"{owner.__name__}.{name}"
    module = getattr(f, "__module__", None) or ""
    return module.removeprefix("xpnet_") if module.startswith("xpnet_") else name


def kind_of(name, args, phase):
    """A product with a vector of ones is how columns are summed: among the elementwise calls and reductions."""
    if phase == "update":
        return "update"
    operands = [a for a in args if isinstance(a, np.ndarray)][:2]
    if name in PRODUCTS and len(operands) == 2 and min(a.ndim for a in operands) > 1:
        return "products"
    return "copies" if name in COPIES else "elementwise"


def telling(device):
    """A device like this one with arrays that tell of every operation, and workers of its own."""
    base = type(device)
    methods = {
        "records": False,
        "empty": lambda self, shape, dtype: telling_empty(base.empty(self, shape, dtype)),
        "put": lambda self, a, dtype=None: recorded(base.put(self, a, dtype)),
    }
    twin = object.__new__(type("Telling", (base,), methods))  # devices themselves are not copied
    vars(twin).update(vars(device), _constants={}, xp=Namespace(), workers=Workers(device.workers.count))
    twin.name = f"{device.name}, telling"
    return twin


def telling_empty(a):
    """On the array's memory one that has no other base, as arrays of a device: its own references tell who holds it."""
    offset = a.ctypes.data - np.frombuffer(a.base, np.uint8).ctypes.data
    return np.ndarray.__new__(Recorded, a.shape, a.dtype, buffer=a.base, offset=offset)


def noted(make, x, y, device):
    """A trainer after some steps on these rows, and the calls of one; ``make(device)`` makes it, built.

    Where steps are replayed as records, the calls are those of this trainer, on its memory. Raises Refused where the calls
    are not all known, or are not those of the same step.
    """
    trainer = make(device)
    tap = Tap(device.workers, phases := Phases(trainer.net))
    rows, targets = device.put(x), device.put(y)
    try:
        value, found = warmed_up(trainer, phases, rows, targets), None
        if is_recorded(trainer):
            found = tap.step(lambda: trainer.step(rows, targets), "record")
    finally:
        tap.remove()
        phases.remove()
    if found is None or not {leaf.phase for leaf in found.leaves} >= set(PHASES):
        found = noted_by_layers(make, x, y, telling(device), value)
    return trainer, found


def warmed_up(trainer, phases, rows, targets):
    """Steps until all records are there; the last one's loss."""
    with phases.tagging():
        for _ in range(WARM_UP):
            value = trainer.step(rows, targets)
    return float(value)


def is_recorded(trainer):
    """Whether whole steps are replayed; older revisions of xpnet have records of single layers only."""
    records = getattr(trainer, "records", None)
    return records is not None and trainer.device.records and not any(records.reasons.values())


def noted_by_layers(make, x, y, device, right):
    """The calls of a step on a device that tells; ``right`` is the loss there without."""
    trainer = make(device)
    tap = Tap(device.workers, phases := Phases(trainer.net))
    rows, targets = device.put(x), np.asarray(y)  # targets that tell would have their check refused
    value = warmed_up(trainer, phases, rows, targets)
    if not abs(value - right) <= SAME * abs(right):
        raise Refused(f"the step whose calls were noted is another one: its loss is {value}, not {right}")
    told = Told(tap)
    with told.active():
        found = tap.step(lambda: trainer.step(rows, targets), "layers")
    if told.refused:
        raise Refused(f"not all calls are known: {told.refused}")
    return found
