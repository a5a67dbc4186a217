"""Where a run is followed. Files are always written (results.py); a tracker mirrors them and can never stop a run."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from piva.settings import one_of

if TYPE_CHECKING:
    from piva.config import Settings

log = logging.getLogger(__name__)


@runtime_checkable
class Mirror(Protocol):
    """A run's copy elsewhere."""

    def steps(self, rows: list[dict[str, Any]]) -> None:
        """Rows of metrics.jsonl."""

    def edit(self, row: Mapping[str, Any], folder: Path) -> None:
        """A row of metrics.csv and the finished edit's folder."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """The contents of summary.json; the end."""


@dataclass(frozen=True, kw_only=True)
class Files:
    """Nothing but the run folder."""

    def open(self, settings: "Settings", folder: Path) -> Mirror | None:
        return None


@dataclass(frozen=True, kw_only=True)
class WandB:
    """Weights & Biases; offline it needs neither account nor network."""

    project: str
    mode: str = one_of("offline", "online")

    def open(self, settings: "Settings", folder: Path) -> Mirror | None:
        try:
            return _WandBMirror(self, settings, folder)
        except Exception as error:
            log.warning("W&B does not start (%s); results are in %s", error, folder)
            return None


def _never_stops(method: Callable[..., None]) -> Callable[..., None]:
    """A tracker's failure is a warning."""

    @wraps(method)
    def guarded(*args: Any) -> None:
        try:
            method(*args)
        except Exception as error:
            log.warning("W&B: %s failed (%s); the run goes on, its files are complete", method.__name__, error)

    return guarded


class _WandBMirror:
    def __init__(self, tracker: WandB, settings: "Settings", folder: Path) -> None:
        import wandb

        self._wandb = wandb
        self._run = wandb.init(
            project=tracker.project,
            mode=tracker.mode,  # type: ignore[arg-type]
            dir=folder,
            name=folder.name,
            job_type=settings.choices["score"],
            config=settings.config,
            tags=[f"{group}={settings.choices[group]}" for group in ("task", "dataset", "profile")],
            settings=wandb.Settings(silent=True, console="off", login_timeout=5),
        )
        self._step = 0

    @_never_stops
    def steps(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._run.log(row, step=self._step)
            self._step += 1

    @_never_stops
    def edit(self, row: Mapping[str, Any], folder: Path) -> None:
        media: dict[str, Any] = {f"pictures/{path.stem}": self._wandb.Image(str(path)) for path in sorted(folder.glob("*.png"))}
        media |= {f"pictures/{path.stem}": self._wandb.Video(str(path), format="mp4") for path in sorted(folder.glob("*.mp4"))}
        self._run.log({**row, **media}, step=self._step)

    @_never_stops
    def finish(self, summary: Mapping[str, Any]) -> None:
        self._run.summary.update({key: value for key, value in summary.items() if key in ("mean", "unet")})
        self._run.finish(quiet=True)
