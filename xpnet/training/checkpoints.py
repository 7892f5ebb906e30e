"""Checkpoints: a training on disk, from which it goes on to the same bytes as if it had never stopped."""

from __future__ import annotations

import contextlib
import copy
import json
import os
import re
import signal
import threading
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from xpnet.checks import check_count, check_folder_place
from xpnet.saving import networks, trees
from xpnet.saving.atomic import alone, remove_left_over
from xpnet.saving.describing import describe, lost, make
from xpnet.saving.files import Damaged, Stored, read, reading
from xpnet.schedules import Schedule, as_schedule
from xpnet.training.callbacks import Record, Watch
from xpnet.training.run import Found, Run, check_position
from xpnet.training.settings import differences, made_again, of_network, parts_of, settings_of

NAME = re.compile(r"checkpoint-(\d+)\.safetensors")
STATE, LOG = "training", "log.jsonl"
STOPS: dict[int, Any] = {signal.SIGINT: signal.default_int_handler, signal.SIGTERM: signal.SIG_DFL}  # and what they usually do
TAKEN = ("format", "versions", "network", "order", STATE)  # in what a file says about itself


class Interrupted(KeyboardInterrupt):
    """Training was stopped by Ctrl-C or SIGTERM, after a checkpoint was written; ``where`` says "in epoch 2, after step 3"."""

    def __init__(self, where: str, folder: Path):
        super().__init__(f"stopped {where}; saved in {folder}: fit with the same arguments and resume=True goes on")
        self.where, self.folder = where, folder

    def __reduce__(self) -> tuple:
        return type(self), (self.where, self.folder)


