"""Write the toys in Noe's format: sources from all sides, and truths with masks at the sources' test frames.

    benchmark.json
    toys/<toy>/{meta.json,transforms.json,parts.json}  toys/<toy>/{images,depth,parts}/0000.png
    toys/<toy>/edits/<edit>/parts.json
    toys/<toy>/edits/<edit>/{images,depth,parts,masks}/0100.png

`parts` holds which named part is seen in each pixel: an index into the list of parts.json. Nothing heavy is
imported before something has to be rendered.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from piva.cameras.lens import focal_from_fov
from piva.cameras.nerfstudio import square_scene
from piva.cameras.poses import hemisphere, ring
from piva.images import save_image
from piva.noe import generated
from piva.noe.generated import WORKERS, draw_all

if TYPE_CHECKING:
    from piva.noe.mesh import MeshRenderer, Picture
    from piva.toys.edits import Case

ROOTS = {"toys": "test", "toys-dev": "development"}  # root -> split; a folder of that name is ./toys
# What decides how any toy looks on disk, paths below the package.
LOOKS = (
    *("toys/world.py", "toys/objects.py", "toys/paint.py"),
    *("noe/mesh.py", "cameras/lens.py", "cameras/poses.py"),
)
VERSION = 2  # of the format
DISTANCE, FOV_DEG = 4.031, 39.6  # NeRF-synthetic's cameras, for objects whose longest side is 2
TRAIN, TEST = 100, 12
RING_DEG = 15  # elevation of the test cameras
CHUNK = 25  # training frames a job
KINDS = ("images", "depth", "parts")


@dataclass(frozen=True)
class Job:
    """Hold a worker's share: some training frames of a toy, or all its test frames with their truths."""

    folder: Path  # of the toy
    case: "Case"
    centre: NDArray[Any]
    scale: float
    frames: range
    size: int


def ensure(
    folder: Path, split: str, size: int = 128, toys: Sequence[str] = (), workers: int = WORKERS
) -> Path:
    """Return `folder` after writing the benchmark into it, unless this version's is there and whole.

    Args:
        folder: where benchmark.json is written; its parents are created.
        split: "test" or "development".
        size: width and height of the views in pixels.
        toys: names of some toys of the split, none for all.
        workers: processes to render with; 1 renders in this one.

    Raises:
        InputError: the folder cannot be written.
    """
    sources = *LOOKS, "toys/edits.py", "toys/noe.py", "cameras/nerfstudio.py"
    content = generated.fingerprint(sources, split, size, list(toys))
    return generated.ensure(folder, content, lambda empty: _write(empty, split, size, toys, workers))


def cameras() -> NDArray[np.float32]:
    """Return poses (112, 4, 4): 100 on the upper hemisphere to train on, 12 on a ring from the front."""
    return np.concatenate([hemisphere(TRAIN, DISTANCE), ring(TEST, RING_DEG, DISTANCE)])


def records(cases: "Sequence[Case]", scene: str, truth: str) -> list[dict[str, str]]:
    """Return a benchmark's record of each edit; `scene` and `truth` are paths with {toy} and {edit}."""
    return [
        {
            "id": f"{case.name}/{change.name}",
            "path": scene.format(toy=case.name),
            "source_prompt": case.source.caption,
            "target_prompt": change.target.caption,
            "instruction": change.instruction,
            "type": change.type,
            "origin": "procedural",
            "truth": truth.format(toy=case.name, edit=change.name),
        }
        for case in cases
        for change in case.changes
    ]


def _write(folder: Path, split: str, size: int, toys: Sequence[str], workers: int) -> None:
    from piva.toys.edits import SPLITS

    cases = [case for case in SPLITS[split] if not toys or case.name in toys]
    jobs = [job for case in cases for job in _prepare(folder / "toys" / case.name, case, size)]
    draw_all(_draw, jobs, workers, "the toys")
    listed = records(cases, "toys/{toy}", "toys/{toy}/edits/{edit}")
    content = {"name": f"noe toys ({split})", "version": VERSION, "records": listed}
    generated.save_json(folder / "benchmark.json", content)


def _prepare(scene: Path, case: "Case", size: int) -> list[Job]:
    """Make a toy's folders and JSON files; return what is left to render."""
    from piva.noe.mesh import part_names
    from piva.toys.world import placement

    places = {scene: case.source} | {scene / "edits" / change.name: change.target for change in case.changes}
    for place, toy in places.items():
        for kind in KINDS if place == scene else (*KINDS, "masks"):
            (place / kind).mkdir(parents=True)
        generated.save_json(place / "parts.json", part_names(toy.parts))
    centre, scale = placement([case.source, *(change.target for change in case.changes)], DISTANCE, FOV_DEG)
    meta = {
        "name": case.name,
        "caption": case.source.caption,
        "licence": "Apache-2.0",
        "centre": centre.tolist(),
        "scale": scale,
        "up": "+z",
        "front": "-y",
        "renderer": "piva.noe.mesh",
    }
    generated.save_json(scene / "meta.json", meta)
    generated.save_json(scene / "transforms.json", square_scene(cameras(), TRAIN, size, FOV_DEG))
    shares = [*(range(start, start + CHUNK) for start in range(0, TRAIN, CHUNK)), range(TRAIN, TRAIN + TEST)]
    return [Job(scene, case, centre, scale, frames, size) for frames in shares]


def _draw(job: Job) -> None:
    from piva.noe.mesh import differs, part_names
    from piva.toys.world import renderer

    sources = _views(job, renderer(job.case.source, job.centre, job.scale), job.folder)
    if job.frames.start < TRAIN:
        return
    names = part_names(job.case.source.parts)
    for change in job.case.changes:
        place = job.folder / "edits" / change.name
        truths = _views(job, renderer(change.target, job.centre, job.scale), place)
        for frame, source, truth in zip(job.frames, sources, truths, strict=True):
            mask = differs(source, truth, names, part_names(change.target.parts))
            save_image(place / "masks" / f"{frame:04d}.png", mask)


def _views(job: Job, caster: "MeshRenderer", place: Path) -> "list[Picture]":
    """Render the job's frames and save them below `place`."""
    poses, focal = cameras(), focal_from_fov(FOV_DEG, job.size)
    views = [caster.render(poses[frame], job.size, job.size, focal) for frame in job.frames]
    for frame, view in zip(job.frames, views, strict=True):
        name = f"{frame:04d}.png"
        save_image(place / "images" / name, view.rgba_bytes())
        save_image(place / "depth" / name, view.depth_units())
        save_image(place / "parts" / name, view.part_ids())
    return views
