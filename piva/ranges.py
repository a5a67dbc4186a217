"""Ranges of settings, written in the annotations of their fields: `lam: Annotated[float, Ge(0)]`,
`Literal["a", "b"]`.

The names are those of `annotated_types`; `config.build` checks values against them. `select` reads choices of
a dataset's edits.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import PurePosixPath
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from annotated_types import Ge, Gt, Interval, MultipleOf

from piva.errors import InputError


@dataclass(frozen=True)
class Matches:
    """A text that fits a regular expression as a whole; `wanted` says so in words."""

    pattern: str
    wanted: str


@dataclass(frozen=True)
class Rising:
    """A list of `length` numbers, none below the one before it."""

    length: int


Degrees = Annotated[float, Interval(ge=-89, le=89)]  # of elevation
FieldOfView = Annotated[float, Interval(ge=1, le=170)]  # in degrees
Device = Annotated[
    str, Matches(r"cpu|mps|cuda(:\d+)?", "cpu, cuda, cuda:N or mps")
]  # the name of one of torch's
RenderDevice = Annotated[  # mps has no float64, which sums along rays need (nerf/composite.py)
    str, Matches(r"cpu|cuda(:\d+)?", "cpu, cuda or cuda:N to render a field")
]

RANGES: dict[type, tuple[Callable[[Any, Any], object], Callable[[Any], str]]] = {
    Ge: (lambda range_, value: value >= range_.ge, lambda range_: f"a number of at least {range_.ge:g}"),
    Gt: (lambda range_, value: value > range_.gt, lambda range_: f"a number above {range_.gt:g}"),
    Interval: (
        lambda range_, value: (
            (value > range_.gt if range_.ge is None else value >= range_.ge) and value <= range_.le
        ),
        lambda range_: (
            f"a number {f'above {range_.gt:g}, up' if range_.ge is None else f'from {range_.ge:g}'}"
            f" to {range_.le:,g}"
        ),
    ),
    MultipleOf: (
        lambda range_, value: value % range_.multiple_of == 0,
        lambda range_: f"a multiple of {range_.multiple_of}",
    ),
    Rising: (
        lambda range_, value: len(value) == range_.length and sorted(value) == list(value),
        lambda range_: f"{range_.length} numbers that rise",
    ),
    Matches: (lambda range_, value: re.fullmatch(range_.pattern, value), lambda range_: range_.wanted),
}


def plain(annotation: Any) -> Any:
    """Return the type that is left of an annotation without its ranges: `float | None` of `Annotated[float,
    Ge(0)] | None`.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return plain(arguments[0])
    if origin is Literal:
        return type(arguments[0])
    if origin is list:
        return list[plain(arguments[0])]  # type: ignore[misc]
    if origin in (Union, UnionType):
        return Union[tuple(plain(argument) for argument in arguments)]  # noqa: UP007 - made at run time
    return annotation


def kind(annotation: Any) -> str:
    """Return what the plain type of an annotation is called: `float or null` of `float | None`."""
    hint = plain(annotation)
    if get_origin(hint) in (Union, UnionType):
        return " or ".join(kind(argument) for argument in get_args(hint))
    return "null" if hint is NoneType else getattr(hint, "__name__", str(hint))


def wanted(annotation: Any, value: Any) -> str | None:
    """Return what the annotation asks for, if `value` (of its plain type) is out of range; None where all is
    well.
    """
    origin, arguments = get_origin(annotation), get_args(annotation)
    if value is None:
        return None
    if isinstance(value, int | float) and (missed := _unheld(value)):
        return missed
    if origin in (Union, UnionType):
        return next((missed for a in arguments if a is not NoneType and (missed := wanted(a, value))), None)
    if origin is list:
        return next((f"{missed} for each" for v in value if (missed := wanted(arguments[0], v))), None)
    if origin is Literal:
        return None if value in arguments else "one of " + ", ".join(map(str, arguments))
    for range_ in arguments[1:] if origin is Annotated else ():
        fits, words = RANGES[type(range_)]
        if not fits(range_, value):
            return words(range_)
    return wanted(arguments[0], value) if origin is Annotated else None


def _unheld(value: float) -> str | None:
    """Return what is wanted of a number that computing could not hold."""
    if isinstance(value, int):
        return "a number that 64 bits can hold" if abs(value) > LARGEST else None
    if not math.isfinite(value):
        return "a finite number"
    return f"a number of at most {LARGEST_FLOAT:g}" if abs(value) > LARGEST_FLOAT else None


