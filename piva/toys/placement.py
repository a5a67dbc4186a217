"""How big toys are and where they stand, so that no camera cuts them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from piva.toys.world import Toy, bounds, renderer


def placement(toys: Sequence[Toy], distance: float, fov_deg: float) -> tuple[NDArray[Any], float]:
    """What `toys` together are centred at (3,), and their scale: longest side 2, less if a view would cut one of them.

    The views are those of cameras at `distance` from the origin that look at it from anywhere and span `fov_deg`.
    """
    centre, extent = bounds(toys)
    reach = max(
        float(np.linalg.norm(s.mesh.vertices, axis=1).max())
        for toy in toys
        for s in renderer(toy, centre, 1.0).surfaces
    )
    widest = (
        0.98 * distance * float(np.sin(np.radians(fov_deg) / 2))
    )  # radius of a ball that every view holds
    return centre, min(2 / extent, widest / reach)
