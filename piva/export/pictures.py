"""What is seen along a trajectory: a film, and pictures, depth and alpha with the cameras that saw them."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from piva.cameras.nerfstudio import DEPTH_UNIT, intrinsics
from piva.cameras.rays import z_depth
from piva.cameras.trajectories import Camera, Trajectory
from piva.errors import InputError
from piva.export.stored import Stored
from piva.export.trajectory import Film
from piva.images import film_writer, save_image, to_uint8
from piva.runs.bars import bar

DEEPEST = np.iinfo(np.uint16).max * DEPTH_UNIT
KEYS = {"images": "file_path", "depth": "depth_file_path", "alpha": "alpha_file_path"}  # of nerfstudio


class Seen(NamedTuple):
    """One view of h x w pixels."""

    rgb: NDArray[np.uint8]  # (h, w, 3), before the background
    rgba: NDArray[np.uint8]  # (h, w, 4), straight alpha
    depth: NDArray[np.float32]  # (h, w), along the viewing axis in scene units, 0 where nothing is


def look(stored: Stored, camera: Camera) -> Seen:
    """Render one view of the field."""
    c2w, lens = torch.from_numpy(camera[0]).to(stored.background), camera[1]
    view = stored.view(c2w, lens)
    alpha = view.opacity[..., None]
    straight = (view.rgb - (1 - alpha) * stored.background) / alpha.clamp(min=1e-6)
    rgb, rgba = (to_uint8(x.movedim(-1, -3)) for x in (view.rgb, torch.cat([straight, alpha], dim=-1)))
    return Seen(rgb, rgba, z_depth(view.depth, view.opacity, c2w, lens).cpu().numpy())


def write_pictures(stored: Stored, film: Film, what: Sequence[str], folder: Path, name: str) -> None:
    """Write film.mp4, images/, depth/ and alpha/, those in `what`; each view is rendered once. Raises
    `InputError`.
    """
    for kind in KEYS.keys() & set(what):
        (folder / kind).mkdir()
    with ExitStack() as stack:
        video = stack.enter_context(film_writer(folder / "film.mp4", film.fps)) if "film" in what else None
        shown = stack.enter_context(bar(len(film.trajectory), name, "view"))
        for index, camera in enumerate(film.trajectory):
            view = look(stored, camera)
            shown.update()
            if video:
                video.write_frame(view.rgb)
            _write_view(view, what, folder, f"{index:04d}.png")


def _write_view(view: Seen, what: Sequence[str], folder: Path, name: str) -> None:
    if "images" in what:
        save_image(folder / "images" / name, view.rgba)
    if "depth" in what:
        if view.depth.max() > DEEPEST:
            found = f"a view of something {view.depth.max():.1f} scene units away"
            wanted = f"depths up to {DEEPEST:g}, as far as the files go"
            raise InputError("path", found, wanted, "go nearer or leave depth out")
        save_image(folder / "depth" / name, np.rint(view.depth / DEPTH_UNIT).astype(np.uint16))
    if "alpha" in what:
        save_image(folder / "alpha" / name, view.rgba[..., 3])


def transforms(trajectory: Trajectory, what: Sequence[str]) -> dict[str, Any]:
    """Return nerfstudio's transforms.json for these pictures, in the world of the field."""
    frames = [
        {
            **{key: f"{kind}/{index:04d}.png" for kind, key in KEYS.items() if kind in what},
            **intrinsics(lens),
            "transform_matrix": c2w.tolist(),
        }
        for index, (c2w, lens) in enumerate(trajectory)
    ]
    return {"depth_unit_scale_factor": DEPTH_UNIT, "frames": frames}
