"""Settings of a voxel field and its fit, apart from the code that uses them: checking them must not need torch."""

from dataclasses import dataclass

from piva.errors import InputError
from piva.settings import above, at_least, between


@dataclass(frozen=True, kw_only=True)
class Fit:
    """Settings of a fit. Lengths are in scene units."""

    radius: float = above(0)  # half the side of the box
    resolutions: list[int]  # nodes along a side of the field, coarse to fine
    steps: list[int]  # optimiser steps at each of these resolutions
    rays: int = at_least(1)  # rays a step
    step: float = above(0)  # length of a sample along a ray
    cone: float = at_least(0)  # samples further away than step / cone are as long as cone times their distance
    levels: int = at_least(
        1
    )  # of the occupancy grid, each twice as wide; with more than one the field is of all space (space.py)
    lr_density: float = above(0)
    lr_colour: float = above(0)
    lr_end: float = above(0)  # learning rates fall by this factor, exponentially, over the steps at the finest resolution
    occupancy: int = at_least(1)  # cells along a side of the occupancy grid
    threshold: float = at_least(0)  # density (1 / scene unit) up to which a cell counts as empty
    refresh_every: int = at_least(1)  # steps between updates of the occupancy grid
    decay: float = between(0, 1)  # share of a cell's remembered density that survives an update

    def __post_init__(self) -> None:
        if not self.steps or len(self.steps) != len(self.resolutions) or min(self.steps) < 1:
            raise InputError("steps", f"{self.steps} for resolutions {self.resolutions}", "at least one step for each of them")
        if self.levels > 8:
            raise InputError("levels", f"{self.levels}", "at most 8: as many as nerfacc's kernel takes, 128 times the radius")
        if min(self.resolutions) < 2:
            raise InputError("resolutions", f"{self.resolutions}", "at least two nodes along a side")

    @property
    def numbers(self) -> int:
        """Parameters of the field at its finest."""
        return int(4 * self.resolutions[-1] ** 3)