class Checkpoints:
    """Checkpoints of a training, in a folder: ``trainer.fit(..., checkpoints=Checkpoints("run", every=1000), resume=True)``.

    One is written after every epoch; with ``every=n`` after every ``n`` steps, and where an epoch is the best so far or the
    last. The newest ``keep`` stay, and that of the best epoch by ``monitor`` and ``mode``, as in :class:`EarlyStopping`.
    Ctrl-C (or SIGTERM) writes one after the step under way and raises :class:`Interrupted`, which says how to go on; twice
    stops at once.

    Each is a network that :func:`xpnet.load` reads on any device, with all that going on needs. ``about``: what JSON holds and
    is to be kept beside them. Writing waits for the device, and is atomic. A folder is for one training at a time: another is
    refused (on Windows, and where a file system has no locks, it is not noticed).
    """

    def __init__(
        self,
        folder: str | os.PathLike,
        *,
        every: int | None = None,
        keep: int = 3,
        monitor: str | None = None,
        mode: str | None = None,
        about: Mapping[str, Any] | None = None,
    ):
        if not os.fspath(folder):
            raise ValueError("Checkpoints(''): the name of a folder is needed")
        self.folder = Path(folder).expanduser().absolute()
        self.every = None if every is None else check_count("Checkpoints(every", every)
        self.keep, self.about = check_count("Checkpoints(keep", keep), dict(about or {})
        if unfit := [name for name in self.about if name in TAKEN]:
            raise ValueError(f"Checkpoints(about): {unfit[0]} is what the file says of itself: choose another name")
        json.dumps(self.about, allow_nan=False)  # raises what is wrong with it
        trees.split(self.about, {}, "Checkpoints(about)")
        self.monitor, self.mode = monitor, mode
        self._forget()

    def _forget(self) -> None:
        self._watch = Watch("Checkpoints", self.monitor, self.mode)
        self._best_name: str | None = None
        self._since = 0
        self._asked_to_stop = False
        #: The checkpoint from which the last ``fit`` went on, and whether a callback had ended the training, for good.
        self.resumed_from: Path | None = None
        self.ended = False

    @property
    def files(self) -> list[Path]:
        """The checkpoints, oldest first; their number is that of the steps done."""
        found = [(int(match[1]), path) for path in self.folder.glob("checkpoint-*") if (match := NAME.fullmatch(path.name))]
        return [path for _, path in sorted(found)]

    @property
    def best(self) -> Path | None:
        """The checkpoint of the best epoch; None before there is one, and before ``fit`` has begun."""
        return None if self._best_name is None else self.folder / self._best_name

    def check(self, names: Sequence[str]) -> None:
        """Refuse a monitor that no record will have, and a folder that cannot be: before anything is made."""
        self._watch.check(names)
        check_folder_place(self.folder, "Checkpoints")

    def begin(self, run: Run, resume: bool) -> None:
        """Make the folder ready, and go back to its newest checkpoint where training is to go on.

        Before anything is changed: ValueError or OSError where the folder has checkpoints of another training, or of any if
        ``resume`` is False; RuntimeError where one is under way there; TypeError for what no checkpoint can hold.
        """
        schedule = type(run.trainer.optimizer.schedule)
        if schedule.observe is not Schedule.observe and schedule.state is Schedule.state:
            raise TypeError(f"{schedule.__name__} observes losses: give it state() and restore(state), for checkpoints")
        settings, left = settings_of(run), run.trainer.resumable
        if resume and left and left[:2] == (self.folder, settings["parts"]):  # in a notebook, perhaps
            settings["parts"] = left[2]
        if reasons := list(lost(settings["parts"])):
            raise TypeError(f"the training could not be known again from a checkpoint: {'; '.join(reasons[:3])}")
        self.folder.mkdir(parents=True, exist_ok=True)
        with contextlib.ExitStack() as held:
            held.enter_context(alone(self.folder))
            if self.files and not resume:
                raise FileExistsError(
                    f"{self.folder} has checkpoints of an earlier training: go on with it by resume=True, or choose another "
                    f"folder"
                )
            remove_left_over(self.folder)
            self._forget()
            self._run, self._settings = run, settings
            if resume:
                self._restore()
            self._held = held.pop_all()  # until the training ends

    def newest(self) -> tuple[Path, Stored] | None:
        """The newest checkpoint that can be read; warns of those that are damaged. ValueError where all are."""
        files, damaged = self.files, list[Damaged]()
        for path in reversed(files):
            try:
                stored = read(path)
            except Damaged as error:
                damaged.append(error)
                continue
            for later in damaged:
                warnings.warn(f"{later}: {path.name} is taken instead", RuntimeWarning, stacklevel=5)
            if STATE not in (stored.about or {}):
                raise ValueError(f"{path} holds no training to go on with")
            return path, stored
        if files:
            raise ValueError(f"none of the {len(files)} checkpoints in {self.folder} can be read: delete them to begin anew")
        return None

    def _restore(self) -> None:
        """Go back to the newest checkpoint, if there is one."""
        if (found := self.newest()) is None:
            return
        path, stored = found
        about: Any = stored.about
        with reading(path, "no training can go on from it"):
            state = trees.join(about[STATE], stored.arrays)
            state["parts"] |= of_network(about["network"])
            unlike = differences(state["settings"], self._settings)
        if unlike:
            raise ValueError(
                f"{path} is of another training: {'; '.join(unlike[:5])}. Go on with the same settings and data, or train in "
                f"another folder"
            )
        with reading(path, "no training can go on from it"):
            values = self._checked(state, stored, os.fspath(path))
            self._watch.restore(state["best"]["watch"])
            self._best_name = state["best"]["name"]
            self._run.restore(Found(path, state, values, about["network"]))
        self._settings, self.resumed_from, self.ended = state["settings"], path, state["stopped"]
        for later in self.files[self.files.index(path) + 1 :]:  # damaged: out of the way of those to come
            later.rename(later.with_suffix(".damaged"))

    def _checked(self, state: dict[str, Any], stored: Stored, what: str) -> trees.Arrays:
        """The network's parameters, by its own names; the optimizer's vectors in ``state`` come under these as well."""
        run = self._run
        check_position(state, run)
        run.check_callbacks(state["callbacks"])
        _, optimizer = made_again(run.trainer, state["parts"], run.own)  # which a callback may have changed
        rate = state["parts"]["optimizer"]["learning_rate"]
        same = rate == describe(optimizer.learning_rate)
        schedule = copy.deepcopy(optimizer.schedule) if same else as_schedule(make(rate, run.own))
        schedule.restore(state["optimizer"]["schedule"])
        name = state["best"]["name"]
        if not (name is None or NAME.fullmatch(name)) or type(stored.about["network"]["steps_begun"]) is not int:  # type: ignore[index]
            raise ValueError(f"the best is {name!r}")
        vectors, trainable = state["optimizer"]["vectors"], [p.name for p in run.trainer.net.parameters.trainable]
        if vectors.keys() not in (set(), set(optimizer.slots)):
            raise TypeError("vectors of another rule")
        layout, _ = networks.layout_of(run.trainer.net)
        for name in vectors:
            vectors[name] = layout.from_torch(vectors[name], f"{what}: {name}", names=trainable)
        return layout.from_torch(networks.parameters_in(stored), what)

    @contextlib.contextmanager
    def keeping(self) -> Iterator[None]:
        """Inside, the first Ctrl-C or SIGTERM only asks for the end of the step under way; then the run is let go of."""
        mine = threading.current_thread() is threading.main_thread()
        taken = [number for number, usual in STOPS.items() if mine and signal.getsignal(number) is usual]  # not one's own
        for number in taken:
            signal.signal(number, self._ask)
        try:
            yield
            self._stop_if_asked()
        finally:
            for number in taken:
                signal.signal(number, STOPS[number])
            self._held.close()
            trainer = self._run.trainer  # as callbacks have left it
            now = {**parts_of(trainer), **of_network(networks.description(trainer.net))}
            trainer.resumable = (self.folder, now, self._settings["parts"])
            del self._run

    def _ask(self, number: int, frame: Any) -> None:
        self._asked_to_stop = True
        for each, usual in STOPS.items():
            if signal.getsignal(each) == self._ask:
                signal.signal(each, usual)

    def after_step(self) -> None:
        """Write one where it is time, or where Ctrl-C asked for it: then raise. An epoch's end is :meth:`after_epoch`'s."""
        self._since, run = self._since + 1, self._run
        if run.step == run.steps:
            return
        if self._asked_to_stop or (self.every is not None and self._since >= self.every):
            self._write()
            self._stop_if_asked()

    def after_epoch(self, record: Record) -> None:
        """Write one after an epoch, unless only steps count and it is neither the best nor the last."""
        try:
            better = self._watch.improved(record)
        except ValueError:  # there is no such number: the epoch is kept nevertheless
            self._write()
            raise
        if better:
            self._best_name = self._path.name
        if better or self._run.finished or self._asked_to_stop or self.every is None or self._since >= self.every:
            self._write()
        self._stop_if_asked()

    def _write(self) -> None:
        net = self._run.trainer.net
        layout = networks.layout_of(net)
        best = {"watch": self._watch.state(), "name": self._best_name}
        parts = parts_of(self._run.trainer)
        self._check_parts(parts)
        state: dict[str, Any] = {**self._run.state(), "settings": self._settings, "parts": parts, "best": best}
        vectors = state["optimizer"]["vectors"]
        state["optimizer"]["vectors"] = {name: layout[0].to_torch(found) for name, found in vectors.items()}
        arrays: trees.Arrays = {}
        about = {**self.about, STATE: trees.split(state, arrays, STATE)}
        networks.write_network(self._path, net, layout, networks.description(net), about, arrays)
        self._since = 0
        for path in self.files[: -self.keep]:
            if path.name != self._best_name:
                path.unlink(missing_ok=True)

    def _check_parts(self, parts: dict[str, Any]) -> None:
        """Refuse what a callback has changed and no later process could make again: TypeError."""
        trainer = self._run.trainer
        for name, value in (("seed", trainer.seed), ("metrics", list(trainer.metrics))):
            if value != self._settings[name]:
                raise TypeError(f"a callback has changed trainer.{name}, which a checkpoint does not keep")
        for name, found in parts.items():
            if found != self._settings["parts"][name]:
                try:
                    make(found, self._run.own)
                except (ValueError, TypeError, KeyError) as error:
                    why = str(error).partition(": give")[0]
                    raise TypeError(f"a callback has changed the {name} to what no checkpoint can hold: {why}") from error

    @property
    def _path(self) -> Path:
        return self.folder / f"checkpoint-{self._run.updates:09d}.safetensors"

    def _stop_if_asked(self) -> None:
        if self._asked_to_stop:
            self._asked_to_stop, run = False, self._run
            step = f", after step {run.step} of {run.steps}" if run.step else ""
            raise Interrupted(f"in epoch {run.trainer.epoch + (run.step > 0)}{step}", self.folder)


def as_checkpoints(checkpoints: Checkpoints | str | os.PathLike | None, resume: bool) -> Checkpoints | None:
    """What ``fit`` was given; a folder as the checkpoints there."""
    if checkpoints is None and resume:
        raise ValueError("fit(resume=True) goes on from checkpoints=..., the folder where they are")
    if checkpoints is None or isinstance(checkpoints, Checkpoints):
        return checkpoints
    return Checkpoints(checkpoints)
