"""A run's copy at Weights & Biases: never asks, never waits longer than it is told to, never stops the run."""

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from functools import wraps
from pathlib import Path
from typing import Any

import requests
import urllib3
import wandb
from PIL import Image

from piva.errors import one_line
from piva.runs.folder import RunFolder
from piva.runs.run import WORDS, Row, read
from piva.runs.tracking import About, WandB

log = logging.getLogger(__name__)

ID = "wandb_id.txt"  # in the run folder: a run that goes on continues its curve
AXES = {  # what a metric is drawn over
    "train/*": "step",  # of its edit, as in metrics.jsonl
    **dict.fromkeys(
        ("eval/*", "truth/*", "nothing/*", "best/*", "pie/*"), "edit_number"
    ),  # 1, 2, ... in the dataset's order
}
TAGGED = ("task", "dataset", "prior", "profile")
SMALL = 128  # pixels of the pictures in the table of edits; the originals are logged edit by edit


def _never_stops(method: Callable[..., None]) -> Callable[..., None]:
    """A tracker's failure is a warning."""

    @wraps(method)
    def guarded(*args: Any) -> None:
        try:
            method(*args)
        except Exception as error:
            log.warning(
                "W&B: %s failed (%s); the run goes on, its files are complete",
                method.__name__,
                one_line(error),
            )

    return guarded


class WandBMirror:
    """Rows arrive in batches of plain numbers: nothing waits for a device here. wandb's own process writes and uploads them."""

    def __init__(self, tracker: WandB, about: About, folder: Path) -> None:
        self._folder, self._about = folder, about
        self._place = {edit: i for i, edit in enumerate(about.edits)}
        self._run = _start(tracker, about, folder)
        for axis in dict.fromkeys(AXES.values()):
            self._run.define_metric(axis, hidden=True)
        for pattern, axis in AXES.items():
            self._run.define_metric(pattern, step_metric=axis)

    @_never_stops
    def steps(self, rows: list[dict[str, Any]]) -> None:
        for row in rows:
            self._run.log(row, step=self._at(row["edit"], row["step"]))

    @_never_stops
    def edit(self, row: Mapping[str, Any], folder: Path) -> None:
        media: dict[str, Any] = {
            f"pictures/{path.stem}": wandb.Image(str(path)) for path in sorted(folder.glob("*.png"))
        }
        media |= {
            f"pictures/{path.stem}": wandb.Video(str(path), format="mp4")
            for path in sorted(folder.glob("*.mp4"))
        }
        number = self._place[row["id"]] + 1
        self._run.log({**row, **media, "edit_number": number}, step=self._at(row["id"], self._about.steps))

    @_never_stops
    def finish(self, summary: Mapping[str, Any]) -> None:
        self.tables()
        try:
            self._run.summary.update(
                {**summary.get("mean", {}), **{f"unet/{k}": v for k, v in summary.get("unet", {}).items()}}
            )
        finally:
            self._run.finish()

    @_never_stops
    def tables(self) -> None:
        """What the run's files hold by now."""
        self._run.log(_tables(self._folder, self._about), step=len(self._place) * (self._about.steps + 1))

    def _at(self, edit: str, step: int) -> int:
        """Where a row stands among all of the run's. It depends on the row alone: what a resumed run repeats, W&B has already."""
        return self._place[edit] * (self._about.steps + 1) + step


def group(about: About, folder: Path) -> str | None:
    """The experiment, or the folder of the sweep that the run is a job of."""
    experiment = about.choices.get("experiment")
    if experiment not in (None, "None"):
        return experiment
    return folder.absolute().parent.name if (folder.parent / "multirun.yaml").is_file() else None


