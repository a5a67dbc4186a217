"""The page: everything that the template shows, and the template."""

from collections.abc import Iterable
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from piva import __version__
from piva.report.gallery import Card, data_uri
from piva.report.intervals import Paired
from piva.report.sections import Section
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


def write_page(parts: list[Part], left_out: dict[str, str], path: Path, title: str, baseline: str) -> None:
    """Write the page, and its tables as CSV and LaTeX into the folder `<name>_tables` beside it.

    Args:
        parts: what to show, in this order.
        left_out: runs and edits that were found but are not shown, and why.
        path: of the page; the links of `parts` are relative to it.
        title: of the page.
        baseline: the score that the others are compared with.
    """
    environment = Environment(
        loader=PackageLoader("piva.report", "."), autoescape=True, undefined=StrictUndefined
    )
    environment.globals |= {"shown": shown, "significant": significant, "anchors": (IDENTITY, TRUTH)}
    environment.globals |= {"counts": _counts, "filters": _filters}
    environment.globals["csv_uri"] = lambda table: data_uri(to_csv(table).encode(), "text/csv")
    environment.globals["latex_uri"] = lambda table: data_uri(to_latex(table).encode(), "text/x-tex")
    own = files("piva.report")
    text = environment.get_template("page.html.j2").render(
        title=title,
        parts=parts,
        left_out=left_out,
        baseline=baseline.upper(),
        style=(own / "style.css").read_text(encoding="utf-8"),
        script=(own / "script.js").read_text(encoding="utf-8"),
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


def _filters(part: Part) -> list[tuple[str, str, list[str]]]:
    """Return name, label and values of each filter that has something to choose."""
    pictures = [picture for card in part.cards for picture in card.pictures if picture.score]
    lams = sorted(
        {picture.lam for picture in pictures}, key=lambda lam: -1.0 if lam == "none" else float(lam)
    )
    choices = [
        ("type", "type", sorted({card.type for card in part.cards if card.type})),
        ("score", "score", sorted({picture.score for picture in pictures})),
        ("lambda", "λ", lams),
    ]
    return [choice for choice in choices if len(choice[2]) > 1]
