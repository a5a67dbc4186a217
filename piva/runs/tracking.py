"""Where a run is followed. Its files are always written; a tracker mirrors them and can never stop a run."""

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol, runtime_checkable

from annotated_types import Interval

if TYPE_CHECKING:
    from piva.config import Settings

log = logging.getLogger(__name__)


@runtime_checkable
class Mirror(Protocol):
    """A copy of a run elsewhere."""

    def steps(self, rows: list[dict[str, Any]]) -> None:
        """Copy rows of metrics.jsonl."""

    def edit(self, row: Mapping[str, Any], folder: Path) -> None:
        """Copy a row of metrics.csv and the finished edit's folder."""

    def finish(self, summary: Mapping[str, Any]) -> None:
        """Copy the contents of summary.json, and end."""


@dataclass(frozen=True, kw_only=True)
class RunMetadata:
    """What a mirror knows of a run: resolved configuration, chosen options, edits in order, steps of each."""

    config: dict[str, Any]
    choices: Mapping[str, str]
    edits: list[str]
    steps: int


@dataclass(frozen=True, kw_only=True)
class Files:
    """Keep nothing but the run folder."""

    def open(self, settings: "Settings", folder: Path) -> Mirror | None:
        return None


@dataclass(frozen=True, kw_only=True)
class WandB:
    """Weights & Biases; see conf/tracker/wandb.yaml. Offline it needs neither account nor network."""

    project: str
    group: str | None = None
    mode: Literal["auto", "offline", "online"]
    start_timeout: Annotated[float, Interval(gt=0, le=86_400)]
    finish_timeout: Annotated[float, Interval(gt=0, le=86_400)]

    def open(self, settings: "Settings", folder: Path) -> Mirror | None:
        edits = [edit.id for edit in settings.edits]
        config, steps = settings.config, settings.run.steps
        metadata = RunMetadata(config=config, choices=settings.choices, edits=edits, steps=steps)
        return self.mirror(metadata, folder)

    def mirror(self, metadata: RunMetadata, folder: Path) -> Mirror | None:
        """Return a mirror of the run in `folder`; None, and a warning, if W&B does not start."""
        try:
            from piva.runs.wandb_mirror import WandBMirror

            return WandBMirror(self, metadata, folder)
        except Exception as error:
            log.warning("W&B does not start (%s); results are in %s", error, folder)
            return None
