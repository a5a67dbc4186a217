"""Unit primitives (extents 1, centred at the origin) from trimesh; every toy is a list of these, stretched and moved."""

from functools import cache

import numpy as np
import trimesh
from trimesh import creation

SMOOTH = {"ball", "cylinder", "cone", "cup", "ring", "vase", "dome", "frustum"}  # the others have flat faces
SECTIONS = 40

# Half profiles (radius, z) of the bodies of revolution.
PROFILES = {
    "cylinder": [(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0, 0.5)],
    "frustum": [(0, -0.5), (0.5, -0.5), (0.3, 0.5), (0, 0.5)],
    "cone": [(0, -0.5), (0.5, -0.5), (0, 0.5)],
    "cup": [(0, -0.5), (0.5, -0.5), (0.5, 0.5), (0.42, 0.5), (0.42, -0.38), (0, -0.38)],
    "vase": [
        (0, -0.5),
        (0.26, -0.5),
        (0.42, -0.36),
        (0.5, -0.16),
        (0.44, 0.06),
        (0.25, 0.24),
        (0.21, 0.36),
        (0.34, 0.5),
    ]
    + [(0.28, 0.5), (0.16, 0.36), (0, 0.30)],
    "dome": [(0, -0.5), (0.5, -0.5)]
    + [(0.5 * np.cos(a), -0.5 + np.sin(a)) for a in np.linspace(0.14, np.pi / 2, 9)],
}


@cache
def primitive(shape: str) -> trimesh.Trimesh:
    """The unit mesh of one shape name; edges sharper than 40 degrees are split so that smooth normals keep them."""
    match shape:
        case "box":
            mesh = creation.box((1, 1, 1))
        case "ball":
            mesh = creation.icosphere(subdivisions=3, radius=0.5)
        case "ring":
            mesh = creation.torus(0.39, 0.11, major_sections=SECTIONS, minor_sections=16)
            mesh.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
            mesh.apply_scale(1 / mesh.extents)
        case "fin":  # a right-angled triangle, its upright side at -x
            outline = [(-0.5, -0.5), (0.5, -0.5), (-0.5, 0.5)]
            corners = [(x, y, z) for y in (-0.5, 0.5) for x, z in outline]
            faces = [(0, 1, 2), (3, 5, 4), (0, 3, 4), (0, 4, 1), (1, 4, 5), (1, 5, 2), (2, 5, 3), (2, 3, 0)]
            mesh = trimesh.Trimesh(corners, faces)
        case "roof":
            ridge = [
                (-0.5, -0.5, -0.5),
                (0.5, -0.5, -0.5),
                (0.5, 0.5, -0.5),
                (-0.5, 0.5, -0.5),
                (-0.5, 0, 0.5),
                (0.5, 0, 0.5),
            ]
            mesh = trimesh.Trimesh(
                ridge,
                [(0, 1, 5), (0, 5, 4), (2, 3, 4), (2, 4, 5), (1, 2, 5), (3, 0, 4), (0, 3, 2), (0, 2, 1)],
            )
        case _:
            mesh = creation.revolve(np.array(PROFILES[shape], float), sections=SECTIONS)
    return trimesh.graph.smooth_shade(mesh, angle=np.radians(40)) if shape in SMOOTH else mesh
