"""One original on the page: the edits that were made of it, the newest last, and the one that is at work.

An edit is a run like any other, in a thread; each begins with the original. What is finished lies in a folder
and is never changed: to undo is to go back to the folder before.
"""

import logging
import shutil
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import cached_property, lru_cache, partial
from pathlib import Path

from piva.config import Settings
from piva.errors import EditsFailed, InputError, one_line
from piva.experiment.edit import Progress
from piva.experiment.run import run_experiment
from piva.runs.fingerprint import locked
from piva.runs.folder import main_metrics
from piva.view.looks import Look, finished_look, live_look
from piva.view.origin import Origin, Wish

log = logging.getLogger(__name__)

THREAD = "piva edit"
LOADED = 2  # finished edits kept in memory
LOOK_S = 1.0  # between two looks at an edit under way, at least


class Stopped(Exception):
    """The user has had enough of an edit."""


@dataclass(frozen=True, kw_only=True)
class Desk:
    """What the sessions of a page share: one edit or export is at work at a time."""

    device: str
    root: Path  # runs are written below it
    export: Callable[..., Sequence[Path]]  # `piva.export`, with its words
    tell: Callable[[], None]  # called from any thread when there is something new to see
    turn: threading.Lock = field(default_factory=threading.Lock)
    _reading: threading.Lock = field(default_factory=threading.Lock)

    def look(self, place: Path, origin: Origin) -> Look:
        """Return the look of what is finished at `place`. Raises `InputError`."""
        with self._reading:
            return self._read(place, None if origin.scene else origin.place, origin.up)

    @cached_property
    def _read(self) -> Callable[[Path, Path | None, str], Look]:
        return lru_cache(LOADED)(partial(finished_look, device=self.device))


class Session:
    """The state of one original, the same for all browsers. Whatever goes wrong is `said`, in one line."""

    def __init__(self, origin: Origin, desk: Desk) -> None:
        self.origin, self.said = origin, ""
        self._desk = desk
        self._done = [(origin.place, origin.prompts)]
        self._at_work: tuple[str, str] | None = None  # the prompts of the edit
        self._live: Look | None = None
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    @property
    def place(self) -> Path:
        """Return the folder of the newest edit, or the file."""
        return self._done[-1][0]

    @property
    def prompts(self) -> tuple[str, str]:
        """Return those of what is seen."""
        return self._at_work or self._done[-1][1]

    @property
    def working(self) -> bool:
        """Return whether an edit is at work."""
        return self._at_work is not None

    @property
    def undoable(self) -> bool:
        """Return whether there is an edit to go back from."""
        return len(self._done) > 1 and not self.working

    @property
    def exportable(self) -> bool:
        """Return whether there is a scene's edit to take away."""
        return self.origin.scene is not None and self.place.is_dir() and not self.working

    def look(self) -> Look:
        """Return what is to be seen: the edit at work, else the newest. Raises `InputError`."""
        return self._live or self._desk.look(self.place, self.origin)

    def edit(self, wish: Wish) -> None:
        """Begin an edit of the original."""
        if not self._take_turn():
            return
        try:
            settings = self.origin.settings(wish)
        except Exception as error:  # whatever a configuration may raise: the page goes on
            self._desk.turn.release()
            self.say(error)
            return
        self._stop.clear()
        self._at_work = (wish.source, wish.target)
        self.say("opening")
        folder = self._desk.root / f"{datetime.now():%Y-%m-%d_%H-%M-%S-%f}"
        work = partial(self._work, settings, folder)
        self._thread = threading.Thread(target=work, name=THREAD, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the edit at work after its step; what was there before is seen again."""
        if self.working:
            self._stop.set()
            self.say("stopping")

    def undo(self) -> None:
        """Go back to what was there before the newest edit, whose folder is kept."""
        if self.undoable:
            self._done.pop()
            self.say("undone")

    def export(self, what: str) -> None:
        """Write a part that `piva.export` knows of the newest edit, and say where it is."""
        if not self._take_turn():
            return
        said: object = ""
        try:
            self.say("exporting")
            words = [str(self.place), f"what=[{what}]", f"device={self._desk.device}"]
            said = f"exported to {', '.join(map(str, self._desk.export(*words)))}"
        except Exception as error:  # of a disk, an encoder, a memory: the page goes on
            said = error
        finally:
            self._desk.turn.release()
            self.say(said)

    def wait(self, timeout_s: float | None = None) -> None:
        """Wait until no edit is at work."""
        if self._thread:
            self._thread.join(timeout_s)

    def say(self, text: object) -> None:
        """Say something in one line."""
        self.said = one_line(text)
        self._desk.tell()

    def _take_turn(self) -> bool:
        if taken := self._desk.turn.acquire(blocking=False):
            return taken
        self.say(InputError("the page", "an edit or export at work", "one at a time", "wait, or stop it"))
        return False

    def _work(self, settings: Settings, folder: Path) -> None:
        said: object = "stopped"
        try:
            said = self._run(settings, folder)
        except Exception as error:  # whatever a run may raise: the page goes on
            shutil.rmtree(folder, ignore_errors=True)
            if not isinstance(error, Stopped):
                log.debug("the edit failed", exc_info=error)
                said = error
        finally:
            self._live = self._at_work = None
            self._desk.turn.release()
            self.say(said)

    def _run(self, settings: Settings, folder: Path) -> str:
        """Run the edit, add it to those that are done, and return what is to be said of it."""
        (edit,) = settings.edits
        scene = self.origin.scene and replace(self.origin.scene, field=settings.task.field)
        original = self.look().original
        look_again, cost = 0.0, ""

        def after(progress: Progress) -> None:
            nonlocal look_again, cost
            if self._stop.is_set():
                raise Stopped
            if time.monotonic() >= look_again:
                self._live = live_look(progress, scene, original)
                look_again = time.monotonic() + LOOK_S
            cost = f"{progress.evaluations.forward + progress.evaluations.backward:.0f} passes"
            self.say(f"step {progress.step} of {progress.steps}, {cost}")

        with locked(settings, folder):
            run = run_experiment(settings, folder, after)
        for reason in run.failures.values():
            raise EditsFailed(reason)
        self._done.append((folder.absolute() / "edits" / edit.id, edit.prompts))
        said = [f"{settings.run.steps} steps, {cost}", main_metrics(run.rows[0]), f"in {folder}"]
        return "; ".join(filter(None, said))
