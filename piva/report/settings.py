"""The settings of piva.report, checked before anything is read."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from annotated_types import Ge, Interval

from piva.errors import InputError


@dataclass(frozen=True, kw_only=True)
class ReportSettings:
    """The keys of conf/report.yaml, explained there."""

    out: str | None
    plot: str | None
    title: str
    baseline: str
    x: str
    y: str
    thumbnail: Annotated[int, Interval(ge=32, le=512)]
    films_mb: Annotated[float, Ge(0)]

    def __post_init__(self) -> None:
        for key, suffix in (("out", ".html"), ("plot", ".png")):
            path = getattr(self, key)
            if path is not None and Path(path).suffix.lower() != suffix:
                raise InputError(key, repr(path), f"a file name that ends in {suffix}, or null")
            if path is not None and not Path(path).expanduser().absolute().parent.is_dir():
                raise InputError(
                    key,
                    f"no folder {str(Path(path).parent)!r}",
                    "a file in a folder that exists",
                    "make the folder",
                )
        if self.out is None and self.plot is None:
            raise InputError(
                "out", "null, and plot too", "something to write", "give out=report.html or plot=tradeoff.png"
            )
