"""Writes the toys benchmark in Noe's format: sources from all sides, and truths with masks at the sources' test frames.

    benchmark.json  manifest.json
    toys/<toy>/{meta.json,transforms.json,images/0000.png,depth/0000.png}
    toys/<toy>/edits/<edit>/{images,depth,masks}/0100.png

Everything is made in a folder beside the final one, which takes its place when complete. Nothing heavy is imported before
something has to be rendered.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piva.errors import InputError
from piva.nerf.cameras import focal_from_fov, hemisphere, orbit

if TYPE_CHECKING:
    from piva.render.mesh import Picture
    from piva.toys.edits import Case
    from piva.toys.world import Toy

VERSION = 1  # of the format
DISTANCE, FOV_DEG = 4.031, 39.6  # NeRF-synthetic's cameras, for objects whose longest side is 2
TRAIN, TEST = 100, 12
RING_DEG = 15  # elevation of the test cameras
DEPTH_UNIT = 1e-3
CHUNK = 28  # frames a job
# What decides how the toys look: the cache is stale once one of these files has changed.
TOYS = ("toys/edits.py", "toys/world.py", "toys/objects.py", "toys/paint.py", "toys/shapes.py", "toys/benchmark.py")
RECIPE = (*TOYS, "render/mesh.py", "nerf/cameras.py")


@dataclass(frozen=True)
class Job:
    """A worker's share: some frames of a toy (`change` is None), or one of its edits at all test frames."""

    folder: Path
    split: str
    toy: str
    change: str | None
    frames: range
    size: int


def ensure(folder: Path, split: str, size: int = 128, toys: Sequence[str] = (), workers: int = 2) -> Path:
    """`folder`, after writing the benchmark into it unless it is there, whole and made by this version's recipe.

    Args:
        folder: gets benchmark.json; its parent is made if need be.
        split: "test" or "development".
        size: width and height of the views in pixels.
        toys: names of some toys of the split, none for all.
        workers: processes to render with; 1 renders in this one.

    Raises:
        InputError: the folder cannot be written.
    """
    fingerprint = _fingerprint(split, size, toys)
    if _complete(folder, fingerprint):
        return folder
    temporary = folder.with_name(f"{folder.name}.{uuid4().hex[:8]}.tmp")
    try:
        temporary.mkdir(parents=True)
        _write(temporary, split, size, toys, workers)
        _save_json(temporary / "manifest.json", {"version": VERSION, "fingerprint": fingerprint, "files": _files(temporary)})
        _publish(temporary, folder, fingerprint)
    except OSError as error:
        remedy = "set PIVA_CACHE to a folder you can write to"
        raise InputError(folder, error.strerror or str(error), "a writable cache with 20 MB to spare", remedy) from None
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return folder


def _fingerprint(split: str, size: int, toys: Sequence[str]) -> str:
    """Names the result: a hash of the request and of the source files that define and render the toys."""
    digest = hashlib.sha256(json.dumps([VERSION, split, size, list(toys)]).encode())
    package = Path(__file__).parent.parent
    for name in RECIPE:
        digest.update((package / name).read_bytes())
    return digest.hexdigest()


def _complete(folder: Path, fingerprint: str) -> bool:
    try:
        manifest = json.loads((folder / "manifest.json").read_text())
        return bool(manifest == {"version": VERSION, "fingerprint": fingerprint, "files": _files(folder)})
    except (OSError, ValueError):
        return False


def _files(folder: Path) -> int:
    """How many files there are below `folder`, the manifest apart."""
    return sum(path.is_file() and path.name != "manifest.json" for path in folder.rglob("*"))


def _publish(temporary: Path, folder: Path, fingerprint: str) -> None:
    """Give `temporary` its final name. If another process was first, its result stays; anything else there is thrown away."""
    for _ in range(10):
        try:
            temporary.rename(folder)
            return
        except OSError:
            if _complete(folder, fingerprint):
                return
            if not folder.exists():
                continue
        stale = folder.with_name(f"{folder.name}.{uuid4().hex[:8]}.tmp")
        try:
            folder.rename(stale)
        except FileNotFoundError:
            continue  # another process has just moved it away
        shutil.rmtree(stale, ignore_errors=True)
    temporary.rename(folder)


def _write(folder: Path, split: str, size: int, toys: Sequence[str], workers: int) -> None:
    from piva.toys.edits import SPLITS

    cases = [case for case in SPLITS[split] if not toys or case.name in toys]
    jobs = [job for case in cases for job in _prepare(folder, split, case, size)]
    _render_all(jobs, workers)
    records = [
        {
            "id": f"{case.name}/{change.name}",
            "path": f"toys/{case.name}",
            "source_prompt": case.source.caption,
            "target_prompt": change.target.caption,
            "instruction": change.instruction,
            "type": change.type,
            "origin": "procedural",
            "truth": f"toys/{case.name}/edits/{change.name}",
        }
        for case in cases
        for change in case.changes
    ]
    _save_json(folder / "benchmark.json", {"name": f"noe toys ({split})", "version": VERSION, "records": records})


