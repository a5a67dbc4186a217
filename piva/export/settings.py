"""The settings of piva.export, explained in conf/export.yaml. No torch."""

from dataclasses import dataclass
from typing import Annotated, Any, Literal

from annotated_types import Gt, Interval

from piva.errors import InputError
from piva.ranges import RenderDevice

PARTS = ("mesh", "film", "images", "depth", "alpha", "field", "splats")


@dataclass(frozen=True, kw_only=True)
class MeshSettings:
    """How a surface is found and coloured."""

    resolution: Annotated[int, Interval(ge=8, le=2048)]
    level: Annotated[float, Gt(0)]
    specks: Annotated[float, Interval(ge=0, le=1)]
    texels: Annotated[int, Interval(ge=0, le=64)]

    def __post_init__(self) -> None:
        if self.texels == 1:
            raise InputError("mesh.texels", "1", "0 or at least 2", "a triangle has three corners")


@dataclass(frozen=True, kw_only=True)
class RingSettings:
    """A turntable around an object."""

    views: Annotated[int, Interval(ge=1, le=100_000)]
    elevation_deg: Annotated[float, Interval(ge=-89, le=89)]
    fov_deg: Annotated[float, Interval(ge=1, le=170)]
    distance: Annotated[float, Interval(gt=0, le=10_000)]


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What to export, and how."""

    what: list[str] | None  # None: all but "splats"
    which: Literal["edit", "original"]
    out: str | None
    device: RenderDevice
    path: str | None
    size: Annotated[int, Interval(ge=16, le=8192)] | None
    fps: Annotated[int, Interval(ge=1, le=120)] | None
    ring: RingSettings
    mesh: MeshSettings
    splats: Any  # Conversion

    def __post_init__(self) -> None:
        if self.what is not None and not (self.what and set(self.what) <= set(PARTS)):
            wanted, remedy = f"some of {', '.join(PARTS)}", "for example what=[mesh,film]"
            raise InputError("what", str(self.what), wanted, remedy)

    def parts(self) -> list[str]:
        """Return the parts asked for; of all those that need no fit."""
        return [part for part in PARTS if part != "splats"] if self.what is None else self.what
