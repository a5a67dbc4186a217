"""The settings of piva.evaluate and what they lead to, checked without torch."""

import dataclasses
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, cast

from hydra.core.hydra_config import HydraConfig
from hydra.utils import get_class
from omegaconf import DictConfig, OmegaConf

from piva import weights
from piva.config import build
from piva.datasets.edit import Edit, check_prompts
from piva.errors import InputError, one_line
from piva.evaluation.pairs import Pair, edited, views
from piva.files import read_text
from piva.ranges import Device


@dataclass(frozen=True, kw_only=True)
class EvaluateSettings:
    """The keys at the top of conf/evaluate.yaml, explained there."""

    edits: str | None
    before: str | None
    after: str | None
    source: str
    target: str
    missing: Literal["stop", "skip"]
    device: Device


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
    metrics = build(get_class(cfg.metrics["_target_"]), cfg.metrics, "metrics")
    metrics.check()
    weights.check([metrics], hydra.overrides.task)
    dataset = cfg.dataset if "_target_" in cfg.dataset else None
    if settings.edits is not None:
        pairs, missing = _of_folder(settings, Path(settings.edits).expanduser(), dataset)
    else:
        pairs, missing = [_of_views(settings, dataset)], []
    plain = OmegaConf.to_container(OmegaConf.masked_copy(cfg, [*keys, "dataset", "metrics"]), resolve=True)
    return Evaluation(
        pairs=pairs,
        missing=missing,
        metrics=metrics,
        device=settings.device,
        choices=choices,
        config=cast(dict[str, Any], plain),
    )


def _of_folder(
    settings: EvaluateSettings, folder: Path, dataset: DictConfig | None
) -> tuple[list[Pair], list[str]]:
    if settings.before or settings.after or settings.source or settings.target:
        raise InputError("edits", "before, after, source or target beside it", "one or the other")
    if not folder.is_dir():  # before a dataset is drawn for nothing
        raise InputError(
            "edits", f"no folder {str(folder)!r}", "a folder of edited pictures", "check the path"
        )
    config = folder / "config.yaml"
    if config.is_file():
        dataset = _of_run(config, dataset)
    if dataset is None:
        raise InputError(
            "dataset", "none", "the dataset that was edited, or a run of piva.run in edits", "add dataset=pie"
        )
    edits = [edit for edit in _read(dataset) if edit.image]
    return edited(folder, edits, settings.missing == "skip")


def _of_run(config: Path, dataset: DictConfig | None) -> DictConfig | None:
    """The dataset of the run that wrote `config`, unless another is given."""
    try:
        run = OmegaConf.create(read_text(config))
        task = re.sub(r".*\.", "", run.task["_target_"])
        found = cast(DictConfig, run.dataset)
    except InputError:
        raise
    except Exception as error:  # whatever else a file of that name may hold
        raise InputError(config, one_line(error), "what piva.run wrote", "check the path") from None
    if task != "ImageTask":
        remedy = "measure in the run (metrics=paper), or render both and give before= and after="
        raise InputError(
            config, f"a run of {task}, which keeps one view and a video", "a run of task=image", remedy
        )
    return dataset or found


def _of_views(settings: EvaluateSettings, dataset: DictConfig | None) -> Pair:
    if settings.before is None or settings.after is None:
        raise InputError("edits", "nothing", "edits=FOLDER, or before=FOLDER and after=FOLDER")
    before, after = Path(settings.before).expanduser(), Path(settings.after).expanduser()
    if dataset is None:
        edit = Edit(id=after.resolve().name, source_prompt=settings.source, target_prompt=settings.target)
        check_prompts("source, target", edit.source_prompt, edit.target_prompt)
    else:
        edits = _read(dataset)
        if settings.source or settings.target or len(edits) != 1:
            found = (
                f"{len(edits)} edits and {'prompts' if settings.source or settings.target else 'no prompts'}"
            )
            raise InputError(
                "dataset.edits", found, "one edit, whose prompts are taken", "add dataset.edits=ID"
            )
        edit = dataclasses.replace(
            edits[0], image=None, mask=None, truth=None
        )  # these belong to the dataset's own picture
    return views(edit, before, after)


def _read(dataset: DictConfig) -> list[Edit]:
    return list(build(get_class(dataset["_target_"]), dataset, "dataset").read())