def _prepare(folder: Path, split: str, case: "Case", size: int) -> list[Job]:
    """Make a toy's folders and JSON files; returns what is left to render."""
    scene = folder / "toys" / case.name
    parts = ["images", "depth", *(f"edits/{c.name}/{part}" for c in case.changes for part in ("images", "depth", "masks"))]
    for part in parts:
        (scene / part).mkdir(parents=True)
    centre, scale = placement(case)
    meta = {
        "name": case.name,
        "caption": case.source.caption,
        "licence": "Apache-2.0",
        "centre": centre.tolist(),
        "scale": scale,
        "up": "+z",
        "front": "-y",
        "renderer": "piva.render.mesh",
    }
    _save_json(scene / "meta.json", meta)
    _save_json(scene / "transforms.json", _transforms(size))
    every = range(TRAIN + TEST)
    jobs = [Job(folder, split, case.name, None, every[i : i + CHUNK], size) for i in every[::CHUNK]]
    return jobs + [Job(folder, split, case.name, c.name, range(TRAIN, TRAIN + TEST), size) for c in case.changes]


def placement(case: "Case") -> tuple[NDArray[Any], float]:
    """What a toy and all its truths together are centred at, and their scale: longest side 2, less if a view would cut them."""
    from piva.toys.world import bounds, renderer

    toys = [case.source, *(change.target for change in case.changes)]
    centre, extent = bounds(toys)
    reach = max(float(np.linalg.norm(s.mesh.vertices, axis=1).max()) for toy in toys for s in renderer(toy, centre, 1.0).surfaces)
    widest = 0.98 * DISTANCE * float(np.sin(np.radians(FOV_DEG) / 2))  # radius of a ball that every view holds
    return centre, min(2 / extent, widest / reach)


def cameras() -> NDArray[np.float32]:
    """The benchmark's poses (112, 4, 4): 100 over the upper hemisphere to train on, then 12 on a ring, the front first."""
    ring = [orbit(-90 + 360 * i / TEST, RING_DEG, DISTANCE) for i in range(TEST)]
    return np.concatenate([hemisphere(TRAIN, DISTANCE), np.stack(ring)]).astype(np.float32)


def _transforms(size: int) -> dict[str, Any]:
    focal = focal_from_fov(FOV_DEG, size)
    names = [f"images/{i:04d}.png" for i in range(TRAIN + TEST)]
    frames = [
        {"file_path": name, "depth_file_path": name.replace("images", "depth"), "transform_matrix": c2w.tolist()}
        for name, c2w in zip(names, cameras(), strict=True)
    ]
    return {
        "w": size,
        "h": size,
        "fl_x": focal,
        "fl_y": focal,
        "cx": size / 2,
        "cy": size / 2,
        "camera_model": "OPENCV",
        **dict.fromkeys(("k1", "k2", "p1", "p2"), 0),
        "camera_angle_x": float(np.radians(FOV_DEG)),
        "depth_unit_scale_factor": DEPTH_UNIT,
        "train_filenames": names[:TRAIN],
        "test_filenames": names[TRAIN:],
        "frames": frames,
    }


def _render_all(jobs: list[Job], workers: int) -> None:
    from tqdm import tqdm

    bar = {"total": len(jobs), "desc": "drawing the toys (once)", "unit": "job"}
    if workers == 1:
        for job in tqdm(jobs, **bar):
            _render(job)
        return
    with ProcessPoolExecutor(workers) as pool:
        list(tqdm(pool.map(_render, jobs), **bar))


def _render(job: Job) -> None:
    from piva.toys.edits import SPLITS

    case = next(case for case in SPLITS[job.split] if case.name == job.toy)
    centre, scale = placement(case)
    scene = job.folder / "toys" / job.toy
    sources = _pictures(case.source, centre, scale, job)
    if job.change is None:
        for frame, picture in zip(job.frames, sources, strict=True):
            _save_picture(scene, frame, picture)
        return
    change = next(change for change in case.changes if change.name == job.change)
    truths = _pictures(change.target, centre, scale, job)
    names = [[*(part.name for part in toy.parts), ""] for toy in (case.source, change.target)]  # index -1, no hit, is ""
    for frame, source, truth in zip(job.frames, sources, truths, strict=True):
        _save_picture(scene / "edits" / change.name, frame, truth)
        mask = _differs(source, truth, names[0], names[1])
        path = scene / "edits" / change.name / "masks" / f"{frame:04d}.png"
        Image.fromarray(np.where(mask, 255, 0).astype(np.uint8)).save(path)


def _pictures(toy: "Toy", centre: NDArray[Any], scale: float, job: Job) -> list["Picture"]:
    from piva.toys.world import renderer

    caster, poses, focal = renderer(toy, centre, scale), cameras(), focal_from_fov(FOV_DEG, job.size)
    return [caster.render(poses[frame], job.size, job.size, focal) for frame in job.frames]


def _differs(source: "Picture", truth: "Picture", source_names: list[str], truth_names: list[str]) -> NDArray[np.bool_]:
    """Where colour, part or depth is another, at the precision of the files."""
    colour = (_bytes(source) != _bytes(truth)).any(axis=-1)
    part = np.array(source_names)[source.part] != np.array(truth_names)[truth.part]
    return np.asarray(colour | part | (_millis(source) != _millis(truth)))


def _save_picture(folder: Path, frame: int, picture: "Picture") -> None:
    Image.fromarray(_bytes(picture)).save(folder / "images" / f"{frame:04d}.png")
    Image.fromarray(_millis(picture)).save(folder / "depth" / f"{frame:04d}.png")


def _bytes(picture: "Picture") -> NDArray[np.uint8]:
    return np.asarray(np.rint(picture.rgba * 255), np.uint8)


def _millis(picture: "Picture") -> NDArray[np.uint16]:
    return np.asarray(np.rint(picture.depth / DEPTH_UNIT), np.uint16)


def _save_json(path: Path, data: dict[str, Any]) -> None:
    path.write_text(json.dumps(data, indent=1) + "\n")
