"""The papers' tables of measured rows: rows hold raw values, the factors of the papers are here alone."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Column:
    """One metric of a table, and what leaving the original alone scores: a number, or the key where that was
    measured; and the key of what the truth itself scores, where that is no matter of course.
    """

    heading: str
    key: str
    factor: float
    digits: int
    nothing: float | str
    best: str | None = None


TABLES: dict[str, list[Column]] = {
    "PIE-Bench (factors of Table 1)": [
        Column("structure ×10³ ↓", "pie/structure", 1e3, 2, 0),
        Column("PSNR ↑", "pie/psnr", 1, 2, math.inf),
        Column("LPIPS ×10³ ↓", "pie/lpips", 1e3, 2, 0),
        Column("MSE ×10⁴ ↓", "pie/mse", 1e4, 2, 0),
        Column("SSIM ×10² ↑", "pie/ssim", 1e2, 2, 1),
        Column("CLIP whole ×10² ↑", "pie/clip_whole", 1e2, 2, "nothing/clip_whole"),
        Column("CLIP edited ×10² ↑", "pie/clip_edited", 1e2, 2, "nothing/clip_edited"),
        Column("structure corrected ×10³ ↓", "pie/structure_corrected", 1e3, 2, 0),
    ],
    "against the original and the prompts (Tables 2 and 3)": [
        Column("CLIP ↑", "eval/clip", 1, 4, "nothing/clip", "best/clip"),
        Column("CLIP direction ↑", "eval/clip_direction", 1, 4, 0),
        Column("PSNR to the original ↑", "eval/psnr", 1, 2, math.inf),
        Column("LPIPS to the original ↓", "eval/lpips", 1, 4, 0),
        Column("saturation", "eval/saturation", 1, 3, "nothing/saturation", "best/saturation"),
    ],
    "known truth": [
        Column("PSNR ↑", "truth/psnr", 1, 2, "nothing/psnr"),
        Column("inside ↑", "truth/psnr_inside", 1, 2, "nothing/psnr_inside"),
        Column("outside ↑", "truth/psnr_outside", 1, 2, "nothing/psnr_outside"),
        Column("LPIPS ↓", "truth/lpips", 1, 4, "nothing/lpips"),
        Column("success % ↑", "truth/success", 1e2, 0, "nothing/success", "best/success"),
    ],
}


def table(rows: Sequence[Mapping[str, Any]], networks: Mapping[str, str], missing: Sequence[str] = ()) -> str:
    """Return Markdown: for each kind of metrics the mean over the edits, under the unedited original's score.

    Args:
        rows: of metrics.csv, all measured with `networks`.
        networks: named below the tables, so that numbers of others are not put beside them unawares.
        missing: ids of edits that were not measured.
    """
    mean = means(rows)
    lines: list[str] = []
    for title, columns in TABLES.items():
        measured = [column for column in columns if column.key in mean]
        if measured:
            lines += [f"{title}, {len(rows)} edits", "", *_grid(measured, mean), ""]
    lines += [_gaps(rows, mean)] if _gaps(rows, mean) else []
    lines += [f"not measured, no picture: {', '.join(missing)}"] if missing else []
    lines += ["networks: " + ("; ".join(f"{name}: {what}" for name, what in networks.items()) or "none")]
    return "\n".join(lines) + "\n"


def means(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return each number's mean over the rows that have one (not nan); nan where none has."""
    keys = dict.fromkeys(key for row in rows for key, value in row.items() if isinstance(value, float))
    kept = {key: [row[key] for row in rows if not math.isnan(row.get(key, math.nan))] for key in keys}
    return {key: sum(values) / len(values) if values else math.nan for key, values in kept.items()}


def _grid(columns: Sequence[Column], mean: Mapping[str, float]) -> list[str]:
    nothing = [mean.get(c.nothing, math.nan) if isinstance(c.nothing, str) else c.nothing for c in columns]
    return [
        "| | " + " | ".join(column.heading for column in columns) + " |",
        "|---" * (len(columns) + 1) + "|",
        "| do nothing | " + " | ".join(map(_shown, columns, nothing)) + " |",
        "| edits | " + " | ".join(_shown(column, mean[column.key]) for column in columns) + " |",
    ]


def _shown(column: Column, value: float) -> str:
    return "∞" if value == math.inf else f"{column.factor * value:.{column.digits}f}"


def _gaps(rows: Sequence[Mapping[str, Any]], mean: Mapping[str, float]) -> str:
    """Which means are over fewer edits than there are."""
    counts = {key: sum(not math.isnan(row.get(key, math.nan)) for row in rows) for key in mean}
    short = {key: count for key, count in counts.items() if count < len(rows)}
    return "means over fewer edits: " + ", ".join(f"{key} {n}" for key, n in short.items()) if short else ""
