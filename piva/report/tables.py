"""The numbers of a section as tables: means with intervals, by type of edit, and each setting against the baseline."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from piva.metrics.table import TABLES, Column
from piva.report.intervals import Interval, Paired, interval, over_seeds, paired
from piva.report.sections import EditKey, Section, Setting


@dataclass(frozen=True)
class Cell:
    """A metric of a setting: over the edits, each averaged over its seeds first; and, of several seeds, over the seeds' means."""

    edits: Interval
    seeds: Interval | None = None


@dataclass(frozen=True)
class Table:
    """Rows of cells below a metric each. Values are raw; a column's factor and digits say how they are shown."""

    title: str
    columns: list[Column]
    rows: list[tuple[str, list[Cell | Paired]]]


Keep = Callable[[EditKey], bool]


def mean_tables(section: Section) -> list[Table]:
    """One for each kind of metrics that was measured: what doing nothing scores, the truth where it is known, each setting."""
    return [
        Table(title, columns, [*_anchors(section, columns), *_rows(section.settings, columns)])
        for title, columns in measured(section).items()
    ]


def type_tables(section: Section) -> list[Table]:
    """The same for each type of edit, if there are several."""
    types = sorted({kind for kind in section.edits.values() if kind})
    if len(types) < 2:
        return []
    tables = []
    for title, columns in measured(section).items():
        rows: list[tuple[str, list[Cell | Paired]]] = []
        for kind in types:
            of_kind = {edit for edit, its in section.edits.items() if its == kind}
            rows += [
                (f"{kind}: {label}", cells)
                for label, cells in _rows(section.settings, columns, of_kind.__contains__)
            ]
        tables.append(Table(f"{title}, by type", columns, rows))
    return tables


def paired_tables(section: Section, baseline: str) -> list[Table]:
    """Each setting minus the baseline's with equal other settings, edit by edit."""
    tables = []
    pairs = [(own, rival) for own in section.settings if (rival := rival_of(own, section.settings, baseline))]
    for title, columns in measured(section).items() if pairs else ():
        rows: list[tuple[str, list[Cell | Paired]]] = []
        for own, rival in pairs:
            cells = [paired(own.values(column.key), rival.values(column.key)) for column in columns]
            rows.append((f"{own.label} minus {rival.score}", [*cells]))
        tables.append(Table(f"{title}, differences", columns, rows))
    return tables


def rival_of(own: Setting, settings: Iterable[Setting], baseline: str) -> Setting | None:
    """The baseline's setting that differs from `own` in nothing but the score; None if there is none, or `own` is it."""
    if own.score.lower() == baseline.lower():
        return None
    have = dict(own.others)
    fits = (
        s
        for s in settings
        if s.score.lower() == baseline.lower() and all(have.get(key, v) == v for key, v in s.others)
    )
    return next(fits, None)


def measured(section: Section) -> dict[str, list[Column]]:
    """The kinds of metrics and their columns that the section has."""
    kinds = {
        title: [column for column in columns if section.has(column.key)] for title, columns in TABLES.items()
    }
    return {title: columns for title, columns in kinds.items() if columns}


def cell(setting: Setting, key: str, keep: Keep = lambda _: True) -> Cell:
    """A metric of a setting over the edits that are kept."""
    values = {edit: seeds for edit, seeds in setting.values(key).items() if keep(edit)}
    over = interval(over_seeds({edit: list(seeds.values()) for edit, seeds in values.items()}).values())
    everywhere = set.intersection(*(set(seeds) for seeds in values.values())) if values else set()
    if len(everywhere) < 2:
        return Cell(over)
    means = [sum(seeds[seed] for seeds in values.values()) / len(values) for seed in sorted(everywhere)]
    return Cell(over, interval(means))


def _rows(
    settings: list[Setting], columns: list[Column], keep: Keep = lambda _: True
) -> list[tuple[str, list[Cell | Paired]]]:
    rows = [(setting.label, [cell(setting, column.key, keep) for column in columns]) for setting in settings]
    return [(label, [*cells]) for label, cells in rows if any(each.edits.n for each in cells)]


def _anchors(section: Section, columns: list[Column]) -> list[tuple[str, list[Cell | Paired]]]:
    """What leaving the original alone scores, and what the truth itself does: equal in every run, so any that has it."""
    rows: list[tuple[str, list[Cell | Paired]]] = [
        ("do nothing", [_anchor(section, column.nothing) for column in columns])
    ]
    truth = [_anchor(section, column.best) for column in columns]
    return [*rows, ("truth", [*truth])] if any(each.edits.n for each in truth) else rows


def _anchor(section: Section, key: str | float | None) -> Cell:
    if key is None or isinstance(key, int | float):
        return Cell(Interval(float("nan") if key is None else float(key), float("nan"), 0))
    values: dict[EditKey, float] = {}
    for setting in section.settings:
        values |= {edit: next(iter(seeds.values())) for edit, seeds in setting.values(key).items()}
    return Cell(interval(values.values()))
