"""Build a benchmark in Noe's format from GLBs: `python -m piva.noe` (settings: conf/build_noe.yaml).

    <out>/benchmark.json                    what dataset=noe reads
    <out>/objaverse_synthetic/<name>/       views, depth, cameras and the licence of an object
    <out>/nerf_synthetic/<scene>/           put there by you: a scene as NeRF-synthetic has it, which gets edits too
    <out>/prompts/<folder>/<name>.json      what a language model answered, as it came

Whatever is finished is kept: the same command again goes on where it stopped.
"""

import json
import logging
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from omegaconf import DictConfig

from piva import config
from piva.cli import run_cli, run_hydra
from piva.datasets.scene import front_view
from piva.errors import InputError, one_line
from piva.files import get, read_json
from piva.noe.asking import Refused, ask_edits
from piva.noe.chat import Chat, NoAnswer, chat
from piva.noe.edits import OBJECTS, PAPER, SCENES, as_records, read_edits
from piva.noe.settings import BuildNoe
from piva.noe.sources import Source, list_sources, noncommercial

log = logging.getLogger(__name__)


def build_noe(settings: BuildNoe) -> Path:
    """Build what is not built yet and return the benchmark's folder.

    An object that cannot be read is left out and named at the end; one without edits is named and left out of benchmark.json.
    Raises `InputError`.
    """
    out = Path(settings.out).expanduser()
    edits = _edits(settings, out)
    sources = list_sources(Path(settings.source).expanduser(), settings.objects)
    errors: list[InputError] = []
    for count, source in enumerate(sources, 1):
        path = f"{OBJECTS}/{source.uid}"
        try:
            licence = _draw(source, out / path, settings)
        except InputError as error:
            errors.append(error)
            continue
        log.info("%d of %d: %s, licence %s", count, len(sources), path, licence or "unknown")
        if settings.noncommercial or not noncommercial(licence):
            _publish(out, path, edits(path))
        else:
            log.warning("%s: its licence (%s) forbids commercial use; left out", path, licence)
    for scene in sorted((out / SCENES).glob("*/transforms_train.json")):
        path = f"{SCENES}/{scene.parent.name}"
        _publish(out, path, edits(path))
    if errors and len(sources) > 1:
        found = (
            f"{len(errors)} of {len(sources)} objects that cannot be used, the first: {one_line(errors[0])}"
        )
        raise InputError("source", found, "whole GLBs", "the others are built")
    if errors:
        raise errors[0]
    if not (out / "benchmark.json").is_file():
        raise InputError(
            "prompts", f"no edits of these objects ({settings.prompts})", "edits of at least one"
        )
    return out


def _draw(source: Source, folder: Path, settings: BuildNoe) -> str:
    """Draw the object's views unless they are there; returns its licence. Raises `InputError`."""
    from piva.noe.views import ensure_views  # Embree and trimesh: not before the settings are checked

    ensure_views(folder, source.uid, source.read(), source.where, source.annotation(), settings)
    return get(read_json(folder / "meta.json"), "licence", str, folder / "meta.json")


def _edits(settings: BuildNoe, out: Path) -> Callable[[str], list[dict[str, str]]]:
    """What gives an object's edits by its path below `out`; raises `InputError` for settings that lead to none."""
    if settings.prompts == "ask":
        return partial(_asked, out, chat(settings))
    written = read_edits(PAPER if settings.prompts == "paper" else Path(settings.prompts).expanduser())
    return lambda path: written.get(path, [])


def _asked(out: Path, asked: Chat, path: str) -> list[dict[str, str]]:
    """The edits that a model named, now or earlier; none if it would not."""
    file = out / "prompts" / f"{path}.json"
    if file.is_file():
        kept: list[dict[str, str]] = get(read_json(file), "edits", list, file)
        return kept
    answer: dict[str, Any] = {
        "path": path,
        "model": asked.model,
        "asked": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    try:
        edits, replies = ask_edits(asked, path, front_view(out / path))
    except NoAnswer as error:
        log.warning("%s: %s; the same command asks again", path, one_line(error))
        return []
    except Refused as error:
        _save(file.with_suffix(".refused.json"), {**answer, "replies": error.replies})
        log.warning("%s: %s; the same command asks again", path, one_line(error))
        return []
    edits = [edit | {"origin": f"llm:{asked.model}"} for edit in edits]
    _save(file, {**answer, "edits": edits, "replies": replies})
    return edits


def _publish(out: Path, path: str, edits: list[dict[str, str]]) -> None:
    """Put the object's records into benchmark.json, in the place of those it has there; say so if there are none."""
    if not edits:
        log.warning("%s: no edits of it; not in benchmark.json", path)
        return
    file = out / "benchmark.json"
    records: list[dict[str, Any]] = get(read_json(file), "records", list, file) if file.is_file() else []
    records = [record for record in records if record.get("path") != path] + as_records(path, edits)
    _save(
        file,
        {"name": "noe", "version": 1, "records": sorted(records, key=lambda record: str(record["path"]))},
    )


def _save(file: Path, data: dict[str, Any]) -> None:
    temporary = file.with_name(f".{file.name}.tmp")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        temporary.replace(file)
    except OSError as error:
        raise InputError(
            file, error.strerror or str(error), "a folder that can be written to", "choose another out"
        ) from None


def job(cfg: DictConfig, settings: BuildNoe | None) -> None:
    out = build_noe(settings or config.build(BuildNoe, cfg))
    log.info("read it with dataset=noe dataset.root=%s", out)


if __name__ == "__main__":
    run_cli(lambda: run_hydra("build_noe", partial(config.build, BuildNoe), job), "build_noe")
