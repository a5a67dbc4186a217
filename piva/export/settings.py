"""The settings of piva.export, explained in conf/export.yaml. No torch."""

from dataclasses import dataclass
from typing import Any

from piva.errors import InputError
from piva.ranges import a_device, above, at_least, between, one_of

PARTS = ("mesh", "film", "images", "depth", "alpha", "field")


@dataclass(frozen=True, kw_only=True)
class MeshSettings:
    """How a surface is found and coloured."""

    resolution: int = at_least(8)
    level: float = above(0)
    specks: float = between(0, 1)
    texels: int = between(0, 64)

    def __post_init__(self) -> None:
        if self.texels == 1:
            raise InputError("mesh.texels", "1", "0 or at least 2", "a triangle has three corners")


@dataclass(frozen=True, kw_only=True)
class RingSettings:
    """Cameras round an object."""

    views: int = at_least(1)
    elevation_deg: float = between(-89, 89)
    fov_deg: float = between(1, 170)
    distance: float = above(0)


@dataclass(frozen=True, kw_only=True)
class ExportSettings:
    """What to take away, and how."""

    what: list[str]
    which: str = one_of("edit", "original")
    out: str | None
    device: str = a_device()
    path: str | None
    size: int | None = between(16, 8192)
    fps: int | None = between(1, 120)
    ring: Any  # RingSettings
    mesh: Any  # MeshSettings

    def __post_init__(self) -> None:
        if not self.what or not set(self.what) <= set(PARTS):
            raise InputError(
                "what", str(self.what), f"some of {', '.join(PARTS)}", "for example what=[mesh,film]"
            )
