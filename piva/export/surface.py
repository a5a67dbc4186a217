"""The surface of a field: marching cubes on its density, and the colour that a camera before it would see."""

from typing import NamedTuple

import numpy as np
import torch
from nerfacc.grid import _query
from numpy.typing import NDArray
from scipy import ndimage
from skimage import measure

from piva.errors import InputError
from piva.export.settings import MeshSettings
from piva.export.stored import Stored
from piva.nerf.fit import Fitted
from piva.nerf.render import render
from piva.nerf.splats.scene import SplatScene

CHUNK = 1 << 16  # rays at once
BEFORE = 2.0  # how far before the surface a vertex's ray starts, in samples of the renderer


class Solid(NamedTuple):
    """What has a density and a colour at every point of its box: a field, or the voxels of splats."""

    fitted: Fitted
    radius: float
    step: float  # of the renderer's samples
    captured: bool


class Surface(NamedTuple):
    """Triangles in the scene's world, counter-clockwise from outside."""

    vertices: NDArray[np.float32]  # (n, 3)
    faces: NDArray[np.int64]  # (m, 3)
    normals: NDArray[np.float32]  # (n, 3), unit, outwards


def solid(stored: Stored, settings: MeshSettings) -> Solid:
    """Return a stored field as it is, and splats as voxels of the mesh's resolution."""
    radius, scene = stored.settings.radius, stored.fitted
    if isinstance(scene, SplatScene):
        from piva.nerf.splats.density import as_voxels

        voxels = as_voxels(scene.field, radius, settings.resolution)
        return Solid(voxels, radius, radius / (settings.resolution - 1), stored.captured)
    assert isinstance(scene, Fitted)
    return Solid(scene, radius, stored.settings.step, stored.captured)


def surface(scene: Solid, settings: MeshSettings) -> Surface:
    """Return where the density is `settings.level`, by scikit-image's marching cubes (Lewiner et al. 2003).

    Hollows of an object, which no camera sees, are filled. Raises `InputError` if nothing is left.
    """
    radius, n = scene.radius, settings.resolution
    density = _density(scene, n)
    dense = density > settings.level
    if not scene.captured:
        density[ndimage.binary_fill_holes(dense) & ~dense] = density.max()
    density[_specks(density > settings.level, settings.specks)] = 0
    if density.max() <= settings.level:
        rest = " but specks" if dense.any() else f", at most {density.max():.3g}"
        found, remedy = f"nothing denser than {settings.level:g}{rest}", "lower mesh.level or mesh.specks"
        raise InputError("mesh.level", found, "a level that the field reaches", remedy)
    padded = np.pad(density, 1)  # closed where the scene meets the sides of the box
    places, faces, _, _ = measure.marching_cubes(padded, settings.level, gradient_direction="ascent")
    vertices = ((places - 1) * (2 * radius / (n - 1)) - radius).astype(np.float32)
    return Surface(vertices, faces.astype(np.int64), _normals(vertices, faces))


@torch.no_grad()
def _density(scene: Solid, n: int) -> NDArray[np.float32]:
    """Return the density at n^3 points of the box, [x, y, z], 0 in cells that the renderer skips."""
    (field, occupancy, _), radius = scene.fitted, scene.radius
    line = torch.linspace(-radius, radius, n, device=occupancy.occupied.device)
    density = torch.zeros(n, n, n, device=line.device)
    for x, plane in zip(line, density, strict=True):
        points = torch.stack([x.expand(n, n), *torch.meshgrid(line, line, indexing="ij")], dim=-1).view(-1, 3)
        occupied = _query(points, occupancy.binaries, occupancy.aabbs[0])[0]
        plane.view(-1)[occupied] = field.density(points[occupied])
    return np.asarray(density.cpu().numpy())


def _specks(solid: NDArray[np.bool_], smallest: float) -> NDArray[np.bool_]:
    """Return the connected parts of `solid`, also by corners, smaller than this share of the largest."""
    labels, count = ndimage.label(solid, np.ones((3, 3, 3)))
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    sizes[0] = 0
    small = sizes < smallest * sizes.max()
    small[0] = False
    return np.asarray(small[labels])


def _normals(vertices: NDArray[np.float32], faces: NDArray[np.int32]) -> NDArray[np.float32]:
    """Return each vertex's normal, the area-weighted mean of its triangles'.

    Marching cubes' own follow the density's gradient, which is up to 30 degrees off where the density
    saturates.
    """
    corners = vertices[faces]
    of_faces = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    total = np.stack(
        [np.bincount(faces.ravel(), np.repeat(of_faces[:, axis], 3), len(vertices)) for axis in range(3)],
        axis=1,
    )
    unit = total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)
    return np.asarray(unit, np.float32)


@torch.no_grad()
def colours(scene: Solid, places: NDArray[np.float32], outwards: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return what rays onto these surface points (n, 3) see, sRGB (n, 3) in [0, 1]; `outwards` are unit
    normals.

    The field's colour at the point alone lacks the haze before the surface and the depth behind it, which
    renders have.
    """
    (field, occupancy, _), step = scene.fitted, scene.step
    black, seen = torch.zeros(3, device=occupancy.occupied.device), []
    for start in range(0, len(places), CHUNK):
        x, normal = (
            torch.from_numpy(values[start : start + CHUNK]).to(black) for values in (places, outwards)
        )
        rays = render(field, occupancy, x + BEFORE * step * normal, -normal, black, step)
        seen.append(rays.rgb / rays.opacity.clamp(min=1e-6)[:, None])
    return torch.cat(seen).clamp(0, 1).cpu().numpy()
