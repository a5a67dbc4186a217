"""The page: everything that the template shows, and the template."""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from piva import __version__
from piva.report.gallery import Card, data_uri
from piva.report.intervals import Paired
from piva.report.sections import PASSES, Section
from piva.report.tables import IDENTITY, TRUTH, Cell, Table, shown, significant, to_csv, to_latex
from piva.runs.folder import RunFolder


@dataclass(frozen=True)
class Part:
    """A section, ready to be shown."""

    section: Section
    means: list[Table]
    pairs: list[Table]
    types: list[Table]
    tradeoff: str | None
    drift: str | None
    cards: list[Card]

    @property
    def runs(self) -> int:
        return int(self.section.facts["runs"])


def write_page(
    parts: list[Part], left_out: dict[str, str], path: Path, title: str, axes: tuple[str, str, str]
) -> None:
    """Write the page, and its tables as CSV and LaTeX into the folder `<name>_tables` beside it.

    Args:
        parts: what to show, in this order.
        left_out: runs and edits that were found but are not shown, and why.
        path: of the page; the links of `parts` are relative to it.
        title: of the page.
        axes: the two metrics of the curve, and the score that the others are compared with.
    """
    environment = Environment(
        loader=PackageLoader("piva.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.globals |= {"shown": shown, "significant": significant, "anchors": (IDENTITY, TRUTH)}
    environment.globals |= {"roles": _roles, "dict": dict}
    environment.globals |= {
        "counts": _counts,
        "filters": _filters,
        "differing": _differing,
    }
    environment.globals["csv_uri"] = lambda table: data_uri(to_csv(table).encode(), "text/csv")
    environment.globals["latex_uri"] = lambda table: data_uri(to_latex(table).encode(), "text/x-tex")
    own = files("piva.report")
    x, y, baseline = axes
    text = environment.get_template("page.html.j2").render(
        title=title,
        parts=parts,
        left_out=left_out,
        baseline=baseline.upper(),
        x=x,
        y=y,
        is_budget=x == PASSES,
        style=(own / "style.css").read_text(encoding="utf-8"),
        scripts=[(own / name).read_text(encoding="utf-8") for name in ("gallery.js", "zoom.js")],
        version=__version__,
    )
    beside = RunFolder(path.parent / f"{path.stem}_tables")
    for i, part in enumerate(parts, start=1):
        for j, table in enumerate((*part.means, *part.pairs, *part.types), start=1):
            beside.write_text(f"{i}-{j}.csv", to_csv(table))
            beside.write_text(f"{i}-{j}.tex", to_latex(table))
    RunFolder(path.parent).write_text(path.name, text)


def _counts(cells: Iterable[Cell | Paired]) -> str:
    """Return over how many edits a row's means are."""
    counts = {n for cell in cells if (n := (cell.difference if isinstance(cell, Paired) else cell.edits).n)}
    return "" if not counts else str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _filters(part: Part) -> dict[str, list[str]]:
    """Return the values of each tag that there is something to choose of; what has no such tag has `none`."""
    tags = [picture.tags for card in part.cards for picture in card.pictures if picture.tags]
    names = dict.fromkeys(name for each in tags for name in each)
    choices = {"type": {card.type for card in part.cards if card.type}}
    choices |= {name: {each.get(name, "none") for each in tags} for name in names}
    return {name: sorted(values, key=_as_number) for name, values in choices.items() if len(values) > 1}


def _as_number(text: str) -> tuple[float, str]:
    """Sort numbers by their size, below words."""
    try:
        return float(text), text
    except ValueError:
        return math.inf, text


def _roles(part: Part) -> list[str]:
    """Return what the pictures can show in turn."""
    has_truth = any(picture.role == "truth" for card in part.cards for picture in card.pictures)
    return ["before", "after", "truth"] if has_truth else ["before", "after"]


def _differing(section: Section) -> list[str]:
    """Return the names of all settings that differ, if the labels leave some of them out."""
    names = dict.fromkeys(name for setting in section.settings for name, _ in setting.others)
    return list(names) if any(len(s.others) > len(s.told) for s in section.settings) else []
