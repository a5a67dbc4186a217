"""Which cells of space hold something: nerfacc's `OccGridEstimator`, fed from a field and able to grow.

On CUDA the samples come from nerfacc's own kernel where it works, elsewhere from march.py.
"""

import logging
from collections.abc import Callable
from functools import cache

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from nerfacc.estimators.occ_grid import OccGridEstimator
from torch import Tensor

from piva.errors import one_line
from piva.nerf.march import march

log = logging.getLogger(__name__)

POINTS = 1 << 19  # asked for their density at once: with a hash grid's some 700 bytes a point, 0.4 GB

Density = Callable[[Float[Tensor, "m 3"]], Float[Tensor, "m"]]


class Occupancy(OccGridEstimator):  # type: ignore[misc]
    """`levels` grids of `resolution`^3 cells, all empty at first; level l spans [-2^l radius, 2^l radius]^3.

    State: nerfacc's buffers `occs` (density in a cell) and `binaries` (occupied).
    """

    occs: Tensor
    binaries: Tensor
    aabbs: Tensor

    def __init__(self, radius: float, resolution: int, levels: int = 1) -> None:
        super().__init__([-radius] * 3 + [radius] * 3, resolution, levels)

    @property
    def occupied(self) -> Bool[Tensor, "l r r r"]:
        """Indexed [level, x, y, z]."""
        return self.binaries

    def occupy(self, cells: Bool[Tensor, "*l r r r"]) -> None:
        """Mark these cells as occupied, and no others; cells without a level hold for every level."""
        self.binaries.copy_(cells)

    @torch.no_grad()
    def refresh(
        self,
        density: Density,
        threshold: float,
        *,
        dilate: int = 0,
        decay: float = 0.0,
        within: Bool[Tensor, "*l r r r"] | None = None,
    ) -> None:
        """Occupy the cells denser than `threshold`, and every cell at most `dilate` cells from one of them
        (per axis).

        Cells of level l are 2^l as long and have the threshold / 2^l: the same share of the light that
        crosses them is stopped. An edit that adds parts needs room around what is there (`dilate` >= 2); one
        that recolours is 3 to 6 times cheaper without. A cell's density is the highest at its corners and
        centre: unlike nerfacc's update, nothing is random. It is remembered as in nerfacc, max(decay *
        before, now). Cells outside `within` stay empty.
        """
        now = [
            _cell_density(density, cells, box).flatten()
            for cells, box in zip(self.occupied, self.aabbs, strict=True)
        ]
        self.occs = torch.maximum(self.occs * decay, torch.cat(now))
        dense = self.occs.view_as(self.occupied)
        cells = torch.stack(
            [dilated(grid > threshold / 2**level, dilate) for level, grid in enumerate(dense)]
        )
        self.occupy(cells if within is None else cells & within)

    def open_box(self) -> None:
        """Mark every cell of the innermost level as occupied too, until the next `refresh`."""
        self.binaries[0].fill_(True)

    def sample(
        self,
        rays_o: Float[Tensor, "n 3"],
        rays_d: Float[Tensor, "n 3"],
        near: Float[Tensor, "n"],
        step: float,
        cone: float = 0.0,
    ) -> tuple[Int[Tensor, "m"], Float[Tensor, "m"], Float[Tensor, "m"]]:
        """Return the packed samples of all rays in occupied cells, (ray_indices, t_starts, t_ends), as
        `march` does.
        """
        if rays_o.is_cuda and nerfacc_works(rays_o.device):
            samples: tuple[Tensor, Tensor, Tensor] = self.sampling(
                rays_o, rays_d, t_min=near, render_step_size=step, cone_angle=cone
            )
            return samples
        return march(rays_o, rays_d, self.occupied, self.aabbs[0], near, step, cone)


def dilated(cells: Bool[Tensor, "x y z"], by: int) -> Bool[Tensor, "x y z"]:
    """Return every cell at most `by` cells from one of `cells` along each axis: each cell grows to a cube."""
    grown = cells[None].float()
    for axis in range(3):
        reach = [by if i == axis else 0 for i in range(3)]
        grown = F.max_pool3d(grown, [2 * r + 1 for r in reach], stride=1, padding=reach)
    return grown[0] > 0


def _cell_density(
    density: Density, cells: Bool[Tensor, "x y z"], box: Float[Tensor, "6"]
) -> Float[Tensor, "x y z"]:
    """Return the highest density among the eight corners and the centre of each cell."""
    size = torch.stack([side / n for side, n in zip(box[3:] - box[:3], cells.shape, strict=True)])

    def at(index: Tensor) -> Tensor:  # (x, y, z, 3), in cells from the lower corner of the box
        points = (box[:3] + index * size).reshape(-1, 3)
        return torch.cat([density(part) for part in points.split(POINTS)]).view(index.shape[:3])

    axes = [torch.arange(n + 1.0, device=box.device) for n in cells.shape]
    corners = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
    around = F.max_pool3d(at(corners)[None], kernel_size=2, stride=1)[0]
    return torch.maximum(around, at(corners[:-1, :-1, :-1] + 0.5))


@cache
def nerfacc_works(device: torch.device) -> bool:
    """Return whether nerfacc's kernel samples rays on this device, by one call of it; warn if it does not.

    The first call of a process may compile the kernel. What stands in its way shows only then, as an error of
    any kind: no compiler, a broken one, one for another CUDA, what a build that failed has left.
    """
    try:
        cube = Occupancy(1.0, 1).to(device)
        cube.open_box()
        origin, direction = torch.tensor([[[-2.0, 0.1, 0.2]], [[0.96, 0.2, 0.2]]], device=device)
        _, t_starts, _ = cube.sampling(origin, direction, render_step_size=0.5)
        if len(t_starts) == 4:  # the ray is in the cube from t = 1.04 to 3.13
            return True
        reason = f"it finds {len(t_starts)} samples where there are 4"
    except Exception as error:
        full = isinstance(error, torch.OutOfMemoryError) or "cudaErrorMemoryAllocation" in str(
            error
        )  # Thrust's
        if full:
            raise
        reason = f"{type(error).__name__}: {one_line(error)[:300]}"
    log.warning("nerfacc's kernel does not work on %s, torch marches instead, slower (%s)", device, reason)
    return False
