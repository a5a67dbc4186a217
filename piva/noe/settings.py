"""Define the settings of `python -m piva.noe`; conf/build_noe.yaml explains each key."""

from dataclasses import dataclass
from typing import Annotated, Any

from annotated_types import Ge, Gt, Interval


@dataclass(frozen=True, kw_only=True)
class BuildNoe:
    """Settings of a build."""

    source: str
    objects: Any
    out: str
    noncommercial: bool
    size: Annotated[int, Ge(8)]
    views: Annotated[int, Ge(1)]
    test_views: Annotated[int, Ge(1)]
    distance: Annotated[float, Gt(0)]
    fov_deg: Annotated[float, Interval(ge=1, le=170)]
    elevation_deg: Annotated[float, Interval(ge=-89, le=89)]
    front_deg: float
    longest_side: Annotated[float, Gt(0)]
    workers: Annotated[int, Ge(1)]
    prompts: str
    url: str | None
    model: str | None
    timeout_s: Annotated[float, Gt(0)]
    attempts: Annotated[int, Ge(1)]
