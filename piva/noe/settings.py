"""What `python -m piva.noe` can be told; conf/build_noe.yaml explains each key."""

from dataclasses import dataclass
from typing import Any

from piva.ranges import above, at_least, between


@dataclass(frozen=True, kw_only=True)
class BuildNoe:
    """Settings of a build."""

    source: str
    objects: Any
    out: str
    noncommercial: bool
    size: int = at_least(8)
    views: int = at_least(1)
    test_views: int = at_least(1)
    distance: float = above(0)
    fov_deg: float = between(1, 170)
    elevation_deg: float = between(-89, 89)
    front_deg: float
    longest_side: float = above(0)
    workers: int = at_least(1)
    prompts: str
    url: str | None
    model: str | None
    timeout_s: float = above(0)
    attempts: int = at_least(1)
