"""Where an edit is seen from: cameras that circle an object, or the frames of a captured scene themselves."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from piva.cameras.lens import pinhole
from piva.cameras.poses import sample_camera
from piva.cameras.trajectories import Camera, Trajectory, through, turntable
from piva.datasets.scene import Views
from piva.tasks.image import fitting

if TYPE_CHECKING:
    import torch


@runtime_checkable
class Viewpoints(Protocol):
    """The cameras of one edit."""

    @property
    def size(self) -> int:
        """Views that are optimised have about size^2 pixels."""

    def draw(self, generator: "torch.Generator") -> Camera:
        """Draw a camera to optimise through, at the run's resolution."""

    def trajectory(self) -> Trajectory:
        """Return the cameras to measure the edit from and to film it."""


@dataclass(frozen=True, kw_only=True)
class Orbits:
    """Cameras around the origin: random within ranges (low, high), and a turntable (the paper, A.1)."""

    size: int  # pixels a side of what is optimised
    elevation_deg: tuple[float, float]
    fov_deg: tuple[float, float]
    distance: tuple[float, float]
    turntable: int  # views
    turntable_size: int
    turntable_elevation_deg: float
    turntable_fov_deg: float
    turntable_distance: float

    def draw(self, generator: "torch.Generator") -> Camera:
        c2w, fov = sample_camera(generator, self.elevation_deg, self.fov_deg, self.distance)
        return c2w, pinhole(fov, self.size)

    def trajectory(self) -> Trajectory:
        return turntable(
            self.turntable,
            self.turntable_size,
            self.turntable_elevation_deg,
            self.turntable_fov_deg,
            self.turntable_distance,
        )


@dataclass(frozen=True, kw_only=True)
class Frames:
    """A captured scene's own cameras: any training frame, whole; and a trajectory through the test frames."""

    views: Views
    size: int  # a frame is optimised at about size^2 pixels in its own proportions
    multiple: int  # of which the sides of a frame are multiples
    trajectory_length: int  # views
    trajectory_size: int  # pixels of the longer side of its views

    def draw(self, generator: "torch.Generator") -> Camera:
        import torch

        train = self.views.train
        frame = train[int(torch.randint(len(train), (1,), generator=generator, device=generator.device))]
        lens = self.views.lenses[frame]
        height, width = fitting((lens.height, lens.width), self.size, self.multiple)
        return self.views.c2w[frame], lens.resized(width, height)

    def trajectory(self) -> Trajectory:
        test = self.views.test
        return through(
            self.views.c2w[test], self.views.lenses[test[0]], self.trajectory_length, self.trajectory_size
        )
