"""A run's copy at Weights & Biases: never asks, never waits longer than told to, never stops the run."""

import logging
import os
import secrets
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import wraps
from pathlib import Path
from typing import Any

import requests
import urllib3
import wandb
from PIL import Image

from piva.errors import one_line
from piva.files import read_text
from piva.runs.deadline import within
from piva.runs.folder import RunFolder
from piva.runs.run import TEXTS, Row, Run
from piva.runs.tracking import RunMetadata, WandB

log = logging.getLogger(__name__)

ID = "wandb_id.txt"  # in the run folder: a run that goes on continues its curve
AXES = {  # what a metric is drawn over
    "train/*": "step",  # of its edit, as in metrics.jsonl
    **dict.fromkeys(
        ("eval/*", "truth/*", "nothing/*", "best/*", "pie/*"), "edit_number"
    ),  # 1, 2, ... in order
}
TAGGED = ("task", "dataset", "prior", "profile")
SMALL = 128  # pixels of the pictures in the table of edits; the originals are logged edit by edit


def _never_stops(method: Callable[..., None]) -> Callable[..., None]:
    """Turn a tracker's failure into a warning."""

    @wraps(method)
    def guarded(*args: Any) -> None:
        try:
            method(*args)
        except Exception as error:
            message = "W&B: %s failed (%s); the run goes on, its files are complete"
            log.warning(message, method.__name__, one_line(error))

    return guarded


class WandBMirror:
    """Takes batches of plain numbers: nothing waits for a device. wandb's own process writes and uploads."""

    def __init__(self, tracker: WandB, metadata: RunMetadata, folder: Path) -> None:
        self._folder, self._metadata = folder, metadata
        self._place = {edit: i for i, edit in enumerate(metadata.edits)}
        self._run = _start(tracker, metadata, folder)
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
        pictures, videos = sorted(folder.glob("*.png")), sorted(folder.glob("*.mp4"))
        media: dict[str, Any] = {f"pictures/{path.stem}": wandb.Image(str(path)) for path in pictures}
        media |= {f"pictures/{path.stem}": wandb.Video(str(path), format="mp4") for path in videos}
        number = self._place[row["id"]] + 1
        self._run.log({**row, **media, "edit_number": number}, step=self._at(row["id"], self._metadata.steps))

    @_never_stops
    def finish(self, summary: Mapping[str, Any]) -> None:
        self.tables()
        try:
            evaluations = {f"unet/{key}": value for key, value in summary.get("unet", {}).items()}
            self._run.summary.update({**summary.get("mean", {}), **evaluations})
        finally:
            self._run.finish()

    @_never_stops
    def tables(self) -> None:
        """Log what the run's files hold by now, after all steps."""
        self._run.log(_tables(self._folder), step=len(self._place) * (self._metadata.steps + 1))

    def _at(self, edit: str, step: int) -> int:
        """Return W&B's step of a row; it depends on the row alone: W&B has what a resumed run repeats."""
        return self._place[edit] * (self._metadata.steps + 1) + step


def group(metadata: RunMetadata, folder: Path) -> str | None:
    """Return the experiment, or the folder of the sweep that the run is a job of."""
    experiment = metadata.choices.get("experiment")
    if experiment not in (None, "None"):
        return experiment
    return folder.absolute().parent.name if (folder.parent / "multirun.yaml").is_file() else None


def logged_in(url: str) -> bool:
    """Return whether this machine has credentials for the server at `url`; asks nobody."""
    given = (os.environ.get(key) for key in ("WANDB_API_KEY", "WANDB_IDENTITY_TOKEN_FILE"))
    return any(given) or requests.utils.get_netrc_auth(url) is not None


def why_offline(mode: str, timeout: float) -> str | None:
    """Return why a tracker of this mode works offline, None if it goes online. Waits at most `timeout` s."""
    url = str(wandb.setup().settings.base_url)
    disabled = os.environ.get("WANDB_MODE") in ("offline", "disabled", "dryrun")
    if mode == "offline" or (mode == "auto" and disabled):
        return "as asked"
    if not logged_in(url):
        return f"not logged in at {url} (wandb login, or WANDB_API_KEY)"
    if reason := _silence(url, timeout):
        return f"{url} does not answer ({reason})"
    return None


