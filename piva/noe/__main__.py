"""Build a benchmark in Noe's format from GLBs: `python -m piva.noe` (settings: conf/build_noe.yaml).

    <out>/benchmark.json                    what dataset=noe reads
    <out>/objaverse_synthetic/<name>/       views, depth, cameras and the licence of an object
    <out>/nerf_synthetic/<scene>/           put there by you: NeRF-synthetic scenes, which get edits too
    <out>/prompts/<folder>/<name>.json      the unchanged replies of a language model

Finished objects are kept: the same command again goes on where it stopped.
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
from piva.errors import EditsFailed, InputError, one_line
from piva.files import atomic, get, read_json, user_path
from piva.noe.chat import Chat, NoAnswer, chat
from piva.noe.prompts import OBJECTS, PAPER, SCENES, Refused, as_records, ask_edits, read_edits
from piva.noe.settings import BuildNoe
from piva.noe.sources import Source, list_sources, noncommercial

log = logging.getLogger(__name__)


def build_noe(settings: BuildNoe) -> Path:
    """Build what is not built yet and return the benchmark's folder.

    An object that cannot be read is left out and named at the end; one without edits is named and left out of
    benchmark.json. Raises `EditsFailed` where some objects cannot be read, `InputError` where none can.
    """
    out = user_path(settings.out, "out")
    edits = _edits(settings, out)
    sources = list_sources(user_path(settings.source, "source"), settings.objects)
    errors: list[InputError] = []
    for count, source in enumerate(sources, 1):
        path = f"{OBJECTS}/{source.uid}"
        try:
            licence = _draw(source, out / path, settings)
        except InputError as error:
            errors.append(error)
            log.warning("%s; left out", one_line(error))
            continue
        log.info("%d of %d: %s, licence %s", count, len(sources), path, licence or "unknown")
        if settings.noncommercial or not noncommercial(licence):
            _publish(out, path, edits(path))
        else:
            log.warning("%s: its licence (%s) forbids commercial use; left out", path, licence)
    for scene in sorted((out / SCENES).glob("*/transforms_train.json")):
        path = f"{SCENES}/{scene.parent.name}"
        _publish(out, path, edits(path))
    if errors and len(errors) < len(sources):
        failed = f"{len(errors)} of {len(sources)} objects cannot be used and the others are built"
        raise EditsFailed(f"{failed}; the first: {errors[0]}")
    if errors:
        raise errors[0]
    if not (out / "benchmark.json").is_file():
        found = f"no edits of these objects ({settings.prompts})"
        raise InputError("prompts", found, "edits of at least one")
    return out


def _draw(source: Source, folder: Path, settings: BuildNoe) -> str:
    """Render the object's views unless they are there, and return its licence. Raises `InputError`."""
    from piva.noe.views import ensure_views  # Embree and trimesh: not before the settings are checked

    try:
        ensure_views(folder, source, settings)
    except InputError:
        raise
    except Exception as error:  # of a renderer, of memory: the other objects are worth going on
        found = f"what cannot be rendered ({type(error).__name__}: {one_line(error)})"
        raise InputError(source.where, found, "an object that can be") from error
    return get(read_json(folder / "meta.json"), "licence", str, folder / "meta.json")


def _edits(settings: BuildNoe, out: Path) -> Callable[[str], list[dict[str, str]]]:
    """Return a function from an object's path below `out` to its edits. Raises `InputError`."""
    if settings.prompts == "ask":
        return partial(_asked, out, chat(settings))
    written = read_edits(PAPER if settings.prompts == "paper" else user_path(settings.prompts, "prompts"))
    return lambda path: written.get(path, [])


def _asked(out: Path, endpoint: Chat, path: str) -> list[dict[str, str]]:
    """Return the edits that a model named, now or in an earlier build; none if it did not."""
    file = out / "prompts" / f"{path}.json"
    if file.is_file():
        kept: list[dict[str, str]] = get(read_json(file), "edits", list, file)
        return kept
    now = datetime.now(UTC).isoformat(timespec="seconds")
    answer: dict[str, Any] = {"path": path, "model": endpoint.model, "asked": now}
    try:
        edits, replies = ask_edits(endpoint, path, front_view(out / path))
    except NoAnswer as error:
        log.warning("%s: %s; the same command asks again", path, one_line(error))
        return []
    except Refused as error:
        _save(file.with_suffix(".refused.json"), {**answer, "replies": error.replies})
        log.warning("%s: %s; the same command asks again", path, one_line(error))
        return []
    edits = [edit | {"origin": f"llm:{endpoint.model}"} for edit in edits]
    _save(file, {**answer, "edits": edits, "replies": replies})
    return edits


def _publish(out: Path, path: str, edits: list[dict[str, str]]) -> None:
    """Replace the object's records in benchmark.json; warn if there are none."""
    if not edits:
        log.warning("%s: no edits of it; not in benchmark.json", path)
        return
    file = out / "benchmark.json"
    records: list[dict[str, Any]] = get(read_json(file), "records", list, file) if file.is_file() else []
    records = [record for record in records if record.get("path") != path] + as_records(path, edits)
    records.sort(key=lambda record: str(record["path"]))
    _save(file, {"name": "noe", "version": 1, "records": records})


def _save(file: Path, data: dict[str, Any]) -> None:
    with atomic(file, "choose another out") as temporary:
        temporary.write_text(json.dumps(data, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def main() -> None:
    def job(cfg: DictConfig, settings: BuildNoe | None) -> None:
        out = build_noe(settings or config.build(BuildNoe, cfg))
        log.info("read it with dataset=noe dataset.root=%s", out)

    run_cli(lambda: run_hydra("build_noe", partial(config.build, BuildNoe), job), "build_noe")


if __name__ == "__main__":
    main()
