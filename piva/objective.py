"""What a run answers a sweeper that searches: conf/config.yaml's node `objective`."""

from collections.abc import Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Annotated

from annotated_types import Ge

from piva.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Objective:
    """The mean of `metric` less `penalty` times the excess of `limited` over `limit` (conf/config.yaml)."""

    metric: str | None
    limited: str | None
    limit: float | None
    penalty: Annotated[float, Ge(0)]

    def __post_init__(self) -> None:
        if (self.limited is None) != (self.limit is None) or (self.limited and not self.metric):
            found = ", ".join(f"{key}={getattr(self, key)}" for key in ("metric", "limited", "limit"))
            raise InputError("objective", found, "a metric, and a limit for what is limited")

    def of(self, mean: Mapping[str, float | None]) -> float | None:
        """Return the number to maximise, None without a metric. Raises `InputError` if `mean` lacks it."""
        if self.metric is None:
            return None
        value = _read("metric", self.metric, mean)
        if self.limited is None or self.limit is None:
            return value
        return value - self.penalty * max(0.0, _read("limited", self.limited, mean) - self.limit)


def _read(key: str, name: str, mean: Mapping[str, float | None]) -> float:
    value = mean.get(name)
    if value is None:
        known = [metric for metric, there in mean.items() if isinstance(there, float)]
        near = get_close_matches(name, known, n=3) or known
        raise InputError(
            f"objective.{key}", repr(name), "a metric that this run measures", f"such as {', '.join(near)}"
        )
    return value