def _silence(url: str, timeout: float) -> str | None:
    """Return why the server at `url` has not answered after `timeout` s, None if it has."""
    try:
        within(timeout, lambda: urllib3.PoolManager().request("GET", url, timeout=timeout, retries=False))
    except TimeoutError as error:
        return str(error)
    except (urllib3.exceptions.HTTPError, OSError) as error:
        return type(error).__name__
    return None


def _start(tracker: WandB, metadata: RunMetadata, folder: Path) -> Any:
    reason = why_offline(tracker.mode, tracker.start_timeout)
    if reason is None:
        try:
            return within(tracker.start_timeout, lambda: _init("online", tracker, metadata, folder))
        except Exception as error:  # a wrong key, a project that may not be written to, a server that broke
            reason = one_line(error)
            with suppress(Exception):  # frees the id that the failed start holds
                within(tracker.start_timeout, wandb.teardown)
    if reason != "as asked" and (tracker.mode == "online" or "not logged in" not in reason):
        message = "W&B works offline: %s; `wandb sync %s/wandb/offline-run-*` uploads it later"
        log.warning(message, reason, folder)
    return _init("offline", tracker, metadata, folder)


def _init(mode: str, tracker: WandB, metadata: RunMetadata, folder: Path) -> Any:
    timeouts = {"init_timeout": tracker.start_timeout, "login_timeout": tracker.start_timeout}
    timeouts["finish_timeout"] = tracker.finish_timeout
    return wandb.init(
        project=tracker.project,
        mode=mode,  # type: ignore[arg-type]
        dir=folder,
        id=_id(folder),
        resume="allow" if mode == "online" else None,
        reinit="create_new",  # jobs of a sweep share a process: a failed one must not catch the next's rows
        name=folder.name,
        group=tracker.group or group(metadata, folder),
        job_type=metadata.choices.get("score"),
        config=metadata.config,
        tags=[f"{name}={metadata.choices[name]}" for name in TAGGED if name in metadata.choices],
        settings=wandb.Settings(silent=True, console="off", **timeouts),
    )


def _id(folder: Path) -> str:
    """Return the run's own id at W&B, kept in its folder."""
    path = folder / ID
    if not path.is_file():
        RunFolder(folder).write_text(ID, secrets.token_hex(4) + "\n")
    return read_text(path).strip()


def _tables(folder: Path) -> dict[str, Any]:
    """Return the edits with small pictures, the snapshots, and the run's one point of the trade-off."""
    run = Run.read(folder)
    folders = [run.edit(row["id"]) for row in run.rows]
    pictures = {name: [_small(at / f"{name}.png") for at in folders] for name in ("before", "after", "truth")}
    tables = {"tables/edits": _table(run.rows, pictures)}
    if run.snapshots:
        tables["tables/snapshots"] = _table(run.snapshots, {})
    mean = run.summary.get("mean", {})
    if {"eval/clip", "eval/lpips"} <= mean.keys():
        score = run.approach
        lam = 0.0 if score.get("lam") is None else score["lam"]
        point = {"score": score["_target_"].rsplit(".", 1)[-1], "lambda": lam}
        point |= {"LPIPS": mean["eval/lpips"], "CLIP": mean["eval/clip"]}
        tables["tables/tradeoff"] = _table([point], {})
    return tables


def _table(rows: list[Row], pictures: dict[str, list[Any]]) -> Any:
    keys = list(dict.fromkeys(key for row in rows for key in row))
    shown = [name for name, column in pictures.items() if any(column)]
    texts, numbers = [key for key in keys if key in TEXTS], [key for key in keys if key not in TEXTS]
    shown_rows = [[pictures[name][i] for name in shown] for i in range(len(rows))]
    data = [
        [*map(row.get, texts), *cells, *map(row.get, numbers)]
        for row, cells in zip(rows, shown_rows, strict=True)
    ]
    return wandb.Table(columns=[*texts, *shown, *numbers], data=data, allow_mixed_types=True)


def _small(path: Path) -> Any:
    if not path.is_file():
        return None
    with Image.open(path) as picture:
        small = picture.convert("RGB")
        small.thumbnail((SMALL, SMALL))
    return wandb.Image(small)
