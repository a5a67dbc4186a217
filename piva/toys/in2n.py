"""Write toys in rooms as captures in nerfstudio's format, JPEGs by one distorted lens, and the truths.

    edits.json                                          as Noe's benchmark.json
    <toy>/{transforms.json,meta.json}                   <toy>/{images,images_2,images_4}/frame_00001.jpg
    <toy>/truth/<edit>/{images,masks}/frame_00081.png   the edited room at the test frames, as distorted

As in a capture, the world's origin, scale and directions are arbitrary; meta.json has the transform from the
room's. Nothing heavy is imported before something has to be rendered.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from piva.cameras.lens import Lens
from piva.cameras.nerfstudio import intrinsics, split
from piva.cameras.poses import orbit, transform_poses
from piva.images import save_image
from piva.noe import generated
from piva.noe.generated import WORKERS, draw_all
from piva.toys.noe import LOOKS, records

if TYPE_CHECKING:
    from piva.noe.mesh import Picture
    from piva.toys.edits import Case
    from piva.toys.room import Room

VERSION = 1  # of the format
SEED = 0
TRAIN, TEST = 80, 12
LAPS = ((6.0, 3.1), (18.0, 2.9), (30.0, 3.0), (44.0, 2.8))  # elevation, distance of each lap
AIM = (0.0, 0.0, 0.95)  # what the cameras look at, about
JPEG: dict[str, Any] = {"quality": 93, "subsampling": 0}
SMALLER = (2, 4)  # of the folders images_2, images_4
CHUNK = 20  # training frames a job
SOURCES = ("toys/edits.py", "toys/room.py", "toys/noe.py", "toys/in2n.py", "cameras/nerfstudio.py")


@dataclass(frozen=True)
class Job:
    """Hold a worker's share: some training frames of a room, or all its test frames with their truths."""

    folder: Path  # of the room
    case: "Case"
    room: "Room"
    frames: range
    width: int


def ensure(
    folder: Path, split: str, width: int = 256, rooms: Sequence[str] = (), workers: int = WORKERS
) -> Path:
    """Return `folder` after writing the rooms into it, unless this version's are there and whole.

    Args:
        folder: where edits.json is written; its parents are created.
        split: "test" or "development".
        width: of the full pictures in pixels, four thirds of their height; a multiple of 16.
        rooms: names of some toys that have a room, none for all.
        workers: processes to render with; 1 renders in this one.

    Raises:
        InputError: the folder cannot be written.
    """
    content = generated.fingerprint((*LOOKS, *SOURCES), VERSION, split, width, list(rooms))
    return generated.ensure(folder, content, lambda empty: _write(empty, split, width, rooms, workers))


def lens(width: int) -> Lens:
    """Return a wide, slightly distorted lens whose axis misses the middle of the picture."""
    unit = width / 256
    return Lens(
        width=width,
        height=width * 3 // 4,
        fx=206.4 * unit,
        fy=205.1 * unit,
        cx=131.3 * unit,
        cy=94.2 * unit,
        k1=-0.085,
        k2=0.021,
        p1=0.0012,
        p2=-0.0009,
    )


def cameras(name: str) -> NDArray[np.float32]:
    """Return the poses (92, 4, 4) in a room: hand-held laps to train on, then a steady one from the front."""
    rng = np.random.default_rng((SEED, *name.encode()))
    a_lap = TRAIN // len(LAPS)
    laps = [
        (-90 + 360 * (i + j / len(LAPS)) / a_lap, *lap) for j, lap in enumerate(LAPS) for i in range(a_lap)
    ]
    by_hand = [
        _aimed(np.add(at, rng.normal(0, (3, 1.5, 0.08))), rng.normal(0, 0.05, 3), rng.normal(0, 1.5))
        for at in laps
    ]
    steady = [_aimed((-90 + 360 * i / TEST, 16, 2.9), np.zeros(3), 0) for i in range(TEST)]
    return np.stack(by_hand + steady).astype(np.float32)


def _aimed(at: Any, miss: NDArray[Any], roll_deg: float) -> NDArray[np.float64]:
    """Return the camera at azimuth, elevation (degrees) and distance `at`, aimed past `AIM` and rolled."""
    c2w = orbit(*at).astype(np.float64)
    c2w[:3, 3] += np.add(AIM, miss)
    c, s = np.cos(np.radians(roll_deg)), np.sin(np.radians(roll_deg))
    c2w[:3, :2] = c2w[:3, :2] @ np.array([[c, -s], [s, c]])
    return c2w


