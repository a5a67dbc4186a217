"""Write the toys in PIE-Bench's format, and beside them the true edited pictures, which PIE-Bench lacks.

    mapping_file.json
    annotation_images/<type>_<name>_<count>/1_artificial/<3_indoor|4_outdoor>/<id>.jpg
    truth/{images,masks}/<id>.png

The masks are the pixels that differ. Nothing heavy is imported before something has to be rendered.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from piva.cameras.lens import focal_from_fov
from piva.cameras.poses import orbit
from piva.images import encode_runs, save_image
from piva.noe import generated
from piva.noe.generated import WORKERS, draw_all
from piva.toys.noe import LOOKS

if TYPE_CHECKING:
    from piva.toys.pie_entries import Entry

VERSION = 1  # of the format
JPEG = {"quality": 95, "subsampling": 0}  # full colour resolution: the pictures are small
CHUNK = 8  # entries a job
SOURCES = ("toys/edits.py", "toys/pie_entries.py", "toys/pie.py", "images.py")


@dataclass(frozen=True)
class Job:
    """Hold a worker's share."""

    folder: Path
    entries: "list[Entry]"
    size: int


def ensure(folder: Path, split: str, size: int = 128, workers: int = WORKERS) -> Path:
    """Return `folder` after writing the benchmark into it, unless this version's is there and whole.

    Args:
        folder: where mapping_file.json is written; its parents are created.
        split: "test" or "development".
        size: width and height of the pictures in pixels; PIE-Bench's are 512, the toys' prior works at 64.
        workers: processes to render with; 1 renders in this one.

    Raises:
        InputError: the folder cannot be written.
    """
    content = generated.fingerprint((*LOOKS, *SOURCES), VERSION, split, size)
    return generated.ensure(folder, content, lambda empty: _write(empty, split, size, workers))


def _write(folder: Path, split: str, size: int, workers: int) -> None:
    from piva.toys.pie_entries import entries

    todo = entries(split)
    for place in ("truth/images", "truth/masks", *{f"annotation_images/{entry.folder}" for entry in todo}):
        (folder / place).mkdir(parents=True)
    jobs = [Job(folder, todo[i : i + CHUNK], size) for i in range(0, len(todo), CHUNK)]
    masks = [runs for chunk in draw_all(_draw, jobs, workers, "the pictures of toys") for runs in chunk]
    records = {entry.id: _record(entry, runs) for entry, runs in zip(todo, masks, strict=True)}
    generated.save_json(folder / "mapping_file.json", records)


def _record(entry: "Entry", runs: list[int]) -> dict[str, Any]:
    from piva.toys.pie_entries import marked

    original, edited = marked(entry.pair.source.caption, entry.pair.target.caption)
    return {
        "image_path": f"{entry.folder}/{entry.id}.jpg",
        "original_prompt": original,
        "editing_prompt": edited,
        "editing_instruction": entry.pair.instruction,
        "editing_type_id": str(entry.type),
        "blended_word": entry.pair.blended,
        "mask": runs,
    }


def _draw(job: Job) -> list[list[int]]:
    """Save the pictures of some entries; return their masks."""
    return [_draw_entry(job.folder, entry, job.size) for entry in job.entries]


def _draw_entry(folder: Path, entry: "Entry", size: int) -> list[int]:
    """Save an entry seen from in front on white or a pale colour, both to be preserved; return its mask."""
    from piva.noe.mesh import differs, part_names
    from piva.toys.world import placement, renderer

    rng = np.random.default_rng(int(entry.id))
    toys = entry.pair.source, entry.pair.target
    azimuth, elevation, distance, fov = rng.uniform((-140, 10, 3.0, 36), (-40, 35, 3.8, 46))
    centre, scale = placement(toys, distance, fov)
    scale *= rng.uniform(0.88, 1)
    background = np.ones(3) if rng.random() < 0.7 else rng.uniform(0.55, 1, 3)
    camera, focal = orbit(azimuth, elevation, distance), focal_from_fov(fov, size)
    source, truth = (renderer(toy, centre, scale).render(camera, size, size, focal) for toy in toys)
    mask = differs(source, truth, *(part_names(toy.parts) for toy in toys))
    photo = folder / "annotation_images" / entry.folder / f"{entry.id}.jpg"
    save_image(photo, source.rgb_bytes(background), **JPEG)
    save_image(folder / "truth/images" / f"{entry.id}.png", truth.rgb_bytes(background))
    save_image(folder / "truth/masks" / f"{entry.id}.png", mask)
    return encode_runs(mask)
