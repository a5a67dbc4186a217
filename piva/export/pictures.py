"""What is seen along a path: a film, and pictures, depth and alpha with the cameras that saw them."""

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import imageio.v3 as iio
import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from piva.cameras.lens import Lens
from piva.cameras.nerfstudio import DEPTH_UNIT
from piva.cameras.rays import image_rays
from piva.errors import InputError
from piva.export.path import Camera, Film
from piva.export.stored import Stored
from piva.toys.pictures import save

SOLID = 0.5  # the opacity from which a pixel has a depth
DEEPEST = np.iinfo(np.uint16).max * DEPTH_UNIT


class Seen(NamedTuple):
    """One view of h x w pixels."""

    rgb: NDArray[np.uint8]  # (h, w, 3), before the background
    rgba: NDArray[np.uint8]  # (h, w, 4), straight alpha
    depth: NDArray[np.float32]  # (h, w), along the viewing axis in scene units, 0 where nothing is


def look(stored: Stored, camera: Camera) -> Seen:
    """One view of the field."""
    c2w, lens = torch.from_numpy(camera[0]).to(stored.background), camera[1]
    view = stored.view(c2w, lens)
    alpha = view.opacity[..., None]
    straight = (view.rgb - (1 - alpha) * stored.background) / alpha.clamp(min=1e-6)
    along = image_rays(c2w, lens)[1] @ -c2w[:3, 2]  # the part of a ray's length that goes along the axis
    depth = torch.where(view.opacity >= SOLID, view.depth * along.view_as(view.depth), 0)
    return Seen(_bytes(view.rgb), _bytes(torch.cat([straight, alpha], dim=-1)), depth.cpu().numpy())


def write_pictures(stored: Stored, path: Film, what: Sequence[str], folder: Path, name: str) -> None:
    """film.mp4, images/, depth/ and alpha/, those that `what` asks for; every view is rendered once. Raises `InputError`."""
    for kind in {"images", "depth", "alpha"} & set(what):
        (folder / kind).mkdir()
    with ExitStack() as stack:
        film = (
            stack.enter_context(iio.imopen(folder / "film.mp4", "w", plugin="pyav"))
            if "film" in what
            else None
        )
        if film:
            film.init_video_stream("libx264", fps=path.fps)
        for index, camera in enumerate(tqdm(path.cameras, desc=name, unit="view", disable=None, leave=False)):
            view = look(stored, camera)
            if film:
                film.write_frame(view.rgb)
            _write_view(view, what, folder, f"{index:04d}.png")


def _write_view(view: Seen, what: Sequence[str], folder: Path, name: str) -> None:
    if "images" in what:
        save(folder / "images" / name, view.rgba)
    if "depth" in what:
        if view.depth.max() > DEEPEST:
            found = f"a view of something {view.depth.max():.1f} scene units away"
            raise InputError(
                "path",
                found,
                f"depths up to {DEEPEST:g}, as far as the files go",
                "go nearer or leave depth out",
            )
        save(folder / "depth" / name, np.rint(view.depth / DEPTH_UNIT).astype(np.uint16))
    if "alpha" in what:
        save(folder / "alpha" / name, view.rgba[..., 3])


def transforms(path: Film, what: Sequence[str]) -> dict[str, Any]:
    """The content of nerfstudio's transforms.json for these pictures, in the world of the field."""
    frames = []
    for index, (c2w, lens) in enumerate(path.cameras):
        name = f"{index:04d}.png"
        files = {"file_path": f"images/{name}"} if "images" in what else {}
        files |= {"depth_file_path": f"depth/{name}"} if "depth" in what else {}
        files |= {"alpha_file_path": f"alpha/{name}"} if "alpha" in what else {}
        frames.append({**files, **_intrinsics(lens), "transform_matrix": c2w.tolist()})
    return {"depth_unit_scale_factor": DEPTH_UNIT, "frames": frames}


def _intrinsics(lens: Lens) -> dict[str, Any]:
    bent = {key: getattr(lens, key) for key in ("k1", "k2", "k3", "k4", "p1", "p2")}
    return {
        "w": lens.width,
        "h": lens.height,
        "fl_x": lens.fx,
        "fl_y": lens.fy,
        "cx": lens.cx,
        "cy": lens.cy,
        "camera_model": "OPENCV_FISHEYE" if lens.fisheye else "OPENCV",
        **bent,
    }


def _bytes(colours: torch.Tensor) -> NDArray[np.uint8]:
    return (colours.clamp(0, 1) * 255).round().byte().cpu().numpy()
