"""W&B of many runs: `python -m piva.dashboard [out=FILE]` and `python -m piva.dashboard sync OUTPUTS...`.

The first makes the workspace "DDS vs Piva" in the tracker's project: saved there when online, else written as
JSON. The second makes W&B runs from run folders, offline too. conf/dashboard.yaml explains the keys.
"""

import logging
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from piva.cli import folders_and_overrides, run_cli
from piva.config import build, compose, settings_class
from piva.errors import InputError, one_line
from piva.files import user_path
from piva.runs.folder import RunFolder
from piva.runs.run import Run, find_runs
from piva.runs.tracking import RunMetadata, WandB

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class DashboardSettings:
    """The keys at the top of conf/dashboard.yaml."""

    entity: str | None
    name: str
    out: str


def dashboard(*words: str) -> str:
    """Save the workspace at W&B, or write its JSON; returns where it is. Raises `InputError`."""
    settings, tracker = _settings(words)
    try:
        from piva.dashboard.workspace import make, save
    except ModuleNotFoundError as error:
        raise InputError(
            "piva.dashboard", f"no package {error.name}", "wandb-workspaces", "pip install 'piva[wandb]'"
        ) from None
    from piva.runs.wandb_mirror import why_offline

    reason = why_offline(tracker.mode, tracker.start_timeout)
    if reason is None:
        try:
            return save(settings.entity, tracker.project, settings.name)
        except Exception as error:  # what a server may answer
            reason = one_line(error)
    log.warning("the workspace is not saved at W&B: %s", reason)
    out = user_path(settings.out, "out").absolute()
    RunFolder(out.parent).write_text(out.name, make(settings.entity or "", tracker.project, settings.name))
    return str(out)


def sync(*words: str) -> list[Path]:
    """A W&B run for each run folder at or below those named; returns the folders. Raises `InputError`."""
    roots, overrides = folders_and_overrides(words)
    _, tracker = _settings(overrides)
    if not roots:
        raise InputError(
            "OUTPUTS", "no folder", "run folders, or folders of them", "python -m piva.dashboard sync outputs"
        )
    pushed = []
    for folder in find_runs(roots):
        run = Run.read(folder)
        metadata = RunMetadata(
            config=run.config,
            choices={group: str(option) for group, option in run.summary.get("choices", {}).items()},
            edits=[row["id"] for row in run.rows],
            steps=int(run.config.get("steps", 0)),
        )
        if mirror := tracker.mirror(metadata, folder):
            steps = run.steps
            for row in run.rows:
                mirror.steps(steps.get(row["id"], []))
                mirror.edit(row, run.edit(row["id"]))
            mirror.finish(run.summary)
            pushed.append(folder)
    return pushed


def _settings(words: Any) -> tuple[DashboardSettings, WandB]:
    cfg = compose(*words, name="dashboard")
    target = settings_class(cfg.get("tracker"), "tracker")
    if target is not WandB:
        raise InputError("tracker", target.__name__, "wandb", "tracker=wandb")
    tracker: WandB = build(WandB, cfg.tracker, "tracker")
    settings: DashboardSettings = build(DashboardSettings, _without(cfg, "tracker"))
    return settings, tracker


def _without(cfg: Any, key: str) -> Any:
    from omegaconf import OmegaConf

    return OmegaConf.masked_copy(cfg, [str(name) for name in cfg if name not in (key, "hydra")])


def main() -> None:
    words = sys.argv[1:]
    logging.basicConfig(format="piva: %(message)s")
    if words[:1] == ["sync"]:
        run_cli(lambda: [sys.stdout.write(f"synced {folder}\n") for folder in sync(*words[1:])], "dashboard")
    else:
        run_cli(lambda: sys.stdout.write(f"workspace in {dashboard(*words)}\n"), "dashboard")


if __name__ == "__main__":
    main()