def capture_world(name: str) -> NDArray[np.float64]:
    """Return the (4, 4) similarity transform from a room to the world of its transforms.json."""
    rng = np.random.default_rng((SEED + 1, *name.encode()))
    yaw, tilt, scale = rng.uniform((0, -6, 0.2), (360, 6, 0.5))
    turn = orbit(yaw, tilt, 1.0)[:3, :3].astype(np.float64) @ orbit(0, 0, 1.0)[:3, :3].T
    world = np.eye(4)
    world[:3, :3], world[:3, 3] = scale * turn, rng.uniform(-1.5, 1.5, 3)
    return world


def _write(folder: Path, split: str, width: int, rooms: Sequence[str], workers: int) -> None:
    from piva.toys.edits import SPLITS
    from piva.toys.room import ROOMS

    cases = [case for case in SPLITS[split] if case.name in (rooms or ROOMS)]
    jobs = [job for case in cases for job in _prepare(folder, case, ROOMS[case.name], width)]
    draw_all(_draw, jobs, workers, "rooms with toys")
    listed = records(cases, "{toy}", "{toy}/truth/{edit}")
    content = {"name": f"in2n toys ({split})", "version": VERSION, "records": listed}
    generated.save_json(folder / "edits.json", content)


def _prepare(folder: Path, case: "Case", room: "Room", width: int) -> list[Job]:
    """Make a room's folders and JSON files; return what is left to render."""
    scene = folder / case.name
    truths = [f"truth/{change.name}/{kind}" for change in case.changes for kind in ("images", "masks")]
    for place in ("images", *(f"images_{factor}" for factor in SMALLER), *truths):
        (scene / place).mkdir(parents=True)
    world = capture_world(case.name).tolist()
    meta = {"name": case.name, "room_to_world": world, "front": "-y in the room", "room": asdict(room)}
    generated.save_json(scene / "meta.json", meta)
    generated.save_json(scene / "transforms.json", _transforms(case.name, width))
    shares = [*(range(start, start + CHUNK) for start in range(0, TRAIN, CHUNK)), range(TRAIN, TRAIN + TEST)]
    return [Job(scene, case, room, frames, width) for frames in shares]


def _transforms(name: str, width: int) -> dict[str, Any]:
    names = [f"images/{_stem(i)}.jpg" for i in range(TRAIN + TEST)]
    poses = transform_poses(capture_world(name), cameras(name).astype(np.float64)).tolist()
    frames = [{"file_path": file, "transform_matrix": pose} for file, pose in zip(names, poses, strict=True)]
    return {**intrinsics(lens(width)), **split(names, TRAIN), "frames": frames}


def _stem(frame: int) -> str:
    return f"frame_{frame + 1:05d}"


def _draw(job: Job) -> None:
    from piva.noe.mesh import differs

    toys = [job.case.source, *(change.target for change in job.case.changes)]
    sources, names = _views(job, toys, 0)
    for frame, view in zip(job.frames, sources, strict=True):
        _save_photo(job.folder, frame, Image.fromarray(view.rgb_bytes(np.ones(3))))
    if job.frames.start < TRAIN:
        return
    for shown, change in enumerate(job.case.changes, 1):
        place = job.folder / "truth" / change.name
        truths, truth_names = _views(job, toys, shown)
        for frame, source, truth in zip(job.frames, sources, truths, strict=True):
            save_image(place / "images" / f"{_stem(frame)}.png", truth.rgb_bytes(np.ones(3)))
            save_image(place / "masks" / f"{_stem(frame)}.png", differs(source, truth, names, truth_names))


def _views(job: Job, toys: "Sequence[Any]", shown: int) -> "tuple[list[Picture], list[str]]":
    """Return the job's frames with one of the toys in the room, and the names of the parts."""
    from piva.noe.mesh import part_names
    from piva.toys.room import room_renderer

    caster, poses = room_renderer(toys, shown, job.room), cameras(job.case.name)
    pictures = [caster.render_lens(poses[frame], lens(job.width)) for frame in job.frames]
    return pictures, part_names(caster.surfaces)


def _save_photo(folder: Path, frame: int, photo: Image.Image) -> None:
    photo.save(folder / "images" / f"{_stem(frame)}.jpg", **JPEG)
    for factor in SMALLER:
        photo.reduce(factor).save(folder / f"images_{factor}" / f"{_stem(frame)}.jpg", **JPEG)
