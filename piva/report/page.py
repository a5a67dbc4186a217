"""The page: everything that the template shows, and the template."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from piva import __version__
from piva.report.gallery import Card, cards
from piva.report.intervals import Paired
from piva.report.pictures import data_uri
from piva.report.plots import drift_svg, tradeoff_svg
from piva.report.sections import Section
from piva.report.settings import ReportSettings
from piva.report.tables import Cell, Table, mean_tables, paired_tables, type_tables
from piva.report.texts import distinct, shown, to_csv, to_latex
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
    def tables(self) -> list[Table]:
        return [*self.means, *self.pairs, *self.types]

    @property
    def runs(self) -> int:
        return int(self.section.facts["runs"])


def write_page(
    sections: list[Section], settings: ReportSettings, left_out: dict[str, str], path: Path
) -> None:
    """Write the page, and its tables as CSV and LaTeX into the folder `<name>_tables` beside it.

    Args:
        sections: what to show, in this order.
        left_out: what was found but is not shown: a run or an edit, and why.
        path: of the page; its pictures' links are relative to it.
    """
    parts = [_part(section, settings, path) for section in sections]
    environment = Environment(
        loader=PackageLoader("piva.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.globals |= {"shown": shown, "distinct": distinct, "counts": _counts, "filters": _filters}
    environment.globals |= {"csv_uri": _csv_uri, "latex_uri": _latex_uri}
    own = files("piva.report")
    text = environment.get_template("page.html.j2").render(
        title=settings.title,
        parts=parts,
        left_out=left_out,
        baseline=settings.baseline.upper(),
        style=(own / "style.css").read_text(encoding="utf-8"),
        script=(own / "script.js").read_text(encoding="utf-8"),
        version=__version__,
    )
    beside = RunFolder(path.parent / f"{path.stem}_tables")
    for i, part in enumerate(parts, start=1):
        for j, table in enumerate(part.tables, start=1):
            beside.write_text(f"{i}-{j}.csv", to_csv(table))
            beside.write_text(f"{i}-{j}.tex", to_latex(table))
    RunFolder(path.parent).write_text(path.name, text)


def _part(section: Section, settings: ReportSettings, path: Path) -> Part:
    return Part(
        section=section,
        means=mean_tables(section),
        pairs=paired_tables(section, settings.baseline),
        types=type_tables(section),
        tradeoff=tradeoff_svg(section, settings.x, settings.y, settings.baseline),
        drift=drift_svg(section),
        cards=cards(section, path, settings.thumbnail, settings.films_mb),
    )


def _csv_uri(table: Table) -> str:
    return data_uri(to_csv(table).encode(), "text/csv")


def _latex_uri(table: Table) -> str:
    return data_uri(to_latex(table).encode(), "text/x-tex")


def _counts(cells: Iterable[Cell | Paired]) -> str:
    """Over how many edits a row's means are."""
    counts = {n for cell in cells if (n := (cell.difference if isinstance(cell, Paired) else cell.edits).n)}
    return "" if not counts else str(min(counts)) if len(counts) == 1 else f"{min(counts)} to {max(counts)}"


def _filters(part: Part) -> list[tuple[str, str, list[str]]]:
    """Name, label and values of each filter that has something to choose."""
    shots = [shot for card in part.cards for shot in card.shots if shot.score]
    lams = sorted({shot.lam for shot in shots}, key=lambda lam: -1.0 if lam == "none" else float(lam))
    choices = [
        ("type", "type", sorted({card.type for card in part.cards if card.type})),
        ("score", "score", sorted({shot.score for shot in shots})),
        ("lambda", "λ", lams),
    ]
    return [choice for choice in choices if len(choice[2]) > 1]
