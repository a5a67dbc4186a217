"""The numbers of a section as tables, and how they are written: as shown on the page, as CSV, as LaTeX."""

import csv
import io
import math
from collections.abc import Iterable
from dataclasses import dataclass

from piva.metrics.table import TABLES, Column
from piva.report.intervals import Interval, Paired, interval, over_seeds, paired
from piva.report.sections import EditKey, Section, Setting

IDENTITY, TRUTH = "identity", "truth"  # rows of the unedited original and of the right answer
FORMULA = tuple("=+-@\t\r")  # how a text begins that a spreadsheet would compute
LATEX = str.maketrans(
    {c: "\\" + c for c in "&%$#_{}"}
    | {"\\": r"\textbackslash{}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "λ": r"$\lambda$"}
    | {"×": r"$\times$", "↑": r"$\uparrow$", "↓": r"$\downarrow$", "³": "$^3$", "⁴": "$^4$", "²": "$^2$"}
    | {"∞": r"$\infty$", "±": r"$\pm$"}
)


@dataclass(frozen=True)
class Cell:
    """A metric of a setting: over edits, each averaged over its seeds; of several seeds, over their means."""

    edits: Interval
    seeds: Interval | None = None


Row = tuple[str, list[Cell | Paired]]


@dataclass(frozen=True)
class Table:
    """Rows of a label and a cell for each metric; raw values, shown with a column's factor and digits."""

    title: str
    columns: list[Column]
    rows: list[Row]


def mean_tables(section: Section) -> list[Table]:
    """Return a table for each kind of metrics: the identity, the truth where it is known, each setting."""
    tables = []
    for title, columns in measured(section).items():
        anchors: list[Row] = [(IDENTITY, [_anchor(section, column.nothing) for column in columns])]
        truth = [_anchor(section, column.best) for column in columns]
        anchors += [(TRUTH, [*truth])] if any(each.edits.n for each in truth) else []
        tables.append(Table(title, columns, anchors + _rows(section, columns)))
    return tables


def type_tables(section: Section) -> list[Table]:
    """Return the settings' rows for each type of edit, if there are several."""
    types = sorted({kind for kind in section.edits.values() if kind})
    return [
        Table(f"{title}, by type", columns, [row for kind in types for row in _rows(section, columns, kind)])
        for title, columns in (measured(section).items() if len(types) > 1 else ())
    ]


def paired_tables(section: Section, baseline: str) -> list[Table]:
    """Return each setting minus the baseline of equal other settings, edit by edit."""
    pairs = [(s, base) for s in section.settings if (base := baseline_of(s, section.settings, baseline))]
    tables = []
    for title, columns in measured(section).items() if pairs else ():
        rows: list[Row] = [
            (f"{s.label} minus {base.label}", [paired(s.values(c.key), base.values(c.key)) for c in columns])
            for s, base in pairs
        ]
        tables.append(Table(f"{title}, differences", columns, rows))
    return tables


def baseline_of(own: Setting, settings: Iterable[Setting], baseline: str) -> Setting | None:
    """Return the baseline's setting that differs from `own` in the score alone, if there is one."""
    if own.score.lower() == baseline.lower():
        return None
    have = dict(own.others)
    of_baseline = (s for s in settings if s.score.lower() == baseline.lower())
    return next((s for s in of_baseline if all(have.get(key, v) == v for key, v in s.others)), None)


def measured(section: Section) -> dict[str, list[Column]]:
    """Return the kinds of metrics, and of each the columns, that the section has."""
    kinds = {title: [c for c in columns if section.has(c.key)] for title, columns in TABLES.items()}
    return {title: columns for title, columns in kinds.items() if columns}


def cell(setting: Setting, key: str, edits: Iterable[EditKey] | None = None) -> Cell:
    """Return a metric of a setting over these edits, or over all."""
    values = setting.values(key)
    values = values if edits is None else {edit: values[edit] for edit in edits if edit in values}
    over = interval(over_seeds({edit: list(seeds.values()) for edit, seeds in values.items()}).values())
    everywhere = set.intersection(*(set(seeds) for seeds in values.values())) if values else set()
    if len(everywhere) < 2:
        return Cell(over)
    means = [sum(seeds[seed] for seeds in values.values()) / len(values) for seed in sorted(everywhere)]
    return Cell(over, interval(means))


def _rows(section: Section, columns: list[Column], kind: str | None = None) -> list[Row]:
    """Return a row for each setting that measured an edit of this type, or any."""
    edits = sorted(edit for edit, its in section.edits.items() if kind in (None, its))
    rows = [(s.label, [cell(s, column.key, edits) for column in columns]) for s in section.settings]
    prefix = f"{kind}: " if kind else ""
    return [(prefix + label, [*cells]) for label, cells in rows if any(each.edits.n for each in cells)]


def _anchor(section: Section, key: str | float | None) -> Cell:
    """Return what the identity or the truth scores: a number, or what every run that has it measured."""
    if not isinstance(key, str):
        return Cell(Interval(math.nan if key is None else float(key), math.nan, 0))
    values: dict[EditKey, float] = {}
    for setting in section.settings:
        values |= {edit: next(iter(seeds.values())) for edit, seeds in setting.values(key).items()}
    return Cell(interval(values[edit] for edit in sorted(values)))


def shown(column: Column, value: Cell | Paired) -> str:
    """Return mean ± half its interval in the column's factor and digits, or nothing."""
    if isinstance(value, Paired):
        return number(column, value.difference, "+")
    return number(column, value.edits)


def number(column: Column, over: Interval, sign: str = "") -> str:
    if math.isnan(over.mean):
        return ""
    if math.isinf(over.mean):
        return "∞" if over.mean > 0 else "-∞"
    mean = f"{column.factor * over.mean:{sign}.{column.digits}f}"
    return mean if math.isnan(over.half) else f"{mean} ± {column.factor * over.half:.{column.digits}f}"


def significant(value: Cell | Paired) -> bool:
    """Tell whether a difference's 95 % interval leaves out zero."""
    return isinstance(value, Paired) and abs(value.difference.mean) > value.difference.half


def to_csv(table: Table) -> str:
    """Return raw values, a row a setting: of each metric mean, half its 95 % interval, edits, ..."""
    rows: list[dict[str, object]] = []
    for label, cells in table.rows:
        rows.append({"setting": f"'{label}" if label[:1] in FORMULA else label})
        for column, value in zip(table.columns, cells, strict=True):
            rows[-1] |= {f"{column.key} {name}".strip(): each for name, each in _fields(value).items()}
    text = io.StringIO()
    names = list(dict.fromkeys(key for row in rows for key in row))
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _fields(value: Cell | Paired) -> dict[str, object]:
    over = value.difference if isinstance(value, Paired) else value.edits
    fields: dict[str, object] = {"": over.mean, "half": over.half, "edits": over.n}
    if isinstance(value, Paired):
        fields |= {"more": value.more, "less": value.less, "p": value.p}
    elif value.seeds:
        fields |= {"half over seeds": value.seeds.half, "seeds": value.seeds.n}
    return {
        name: "" if isinstance(each, float) and math.isnan(each) else each for name, each in fields.items()
    }


def to_latex(table: Table) -> str:
    """Return a tabular in the style of the package booktabs."""
    head = ["", *(column.heading for column in table.columns)]
    body = [[label, *map(shown, table.columns, cells)] for label, cells in table.rows]
    head_line, *body_lines = (
        " & ".join(text.translate(LATEX) for text in row) + r" \\" for row in [head, *body]
    )
    lines = [
        f"% {table.title}; \u00b1 is half the 95 % interval over edits",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        *(r"\toprule", head_line, r"\midrule", *body_lines, r"\bottomrule", r"\end{tabular}"),
    ]
    return "\n".join(lines) + "\n"