def check_timesteps(t_min: float, t_max: float, key: str = "t_max") -> None:
    """Raise `InputError` unless a timestep lies from `t_min` to below `t_max`, parts of `TIMESTEPS`."""
    if round(t_min * TIMESTEPS) >= round(t_max * TIMESTEPS):
        wanted_ = f"less than {key} ({t_max:g}) by one in {TIMESTEPS}"
        raise InputError("schedule.t_min", f"{t_min:g}", wanted_)


TIMESTEPS = 1000  # of every Stable Diffusion
LARGEST = 2**63 - 1
LARGEST_FLOAT = 1e30  # far from what 32-bit floats hold, also times what it is multiplied by
WANTED = "all, a number, a range such as 10-19, an id or a list of ids"


def select(
    ids: Sequence[str], choice: Any, where: str = "dataset.edits", *, shard: str | None = None
) -> list[int]:
    """Return the indices into `ids` that `choice` names; `where` is the key that errors name.

    A choice is "all", the first n, "10-19" (the tenth to the nineteenth), one id, or a list of ids in the
    order given. Of them, `shard` "3/16" (dataset.shard) keeps the third, the nineteenth and so on: sixteen
    shards are disjoint, together they are all, and their sizes differ by one at most. Raises `InputError` for
    anything else, for an id that is missing, and for a dataset that is empty or has an id twice.
    """
    chosen = _choose(ids, choice, where)
    if shard is None:
        return chosen
    if not (ends := re.fullmatch(r"([1-9]\d{0,8})/([1-9]\d{0,8})", shard)) or int(ends[1]) > int(ends[2]):
        raise InputError("dataset.shard", shard, "i/n with i from 1 to n, such as 3/16")
    part, parts = int(ends[1]), int(ends[2])
    if parts > len(chosen):
        raise InputError("dataset.shard", shard, f"at most as many shards as there are edits, {len(chosen)}")
    return chosen[part - 1 :: parts]


def _choose(ids: Sequence[str], choice: Any, where: str) -> list[int]:
    twice = [name for name, count in Counter(ids).items() if count > 1]
    if twice or not ids:
        found = f"the id {twice[0]!r} twice" if twice else "no edits"
        raise InputError(where, found, "a choice among different ids")
    _check_folders(ids, where)
    if choice == "all":
        return list(range(len(ids)))
    if isinstance(choice, int) and not isinstance(choice, bool) and str(choice) not in ids:  # or a PIE id
        if not 1 <= choice <= len(ids):
            raise InputError(where, str(choice), f"a number from 1 to {len(ids)}, the size of this dataset")
        return list(range(choice))
    if (
        isinstance(choice, str)
        and choice not in ids
        and (ends := re.fullmatch(r"(\d{1,9})-(\d{1,9})", choice))
    ):
        first, last = int(ends[1]), int(ends[2])
        if not 1 <= first <= last <= len(ids):
            raise InputError(where, choice, f"a range within 1-{len(ids)}, the size of this dataset")
        return list(range(first - 1, last))
    names = choice if isinstance(choice, list | tuple) else [choice]
    if not names or any(isinstance(name, bool) or not isinstance(name, str | int) for name in names):
        raise InputError(where, repr(choice), WANTED)
    indices = [_index(ids, str(name), where) for name in names]
    if len(set(indices)) < len(indices):
        raise InputError(where, f"an id twice in {choice}", WANTED)
    return indices


def _check_folders(ids: Sequence[str], where: str) -> None:
    """Raise `InputError` unless each id names a folder of its own, none of them inside another's."""
    known = set(ids)
    for name in ids:
        path = PurePosixPath(name)
        if name in ("", ".") or path.as_posix() != name or path.is_absolute() or ".." in path.parts:
            raise InputError(where, f"the id {name!r}", "ids that are relative paths such as mug/blue")
        if outer := next((str(parent) for parent in path.parents if str(parent) in known), None):
            raise InputError(where, f"the id {name!r} inside {outer!r}", "ids that name folders apart")


def _index(ids: Sequence[str], name: str, where: str) -> int:
    if name not in ids:
        near = get_close_matches(name, ids, n=3, cutoff=0.5) or list(ids[:5])
        remedy = f"ids are {', '.join(near)}{', ...' if len(near) < len(ids) else ''}"
        raise InputError(where, repr(name), WANTED, remedy)
    return ids.index(name)
