"""A table as it is shown, as CSV and as LaTeX."""

import csv
import io
import math

from piva.metrics.table import Column
from piva.report.intervals import Interval, Paired
from piva.report.tables import Cell, Table

LATEX = str.maketrans(
    {
        **{c: "\\" + c for c in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "λ": r"$\lambda$",
        "×": r"$\times$",
        "↑": r"$\uparrow$",
        "↓": r"$\downarrow$",
        "³": "$^3$",
        "⁴": "$^4$",
        "²": "$^2$",
        "∞": r"$\infty$",
        "±": r"$\pm$",
    }
)


def shown(column: Column, value: Cell | Paired, sign: str = "") -> str:
    """Mean ± half its interval, in the column's factor and digits; empty where nothing was measured."""
    over = value.difference if isinstance(value, Paired) else value.edits
    return number(column, over, "+" if isinstance(value, Paired) else sign)


def number(column: Column, over: Interval, sign: str = "") -> str:
    if math.isnan(over.mean):
        return ""
    if math.isinf(over.mean):
        return "∞"
    mean = f"{column.factor * over.mean:{sign}.{column.digits}f}"
    return mean if math.isnan(over.half) else f"{mean} ± {column.factor * over.half:.{column.digits}f}"


def distinct(value: Cell | Paired) -> bool:
    """Whether a difference's interval leaves out zero."""
    return isinstance(value, Paired) and abs(value.difference.mean) > value.difference.half


def to_csv(table: Table) -> str:
    """Raw values, a row a setting: of each metric its mean, half its 95 % interval, the number of edits, what else there is."""
    text = io.StringIO()
    rows = [
        {"setting": label}
        | dict(
            pair for column, cell in zip(table.columns, cells, strict=True) for pair in _fields(column, cell)
        )
        for label, cells in table.rows
    ]
    writer = csv.DictWriter(
        text, list(dict.fromkeys(key for row in rows for key in row)), restval="", lineterminator="\n"
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def to_latex(table: Table) -> str:
    """A tabular in the style of the package booktabs."""
    head = " & ".join(["", *(column.heading.translate(LATEX) for column in table.columns)])
    body = [
        " & ".join(
            [
                label.translate(LATEX),
                *(shown(c, v).translate(LATEX) for c, v in zip(table.columns, cells, strict=True)),
            ]
        )
        for label, cells in table.rows
    ]
    lines = [
        f"% {table.title}; \u00b1 is half the 95 % interval over edits",
        rf"\begin{{tabular}}{{l{'r' * len(table.columns)}}}",
        r"\toprule",
        rf"{head} \\",
        r"\midrule",
        *(rf"{line} \\" for line in body),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines) + "\n"


def _fields(column: Column, value: Cell | Paired) -> list[tuple[str, object]]:
    key = column.key
    over = value.difference if isinstance(value, Paired) else value.edits
    fields = [(key, _raw(over.mean)), (f"{key} half", _raw(over.half)), (f"{key} edits", over.n)]
    if isinstance(value, Paired):
        return [
            *fields,
            (f"{key} more", value.more),
            (f"{key} less", value.less),
            (f"{key} p", _raw(value.p)),
        ]
    if value.seeds:
        fields += [(f"{key} half over seeds", _raw(value.seeds.half)), (f"{key} seeds", value.seeds.n)]
    return [*fields]


def _raw(value: float) -> object:
    return "" if math.isnan(value) else value
