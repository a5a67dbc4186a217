"""Splats as voxels: density and colour at the nodes of a grid, for what asks at points and not along rays."""

from math import log, pi, sqrt
from typing import no_type_check

import numpy as np
import torch
from numba import njit
from torch import Tensor

from piva.nerf.field import FLOOR, SHARPNESS
from piva.nerf.fit import Fitted
from piva.nerf.kernels.threads import run
from piva.nerf.occupancy import Occupancy
from piva.nerf.splats.rasterise import SH0
from piva.nerf.splats.splats import Splats, rotated
from piva.nerf.voxels import Voxels

BLUR = 0.6  # standard deviation in cells that is added to a splat's, so that no sheet slips between nodes
LEAST = 1e-3  # density (1 / scene unit) up to which a splat counts
MOST_OPAQUE = 0.999  # as the rasteriser has it
DENSEST = 1e4  # of a sum, far beyond what stops all light in a cell: softplus has to be inverted


@torch.no_grad()
def as_voxels(splats: Splats, radius: float, nodes: int) -> Fitted:
    """Return the box [-radius, radius]^3 as voxels, `nodes` along a side, on the CPU.

    A splat of opacity o and least standard deviation s has the density -ln(1 - o) / (s sqrt(2 pi)) in its
    middle, so that a ray through its thin side meets as much of it as the rasteriser draws. Colours are those
    of the constant harmonic, averaged by density. What lies outside the box is left out.
    """
    shown, cell = splats.alive().cpu(), 2 * radius / (nodes - 1)
    quats = torch.nn.functional.normalize(shown.quats, dim=1)
    columns = [rotated(quats, axis.expand(len(quats), 3)) for axis in torch.eye(3)]
    rotations = shown.turn.T @ torch.stack(columns, dim=2)  # (n, 3, 3)
    spread = (shown.scales.exp().square() + (BLUR * cell) ** 2).sqrt()
    depth = -torch.log1p(-shown.opacities.sigmoid().clamp(max=MOST_OPAQUE))
    peaks = depth / (spread.amin(dim=1) * sqrt(2 * pi))
    axes = rotations / spread[:, None]  # A A^T is the inverse covariance
    reach = (rotations * spread[:, None]).norm(dim=2)
    colours = (SH0 * shown.sh0[:, 0] + 0.5).clamp(0, 1)
    arrays = [x.contiguous().numpy() for x in (shown.means @ shown.turn, axes, reach, peaks, colours)]
    density, colour = (torch.from_numpy(x) for x in run(_splat, *arrays, radius, nodes))
    there = density[..., None] > 0
    colour = torch.where(there, colour / density[..., None].clamp(min=1e-12), 0.5).movedim(-1, 0)
    raw = _raw_density(density.clamp(max=DENSEST), radius)
    field = Voxels(raw[None, None], torch.logit(colour.contiguous(), eps=1e-4)[None], radius)
    occupancy = Occupancy(radius, nodes // 2)
    occupancy.refresh(field.density, LEAST)
    return Fitted(field, occupancy, None)


def _raw_density(density: Tensor, radius: float) -> Tensor:
    """Return the raw values that `to_density` makes this density of."""
    value = density.double() * radius / SHARPNESS + log(1 + np.exp(FLOOR))
    return (value + torch.log(-torch.expm1(-value))).float()


@njit(cache=True)
@no_type_check
def _splat(means, axes, reach, peaks, colours, radius, nodes):
    """Return density (r, r, r), and the sums of densities times colours (r, r, r, 3)."""
    density = np.zeros((nodes, nodes, nodes), np.float32)
    colour = np.zeros((nodes, nodes, nodes, 3), np.float32)
    cell = 2 * radius / (nodes - 1)
    for i in range(len(means)):
        if not peaks[i] > LEAST:
            continue
        limit = 2 * np.log(peaks[i] / LEAST)  # squared, in standard deviations
        place = (means[i] + radius) / cell  # in cells
        low = np.ceil(np.maximum(place - np.sqrt(limit) * reach[i] / cell, 0)).astype(np.int64)
        high = np.floor(np.minimum(place + np.sqrt(limit) * reach[i] / cell, nodes - 1)).astype(np.int64)
        for a in range(low[0], high[0] + 1):
            for b in range(low[1], high[1] + 1):
                for c in range(low[2], high[2] + 1):
                    squared = _squared(
                        axes[i], (a - place[0]) * cell, (b - place[1]) * cell, (c - place[2]) * cell
                    )
                    if squared < limit:
                        weight = peaks[i] * np.exp(-squared / 2)
                        density[a, b, c] += weight
                        for channel in range(3):
                            colour[a, b, c, channel] += weight * colours[i, channel]
    return density, colour


@njit
@no_type_check
def _squared(axes, x, y, z):
    """Return |A^T (x, y, z)|^2: the squared distance in standard deviations."""
    total = 0.0
    for k in range(3):
        along = x * axes[0, k] + y * axes[1, k] + z * axes[2, k]
        total += along * along
    return total
