"""The settings of piva.evaluate and the pictures they lead to, checked without torch."""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from piva import weights
from piva.config import build, settings_class
from piva.datasets.edit import Dataset, Edit, check_prompts
from piva.errors import InputError
from piva.evaluation.pairs import Pair, edited, views
from piva.files import get, user_path
from piva.ranges import Device
from piva.runs.fingerprint import check_shards
from piva.runs.run import Run
from piva.runs.stored import stored_settings


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """The keys at the top of conf/evaluate.yaml, explained there."""

    edits: Any  # a folder, a list of folders, or None
    before: str | None
    after: str | None
    source: str
    target: str
    missing: Literal["stop", "skip"]
    device: Device

    @property
    def folders(self) -> list[Path]:
        """The folders of edits. Raises `InputError` for one that is not there."""
        names = self.edits if isinstance(self.edits, list) else [self.edits]
        folders = [user_path(name, "edits") for name in names]
        for folder in folders:
            if not folder.is_dir():
                found = f"no folder {str(folder)!r}"
                raise InputError("edits", found, "a folder of edited pictures", "check the path")
        return folders


@dataclass(frozen=True, kw_only=True)
class Evaluation:
    """What to score, with what."""

    pairs: list[Pair]
    missing: list[str]  # edits without a picture
    metrics: Any
    device: str
    choices: dict[str, str]
    config: dict[str, Any]


def check(cfg: DictConfig) -> Evaluation:
    """Find and open every picture. Raises `InputError`; imports no torch."""
    hydra = cfg.hydra if "hydra" in cfg else HydraConfig.get()
    choices = {group: str(hydra.runtime.choices.get(group)) for group in ("dataset", "metrics")}
    keys = [f.name for f in dataclasses.fields(EvaluateSettings)]
    settings: EvaluateSettings = build(EvaluateSettings, OmegaConf.masked_copy(cfg, keys))
    metrics = build(settings_class(cfg.get("metrics"), "metrics"), cfg.metrics, "metrics")
    metrics.check()
    weights.check([metrics], hydra.overrides.task)
    group, dataset = cfg.get("dataset"), None
    if group and "_target_" in group:
        dataset = build(settings_class(group, "dataset"), group, "dataset")
    if settings.edits is not None:
        pairs, missing = _of_folders(settings, dataset)
    else:
        pairs, missing = [_of_views(settings, dataset)], []
    kept = OmegaConf.masked_copy(cfg, [*keys, "dataset", "metrics", "root"])  # a dataset's root may be there
    plain = OmegaConf.to_container(kept, resolve=True)
    return Evaluation(
        pairs=pairs,
        missing=missing,
        metrics=metrics,
        device=settings.device,
        choices=choices,
        config=cast(dict[str, Any], plain),
    )


def _of_folders(settings: EvaluateSettings, dataset: Dataset | None) -> tuple[list[Pair], list[str]]:
    if settings.before or settings.after or settings.source or settings.target:
        raise InputError("edits", "before, after, source or target beside it", "one or the other")
    folders = settings.folders
    runs = [Run(folder) for folder in folders if (folder / "config.yaml").is_file()]
    for run in runs:
        if run.task != "ImageTask":
            found = f"a run of {run.task}, which keeps one view and a video"
            remedy = "measure in the run (metrics=paper), or render both and give before= and after="
            raise InputError(run.folder / "config.yaml", found, "a run of task=image", remedy)
    if isinstance(settings.edits, list):
        if len(runs) < len(folders) or not runs:
            found = next((str(f) for f in folders if not (f / "config.yaml").is_file()), "an empty list")
            raise InputError(
                "edits", found, "runs of piva.run with dataset.shard", "name one folder for others"
            )
        check_shards(runs)
    if dataset is None and runs:
        where = runs[0].folder / "config.yaml"
        of_run = get(runs[0].config, "dataset", dict, where)
        whole = {"shard": None} if isinstance(settings.edits, list) else {}
        dataset = stored_settings(of_run | whole, "dataset", where)
    if dataset is None:
        wanted = "the dataset that was edited, or a run of piva.run in edits"
        raise InputError("dataset", "none", wanted, "add dataset=pie")
    return edited(folders, [edit for edit in dataset.read() if edit.image], settings.missing == "skip")


def _of_views(settings: EvaluateSettings, dataset: Dataset | None) -> Pair:
    if settings.before is None or settings.after is None:
        raise InputError("edits", "nothing", "edits=FOLDER, or before=FOLDER and after=FOLDER")
    before, after = user_path(settings.before, "before"), user_path(settings.after, "after")
    if dataset is None:
        edit = Edit(id=after.resolve().name, source_prompt=settings.source, target_prompt=settings.target)
        check_prompts("source, target", edit.source_prompt, edit.target_prompt)
        return views(edit, before, after)
    edits, prompts = list(dataset.read()), bool(settings.source or settings.target)
    if prompts or len(edits) != 1:
        found = f"{len(edits)} edits and {'prompts' if prompts else 'no prompts'}"
        raise InputError("dataset.edits", found, "one edit, whose prompts are taken", "add dataset.edits=ID")
    # the others belong to the dataset's own picture
    return views(dataclasses.replace(edits[0], image=None, mask=None, truth=None), before, after)
