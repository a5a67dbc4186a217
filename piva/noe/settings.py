"""Define the settings of `python -m piva.noe`; conf/build_noe.yaml explains each key."""

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Interval


@dataclass(frozen=True, kw_only=True)
class BuildNoe:
    """Settings of a build."""

    source: str
    objects: Any
    out: str
    noncommercial: bool
    size: Annotated[int, Interval(ge=8, le=8192)]
    views: Annotated[int, Interval(ge=1, le=65_536)]
    test_views: Annotated[int, Interval(ge=1, le=65_536)]
    distance: Annotated[float, Interval(gt=0, le=10_000)]
    fov_deg: Annotated[float, Interval(ge=1, le=170)]
    elevation_deg: Annotated[float, Interval(ge=-89, le=89)]
    front_deg: float
    longest_side: Annotated[float, Interval(gt=0, le=10_000)]
    workers: Annotated[int, Interval(ge=1, le=1024)]
    prompts: str
    url: str | None
    model: str | None
    timeout_s: Annotated[float, Interval(gt=0, le=86_400)]
    attempts: Annotated[int, Interval(ge=1, le=100)]
