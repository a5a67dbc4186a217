"""A card for each edit of a section: the original, what each setting made of it, the truth where it is known.

Small copies of the pictures are embedded in the page; the originals are linked.
"""

import base64
import io
import math
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

from PIL import Image

from piva.files import is_regular
from piva.images import BROKEN
from piva.metrics.table import Column
from piva.report.intervals import Interval
from piva.report.sections import Measured, Section
from piva.report.tables import measured, number

QUALITY = 80  # of WebP
NUMBERS = ("pie/clip_whole", "pie/psnr", "eval/clip", "eval/lpips", "truth/psnr")  # the first three measured


@dataclass(frozen=True)
class Picture:
    """One picture of a card."""

    label: str
    small: str | None  # data URI; None where there is no picture
    original: str  # relative URL
    film: str | None = None  # data URI or relative URL
    score: str = ""  # "" for the original and the truth, which no filter hides
    lam: str = ""
    numbers: str = ""


@dataclass(frozen=True)
class Card:
    """One edit."""

    id: str
    type: str
    source: str
    target: str
    pictures: list[Picture]


def cards(section: Section, page: Path, size: int, films_mb: float) -> list[Card]:
    """Return a card for each edit, by id. Of several seeds the first is shown."""
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
    columns = sorted(columns, key=lambda column: NUMBERS.index(column.key))[:3]

    def shared(label: str, of_edit: list[Path], name: str) -> Picture:
        """Return a picture that all runs have in common, from the first that has it."""
        path = next((folder for folder in of_edit if folder / name in small), of_edit[0]) / name
        return Picture(label=label, small=small.get(path), original=link(path, page))

    made = []
    for edit, shown in edits.items():
        pictures = [shared("original", folders[edit], "before.png")]
        for (setting, m), folder in zip(shown, folders[edit], strict=True):
            picture = Picture(
                label=setting.label,
                small=small.get(folder / "after.png"),
                original=link(folder / "after.png", page),
                film=turntables.get(folder / "turntable.mp4"),
                score=setting.score,
                lam="none" if setting.lam is None else f"{setting.lam:g}",
                numbers=_numbers(columns, m),
            )
            pictures.append(picture)
        truth = shared("truth", folders[edit], "truth.png")
        pictures += [truth] if truth.small else []
        made.append(Card(edit.id, section.edits[edit], edit.source, edit.target, pictures))
    return made


def _numbers(columns: list[Column], m: Measured) -> str:
    shown = [(c.heading, number(c, Interval(m.row.get(c.key, math.nan), math.nan, 1))) for c in columns]
    return ", ".join(f"{heading.rstrip(' ↑↓')} {value}" for heading, value in shown if value)


def thumbnails(paths: Iterable[Path], size: int) -> dict[Path, str]:
    """Return data URIs of WebP copies of at most `size` pixels a side, of those files that are pictures."""
    wanted = [path for path in dict.fromkeys(paths) if is_regular(path)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # Pillow works outside Python's lock
        small = pool.map(lambda path: _thumbnail(path, size), wanted)
    return {path: uri for path, uri in zip(wanted, small, strict=True) if uri}


def _thumbnail(path: Path, size: int) -> str | None:
    try:
        with Image.open(path) as picture:
            small = picture.convert("RGB")
            small.thumbnail((size, size), Image.Resampling.BICUBIC, reducing_gap=2)
            data = io.BytesIO()
            small.save(data, "WEBP", quality=QUALITY, method=1)
    except BROKEN:
        return None
    return data_uri(data.getvalue(), "image/webp")


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
