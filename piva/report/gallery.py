"""The edits of a section as cards: the original, what each setting made of it, the truth where it is known."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from piva.metrics.table import Column
from piva.report.intervals import Interval
from piva.report.pictures import films, link, thumbnails
from piva.report.sections import EditKey, Measured, Section
from piva.report.tables import measured
from piva.report.texts import number

NUMBERS = (
    "pie/clip_whole",
    "pie/psnr",
    "eval/clip",
    "eval/lpips",
    "truth/psnr",
)  # the first three that there are stand below a picture


@dataclass(frozen=True)
class Shot:
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
    shots: list[Shot]


def cards(section: Section, page: Path, size: int, films_mb: float) -> list[Card]:
    """A card an edit, in the order of their ids. Of several seeds the first is shown."""
    shown = {edit: list(_shown(section, edit)) for edit in sorted(section.edits)}
    folders = [measured.run.edit(edit.id) for edit, all_shown in shown.items() for _, measured in all_shown]
    small = thumbnails(
        (folder / f"{name}.png" for folder in folders for name in ("before", "after", "truth")), size
    )
    turning = films((folder / "turntable.mp4" for folder in folders), page, films_mb)
    columns = [
        column for columns in measured(section).values() for column in columns if column.key in NUMBERS
    ]
    columns = sorted(columns, key=lambda column: NUMBERS.index(column.key))[:3]
    made = []
    for edit, all_shown in shown.items():
        places = [m.run.edit(edit.id) for _, m in all_shown]
        shots = [_plain("original", places, "before.png", small, page)]
        for (i, m), place in zip(all_shown, places, strict=True):
            setting = section.settings[i]
            shots.append(
                Shot(
                    label=setting.label,
                    small=small.get(place / "after.png"),
                    original=link(place / "after.png", page),
                    film=turning.get(place / "turntable.mp4"),
                    score=setting.score,
                    lam="none" if setting.lam is None else f"{setting.lam:g}",
                    numbers=_numbers(columns, m),
                )
            )
        truth = _plain("truth", places, "truth.png", small, page)
        made.append(
            Card(
                edit.id,
                section.edits[edit],
                edit.source,
                edit.target,
                shots + ([truth] if truth.small else []),
            )
        )
    return made


def _shown(section: Section, edit: EditKey) -> Iterator[tuple[int, Measured]]:
    for i, setting in enumerate(section.settings):
        if edit in setting.measured:
            yield i, setting.measured[edit][min(setting.measured[edit])]


def _plain(label: str, places: list[Path], name: str, small: dict[Path, str], page: Path) -> Shot:
    """The same in every run: of the first that has it."""
    place = next((place for place in places if place / name in small), places[0])
    return Shot(label=label, small=small.get(place / name), original=link(place / name, page))


def _numbers(columns: list[Column], m: Measured) -> str:
    words = [
        (c.heading, number(c, Interval(m.row.get(c.key, float("nan")), float("nan"), 1))) for c in columns
    ]
    return ", ".join(f"{heading.rstrip(' ↑↓')} {value}" for heading, value in words if value)