def logged_in(url: str) -> bool:
    """Whether this machine has credentials for the server at `url`; asks nobody."""
    given = (os.environ.get(key) for key in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"))
    return any(given) or requests.utils.get_netrc_auth(url) is not None


def why_offline(mode: str, timeout: float) -> str | None:
    """Why a tracker of this mode works offline; None if it may go online. Waits for the server `timeout` seconds at most."""
    url = str(wandb.setup().settings.base_url)
    if mode == "offline" or (
        mode == "auto" and os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun")
    ):
        return "as asked"
    if not logged_in(url):
        return f"not logged in at {url} (wandb login, or WANDB_API_KEY)"
    try:
        urllib3.PoolManager().request("GET", url, timeout=timeout, retries=False)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        return f"{url} does not answer ({type(error).__name__})"
    return None


def _start(tracker: WandB, about: About, folder: Path) -> Any:
    reason = why_offline(tracker.mode, tracker.start_timeout)
    if reason is None:
        try:
            return _init("online", tracker, about, folder)
        except Exception as error:  # a wrong key, a project that may not be written to, a server that broke
            reason = one_line(error)
            wandb.teardown()  # frees the id that the failed start holds
    if reason != "as asked" and (tracker.mode == "online" or "not logged in" not in reason):
        log.warning(
            "W&B works offline: %s; `wandb sync %s/wandb/offline-run-*` uploads it later", reason, folder
        )
    return _init("offline", tracker, about, folder)


def _init(mode: str, tracker: WandB, about: About, folder: Path) -> Any:
    return wandb.init(
        project=tracker.project,
        mode=mode,  # type: ignore[arg-type]
        dir=folder,
        id=_id(folder),
        resume="allow" if mode == "online" else None,
        reinit="create_new",  # jobs of a sweep share a process: one that failed must not catch the next one's rows
        name=folder.name,
        group=tracker.group or group(about, folder),
        job_type=about.choices.get("score"),
        config=about.config,
        tags=[f"{name}={about.choices[name]}" for name in TAGGED if name in about.choices],
        settings=wandb.Settings(
            silent=True,
            console="off",
            init_timeout=tracker.start_timeout,
            login_timeout=tracker.start_timeout,
            finish_timeout=tracker.finish_timeout,
        ),
    )


def _id(folder: Path) -> str:
    """The run's own id at W&B, kept in its folder."""
    path = folder / ID
    if not path.is_file():
        RunFolder(folder).write_text(ID, secrets.token_hex(4) + "\n")
    return path.read_text().strip()


def _tables(folder: Path, about: About) -> dict[str, Any]:
    """The edits with small pictures; what was measured on the way; and the run's one point of the trade-off."""
    run = read(folder)
    pictures = ("before", "after", "truth")
    edits = _table(
        run.rows,
        {name: [_small(run.edit(row["id"]) / f"{name}.png") for row in run.rows] for name in pictures},
    )
    tables = {"tables/edits": edits} | (
        {"tables/snapshots": _table(run.snapshots, {})} if run.snapshots else {}
    )
    mean = run.summary.get("mean", {})
    if {"eval/clip", "eval/lpips"} <= mean.keys():
        score, lam = about.config["score"]["_target_"].rsplit(".", 1)[-1], about.config["score"].get("lam")
        point = {
            "score": score,
            "lambda": 0.0 if lam is None else lam,
            "LPIPS": mean["eval/lpips"],
            "CLIP": mean["eval/clip"],
        }
        tables["tables/tradeoff"] = _table([point], {})
    return tables


def _table(rows: list[Row], pictures: dict[str, list[Any]]) -> Any:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    shown = [name for name, column in pictures.items() if any(column)]
    words = [key for key in keys if key in WORDS]
    numbers = [key for key in keys if key not in WORDS]
    data = [
        [
            *(row.get(key) for key in words),
            *(pictures[name][i] for name in shown),
            *(row.get(key) for key in numbers),
        ]
        for i, row in enumerate(rows)
    ]
    return wandb.Table(columns=[*words, *shown, *numbers], data=data, allow_mixed_types=True)


def _small(path: Path) -> Any:
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((SMALL, SMALL))
    return wandb.Image(small)
