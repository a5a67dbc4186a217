"""A card for each edit of a section: the original, what each setting made of it, the truth where it is known.

Small copies of the pictures are embedded in the page; the originals are linked.
"""

import base64
import io
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote

import numpy as np
from jaxtyping import UInt8
from PIL import Image

from piva.files import is_regular
from piva.images import BROKEN
from piva.metrics.table import Column
from piva.report.intervals import Interval
from piva.report.sections import Measured, Section, Setting
from piva.report.tables import measured, number

QUALITY = 80  # of WebP
NUMBERS = ("truth/psnr", "pie/psnr", "pie/clip_whole", "eval/clip", "eval/lpips")  # the first two measured
COMPARED = 32  # pixels a side at which pictures of settings are compared


@dataclass(frozen=True)
class Small:
    """A small copy of a picture, and its pixels, smaller still."""

    uri: str
    width: int
    height: int
    pixels: UInt8[np.ndarray, "h w 3"]


@dataclass(frozen=True)
class Picture:
    """One picture of a card: `role` is before, truth or after; only an edit has tags, which filters go by."""

    label: str
    role: str
    small: Small | None  # None where there is no picture
    original: str  # relative URL
    film: str | None = None  # data URI or relative URL
    tags: Mapping[str, str] = field(default_factory=dict)
    numbers: str = ""


@dataclass(frozen=True)
class Card:
    """One edit; `spread` is how much its settings' pictures differ, in [0, 0.5]."""

    id: str
    type: str
    source: str
    target: str
    pictures: list[Picture]
    spread: float


def cards(section: Section, page: Path, size: int, films_mb: float) -> list[Card]:
    """Return a card for each edit, most different settings first. Of several seeds the first is shown."""
    edits = {
        edit: [(s, s.measured[edit][min(s.measured[edit])]) for s in section.settings if edit in s.measured]
        for edit in sorted(section.edits)
    }
    folders = {edit: [m.run.edit(edit.id) for _, m in shown] for edit, shown in edits.items()}
    every = [folder for of_edit in folders.values() for folder in of_edit]
    small = thumbnails((f / f"{name}.png" for f in every for name in ("before", "after", "truth")), size)
    turntables = films((folder / "turntable.mp4" for folder in every), page, films_mb)
    columns = [
        column for columns in measured(section).values() for column in columns if column.key in NUMBERS
    ]
    columns = sorted(columns, key=lambda column: NUMBERS.index(column.key))[:2]

    def shared(role: str, of_edit: list[Path]) -> Picture:
        """Return a picture that all runs have in common, from the first that has it."""
        name = f"{role}.png"
        path = next((folder for folder in of_edit if folder / name in small), of_edit[0]) / name
        return Picture(label=role, role=role, small=small.get(path), original=link(path, page))

    made = []
    for edit, shown in edits.items():
        truth = shared("truth", folders[edit])
        after = [
            Picture(
                label=setting.label,
                role="after",
                small=small.get(folder / "after.png"),
                original=link(folder / "after.png", page),
                film=turntables.get(folder / "turntable.mp4"),
                tags=_tags(setting, m),
                numbers=_numbers(columns, m),
            )
            for (setting, m), folder in zip(shown, folders[edit], strict=True)
        ]
        pictures = [shared("before", folders[edit]), *([truth] if truth.small else []), *after]
        of_edit = edit.id, section.edits[edit], edit.source, edit.target
        made.append(Card(*of_edit, pictures, spread([each.small for each in after if each.small])))
    return sorted(made, key=lambda card: -card.spread)


def spread(pictures: Sequence[Small]) -> float:
    """Return the root mean square, over pixels and channels, of the standard deviation over pictures."""
    variance = np.var([picture.pixels for picture in pictures], axis=0) if pictures else np.zeros(1)
    return float(np.sqrt(variance.mean())) / 255


def _tags(setting: Setting, m: Measured) -> dict[str, str]:
    """Return what a picture is chosen by: what its label names, and the budget if one was asked."""
    lam = {} if setting.lam is None else {"λ": f"{setting.lam:g}"}
    passes = {} if (asked := m.run.config.get("passes")) is None else {"passes": str(asked)}
    return {"score": setting.score, **lam, **dict(setting.told), **passes}


def _numbers(columns: list[Column], m: Measured) -> str:
    shown = [(c.heading, number(c, Interval(m.row.get(c.key, math.nan), math.nan, 1))) for c in columns]
    return ", ".join(f"{heading.rstrip(' ↑↓')} {value}" for heading, value in shown if value)


def thumbnails(paths: Iterable[Path], size: int) -> dict[Path, Small]:
    """Return WebP copies of at most `size` pixels a side, of those files that are pictures."""
    wanted = [path for path in dict.fromkeys(paths) if is_regular(path)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow works outside Python's lock
        small = pool.map(lambda path: _thumbnail(path, size), wanted)
    return {path: each for path, each in zip(wanted, small, strict=True) if each}


def _thumbnail(path: Path, size: int) -> Small | None:
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2)
            data = io.BytesIO()
            small.save(data, "WEBP", quality=QUALITY, method=1)
            pixels = np.asarray(small.resize((COMPARED, COMPARED)))
    except BROKEN:
        return None
    return Small(data_uri(data.getvalue(), "image/webp"), *small.size, pixels)


def films(paths: Iterable[Path], page: Path, limit_mb: float) -> dict[Path, str]:
    """Return each film's data URI if all have at most `limit_mb` together, else its link."""
    found = [path for path in dict.fromkeys(paths) if is_regular(path)]
    if sum(path.stat().st_size for path in found) <= limit_mb * 1e6:
        return {path: data_uri(path.read_bytes(), "video/mp4") for path in found}
    return {path: link(path, page) for path in found}


def link(path: Path, page: Path) -> str:
    """Return a relative URL from the page to a file."""
    return quote(Path(os.path.relpath(path.resolve(), page.resolve().parent)).as_posix())


def data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"
